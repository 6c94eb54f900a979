"""Show reports and pages in the reader's language.

English is the source: a text in the code is its own key. Other languages are the files ``*.po``
beside this one, as translators' tools write them; they are read as they are, nothing is compiled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any

from wbcdet.utils.errors import WbcdetError

_HERE = Path(__file__).parent
ENGLISH = "en"
#: Languages, by the tag that browsers send; English first.
LANGUAGES: tuple[str, ...] = (ENGLISH, *sorted(path.stem for path in _HERE.glob("*.po")))

_chosen: str | None = None
#: The language of one thread, where it is another: pages go on in the chosen one.
_here: ContextVar[str | None] = ContextVar("language here", default=None)


class LanguageError(WbcdetError, ValueError):
    """There are no translations to a language; the message is one line."""


def choose(language: str | None) -> None:
    """Set the language of everything that this process writes and shows.

    Args:
        language: one of ``LANGUAGES``; None writes English, and pages follow the browser.

    Raises:
        LanguageError: it is not one of them.
    """
    global _chosen
    if language not in (None, *LANGUAGES):
        raise LanguageError(f"no translation to {language!r}; give {', '.join(LANGUAGES)}")
    _chosen = language


@contextmanager
def speaking(language: str | None) -> Iterator[None]:
    """Use a language inside, and the one of before afterwards."""
    before = _chosen
    choose(language)
    try:
        yield
    finally:
        choose(before)


@contextmanager
def speaking_english() -> Iterator[None]:
    """Use English inside, in this thread alone: the terminal has no other language."""
    token = _here.set(ENGLISH)
    try:
        yield
    finally:
        _here.reset(token)


def current() -> str:
    """Return the language that reports are written in."""
    return _here.get() or _chosen or ENGLISH


def negotiated(accepted: str) -> str:
    """Return the language of a page: the chosen one, or the browser's favourite that there is.

    Args:
        accepted: the header ``Accept-Language`` of its request.
    """
    if _chosen:
        return _chosen
    wishes = []
    for place, part in enumerate(accepted.split(",")):
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            wishes.append((-quality, place, tag.strip().lower().partition("-")[0]))
    return next((tag for _, _, tag in sorted(wishes) if tag in LANGUAGES), ENGLISH)


def _(text: str, **values: object) -> str:
    """Return a text in the current language, with values in the places of ``{name}``."""
    # The catalogue keeps what is said of itself under the empty text.
    return _filled(translations(current()).gettext(text) if text else text, values)


def in_english(text: str, **values: object) -> str:
    """Return a text as it is, with values in the places of ``{name}``, for what programs read."""
    return _filled(text, values)


def N_(text: str) -> str:
    """Mark a text that is translated where it is used."""
    return text


def plural_of(one: str, many: str, n: int, **values: object) -> str:
    """Return the form of a text that goes with a number, which is its value ``{n}``."""
    return _filled(translations(current()).ngettext(one, many, n), {"n": n, **values})


def _filled(text: str, values: dict[str, object]) -> str:
    return text.format(**values) if values else text


@cache
def translations(language: str) -> NullTranslations:
    """Return the catalogue of a language; that of English is empty."""
    if language == ENGLISH:
        return NullTranslations()
    import polib

    return GNUTranslations(BytesIO(polib.pofile(str(_HERE / f"{language}.po")).to_binary()))


@cache
def script(language: str) -> str:
    """Return the JavaScript by which a page translates itself: ``t``, ``tn`` and its own text."""
    catalogue: dict[str, Any] = {}
    if language != ENGLISH:
        import polib

        for entry in polib.pofile(str(_HERE / f"{language}.po")):
            forms = [entry.msgstr_plural[form] for form in sorted(entry.msgstr_plural)]
            catalogue[entry.msgid] = forms or entry.msgstr
    words = json.dumps(catalogue, ensure_ascii=False, separators=(",", ":"))
    code = (_HERE / "words.js").read_text(encoding="utf-8")
    return f'"use strict";\nconst LANGUAGE = "{language}", WORDS = {words};\n{code}'

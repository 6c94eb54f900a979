"""Translations: each text of the reports and pages has one, with the same placeholders."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import polib
import pytest
from conftest import REPOSITORY
from jinja2 import Environment

from wbcdet.records import ALL_LABELS, NOTICE
from wbcdet.utils import words
from wbcdet.utils.words import LANGUAGES, LanguageError, choose, negotiated, script, speaking

PACKAGE = REPOSITORY / "wbcdet"
WORDS = PACKAGE / "utils" / "words"
STATIC, LIVE = PACKAGE / "review" / "static", PACKAGE / "stream" / "display" / "page"
#: Texts that reach the pages as values: labels, reasons, problems of fields, what the service says.
VALUES = (
    *map(str, ALL_LABELS), "artefact", "artefacts", "basophil", "no cell", "deleted", "other",
    "blast", "blast-like", "immature-like", "erythroblast-like", "basophil-like",
    "unlike-trained", "low-score", "immature granulocyte", "plasma cell",
    "empty", "too dark", "overexposed", "no stain", "blurred",
    "low", "high", "Patient", "Order", "Slide", "as wbcdet named it", "all types",
    "edge", "duplicate", "bad-field", "Select several", "Confirm", "delete", "Field",
    "Without a cell", "Nuclei outside the boxes", "Doubtful quality", "Unknown ground",
    "Not reviewed", "Not read", NOTICE,
)  # fmt: skip
PAGES = (*sorted(STATIC.glob("*.html")), LIVE / "page.html")
SCRIPTS = (*sorted(STATIC.glob("*.js")), *sorted(LIVE.glob("*.js")))
#: What the server of the review answers to a page that asked for what cannot be done.
REFUSALS = {"ChangeError", "ConflictError", "SigningError"}
TRANSLATED = ("title", "aria-label", "placeholder", "alt", "data-ask")
OTHERS = [language for language in LANGUAGES if language != "en"]
_STRING = r'"((?:[^"\\]|\\.)*)"'


class _Texts(HTMLParser):
    """What ``words.js`` translates of a page: texts outside code, and some attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "input", "img", "br", "i"):
            self._within.append(tag)
        self.found += [value for name, value in attrs if name in TRANSLATED and value]

    def handle_endtag(self, tag: str) -> None:
        while self._within and tag in self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not {"script", "style", "kbd", "code"} & set(self._within):
            self.found.append(text)


def _of_python() -> Iterator[tuple[str, str | None]]:
    names = {"_": 1, "N_": 1, "plural_of": 2}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "utils.words import" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                count = names.get(node.func.id, 0)
                given = [
                    argument.value
                    for argument in node.args[:count]
                    if isinstance(argument, ast.Constant)
                ]
                if count and given:
                    yield given[0], given[1] if count == 2 else None


def _of_templates() -> Iterator[tuple[str, str | None]]:
    reader = Environment(extensions=["jinja2.ext.i18n"])
    for path in PACKAGE.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for _line, function, said in reader.extract_translations(
            text.replace("plural_of(", "ngettext(")
        ):
            if function == "ngettext":
                yield str(said[0]), str(said[1])
            elif text := said if isinstance(said, str) else said and said[0]:
                yield text, None


def _of_scripts() -> Iterator[tuple[str, str | None]]:
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(rf"\bt\({_STRING}", text):
            yield found[1], None
        for found in re.finditer(rf"\btn\({_STRING}, {_STRING}", text):
            yield found[1], found[2]


def _of_pages() -> Iterator[tuple[str, str | None]]:
    for path in PAGES:
        texts = _Texts()
        texts.feed(path.read_text(encoding="utf-8"))
        yield from ((text, None) for text in texts.found if re.search("[A-Za-z]{2}", text))


def _of_refusals() -> Iterator[tuple[str, str | None]]:
    for path in (PACKAGE / "review").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            target.id: node.value
            for node in tree.body if isinstance(node, ast.Assign)
            for target in node.targets if isinstance(target, ast.Name)
        }  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                kind, given = node.exc.func, node.exc.args[0] if node.exc.args else None
                said = named.get(given.id) if isinstance(given, ast.Name) else given
                refused = isinstance(kind, ast.Name) and kind.id in REFUSALS
                if refused and isinstance(said, ast.Constant):
                    yield said.value, None


def unmarked(text: str) -> list[str]:
    """Return what a script would show as it is written: texts of words outside ``t`` and ``tn``."""
    text = re.sub(r"^\s*//.*$|(?<=[;{,]) //.*$", "", text, flags=re.MULTILINE)
    text = re.sub(rf"\btn\({_STRING}, {_STRING}|\bt\({_STRING}", "", text)
    texts = re.findall(r'"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`', text)
    plain = (re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "{}", one[1:-1]) for one in texts)
    words = (
        r"[A-Za-z]{2,}[,:;.]? [a-z]{2,}|^[A-Z][a-z]{3,}\b(?!-)|\}[,:]? [a-z]{3,}|\b[a-z]{3,}:? \{\}"
    )
    return [one for one in plain if re.search(words, one)]


@cache
def sources() -> dict[str, tuple[str, str | None]]:
    """Return every text, with where it stands and its plural."""
    found: dict[str, tuple[str, str | None]] = {}
    parts = {
        "python": _of_python(), "template": _of_templates(), "script": _of_scripts(),
        "page": _of_pages(), "refusal": _of_refusals(), "value": ((text, None) for text in VALUES),
    }  # fmt: skip
    for kind, texts in parts.items():
        for text, plural in texts:
            known = found.get(text)
            # In a catalogue a text has one entry: with a plural, or without.
            assert known is None or known[1] == plural, text
            found[text] = known or (kind, plural)
    return found


@cache
def catalogue(language: str) -> polib.POFile:
    return polib.pofile(str(WORDS / f"{language}.po"))


def holes(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", text))


#: Texts of words that are no texts of the page: keys, selectors, classes, events; names that are
#: translated where they are shown, as ``VALUES`` says.
NOT_SHOWN = re.compile(
    r"\{\}: wbcdet review|(head|bar) \{\}|Escape|Enter|Space|AltGraph|Content-Type|use strict"
    r"|no signal|new shaped"
    r"|[\w#.\[\]-]+(, [\w#.\[\]-]+)+|#[\w-]+ \w+|[a-z]+ (soft|small|reason)"
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_shows_no_text_that_is_not_marked(path: Path) -> None:
    shown = unmarked(path.read_text(encoding="utf-8"))
    known = {*sources(), *VALUES}
    assert [text for text in shown if text not in known and not NOT_SHOWN.fullmatch(text)] == []


@pytest.mark.parametrize(
    "code", ['say("Not kept");', "x = `${n} cells of it`;", 'banner(up ? "" : "No answer at all");']
)
def test_a_text_that_is_not_marked_is_found(code: str) -> None:
    assert unmarked(code)
    assert not unmarked(
        re.sub(r'("[A-Z][^"]+")', r"t(\1)", code).replace("`${n} cells of it`", "n")
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_loads_its_words(path: Path) -> None:
    assert "words.js" in path.read_text(encoding="utf-8")


def test_two_languages_beside_english() -> None:
    assert LANGUAGES == ("en", "es", "ru")


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated_and_nothing_else(language: str) -> None:
    entries = {entry.msgid: entry.msgid_plural or None for entry in catalogue(language)}
    wanted = {text: plural for text, (_, plural) in sources().items()}
    assert {text for text in wanted if text not in entries} == set()
    assert {text for text in entries if text not in wanted} == set()
    assert entries == wanted
    assert len(entries) == len(list(catalogue(language)))


@pytest.mark.parametrize("language", OTHERS)
def test_translations_are_whole_and_have_the_same_places(language: str) -> None:
    po = catalogue(language)
    count = int(re.findall(r"nplurals=(\d)", po.metadata["Plural-Forms"])[0])
    for entry in po:
        forms = list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]
        assert len(forms) == (count if entry.msgid_plural else 1), entry.msgid
        assert not entry.fuzzy and all(form.strip() for form in forms), entry.msgid
        for form in forms:
            assert holes(form) == holes(entry.msgid_plural or entry.msgid), entry.msgid
            assert form[-1:].isspace() == entry.msgid[-1:].isspace(), entry.msgid
            assert (form[-1] in ".:?") == (entry.msgid[-1] in ".:?"), entry.msgid


def test_forms_of_numbers() -> None:
    def said(n: int) -> str:
        return words.plural_of("{n} cell", "{n} cells", n)

    with speaking("ru"):
        assert [said(n).split()[1] for n in (1, 2, 5, 11, 21, 22, 112)] == [
            "клетка", "клетки", "клеток", "клеток", "клетка", "клетки", "клеток",
        ]  # fmt: skip
    with speaking("es"):
        assert [said(n) for n in (0, 1, 2)] == ["0 células", "1 célula", "2 células"]
    assert said(1) == "1 cell" and said(0) == "0 cells"


def test_a_number_of_fields_needs_no_other_form_in_a_sentence() -> None:
    """Russian has "3 поля", but "из 3 полей"; in Spanish one field is "contado", two "contados"."""
    for entry in catalogue("ru"):
        for form in (entry.msgstr, *entry.msgstr_plural.values()):
            assert not re.search(r"\b(из|на|без|до) \{fields\}", form), form
    with speaking("es"):
        left_out = [words._("{fields} left out for it", fields=n) for n in ("1 campo", "2 campos")]
    assert left_out[0].replace("1 campo", "") == left_out[1].replace("2 campos", "")


def test_what_has_no_translation_and_what_is_empty_stay_as_they_are() -> None:
    with speaking("ru"):
        assert words._("Slide {12} of Mr X") == "Slide {12} of Mr X"
        assert words._("") == ""
        assert words._("Counted {time}", time="{0} {x}").endswith("{0} {x}")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"), ("ru", "ru"), ("ru-RU,ru;q=0.9,en;q=0.8", "ru"), ("ES-mx", "es"),
        ("de,fr;q=0.8", "en"), ("de, es;q=0.5, ru;q=0.7", "ru"), ("ru;q=0, es", "es"),
        ("en, ru", "en"), ("*", "en"), ("ru;q=x", "en"), (";;,,=", "en"), ("../../x", "en"),
    ],
)  # fmt: skip
def test_language_of_the_browser(accepted: str, language: str) -> None:
    assert negotiated(accepted) == language
    with speaking("es"):
        assert negotiated(accepted) == "es"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(LanguageError, match="give en, es, ru"):
        choose("xx")
    done = subprocess.run(
        [sys.executable, "-m", "wbcdet", "count", "x", "--language", "xx"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "--language: no translation to 'xx'" in done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
def test_script_of_a_page(language: str) -> None:
    text = script(language)
    assert f'LANGUAGE = "{language}"' in text
    assert ("нейтрофил" in text) == (language == "ru")
    assert "</script" not in text.lower()

"""Match the column names of manual counts generously."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from wbcdet.results.class_names import names_another_kind, understand

_GROUP = {"group", "slide", "slideid", "smear", "patient", "patientid", "folder", "name"}
_GROUP |= {"sample", "sampleid", "specimen", "subject", "case", "id"}
#: German, Spanish, French, Russian, Chinese; without accents.
_GROUP |= {"praparat", "ausstrich", "probe", "fall", "muestra", "paciente", "lamina", "frotis"}
_GROUP |= {"lame", "frottis", "echantillon", "препарат", "мазок", "пациент", "образец", "случаи"}
_GROUP |= {"玻片", "样本", "涂片", "患者"}
_TOTAL = {"n", "total", "cells", "count", "counted", "cellscounted", "totalcells", "ncells", "sum"}
_TOTAL |= {"gesamt", "summe", "zellen", "insgesamt", "suma", "celulas", "somme", "totaux"}
_TOTAL |= {"всего", "итого", "сумма", "клеток", "总数", "合计", "总计"}
_VALUE = {"count", "counts", "n", "number", "cells", "value", "percent", "percentage", "pct"}
_LABEL = {"label", "class", "type", "celltype", "cell"}

#: Beginnings of the words by which laboratories call a cell type, in English and German alike.
_STARTS = (
    ("eos", "eosinophil"),
    ("lymph", "lymphocyte"),
    ("mono", "monocyte"),
    ("neut", "neutrophil"),
    ("baso", "basophil"),
)
_SHORT = {
    "eo": "eosinophil",
    "ly": "lymphocyte",
    "lym": "lymphocyte",
    "mo": "monocyte",
    "mon": "monocyte",
    "ne": "neutrophil",
    "neu": "neutrophil",
    "pmn": "neutrophil",
    "poly": "neutrophil",
    "polys": "neutrophil",
    "ba": "basophil",
    "bas": "basophil",
}
_LABELS = frozenset(label for _, label in _STARTS)
#: Neutrophils that a manual count may tell apart; together they are one label here.
_PARTS = ("seg", "band", "stab", "rod")
#: All neutrophils, or those that are no bands: the sums of a table tell.
_POLYMORPHS = ("pmn", "poly")


@dataclass(frozen=True, slots=True)
class Heading:
    """Meaning of one column of a wide table, or of one label of a long one.

    Attributes:
        role: ``label``, ``part`` (of the neutrophils), ``group``, ``total``, or empty where it is
            nothing that is compared.
        label: the cell type of a ``label`` or ``part``.
        percent: the name says that the numbers are percentages.
    """

    role: str
    label: str = ""
    percent: bool = False


def heading(text: str) -> Heading:
    """Return what a column is, told from its name."""
    word, percent = _word(text)
    if word in _GROUP:
        return Heading("group")
    if word in _TOTAL:
        return Heading("total")
    # Analysers write NEUT# for cells per litre: neither cells counted nor a percentage.
    if "#" in text or "10^" in text or re.search(r"/\s*[uµμmn]?l\b", text.casefold()):
        return Heading("")
    named = cell_type(text)
    return Heading(named.role, named.label, percent)


def cell_type(text: str) -> Heading:
    """Return the cell type that a name says; an empty role where it says none, several, or another
    kind of cell, such as a lymphoblast."""
    word, _ = _word(text)
    # Per cent, spelt out, begins as a promyelocyte does.
    if names_another_kind(re.sub(r"(?i)prozent\w*|процент\w*", " ", text)):
        return Heading("")
    words = [_word(part)[0] for part in re.split(r"[\W_]+", text)]
    said = {label for part in (word, *words) for start, label in _STARTS if part.startswith(start)}
    if len(said) > 1:
        return Heading("")
    named = understand(text)
    is_part = word.startswith(_PARTS) or ("neutrophil" in said and any(p in word for p in _PARTS))
    # In other languages, as "Neutrófilos bastonetes": they are not all of the neutrophils.
    is_part |= named.part and not any(part.startswith(_POLYMORPHS) for part in words)
    if is_part and said <= {"neutrophil"}:
        return Heading("part", "neutrophil")
    if word in _SHORT:
        return Heading("label", _SHORT[word])
    if said:
        return Heading("label", said.pop())
    # In other languages, as class folders may be named.
    if named.standard in _LABELS:
        return Heading("part" if named.part else "label", str(named.standard))
    return Heading("")


def same_name(text: str, labels: Iterable[str]) -> str | None:
    """Return the label that a name is, leaving aside capitals, signs, a plural and per cent."""
    word = _word(text)[0].removesuffix("s")
    return next(
        (label for label in labels if word and _word(label)[0].removesuffix("s") == word), None
    )


def long_columns(header: tuple[str, ...]) -> tuple[int, int, int, int | None] | None:
    """Return ``(group, label, value, total)`` columns of a long table; None where it is a wide
    one."""
    words = [_word(name)[0] for name in header]
    label = _first(words, _LABEL)
    group = _first(words, _GROUP)
    value = _first(words, _VALUE)
    if label is None or group is None or value is None:
        return None
    return group, label, value, _first(words, _TOTAL, value + 1)


def says_percent(text: str) -> bool:
    """Say whether the name of a column says that its numbers are percentages."""
    return _word(text)[1]


def _first(words: list[str], wanted: set[str], start: int = 0) -> int | None:
    return next((at for at in range(start, len(words)) if words[at] in wanted), None)


def _word(text: str) -> tuple[str, bool]:
    """Return a name in small letters without signs, and whether it says percent."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    word = re.sub(r"[\W\d_]", "", plain)
    bare = re.sub("percentage|percent|pct|prozent", "", word)
    return bare or word, bare != word or "%" in text

"""Class names of labelled data, in the terms of the field."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from wbcdet.records import LABELS

#: Types of labelled cells. ``other`` is any other white cell; like basophils and artefacts it
#: must come out unclassified.
TYPES = (*(str(label) for label in LABELS), "basophil", "other", "artefact")
#: What a class can stand for beside the types.
WHITE_CELL = "white-cell"
NOT_WHITE = "not-white"
IGNORE = "ignore"

_NAMES = {
    "eosinophil": "eosinophil eosino eos eo",
    "lymphocyte": "lymphocyte lympho lymph lymp lym ly",
    "monocyte": "monocyte mono mon mo",
    "neutrophil": "neutrophil neutro neutr neut neu ne seg band segmented bne sne ngs ngb",
    "basophil": "basophil baso bas ba",
    "other": "other",
    "artefact": "artefact artifact debris",
    WHITE_CELL: "wbc leukocyte leucocyte",
    NOT_WHITE: "rbc erythrocyte platelet plt thrombocyte background",
    IGNORE: "ignore",
}
_LONG_NAMES = {
    "segmented neutrophil": "neutrophil",
    "neutrophil segmented": "neutrophil",
    "neutrophil seg": "neutrophil",
    "seg neutrophil": "neutrophil",
    "band neutrophil": "neutrophil",
    "neutrophil band": "neutrophil",
    "band cell": "neutrophil",
    "stab cell": "neutrophil",
    "white cell": WHITE_CELL,
    "white blood cell": WHITE_CELL,
    "red cell": NOT_WHITE,
    "red blood cell": NOT_WHITE,
    "blood platelet": NOT_WHITE,
    "not white": NOT_WHITE,
}


def standard_type(name: str, mapping: Mapping[str, str] | None = None) -> str | None:
    """What a class of labelled data stands for.

    Args:
        name: as the data has it, such as ``EOSINOPHIL``, ``Neutrophils`` or ``03_mono``.
        mapping: the user's own names, as :func:`parse_mapping` gives them; they come first.

    Returns:
        one of ``TYPES``, ``WHITE_CELL``, ``NOT_WHITE`` or ``IGNORE``; None where the name says
        nothing.
    """
    for own, standard in (mapping or {}).items():
        if own == name or (_plain(own) and _plain(own) == _plain(name)):
            return standard
    return _STANDARD.get(_plain(name))


def parse_mapping(pairs: list[str]) -> dict[str, str]:
    """``OWN=STANDARD`` texts as a mapping.

    Raises:
        ValueError: a text is no such pair; the message is one line.
    """
    mapping = {}
    for pair in pairs:
        own, equals, term = pair.rpartition("=")
        standard = _STANDARD.get(_plain(term))
        if not equals or not own.strip() or standard is None:
            known = ", ".join((*TYPES, "wbc", "rbc", "platelet", "ignore"))
            raise ValueError(
                f"--map {pair!r} must read OWN=STANDARD, STANDARD being one of {known}"
            )
        mapping[own.strip()] = standard
    return mapping


def _plain(name: str) -> str:
    """Lower case, no accents, numbers or plural: ``03_Neutrophils`` is ``neutrophil``."""
    text = unicodedata.normalize("NFKD", name.casefold())
    words = re.sub(r"[^a-z]+", " ", text.encode("ascii", "ignore").decode()).split()
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)


_STANDARD = {_plain(name): standard for name, standard in _LONG_NAMES.items()} | {
    _plain(name): standard for standard, names in _NAMES.items() for name in names.split()
}

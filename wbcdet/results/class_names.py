"""Translate class names of labelled data into standard cell types."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from wbcdet.records import LABELS

#: Types of labelled cells. ``other`` is any other white cell; like basophils and artefacts it
#: must come out unclassified.
TYPES = (*(str(label) for label in LABELS), "basophil", "other", "artefact")
#: Meanings of a class beside the types.
WHITE_CELL = "white-cell"
NOT_WHITE = "not-white"
IGNORE = "ignore"

#: Words that stand for a class, as patterns of whole words without accents: English and Latin,
#: Spanish, Portuguese, Italian, French, German, Dutch, Polish, Turkish, Russian.
_WORDS = {
    "eosinophil": r"eo|eosi?n?o?|eosin|eosi?nof\w*|eosi?noph\w*|eoz[iy]n\w*|эо|эоз\w*"
    r"|kwasochlonn\w*|pne",
    "lymphocyte": r"ly|lymp?h?o?|lymphoc\w*|lymphoz\w*|lymfo[cs]\w*|linfo?|linfoc\w*|limfo?"
    r"|limfoc\w*|lenfosit\w*|лимфо?|лимфоц\w*",
    "monocyte": r"mo|mono?|monoc[iy]\w*|monozyt\w*|monosit\w*|monosyt\w*|моно?|моноц\w*",
    "neutrophil": r"ne|neut?r?o?|neutrof\w*|neutroph\w*|notrofil\w*|obojetnochlonn\w*|pnn|неит"
    r"|неитро?|неитрофил\w*",
    "basophil": r"ba|baso?|basof\w*|basoph\w*|bazo?|bazof\w*|zasadochlonn\w*|pnb|базо?|базофил\w*",
    "other": r"others?|otros?|otras?|outros?|outras?|altr[aeio]|autres?|andere|sonstige|inne|diger"
    r"|другие|другое|прочие",
    "artefact": r"artefac?t?\w*|artifact\w*|artefakt\w*|sujeira|debris?|артефакт\w*",
    WHITE_CELL: r"wbcs?|leu[ck]oc[iy]t\w*|leukozyt\w*|lokosit\w*|akyuvar\w*|леикоцит\w*",
    NOT_WHITE: r"rbcs?|platelets?|plts?|backgrounds?|erythroc\w*|erythrozyt\w*|eritroc[iy]t\w*"
    r"|eritrosit\w*|erytrocyt\w*|alyuvar\w*|hemacia|hematies?|thromboc\w*|thrombozyt\w*|tromboc[iy]t\w*|trombosit\w*|plaquetas?"
    r"|plaquettes?|piastrin\w*|plytk\w*|hintergrund|s?fondo|fundo|tlo|zemin|фон|эритроцит\w*|тромбоцит\w*",
    IGNORE: r"ignored?",
}
#: Neutrophils of one shape; of another type where the name says so.
_PARTS = (
    r"seg|segm|segment\w*|seg\w*neut\w*|band|bands|banda|bandas|band\w*neut\w*|stab|stabs|stabkern\w*"
    r"|stab\w*neut\w*|rods?|bne|sne|ngs|ngb|pmns?|polys?|polymorph\w*|baston\w*|bastao|bastoes?|cayado\w*|abaston\w*|paleczk\w*|podzielon\w*|comak\w*|parcali"
    r"|палочк\w*|сегмент\w*|с\W?я|п\W?я"
)
#: The same in Chinese, Japanese and Korean names.
_PART_SIGNS = (
    *("分叶", "分葉", "杆状", "桿状", "桿狀", "杆狀"),
    *("분엽", "분절", "띠호중", "띠중성", "간상핵"),
)
#: Parts of Chinese, Japanese and Korean names.
_SIGNS = {
    "eosinophil": ("嗜酸", "好酸", "호산구"),
    "basophil": ("嗜碱", "嗜鹼", "好塩基", "호염기구"),
    "lymphocyte": ("淋巴", "リンパ", "림프구"),
    "monocyte": ("单核", "單核", "単球", "단핵구", "단구"),
    "neutrophil": ("中性", "好中", *_PART_SIGNS, "호중구", "중성구"),
    WHITE_CELL: ("白细胞", "白細胞", "白血球", "백혈구"),
    NOT_WHITE: (
        "红细胞",
        "紅細胞",
        "红血球",
        "紅血球",
        "赤血球",
        "血小板",
        "背景",
        "적혈구",
        "혈소판",
    ),
    "artefact": ("伪影", "偽影", "杂质"),
    "other": ("其他", "其它", "その他"),
}
#: Words and signs that change the meaning: their cells are white cells of other types, or nobody
#: knows. Never mapped unasked.
_OTHERWISE = re.compile(
    r"blast|бласт|^pro|^meta|^myelo|^про|^мета|^миело|^plasm|^плазм|plasmoc|atyp|атип|rea[ck]ti|immatur"
    r"|^ig$|smudge|unreif|inmadur|immatur|mononuclear|juvenil|jugendlich|^jov(en|em)|^giovan|^jeune"
)
_OTHERWISE_SIGNS = ("幼", "异型", "異型", "原始", "芽球", "浆细胞")
#: Words that add nothing beside a type.
_FILLERS = re.compile(
    r"cells?|zelle|zellen|celulas?|cellules?|cellul[ae]|клетк\w*|blood|white|granuloc\w*|granulozyt\w*"
    r"|гранулоцит\w*|polynuclea\w*|wbcs?|leu[ck]oc[iy]t\w*|leukozyt\w*|леикоцит\w*|crops?|images?|imgs?"
    r"|pictures?|photos?|bilder|class|type|forms?|mature|normal|healthy|kernige?|n|en|el|la"
    r"|los|las|les|de|the|of|and|и"
)
_LONG_NAMES = {
    "white cell": WHITE_CELL,
    "white blood cell": WHITE_CELL,
    "weisse blutkorperchen": WHITE_CELL,
    "globulo blanco": WHITE_CELL,
    "globule blanc": WHITE_CELL,
    "globulo bianco": WHITE_CELL,
    "globuli bianchi": WHITE_CELL,
    "globulo branco": WHITE_CELL,
    "krwinki biale": WHITE_CELL,
    "biale krwinki": WHITE_CELL,
    "white": WHITE_CELL,
    "red cell": NOT_WHITE,
    "red blood cell": NOT_WHITE,
    "blood platelet": NOT_WHITE,
    "rote blutkorperchen": NOT_WHITE,
    "globulo rojo": NOT_WHITE,
    "globule rouge": NOT_WHITE,
    "globulo rosso": NOT_WHITE,
    "globuli rossi": NOT_WHITE,
    "globulo vermelho": NOT_WHITE,
    "krwinki czerwone": NOT_WHITE,
    "czerwone krwinki": NOT_WHITE,
    "plytki krwi": NOT_WHITE,
    "arka plan": NOT_WHITE,
    "blutplattchen": NOT_WHITE,
    "not white": NOT_WHITE,
}
#: Names that others are compared with to guess at a slip of the pen.
_CANONICAL = ("eosinophil", "lymphocyte", "monocyte", "neutrophil", "basophil", "artefact")
_ALIKE = 0.8


@dataclass(frozen=True, slots=True)
class ClassName:
    """Meaning of a class name.

    Attributes:
        standard: as :func:`standard_type` gives it.
        part: it names one shape of neutrophils alone, such as bands.
    """

    standard: str | None
    part: bool = False


def standard_type(name: str, mapping: Mapping[str, str] | None = None) -> str | None:
    """Return the standard type of a class of labelled data.

    Args:
        name: as the data has it, such as ``EOSINOPHIL``, ``Neutrófilos`` or ``03_mono``.
        mapping: the user's own names, as :func:`parse_mapping` gives them; they come first.

    Returns:
        one of ``TYPES``, ``WHITE_CELL``, ``NOT_WHITE`` or ``IGNORE``; None where the name says
        nothing, or nothing that is sure.
    """
    for own, standard in (mapping or {}).items():
        if own == name or (_plain(own) and _plain(own) == _plain(name)):
            return standard
    return understand(name).standard


@lru_cache(maxsize=4096)
def understand(name: str) -> ClassName:
    """Interpret a name, where every word of it is understood and all agree."""
    plain = _plain(name)
    if "?" in name:  # who labelled it was not sure
        return ClassName(None)
    if plain in _LONG_NAMES:
        return ClassName(_LONG_NAMES[plain])
    if any(sign in plain for sign in _OTHERWISE_SIGNS):
        return ClassName(None)
    said = {type_ for type_, signs in _PLAIN_SIGNS.items() if any(sign in plain for sign in signs)}
    if said:
        standard = said.pop() if len(said) == 1 else _of_blood(said)
        shaped = any(sign in plain for sign in _PLAIN_PART_SIGNS)
        return ClassName(standard, shaped and standard == "neutrophil")
    part = False
    for word in plain.split():
        kind = _kind_of(word)
        if kind is not None:
            said.add(kind)
        elif _PART.fullmatch(word):
            part = True
        elif _OTHERWISE.search(word) or not _FILLERS.fullmatch(word):
            return ClassName(None)
    # "Leukocytes, neutrophil" is a neutrophil.
    if len(said) > 1:
        said.discard(WHITE_CELL)
    if part:
        said = said or {"neutrophil"}
    return ClassName(said.pop(), part) if len(said) == 1 else ClassName(None)


def names_another_kind(name: str) -> bool:
    """Say whether a word of a name changes its meaning: a lymphoblast is not a lymphocyte."""
    words = _plain(name).split()
    return any(_OTHERWISE.search(word) for word in words) or any(
        sign in name for sign in _OTHERWISE_SIGNS
    )


def suggestion(name: str) -> str | None:
    """Guess what a class of unknown name may be: a question to the user, never an answer."""
    if names_another_kind(name):
        return "other"
    for word in _plain(name).split():
        if (kind := _kind_of(word)) is not None:
            return kind
        if _PART.fullmatch(word):
            return "neutrophil"
        if close := difflib.get_close_matches(word, _CANONICAL, 1, _ALIKE):
            return close[0]
    return None


def parse_mapping(pairs: list[str]) -> dict[str, str]:
    """Parse ``OWN=STANDARD`` texts to a mapping.

    Raises:
        ValueError: a text is not such a pair; the message is one line.
    """
    mapping = {}
    for pair in pairs:
        own, equals, term = pair.rpartition("=")
        standard = understand(term).standard
        if not equals or not own.strip() or standard is None:
            known = ", ".join((*TYPES, "wbc", "rbc", "platelet", "ignore"))
            raise ValueError(
                f"--map {pair!r} must read OWN=STANDARD, STANDARD being one of {known}"
            )
        mapping[own.strip()] = standard
    return mapping


def _kind_of(word: str) -> str | None:
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(word)), None)


def _of_blood(said: set[str]) -> str | None:
    """Keep the type of a name such as ``嗜酸性白细胞``, which says white cell as well."""
    rest = said - {WHITE_CELL}
    return rest.pop() if len(rest) == 1 else None


def _plain(name: str) -> str:
    """Lower case, no accents, numbers or plural: ``03_Neutrophils`` is ``neutrophil``."""
    # "BandNeutrophil" is two words.
    text = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", name)
    text = unicodedata.normalize("NFKD", text.casefold().translate(_UNACCENTED))
    text = "".join(sign for sign in text if not unicodedata.combining(sign))
    words = re.sub(r"[\W\d_]+", " ", text).split()
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)


#: Letters whose accent is not a character of its own.
_UNACCENTED = str.maketrans("łøıđ", "loid")
_KINDS = {kind: re.compile(pattern) for kind, pattern in _WORDS.items()}
_PART = re.compile(_PARTS)
_PLAIN_PART_SIGNS = tuple(map(_plain, _PART_SIGNS))
_PLAIN_SIGNS = {kind: tuple(_plain(sign) for sign in signs) for kind, signs in _SIGNS.items()}

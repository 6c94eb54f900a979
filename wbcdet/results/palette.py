"""The colour of every label, in pictures and pages."""

from __future__ import annotations

from zlib import crc32

from wbcdet.records import CellType

#: Okabe and Ito's palette, RGB: told apart with every common form of colour blindness. Each is
#: far from the pinks and violets of a stained smear.
COLOURS: dict[CellType, tuple[int, int, int]] = {
    CellType.EOSINOPHIL: (213, 94, 0),
    CellType.LYMPHOCYTE: (86, 180, 233),
    CellType.MONOCYTE: (240, 228, 66),
    CellType.NEUTROPHIL: (0, 158, 115),
    CellType.UNCLASSIFIED: (225, 225, 225),
}


#: Colours of what only a person calls a cell: two of the same palette, and a grey.
_GIVEN = {"basophil": (0, 114, 178), "artefact": (120, 120, 120), "deleted": (120, 120, 120)}


#: Colours of types of a laboratory's own, whether taught or named by a person. A name has the same
#: colour on every page, drawing and map of every report, so it follows from the name alone. Chosen
#: one after the other, each as far as can be from those before it, from all above and from a
#: stained smear, also as people see them who cannot tell red from green.
_USUAL = {
    (204, 121, 167): ("band", "bands", "stab", "cayado", "палочкоядерный"),
    (90, 0, 255): ("blast", "blasts", "blasto", "blastos", "бласт", "бласты"),
    (0, 255, 150): ("immature granulocyte", "ig", "granulocito inmaduro"),
    (180, 0, 45): ("nucleated red cell", "nrbc", "erythroblast", "normoblast", "нормобласт"),
    (150, 165, 90): ("metamyelocyte", "metamielocito", "метамиелоцит"),
    (120, 105, 255): ("myelocyte", "mielocito", "миелоцит"),
    (105, 75, 120): ("promyelocyte", "promielocito", "промиелоцит"),
    (120, 210, 75): ("reactive lymphocyte", "atypical lymphocyte", "linfocito reactivo"),
    (135, 15, 195): ("plasma cell", "plasmocyte", "célula plasmática", "плазмоцит"),
    (60, 105, 60): ("smudge cell", "smudge", "sombra de gumprecht"),
    (30, 210, 225): ("segmented", "segmented neutrophil", "segmentado", "сегментоядерный"),
    (210, 0, 180): ("myeloblast", "mieloblasto", "миелобласт"),
}
_BY_NAME = {name: colour for colour, names in _USUAL.items() for name in names}
#: Of all other names; which of them, only chance tells, and two names may meet.
_OTHERS = (
    (120, 150, 255), (150, 210, 165), (195, 0, 0), (225, 150, 0), (210, 240, 120),
    (225, 0, 90), (75, 75, 255), (150, 255, 195), (210, 105, 60), (225, 195, 120),
    (165, 105, 210), (210, 135, 135),
)  # fmt: skip


def rgb_of(label: str) -> tuple[int, int, int]:
    """Return the colour of any label, red, green, blue."""
    if label in [str(known) for known in COLOURS]:
        return COLOURS[CellType(label)]
    name = str(label)
    if name in _GIVEN:
        return _GIVEN[name]
    # Not hash(), which is another one in each process.
    return _BY_NAME.get(name.casefold()) or _OTHERS[crc32(name.encode()) % len(_OTHERS)]


def colour_of(label: str) -> str:
    """Return the colour of any label, as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*rgb_of(label))

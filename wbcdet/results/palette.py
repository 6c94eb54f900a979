"""The colour of every label, in pictures and pages."""

from __future__ import annotations

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


_OTHER = (204, 121, 167)


def rgb_of(label: str) -> tuple[int, int, int]:
    """Return the colour of any label, red, green, blue."""
    if label in [str(known) for known in COLOURS]:
        return COLOURS[CellType(label)]
    return _GIVEN.get(str(label), _OTHER)


def colour_of(label: str) -> str:
    """Return the colour of any label, as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*rgb_of(label))

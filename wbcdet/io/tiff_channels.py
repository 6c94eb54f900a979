"""Tell which of the separate channels of a TIFF are red, green and blue.

ImageJ and the programs that write OME-TIFF store channels in any order, and say of each in which
colour it is shown.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np

from wbcdet.io.errors import FieldError

if TYPE_CHECKING:
    from tifffile import TiffFile

#: As stored, where nothing else is said.
_AS_STORED = (0, 1, 2)
#: Bytes of a description that are parsed.
_MAX_XML = 10_000_000


def order_of_channels(file: TiffFile) -> tuple[int, int, int]:
    """Return the places of red, green and blue among three separate channels.

    Raises:
        FieldError: they are shown in other colours.
    """
    shown = _of_imagej(file) or _of_ome(file)
    if len(shown) != len(_AS_STORED) or len(set(shown)) == 1:
        return _AS_STORED
    # A channel that is shown in one colour alone is that colour.
    single = [
        next((at for at, level in enumerate(colour) if level), -1)
        if np.count_nonzero(colour) == 1
        else -1
        for colour in shown
    ]
    if sorted(single) != [0, 1, 2]:
        raise FieldError(
            "TIFF whose channels are shown in colours other than red, green and blue is no colour "
            "picture; export it as RGB"
        )
    return single.index(0), single.index(1), single.index(2)


def refuse_false_colours(file: TiffFile) -> None:
    """Refuse grey planes that ImageJ shows through a table: its colours are no stain.

    Raises:
        FieldError: the table is not that of plain grey, from black to white.
    """
    grey = np.arange(256)
    if any(np.abs(table.astype(int) - grey).max() > 1 for table in _tables(file)):
        raise FieldError(
            "TIFF of a grey picture that is shown in other colours or as its negative; "
            "export it as RGB"
        )


def _tables(file: TiffFile) -> list[np.ndarray]:
    """Return ImageJ's tables from levels to red, green and blue, (3, 256), one a channel."""
    said: dict[str, Any] = file.imagej_metadata or {}
    given = said.get("LUTs", [])
    # tifffile gives the table of one channel as it is, those of several in a list.
    tables = [np.asarray(table) for table in ([given] if isinstance(given, np.ndarray) else given)]
    return [] if any(table.shape != (3, 256) for table in tables) else tables


def _of_imagej(file: TiffFile) -> list[tuple[int, ...]]:
    """Return red, green and blue of each channel at its brightest; none where nothing is said."""
    return [tuple(int(level) for level in table[:, -1]) for table in _tables(file)]


def _of_ome(file: TiffFile) -> list[tuple[int, ...]]:
    text = file.ome_metadata if file.is_ome else None
    if not text or len(text) > _MAX_XML:
        return []
    try:
        pixels = next(
            (element for element in ET.fromstring(text).iter() if _name(element) == "Pixels"), None
        )
    except ET.ParseError:
        return []
    if pixels is None:
        return []
    said = [channel.get("Color") for channel in pixels if _name(channel) == "Channel"]
    try:
        numbers = [int(colour) & 0xFFFFFFFF for colour in said if colour is not None]
    except ValueError:
        return []
    if len(numbers) != len(said):
        return []
    return [tuple(number >> shift & 0xFF for shift in (24, 16, 8)) for number in numbers]


def _name(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]

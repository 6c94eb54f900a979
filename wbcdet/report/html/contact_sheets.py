"""Contact sheets: all cells of a label as pictures of many thumbnails each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wbcdet.report.html.gallery import CellPicture
from wbcdet.report.journal import Place
from wbcdet.report.thumbnails import SIDE, from_jpeg, to_jpeg

#: Thumbnails across and down.
COLUMNS, ROWS = 14, 12
_GAP, _CAPTION = 4, 16
_QUALITY = 82


def sheets_for(cells: int) -> int:
    """Return how many sheets so many cells take."""
    return -(-cells // (COLUMNS * ROWS))


def contact_sheets(
    shots: Sequence[CellPicture], title: str, picture: Callable[[Place], bytes]
) -> Iterator[bytes]:
    """Yield JPEG pictures of all cells, with score and row in ``cells.csv`` below each.

    Args:
        shots: the cells, in order.
        title: heading of every sheet; the range of cells is added.
        picture: gives the thumbnail at a place.
    """
    remaining = iter(shots)
    first = 1
    while part := list(islice(remaining, COLUMNS * ROWS)):
        yield _sheet(part, f"{title}: {first} to {first + len(part) - 1} of {len(shots)}", picture)
        first += len(part)


def _sheet(shots: Sequence[CellPicture], title: str, picture: Callable[[Place], bytes]) -> bytes:
    rows = -(-len(shots) // COLUMNS)
    step = (SIDE + _GAP, SIDE + _CAPTION + _GAP)
    head = 30
    canvas = Image.new("RGB", (COLUMNS * step[0] + _GAP, head + rows * step[1] + _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((_GAP, 6), title, fill="black", font=ImageFont.load_default(15))
    small = ImageFont.load_default(11)
    for number, shot in enumerate(shots):
        left = _GAP + number % COLUMNS * step[0]
        top = head + number // COLUMNS * step[1]
        canvas.paste(Image.fromarray(from_jpeg(picture(shot.place))[:, :, ::-1]), (left, top))
        caption = f"{shot.score:.2f}   row {shot.row}"
        draw.text((left, top + SIDE + 1), caption, fill="black", font=small)
    return to_jpeg(np.asarray(canvas)[:, :, ::-1], _QUALITY)

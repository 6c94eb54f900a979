"""Overlapping fields: found where they overlap, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import make_cell

from wbcdet.datasets.synthetic import SmearField, render_smear
from wbcdet.report.duplicates import View, find_duplicates
from wbcdet.report.registration import RegistrationImage, encode_registration_image

Box = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def smear() -> SmearField:
    return render_smear(5, 1400, 960, cell_px=60, cells_per_mm2=1200)


def view(name: str, pixels: np.ndarray, boxes: list[Box]) -> View:
    height, width = pixels.shape[:2]
    cells = tuple(
        replace(
            make_cell(number, box),
            touches_edge=min(box[0], box[1], width - box[2], height - box[3]) < 1,
        )
        for number, box in enumerate(boxes)
    )
    return View(
        name, cells, RegistrationImage(encode_registration_image(pixels), width, height, boxes)
    )


def part(smear: SmearField, left: int, top: int, width: int = 640, height: int = 480) -> View:
    """Return a field of the smear, with the cells that lie in it, cut by its border."""
    boxes = []
    for cell in smear.cells:
        x0, y0, x1, y1 = cell.box
        box = (
            float(max(0, x0 - left)),
            float(max(0, y0 - top)),
            float(min(width, x1 - left)),
            float(min(height, y1 - top)),
        )
        if box[2] - box[0] > 15 and box[3] - box[1] > 15:
            boxes.append(box)
    pixels = smear.pixels[top : top + height, left : left + width]
    return view(f"{left}-{top}", np.ascontiguousarray(pixels), boxes)


def place(shown: View, cell: int) -> Box:
    """Return the box of a cell in the smear."""
    left, top = map(int, shown.file.split("-"))
    x0, y0, x1, y1 = shown.cells[cell].box
    return left + x0, top + y0, left + x1, top + y1


def test_a_raster_counts_every_cell_once(smear: SmearField) -> None:
    views = [part(smear, left, top) for top in (0, 300, 480) for left in (0, 380, 760)]
    found = find_duplicates(views)
    by_name = {shown.file: shown for shown in views}
    whole = 0
    for (file, cell), (kept, other) in found.duplicate_of.items():
        first, two = place(by_name[file], cell), place(by_name[kept], other)
        # The same box, except for what a border cuts off.
        width = min(first[2], two[2]) - max(first[0], two[0])
        height = min(first[3], two[3]) - max(first[1], two[1])
        least = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, two))
        assert width > 0 and height > 0 and width * height > 0.9 * least
        whole += first == two
        assert (kept, other) not in found.duplicate_of
    left = sum(len(shown.cells) for shown in views) - len(found.duplicate_of)
    shown = [cell for cell in smear.cells if cell.box[0] < 1385 and cell.box[1] < 945]
    assert whole > 10
    assert left == pytest.approx(len(shown), abs=2)


def test_fields_of_other_places_do_not_overlap() -> None:
    views = [part(render_smear(seed, 640, 480, cell_px=90), 0, 0) for seed in range(12)]
    renamed = [View(str(n), shown.cells, shown.ground) for n, shown in enumerate(views)]
    assert find_duplicates(renamed).pairs == []


def test_cells_alone_are_no_evidence() -> None:
    rng = np.random.default_rng(0)
    views = []
    for number, (x, y) in enumerate([(200, 150), (300, 220), (120, 260)]):
        ground = np.full((480, 640, 3), 225, np.uint8)
        cv2.circle(ground, (x, y), 40, (150, 60, 110), -1)
        cv2.circle(ground, (x - 8, y), 22, (90, 20, 60), -1)
        noisy = np.clip(ground + rng.normal(0, 2, ground.shape), 0, 255).astype(np.uint8)
        views.append(view(str(number), noisy, [(x - 40.0, y - 40.0, x + 40.0, y + 40.0)]))
    found = find_duplicates(views)
    assert found.pairs == [] and found.duplicate_of == {}


def test_copies_and_sizes(smear: SmearField) -> None:
    left = part(smear, 100, 100)
    copy = View("copy", left.cells, left.ground)
    smaller = part(smear, 100, 100, 600, 480)
    other = View("smaller", smaller.cells, smaller.ground)
    found = find_duplicates([left, copy, other])
    assert found.pairs == [(left.file, "copy")]
    assert found.duplicate_of == {("copy", n): (left.file, n) for n in range(len(left.cells))}
    assert find_duplicates([]).pairs == [] and find_duplicates([left]).duplicate_of == {}


def test_the_whole_view_stays(smear: SmearField) -> None:
    left = part(smear, 100, 100)
    cut = tuple(replace(cell, touches_edge=True) for cell in left.cells)
    whole = View(
        left.file, tuple(replace(cell, touches_edge=False) for cell in left.cells), left.ground
    )
    found = find_duplicates([View("cut", cut, left.ground), whole])
    assert set(found.duplicate_of) == {("cut", n) for n in range(len(cut))}


def test_real_fields(real_field: Callable[[str, str], np.ndarray]) -> None:
    # Cells by hand: the neutrophil that 223 and 263 share, and one that is only in the other two.
    boxes: dict[str, list[Box]] = {
        "BloodImage_00204.jpg": [(289.0, 222.0, 451.0, 382.0)],
        "BloodImage_00277.jpg": [(359.0, 152.0, 521.0, 312.0)],
        "BloodImage_00100.jpg": [(100.0, 100.0, 250.0, 250.0)],
        "BloodImage_00001.jpg": [(100.0, 100.0, 250.0, 250.0)],
    }
    views = [view(name, real_field("bccd.zip", name), found) for name, found in boxes.items()]
    found = find_duplicates(views)
    assert found.pairs == [("BloodImage_00204.jpg", "BloodImage_00277.jpg")]
    shift = views[1].ground.shift_to([views[0].ground])[0]
    assert shift is not None
    assert (shift.dx, shift.dy) == (pytest.approx(-70, abs=4), pytest.approx(70, abs=4))

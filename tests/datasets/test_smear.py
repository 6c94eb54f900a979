"""The synthetic smear: the same for a seed, true to its own truth, and each cell type itself."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from wbcdet.datasets.synthetic import (
    SMEAR_LABELS,
    STAINS,
    SmearField,
    Stain,
    render_field,
    render_smear,
)

ONE_OF_EACH = dict.fromkeys(SMEAR_LABELS, 1)


def density(field: SmearField) -> npt.NDArray[np.float64]:
    """Optical density of a picture (H, W, 3), measured as one would on a real field."""
    ground = np.percentile(field.pixels.reshape(-1, 3), 90, axis=0)
    return -np.log(np.maximum(field.pixels, 1) / ground)


def inside(field: SmearField, box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    x_min, y_min, x_max, y_max = map(int, box)
    return slice(y_min, y_max), slice(x_min, x_max)


def test_a_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (render_field(seed, 320, 240) for seed in (5, 5, 6))
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.cells == again.cells
    assert first.pixels.tobytes() != other.pixels.tobytes()


def test_the_order_of_counts_does_not_matter() -> None:
    smear_field = render_field(1, counts={"monocyte": 1, "neutrophil": 2})
    two = render_field(1, counts={"neutrophil": 2, "monocyte": 1})
    assert smear_field.pixels.tobytes() == two.pixels.tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_honoured(seed: int) -> None:
    counts = {"neutrophil": 2, "lymphocyte": 3, "basophil": 1, "monocyte": 0}
    field = render_field(seed, 800, 600, cell_px=80, counts=counts)
    found = [cell.label for cell in field.cells]
    assert {label: found.count(label) for label in counts} == counts
    assert len(found) == 6


def test_a_field_by_chance_shows_the_four_labels_of_the_product() -> None:
    fields = [render_field(seed, 320, 240) for seed in range(12)]
    assert all(1 <= len(field.cells) <= 4 for field in fields)
    shown = {cell.label for field in fields for cell in field.cells}
    assert shown == {"neutrophil", "eosinophil", "lymphocyte", "monocyte"}
    assert len({field.stain.name for field in fields}) > 2


@pytest.mark.parametrize("cell_px", [15, 40, 110])
@pytest.mark.parametrize("eyepiece", [False, True])
def test_cells_lie_whole_inside_and_apart(cell_px: float, eyepiece: bool) -> None:
    field = render_field(3, 900, 700, cell_px=cell_px, counts=ONE_OF_EACH, eyepiece=eyepiece)
    height, width = field.pixels.shape[:2]
    for cell in field.cells:
        x_min, y_min, x_max, y_max = cell.box
        assert 0 <= x_min < x_max <= width
        assert 0 <= y_min < y_max <= height
        assert cell.center == ((x_min + x_max) / 2, (y_min + y_max) / 2)
        if eyepiece:
            out = math.dist(cell.center, (width / 2, height / 2))
            assert out + cell.diameter / 2 < 0.47 * min(width, height) + 1
    for i, drawn in enumerate(field.cells):
        for two in field.cells[:i]:
            assert math.dist(drawn.center, two.center) > 0.9 * (drawn.diameter + two.diameter) / 2


@pytest.mark.parametrize("label", SMEAR_LABELS)
@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_tight_around_what_is_drawn(label: str, seed: int) -> None:
    # Without red cells, all that is darker than the ground near the middle is the cell.
    field = render_field(
        seed, 260, 260, cell_px=110, counts={label: 1}, red_share=0.0, stain=STAINS[3]
    )
    (cell,) = field.cells
    dark = (density(field)[..., 1] > 0.22).astype(np.uint8)
    # A platelet may lie beside the cell: only what hangs together with its middle counts.
    _, parts, stats, _ = cv2.connectedComponentsWithStats(dark)
    left, top, width, height, _ = stats[_part_at(parts, cell.center)]
    assert np.allclose((left, top, left + width, top + height), cell.box, atol=6)


def _part_at(parts: npt.NDArray[np.int32], center: tuple[float, float]) -> int:
    x, y = map(int, center)
    near = parts[y - 20 : y + 20, x - 20 : x + 20]
    return int(np.bincount(near[near > 0]).argmax())


def test_nuclei_are_the_darkest_and_lie_inside_the_boxes() -> None:
    field = render_field(8, 640, 480, counts=ONE_OF_EACH, stain=STAINS[1])
    dark = density(field)[..., 1] > 1.3
    boxed = np.zeros_like(dark)
    for cell in field.cells:
        assert dark[inside(field, cell.box)].mean() > 0.08, cell.label
        boxed[inside(field, cell.box)] = True
    assert dark[~boxed].mean() < 0.002


@pytest.mark.parametrize("label", SMEAR_LABELS)
def test_no_red_cell_lies_over_a_white_one(label: str) -> None:
    # Red cells that take all blue light, white cells that take none of it.
    stain = Stain(
        "tracer",
        ground=(200, 200, 200),
        red=(2, 0.1, 0.1),
        nucleus=(0, 2, 1),
        pink=(0, 0.3, 0.2),
        blue=(0, 0.4, 0.3),
        eosin=(0, 0.8, 0.3),
        azure=(0, 0.6, 0.3),
        pallor=0.3,
    )
    field = render_field(2, 300, 300, counts={label: 1}, stain=stain, red_share=0.7)
    assert (field.pixels[..., 0] < 80).mean() > 0.2
    x, y = field.cells[0].center
    radius = 0.38 * field.cells[0].diameter
    rows, columns = np.mgrid[: field.pixels.shape[0], : field.pixels.shape[1]]
    middle = np.hypot(columns - x, rows - y) < radius
    assert (field.pixels[middle][:, 0] > 150).mean() > 0.995


def test_an_empty_field_holds_no_cell_and_nothing_as_dark_as_a_nucleus() -> None:
    field = render_field(4, counts={}, stain=STAINS[1])
    zeros = render_field(4, counts=dict.fromkeys(SMEAR_LABELS, 0), stain=STAINS[1])
    assert field.cells == zeros.cells == ()
    assert field.pixels.tobytes() == zeros.pixels.tobytes()
    assert (density(field)[..., 1] > 1.5).mean() < 0.003


def test_one_cell_is_as_large_as_asked() -> None:
    for cell_px in (30.0, 110.0, 220.0):
        field = render_field(1, 500, 400, cell_px=cell_px, counts={"neutrophil": 1})
        assert field.pixels.shape == (400, 500, 3)
        assert field.pixels.dtype == np.uint8
        assert field.cells[0].diameter == pytest.approx(cell_px, rel=0.15)
        assert field.scale == pytest.approx(cell_px / 13.5)


def test_sizes_follow_the_book() -> None:
    sizes: dict[str, list[float]] = {label: [] for label in SMEAR_LABELS}
    for seed in range(10):
        for cell in render_field(seed, 400, 300, cell_px=40, counts=ONE_OF_EACH).cells:
            sizes[cell.label].append(cell.diameter)
    mean = {label: float(np.mean(found)) for label, found in sizes.items()}
    assert mean["lymphocyte"] < mean["neutrophil"] < mean["monocyte"]


def _shares(label: str) -> tuple[float, float, float]:
    """Nucleus over cell area, redness and blueness of the cytoplasm: means over some cells."""
    rows = []
    for seed in range(8):
        field = render_field(
            seed, 240, 240, cell_px=110, counts={label: 1}, stain=STAINS[1], red_share=0.2
        )
        part = density(field)[inside(field, field.cells[0].box)]
        nucleus = part[..., 1] > 1.2
        cytoplasm = (part[..., 1] > 0.2) & (part[..., 1] < 0.8)
        area = math.pi / 4 * part.shape[0] * part.shape[1]
        blue, green, red = part[cytoplasm].mean(axis=0)
        rows.append((nucleus.sum() / area, blue / red, green))
    a, b, c = np.mean(rows, axis=0)
    return float(a), float(b), float(c)


def test_classes_differ_as_a_haematologist_says() -> None:
    measured = {label: _shares(label) for label in SMEAR_LABELS}
    nucleus = {label: values[0] for label, values in measured.items()}
    blue_taken = {label: values[1] for label, values in measured.items()}
    assert nucleus["lymphocyte"] > 0.55
    assert nucleus["lymphocyte"] > 1.4 * nucleus["neutrophil"]
    assert nucleus["lymphocyte"] > 1.3 * nucleus["monocyte"]
    # Eosin takes blue and leaves red; the monocyte's blue-grey does the contrary.
    assert blue_taken["eosinophil"] > 1.15 * blue_taken["neutrophil"]
    assert blue_taken["eosinophil"] > 1.6 * blue_taken["monocyte"]
    assert measured["eosinophil"][2] > measured["neutrophil"][2]


def test_the_eyepiece_is_black_outside_and_lit_inside() -> None:
    field = render_field(9, 640, 480, cell_px=30, eyepiece=True, stain=STAINS[0])
    assert field.pixels[:20, :20].mean() < 15
    assert field.pixels[230:250, 300:340].mean() > 80


def test_a_large_smear_to_pan_across() -> None:
    start = time.process_time()
    smear = render_smear(11, 3000, 2000, cell_px=80, mix={"neutrophil": 3, "monocyte": 1})
    assert time.process_time() - start < 60
    assert smear.pixels.shape == (2000, 3000, 3)
    assert len(smear.cells) == round(200 * 3000 * 2000 / (80 / 13.5) ** 2 / 1e6)
    labels = [cell.label for cell in smear.cells]
    assert set(labels) == {"neutrophil", "monocyte"}
    assert labels.count("neutrophil") > labels.count("monocyte")
    # Strips of the photograph meet without a seam: rows at a joint differ as any two rows do.
    rows = smear.pixels[..., 1].astype(float)
    steps = np.abs(np.diff(rows, axis=0)).mean(axis=1)
    assert abs(steps[511] - np.median(steps)) < 5 * steps.std()


def test_a_given_stain_is_drawn_as_it_is() -> None:
    red_glass = Stain(
        "odd",
        ground=(40, 60, 240),
        red=(0.3, 0.3, 0.3),
        nucleus=(0.5, 2, 1),
        pink=(0.1, 0.2, 0.1),
        blue=(0.1, 0.3, 0.3),
        eosin=(0.4, 0.8, 0.2),
        azure=(0.2, 0.5, 0.3),
    )
    field = render_field(1, 320, 240, stain=red_glass, counts={}, red_share=0.0)
    assert field.stain is red_glass
    assert np.allclose(np.median(field.pixels.reshape(-1, 3), axis=0), (40, 60, 240), atol=14)


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"seed": 1, "width": 10},
        {"seed": 1, "height": 0},
        {"seed": 1, "width": 200_000, "height": 200_000},
        {"seed": 1, "cell_px": 0},
        {"seed": 1, "cell_px": math.nan},
        {"seed": 1, "cell_px": 5000},
        {"seed": 1, "counts": {"blast": 1}},
        {"seed": 1, "counts": {"neutrophil": -1}},
        {"seed": 1, "counts": {"neutrophil": 1.5}},
        {"seed": 1, "counts": {"neutrophil": 500}},
        {"seed": 1, "cell_px": 600, "counts": {"neutrophil": 1}},
        {"seed": 1, "red_share": 2.0},
        {"seed": 1, "red_share": math.nan},
    ],
)
def test_bad_arguments_are_one_line(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError) as caught:
        render_field(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cells_per_mm2": -1.0},
        {"cells_per_mm2": math.inf},
        {"mix": {}},
        {"mix": {"neutrophil": 0.0}},
        {"mix": {"neutrophil": -1.0, "monocyte": 2.0}},
        {"mix": {"blast": 1.0}},
        {"cell_px": math.inf},
    ],
)
def test_bad_smears_are_one_line(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError) as caught:
        render_smear(1, 640, 480, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_bad_stains_are_refused() -> None:
    good = STAINS[0]
    parts = (good.red, good.nucleus, good.pink, good.blue, good.eosin, good.azure)
    with pytest.raises(ValueError, match="ground"):
        Stain("dark", (0, 0, 0), *parts)
    with pytest.raises(ValueError, match="pallor"):
        Stain("pale", good.ground, *parts, pallor=2.0)

"""Make panned videos with a known number of cells: a large smear, as a microscope camera sees it
while a hand moves the stage."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from wbcdet.datasets.synthetic import STAINS, render_smear

#: Blur (sigma, px) up to which a frame is sharp: its cells are then to be counted.
SHARP = 0.5
#: Pixels over which neighbouring fields of a stitched scene run into each other.
_SEAM = 16


@dataclass(frozen=True, slots=True)
class Scene:
    """A slide: (H, W, 3) uint8 BGR, and the boxes (N, 4) of its white cells."""

    name: str
    pixels: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, slots=True)
class Stop:
    """One frame of a pan: its top left corner on the scene, its blur (sigma) and its light."""

    x: float
    y: float
    blur: float
    light: float


def synthetic(seed: int, cell_px: float, per_mm2: float) -> Scene:
    """Return a smear of the built-in generator, 3200 x 2400 px."""
    smear = render_smear(
        seed, 3200, 2400, cell_px=cell_px, cells_per_mm2=per_mm2, stain=STAINS[seed % len(STAINS)]
    )
    return Scene(
        f"synthetic {seed}", smear.pixels, np.array([cell.box for cell in smear.cells], float)
    )


def stitched(
    prepared: Path,
    laboratory: str,
    seed: int,
    scale: float,
    columns: int,
    rows: int,
    lists: tuple[str, ...] = ("test", "heldout"),
) -> Scene:
    """Return real fields that were not trained on, one of each group, laid side by side in even
    light.

    Fields with a white cell at their border are left out: half a cell beside a seam is not a cell.

    Args:
        prepared: what ``wbcdet data prepare`` made.
        laboratory: of which laboratory.
        seed: which of its fields.
        scale: the fields are resized by this.
        columns, rows: fields across and down.
        lists: split lists of the detector that they are on.
    """
    boxes = defaultdict(list)
    with (prepared / "boxes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            box = [float(row[side]) for side in ("x_min", "y_min", "x_max", "y_max")]
            boxes[row["field"]].append((row["kind"], box))
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as file:
        fields = [
            row
            for row in csv.DictReader(file)
            if row["laboratory"] == laboratory and row["detect"] in lists
        ]
    rng = np.random.default_rng(seed)
    rng.shuffle(fields)
    taken: dict[str, dict[str, str]] = {}
    for row in fields:
        cells = boxes[row["field"]]
        size = np.array([float(row["width"]), float(row["height"])])
        rim = (_SEAM + 2) / scale
        inside = all(
            min(x0, y0) > rim and x1 < size[0] - rim and y1 < size[1] - rim
            for kind, (x0, y0, x1, y1) in cells
            if kind == "wbc"
        )
        # Cells without a box, or of which nobody is sure, have no place in a truth.
        plain = all(kind in ("wbc", "rbc", "platelet") for kind, _ in cells)
        # Slides of BCISC are groups of many fields that do not overlap.
        key = row["field"] if laboratory == "bcisc" else row["group"]
        if inside and plain and key not in taken:
            taken[key] = row
    chosen = list(taken.values())[: columns * rows]
    if len(chosen) < columns * rows:
        raise SystemExit(f"{laboratory}: {len(chosen)} fields, {columns * rows} are needed")
    width = min(int(float(row["width"]) * scale) for row in chosen)
    height = min(int(float(row["height"]) * scale) for row in chosen)
    step = width - _SEAM, height - _SEAM
    total = np.zeros((step[1] * rows + _SEAM, step[0] * columns + _SEAM, 3), np.float32)
    weight = np.zeros((*total.shape[:2], 1), np.float32)
    ramp_x = np.minimum(1, np.minimum(np.arange(width) + 1, width - np.arange(width)) / _SEAM)
    ramp_y = np.minimum(1, np.minimum(np.arange(height) + 1, height - np.arange(height)) / _SEAM)
    ramp = (ramp_y[:, None] * ramp_x[None])[..., None].astype(np.float32)
    places = []
    for number, row in enumerate(chosen):
        x, y = number % columns * step[0], number // columns * step[1]
        pixels = cv2.imread(str(prepared / "fields" / row["field"]))
        by = max(width / pixels.shape[1], height / pixels.shape[0])
        pixels = cv2.resize(pixels, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
        part = pixels[:height, :width].astype(np.float32)
        part *= 225 / np.percentile(part, 95, axis=(0, 1))
        total[y : y + height, x : x + width] += part * ramp
        weight[y : y + height, x : x + width] += ramp
        for kind, box in boxes[row["field"]]:
            if kind == "wbc" and box[2] * by <= width and box[3] * by <= height:
                places.append(np.array(box) * by + [x, y, x, y])
    pixels = np.clip(total / np.maximum(weight, 1e-6), 0, 255).astype(np.uint8)
    return Scene(f"{laboratory} {seed}", pixels, np.array(places).reshape(-1, 4))


def pan(scene: Scene, size: tuple[int, int], seed: int, fastest: float = 0.4) -> list[Stop]:
    """Simulate how a hand moves the slide: a raster with jitter, stops, defocus, and returns.

    Args:
        scene: the slide.
        size: width and height of a frame, px.
        seed: of chance.
        fastest: largest movement from one frame to the next, over the frame's side.
    """
    rng = np.random.default_rng(seed)
    height, width = scene.pixels.shape[:2]
    far = np.array([width - size[0], height - size[1]], float)
    rows = int(np.ceil(far[1] / (0.7 * size[1]))) + 1
    way: list[np.ndarray] = []
    for number, y in enumerate(np.linspace(0, far[1], rows)):
        ends = [np.array([0.0, y]), np.array([far[0], y])]
        way += ends if number % 2 == 0 else ends[::-1]
    # Returns to places that were seen: by hand, the straight way.
    way += [rng.uniform(0, 1, 2) * far for _ in range(3)]
    points = [way[0]]
    speed = 0.15
    for goal in way[1:]:
        while (gap := goal - points[-1]) @ gap > 1:
            speed = float(np.clip(speed + rng.normal(0, 0.06), 0.03, fastest - 0.04))
            most = speed * min(size) if abs(gap[1]) > abs(gap[0]) else speed * size[0]
            distance = float(np.hypot(*gap))
            points.append(points[-1] + gap * min(1.0, most / distance))
            if rng.random() < 0.04:  # a stop, to look
                points += [points[-1]] * int(rng.integers(3, 9))
    path = np.clip(np.array(points) + rng.normal(0, 0.012 * size[0], (len(points), 2)), 0, far)
    blur = np.zeros(len(path))
    start = 12
    while (start := start + int(rng.integers(25, 60))) < len(path) - 8:
        # Out of focus for a moment: the hand was at the wrong knob.
        length, depth = int(rng.integers(2, 6)), rng.uniform(2.5, 5.0)
        blur[start : start + length] = depth
    light = 1 + rng.normal(0, 0.05, len(path)) + 0.05 * np.sin(np.arange(len(path)) / 3)
    return [
        Stop(x, y, b, k)
        for (x, y), b, k in zip(path.tolist(), blur.tolist(), light.tolist(), strict=True)
    ]


def frames(
    scene: Scene, stops: list[Stop], size: tuple[int, int], seed: int
) -> Iterator[np.ndarray]:
    """Yield the pictures of a pan, (height, width, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    for stop in stops:
        centre = stop.x + (size[0] - 1) / 2, stop.y + (size[1] - 1) / 2
        picture = cv2.getRectSubPix(scene.pixels, size, centre).astype(np.float32)
        if stop.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), stop.blur)
        picture = picture * stop.light + rng.normal(0, 1.5, picture.shape)
        yield np.clip(picture, 0, 255).astype(np.uint8)


def truth(scene: Scene, stops: list[Stop], size: tuple[int, int]) -> int:
    """Return cells to be counted: those whose box was ever wholly inside a sharp frame."""
    seen = np.zeros(len(scene.boxes), bool)
    for stop in stops:
        if stop.blur <= SHARP:
            low = scene.boxes[:, :2] >= [stop.x, stop.y]
            high = scene.boxes[:, 2:] <= [stop.x + size[0], stop.y + size[1]]
            seen |= low.all(1) & high.all(1)
    return int(seen.sum())


def write(path: Path, pictures: Iterator[np.ndarray], size: tuple[int, int]) -> int:
    """Write an H.264 video of 15 frames a second; returns its number of frames."""
    number = 0
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=15)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "18", "preset": "veryfast"}
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            number += 1
        container.mux(video.encode())
    return number

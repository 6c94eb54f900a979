"""Training fields for the detector, composed at random from the real ones.

A scene is a window on a plane tiled with the fields of one laboratory, at any magnification: from
one cell that fills the picture to a whole smear in which cells are 12 px across. Cells cut out
along their masks are set among red cells of another laboratory, one by one or in a touching crowd
as leukaemia and buffy coats show them; dirt, platelet clumps, odd red cells, pointers and scale
bars are strewn; the stain, light and optics are changed, and some scenes are seen through an
eyepiece. Last, ground and red cells are brought to fixed colours, as the detector does.
"""

from __future__ import annotations

import cv2
import numpy as np

from wbcdet.datasets.scene_sources import Source, shared
from wbcdet.inference.cards import FieldStainCard
from wbcdet.inference.field_stain import match_field_stain
from wbcdet.training.augment_stain import (
    change_light,
    change_optics,
    change_stain,
    through_eyepiece,
)
from wbcdet.training.distractors import draw_dirt, draw_marks, draw_odd_red_cells

#: Ground that letterboxing adds around a field at inference.
LETTERBOX_GREY = 114
#: Colours that a field's ground and red cells are brought to, about those of the laboratories, and
#: how coarse its colour is made.
FIELD_STAIN: FieldStainCard = {
    "ground": (0.12, 0.14, 0.12), "red_cell": (0.35, 0.55, 0.22), "limits": (0.4, 3.0),
    "colour_grain": 4,
}  # fmt: skip


def _mirrored(
    source: Source, rng: np.random.Generator, scale: float, blank: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a mirrored copy of a source, or of its blank: image at ``scale``, cells, ignored
    boxes."""
    image, cells, ignored = source.at_scale(scale, blank), source.cells, source.ignored
    if blank:
        cells, ignored = cells[:0], ignored[:0]
    width, height = source.size
    cells, ignored = cells.copy(), ignored.copy()
    if rng.random() < 0.5:
        image = image[:, ::-1]
        for b in (cells, ignored):
            b[:, [0, 2]] = width - b[:, [2, 0]]
    if rng.random() < 0.5:
        image = image[::-1]
        for b in (cells, ignored):
            b[:, [1, 3]] = height - b[:, [3, 1]]
    return image, cells, ignored


def _weights(numbers: list[int]) -> np.ndarray:
    """Return the chance of each laboratory: more for large ones, but variety is what an unseen one
    needs."""
    weight = np.array(numbers, float) ** 0.35
    chances: np.ndarray = weight / max(weight.sum(), 1e-9)
    return chances


def _turn(
    image: np.ndarray, boxes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene in one of the eight ways in which a square can lie."""
    size = image.shape[0]
    if rng.random() < 0.5:
        image, boxes = image.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = boxes[:, [2, 1, 0, 3]] * _floats(-1, 1, -1, 1) + _floats(size, 0, size, 0)
    if rng.random() < 0.5:
        image = image[::-1]
        boxes = boxes[:, [0, 3, 2, 1]] * _floats(1, -1, 1, -1) + _floats(0, size, 0, size)
    return np.ascontiguousarray(image), boxes


def _floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


class SceneMaker:
    """Draws scenes; the same seed gives the same scene.

    Args:
        sources: fields by laboratory.
        cutouts: masked cells by laboratory, BGRA.
        size: side of the square scene in pixels.
        stain: colours that ground and red cells are brought to, as the detector that learns from
            the scenes does; None leaves them as they are.
    """

    def __init__(
        self,
        sources: dict[str, list[Source]],
        cutouts: dict[str, list[np.ndarray]],
        size: int,
        stain: FieldStainCard | None = FIELD_STAIN,
    ) -> None:
        self.stain = stain
        self.sources = sources
        self.cutouts = cutouts
        self.size = size
        self.laboratories = sorted(sources)
        self.weights = _weights([len(sources[lab]) for lab in self.laboratories])
        self.cell_laboratories = sorted(cutouts)
        self.cell_weights = _weights([len(cutouts[lab]) for lab in self.cell_laboratories])
        self.diameter = {
            lab: float(
                np.median([max(c[2] - c[0], c[3] - c[1]) for s in sources[lab] for c in s.cells])
            )
            for lab in self.laboratories
        }

    def make(self, seed: tuple[int, ...], size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw one scene: (size, size, 3) uint8 BGR and (N, 4) float32 boxes in pixels.

        Args:
            size: another side than that of the maker, which keeps it.
        """
        rng = np.random.default_rng(seed)
        self.size = size or self.size
        choice = rng.random()
        if choice < 0.46:
            image, boxes, diameter = self._window(rng, with_cell=True)
        elif choice < 0.64:
            image, boxes, diameter = self._planted(rng)
        elif choice < 0.76:
            image, boxes, diameter = self._crowd(rng)
        else:
            image, boxes, diameter = self._window(rng, with_cell=False)
            if rng.random() < 0.4:
                image = draw_dirt(image, boxes, diameter, rng)
        if rng.random() < 0.15:
            image = draw_odd_red_cells(image, boxes, diameter, rng)
        if rng.random() < 0.8:
            image = change_stain(image, rng, strength=rng.uniform(0.3, 1.3), wide=True)
        if rng.random() < 0.7:
            image = change_light(image, rng, wide=True)
        smallest = min((max(b[2] - b[0], b[3] - b[1]) for b in boxes), default=40.0)
        if rng.random() < 0.7:
            image = change_optics(image, rng, largest_blur=float(np.clip(smallest / 25, 0.6, 3.0)))
        # A telephone on an eyepiece shows the whole field, so its cells are small.
        if rng.random() < (0.3 if smallest < 45 else 0.06):
            image, boxes = through_eyepiece(image, boxes, rng)
        image, boxes = _turn(image, boxes, rng)
        if rng.random() < 0.08:
            image = draw_marks(image, boxes, rng)
        if self.stain is not None:
            # Their colour stays fine: networks that learn from coarse colour find less where they
            # were never trained (docs/results.md, what was tried).
            fine: FieldStainCard = {**self.stain, "colour_grain": 1}
            image = match_field_stain(image, **fine)
        return image, boxes

    def telephone(self, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return a whole field as a telephone sees it through an eyepiece: small cells, round
        vignette.

        Stands in for such photographs in evaluation. Returns what :meth:`make` returns.
        """
        rng = np.random.default_rng(seed)
        image, boxes, _ = self._window(rng, with_cell=True, largest=0.1, smallest=14.0)
        image = change_stain(image, rng, 0.6)
        image = change_light(image, rng)
        image = change_optics(image, rng, largest_blur=0.8)
        return through_eyepiece(image, boxes, rng)

    def _window(
        self,
        rng: np.random.Generator,
        with_cell: bool,
        largest: float = 0.95,
        smallest: float = 12.0,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return a window on the plane tiled with one laboratory's fields.

        Returns its picture, its boxes, and the diameter of a white cell at its magnification.
        """
        size = self.size
        laboratory = self.laboratories[rng.choice(len(self.laboratories), p=self.weights)]
        pool = self.sources[laboratory]
        first = pool[rng.integers(len(pool))]
        cell = first.cells[rng.integers(len(first.cells))] if len(first.cells) else None
        diameter = self.diameter[laboratory]
        target = float(np.exp(rng.uniform(np.log(smallest), np.log(largest * size))))
        # A whole field, as it meets the detector at inference.
        if largest > 0.5 and rng.random() < 0.3:
            scale = size / max(first.size)
        else:
            scale = target / diameter
        # Interpolating far beyond the source's pixels shows no cell that a camera would see.
        scale = min(scale, 4.0)
        # Pixels that are not square, and pictures squeezed into another format.
        spread = rng.choice([0.0, 0.05, 0.15], p=[0.6, 0.25, 0.15])
        sx, sy = scale * np.exp(rng.normal(0, spread, 2))
        width, height = first.size
        span = np.array([size / sx, size / sy])
        whole = np.array([width, height], float)
        if with_cell and cell is not None:
            half = (cell[2:] - cell[:2]) / 2
            centre = (cell[:2] + cell[2:]) / 2
            slack = np.maximum(span / 2 - half * rng.choice([0.3, 1.0]), 0)
            corner = centre - span / 2 + rng.uniform(-1, 1, 2) * slack
        else:
            corner = rng.uniform(0, 1, 2) * (whole - span)
        # Where a laboratory's field is all there is, the window must not leave it by default.
        alone = rng.random() < 0.5 and bool(np.all(span < 2.2 * whole))
        if alone:
            low, high = np.minimum(whole - span, 0), np.maximum(whole - span, 0)
            corner = np.clip(corner, low, high)
        grounds = (LETTERBOX_GREY, 0, 255, int(rng.integers(256)))
        canvas = np.full((size, size, 3), grounds[rng.choice(4, p=[0.6, 0.2, 0.1, 0.1])], np.uint8)
        placed: list[np.ndarray] = []
        blanks = rng.choice([0.0, 0.6, 0.9])
        first_tile = np.zeros(2) if alone else np.floor(corner / whole).clip(-4)
        last_tile = np.zeros(2) if alone else np.floor((corner + span) / whole).clip(max=4)
        for ty in range(int(first_tile[1]), int(last_tile[1]) + 1):
            for tx in range(int(first_tile[0]), int(last_tile[0]) + 1):
                if tx == 0 and ty == 0:
                    source = first
                    image, cells, ignored = (
                        first.at_scale(min(sx, sy), False),
                        first.cells,
                        first.ignored,
                    )
                    if not with_cell:
                        image, cells, ignored = (
                            first.at_scale(min(sx, sy), True),
                            cells[:0],
                            ignored[:0],
                        )
                else:
                    blank = not with_cell or rng.random() < blanks
                    source = pool[rng.integers(len(pool))]
                    image, cells, ignored = _mirrored(source, rng, min(sx, sy), blank)
                h, w = image.shape[:2]
                dx, dy = (tx * width - corner[0]) * sx, (ty * height - corner[1]) * sy
                self._paint(canvas, image, sx * width / w, sy * height / h, dx, dy)
                # Fields of one laboratory differ by a few pixels in size: fit the tile's cell.
                w, h = source.size
                fx, fy = sx * width / w, sy * height / h
                offset = np.array([dx, dy, dx, dy], np.float32)
                factor = np.array([fx, fy, fx, fy], np.float32)
                tile = np.array([dx, dy, dx + w * fx, dy + h * fy])
                for b in ignored * factor + offset:
                    x0, y0, x1, y1 = np.clip(b, 0, size).astype(int)
                    canvas[y0:y1, x0:x1] = LETTERBOX_GREY
                placed.append(self._visible(cells * factor + offset, tile))
        return canvas, np.concatenate(placed), diameter * scale

    def _paint(
        self, canvas: np.ndarray, image: np.ndarray, fx: float, fy: float, dx: float, dy: float
    ) -> None:
        """Draw ``image`` scaled by (fx, fy) with its origin at (dx, dy), in place."""
        size = canvas.shape[0]
        h, w = image.shape[:2]
        # Only the part of the source that is seen is resized.
        a, b = max(0, int(-dx / fx)), min(w, int(np.ceil((size - dx) / fx)) + 1)
        c, d = max(0, int(-dy / fy)), min(h, int(np.ceil((size - dy) / fy)) + 1)
        if a >= b or c >= d:
            return
        left, top = round(dx + a * fx), round(dy + c * fy)
        right, bottom = round(dx + b * fx), round(dy + d * fy)
        if right <= left or bottom <= top:
            return
        method = cv2.INTER_AREA if min(fx, fy) < 0.7 else cv2.INTER_LINEAR
        part = np.ascontiguousarray(image[c:d, a:b])
        part = cv2.resize(part, (right - left, bottom - top), interpolation=method)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, size), min(bottom, size)
        if x0 < x1 and y0 < y1:
            canvas[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]

    def _visible(self, boxes: np.ndarray, tile: np.ndarray) -> np.ndarray:
        """Return boxes clipped to the scene and to their tile; slivers of a cell are not asked
        for."""
        low = np.maximum(tile[:2], 0)
        high = np.minimum(tile[2:], self.size)
        clipped = boxes.copy()
        clipped[:, :2] = np.maximum(boxes[:, :2], low)
        clipped[:, 2:] = np.minimum(boxes[:, 2:], high)
        sides = np.clip(clipped[:, 2:] - clipped[:, :2], 0, None)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        keep = (sides.prod(1) > 0.25 * area) & (sides.min(1, initial=1e9) >= 3)
        result: np.ndarray = clipped[keep]
        return result

    def _planted(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """Set masked cells of one laboratory into a window of another.

        Returns what :meth:`_window` returns.
        """
        # White cells are as large as their magnification says: what is smaller is a platelet.
        image, boxes, side = self._window(rng, with_cell=rng.random() < 0.3)
        if rng.random() < 0.3:
            image = draw_dirt(image, boxes, side, rng)
        if rng.random() < 0.5:
            image = change_stain(image, rng, wide=True)
        placed = list(boxes)
        number = int(rng.integers(1, 2 + int(np.clip(self.size / side, 1, 5))))
        for _ in range(number if self.cutouts else 0):
            diameter = np.clip(side * rng.uniform(0.75, 1.3), 10, 0.95 * self.size)
            self._plant(image, placed, self._cutout(rng), diameter, 0.05, None, rng)
        return image, np.array(placed, np.float32).reshape(-1, 4), side

    def _crowd(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """Draw many white cells of a few kinds, some of them touching: leukaemia, a buffy coat.

        Returns what :meth:`_window` returns.
        """
        largest = float(np.exp(rng.uniform(np.log(0.06), np.log(0.3))))
        image, boxes, side = self._window(
            rng, with_cell=False, largest=largest, smallest=min(14.0, largest * self.size)
        )
        placed = list(boxes)
        if not self.cutouts:
            return image, boxes, side
        # A clone's cells look alike, in kind and in stain.
        kinds = [self._cutout(rng, change=1.0) for _ in range(int(rng.integers(1, 5)))]
        room = (self.size / side) ** 2
        number = int(np.clip(rng.uniform(0.1, 0.6) * room, 3, 40))
        for _ in range(number):
            cell = kinds[rng.integers(len(kinds))]
            beside = placed[rng.integers(len(placed))] if placed and rng.random() < 0.4 else None
            diameter = np.clip(side * rng.uniform(0.75, 1.25), 10, 0.6 * self.size)
            self._plant(image, placed, cell, diameter, rng.choice([0.02, 0.12, 0.22]), beside, rng)
        return image, np.array(placed, np.float32).reshape(-1, 4), side

    def _cutout(self, rng: np.random.Generator, change: float = 0.5) -> np.ndarray:
        """Return a masked cell, BGRA, in another stain in ``change`` of all cases."""
        lab = self.cell_laboratories[rng.choice(len(self.cell_laboratories), p=self.cell_weights)]
        cell = self.cutouts[lab][rng.integers(len(self.cutouts[lab]))]
        if rng.random() < change:
            colour = change_stain(np.ascontiguousarray(cell[..., :3]), rng, 0.8, wide=True)
            cell = np.dstack([colour, cell[..., 3]])
        return cell

    def _plant(
        self,
        image: np.ndarray,
        boxes: list[np.ndarray],
        cell: np.ndarray,
        diameter: float,
        most_shared: float,
        beside: np.ndarray | None,
        rng: np.random.Generator,
    ) -> None:
        """Draw a cell into the scene and add its box, both in place, where it finds room.

        Args:
            diameter: longer side of the cell in pixels.
            most_shared: share of its box that one other cell may cover.
            beside: box of a cell that it is to touch.
        """
        size = self.size
        factor = float(diameter) / max(cell.shape[:2])
        method = cv2.INTER_AREA if factor < 0.7 else cv2.INTER_LINEAR
        cell = cv2.resize(cell, None, fx=factor, fy=factor, interpolation=method)
        cell = np.rot90(cell, int(rng.integers(4)))
        if rng.random() < 0.5:
            cell = cell[:, ::-1]
        colour, alpha = cell[..., :3], cell[..., 3:] / 255.0
        h, w = alpha.shape[:2]
        for _ in range(6):
            if beside is None:
                x, y = rng.uniform(-0.3 * w, size - 0.7 * w), rng.uniform(-0.3 * h, size - 0.7 * h)
            else:
                angle = rng.uniform(0, 2 * np.pi)
                reach = (beside[2:] - beside[:2] + (w, h)) / 2 * rng.uniform(0.86, 1.05)
                middle = (beside[:2] + beside[2:]) / 2
                x, y = middle + reach * (np.cos(angle), np.sin(angle)) - np.array([w, h]) / 2
            x, y = int(x), int(y)
            box = np.array([x, y, x + w, y + h], np.float32)
            x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, size), min(y + h, size)
            if x0 >= x1 or y0 >= y1:
                continue
            if any(max(shared(box, o), shared(o, box)) > most_shared for o in boxes):
                continue
            part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
            under = image[y0:y1, x0:x1]
            image[y0:y1, x0:x1] = colour[part] * alpha[part] + under * (1 - alpha[part])
            boxes.extend(self._visible(box[None], np.array([0, 0, size, size])))
            return

"""Read the labels of each laboratory from its archive into one form.

Every reader yields :class:`LabField` records: the field's file inside its archive and the boxes on
it. Known defects of the sources are repaired here, where they are read, so that nothing further
down has to know of them.
"""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from wbcdet.datasets.archives import Archive, datasets_folder
from wbcdet.datasets.lab_fields import LabBox, LabField
from wbcdet.datasets.label_corrections import (
    boxes_added,
    redrawing,
    typed,
    types_corrected,
    types_read,
)
from wbcdet.utils.boxes import Box, part_of_smaller

#: Fields of a laboratory from its archives and its rows of ``datasets/splits.csv``.
Reader = Callable[..., Iterator[LabField]]
SUB_IMAGE_SIDE = 256  # of BCISC, px
ASLAN_SIDE = 256  # all its fields are squares of this side, px


def read_split_list() -> dict[str, list[dict[str, str]]]:
    """Return the rows of ``datasets/splits.csv`` by laboratory."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (datasets_folder() / "splits.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            rows[row["laboratory"]].append(row)
    return rows


def _blank(row: dict[str, str]) -> LabField:
    return LabField(row["laboratory"], row["file"], row["group"], row["detect"], row["classify"])


def read_bccd(archive: Archive, rows: list[dict[str, str]]) -> Iterator[LabField]:
    """Read BCCD: Pascal VOC boxes; the class of a field is that of its white cells when all agree.

    ``datasets/bccd_retyped.csv`` corrects training cells whose published class is plainly wrong:
    about half of the eosinophils show lobed nuclei and no granules. Test fields keep theirs.
    """
    retyped = types_corrected("bccd_retyped.csv")
    kinds = {"WBC": "wbc", "RBC": "rbc", "Platelets": "platelet"}
    present = set(archive.names())
    unboxed = boxes_added("test_unboxed.csv", "bccd")
    for row in rows:
        annotation = row["file"].replace("JPEGImages", "Annotations").replace(".jpg", ".xml")
        if annotation not in present:  # three fields that only the class list knows
            continue
        record = _blank(row)
        types = row["cell_types"].split("+")
        objects = []
        for item in ET.fromstring(archive.read(annotation)).iter("object"):
            corner = item.find("bndbox")
            assert corner is not None
            x0, y0, x1, y1 = (
                float(corner.findtext(tag, "0")) for tag in ("xmin", "ymin", "xmax", "ymax")
            )
            if min(x1 - x0, y1 - y0) < 4:  # fields 00338 and 00343 carry one-pixel boxes
                continue
            objects.append(((x0, y0, x1, y1), kinds[item.findtext("name", "")]))
        white = sum(kind == "wbc" for _, kind in objects)
        same = types[0] if len(set(types)) == 1 and len(types) == white else ""
        verdict = retyped.get((row["file"], None))
        record.boxes = [
            typed(b, same, verdict) if kind == "wbc" else LabBox(b, kind) for b, kind in objects
        ]
        record.boxes += unboxed[row["file"]]
        yield record


def read_txl(archive: Archive, rows: list[dict[str, str]]) -> Iterator[LabField]:
    """Read TXL-PBC: YOLO boxes; wrong white cells become ``not_wbc``, repeats are dropped."""
    verdicts = types_read("txl_cells.csv", "box_line")
    unboxed = boxes_added("test_unboxed.csv", "txl-raabin")
    for row in rows:
        record = _blank(row)
        height, width = archive.read_image(row["file"]).shape[:2]
        text = archive.read(row["file"].replace("/images/", "/labels/")[:-4] + ".txt").decode()
        lines: set[str] = set()
        for line, content in enumerate(text.splitlines()):
            parts = content.split()
            if not parts or content in lines:
                continue
            lines.add(content)
            cx, cy, w, h = (float(v) for v in parts[1:5])
            box = (
                (cx - w / 2) * width,
                (cy - h / 2) * height,
                (cx + w / 2) * width,
                (cy + h / 2) * height,
            )
            if parts[0] != "0":
                record.boxes.append(LabBox(box, "rbc" if parts[0] == "1" else "platelet"))
                continue
            verdict = verdicts.get((row["file"], line), "")
            kind = "not_wbc" if verdict == "not_wbc" else "wbc"
            record.boxes.append(LabBox(box, kind, verdict if kind == "wbc" else "", silver=True))
        record.boxes += unboxed[row["file"]]
        yield record


def read_aslan(archive: Archive, rows: list[dict[str, str]]) -> Iterator[LabField]:
    """Read Aslan: boxes as fractions of the side, no cell types.

    ``datasets/aslan_cells.csv`` names the white cells, read by eye for this project; three of
    them are red cells and become ``not_wbc``.
    """
    verdicts = types_read("aslan_cells.csv", "wbc_number")
    by_file: dict[str, list[LabBox]] = defaultdict(list)
    white: dict[str, int] = defaultdict(int)
    for item in csv.DictReader(io.StringIO(archive.read("annotations.csv").decode())):
        file = "images/" + item["image"]
        x0, y0, x1, y1 = (
            min(max(float(item[k]), 0.0), 1.0) * ASLAN_SIDE
            for k in ("xmin", "ymin", "xmax", "ymax")
        )
        kind, verdict = item["label"].lower(), ""
        if min(x1 - x0, y1 - y0) < 4:
            continue
        if kind == "wbc":
            verdict = verdicts[file, white[file]]
            white[file] += 1
            if verdict == "not_wbc":
                kind, verdict = "not_wbc", ""
        by_file[file].append(LabBox((x0, y0, x1, y1), kind, verdict, silver=True))
    for row in rows:
        record = _blank(row)
        record.boxes = by_file[row["file"]]
        yield record


def _components(mask: np.ndarray, smallest: int) -> list[tuple[int, int, int, int]]:
    _, _, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    return [
        (int(x), int(y), int(x + w), int(y + h))
        for x, y, w, h, area in stats[1:]
        if area >= smallest
    ]


def place_sub_image(field_image: np.ndarray, sub_image: np.ndarray) -> tuple[int, int, float]:
    """Find a 256 px sub-image in its field: top left corner in field pixels and match score.

    A sub-image is a 512 px window of the field scaled down by 2. The search runs at a quarter of
    the field's scale, where the match is still unique and thirty times cheaper.
    """
    height, width = field_image.shape[:2]
    quarter = cv2.resize(field_image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    probe = cv2.resize(sub_image, (128, 128), interpolation=cv2.INTER_AREA)
    scores = cv2.matchTemplate(quarter, probe, cv2.TM_CCOEFF_NORMED)
    _, score, _, (x, y) = cv2.minMaxLoc(scores)
    return x * 4, y * 4, float(score)


def read_bcisc(archive: Archive, rows: list[dict[str, str]]) -> Iterator[LabField]:
    """Read BCISC: boxes from masks of whole fields and of sub-images, completed and corrected by
    eye.

    ``datasets/bcisc_added.csv`` holds the cells that have no mask. All other fields were searched
    with a stain model that found every masked cell (269 of 269), and its finds were looked at.
    ``datasets/bcisc_retyped.csv`` corrects cells whose sub-image carries a plainly wrong class.
    """
    added = boxes_added("bcisc_added.csv")
    retyped, redraw = types_corrected("bcisc_retyped.csv"), redrawing("bcisc")
    names = archive.names()
    sub_images: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        match = re.fullmatch(r"sub-images/images/([a-z]+)_(\d+-\d+.*)_\d+\.jpg", name)
        if match:
            sub_images[match[1], match[2]].append(name)
    for row in rows:
        record = _blank(row)
        named = re.fullmatch(r"original-images/(\w+)/(.+)\.jpg", row["file"])
        assert named is not None, row["file"]
        folder, stem = named.groups()
        image = archive.read_image(row["file"])
        # A class is said of the cell in the middle of a sub-image, or of a field's only cell; the
        # neighbours that masks show too are of any type.
        outlines: list[tuple[tuple[int, int, int, int], str]] = []
        for sub in sorted(sub_images[folder, stem]):
            x, y, _ = place_sub_image(image, archive.read_image(sub))
            mask = archive.read_image(sub.replace("/images/", "/masks/")[:-4] + ".png")[..., 0]
            for a, b, c, d in _components(mask, 100):
                middle = a <= SUB_IMAGE_SIDE / 2 <= c and b <= SUB_IMAGE_SIDE / 2 <= d
                box = (x + 2 * a, y + 2 * b, x + 2 * c, y + 2 * d)
                outlines.append((box, row["cell_types"] if middle else ""))
        masks = re.compile(rf"original-images/{folder}/{re.escape(stem)}(\(\d\)|_\d)?\.png")
        for name in sorted(filter(masks.fullmatch, names)):
            mask = archive.read_image(name)[..., 0]
            if mask.shape == image.shape[:2]:
                outlines += [(box, "") for box in _components(mask, 400)]
        # The same cell stands in its sub-image's mask and in the field's: the named one stays.
        kept: list[tuple[tuple[int, int, int, int], str]] = []
        for box, cell_type in sorted(outlines, key=lambda item: item[1] == ""):
            if min(box[2] - box[0], box[3] - box[1]) >= 20 and not any(
                part_of_smaller(box, other) > 0.5 for other, _ in kept
            ):
                kept.append((box, cell_type))
        if len(kept) == 1:
            kept = [(kept[0][0], row["cell_types"])]
        for box, said in kept:
            label = typed(box, said, retyped.get((row["file"], box[0])))
            record.boxes += redraw(row["file"], label)
        record.boxes += added[row["file"]]
        yield record


def read_segmentation(archive: Archive, rows: list[dict[str, str]]) -> Iterator[LabField]:
    """Read Tecom and CellaVision crops: the box around nucleus and cytoplasm of the mask."""
    for row in rows:
        record = _blank(row)
        mask = archive.read_image(row["file"][:-4] + ".png")[..., 0]
        ys, xs = np.nonzero(mask > 40)
        if len(xs):
            box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
            record.boxes = [LabBox(box, "wbc", row["cell_types"])]
        yield record


def _yolo_boxes(text: str, width: int, height: int) -> list[tuple[str, Box]]:
    """Return class numbers and corners in pixels of the lines of a YOLO label file."""
    boxes = []
    for line in text.splitlines():
        parts = line.split()
        if parts:
            cx, cy, w, h = (float(v) for v in parts[1:5])
            x, y = (cx - w / 2) * width, (cy - h / 2) * height
            box = (x, y, (cx + w / 2) * width, (cy + h / 2) * height)
            boxes.append((parts[0], box))
    return boxes


def read_chula(archive: Archive, rows: list[dict[str, str]]) -> Iterator[LabField]:
    """Read Chula EE: YOLO boxes with their type; ``datasets/chula_added.csv`` completes them by
    eye.

    A detector's finds without a box were looked at: white cells join as such, without a type,
    smudges and bare nuclei count neither way. ``datasets/redrawn.csv`` corrects some boxes.
    """
    types = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
    added, redraw = boxes_added("chula_added.csv"), redrawing("chula-ee")
    for row in rows:
        record = _blank(row)
        height, width = archive.read_image(row["file"]).shape[:2]
        text = archive.read(row["file"].replace("/images/", "/labels/")[:-4] + ".txt").decode()
        for number, box in _yolo_boxes(text, width, height):
            record.boxes += redraw(row["file"], LabBox(box, "wbc", types[int(number)]))
        record.boxes += added[row["file"]]
        yield record


def read_pbc(archive: Archive, rows: list[dict[str, str]], boxes: Archive) -> Iterator[LabField]:
    """Read PBC: one cell in the middle of each picture, its class by experts, its box from
    ``boxes``.

    A platelet has no box: it is what the stain shows in the middle. Cells beside the labelled one
    that a detector found (``datasets/pbc_neighbours.csv``) count neither way.
    """
    labels = {n.rsplit("/", 1)[1][:-4]: n for n in boxes.names() if n.endswith(".txt")}
    neighbours = boxes_added("pbc_neighbours.csv")
    for row in rows:
        record = _blank(row)
        image = archive.read_image(row["file"])
        height, width = image.shape[:2]
        name = row["file"].rsplit("/", 1)[1][:-4]
        if row["cell_types"] == "platelet":
            box = _stained_middle(image)
            record.boxes = [LabBox(box, "platelet", "platelet")] if box else []
        elif name in labels:
            text = boxes.read(labels[name]).decode()
            record.boxes = [
                LabBox(box, "wbc", row["cell_types"]) for _, box in _yolo_boxes(text, width, height)
            ]
        record.boxes += neighbours[row["file"]]
        yield record


def _stained_middle(image: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return the box of the stained thing nearest to the middle of a picture; None where there is
    none."""
    height, width = image.shape[:2]
    smooth = cv2.GaussianBlur(image, (0, 0), 2).astype(np.float32)
    # Platelets and nuclei are violet: much green is missing where red cells miss little.
    violet = np.clip(smooth[..., 0] / 2 + smooth[..., 2] / 2 - smooth[..., 1], 0, 255)
    level, mask = cv2.threshold(violet.astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    if level < 4:
        return None
    components = _components(mask, 60)
    if not components:
        return None
    middle = np.array([width, height]) / 2
    x0, y0, x1, y1 = min(
        components,
        key=lambda b: float(np.hypot(*((np.array(b[:2]) + np.array(b[2:])) / 2 - middle))),
    )
    return float(x0), float(y0), float(x1), float(y1)


#: laboratory → (archives, reader); a reader gets its archives in this order.
READERS: dict[str, tuple[tuple[str, ...], Reader]] = {
    "aslan": (("aslan",), read_aslan),
    "bccd": (("bccd",), read_bccd),
    "bcisc": (("bcisc",), read_bcisc),
    "cellavision": (("tecom-cellavision",), read_segmentation),
    "chula-ee": (("chula-ee",), read_chula),
    "pbc": (("pbc", "pbc-boxes"), read_pbc),
    "pbc-second": (("pbc", "pbc-boxes"), read_pbc),
    "tecom": (("tecom-cellavision",), read_segmentation),
    "txl-pbc": (("txl-pbc",), read_txl),
    "txl-raabin": (("txl-pbc",), read_txl),
}
#: Laboratories under more than one name: leaving out one leaves out all.
SAME_LABORATORY = (("pbc", "txl-pbc"),)


def with_other_names(leave_out: Iterable[str]) -> tuple[str, ...]:
    """Return the laboratories to leave out, with all their names."""
    names = set(leave_out)
    for same in SAME_LABORATORY:
        if names & set(same):
            names |= set(same)
    return tuple(sorted(names))

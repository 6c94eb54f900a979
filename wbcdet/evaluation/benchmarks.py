"""The project's own test lists: ``datasets/splits.csv`` over a prepared folder, and public TEST.

No picture of a list was trained on; where one was, it is said and judged apart.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from wbcdet.datasets.archives import Archive, DataError, datasets_folder, open_archive
from wbcdet.evaluation.dataset import LabelledCrop, LabelledField
from wbcdet.evaluation.evaluate import TestList, View
from wbcdet.evaluation.infer import BOTH, FINDING, NAMING
from wbcdet.io.colour import Pixels
from wbcdet.io.decode import decode
from wbcdet.io.errors import FieldError
from wbcdet.results.class_names import TYPES
from wbcdet.settings import Settings

Row = dict[str, str]

#: Laboratories with their titles: the list of the detector, that of the classifier.
_LABORATORIES = {
    "bccd": ("bccd", "BCCD official test", "BCCD"),
    "raabin": ("txl-raabin", "TXL Raabin test", "TXL Raabin (silver)"),
    "pbc": ("txl-pbc", "TXL PBC test", "TXL PBC (silver)"),
    "pbc-experts": ("pbc", "PBC test", "PBC (experts' classes)"),
    "chula-ee": ("chula-ee", "Chula EE test", "Chula EE"),
    "bcisc": ("bcisc", "BCISC test", "BCISC"),
    "tecom": ("tecom", "Tecom test crops", "Tecom"),
    "cellavision": (
        "cellavision",
        "CellaVision crops (never trained on)",
        "CellaVision (never trained on)",
    ),
    "pbc-second": (
        "pbc-second",
        "PBC, its second camera (never trained on)",
        "PBC, its second camera (never trained on)",
    ),
}
#: Laboratories that nothing was trained or tuned on.
_NEVER_TRAINED = ("cellavision", "pbc-second")
#: Grid windows of test fields in which a white cell would be false: width and height, px.
_WINDOWS = {"bcisc": (512, 384), "bccd": (320, 240)}
_SILVER = "Cell types were read by eye for this project, not by an expert (silver)."
_DOUBTFUL = "Cells whose published class a reading by eye contradicts are left out (silver)."
_TELEPHONE_VIEWS, _TELEPHONE_SIDE = 100, 416

#: Names of all lists, in the order of the tables.
NAMES = (*_LABORATORIES, "empty", "telephone", "unseen-bccd", "kaggle-test")


def load_lists(names: Sequence[str], prepared: Path, data: Path | None) -> list[TestList]:
    """Return the named lists; a name may stand for one list to find cells on and one to name them.

    Args:
        names: of ``NAMES``.
        prepared: folder of ``wbcdet data prepare``.
        data: folder of the archives, by default that of ``wbcdet data fetch``.

    Raises:
        DataError: the data are missing; the message is one line that names the remedy.
    """
    lists: list[TestList] = []
    for name in NAMES:
        if name not in names:
            continue
        if name in _LABORATORIES:
            lists += _laboratory(name, prepared)
        else:
            lists += _OTHERS[name](prepared, data)
    return lists


def prepared_fields(
    prepared: Path, choose: Callable[[Row], bool], *, completed: bool = False
) -> list[LabelledField]:
    """Return fields of the prepared folder whose row ``choose`` accepts.

    Args:
        completed: with the white cells for which the data set has no box.

    Raises:
        DataError: the folder is missing.
    """
    boxes: dict[str, list[Row]] = {}
    for row in _rows(prepared / "boxes.csv"):
        boxes.setdefault(row["field"], []).append(row)
    fields = []
    for row in filter(choose, _rows(prepared / "fields.csv")):
        own = boxes.get(row["field"], [])
        white = [b for b in own if b["kind"] in (("wbc", "unboxed") if completed else ("wbc",))]
        aside = ("ignore", "unboxed_part") if completed else ("ignore",)
        fields.append(
            LabelledField(
                row["field"],
                partial(_read_file, prepared / "fields" / row["field"]),
                _corners(white),
                # What the labels leave open is typed for nobody.
                tuple("" if b["cell_type"] == "unsure" else b["cell_type"] for b in white),
                _corners([b for b in own if b["kind"] in aside]),
                group=row["group"],
                size=(int(row["width"]), int(row["height"])),
            )
        )
    return fields


def empty_windows(fields: Sequence[LabelledField], width: int, height: int) -> list[LabelledField]:
    """Return windows of a regular grid on the fields that no white cell and no ignored spot
    reaches."""
    windows = []
    for f in fields:
        assert f.size is not None
        taken = np.concatenate([f.boxes, f.ignored])
        for y in range(0, f.size[1] - height + 1, height):
            for x in range(0, f.size[0] - width + 1, width):
                low, high = np.array([x, y]), np.array([x + width, y + height])
                if not np.any(np.all((taken[:, :2] < high) & (taken[:, 2:] > low), axis=1)):
                    read = partial(_read_window, f.read, x, y, width, height)
                    name = f"{f.name}@{x},{y}"
                    windows.append(LabelledField(name, read, group=f.group, size=(width, height)))
    return windows


def _laboratory(name: str, prepared: Path) -> list[TestList]:
    laboratory, finding, naming = _LABORATORIES[name]
    # Single-cell crops have no part of the detector's list: theirs is that of the classifier.
    column, part = "detect", "test"
    if laboratory == "tecom":
        column = "classify"
    elif laboratory in _NEVER_TRAINED:
        column, part = "classify", "crosslab"
    fields = prepared_fields(prepared, _of(laboratory, **{column: (part,)}))
    if laboratory == "pbc-second":  # 49 of its pictures have no label file
        fields = [f for f in fields if len(f.boxes)]
    crops = _crops(prepared, laboratory, "crosslab" if part == "crosslab" else "test")
    note = _SILVER if "silver" in naming else ""
    lists = [TestList(f"{name}-finding", finding, (FINDING,), fields)]
    complete = prepared_fields(prepared, _of(laboratory, **{column: (part,)}), completed=True)
    added = sum(len(f.boxes) for f in complete) - sum(len(f.boxes) for f in fields)
    if added:
        title = f"{finding}, with its {added} unboxed cells"
        note_added = "White cells without a box in the data set were added by eye (silver)."
        lists.append(
            TestList(f"{name}-finding-completed", title, (FINDING,), complete, note=note_added)
        )
    lists.append(TestList(f"{name}-naming", naming, (NAMING,), crops=crops, note=note))
    doubtful = {f"bccd/{Path(file).name}" for file in _doubtful()}
    certain = [c for c in crops if c.file not in doubtful or c.truth == "artefact"]
    if len(certain) < len(crops):
        title = f"{naming}, without {len(crops) - len(certain)} of doubtful class"
        lists.append(
            TestList(f"{name}-naming-certain", title, (NAMING,), crops=certain, note=_DOUBTFUL)
        )
    return lists


def _doubtful() -> set[str]:
    """Test fields of BCCD whose published class a second reading contradicts."""
    return {row["file"] for row in _rows(datasets_folder() / "bccd_doubtful.csv")}


def _crops(prepared: Path, laboratory: str, part: str) -> list[LabelledCrop]:
    from wbcdet.datasets.cells import CLASSES, load_cells

    cells = load_cells(prepared, (part,), laboratories=(laboratory,))
    return [
        LabelledCrop(c.field, c.patch, np.array(c.box), _type_of(CLASSES[c.label]), c.group)
        for c in cells
    ]


def _type_of(name: str) -> str:
    """Return a class of the classifier in the terms of labelled data."""
    if name in TYPES:
        return name
    return "artefact" if name == "platelet" else "other"


def _empty(prepared: Path, _: Path | None) -> list[TestList]:
    lists = []
    for laboratory, (width, height) in _WINDOWS.items():
        test = _of(laboratory, detect=("test",))
        fields = prepared_fields(prepared, test, completed=True)
        title = f"empty windows {width}x{height} of {laboratory.upper()} test"
        windows = empty_windows(fields, width, height)
        lists.append(TestList(f"empty-{laboratory}", title, (FINDING,), windows))
    return lists


def _telephone(prepared: Path, _: Path | None) -> list[TestList]:
    from wbcdet.datasets.scene_sources import load_sources
    from wbcdet.training.compose_scenes import SceneMaker

    maker = SceneMaker(load_sources(prepared, ("test",)), {}, _TELEPHONE_SIDE)
    views = []
    for number in range(_TELEPHONE_VIEWS):
        image, boxes = maker.telephone((7, number))
        name = f"telephone-{number}"
        size = (_TELEPHONE_SIDE, _TELEPHONE_SIDE)
        views.append(
            LabelledField(
                name, partial(_given, image), boxes.astype(float), ("",) * len(boxes),
                group=name, size=size,
            )
        )  # fmt: skip
    title = f"telephone views {_TELEPHONE_SIDE} px composed of test fields"
    return [TestList("telephone", title, (FINDING,), views)]


def _unseen_bccd(prepared: Path, _: Path | None) -> list[TestList]:
    unseen = ("test", "heldout")
    fields = prepared_fields(prepared, _of("bccd", classify=unseen, detect=unseen))
    return [TestList("unseen-bccd", "BCCD fields that neither stage has seen", (BOTH,), fields)]


def _kaggle_test(_: Path, data: Path | None) -> list[TestList]:
    """Return the public four-class TEST pictures: copies of BCCD fields, turned and mirrored."""
    archive = open_archive("kaggle-wbc", data)
    learnt, group_of = set(), {}
    with (datasets_folder() / "splits.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["laboratory"] == "bccd":
                group_of[row["file"]] = row["group"]
                if {row["classify"], row["detect"]} & {"train", "val"}:
                    learnt.add(row["file"])
    doubtful = _doubtful()
    trained, unsure, fields = set(), set(), []
    with (datasets_folder() / "kaggle_test.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            path = f"images/TEST/{row['file']}"
            fields.append(
                LabelledField(
                    row["file"],
                    partial(_read_member, archive, path),
                    picture_type=row["file"].split("/")[0].lower(),
                    group=group_of[row["original"]],
                )
            )
            if row["original"] in learnt:
                trained.add(row["file"])
            if row["original"] in doubtful:
                unsure.add(row["file"])
    title = "public 4-class TEST"
    without = f"without {len(unsure)} copies of doubtful class"
    views = (
        View(f"{title}, originals not trained on", lambda f: f.name not in trained),
        View(f"{title}, the same {without}", lambda f: f.name not in trained | unsure),
        View(f"{title}, all copies, {len(trained)} of originals trained on", lambda _: True),
    )
    return [TestList("kaggle-test", title, (BOTH,), fields, views=views)]


_OTHERS: dict[str, Callable[[Path, Path | None], list[TestList]]] = {
    "empty": _empty,
    "telephone": _telephone,
    "unseen-bccd": _unseen_bccd,
    "kaggle-test": _kaggle_test,
}


def _of(laboratory: str, **parts: tuple[str, ...]) -> Callable[[Row], bool]:
    """Return a filter for the rows of a laboratory whose columns hold one of these parts."""
    return lambda row: (
        row["laboratory"] == laboratory and all(row[column] in of for column, of in parts.items())
    )


def _rows(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): run `wbcdet data fetch` and `wbcdet data "
            "prepare`, and name the prepared folder with --prepared"
        ) from error


def _corners(rows: Sequence[Row]) -> np.ndarray:
    corners = [[float(r[k]) for k in ("x_min", "y_min", "x_max", "y_max")] for r in rows]
    return np.array(corners).reshape(-1, 4)


# Windows of one field follow each other: its picture is decoded once.
@lru_cache(maxsize=2)
def _read_file(path: Path) -> Pixels:
    try:
        return decode(path.read_bytes(), Settings().max_pixels)
    except OSError as error:
        raise FieldError(f"{path} cannot be read ({error.strerror})") from error


def _read_window(read: Callable[[], Pixels], x: int, y: int, width: int, height: int) -> Pixels:
    return np.ascontiguousarray(read()[y : y + height, x : x + width])


def _read_member(archive: Archive, path: str) -> Pixels:
    try:
        return archive.read_image(path)
    except DataError as error:
        raise FieldError(str(error)) from error


def _given(image: Pixels) -> Pixels:
    return image

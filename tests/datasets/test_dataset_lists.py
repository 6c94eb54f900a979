"""The lists in ``datasets/``: complete, sorted, and without a leak between the splits."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from wbcdet.datasets import archives
from wbcdet.datasets.archives import DataError, archive_of, open_archive, source


def rows_of(name: str) -> list[dict[str, str]]:
    with (archives.datasets_folder() / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_sources_are_complete() -> None:
    assert len(archives.sources()) == 9
    for item in archives.sources().values():
        assert len(item.commit) == 40
        assert item.url.endswith(f"{item.repository}/archive/{item.commit}.zip")
        paths = [listed.path for listed in archives.listed_files(item.name)]
        assert paths == sorted(set(paths)) and paths
    with pytest.raises(DataError):
        source("nothing")


def test_split_list_is_sorted_and_every_file_is_hashed() -> None:
    rows = rows_of("splits.csv")
    keys = [(row["laboratory"], row["file"]) for row in rows]
    assert keys == sorted(set(keys))
    hashed = {name: {f.path for f in archives.listed_files(name)} for name in archives.sources()}
    for laboratory, file in keys:
        assert file in hashed[archive_of(laboratory, file)], file


@pytest.mark.parametrize("column", ["classify", "detect"])
def test_no_group_crosses_a_split(column: str) -> None:
    parts: dict[str, set[str]] = defaultdict(set)
    for row in rows_of("splits.csv"):
        assert row[column] in ("", "train", "val", "test", "heldout", "crosslab")
        if row[column]:
            parts[row["group"]].add(row[column])
    for group, found in parts.items():
        # heldout is not trained on either, so it may stand beside one measured part.
        assert len(found - {"heldout"}) <= 1 and not {"train", "heldout"} <= found, group


def test_no_measured_cell_is_retyped() -> None:
    """A test list keeps the classes that its data set publishes."""
    part = {row["file"]: row["classify"] for row in rows_of("splits.csv")}
    rows = rows_of("bccd_retyped.csv")
    assert len(rows) == len({row["file"] for row in rows}) == 39
    assert {part[row["file"]] for row in rows} <= {"train", "val"}
    assert {row["cell_type"] for row in rows} == {"neutrophil", "unsure"}


def test_only_test_lists_are_completed_or_doubted() -> None:
    rows = {row["file"]: row for row in rows_of("splits.csv")}
    unboxed = rows_of("test_unboxed.csv")
    assert {row["kind"] for row in unboxed} == {"unboxed", "unboxed_part"}
    for row in unboxed:
        assert rows[row["file"]]["laboratory"] == row["laboratory"]
        assert rows[row["file"]]["detect"] == "test"
        corners = [int(row[k]) for k in ("x_min", "y_min", "x_max", "y_max")]
        assert corners[0] < corners[2] and corners[1] < corners[3]
    for row in rows_of("bccd_doubtful.csv"):
        assert rows[row["file"]]["classify"] == "test"
        assert rows[row["file"]]["cell_types"] == row["published_type"] != row["read_type"]


def test_masks_are_not_listed_as_fields() -> None:
    files = [row["file"] for row in rows_of("splits.csv") if row["laboratory"] == "bcisc"]
    assert len(files) == 247
    assert all(file.endswith(".jpg") for file in files)


def test_cellavision_never_trains() -> None:
    rows = [row for row in rows_of("splits.csv") if row["laboratory"] == "cellavision"]
    assert len(rows) == 100
    assert {(row["classify"], row["detect"]) for row in rows} == {("crosslab", "")}


def test_the_second_camera_of_pbc_never_trains() -> None:
    rows = rows_of("splits.csv")
    second = [row for row in rows if row["laboratory"] == "pbc-second"]
    assert len(second) == 453
    assert {(row["classify"], row["detect"]) for row in second} == {("crosslab", "")}
    files = {row["file"] for row in second}
    assert not files & {row["file"] for row in rows if row["laboratory"] == "pbc"}


def test_a_slide_of_chula_is_in_one_part() -> None:
    part: dict[str, set[str]] = defaultdict(set)
    for row in rows_of("splits.csv"):
        if row["laboratory"] == "chula-ee":
            assert row["group"] == "chula-ee/" + Path(row["file"]).name.split("_")[0]
            part[row["group"]].add(row["classify"])
    assert len(part) == 30 and all(len(parts) == 1 for parts in part.values())


def test_pbc_is_measured_on_a_thousand_cells() -> None:
    rows = [row for row in rows_of("splits.csv") if row["laboratory"] == "pbc"]
    four = {"eosinophil", "lymphocyte", "monocyte", "neutrophil"}
    test = [row for row in rows if row["classify"] == "test" and row["cell_types"] in four]
    assert len(test) > 1000
    # What is found there must not be trained on by the other model either.
    assert not any(row["detect"] == "train" and row["classify"] != "train" for row in rows)


def test_txl_cells_follow_the_split_of_their_picture() -> None:
    splits = {row["file"]: row for row in rows_of("splits.csv")}
    cells = rows_of("txl_cells.csv")
    keys = [(c["laboratory"], c["file"], int(c["box_line"])) for c in cells]
    assert keys == sorted(set(keys))
    for cell in cells:
        picture = splits[cell["file"]]
        assert picture["laboratory"] == cell["laboratory"]
        assert picture["classify"] == picture["detect"] == cell["split"]


def test_real_archives_are_as_listed(data_dir: Path) -> None:
    there = [name for name in archives.sources() if (data_dir / f"{name}.zip").is_file()]
    assert "bccd" in there
    for name in there:
        assert archives.faults(name, data_dir / f"{name}.zip") == []


def test_txl_cells_name_every_white_cell_box(data_dir: Path) -> None:
    named = {(c["file"], int(c["box_line"])) for c in rows_of("txl_cells.csv")}
    boxes = set()
    with open_archive("txl-pbc", data_dir) as archive:
        for row in rows_of("splits.csv"):
            if row["laboratory"].startswith("txl-"):
                labels = row["file"].replace("/images/", "/labels/")[:-4] + ".txt"
                lines = archive.read(labels).decode().splitlines()
                boxes |= {(row["file"], i) for i, x in enumerate(lines) if x.startswith("0 ")}
    assert named == boxes


def test_no_copy_of_a_bccd_field_is_listed_under_txl(data_dir: Path) -> None:
    def size(file: str) -> tuple[int, int]:
        height, width = txl.read_image(file).shape[:2]
        return width, height

    listed = [r["file"] for r in rows_of("splits.csv") if r["laboratory"].startswith("txl-")]
    bccd = {f.sha256 for f in archives.listed_files("bccd")}
    assert not bccd & {f.sha256 for f in archives.listed_files("txl-pbc")}
    with open_archive("txl-pbc", data_dir) as txl:
        assert {size(file) for file in listed} == {(575, 575), (360, 363), (366, 369)}


def test_bccd_is_measured_on_its_official_test_list(data_dir: Path) -> None:
    with open_archive("bccd", data_dir) as archive:
        official = set(archive.read("BCCD/ImageSets/Main/test.txt").decode().split())
    rows = [row for row in rows_of("splits.csv") if row["laboratory"] == "bccd"]
    assert {Path(r["file"]).stem for r in rows if r["detect"] == "test"} == official

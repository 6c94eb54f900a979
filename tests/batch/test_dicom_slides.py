"""DICOM: the files of a series are one slide, whatever else lies in their folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import one_line
from counting import Count, rows
from dicom_slides import rewrite, write_series
from drawn_slides import CELL, UM, Drawn, whole_zone, write_zarr

from wbcdet.batch.slide_count import MixedError, slides_in
from wbcdet.datasets.synthetic.slide import write_pyramid, write_tiles
from wbcdet.io.discover import search
from wbcdet.io.slides.open import Slide, is_slide_folder

pytest.importorskip("openslide", reason="pip install 'wbcdet[slides]'")
pytest.importorskip("pydicom", reason="pip install 'wbcdet[slides]'")

SIDES = ("x_min", "y_min", "x_max", "y_max")


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory, drawn: Drawn) -> Path:
    """Return a folder with one series: 1.dcm is coarse, 2.dcm fine, then label and overview."""
    folder = tmp_path_factory.mktemp("archive") / "slide"
    write_series(drawn, folder)
    return folder


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Count]:
    yield Count(monkeypatch, tmp_path)


def found_in(*sources: Path) -> list[tuple[str, str]]:
    """Return the slides of a search: their file names, and what is wrong with them."""
    slides = slides_in(search(sources, is_slide_folder=is_slide_folder), wanted=False)
    return [(Path(slide.path).name, slide.problem or "") for slide in slides]


def test_a_folder_of_one_series_is_one_slide(
    series: Path, drawn: Drawn, count: Count, tmp_path: Path
) -> None:
    zone = whole_zone(tmp_path / "zone.geojson")
    done = count(series, "--out", "out", "--zone", zone, "--quiet")
    assert done.exit_code == 0, done.output
    cells = [row for row in rows(tmp_path / "out/cells.csv") if not row["left_out"]]
    assert len(cells) == len(drawn.places)
    assert all(abs(float(row["diameter_um"]) - CELL * UM) < 1 for row in cells)
    assert {row["file"].partition("#")[0].rsplit("/", 1)[-1] for row in cells} == {"2.dcm"}


@pytest.mark.parametrize("variant", ["sparse", "concatenated", "jpeg", "jpeg2000"])
def test_the_same_cells_however_it_is_written(
    series: Path, variant: str, count: Count, tmp_path: Path
) -> None:
    slide = tmp_path / "slide"
    shutil.copytree(series, slide)
    for path in sorted(slide.iterdir()):
        rewrite(path, variant)
    zone = whole_zone(tmp_path / "zone.geojson")
    found = []
    for folder in (series, slide):
        out = f"report-{len(found)}"
        done = count(folder, "--out", out, "--zone", zone, "--quiet")
        assert done.exit_code == 0, done.output
        cells = [row for row in rows(tmp_path / out / "cells.csv") if not row["left_out"]]
        found.append([[float(row[side]) for side in SIDES] for row in cells])
    if variant == "jpeg":  # its edges are not as sharp
        assert len(found[0]) == len(found[1])
        for cell, other in zip(*found, strict=True):
            assert all(abs(a - b) <= 2 for a, b in zip(cell, other, strict=True))
    else:
        assert found[0] == found[1]


def test_every_file_of_a_series_names_the_same_slide(series: Path) -> None:
    assert found_in(*sorted(series.iterdir())) == [("2.dcm", "")]
    for path in series.iterdir():  # alone too
        assert found_in(path) == [("2.dcm", "")]


def test_two_series_in_one_folder_are_two_slides(tmp_path: Path) -> None:
    write_series(Drawn(5, 900, 700), tmp_path / "both", prefix="a")
    write_series(Drawn(5, 800, 600), tmp_path / "both", prefix="b")
    assert found_in(tmp_path / "both") == [("a2.dcm", ""), ("b2.dcm", "")]


def test_files_without_an_ending_and_the_index_of_a_disc(tmp_path: Path) -> None:
    write_series(Drawn(5, 900, 700), tmp_path / "disc/images", ending="")
    (tmp_path / "disc/DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert found_in(tmp_path / "disc") == [("2", "")]


def test_one_level_is_a_slide_and_a_label_is_none(series: Path, count: Count) -> None:
    alone = series.parent / "alone"
    alone.mkdir()
    shutil.copy(series / "2.dcm", alone)
    assert Slide(alone / "2.dcm").um_per_px == UM
    label = series.parent / "label"
    label.mkdir()
    shutil.copy(series / "3.dcm", label)
    done = count(label, "--out", "label-report", "--quiet")
    assert done.exit_code == 2
    assert "3.dcm" in one_line(done.stderr) and "all files of its series" in done.stderr


def test_without_a_scale_the_option_is_named(count: Count, tmp_path: Path) -> None:
    write_series(Drawn(5, 900, 700), tmp_path / "slide", scale=False, associated=False)
    done = count(tmp_path / "slide", "--out", "out", "--quiet")
    assert done.exit_code == 2 and "--um-per-px" in one_line(done.stderr)


def test_a_compression_that_is_not_read_is_not_damage(count: Count, tmp_path: Path) -> None:
    import pydicom

    (path,) = write_series(Drawn(5, 600, 500), tmp_path, levels=(1,), associated=False)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7"] * data.NumberOfFrames)
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    done = count(path, "--out", "out", "--quiet")
    assert done.exit_code == 2 and "export it" in one_line(done.stderr)
    assert "damaged" not in done.stderr


def test_slides_that_are_folders_are_found_among_others(tmp_path: Path, drawn: Drawn) -> None:
    pytest.importorskip("zarr", reason="pip install 'wbcdet[slides]'")
    many = tmp_path / "many"
    write_zarr(drawn, many / "a.zarr")
    write_tiles(drawn, many / "below/b", side=900, overlap=120)
    write_pyramid(drawn, many / "c.tif", levels=(1, 4))
    assert found_in(many) == [("a.zarr", ""), ("b", ""), ("c.tif", "")]
    (many / "field.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(MixedError):
        found_in(many)


def test_what_cannot_be_read_beside_slides_is_not_lost(
    drawn: Drawn, count: Count, tmp_path: Path
) -> None:
    write_pyramid(drawn, tmp_path / "a.tif", levels=(1, 4))
    (tmp_path / "empty.svs").touch()
    zone = whole_zone(tmp_path / "zone.geojson")
    named = ("a.tif", "empty.svs", "none.svs")
    done = count(*named, "--out", "out", "--zone", zone, "--quiet")
    assert done.exit_code == 1
    failed = {row["file"]: row["failure"] for row in rows(tmp_path / "out/fields.csv")}
    assert "copy it again" in failed["empty.svs"] and "does not exist" in failed["none.svs"]
    assert sum(not failure for failure in failed.values()) >= 1

"""Slides that are not whole: each is one line that says what to do, or counts without what is
missing and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_slides import UM, Drawn, write_zarr

from wbcdet.datasets.synthetic.slide import write_tiles
from wbcdet.io.errors import FieldError
from wbcdet.io.slides.open import Slide, is_slide

pytest.importorskip("openslide", reason="pip install 'wbcdet[slides]'")


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture
def tiles(tmp_path: Path, drawn: Drawn) -> Path:
    write_tiles(drawn, tmp_path / "tiles", side=900, overlap=120)
    return tmp_path / "tiles"


def moved(folder: Path, x: int, y: int, every: int = 1) -> None:
    """Shift the positions of every second tile of each row, as a wrong calibration does."""
    path = folder / "TileConfiguration.txt"
    lines = []
    for number, line in enumerate(path.read_text().splitlines()):
        if line.startswith("tile") and number % 2 == every:
            name, _, place = line.split("; ")
            a, b = (float(value) for value in place.strip("()").split(", "))
            line = f"{name}; ; ({a + x}, {b + y})"
        lines.append(line)
    path.write_text("\n".join(lines))


def problem(path: Path) -> str:
    with pytest.raises(FieldError) as error:
        Slide(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_whole_tiles_have_no_remark(tiles: Path) -> None:
    assert Slide(tiles).remarks == ()


def test_tiles_that_do_not_join_are_said(tiles: Path) -> None:
    moved(tiles, 25, 30)
    remarks = Slide(tiles).remarks
    assert len(remarks) == 1 and "do not join" in remarks[0] and "stitch" in remarks[0]


@pytest.mark.parametrize("offset", [(300, 250), (1400, 1300)])
def test_tiles_of_two_slides_in_one_folder_are_said(
    offset: tuple[int, int], tiles: Path, drawn: Drawn, tmp_path: Path
) -> None:
    other = Drawn()
    other.pixels = drawn.pixels[::-1, ::-1].copy()
    write_tiles(other, tmp_path / "other", side=900, overlap=120)
    moved(tmp_path / "other", *offset, every=0)
    moved(tmp_path / "other", *offset, every=1)
    lines = (tmp_path / "other" / "TileConfiguration.txt").read_text()
    with (tiles / "TileConfiguration.txt").open("a") as positions:
        positions.write(f"\n{lines.replace('tile', 'second')}")
    for path in (tmp_path / "other").glob("*.jpg"):
        path.rename(tiles / path.name.replace("tile", "second"))
    (said,) = Slide(tiles).remarks
    assert "do not show the same place" in said and "second" in said


def test_a_position_far_away_is_refused(tiles: Path) -> None:
    moved(tiles, 90_000_000, 0)
    assert "export the positions again" in problem(tiles)


def test_missing_tiles_are_said(tiles: Path) -> None:
    names = sorted(path.name for path in tiles.glob("*.jpg"))
    (tiles / names[0]).unlink()
    assert Slide(tiles).remarks[0] == f"1 tile is missing, the first {names[0]}"


def test_pictures_without_a_position_are_said(tiles: Path) -> None:
    path = tiles / "TileConfiguration.txt"
    named = [line for line in path.read_text().splitlines() if line.startswith("tile")]
    path.write_text(path.read_text().replace(f"{named[-1]}\n", ""))
    name = named[-1].split(";")[0]
    (tiles / "._tile.jpg").write_bytes(b"")
    assert Slide(tiles).remarks == (
        f"1 picture of the folder, the first {name}, has no position and cannot be looked at",
    )


def test_names_that_no_tile_has(tiles: Path) -> None:
    path = tiles / "TileConfiguration.txt"
    path.write_text(path.read_text().replace("tile-", "scan-"))
    assert "copy them again" in problem(tiles)


@pytest.mark.parametrize("text", ["", "dim = 2\n", "a.jpg; ; (1, b)\n", "../a.jpg; ; (0, 0)\n"])
def test_a_list_of_positions_that_is_none(text: str, tiles: Path) -> None:
    (tiles / "TileConfiguration.txt").write_text(text)
    assert problem(tiles)


def test_missing_chunks_are_white_and_said(tmp_path: Path, drawn: Drawn) -> None:
    """They read as black, which would be a fold or ink."""
    write_zarr(drawn, tmp_path / "slide.zarr")
    whole = Slide(tmp_path / "slide.zarr")
    assert whole.remarks == ()
    there = whole.read(0, 400, 300, 900, 800)
    (tmp_path / "slide.zarr" / "0" / "0.1.1").unlink()
    slide = Slide(tmp_path / "slide.zarr")
    assert slide.remarks == (
        f"1 of {5 * 4} chunks are not there, and count as not scanned",
    )  # 2200 x 1800 px in chunks of 512
    here = slide.read(0, 400, 300, 900, 800)
    assert (here[212:724, 112:624] == 255).all()
    here[212:724, 112:624] = there[212:724, 112:624]
    assert np.array_equal(there, here)


def test_a_damaged_chunk_is_one_line(tmp_path: Path, drawn: Drawn) -> None:
    write_zarr(drawn, tmp_path / "slide.zarr")
    (tmp_path / "slide.zarr" / "0" / "0.1.1").write_bytes(b"nonsense")
    with pytest.raises(FieldError, match="damaged or cut short"):
        Slide(tmp_path / "slide.zarr").read(0, 600, 600, 10, 10)


def test_a_chunk_that_was_cut_short_is_one_line(tmp_path: Path, drawn: Drawn) -> None:
    """Decoding it would read beyond its end, and may crash the program."""
    write_zarr(drawn, tmp_path / "slide.zarr")
    chunk = tmp_path / "slide.zarr" / "0" / "0.1.1"
    whole = chunk.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 20, 15, 0):
        chunk.write_bytes(whole[:length])
        with pytest.raises(FieldError, match="a chunk was cut short"):
            Slide(tmp_path / "slide.zarr").read(0, 600, 600, 10, 10)


@pytest.mark.parametrize("lost", ["all", "one level", "one chunk", "what it is"])
def test_chunks_that_vanish_are_not_taken_for_empty_ones(
    lost: str, tmp_path: Path, drawn: Drawn
) -> None:
    folder = tmp_path / "slide.zarr"
    write_zarr(drawn, folder)
    slide = Slide(folder)
    slide.read(0, 600, 600, 10, 10)
    if lost == "one chunk":
        (folder / "0" / "0.1.1").unlink()
    else:
        shutil.rmtree(folder if lost == "all" else folder / "0")
        if lost == "what it is":  # as an empty folder is left where a drive was
            (folder / "0").mkdir()
    said = "cannot be reached any more" if lost == "all" else "not there any more|were there before"
    with pytest.raises(FieldError, match=said):
        slide.read(0, 600, 600, 10, 10)


def test_levels_that_are_named_and_missing(tmp_path: Path, drawn: Drawn) -> None:
    write_zarr(drawn, tmp_path / "slide.zarr")
    shutil.rmtree(tmp_path / "slide.zarr" / "1")
    assert problem(tmp_path / "slide.zarr")


def test_mrxs_without_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "anna.mrxs"
    path.write_bytes(b"\xff\xd8")
    assert is_slide(path)
    assert "lacks the folder anna/" in problem(path)
    (tmp_path / "anna").mkdir()
    assert "Slidedat.ini" in problem(path)
    (tmp_path / "anna" / "Slidedat.ini").write_text("[GENERAL]\n")
    assert problem(path)


def test_the_scale_of_whole_slides_is_read(tmp_path: Path, drawn: Drawn) -> None:
    write_zarr(drawn, tmp_path / "slide.zarr")
    assert Slide(tmp_path / "slide.zarr").um_per_px == UM


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_samples_that_are_no_photograph(dtype: str, tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "deep.tif"
    with tifffile.TiffWriter(path) as file:
        for by in (1, 2):
            file.write(
                np.zeros((512 // by, 512 // by, 3), dtype), tile=(256, 256), photometric="rgb",
                subfiletype=int(by > 1),
            )  # fmt: skip
    assert "8-bit" in problem(path)


def test_grey_levels_and_a_broken_profile(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "grey.tif"
    with tifffile.TiffWriter(path) as file:
        for by in (1, 2):
            file.write(
                np.full((512 // by, 512 // by), 90, np.uint8), tile=(256, 256),
                photometric="minisblack", subfiletype=int(by > 1), iccprofile=b"none",
            )  # fmt: skip
    slide = Slide(path)
    assert any("profile" in remark for remark in slide.remarks)
    assert (slide.read(0, 10, 20, 30, 40) == np.full((40, 30, 3), 90)).all()


def test_the_slide_of_a_conversion_that_keeps_label_and_overview(
    tmp_path: Path, drawn: Drawn
) -> None:
    zarr = pytest.importorskip("zarr", reason="pip install 'wbcdet[slides]'")
    folder = tmp_path / "slide.zarr"
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    write_zarr(drawn, folder / "0")
    write_zarr(Drawn(5, 400, 300), folder / "1")
    assert is_slide(folder)
    slide = Slide(folder)
    assert (slide.width, slide.height, slide.um_per_px) == (drawn.width, drawn.height, UM)
    assert slide.remarks == ()


@pytest.mark.parametrize("sides", [(1,), (1, 8), (1, 1)])
def test_scenes_of_an_ome_tiff_are_said(tmp_path: Path, sides: tuple[int, ...]) -> None:
    tifffile = pytest.importorskip("tifffile")
    path, picture = tmp_path / "slide.ome.tif", np.full((1024, 1536, 3), 200, np.uint8)
    with tifffile.TiffWriter(path, ome=True) as file:
        for by in sides:
            options = {"photometric": "rgb", "tile": (256, 256)}
            file.write(picture[::by, ::by], subifds=1, metadata={"axes": "YXS"}, **options)
            file.write(picture[:: 4 * by, :: 4 * by], subfiletype=1, **options)
    assert is_slide(path)
    said = [remark for remark in Slide(path).remarks if "1 further scene (1)" in remark]
    assert bool(said) == (sides == (1, 1))  # an eighth is the label


@pytest.mark.parametrize(("axes", "said"), [("ZYXS", "planes of depth"), ("TYXS", "times")])
def test_planes_of_an_ome_tiff_are_said(tmp_path: Path, axes: str, said: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    path, planes = tmp_path / "slide.ome.tif", np.full((3, 1024, 1024, 3), 200, np.uint8)
    options = {"photometric": "rgb", "tile": (256, 256)}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(planes, subifds=1, metadata={"axes": axes}, **options)
        file.write(planes[:, ::4, ::4], subfiletype=1, **options)
    assert is_slide(path)
    (remark,) = Slide(path).remarks
    assert remark.startswith(f"holds 3 {said} of each place, and only one is looked at")


@pytest.mark.parametrize(("axis", "said"), [("z", "planes of depth"), ("t", "times")])
def test_planes_of_an_ome_zarr_are_said(tmp_path: Path, drawn: Drawn, axis: str, said: str) -> None:
    zarr = pytest.importorskip("zarr", reason="pip install 'wbcdet[slides]'")
    group = zarr.open_group(str(tmp_path / "slide.zarr"), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(2, 3, 600, 800), chunks=(1, 3, 300, 400), dtype="u1")
    array[:] = np.stack([np.moveaxis(drawn.pixels[:600, :800], 2, 0)] * 2)
    scale = {"type": "scale", "scale": [1.0, 1.0, UM, UM]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    axes = [{"name": name, "unit": "micrometer"} for name in (axis, "c", "y", "x")]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    (remark,) = Slide(tmp_path / "slide.zarr").remarks
    assert remark.startswith(f"holds 2 {said} of each place, and only one is looked at")


def test_scenes_beside_the_first_are_said(tmp_path: Path, drawn: Drawn) -> None:
    zarr = pytest.importorskip("zarr", reason="pip install 'wbcdet[slides]'")
    folder = tmp_path / "slide.zarr"
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for scene in ("0", "1"):
        write_zarr(drawn, folder / scene)
    (folder / "2").mkdir()  # holds no picture
    assert Slide(folder).remarks == (
        "holds 1 further scene (1), and only the first is counted; export each by itself",
    )

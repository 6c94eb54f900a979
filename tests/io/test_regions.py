"""Large and scientific TIFFs: every rectangle equals the same part of the whole picture."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from conftest import close_to, encode, grain
from PIL import Image

from wbcdet.io import tiff as regions
from wbcdet.io.decode import decode
from wbcdet.io.discover import find_fields
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.tiff import TiffPicture
from wbcdet.io.tiff_pages import count_pictures
from wbcdet.settings import Settings

LIMIT = 10_000_000
RGB = np.ascontiguousarray(grain(150, 200))


def written(array: np.ndarray = RGB, **options: Any) -> bytes:
    data = BytesIO()
    options.setdefault("photometric", "rgb")
    tifffile.imwrite(data, array, **options)
    return data.getvalue()


def whole(picture: TiffPicture) -> np.ndarray:
    return picture.read(0, 0, picture.width, picture.height)


@pytest.fixture
def everything_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any TIFF is too large to be read whole."""
    monkeypatch.setattr("wbcdet.io.field._MAX_WHOLE", 100)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rowsperstrip": 7},
        {"rowsperstrip": 1, "compression": "lzw"},
        {"tile": (32, 48)},
        {"tile": (64, 64), "compression": "zlib", "predictor": True},
        {"rowsperstrip": 16, "compression": "zstd"},
        {"tile": (32, 32), "compression": "lzma"},
        {"compression": "packbits", "rowsperstrip": 40},
        {"bigtiff": True, "tile": (64, 32)},
        {"byteorder": ">", "rowsperstrip": 9},
        {"planarconfig": "separate", "tile": (32, 32)},
        {"planarconfig": "separate", "rowsperstrip": 11},
    ],
    ids=str,
)
def test_any_rectangle_of_any_layout(options: dict[str, Any]) -> None:
    array = RGB
    if options.get("planarconfig") == "separate":
        array = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    picture = TiffPicture(written(array, **options), 1, LIMIT)
    assert (picture.width, picture.height) == (200, 150)
    expected = RGB[:, :, ::-1]
    for x0, y0, x1, y1 in (
        (0, 0, 200, 150),
        (31, 30, 33, 66),
        (199, 149, 200, 150),
        (5, 0, 6, 150),
    ):
        part = picture.read(x0, y0, x1, y1)
        assert part.dtype == np.uint8 and part.flags.c_contiguous
        assert np.array_equal(part, expected[y0:y1, x0:x1])


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_in_tiff(subsampling: tuple[int, int]) -> None:
    data = written(
        compression="jpeg",
        compressionargs={"level": 95},
        tile=(64, 64),
        subsampling=subsampling,
    )
    picture = TiffPicture(data, 1, LIMIT)
    assert close_to(whole(picture), RGB)
    assert np.array_equal(picture.read(60, 60, 130, 70), whole(picture)[60:70, 60:130])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_pictures_have_one_scale(bits: int, channels: int) -> None:
    values = RGB[:, :, :channels].astype(np.float64)
    values[-1, -1] = 255  # only the last block holds the brightest value
    deep = np.rint(values / 255 * ((1 << bits) - 1)).astype(np.uint16)
    data = written(
        deep if channels == 3 else deep[:, :, 0],
        photometric="rgb" if channels == 3 else "minisblack",
        tile=(32, 32),
        compression="zlib",
    )
    picture = TiffPicture(data, 1, LIMIT)
    first = picture.read(0, 0, 40, 40)
    expected = np.broadcast_to(values[:, :, ::-1], (150, 200, 3))
    assert np.abs(first - expected[:40, :40]).max() <= 1.0
    # The same as from the plain decoder, which sees the whole picture at once.
    assert np.array_equal(whole(picture), decode(data, LIMIT))


def test_grey_inverted_palette_and_transparency() -> None:
    grey = RGB[:, :, 0]
    for photometric, stored in (("minisblack", grey), ("miniswhite", 255 - grey)):
        picture = TiffPicture(written(stored, photometric=photometric, tile=(32, 32)), 1, LIMIT)
        assert np.array_equal(whole(picture), np.repeat(grey[:, :, None], 3, 2))
    palette = Image.fromarray(RGB).quantize(64)
    expected = np.asarray(palette.convert("RGB"))[:, :, ::-1]
    assert np.array_equal(whole(TiffPicture(encode(palette, "TIFF"), 1, LIMIT)), expected)
    alpha = np.full((150, 200, 1), 255, np.uint8)
    alpha[:, :100] = 0
    rgba = np.concatenate([RGB, alpha], 2)
    for kind in ("unassalpha", "assocalpha"):
        stored = np.where(alpha == 0, 0, rgba).astype(np.uint8) if kind == "assocalpha" else rgba
        pixels = whole(TiffPicture(written(stored, extrasamples=[kind]), 1, LIMIT))
        assert (pixels[:, :100] == 255).all()
        assert np.array_equal(pixels[:, 100:], RGB[:, 100:, ::-1])
    unsaid = whole(TiffPicture(written(rgba, extrasamples=["unspecified"]), 1, LIMIT))
    assert np.array_equal(unsaid, RGB[:, :, ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    data = written(tile=(32, 32), extratags=[(274, 3, 1, orientation, True)])
    picture = TiffPicture(data, 1, LIMIT)
    expected = decode(data, LIMIT)  # Pillow's reading of the tag
    assert (picture.height, picture.width) == expected.shape[:2]
    assert np.array_equal(whole(picture), expected)
    assert np.array_equal(picture.read(10, 20, 100, 70), expected[20:70, 10:100])
    assert np.array_equal(picture.overview, expected)


def test_channels_apart_as_ome_and_imagej_have_them() -> None:
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    for options in (
        {"ome": True, "metadata": {"axes": "CYX"}},
        {"imagej": True, "metadata": {"axes": "CYX"}},
    ):
        data = written(planes, photometric="minisblack", **options)
        assert np.array_equal(whole(TiffPicture(data, 1, LIMIT)), RGB[:, :, ::-1])
        with pytest.raises(FieldError, match="no picture 2"):
            TiffPicture(data, 2, LIMIT)
    deep = (planes[None].repeat(2, 0).astype(np.uint16) * 16) + np.uint16(7)
    data = written(deep, photometric="minisblack", ome=True, metadata={"axes": "TCYX"})
    for number in (1, 2):
        pixels = whole(TiffPicture(data, number, LIMIT))
        assert np.abs(pixels.astype(int) - RGB[:, :, ::-1]).max() <= 1
    two = written(planes[:2], photometric="minisblack", ome=True, metadata={"axes": "CYX"})
    with pytest.raises(FieldError, match="2 separate channels"):
        TiffPicture(two, 1, LIMIT)


def test_a_pyramid_is_one_picture(tmp_path: Path) -> None:
    half = np.ascontiguousarray(RGB[::2, ::2])
    for number, options in enumerate(({"subifds": 1}, {})):
        path = tmp_path / f"{number}.tif"
        with tifffile.TiffWriter(path) as file:
            tile = {"tile": (32, 32), "photometric": "rgb"}
            file.write(RGB, metadata=None, **tile, **options)
            file.write(half, metadata=None, subfiletype=1, **tile)
        assert count_pictures(path) == 1
        assert np.array_equal(read_field(path).pixels, RGB[:, :, ::-1])


@pytest.mark.parametrize("kind", ["pages", "stack", "ome", "imagej", "pillow", "sizes"])
def test_every_page_is_a_field(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "slides" / "a.tif"
    path.parent.mkdir()
    pages = [np.roll(RGB, 7 * number, 1) for number in range(11)]
    if kind == "pages":
        with tifffile.TiffWriter(path) as file:
            for page in pages:
                file.write(page, photometric="rgb", contiguous=False, metadata=None)
    elif kind == "sizes":
        pages = [page[: 150 - number] for number, page in enumerate(pages)]
        with tifffile.TiffWriter(path) as file:
            for page in pages:
                file.write(page, photometric="rgb", compression="lzw", metadata=None)
    elif kind == "pillow":
        pictures = [Image.fromarray(page) for page in pages]
        path.write_bytes(encode(pictures[0], "TIFF", save_all=True, append_images=pictures[1:]))
    else:
        axes = {"ome": {"axes": "TYXS"}, "imagej": {"axes": "TYXS"}, "stack": {}}[kind]
        options = {kind: True} if kind != "stack" else {}
        tifffile.imwrite(path, np.stack(pages), photometric="rgb", metadata=axes, **options)
    Image.fromarray(RGB).save(path.parent / "b.tif")
    found = find_fields([tmp_path])
    assert [item.name for item in found] == [
        *(f"slides/a.tif#{number}" for number in range(1, 12)),
        "slides/b.tif",
    ]
    for item, page in zip(found, [*pages, RGB], strict=True):
        field = read_field(item)
        assert field.name == item.name
        assert np.array_equal(field.pixels, page[:, :, ::-1])
    # A file named by itself, without a number, is its first page.
    assert np.array_equal(read_field(path).pixels, pages[0][:, :, ::-1])
    again = find_fields([path, tmp_path / "slides" / "b.tif"])
    assert [item.name for item in again] == [item.name for item in found]


def test_pages_of_files_of_one_name_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in "xy":
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "s.tif", np.stack([RGB, RGB[::-1]]), photometric="rgb")
    names = [item.name for item in find_fields([tmp_path / f / "s.tif" for f in "xy"])]
    assert names == ["x/s.tif#1", "x/s.tif#2", "y/s.tif#1", "y/s.tif#2"]


def test_a_large_field(tmp_path: Path, everything_in_parts: None) -> None:
    path = tmp_path / "large.tif"
    rgb = grain(500, 700)
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(64, 64), compression="zlib")
    field = read_field(path)
    assert (field.width, field.height, field.reduction) == (700, 500, 1)
    assert np.array_equal(field.read(-5, 490, 20, 900), rgb[490:, :20, ::-1])
    field.release()
    assert np.array_equal(field.read(100, 100, 200, 200), rgb[100:200, 100:200, ::-1])
    same = Field("", None, np.ascontiguousarray(rgb[:, :, ::-1]))
    assert np.array_equal(same.read(-5, 490, 20, 900), field.read(-5, 490, 20, 900))


def test_the_overview_is_the_picture_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "OVERVIEW_SIDE", 40)
    for options in ({"tile": (32, 48)}, {"rowsperstrip": 3}):
        picture = TiffPicture(written(**options), 1, LIMIT)
        assert picture.reduction == 5 and picture.overview.shape == (30, 40, 3)
        expected = cv2.resize(RGB, (40, 30), interpolation=cv2.INTER_AREA)[:, :, ::-1]
        assert np.array_equal(picture.overview, expected)
    odd = TiffPicture(written(np.ascontiguousarray(RGB[:3, :199])), 1, LIMIT)
    assert odd.overview.shape == (1, 39, 3)


def test_memory_holds_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "_MIN_KEPT", 40_000)
    picture = TiffPicture(written(tile=(32, 32), compression="zlib"), 1, LIMIT)
    for y in range(0, 150, 10):
        for x in range(0, 200, 20):
            expected = RGB[y : y + 10, x : x + 20, ::-1]
            assert np.array_equal(picture.read(x, y, x + 20, y + 10), expected)
            assert sum(block.nbytes for block in picture._kept.values()) <= 40_000


def test_blocks_that_were_never_written_are_white(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    tiles = [np.full((32, 32, 3), 90, np.uint8), None, None, None]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=(64, 64, 3),
        dtype=np.uint8,
        tile=(32, 32),
        photometric="rgb",
        compression="zlib",
    )
    pixels = whole(TiffPicture(path, 1, LIMIT))
    assert (pixels[:32, :32] == 90).all() and (pixels[32:] == 255).all()


def test_pictures_that_cannot_be_read_say_why(tmp_path: Path, everything_in_parts: None) -> None:
    cases: dict[str, tuple[bytes, str]] = {
        "float": (written(RGB.astype(np.float32)), "export it as 8 or 16 bit"),
        "deep": (written(RGB.astype(np.uint32)), "export it as 8 or 16 bit"),
        "grey": (written(RGB[:, :, 0] / 255, photometric="minisblack"), "export it as 8 or 16 bit"),
        "sensor": (written(RGB[:, :, 0], photometric="cfa"), "camera's raw file"),
    }
    for name, (data, expected) in cases.items():
        path = tmp_path / f"{name}.tif"
        path.write_bytes(data)
        with pytest.raises(FieldError, match=expected) as caught:
            read_field(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 160


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tile=(32, 32), compression="zlib")
    with pytest.raises(FieldError, match=r"200 x 150 pixels is over the limit of 0\.02 meg"):
        TiffPicture(data, 1, 20_000)
    monkeypatch.setattr("wbcdet.io.tiff_layout._MAX_BLOCK", 50_000)
    with pytest.raises(FieldError, match="save it again with tiles or strips"):
        TiffPicture(written(rowsperstrip=150, compression="zlib"), 1, LIMIT)
    # Uncompressed rows are read one by one, whatever the file calls a strip.
    assert np.array_equal(whole(TiffPicture(written(rowsperstrip=150), 1, LIMIT)), RGB[:, :, ::-1])


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("options", [{}, {"tile": (32, 32), "compression": "zlib"}], ids=str)
def test_a_cut_file_is_a_failure(
    tmp_path: Path, everything_in_parts: None, share: float, options: dict[str, Any]
) -> None:
    data = written(**options)
    (tmp_path / "cut.tif").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FieldError):
        read_field(tmp_path / "cut.tif").read(0, 0, 200, 150)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow on damaged tags
def test_random_damage_never_escapes_as_another_error(
    tmp_path: Path, everything_in_parts: None
) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / "damaged.tif"
    for options in ({"tile": (32, 32), "compression": "zlib"}, {"rowsperstrip": 8}):
        data = written(**options)
        for round_ in range(60):
            damaged = bytearray(data)
            places = rng.integers(0, 400 if round_ % 2 else len(data), 6)
            for at in places:
                damaged[at] = int(rng.integers(256))
            path.write_bytes(damaged)
            try:
                for item in find_fields([path]):
                    field = read_field(item)
                    pixels = field.read(0, 0, min(field.width, 500), min(field.height, 500))
            except FieldError:
                continue
            assert pixels.ndim == 3 and pixels.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "LAB", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_tiff_is_read_alike_whole_and_in_parts(
    tmp_path: Path, mode: str, compression: str | None
) -> None:
    path = tmp_path / "a.tif"
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(path, compression=compression)
    whole_field = read_field(path)
    parts = read_field(path, Settings(max_pixels=100))
    assert np.array_equal(parts.read(0, 0, 200, 150), whole_field.pixels)
    assert np.array_equal(parts.read(30, 40, 90, 50), whole_field.pixels[40:50, 30:90])
    if mode != "LAB":  # of which Pillow knows no way to RGB but through a profile
        assert close_to(whole_field.pixels, np.asarray(picture.convert("RGB")), 1.0)
    else:
        assert close_to(whole_field.pixels, RGB, 12.0)


def test_a_kind_that_only_libtiff_knows_is_left_to_it(tmp_path: Path) -> None:
    bits = Image.fromarray(RGB).convert("1")
    bits.save(tmp_path / "fax.tif", compression="group4")
    expected = np.asarray(bits.convert("RGB"))
    assert np.array_equal(read_field(tmp_path / "fax.tif").pixels, expected)


def test_an_endless_chain_of_pages_ends(tmp_path: Path) -> None:
    data = bytearray(written(np.stack([RGB, RGB]), metadata=None))
    first = struct.unpack("<I", data[4:8])[0]
    tags = struct.unpack("<H", data[first : first + 2])[0]
    data[first + 2 + 12 * tags : first + 6 + 12 * tags] = struct.pack("<I", first)
    (tmp_path / "loop.tif").write_bytes(data)
    assert len(find_fields([tmp_path])) == 1

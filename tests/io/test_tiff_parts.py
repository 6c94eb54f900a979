"""Pages of TIFF files whose parts say something else than all of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from conftest import encode_tiff

from wbcdet.datasets.synthetic import render_field
from wbcdet.io import planes
from wbcdet.io.colour import ALL_CLEAR
from wbcdet.io.discover import find_fields
from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.io.tiff import TiffPicture


def with_alpha(pages: list[np.ndarray], alpha: int | np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            plane = np.broadcast_to(np.asarray(alpha, np.uint8), page.shape[:2])
            samples = np.dstack([page, plane])
            if "planarconfig" in options:
                samples = np.ascontiguousarray(samples.transpose(2, 0, 1))
            writer.write(
                samples, photometric="rgb", metadata=None, contiguous=False,
                extrasamples=["unassalpha"], **options,
            )  # fmt: skip
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"tile": (256, 256)}, {"planarconfig": "separate"}])
def test_whether_a_picture_is_clear_is_told_by_all_of_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    # A part of it, as pages are compared by and large pictures are read in, cannot tell.
    pages = [render_field(seed, 1400, 1100).pixels[:, :, ::-1] for seed in (5, 6)]
    (tmp_path / "a.tif").write_bytes(with_alpha(pages, 0, **options))
    fields = [read_field(item) for item in find_fields([tmp_path])]
    assert [field.remarks for field in fields] == [(ALL_CLEAR,), (ALL_CLEAR,)]
    for field, page in zip(fields, pages, strict=True):
        assert np.array_equal(field.pixels[:, :, ::-1], page)
    picture = TiffPicture(tmp_path / "a.tif", 1, 10**9)
    assert np.array_equal(picture.read(100, 200, 400, 500)[:, :, ::-1], pages[0][200:500, 100:400])
    assert picture.overview.std() > 5


def test_a_clear_part_of_a_picture_is_white(tmp_path: Path) -> None:
    page = render_field(5, 700, 500).pixels[:, :, ::-1]
    alpha = np.zeros((500, 700), np.uint8)
    alpha[:, 400:] = 255
    (tmp_path / "a.tif").write_bytes(with_alpha([page], alpha, tile=(64, 64)))
    picture = TiffPicture(tmp_path / "a.tif", 1, 10**9)
    assert picture.read(0, 0, 300, 300).min() == 255 and not picture.remarks
    assert np.array_equal(picture.read(450, 0, 700, 500)[:, :, ::-1], page[:, 450:])


def test_one_value_that_is_no_number_does_not_hide_the_others(tmp_path: Path) -> None:
    for values, most in (([np.nan], 255), ([np.nan], 1), ([np.inf], 1), ([], 255)):
        page = np.full((60, 80, 3), most * 0.7, np.float32)
        page[5, 5, : len(values)] = values
        (tmp_path / "a.tif").write_bytes(encode_tiff(page, photometric="rgb"))
        with pytest.raises(FieldError, match="fractional values"):
            read_field(tmp_path / "a.tif")


def test_pages_that_are_not_compared_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smear = render_field(4, counts={"neutrophil": 1}).pixels[:, :, ::-1]
    stack = np.stack([cv2.GaussianBlur(smear, (0, 0), blur) for blur in (5, 3, 0.01, 3, 5)])
    pixels = smear.shape[0] * smear.shape[1]
    (tmp_path / "a.tif").write_bytes(encode_tiff(stack, photometric="rgb", metadata=None))
    for name, most in (("_MAX_PIXELS", pixels - 1), ("_MAX_TOTAL", pixels - 1)):
        planes._cached.cache_clear()
        with monkeypatch.context() as context:
            context.setattr(planes, name, most)
            fields = [read_field(item) for item in find_fields([tmp_path])]
        assert len(fields) == 5
        assert all("page not compared" in "; ".join(f.remarks) for f in fields)
    planes._cached.cache_clear()

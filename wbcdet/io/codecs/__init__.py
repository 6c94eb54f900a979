"""Decode picture files to upright BGR pixels in sRGB, or give one clear reason why not.

Each format is opened, which reads its header alone, and then decoded; both end in
:mod:`wbcdet.io.colour`, so that depth, transparency, ink and profiles mean the same in all of them.
Plain JPEG, which is most fields, takes libjpeg-turbo at a half to a third of Pillow's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wbcdet.io.codecs.by_pillow import PillowPicture
from wbcdet.io.codecs.jpeg import JpegPicture
from wbcdet.io.codecs.jpeg_xl import JpegXlPicture
from wbcdet.io.codecs.picture import CUT_SHORT, UNBOUNDED, Picture
from wbcdet.io.codecs.png import PngPicture
from wbcdet.io.codecs.pnm import PnmPicture
from wbcdet.io.errors import FieldError
from wbcdet.io.formats import HEAD_BYTES, PictureKind, kind_of_bytes

#: Bytes of a file that Pillow's readers, which go through some headers byte by byte, see at once.
_QUICK_BYTES = 4 << 20


def kind_of(data: bytes) -> PictureKind:
    """Return what kind of picture bytes are.

    Raises:
        FieldError: they are no picture of a kind that is read.
    """
    if not data:
        raise FieldError("file is empty (0 bytes); copy it again from its source")
    kind = kind_of_bytes(data[:HEAD_BYTES])
    if kind is None:
        if not data.strip(b"\0"):
            raise FieldError("file holds only zeros; copy it again from its source")
        raise FieldError(
            "file is not a JPEG, PNG, TIFF, HEIC, WebP, BMP or GIF picture; export it as one"
        )
    if kind.problem is not None:
        raise FieldError(kind.problem)
    return kind


def opens_quickly(kind: PictureKind, size: int) -> bool:
    """Say whether the header of a file is read within seconds, whatever its bytes are.

    Args:
        kind: of the file.
        size: its bytes.
    """
    if kind.codec in ("JPEG", "PNG"):  # their headers are read here, in bounded steps
        return True
    return kind.codec not in UNBOUNDED and size <= _QUICK_BYTES


def open_picture(data: bytes, kind: PictureKind) -> Picture:
    """Read the header of a picture; ``kind`` is what ``kind_of`` says, but not TIFF.

    Raises:
        FieldError: it is damaged or cut short. Decoders may raise nearly anything else; see
            ``reporting``.
    """
    if kind.codec == "JPEG":
        return JpegPicture(data)
    if kind.codec == "PNG":
        return PngPicture(data)
    if kind.codec == "JPEGXL":
        return JpegXlPicture(data)
    if kind.codec == "PPM" and data[1:2] in b"56":
        return PnmPicture(data)
    return PillowPicture(data, str(kind.codec))


def check_size(picture: Picture, max_pixels: int) -> None:
    """Check that a picture is of a size that is decoded.

    Raises:
        FieldError: it is not.
    """
    width, height = picture.width, picture.height
    if width * height > max_pixels:
        raise FieldError(
            f"picture of {width} x {height} pixels is over the limit of "
            f"{max_pixels / 1e6:g} megapixels; crop it or scale it down"
        )
    if min(width, height) < 1:
        raise FieldError("picture has no pixels; save it again")
    if width * height > picture.most_pixels:
        raise FieldError(CUT_SHORT)


#: Names under which modules are installed, where they are others.
_PACKAGES = {"pi_heif": "pi-heif", "pillow_jxl": "pillow-jxl-plugin"}


@contextmanager
def reporting(kind: PictureKind) -> Iterator[None]:
    """Turn whatever a decoder raises into one line: a corrupt file must never end a batch."""
    name = kind.name.split(" ", 1)[1]
    try:
        yield
    except FieldError:
        raise
    except MemoryError as error:
        raise FieldError("picture does not fit into memory; scale it down") from error
    except ImportError as error:
        package = _PACKAGES.get(str(error.name), str(error.name))
        raise FieldError(
            f"file is {kind.name}, which needs the package {package}: pip install {package}, or "
            "export it as JPEG"
        ) from error
    except Exception as error:
        text = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        if "truncated" in text.lower():
            raise FieldError(CUT_SHORT) from error
        if text.lower().startswith("unsupported"):
            raise FieldError(
                f"file is {kind.name} of a rare kind, which is not read ({text}); save it as PNG"
            ) from error
        raise FieldError(f"file is damaged ({name}: {text}); copy or export it again") from error

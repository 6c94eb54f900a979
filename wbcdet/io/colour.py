"""Convert samples of any depth and colour space to 8-bit BGR in sRGB, by one set of rules.

Every decoder ends here: what a sample means is decided once, not by format.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.io.errors import FieldError

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

Pixels = npt.NDArray[np.uint8]

#: Depths of camera sensors, in bits: 16-bit files mostly hold fewer.
_SENSOR_BITS = (8, 10, 12, 14)
#: Rows are converted in strips of about this many pixels, so that floats take little memory.
_STRIP = 1 << 20
#: Levels that a profile may differ from sRGB without being applied: those of rounding.
_SAME_LEVELS = 2

FRACTIONAL = "picture has 32-bit or fractional values; export it as 8 or 16 bit"
#: White of daylight, as of sRGB.
_D65 = (0.3127, 0.329)
#: White, red, green and blue of sRGB, x and y in 1/100,000.
_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
#: Between these are the gammas of screens and of straight samples.
_GAMMAS = (0.2, 1.2)
#: Share by which a gamma may differ from the usual one and mean it.
_SAME_GAMMA = 0.03
#: Curves of brightness by their number in ITU-T H.273: straight, and PQ and HLG.
_LINEAR, HIGH_CONTRAST_CURVES = 8, (16, 18)
HIGH_CONTRAST = "its brightness is that of high contrast (HDR); save it again without"
#: Remark on a picture whose fourth channel hides all of it: cameras' programs leave it empty.
ALL_CLEAR = "wholly transparent, which is passed over"
#: Remark on a picture whose colour profile cannot be used.
BAD_PROFILE = "its colour profile cannot be read, so its colours are taken for sRGB"


def sensor_factor(brightest: int, most_bits: int = 16) -> float:
    """Return what turns deep values into 0..255: by the smallest sensor depth that holds them all.

    Args:
        brightest: of all values.
        most_bits: the depth of the file: 15 for signed values, of which none is below 0.
    """
    bits = next(bits for bits in (*_SENSOR_BITS, most_bits) if brightest < 1 << bits)
    return 255.0 / ((1 << bits) - 1)


def eight_bit(
    deep: np.ndarray,
    factor: float,
    alpha: np.ndarray | None = None,
    *,
    premultiplied: bool = False,
    profile: bytes = b"",
) -> Pixels:
    """Scale values to 8 bits and lay them on white.

    Args:
        deep: (height, width, channels) of any depth.
        factor: one for all channels, as a stretch of each by itself would change the stain.
        alpha: (height, width, 1) float, 0 transparent to 1 opaque; None for an opaque picture.
        premultiplied: the values have been multiplied by alpha already.
        profile: of colours other than sRGB's, which they are brought to before they are scaled:
            of the shadows of straight samples, 8 bits keep little.

    Returns:
        as many channels as were given; three where grey has a profile that is followed.

    Raises:
        ValueError: it is no profile of such pictures.
    """
    convert = _deep_conversion(profile, deep.shape[2]) if profile else None
    out = np.empty((*deep.shape[:2], 3 if convert else deep.shape[2]), np.uint8)
    for rows in _strips(deep):
        scaled = deep[rows].astype(np.float32) * factor
        if convert is not None:
            scaled = convert(scaled.astype(np.float32, copy=False))
        if alpha is not None:
            part = alpha[rows]
            scaled = scaled * (1.0 if premultiplied else part) + 255.0 * (1.0 - part)
        out[rows] = np.rint(np.clip(scaled, 0.0, 255.0))
    return out


def unsigned(values: np.ndarray) -> np.ndarray:
    """Convert signed 16-bit values to unsigned ones.

    Cameras' programs write signed files in two ways: the values themselves, of which noise may
    fall below 0, or all of them less 32768.
    """
    if values.dtype.kind != "i":
        return values
    if values.dtype.itemsize != 2:
        raise FieldError(FRACTIONAL)
    least, most = int(values.min()), int(values.max())
    if least < -max(most, 1) // 8:
        return (values.astype(np.int32) + 0x8000).astype(np.uint16)
    result: np.ndarray = np.maximum(values, 0).astype(np.uint16)
    return result


def _deep_conversion(
    profile: bytes, channels: int
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]] | None:
    """Return what brings colours of 0 to 255, fractions included, to sRGB; None for those of sRGB.

    Raises:
        ValueError: it is no profile of such pictures.
    """
    from imagecodecs import CMS, cms_profile, cms_transform

    mode = "L" if profile[16:20] == b"GRAY" else "RGB"
    if mode == "L" and channels == 3:
        raise ValueError("grey profile of a colour picture")
    if _transform(profile, mode) is None:
        return None
    target = cms_profile("srgb")

    def convert(scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        deep = np.rint(np.clip(scaled, 0.0, 255.0) * 257).astype(np.uint16)
        if mode == "L":
            deep = deep[:, :, 0]
        elif channels == 1:
            deep = np.repeat(deep, 3, 2)
        turned = cms_transform(
            np.ascontiguousarray(deep),
            profile,
            target,
            colorspace="gray" if mode == "L" else "rgb",
            outcolorspace="rgb",
            intent=CMS.INTENT.RELATIVE_COLORIMETRIC,
            flags=CMS.FLAGS.BLACKPOINTCOMPENSATION,
        )
        result: npt.NDArray[np.float32] = np.asarray(turned, np.float32) / np.float32(257)
        return result

    return convert


def from_samples(
    values: np.ndarray, remarks: list[str] | None = None, profile: bytes = b""
) -> Pixels:
    """Convert a whole picture of 8 to 16 bits a sample to BGR in sRGB.

    Args:
        values: (height, width) or (height, width, channels): grey or RGB, with or without alpha
            after them; uint8, uint16 or int16.
        remarks: takes a line where all of it is transparent, or its profile cannot be used.
        profile: of its colours.
    """
    remarks = [] if remarks is None else remarks
    values = np.atleast_3d(unsigned(values))
    alpha = None
    if values.shape[2] in (2, 4):
        alpha = values[:, :, -1:].astype(np.float32) / np.iinfo(values.dtype).max
        values = values[:, :, :-1]
        if not alpha.any():
            alpha = None
            remarks.append(ALL_CLEAR)
    if values.dtype != np.uint8:
        factor = sensor_factor(int(values.max()))
        return in_bgr(deep_in_srgb(values, factor, profile, remarks, alpha))
    if alpha is not None:
        values = eight_bit(values, 1.0, alpha)
    return in_srgb(in_bgr(values), profile, remarks)


def array_in_bgr(array: np.ndarray) -> Pixels:
    """Return a caller's array, BGR or grey, as BGR pixels in one piece.

    Raises:
        ValueError: its shape or type is another, or pixels of it are masked.
    """
    if np.ma.is_masked(array):
        raise ValueError(
            "pixels are masked, and what is behind a mask would be looked at like all else: give "
            "array.filled(255), or array.data to look at all of it"
        )
    array = np.asarray(array)  # a matrix or a masked array counts its sides in its own way
    colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (colour or array.ndim == 2) or array.size == 0:
        raise ValueError(
            "pixels must be uint8 of shape (height, width, 3) in BGR or (height, width), "
            f"not {' '.join(str(array.dtype).split())[:80]} of shape {array.shape}"
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array)


def in_bgr(values: np.ndarray) -> Pixels:
    """Convert grey (one channel) or RGB of 8 bits to BGR."""
    turn = cv2.COLOR_GRAY2BGR if values.shape[2] == 1 else cv2.COLOR_RGB2BGR
    result: Pixels = cv2.cvtColor(np.ascontiguousarray(values), turn)
    return result


def in_srgb(pixels: Pixels, profile: bytes, remarks: list[str]) -> Pixels:
    """Convert pixels by their colour profile; a profile that cannot be used is remarked."""
    if not profile:
        return pixels
    try:
        return to_srgb(pixels if pixels.flags.writeable else pixels.copy(), profile)
    except ValueError:
        remarks.append(BAD_PROFILE)
        return pixels


def deep_in_srgb(
    deep: np.ndarray,
    factor: float,
    profile: bytes,
    remarks: list[str],
    alpha: np.ndarray | None = None,
    *,
    premultiplied: bool = False,
) -> Pixels:
    """Scale values as ``eight_bit`` does; a profile that cannot be used is remarked."""
    if profile:
        try:
            return eight_bit(deep, factor, alpha, premultiplied=premultiplied, profile=profile)
        except ValueError:
            remarks.append(BAD_PROFILE)
    return eight_bit(deep, factor, alpha, premultiplied=premultiplied)


def from_cmyk(ink: np.ndarray, profile: bytes = b"") -> Pixels:
    """Convert ink of four colours, (height, width, 4) uint8, 255 full ink, to BGR."""
    transform = _transform(profile, "CMYK") if profile else None
    out = np.empty((*ink.shape[:2], 3), np.uint8)
    for rows in _strips(ink):
        part = np.ascontiguousarray(ink[rows])
        if transform is not None:
            out[rows] = _apply(transform, part, "CMYK")[:, :, ::-1]
        else:
            paper = 255 - part.astype(np.uint16)
            rgb = (paper[:, :, :3] * paper[:, :, 3:] + 127) // 255
            out[rows] = rgb[:, :, ::-1]
    return out


def from_lab(lab: np.ndarray) -> Pixels:
    """Convert CIE L*a*b* of white D50, (height, width, 3) float (0..100, -128..127), to BGR."""
    out = np.empty(lab.shape, np.uint8)
    for rows in _strips(lab):
        part = lab[rows].astype(np.float32)
        y = (part[:, :, 0] + 16) / 116
        f = np.stack([y + part[:, :, 1] / 500, y, y - part[:, :, 2] / 200], axis=2)
        xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * (3 * (6 / 29) ** 2)) * _D50
        linear = np.clip(xyz @ _XYZ_TO_SRGB.T, 0, 1)
        rgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
        out[rows] = np.rint(rgb[:, :, ::-1] * 255)
    return out


#: The white of Lab, and its XYZ to linear sRGB (adapted by Bradford's method).
_D50 = np.array([0.9642, 1.0, 0.8249], np.float32)
_XYZ_TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    np.float32,
)


def to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """Convert colours of an ICC profile to those of sRGB.

    Args:
        pixels: (height, width, 3) uint8 BGR; changed in place where the profile is another one.
        profile: the bytes of an RGB or grey profile.

    Raises:
        ValueError: they are no such profile.
    """
    mode = "L" if profile[16:20] == b"GRAY" else "RGB"
    transform = _transform(profile, mode)
    if transform is None:
        return pixels
    for rows in _strips(pixels):
        part = pixels[rows]
        if mode == "L":
            # Of a colour picture with a grey profile nothing can be made.
            if not (part[:, :, :1] == part).all():
                raise ValueError("grey profile of a colour picture")
            pixels[rows] = _apply(transform, np.ascontiguousarray(part[:, :, 0]), "L")
        else:
            rgb = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_BGR2RGB)
            pixels[rows] = _apply(transform, rgb, "RGB")[:, :, ::-1]
    return pixels


@lru_cache(maxsize=8)
def named_profile(name: str) -> bytes:
    """Return the ICC profile of a colour space that files may name instead of carrying one.

    Args:
        name: ``adobe-rgb``, ``display-p3`` or ``bt2020``, the last with the curve of sRGB.
    """
    if name == "adobe-rgb":
        return _rgb_profile((0.64, 0.33, 0.21, 0.71, 0.15, 0.06), _D65, 563 / 256)
    if name == "bt2020":
        return _rgb_profile((0.708, 0.292, 0.17, 0.797, 0.131, 0.046), _D65, None)
    return _rgb_profile((0.68, 0.32, 0.265, 0.69, 0.15, 0.06), _D65, None)


def coded_profile(code: bytes, remarks: list[str]) -> bytes:
    """Return the profile for colours that a file names by the numbers of ITU-T H.273.

    Args:
        code: the colours' corners and the curve of their brightness, a byte each; or nothing.
        remarks: takes a line where the curve is that of films of high contrast.
    """
    corners, curve = code if len(code) == 2 else (0, 0)
    if curve in HIGH_CONTRAST_CURVES:
        remarks.append(HIGH_CONTRAST)
    if curve == _LINEAR:
        return measured_profile(1.0, ())
    name = {9: "bt2020", 11: "display-p3", 12: "display-p3"}.get(corners)
    return named_profile(name) if name else b""


@lru_cache(maxsize=8)
def measured_profile(gamma: float | None, corners: tuple[int, ...]) -> bytes:
    """Return the profile for what a PNG says of its screen in numbers; empty where that is sRGB.

    Args:
        gamma: the exponent of its samples, about 1 / 2.2 of most; None where it says nothing.
        corners: x and y of white, red, green and blue in 1/100,000; or nothing.
    """
    gamma = gamma if gamma and _GAMMAS[0] < gamma < _GAMMAS[1] else None
    # 1 / 2.2 is how programs have always written the curve of sRGB.
    usual = gamma is None or abs(gamma * 2.2 - 1) < _SAME_GAMMA
    if usual and not corners:
        return b""
    x, y, *primaries = (corner / 100_000 for corner in corners or _SRGB)
    try:
        return _rgb_profile(tuple(primaries), (x, y), None if usual else 1 / float(gamma or 1))
    except RuntimeError:  # no triangle of colours
        return b""


def _rgb_profile(
    corners: tuple[float, ...], white: tuple[float, float], gamma: float | None
) -> bytes:
    """Return a profile by x and y of red, green, blue and white; without gamma the curve is
    sRGB's."""
    from imagecodecs import cms_profile

    points = [value for at in (0, 2, 4) for value in (*corners[at : at + 2], 1)]
    whitepoint = (*white, 1.0)
    if gamma is not None:
        return bytes(cms_profile("rgb", whitepoint=whitepoint, primaries=points, gamma=gamma))
    steps = np.linspace(0, 1, 4096)
    curve = np.where(steps > 0.04045, ((steps + 0.055) / 1.055) ** 2.4, steps / 12.92)
    table = np.rint(curve * 65535).astype(np.uint16)
    return bytes(
        cms_profile("rgb", whitepoint=whitepoint, primaries=points, transferfunction=table)
    )


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """Build the transform from a profile to sRGB; None for one that is sRGB itself.

    Raises:
        ValueError: it is no profile of pictures of this mode.
    """
    from PIL import Image, ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError) as error:
        raise ValueError("no profile of such pictures") from error
    if mode == "CMYK":
        return transform
    levels = np.linspace(0, 255, 9 if mode == "RGB" else 64).astype(np.uint8)
    given: np.ndarray = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    if mode == "L":
        given = levels.reshape(1, -1)
    turned = np.asarray(ImageCms.applyTransform(Image.fromarray(given), transform), int)
    given = given if mode == "RGB" else given[:, :, None]
    return None if np.abs(turned - given).max() <= _SAME_LEVELS else transform


def _apply(transform: ImageCmsTransform, part: np.ndarray, mode: str) -> np.ndarray:
    from PIL import Image, ImageCms

    height, width = part.shape[:2]
    picture = Image.frombuffer(mode, (width, height), part.tobytes(), "raw", mode, 0, 1)
    turned = ImageCms.applyTransform(picture, transform)
    assert turned is not None
    return np.asarray(turned)


def _strips(array: np.ndarray) -> list[slice]:
    height, width = array.shape[:2]
    step = max(1, _STRIP // max(1, width))
    return [slice(top, top + step) for top in range(0, height, step)]

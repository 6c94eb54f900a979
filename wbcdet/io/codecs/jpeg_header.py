"""Read the header of a JPEG file, in a bounded number of steps.

Most fields are plain JPEGs. Reading their headers here, not with Pillow, takes microseconds, and a
file made of a million markers takes no longer than any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wbcdet.io.codecs.picture import CUT_SHORT
from wbcdet.io.errors import FieldError

#: Segments before the picture; phones write about thirty.
_MAX_SEGMENTS = 5000
#: Scans of a progressive picture; writers make about ten, each as long as the whole picture.
MAX_SCANS = 100

#: Equal bytes in a row that codes of details do not make.
_MAX_RUN = 64

#: Frame headers: baseline, extended and progressive with Huffman codes; the rest of them is rare.
_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_LS = 0xF7
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

#: Beginnings of tags that a program turned to another order of bytes, except their mark.
_MIXED_ORDER = (b"II\0*", b"MM*\0")
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Contents of the header, up to the first scan.

    Attributes:
        width, height: pixels as stored, before the orientation is applied.
        bits: of a sample, 8 or 12 (to 16 where it is lossless).
        channels: 1 grey, 3 colour, 4 CMYK.
        common: coded as nearly all JPEGs are, which every decoder reads.
        scans: passes over the picture.
        orientation: EXIF's, 1 to 8.
        icc: the colour profile, empty without one.
        adobe_rgb: EXIF says that colours are Adobe RGB, as cameras set to it write instead.
        inverted: CMYK as Adobe stores it, 255 for no ink.
        is_ls: JPEG-LS, another format in the same wrapping.
        zeros_are_details: zero bytes are codes of details, no two blocks of which are alike in a
            picture that is whole.
        lacks_details: of a progressive picture: scans are missing, as at the end of a file that was
            cut between two of them.
        index: where the list of the pictures in the file begins (multi-picture format), else 0.
        start: where the first scan begins.
    """

    width: int
    height: int
    bits: int
    channels: int
    common: bool
    scans: int
    orientation: int = 1
    icc: bytes = b""
    adobe_rgb: bool = False
    inverted: bool = False
    is_ls: bool = False
    zeros_are_details: bool = False
    lacks_details: bool = False
    index: int = 0
    start: int = 0

    def parts(self, data: bytes) -> Iterator[tuple[memoryview, int]]:
        """Yield the scans, each with the most equal bytes that it may hold.

        A decoder takes zeros for codes, without a warning in progressive JPEGs and often in others.
        Where nothing changes, means take a bit a block, one after the other; details are left out
        for thousands at once.
        """
        if self.scans == 1:
            if self.zeros_are_details:
                end = data.find(b"\xff\xd9", self.start)
                # Bytes before the end that nobody reads are padding.
                yield memoryview(data[self.start : end].rstrip(b"\0\xff")), _MAX_RUN
            return
        blocks = self.width * self.height * self.channels // 64
        at = data.find(b"\xff\xda")
        while at >= 0:
            end = data.find(b"\xff\xda", at + 2)
            details = data[at + 5 + 2 * data[at + 4] : at + 6 + 2 * data[at + 4]] != b"\0"
            most = _MAX_RUN if details else max(_MAX_RUN, blocks // 32)
            yield memoryview(data)[at + 2 : end if end >= 0 else len(data)], most
            at = end


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Read the header of a whole JPEG file.

    Raises:
        FieldError: it is damaged, cut short, or built to keep a decoder busy.
    """
    frame: tuple[int, int, int, int, int] | None = None
    exif = xmp = b""
    profile: dict[int, bytes] = {}
    adobe = False
    at, start, index = 2, -1, 0
    zeros = False
    for _ in range(_MAX_SEGMENTS):
        if at + 4 > len(data):
            raise FieldError(CUT_SHORT)
        if data[at] != 0xFF:
            # Some cameras pad between segments; decoders look for the next marker, too.
            at = data.find(b"\xff", at)
            if at < 0:
                raise FieldError(CUT_SHORT)
            continue
        mark = data[at + 1]
        if mark == 0xDA:
            start = at
            break
        if mark in (0x00, 0x01, 0xFF) or 0xD0 <= mark <= 0xD8:
            at += 1 if mark == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if mark in _FRAMES and len(body) >= 6:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            frame = (mark, body[0], height, width, body[5])
        elif mark == 0xC4:
            zeros = zeros or _begins_with_details(body)
        elif mark == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body[6:]
        elif mark == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = xmp or body
        elif mark == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif mark == 0xE2 and body.startswith(b"MPF\0"):
            index = index or at + 8
        elif mark == 0xE3 and body.startswith(b"_JPSJPS_") and body[10:14][-1:] == b"\x01":
            raise FieldError(
                "file is a stereo pair, which shows every cell twice; save one of its two views"
            )
        elif mark == 0xEE and body.startswith(b"Adobe"):
            adobe = True
        at += 2 + length
    else:
        raise FieldError(f"JPEG of more than {_MAX_SEGMENTS} segments is no picture")
    if frame is None:
        raise FieldError("file is damaged (JPEG: no frame before its data); copy it again")
    # Zeros in place of the end, as an interrupted copy leaves them, have no end mark.
    if data.rfind(b"\xff\xd9") < start:
        raise FieldError(CUT_SHORT)
    mark, bits, height, width, channels = frame
    scans = data.count(b"\xff\xda", start) if mark in _PROGRESSIVE else 1
    if scans > MAX_SCANS:
        raise FieldError(
            f"JPEG of {scans} scans (at most {MAX_SCANS} are read), which keep a decoder busy "
            "and add nothing; save it again"
        )
    orientation, adobe_rgb = read_exif(exif, xmp) if exif or xmp else (1, False)
    return JpegHeader(
        width, height, bits, channels, mark in _HUFFMAN and bits == 8, scans, orientation,
        b"".join(profile[number] for number in sorted(profile)), adobe_rgb, adobe, mark == _LS,
        zeros, mark in _PROGRESSIVE and _lacks_details(data, start), index, start,
    )  # fmt: skip


def _begins_with_details(tables: bytes) -> bool:
    """Say whether the shortest code (zeros) for details of brightness is one, not "no more"."""
    at = 0
    while at + 17 < len(tables):
        if tables[at] == 0x10:  # details, first table
            return tables[at + 17] != 0
        at += 17 + sum(tables[at + 1 : at + 17])
    return False


def _lacks_details(data: bytes, at: int) -> bool:
    """Say whether the scans of a progressive picture leave out bits of any detail."""
    missing: dict[int, list[int]] = {}
    while at >= 0:
        number = data[at + 4] if at + 4 < len(data) else 0
        end = at + 5 + 2 * number
        if end + 3 > len(data):
            return False
        first, last, low = data[end], data[end + 1], data[end + 2] & 15
        for channel in data[at + 5 : end : 2]:
            # Bits that are still to come of the mean and the 63 details of each block.
            bits = missing.setdefault(channel, [16] * 64)
            bits[first : last + 1] = [low] * len(bits[first : last + 1])
        at = data.find(b"\xff\xda", end)
    return any(any(bits) for bits in missing.values())


def read_exif(exif: bytes, xmp: bytes = b"") -> tuple[int, bool]:
    """Return the orientation, and whether colours are Adobe RGB without a profile that says so.

    Args:
        exif: the tags, a TIFF structure.
        xmp: asked for the orientation where those say nothing of it.
    """
    from PIL import Image

    turn: object = None
    adobe = False
    if exif[:4] in _MIXED_ORDER:  # the mark of one order of bytes, and all else in the other
        exif = (b"II" if exif[:2] == b"MM" else b"MM") + exif[2:]
    if exif:
        try:
            tags = Image.Exif()
            tags.load(b"Exif\0\0" + exif)
            turn = tags.get(0x0112)
            # The interoperability index that cameras give to pictures in Adobe RGB.
            adobe = b"R03" in exif and tags.get_ifd(0xA005).get(1) == "R03"
        except Exception:  # Pillow raises nearly anything on damaged tags; pixels decide
            turn = None
    # Programs that turn the pixels set the tag to 1 and leave an old XMP as it was.
    if turn is None and (match := _XMP_ORIENTATION.search(xmp)):
        turn = int(match[1])
    return (turn if isinstance(turn, int) and 1 <= turn <= 8 else 1), adobe


#: Warnings of libjpeg that have no effect on the pixels.
_HARMLESS = ("SOS parameters", "Adobe color transform", "JFIF revision", "ICC marker", "thumbnail")
#: Bytes that no decoder reads, between segments of the header, are cameras' padding; in the picture
#: itself they are what is left over when its codes have lost their step.
_PADDING = re.compile(r"extraneous bytes before marker 0x(e.|f.|db|c0|c1|c2|dd)")


#: So are equal bytes at the very end.
_LAST = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


def is_harmless(warning: str, data: bytes) -> bool:
    """Say whether what libjpeg warns of leaves the pixels of a JPEG as they are."""
    if match := _LAST.search(warning):
        end = data.rfind(b"\xff\xd9")
        return not data[max(0, end - int(match[1])) : end].strip(b"\0\xff")
    return any(text in warning for text in _HARMLESS) or bool(_PADDING.search(warning))

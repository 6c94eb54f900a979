"""Table of picture file formats: how to recognise each, and the remedy where it is not read.

The one table of endings and first bytes. A file is told by its first bytes, as endings lie; only
formats that wrap another one (a scanner's slide is often a TIFF with a thumbnail in it) go by their
ending.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Bytes from the start of a file that tell its kind.
HEAD_BYTES = 512


@dataclass(frozen=True, slots=True)
class PictureKind:
    """A kind of file that holds or may hold a picture.

    Attributes:
        name: what people call it, as in ``HEIC photograph``.
        codec: how :mod:`wbcdet.io.codecs` reads it; None where it is not read.
        remedy: what to do with a kind that is not read, else empty.
        is_picture: it is a picture, so that one in a folder is either analysed or reported; films,
            documents and archives are only reported where they were named.
    """

    name: str
    codec: str | None = None
    remedy: str = ""
    is_picture: bool = True

    @property
    def problem(self) -> str | None:
        """Why a file of this kind is not read, with the remedy, in one line; None where it is."""
        return None if self.codec else f"file is {self.name}; {self.remedy}"


def _read(name: str, codec: str) -> PictureKind:
    return PictureKind(name, codec)


JPEG = _read("a JPEG", "JPEG")
PNG = _read("a PNG", "PNG")
BMP = _read("a BMP", "BMP")
WEBP = _read("a WebP", "WEBP")
TIFF = _read("a TIFF", "TIFF")
GIF = _read("a GIF", "GIF")
HEIC = _read("a HEIC photograph", "HEIF")
AVIF = _read("an AVIF photograph", "AVIF")
JPEG_XL = _read("a JPEG XL", "JPEGXL")
JPEG_2000 = _read("a JPEG 2000", "JPEG2000")
PNM = _read("a PNM", "PPM")

_FIELDS = "export its fields as TIFF or PNG with the program that wrote it"
_REGION = "export the region to count as TIFF or PNG, as QuPath and the scanner's viewer do"
_SAVE = "save the picture as PNG or TIFF"

_CZI = PictureKind("a Zeiss microscope file (CZI)", None, _FIELDS)
_LIF = PictureKind("a Leica microscope file (LIF)", None, _FIELDS)
_ND2 = PictureKind("a Nikon microscope file (ND2)", None, _FIELDS)
DICOM = PictureKind("a DICOM file", None, "export its pictures as TIFF or PNG")
_RAW = PictureKind("a camera's raw file", None, "develop it to TIFF or JPEG first")
_OLE = PictureKind("a microscope file or office document (OLE)", None, _FIELDS)
_HDF5 = PictureKind("an HDF5 or Imaris file", None, _FIELDS)
_PSD = PictureKind("a Photoshop file", None, _SAVE)
_EXR = PictureKind("an OpenEXR or Radiance picture", None, "save it as 16-bit TIFF or PNG")
_SCIENCE = PictureKind("a volume or measurement (FITS, NIfTI, NRRD, MetaImage)", None, _FIELDS)
_JPEG_XR = PictureKind("a JPEG XR picture", None, _SAVE)
_OLD = PictureKind("a picture of a rare format", None, _SAVE)
_DRAWING = PictureKind("a drawing (SVG, PostScript)", None, "export it as PNG")

_ZIP = PictureKind("a zip archive or office document", None, "unpack the pictures first", False)
_ARCHIVE = PictureKind("an archive", None, "unpack the pictures first", False)
_OFFICE = PictureKind("an office document", None, "export the picture itself", False)
_PDF = PictureKind("a PDF document", None, "export the picture itself", False)
_POINTER = PictureKind(
    "a placeholder of Git LFS, not the file itself", None, "fetch it: git lfs pull", False
)
_WEB = PictureKind("a web page", None, "save the picture itself", False)
_FILM = PictureKind(
    "a video", None, "count it with wbcdet stream, or save single frames as JPEG or PNG", False
)

#: Formats that wrap others: their ending is believed more than their first bytes.
_WRAPPED: dict[str, PictureKind] = {
    ".vsi": PictureKind("an Olympus slide (VSI)", None, _REGION),
    ".ets": PictureKind("a part of an Olympus slide (ETS)", None, _REGION),
    ".mrxs": PictureKind("a 3DHISTECH slide (MRXS)", None, _REGION),
    ".vms": PictureKind("a Hamamatsu slide (VMS)", None, _REGION),
    ".vmu": PictureKind("a Hamamatsu slide (VMU)", None, _REGION),
    ".isyntax": PictureKind("a Philips slide (iSyntax)", None, _REGION),
    ".i2syntax": PictureKind("a Philips slide (iSyntax)", None, _REGION),
    ".szi": PictureKind("a SmartZoom slide (SZI)", None, _REGION),
    **dict.fromkeys(
        (".kfb", ".sdpc", ".tmap", ".mds", ".mdsx", ".tron", ".svslide", ".dzi"),
        PictureKind("a slide of a scanner", None, _REGION),
    ),
    ".nd2": _ND2,
    ".czi": _CZI,
    ".lif": _LIF,
    ".xlef": _LIF,
    ".lof": _LIF,
    **dict.fromkeys(
        (".oib", ".oif", ".oir", ".poir", ".omp2info"),
        PictureKind("an Olympus microscope file", None, _FIELDS),
    ),
    ".zvi": PictureKind("a Zeiss microscope file (ZVI)", None, _FIELDS),
    ".ims": _HDF5,
    **dict.fromkeys((".dcm", ".dicom", ".dic"), DICOM),
    **dict.fromkeys(
        (
            ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".raf",
            ".orf", ".rw2", ".rwl", ".pef", ".srw", ".x3f", ".3fr", ".erf", ".kdc", ".dcr",
            ".mef", ".mos", ".mrw", ".iiq", ".fff",
        ),
        _RAW,
    ),
}  # fmt: skip

#: Formats that none of these wraps, except the ones named: a file that starts like them is one.
_PLAIN = frozenset({JPEG, PNG, BMP, WEBP, GIF, HEIC, AVIF, JPEG_XL, JPEG_2000})
_WRAP = {".mrxs": JPEG, ".nd2": JPEG_2000}

#: Other endings that are read: TIFFs of scanners hold their slide as their first picture.
_READ: dict[str, PictureKind] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".jps", ".mpo"), JPEG),
    **dict.fromkeys((".png", ".apng"), PNG),
    **dict.fromkeys((".bmp", ".dib"), BMP),
    ".webp": WEBP,
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk"), TIFF),
    **dict.fromkeys((".svs", ".ndpi", ".scn", ".bif", ".qptiff"), TIFF),
    ".gif": GIF,
    **dict.fromkeys((".heic", ".heif", ".hif", ".heics", ".heifs"), HEIC),
    **dict.fromkeys((".avif", ".avifs"), AVIF),
    ".jxl": JPEG_XL,
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jpm", ".jph"), JPEG_2000),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), PNM),
    ".jls": JPEG,
}

_OTHERS: dict[str, PictureKind] = {
    **dict.fromkeys((".jxr", ".wdp", ".hdp"), _JPEG_XR),
    **dict.fromkeys((".psd", ".psb"), _PSD),
    **dict.fromkeys((".exr", ".hdr"), _EXR),
    **dict.fromkeys((".fits", ".fit", ".fts", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"), _SCIENCE),
    **dict.fromkeys((".h5", ".hdf5"), _HDF5),
    **dict.fromkeys((".svg", ".eps", ".ps", ".ai", ".emf", ".wmf"), _DRAWING),
    **dict.fromkeys((".tga", ".pcx", ".sgi", ".xcf", ".dds", ".qoi", ".bpg", ".flif"), _OLD),
    **dict.fromkeys((".pam", ".pfm", ".ras"), _OLD),
    **dict.fromkeys((".zip", ".cbz"), _ZIP),
    **dict.fromkeys((".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"), _ARCHIVE),
    ".pdf": _PDF,
    **dict.fromkeys((".doc", ".docx", ".ppt", ".pptx", ".odt", ".odp"), _OFFICE),
    **dict.fromkeys(
        (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg", ".mts", ".flv"),
        _FILM,
    ),
}

#: Endings of files that are read.
SUFFIXES = frozenset(_READ)
#: Endings by which a file is taken for a picture, read or not.
PICTURE_SUFFIXES = frozenset(
    suffix
    for suffix, kind in (_READ | _WRAPPED | _OTHERS).items()
    if kind.is_picture or kind in (_ZIP, _ARCHIVE)
)

#: First bytes of a file, longest and surest first.
_MAGIC: tuple[tuple[bytes, PictureKind], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\x8aMNG\r\n\x1a\n", _OLD),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"II\xbc\x01", _JPEG_XR),
    (b"IIRO", _RAW),
    (b"IIU\0", _RAW),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"FOVb", _RAW),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"ZISRAWFILE", _CZI),
    (b"\xda\xce\xbe\x0a", _ND2),
    (b"8BPS", _PSD),
    (b"\x89HDF\r\n\x1a\n", _HDF5),
    (b"v/1\x01", _EXR),
    (b"#?RADIANCE", _EXR),
    (b"SIMPLE  =", _SCIENCE),
    (b"NRRD0", _SCIENCE),
    (b"%!PS", _DRAWING),
    (b"qoif", _OLD),
    (b"P7\n", _OLD),
    (b"PF\n", _OLD),
    (b"Pf\n", _OLD),
    (b"gimp xcf", _OLD),
    (b"%PDF", _PDF),
    (b"version https://git-lfs", _POINTER),
    (b"PK\x03\x04", _ZIP),
    (b"Rar!", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"BZh", _ARCHIVE),
    (b"\xfd7zXZ\0", _ARCHIVE),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"\x1aE\xdf\xa3", _FILM),
)
#: Kinds of ISO base media files by their brand.
_BRANDS: dict[bytes, PictureKind] = {
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"), HEIC
    ),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    b"crx ": _RAW,
}
_MARKUP = ((b"<!doctype html", _WEB), (b"<html", _WEB), (b"<svg", _DRAWING))


def picture_kind(path: Path, head: bytes | None = None) -> PictureKind | None:
    """Return what kind of picture a file is, by its ending and its first bytes.

    Args:
        path: the file.
        head: its first ``HEAD_BYTES``, where they are known; else they are read. A file that cannot
            be opened is judged by its ending alone.

    Returns:
        None for a file that is no picture and does not call itself one, such as a table.
    """
    suffix = path.suffix.lower()
    if head is None:
        head = _head_of(path)
    kind = kind_of_bytes(head)
    if suffix in _WRAPPED and kind not in _PLAIN - {_WRAP.get(suffix)}:
        return _WRAPPED[suffix]
    return kind or _READ.get(suffix) or _OTHERS.get(suffix)


def kind_of_bytes(head: bytes) -> PictureKind | None:
    """Return what kind of file starts with these bytes; None where they tell nothing."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"AVI ": _FILM}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        return BMP
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#":
        return PNM
    if head[128:132] == b"DICM":
        return DICOM
    if head[:4] == b"\x70\0\0\0" and head[8:9] == b"*":
        return _LIF
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<?xml") and b"<svg" in text:
        return _DRAWING
    return next((kind for start, kind in _MARKUP if text.startswith(start)), None)


#: Sizes of the header that follows a bitmap's first 14 bytes.
_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))


def _brand(head: bytes) -> PictureKind:
    """Return the kind of an ISO base media file: its main brand, then those it is compatible
    with."""
    end = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(end, len(head)), 4))]
    # `mif1` only says that there is a still picture; AVIF says so too.
    own = [brand for brand in brands if brand in _BRANDS and brand not in (b"mif1", b"msf1")]
    for brand in own or brands:
        if brand in _BRANDS:
            return _BRANDS[brand]
    return _FILM


def _head_of(path: Path) -> bytes:
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return b""
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def is_tiff(data: bytes) -> bool:
    """Say whether the bytes start as a TIFF or BigTIFF file does."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff_file(path: Path) -> bool:
    """Say whether the file's first bytes are those of a TIFF; False where it cannot be read."""
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return False
        with path.open("rb") as file:
            return is_tiff(file.read(4))
    except (OSError, ValueError):
        return False

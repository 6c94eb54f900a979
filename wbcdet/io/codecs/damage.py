"""Find damage in formats whose data have no checksums: equal bytes that no encoder writes."""

from __future__ import annotations

from collections.abc import Iterator

#: Parts of a WebP that are looked at; writers make one to three.
_MAX_PARTS = 100_000

#: Equal bytes in a row that compressed pictures do not hold: a part was never written or copied.
_GAP = 64


def has_gap(data: bytes, codec: str, pixels: int) -> bool:
    """Tell whether data without checksums hold a row of equal bytes that no encoder writes."""
    if codec == "WEBP":
        return any(holds_run(part, most) for part, most in _webp_parts(data, pixels))
    if codec == "JPEG2000":
        return holds_run(memoryview(data)[max(0, data.find(b"\xff\x4f\xff\x51")) :], _GAP)
    if codec in ("HEIF", "AVIF"):
        start = max(0, data.find(b"mdat"))
        tags = data.find(b"Exif\0\0", start)  # cameras' tags are padded with zeros
        parts = [(start, tags), (tags + (1 << 16), len(data))] if tags >= 0 else [(start, None)]
        return any(holds_run(memoryview(data)[a:b], _GAP) for a, b in parts)
    return False


def _webp_parts(data: bytes, pixels: int) -> Iterator[tuple[memoryview, int]]:
    """Yield the coded parts of a WebP, each with the most equal bytes that it may hold."""
    at, view = 12, memoryview(data)
    for _ in range(_MAX_PARTS):
        name, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8], "little")
        body = view[at + 8 : at + 8 + size]
        if name == b"VP8L":
            yield body, _GAP
        elif name == b"VP8 ":
            modes = 10 + (int.from_bytes(body[:3], "little") >> 5)
            yield body[10:modes], _GAP
            # Of blocks of 256 pixels in which nothing changes, fifty or more take one byte.
            yield body[modes:], max(_GAP, pixels // 256 // 32)
        elif name == b"ANMF":
            return
        at += 8 + size + size % 2
        if at >= len(data):
            return


def holds_run(part: memoryview, length: int) -> bool:
    whole = bytes(part)
    return bytes(length) in whole or b"\xff" * length in whole

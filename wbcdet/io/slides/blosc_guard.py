"""Refuse chunks of Blosc that were cut short: numcodecs reads beyond their end and may crash."""

from __future__ import annotations

from functools import cache
from typing import Any

#: Bytes of the header of a chunk, and where in it the length of the whole chunk stands.
_HEADER, _LENGTH = 16, slice(12, 16)


@cache
def guard_blosc() -> None:
    """Let Blosc look at the length of a chunk before it decodes it, in this process from now on.

    zarr gives no hook for it: arrays of both of its formats, sharded ones too, end in this method.
    """
    from numcodecs.blosc import Blosc
    from numcodecs.compat import ensure_contiguous_ndarray

    decode = Blosc.decode

    def decode_whole(self: Any, buf: Any, out: Any = None) -> Any:
        chunk = ensure_contiguous_ndarray(buf).view("u1")
        if chunk.size < _HEADER or int.from_bytes(chunk[_LENGTH].tobytes(), "little") > chunk.size:
            raise ValueError("a chunk was cut short")
        return decode(self, buf, out)

    Blosc.decode = decode_whole

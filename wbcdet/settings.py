"""Settings of the analysis, with all defaults."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from numbers import Real

#: Settings that decide whether a field is read, not what is found in it.
NO_RESULT = frozenset({"memory_bytes", "timeout_s"})
#: Settings that are numbers, and of which kind.
_KINDS: dict[str, type[int] | type[float]] = {
    **dict.fromkeys(("confidence", "min_score", "timeout_s", "http_timeout_s"), float),
    **dict.fromkeys(("max_pixels", "max_tiff_pixels", "memory_bytes", "tile_size"), int),
    **dict.fromkeys(("tile_overlap", "fields_per_batch", "crops_per_batch"), int),
    "max_download_bytes": int,
}
DEVICES = ("auto", "cpu", "cpu-bf16", "cuda")
#: Numbers stay below this: the readers of ``results.json`` refuse longer ones.
_TOO_MUCH = 2**63
#: Longest wait, in seconds: timers of some systems take no more than 2**32 ms.
_LONGEST_S = 4_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of reading and analysing fields.

    Attributes:
        confidence: detector score below which a box is dropped, 0..1; None takes the threshold
            on the detector's card.
        min_score: label score below which a cell is ``unclassified`` (``low-score``), 0..1; None
            takes the threshold on the classifier's card.
        device: ``auto`` (CUDA where it works, else the processor), ``cpu``, ``cuda``, or
            ``cpu-bf16`` for a detector in half precision on processors that have it: faster, with
            boxes and scores slightly apart from those of ``cpu``.
        max_pixels: largest picture that is decoded, in pixels (width x height). It is checked
            against the header, so a decompression bomb costs no memory.
        max_tiff_pixels: largest TIFF that is read region by region, in pixels (width x height).
        memory_bytes: memory that the pixels of all fields share that are in work at a time; a
            picture that takes more by itself is refused.
        timeout_s: seconds that a file may take to be decoded.
        tile_size: side of the tiles, in pixels, in which every field larger than that is looked
            at; None looks at fields of up to 2600 px as a whole and chooses for larger ones by
            the size of their cells.
        tile_overlap: pixels that neighbouring tiles share, at least the largest cell and at most
            half a tile; None takes a quarter of ``tile_size``, or twice the size of the cells.
        careful: look at every field and every cell as it is, mirrored, upside down and turned by
            half, and merge what is seen: the same answer for a field however it is turned, in
            about five times the time.
        fields_per_batch: how many fields share one pass through the classifier. On a processor
            more than 1 is no faster; with 1 no field's result depends on its neighbours.
        crops_per_batch: how many cell crops go through the classifier at once.
        http_timeout_s: seconds without an answer after which a download is given up.
        max_download_bytes: largest picture that is downloaded, in bytes.

    Raises:
        ValueError: a value is out of its range; the message is one line.
    """

    confidence: float | None = None
    min_score: float | None = None
    device: str = "auto"
    max_pixels: int = 200_000_000
    max_tiff_pixels: int = 20_000_000_000
    memory_bytes: int = 1_000_000_000
    timeout_s: float = 60.0
    tile_size: int | None = None
    tile_overlap: int | None = None
    careful: bool = False
    fields_per_batch: int = 1
    crops_per_batch: int = 64
    http_timeout_s: float = 30.0
    max_download_bytes: int = 268_435_456

    def __post_init__(self) -> None:
        for name in _KINDS:
            self._make_plain(name)
        for name in ("confidence", "min_score"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, not {value}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if self.tile_size is not None and self.tile_size < 64:
            raise ValueError(f"tile_size must be at least 64 pixels, not {self.tile_size}")
        if self.tile_overlap is not None:
            if self.tile_overlap < 1:
                raise ValueError(f"tile_overlap must be more than 0, not {self.tile_overlap}")
            if self.tile_size is not None and self.tile_overlap > self.tile_size // 2:
                raise ValueError(
                    f"tile_overlap must be at most half of tile_size, not {self.tile_overlap}"
                )
        for name in (
            "max_pixels",
            "max_tiff_pixels",
            "memory_bytes",
            "timeout_s",
            "fields_per_batch",
            "crops_per_batch",
            "http_timeout_s",
            "max_download_bytes",
        ):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be more than 0, not {value}")
        for name in ("timeout_s", "http_timeout_s"):
            if getattr(self, name) > _LONGEST_S:
                raise ValueError(
                    f"{name} must be at most {_LONGEST_S} seconds, not {getattr(self, name):g}"
                )

    def _make_plain(self, name: str) -> None:
        """Make a number a plain one: JSON cannot hold those of numpy, 1 and 1.0 are one setting."""
        value = getattr(self, name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"{name} must be a number, not {value!r}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not abs(number) < _TOO_MUCH:  # nor is a NaN
            raise ValueError(f"{name} must lie within 64 bits, not {str(value)[:30]}")
        if _KINDS[name] is int and not number.is_integer():
            raise ValueError(f"{name} must be a whole number, not {value}")
        object.__setattr__(self, name, _KINDS[name](number))  # the class is frozen

    def to_dict(self) -> dict[str, object]:
        """Return the settings as plain JSON values."""
        return asdict(self)

    def fingerprint(self) -> str:
        """Return sha256 (hex) of the settings that results depend on: equal ones, equal
        fingerprint."""
        kept = {key: value for key, value in self.to_dict().items() if key not in NO_RESULT}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

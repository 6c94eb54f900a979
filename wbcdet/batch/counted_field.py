"""One field counted, wherever that was done: all that its line of the journal needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wbcdet.inference.quality import QualityInfo
from wbcdet.inference.run_info import RunInfo
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field
from wbcdet.io.source import Source
from wbcdet.records import DAMAGED, FieldResult
from wbcdet.report.input_fingerprint import FileStamp, InputFingerprints

if TYPE_CHECKING:
    from wbcdet.inference.analyzer import Analyzer


@dataclass(frozen=True, slots=True)
class CountedField:
    """A field and what is kept of it.

    Attributes:
        result: its record.
        stamp: size, time of change and sha256 of its file, from before it was read.
        quality: its measures; None where it could not be read.
        pictures: JPEG files of its cells, then what ``--dedupe`` compares.
        drawing: the annotated picture; None where none is drawn.
    """

    result: FieldResult
    stamp: FileStamp | None = None
    quality: QualityInfo | None = None
    pictures: Sequence[bytes] = ()
    drawing: bytes | None = None


#: Takes from a field's record what is not counted there.
Claims = Callable[[FieldResult], FieldResult]


class Engine(Protocol):
    """What counts fields: this process, or others."""

    def info(self) -> RunInfo:
        """Give what made the results, as ``Analyzer.info``."""
        ...

    def count_fields(
        self,
        sources: Iterable[Source],
        *,
        draw: bool,
        dedupe: bool,
        claims: Claims | None = None,
    ) -> Iterator[CountedField]:
        """Count fields, in order.

        Args:
            sources: the fields; no more of them are asked for than can be begun.
            draw: annotated pictures are wanted.
            dedupe: what ``--dedupe`` compares is wanted.
            claims: takes from a record the cells that belong to others; None where all are its own.
        """
        ...


class LocalEngine:
    """Counts in this process.

    Args:
        analyzer: what looks at the fields.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer

    def info(self) -> RunInfo:
        """Return what made the results."""
        return self._analyzer.info()

    def count_fields(
        self,
        sources: Iterable[Source],
        *,
        draw: bool,
        dedupe: bool,
        claims: Claims | None = None,
    ) -> Iterator[CountedField]:
        """Count fields, in order."""
        stamps, waiting = InputFingerprints(), deque[FileStamp | None]()

        def stamped() -> Iterator[Source]:
            # Before it is read: a file that changes meanwhile is seen to have changed by the next
            # run.
            for source in sources:
                waiting.append(stamps.take(source.path))
                yield source

        for field, result in self._analyzer.analyze_fields(stamped()):
            if claims is not None:
                result = claims(result)
            yield make_counted_field(field, result, waiting.popleft(), draw=draw, dedupe=dedupe)
            del field  # while the next one is waited for, its memory is free


def make_counted_field(
    field: Field | None,
    result: FieldResult,
    stamp: FileStamp | None,
    *,
    draw: bool,
    dedupe: bool,
) -> CountedField:
    """Measure and draw a field that was analysed.

    Args:
        field: its pixels; None where it could not be read.
        result: its record.
        stamp: of its file.
        draw: an annotated picture is wanted.
        dedupe: what ``--dedupe`` compares is wanted.

    Raises:
        OSError: a picture cannot be encoded.
    """
    from wbcdet.inference.quality import cell_width, measure_field
    from wbcdet.report.registration import encode_registration_image
    from wbcdet.report.thumbnails import cut_overview, cut_thumbnails
    from wbcdet.results.writer import draw_annotated

    if field is None:
        return CountedField(result, stamp)
    try:
        pictures = [*(cut_thumbnails(field, result.cells) or [cut_overview(field)])]
        quality = measure_field(field, cell_width(result.cells)).to_dict()
        if result.is_damaged:
            quality["problems"] = (*quality["problems"], DAMAGED)
        pictures += [encode_registration_image(field.pixels)] * dedupe
        drawing = draw_annotated(field.pixels, result) if draw else None
    except FieldError as error:  # a large file that is read in parts has gone meanwhile
        return CountedField(FieldResult.failed(result.file, str(error)), stamp)
    field.release()
    return CountedField(result, stamp, quality, pictures, drawing)

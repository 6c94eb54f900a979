"""One field in the journal."""

from __future__ import annotations

from dataclasses import dataclass

from wbcdet.inference.quality import QualityInfo
from wbcdet.inference.run_info import RunInfo
from wbcdet.records import CellType, FieldResult
from wbcdet.report.input_fingerprint import FileStamp
from wbcdet.report.journal import JournalError, Place
from wbcdet.results.schemas import check_line
from wbcdet.utils.schemas import JsonObject, SchemaError


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """Entry of a field in the journal.

    Attributes:
        result: its record.
        stamp: size, time of change and sha256 of its file (``InputFingerprints``); None where the
            file could not be read.
        quality: its ``FieldQuality``; None where it could not be read.
        annotated: its annotated picture, as a path below the report folder.
        ground: it keeps what ``--dedupe`` compares.
        pictures: places of its pictures in the journal: one thumbnail a cell, or one of the field
            where it has none, then the ground.
    """

    result: FieldResult
    stamp: FileStamp | None = None
    quality: QualityInfo | None = None
    annotated: str | None = None
    ground: bool = False
    pictures: tuple[Place, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems with the quality of the field."""
        return tuple(self.quality["problems"]) if self.quality else ()

    def to_record(self) -> dict[str, object]:
        """Return the entry as the journal takes it; it finds the places of the pictures itself."""
        return {
            "file": self.result.file,
            "input": self.stamp,
            "quality": self.quality,
            "annotated": self.annotated,
            "ground": self.ground,
            "result": self.result.to_dict(),
        }

    @classmethod
    def from_record(cls, record: JsonObject) -> JournalEntry:
        """Return the entry of a line of the journal."""
        return cls(
            FieldResult.from_dict(record["result"]),
            record["input"],
            record["quality"],
            record["annotated"],
            record["ground"],
            tuple(tuple(place) for place in record["pictures"]),
        )

    @classmethod
    def checked(
        cls, file: str, record: JsonObject, header: RunInfo | None, kind: str = "entry"
    ) -> JournalEntry:
        """Return the entry of a line that this run did not write itself.

        Args:
            file: whose line it is.
            record: the line.
            header: of the journal.
            kind: of line, as of ``results.schemas.check_line``.

        Raises:
            JournalError: the line holds no result of that field.
        """
        try:
            check_line(kind, record)
            entry = cls.from_record(record)
        except (SchemaError, ValueError, KeyError, TypeError, OverflowError) as error:
            why = " ".join(str(error).split())[:300]
            raise JournalError(f"the line of {file} is damaged: {why}") from error
        result = entry.result
        read = result.failure is None
        # A stream keeps pictures of cells beside those of the entry, a count that of the ground.
        enough = len(entry.pictures) >= len(result.cells) + entry.ground
        # Only a person gives names that no label of the classifier is, and writes no journal.
        labels = (header or {}).get("thresholds", {}).get("min_score", {})
        named = all(isinstance(c.label, CellType) or c.label in labels for c in result.cells)
        if result.file != file or not enough or not named or (read and entry.quality is None):
            raise JournalError(f"the line of {file} is damaged: its parts do not agree")
        return entry

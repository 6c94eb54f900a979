"""One field in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wbcdet.records import FieldResult
from wbcdet.report.journal import Place


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What the journal keeps of a field.

    Attributes:
        result: its record.
        stamp: size, time of change and sha256 of its file (``inputs.Stamps``); None where the file
            could not be read.
        quality: what ``quality.measure`` says of it; None where it could not be read.
        annotated: its annotated picture, as a path below the report folder.
        ground: it keeps what ``--dedupe`` compares.
        pictures: places of its pictures in the journal: one thumbnail a cell, or one of the field
            where it has none, then the ground.
    """

    result: FieldResult
    stamp: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None
    annotated: str | None = None
    ground: bool = False
    pictures: tuple[Place, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the quality of the field."""
        return tuple(self.quality["problems"]) if self.quality else ()

    def to_record(self) -> dict[str, Any]:
        """The entry as the journal takes it; it finds the places of the pictures itself."""
        return {
            "file": self.result.file,
            "input": self.stamp,
            "quality": self.quality,
            "annotated": self.annotated,
            "ground": self.ground,
            "result": self.result.to_dict(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> JournalEntry:
        """The entry of a line of the journal."""
        return cls(
            FieldResult.from_dict(record["result"]),
            record["input"],
            record["quality"],
            record["annotated"],
            record["ground"],
            tuple((at, size) for at, size in record["pictures"]),
        )

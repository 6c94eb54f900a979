"""The tables and the results document of a count, written a field at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from wbcdet.differential.differential import DIFFERENTIAL_COLUMNS
from wbcdet.differential.identifiers import IDENTIFIERS, Identifiers
from wbcdet.inference.quality import FieldQuality
from wbcdet.inference.run_info import RunInfo
from wbcdet.records import CELL_COLUMNS, FORMAT, NOTICE, Cell, FieldRecord, SlideRegion
from wbcdet.report.counts import DUPLICATE, ReportCounts
from wbcdet.report.duplicates import CellKey
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.workbook import write_workbook
from wbcdet.results.writer import FIELD_COLUMNS, cell_counts, path_of
from wbcdet.utils.csv_text import write_rows
from wbcdet.utils.files import open_atomic

#: Header of ``cells.csv``: as of ``wbcdet predict``, then what a count adds.
COUNT_CELL_COLUMNS: tuple[str, ...] = (*CELL_COLUMNS, "group", "left_out", "duplicate_of")

#: What ``cells.csv`` says beside that of a cell on a slide: its middle in pixels of the finest
#: level, the mean of its sides, and whether it lies at the edge or tail of the smear.
SLIDE_CELL_COLUMNS: tuple[str, ...] = ("slide", "slide_x", "slide_y", "diameter_um", "at_edge")

#: More columns of ``cells.csv``: their names, and the values of each cell.
More = tuple[tuple[str, ...], Mapping[CellKey, Mapping[str, object]]]

#: The measures of quality.
_MEASURES = tuple(field.name for field in fields(FieldQuality) if field.name != "problems")

#: Header of ``fields.csv``: as of ``wbcdet predict``, then what a count adds.
COUNT_FIELD_COLUMNS: tuple[str, ...] = (
    *FIELD_COLUMNS,
    "group",
    "left_out",
    "duplicates",
    "sha256",
    "problems",
    *_MEASURES,
)


def write_tables(
    out: Path, counts: ReportCounts, created: str, *, annotated: bool, more: More = ((), {})
) -> None:
    """Write ``cells.csv``, ``fields.csv``, ``differential.csv``, and all three as ``report.xlsx``.

    Args:
        out: the report folder.
        counts: the counts.
        created: when the count was begun.
        annotated: there are annotated pictures.
        more: what ``cells.csv`` says beside what it always does.

    Raises:
        OSError: a file cannot be written.
    """
    columns, values = more
    on_slide = SLIDE_CELL_COLUMNS if counts.on_slide else ()
    called = IDENTIFIERS if counts.options.identifiers else ()
    tables: dict[str, tuple[tuple[str, ...], Callable[[], Iterator[dict[str, object]]]]] = {
        "differential": ((*DIFFERENTIAL_COLUMNS, *called), lambda: _differential_rows(counts)),
        "cells": ((*COUNT_CELL_COLUMNS, *on_slide, *columns), lambda: _cell_rows(counts, values)),
        "fields": (
            COUNT_FIELD_COLUMNS,
            lambda: (_field_row(counts, entry, annotated) for entry in counts.entries()),
        ),
    }
    for name, (header, rows) in tables.items():
        _write_csv(out / f"{name}.csv", header, rows())
    sheets = {name: (header, rows()) for name, (header, rows) in tables.items()}
    write_workbook(out / "report.xlsx", sheets, created)


def _differential_rows(counts: ReportCounts) -> Iterator[dict[str, object]]:
    for differential in counts.differentials:
        called = counts.options.identifiers.get(differential.group, Identifiers())
        more = called.to_dict() if counts.options.identifiers else {}
        for row in differential.rows():
            yield {**row, **more}


def write_document(path: Path, counts: ReportCounts, info: RunInfo) -> None:
    """Write ``results.json``, a field a line.

    Args:
        path: the file.
        counts: the counts.
        info: the header of the journal.

    Raises:
        OSError: it cannot be written.
    """
    said: Mapping[str, object] = info
    about = {
        "wbcdet": info["wbcdet"],
        "created": info["created"],
        "notice": NOTICE,
        **{name: said[name] for name in ("detector", "classifier", "settings", "sources")},
        **{name: said[name] for name in ("thresholds", "ground") if name in said},
        "count": counts.options.to_dict(),
        **({"review": info["review"]} if "review" in info else {}),
        **({"stream": info["stream"]} if "stream" in info else {}),
    }
    with open_atomic(path) as file:
        slides = [slide.to_dict() for slide in counts.slides()]
        file.write(f'{{"format": {_json(FORMAT)},\n"info": {_json(about)},\n'.encode())
        file.write(f'"slides": {_json(slides)},\n"fields": ['.encode())
        for number, entry in enumerate(counts.entries()):
            file.write(f"{',' * (number > 0)}\n{_json(_document_field(counts, entry))}".encode())
        file.write(b"\n]}\n")


def cell_name(file: str, number: int) -> str:
    """Return a cell of another field, as ``duplicate_of`` names it."""
    return f"{file}#cell{number}"


def _cell_rows(
    counts: ReportCounts, more: Mapping[CellKey, Mapping[str, object]]
) -> Iterator[dict[str, object]]:
    for entry in counts.entries():
        file = entry.result.file
        for cell in entry.result.cells:
            reason = counts.left_out(entry, cell)
            yield {
                **cell.to_row(file, entry.result.remarks),
                "group": counts.group(file),
                "left_out": reason,
                "duplicate_of": cell_name(*counts.duplicate_of[file, cell.id])
                if reason == DUPLICATE
                else None,
                **_on_slide(entry.result.region, cell),
                **more.get((file, cell.id), {}),
            }


def _on_slide(region: SlideRegion | None, cell: Cell) -> dict[str, object]:
    if region is None:
        return {}
    x_min, y_min, x_max, y_max = region.on_slide(cell.box)
    middle = round((x_min + x_max) / 2, 1), round((y_min + y_max) / 2, 1)
    values = (region.slide, *middle, region.diameter_um(cell), region.edge)
    return dict(zip(SLIDE_CELL_COLUMNS, values, strict=True))


def _field_row(counts: ReportCounts, entry: JournalEntry, annotated: bool) -> dict[str, object]:
    result = entry.result
    row: dict[str, object] = {
        "file": result.file,
        "group": counts.group(result.file),
        "failure": result.failure,
        "sha256": entry.stamp["sha256"] if entry.stamp else None,
        "path": path_of(result.file, counts.roots),
    }
    if result.failure is not None:
        # A field that could not be read has no counts: zeros would say that it was empty.
        return row
    reasons = [counts.left_out(entry, cell) for cell in result.cells]
    quality: Mapping[str, object] = entry.quality or {}
    return {
        **row,
        "width": result.width,
        "height": result.height,
        **cell_counts(result),
        "annotated": entry.annotated if annotated else None,
        "left_out": "bad-field" if counts.skips(entry) else None,
        "duplicates": reasons.count(DUPLICATE) if counts.options.dedupe else None,
        "problems": "; ".join(entry.problems),
        "remarks": "; ".join(result.remarks),
        **{name: quality.get(name) for name in _MEASURES},
    }


def _document_field(counts: ReportCounts, entry: JournalEntry) -> FieldRecord:
    result = entry.result
    data = result.to_dict()
    for cell, values in zip(result.cells, data["cells"], strict=True):
        values["left_out"] = counts.left_out(entry, cell)
        if values["left_out"] == DUPLICATE:
            file, number = counts.duplicate_of[result.file, cell.id]
            values["duplicate_of"] = {"file": file, "id": number}
    data["group"] = counts.group(result.file)
    data["sha256"] = entry.stamp["sha256"] if entry.stamp else None
    data["quality"] = entry.quality
    return data


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[Mapping[str, object]]) -> None:
    with open_atomic(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        write_rows(text, columns, rows)
        text.flush()
        text.detach()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

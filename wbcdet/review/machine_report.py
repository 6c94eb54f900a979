"""The report under review: the machine's results, with the additions of a count."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wbcdet.differential.differential import ALL
from wbcdet.differential.identifiers import Identifiers
from wbcdet.differential.reference_ranges import ReferenceRange, read_ranges
from wbcdet.inference.quality import QualityInfo
from wbcdet.inference.run_info import CountInfo, RunInfo
from wbcdet.records import FieldResult
from wbcdet.report.counts import CountOptions
from wbcdet.report.duplicates import CellKey
from wbcdet.results.document import ResultsError, not_json, parse_document
from wbcdet.results.signed_slides import check_not_signed, slide_digests
from wbcdet.review.cell_state import is_short_line
from wbcdet.utils.safe_files import read_own
from wbcdet.utils.schemas import JsonObject, parse_json
from wbcdet.utils.text import one_line


@dataclass(frozen=True, slots=True)
class ReviewField:
    """One field of the report.

    Attributes:
        number: its place in the report, from 0.
        result: the machine's record.
        group: its slide, or ``ALL``.
        left_out: by cell id, why a cell is in no count; cells that count are not in it.
        duplicate_of: by cell id, the cell of another field that is counted instead.
        quality: measures of the field; None without any.
        sha256: of its file; None where it is not known.
    """

    number: int
    result: FieldResult
    group: str
    left_out: Mapping[int, str]
    duplicate_of: Mapping[int, CellKey]
    quality: QualityInfo | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class MachineReport:
    """A report as the machine wrote it; never changed.

    Attributes:
        folder: the report folder.
        sha256: of its ``results.json``.
        info: what made it: version, models, settings, date.
        options: how a count put it together; the defaults for other reports.
        fields: all fields, in order.
        slides: what it says of each slide, as in its ``results.json``; empty for older reports.
        slides_sha256: by slide, sha256 of all that it says of it.
    """

    folder: Path
    sha256: str
    info: RunInfo
    options: CountOptions
    fields: tuple[ReviewField, ...]
    slides: tuple[JsonObject, ...] = ()
    slides_sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """The slides, in order."""
        return list(dict.fromkeys(field.group for field in self.fields))


def load_report(folder: Path) -> MachineReport:
    """Read a report folder.

    Raises:
        ResultsError: it holds no ``results.json`` that this version reads, or that of a report
            that a review has signed.
    """
    path = folder / "results.json"
    try:
        data = read_own(folder, "results.json")
        document = parse_json(data)
    except OSError as error:
        why = error.strerror or error
        raise ResultsError(
            f"{path}: cannot be read ({why}); name the --out folder of wbcdet count or predict"
        ) from error
    except ValueError as error:
        raise not_json(path, error) from error
    try:
        info, results = parse_document(document)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    check_not_signed(path, info)
    for result in results:
        # Decisions record labels, and a store takes none that a person could not have given.
        if odd := [cell for cell in result.cells if not is_short_line(str(cell.label))]:
            raise ResultsError(
                f"{path}: cell {odd[0].id} of {one_line(result.file)} has a label that is no line "
                "of printable letters"
            )
    fields = tuple(
        _field(number, result, raw)
        for number, (result, raw) in enumerate(zip(results, document["fields"], strict=True))
    )
    digest = hashlib.sha256(data).hexdigest()
    slides = tuple(document.get("slides") or ())
    options, of_each = _options(info.get("count")), slide_digests(document)
    return MachineReport(folder, digest, info, options, fields, slides, of_each)


def _field(number: int, result: FieldResult, raw: JsonObject) -> ReviewField:
    return ReviewField(
        number,
        result,
        raw.get("group") or ALL,
        {cell["id"]: cell["left_out"] for cell in raw["cells"] if cell.get("left_out")},
        {
            cell["id"]: (cell["duplicate_of"]["file"], cell["duplicate_of"]["id"])
            for cell in raw["cells"]
            if cell.get("duplicate_of")
        },
        raw.get("quality"),
        raw.get("sha256"),
    )


def _options(count: CountInfo | None) -> CountOptions:
    if count is None:
        return CountOptions(ranges=read_ranges())
    ranges = {
        label: ReferenceRange(limits["low"], limits["high"], limits["source"])
        for label, limits in count["ranges"].items()
    }
    try:
        called = {
            group: Identifiers(**identifiers)
            for group, identifiers in count.get("identifiers", {}).items()
        }
    except ValueError as error:
        raise ResultsError(f"is not as its schema says: {error}") from error
    return CountOptions(
        group_by=count["group_by"],
        exclude_edge=count["exclude_edge"],
        skip_bad=count["skip_bad"],
        dedupe=count["dedupe"],
        target=count["target"],
        ranges=ranges,
        identifiers=called,
    )

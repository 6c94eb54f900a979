"""A report as a laboratory's system takes it: counts of each slide, coded, and who signed.

LOINC names the share of a cell type among the white cells. What it has no code for (the reasons of
unclassified cells, how many cells were counted) stands under a code of our own.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

from wbcdet.differential.differential import ALL, EDGE
from wbcdet.differential.reference_ranges import ReferenceRange
from wbcdet.inference.run_info import RunInfo
from wbcdet.io.slide_part import bytes_of
from wbcdet.records import ALARMING, ARTEFACT, NOTICE, CellType
from wbcdet.results.document import describe_model
from wbcdet.results.named_apart import named_apart
from wbcdet.results.reserved_names import ARTEFACT_BY_MODEL, TOGETHER, is_reserved
from wbcdet.utils.intervals import clopper_pearson
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.text import plural
from wbcdet.utils.version import __version__

LOINC = "http://loinc.org"
#: System of our own codes, and its short name in HL7 v2 (which begins with 99 for local systems).
LOCAL, LOCAL_V2 = "urn:wbcdet:lab-codes", "99WBCDET"

#: LOINC codes of shares among the white cells in blood, by any method; docs/lis.md says where they
#: were looked up.
SHARES: Mapping[str, tuple[str, str]] = {
    "neutrophil": ("26511-6", "Neutrophils/Leukocytes in Blood"),
    "lymphocyte": ("26478-8", "Lymphocytes/Leukocytes in Blood"),
    "monocyte": ("26485-3", "Monocytes/Leukocytes in Blood"),
    "eosinophil": ("26450-7", "Eosinophils/Leukocytes in Blood"),
    "basophil": ("30180-4", "Basophils/Leukocytes in Blood"),
}
#: LOINC code of the whole: no panel of LOINC is one of pictures analysed by a program.
REPORT = ("11502-2", "Laboratory report")
#: Before a name that a person gave and that stands for something else here.
_OWN = "type-"
#: Units in UCUM, which counts things in braces.
PERCENT, CELLS, FIELDS = "%", "{cells}", "{fields}"
TITLE = "Leukocyte differential of a blood smear by image analysis"

#: Name space of ids: the same slide of the same report has the same ids in every export.
_SPACE = uuid.UUID("0d5a3f8e-1c1b-5f0e-8a43-52d0b2f3c9a7")


@dataclass(frozen=True, slots=True)
class LabSlide:
    """One slide, to become one report of its own.

    Attributes:
        data: the slide as in ``slides`` of ``results.json``.
        digest: sha256 of that ``results.json``.
        signature: the signature that holds for it now: ``name``, ``time``, ``number``; None where
            nobody has signed it, or something was changed since.
        signed_before: it was signed before that too: what was sent as final then is replaced.
        counting: which of its fields and cells are in the counts or in none, a line each: those of
            ``how_counted``.
        first: sha256 of its first picture, where that is known: counts that began in the same
            second are told apart by it.
    """

    data: JsonObject
    digest: str
    signature: JsonObject | None = None
    signed_before: bool = False
    first: str = ""
    counting: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.data["group"])

    @property
    def is_final(self) -> bool:
        """A person has signed it."""
        return self.signature is not None


@dataclass(frozen=True, slots=True)
class LabReport:
    """A report.

    Attributes:
        info: ``info`` of ``results.json`` as it was counted.
        slides: what was counted, or signed.
        counted: what tells the report from others: neither a signature changes it nor a count that
            goes on, which adds slides or fields.
    """

    info: RunInfo
    slides: Sequence[LabSlide]
    counted: str

    def models(self) -> list[tuple[str, str, str]]:
        """Role, name and sha256 of the models."""
        return [
            (role, describe_model(self.info[role]), str(self.info[role]["sha256"]))
            for role in ("detector", "classifier")
            if isinstance(self.info.get(role), Mapping)
        ]

    def range_source(self, label: str) -> str:
        """Where a reference range is from; empty where that is not said."""
        count = self.info.get("count")
        limits = count.get("ranges", {}).get(label) if count else None
        return limits["source"] if limits else ""

    def made(self, slide: LabSlide) -> str:
        """When the report of a slide was issued: signed, or else counted; ISO 8601.

        Raises:
            ValueError: the report says no time there.
        """
        said = str(slide.signature["time"] if slide.signature else self.info["created"])
        time = datetime.fromisoformat(said.replace("Z", "+00:00"))
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).isoformat()

    def order_of(self, slide: LabSlide) -> uuid.UUID:
        """Return the id that a slide's report keeps, preliminary, final and signed again."""
        return uuid.uuid5(_SPACE, f"{self.counted}\n{slide.first}\n{slide.name}\norder")

    def id_of(self, slide: LabSlide, what: str = "") -> uuid.UUID:
        """Return an id of a slide's report as it is now, or of a part of it."""
        number = slide.signature["number"] if slide.signature else 0
        return uuid.uuid5(_SPACE, f"{slide.digest}\n{slide.name}\n{number}\n{what}")


class LabWriter(Protocol):
    """What writes one format for a laboratory's system: a module with this function."""

    #: Ending of the files.
    SUFFIX: str

    def encode(self, report: LabReport, slide: LabSlide) -> bytes:
        """Return the report of one slide, validated.

        Raises:
            ImportError: the extra is missing.
            Exception: what the library says of a report that does not fit the format.
        """


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a differential.

    Attributes:
        code, text: our own code and what it means.
        loinc: code and name in LOINC, where it has one.
        count: cells.
        percent, low, high: share and its 95 % interval, in percent; None without such a share.
        of: what the share is a percentage of.
        range: reference range in percent, where there is one.
        flag: ``low``, ``high``, ``present`` or empty, as in ``differential.csv``.
        label: cell type or reason.
        is_apart: the cells are in no share, only counted: artefacts, and cells cut by a border.
    """

    code: str
    text: str
    loinc: tuple[str, str] | None
    count: int
    percent: float | None
    low: float | None
    high: float | None
    of: str
    range: tuple[float, float] | None
    flag: str
    label: str
    is_apart: bool


def findings(slide: LabSlide, report: LabReport | None = None) -> Iterator[Finding]:
    """Yield the lines of a slide: cell types, types of which parts are named apart with these,
    reasons of unclassified cells, artefacts, cut cells.

    Args:
        slide: the slide.
        report: has the reference ranges of types of which parts are named apart.
    """
    rows = slide.data["differential"]
    types = {str(row["label"]): int(row["count"]) for row in rows if row.get("reason") is None}
    apart = named_apart({label: n for label, n in types.items() if label != ARTEFACT})
    yield from _together(slide, types, apart, report)
    for row in rows:
        label, reason = str(row["label"]), row.get("reason")
        ends = row.get("range_low"), row.get("range_high")
        limits = None if None in ends else (float(ends[0]), float(ends[1]))
        of, loinc, is_apart = "classified cells", None, False
        if label == CellType.UNCLASSIFIED and reason != ARTEFACT:
            label, of = str(reason), "all white cells"
            what = "look first at each of them" if label in ALARMING else "unclassified"
            code, text = f"reason-{label}", f"White cells left unclassified: {label} ({what})"
        elif ARTEFACT in (label, reason):
            code, text, is_apart = "artefact", "Findings that are no white cells (artefact)", True
            if reason == ARTEFACT:
                label = code = ARTEFACT_BY_MODEL
        elif label == EDGE and reason is not None:  # earlier versions let cells be called so, too
            is_apart = True
            code, text = "edge-cells", f"Cells cut by the border of a field, {reason}"
        else:
            code, text = f"share-{label}", f"{label} cells of all classified cells"
            # LOINC's code is that of all neutrophils, not of those without the bands.
            loinc = None if label in apart else SHARES.get(label)
            if label in apart:
                text = f"{label} cells without {', '.join(apart[label])} of all classified cells"
            if is_reserved(label):
                # Reports of earlier versions: two lines under one code would be taken for one.
                code = f"share-{_OWN}{label}" if label.startswith(TOGETHER) else code
                label = f"{_OWN}{label}"
        yield Finding(
            code,
            text,
            loinc,
            int(row["count"]),
            row.get("percent"),
            row.get("ci_low"),
            row.get("ci_high"),
            of,
            limits,
            str(row.get("flag") or ""),
            label,
            is_apart,
        )


def _together(
    slide: LabSlide,
    types: Mapping[str, int],
    apart: Mapping[str, Sequence[str]],
    report: LabReport | None,
) -> Iterator[Finding]:
    """Yield all cells of a type of which parts are named apart: LOINC's code covers all."""
    count = report.info.get("count") if report else None
    total = int(slide.data["classified"])
    for label, parts in apart.items() if total else ():
        number = sum(types[one] for one in (label, *parts))
        low, high = (100 * end for end in clopper_pearson(number, total))
        limits = (count.get("ranges") or {}).get(label) if count else None
        known = ReferenceRange(limits["low"], limits["high"], limits["source"]) if limits else None
        yield Finding(
            f"share-{TOGETHER}{label}",
            f"{label} cells with {', '.join(parts)} of all classified cells",
            SHARES.get(label),
            number,
            round(100 * number / total, 2),
            round(low, 2),
            round(high, 2),
            "classified cells",
            (known.low, known.high) if known else None,
            known.flag(low, high) if known else "",
            f"{TOGETHER}{label}",
            False,
        )


def totals(slide: LabSlide) -> list[tuple[str, str, int, str]]:
    """Code, meaning, number and unit of what the shares are of."""
    data = slide.data
    return [
        ("classified-cells", "Cells that were given a cell type", int(data["classified"]), CELLS),
        ("white-cells", "White cells found, classified or not", int(data["white_cells"]), CELLS),
        ("fields-read", "Microscope fields that were read", int(data["fields"]), FIELDS),
        (
            "fields-not-read",
            "Microscope fields that could not be read",
            int(data["not_read"]),
            FIELDS,
        ),
    ]


def how_counted(document: JsonObject) -> dict[str, list[str]]:
    """Return what the numbers of a slide do not show of its fields, by slide, a line each: fields
    left out for their quality or counted with it, cells that two fields show, copies of files.

    Args:
        document: a results document, as it was counted or signed.
    """
    skips = bool((document["info"].get("count") or {}).get("skip_bad"))
    said: dict[str, Counter[str]] = {}
    first: dict[object, JsonObject] = {}
    for field in document["fields"]:
        tally = said.setdefault(str(field.get("group") or ALL), Counter())
        cells = field["cells"]
        bad = bool((field.get("quality") or {}).get("problems"))
        tally["bad"] += bad
        if bad and skips:
            tally["bad cells"] += len(cells)
            continue
        tally["again"] += sum(cell.get("left_out") == "duplicate" for cell in cells)
        if cells and (sha256 := field.get("sha256")):
            of = first.setdefault(bytes_of(field["file"], sha256), field)
            again = {
                cell["id"] for cell in (*cells, *of["cells"]) if cell.get("left_out") == "duplicate"
            }
            # As on the sheet: where each cell is counted in one of the two, the copy does no harm.
            tally["copies"] += of is not field and not {cell["id"] for cell in cells} <= again
    return {group: list(_counting_lines(tally, skips)) for group, tally in said.items()}


def _counting_lines(tally: Mapping[str, int], skips: bool) -> Iterator[str]:
    if bad := tally["bad"]:
        what = (
            f"{plural(bad, 'field')} of doubtful quality (focus, exposure, stain, empty, damaged)"
        )
        cells = plural(tally["bad cells"], "cell")
        was = "was" if bad == 1 else "were"
        yield f"{what} {was} {f'left out, with {cells}' if skips else 'counted'}."
    if again := tally["again"]:
        yield f"{plural(again, 'cell')} seen again in an overlapping field, counted once."
    if copies := tally["copies"]:
        what = "is a copy of another: its" if copies == 1 else "are copies of others: their"
        yield f"{plural(copies, 'field')} {what} cells count once more."


def remarks(report: LabReport, slide: LabSlide) -> list[str]:
    """Return what must travel with the figures, a line each; the first says what they may be used
    for."""
    data, signature = slide.data, slide.signature
    lines = [f"{NOTICE} No result of wbcdet may be used to diagnose or treat anyone."]
    if signature is None:
        lines.append("Preliminary: what the program counted; no person has signed it.")
    else:
        lines.append(f"Signed by {signature['name']}, {signature['time']}.")
        if note := signature.get("note"):
            lines.append(f"Note of the signer: {note}")
        if left := signature.get("unreviewed"):
            named = plural(left, "cell")
            lines.append(f"{named} of those signed were left as the program named them.")
    lines.append(
        "Percentages of cell types are of the classified cells, those of reasons of all white "
        "cells found; intervals are exact 95 % intervals (Clopper-Pearson)."
    )
    alarming = [
        f"{finding.count} {finding.label}"
        for finding in findings(slide)
        if finding.flag == "present"
    ]
    if alarming:
        lines.append(f"Look first at each of these cells: {', '.join(alarming)}.")
    count = report.info.get("count")
    target = count.get("target") if count else None
    if target and data["classified"] < target:
        lines.append(f"Only {data['classified']} of {target} cells asked for were classified.")
    if data["not_read"]:
        lines.append(f"{plural(data['not_read'], 'field')} could not be read.")
    if data["without_cell"]:
        lines.append(f"{plural(len(data['without_cell']), 'field')} held no cell that was found.")
    lines += slide.counting
    ground = data.get("ground") or {}
    if ground.get("reasons"):
        lines.append(
            f"Unlike what the models were trained on: {', '.join(ground['reasons'])}. "
            "Look at every cell."
        )
    models = [f"{role} {name} ({sha[:12]})" for role, name, sha in report.models()]
    lines.append(f"wbcdet {report.info['wbcdet']}; {'; '.join(models)}.")
    lines.append(f"Written by wbcdet {__version__} from results with sha256 {slide.digest[:16]}.")
    return [" ".join(line.split()) for line in lines]

"""HL7 v2.5.1: one ORU^R01 message a slide, in UTF-8, with a carriage return after each segment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

from wbcdet.results.export.lab_report import (
    CELLS,
    LOCAL_V2,
    REPORT,
    TITLE,
    LabReport,
    LabSlide,
    findings,
    remarks,
    totals,
)
from wbcdet.utils.version import __version__

SUFFIX = ".hl7"

_VERSION = "2.5.1"
_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"})
_FLAGS = {"low": "L", "high": "H", "present": "A"}
#: Letters of a name in OBR-32 and OBX-16, and of a specimen's id.
_MAX_NAME = 80
_PERCENT = "%^percent^UCUM"


def encode(report: LabReport, slide: LabSlide) -> bytes:
    """Return the message of a slide, validated by ``hl7apy``."""
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.parser import parse_message

    text = "".join(f"{'|'.join(segment).rstrip('|')}\r" for segment in _segments(report, slide))
    message = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT)
    message.validate()
    return text.encode()


def _segments(report: LabReport, slide: LabSlide) -> Iterator[list[str]]:
    time = _time(report.made(slide))
    status = "P" if not slide.is_final else "C" if slide.signed_before else "F"
    mark, order_number = report.id_of(slide), report.order_of(slide)
    signer = _text(str(slide.signature["name"])[:_MAX_NAME]) if slide.signature else ""
    yield ["MSH", r"^~\&", "wbcdet", "", "", "", time, "", "ORU^R01^ORU_R01", mark.hex[:20],
           # Training: a receiver that heeds this keeps it apart from patient care.
           "T", _VERSION, "", "", "", "", "", "UNICODE UTF-8"]  # fmt: skip
    kind = f"{'^'.join(REPORT)}^LN^leukocyte-differential^{TITLE}^{LOCAL_V2}"
    order = ["OBR", "1", "", order_number.hex, kind, "", "", time]
    order += [""] * (22 - len(order)) + [time, "", "HM", status]
    if signer:
        order += [""] * (32 - len(order)) + [f"&{signer}"]
    yield order
    specimen, said = _specimen(slide.name), remarks(report, slide)
    if specimen != slide.name:
        said.append(f"{specimen} is short for the slide {' '.join(slide.name.split())}.")
    for number, line in enumerate(said, 1):
        yield ["NTE", str(number), "L", _text(line)]
    for number, values in enumerate(_observations(report, slide), 1):
        kind, code, group, value, units, limits, flag = values
        row = ["OBX", str(number), kind, code, group, value, units, limits, flag]
        row += ["", "", status, "", "", time, "", f"^{signer}" if signer else ""]
        row += [f"image-analysis^wbcdet {__version__}^{LOCAL_V2}"]
        yield row
    yield ["SPM", "1", f"^{_text(specimen)}", "",
           f"BLD^Whole blood^HL70487^smear^Stained blood smear^{LOCAL_V2}"]  # fmt: skip


def _observations(report: LabReport, slide: LabSlide) -> Iterator[tuple[str, ...]]:
    """Type, code, group, value, units, reference range and flag of each OBX.

    A share, its count and its interval have the same group (OBX-4).
    """
    for code, text, number, unit in totals(slide):
        yield "NM", _code(code, text), "", str(number), _counted(unit), "", ""
    for number, finding in enumerate(findings(slide, report), 1):
        group = str(number)
        if not finding.is_apart:
            code = _code(finding.code, finding.text)
            if finding.loinc is not None:
                code = f"{'^'.join(map(_text, finding.loinc))}^LN^{code}"
            share = "" if finding.percent is None else f"{finding.percent:g}"
            limits = "" if finding.range is None else f"{finding.range[0]:g}-{finding.range[1]:g}"
            yield "NM", code, group, share, _PERCENT, limits, _FLAGS.get(finding.flag, "")
            if finding.low is not None and finding.high is not None:
                interval = f"^{finding.low:g}^-^{finding.high:g}"
                code = _code(f"ci95-{finding.label}", f"95 % interval: {finding.text}")
                yield "SN", code, group, interval, _PERCENT, "", ""
        count = _code(f"count-{finding.label}", f"Cells counted: {finding.text}")
        yield "NM", count, group, str(finding.count), _counted(CELLS), "", ""


def _code(code: str, text: str) -> str:
    return f"{_text(code)}^{_text(text)}^{LOCAL_V2}"


def _counted(unit: str) -> str:
    return f"{unit}^{unit.strip('{}')}^UCUM"


def _specimen(name: str) -> str:
    """Return a slide's name as a specimen's id has it: a long one is cut, and told from others that
    begin alike by a part of its sha256."""
    if len(name) <= _MAX_NAME:
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{name[: _MAX_NAME - 9]}-{mark}"


def _text(value: str) -> str:
    return " ".join(value.split()).translate(_ESCAPES)


def _time(iso: str) -> str:
    """Return a time of ISO 8601 as HL7 has it: ``20260131120000+0000``."""
    return datetime.fromisoformat(iso).strftime("%Y%m%d%H%M%S%z")

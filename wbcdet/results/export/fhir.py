"""HL7 FHIR R4B: one Bundle a slide, with its DiagnosticReport and all that this refers to."""

from __future__ import annotations

from html import escape
from typing import Any

from wbcdet.results.export.lab_report import (
    CELLS,
    LOCAL,
    LOINC,
    PERCENT,
    REPORT,
    TITLE,
    Finding,
    LabReport,
    LabSlide,
    findings,
    remarks,
    totals,
)
from wbcdet.results.reserved_names import TOGETHER

SUFFIX = ".fhir.json"

_UCUM = "http://unitsofmeasure.org"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
_MEANING = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_FLAGS = {"low": ("L", "Low"), "high": ("H", "High"), "present": ("A", "Abnormal")}

#: A part of a resource as plain JSON; fhir.resources checks it and knows no narrower type.
Resource = dict[str, Any]


def encode(report: LabReport, slide: LabSlide) -> bytes:
    """Return the Bundle of a slide as JSON, validated by ``fhir.resources``."""
    from fhir.resources.R4B.bundle import Bundle

    bundle = Bundle.model_validate(_bundle(report, slide))
    text: str = bundle.model_dump_json(indent=1)
    return f"{text}\n".encode()


def _bundle(report: LabReport, slide: LabSlide) -> Resource:
    device, specimen = _device(report), _specimen(slide)
    observations = [
        *_totals(slide),
        *(_observation(report, slide, finding) for finding in findings(slide, report)),
    ]
    signer = None
    if slide.signature is not None:
        signer = {"resourceType": "Practitioner", "name": [{"text": slide.signature["name"]}]}
    refer = {
        "device": f"urn:uuid:{report.id_of(slide, 'device')}",
        "specimen": f"urn:uuid:{report.id_of(slide, 'specimen')}",
        "signer": f"urn:uuid:{report.id_of(slide, 'signer')}",
    }
    entries = []
    results = []
    note = remarks(report, slide)[0]
    for observation in observations:
        url = f"urn:uuid:{report.id_of(slide, observation['code']['coding'][-1]['code'])}"
        results.append({"reference": url})
        observation |= {
            "status": _status(slide),
            "category": [_concept(_CATEGORY, "laboratory", "Laboratory")],
            "issued": report.made(slide),
            "device": {"reference": refer["device"]},
            "specimen": {"reference": refer["specimen"]},
            "note": [{"text": note}],
        }
        entries.append((url, observation))
    whole = _report(report, slide, results, refer)
    first = (f"urn:uuid:{report.id_of(slide, 'report')}", whole)
    more = [(refer["device"], device), (refer["specimen"], specimen)]
    if signer is not None:
        more.append((refer["signer"], signer))
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{report.id_of(slide)}"},
        "type": "collection",
        "timestamp": report.made(slide),
        "entry": [
            {"fullUrl": url, "resource": resource} for url, resource in [first, *entries, *more]
        ],
    }


def _report(
    report: LabReport, slide: LabSlide, results: list[dict[str, str]], refer: dict[str, str]
) -> Resource:
    said = remarks(report, slide)
    lines = "".join(f"<p>{escape(line)}</p>" for line in (TITLE, f"Slide: {slide.name}", *said))
    whole: Resource = {
        "resourceType": "DiagnosticReport",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{lines}</div>',
        },
        "identifier": [{"system": LOCAL, "value": str(report.order_of(slide))}],
        "status": _status(slide),
        "category": [_concept(_SECTION, "HM", "Hematology")],
        "code": {**_concept(LOINC, *REPORT), "text": TITLE},
        "issued": report.made(slide),
        "specimen": [{"reference": refer["specimen"]}],
        "result": results,
        "conclusion": " ".join(said),
    }
    if slide.is_final:
        whole["resultsInterpreter"] = [{"reference": refer["signer"]}]
    return whole


def _status(slide: LabSlide) -> str:
    if not slide.is_final:
        return "preliminary"
    return "amended" if slide.signed_before else "final"


def _totals(slide: LabSlide) -> list[Resource]:
    return [
        {
            "resourceType": "Observation",
            "code": {**_concept(LOCAL, code, text), "text": text},
            "valueQuantity": _quantity(number, unit),
        }
        for code, text, number, unit in totals(slide)
    ]


def _observation(report: LabReport, slide: LabSlide, finding: Finding) -> Resource:
    code = _concept(LOCAL, finding.code, finding.text)
    if finding.loinc is not None:
        code["coding"] = [*_concept(LOINC, *finding.loinc)["coding"], *code["coding"]]
    observation: Resource = {
        "resourceType": "Observation",
        "code": {**code, "text": finding.text},
    }
    if finding.is_apart:
        observation["valueQuantity"] = _quantity(finding.count, CELLS)
        return observation
    parts: list[Resource] = [_part("count", "Cells counted", _quantity(finding.count, CELLS))]
    if finding.percent is None:
        reason = _concept(_ABSENT, "not-applicable", "Not Applicable")
        observation["dataAbsentReason"] = {**reason, "text": "no cell was classified"}
    else:
        observation["valueQuantity"] = _quantity(finding.percent, PERCENT)
        for end, text, value in (
            ("low", "95 % interval, lower end", finding.low),
            ("high", "95 % interval, upper end", finding.high),
        ):
            if value is not None:
                parts.append(_part(f"ci95-{end}", text, _quantity(value, PERCENT)))
    observation["component"] = parts
    if finding.range is not None:
        low, high = finding.range
        known: Resource = {"low": _quantity(low, PERCENT), "high": _quantity(high, PERCENT)}
        if source := report.range_source(finding.label.removeprefix(TOGETHER)):
            known["text"] = source
        observation["referenceRange"] = [known]
    if finding.flag in _FLAGS:
        observation["interpretation"] = [_concept(_MEANING, *_FLAGS[finding.flag])]
    return observation


def _part(code: str, text: str, quantity: Resource) -> Resource:
    return {"code": {**_concept(LOCAL, code, text), "text": text}, "valueQuantity": quantity}


def _device(report: LabReport) -> Resource:
    parts = [f"{role} {name}, sha256 {sha}" for role, name, sha in report.models()]
    return {
        "resourceType": "Device",
        "deviceName": [{"name": "wbcdet", "type": "model-name"}],
        "version": [{"value": str(report.info["wbcdet"])}],
        "note": [{"text": line} for line in parts],
    }


def _specimen(slide: LabSlide) -> Resource:
    name = " ".join(slide.name.split()) or "slide"
    return {
        "resourceType": "Specimen",
        "identifier": [{"value": name}],
        "type": {"text": "Stained blood smear"},
    }


def _concept(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _quantity(value: float, code: str) -> Resource:
    return {"value": value, "unit": code.strip("{}"), "system": _UCUM, "code": code}

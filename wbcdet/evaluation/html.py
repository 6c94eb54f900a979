"""The page of an evaluation: self-contained, without scripts, printed on A4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from wbcdet.evaluation import plots
from wbcdet.evaluation.classification import is_right
from wbcdet.evaluation.dataset import LabelIssue
from wbcdet.evaluation.error_gallery import ErrorCase
from wbcdet.evaluation.evaluate import ListResult
from wbcdet.evaluation.figures import (
    EvaluationInfo,
    Figures,
    FindingFigures,
    LabelClass,
    NamingFigures,
    OneCellPictures,
    PipelineFigures,
)
from wbcdet.evaluation.label_issues import KINDS
from wbcdet.evaluation.outcome import in_words
from wbcdet.evaluation.tables import Table, by_class, differential, others_table, overview
from wbcdet.records import NOTICE
from wbcdet.results.class_names import IGNORE, NOT_WHITE, WHITE_CELL
from wbcdet.results.document import describe_model
from wbcdet.utils.pages import render_page
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.text import one_line

#: Problems of a kind on the page; the rest is in the JSON file.
_MAX_LISTED = 40
_LAYOUTS = {
    "classes": "one folder a class",
    "yolo": "YOLO text files",
    "coco": "COCO JSON",
    "voc": "Pascal VOC XML",
}
_TITLES = {
    "wrong name": "Wrong names: true type → name given, score",
    "missed": "White cells not found",
    "no cell here": "Boxes where no white cell is labelled, score",
    "no name": "Left unclassified, or no cell found in the picture",
}


def render(info: EvaluationInfo, results: Sequence[ListResult]) -> str:
    """Return the page as HTML.

    Args:
        info: models, settings, thresholds and date, as in the JSON document.
        results: the lists.
    """
    page = {
        "notice": NOTICE,
        "created": str(info["created"])[:16].replace("T", " ") + " UTC",
        "made": _made(info),
        "summary": overview(results),
        "explained": _EXPLAINED,
        "lists": [_list(number, result) for number, result in enumerate(results)],
    }
    return render_page(__file__, page=page)


_EXPLAINED = (
    "A proportion's interval is Wilson's; where cells share a field, a slide or an original, it is "
    "widened to that of a bootstrap over those groups. Cells of the four types that were declined "
    "or missed count as wrong. F1 and means: bootstrap."
)


def _made(info: EvaluationInfo) -> list[tuple[str, str]]:
    rows = [
        (role.capitalize(), f"{describe_model(info[role])}, sha256 {info[role]['sha256']}")
        for role in ("detector", "classifier")
    ]
    rows.append(("Thresholds", f"cell {info['confidence']:g}, name {info['min_score']:g}"))
    settings = info["settings"]["fingerprint"]
    rows.append(("Version", f"wbcdet {info['wbcdet']}, settings {settings}"))
    return rows


def _list(number: int, result: ListResult) -> dict[str, object]:
    figures = result.figures
    blocks = []
    if "outcome" in figures:
        blocks.append(
            {
                **_BLOCK,
                "title": "What became of the white cells",
                "lines": [in_words(figures["outcome"])],
            }
        )
    if "finding" in figures:
        blocks.append(_finding(figures["finding"]))
    if "naming" in figures:
        blocks.append(_naming(figures["naming"], figures.get("one_cell_pictures")))
    if "both" in figures:
        blocks.append(_both(figures["both"]))
    return {
        "anchor": f"list-{number}",
        "title": one_line(result.title),
        "note": _used(figures) if figures.get("layout") else result.note,
        "problems": _problems(result.problems),
        "classes": _classes(figures["classes"]) if figures.get("classes") else None,
        "blocks": blocks,
        "mistakes": _mistakes(result.mistakes),
    }


def _used(figures: Figures) -> str:
    layout = _LAYOUTS[figures["layout"]]
    return f"Your own labels, read as {layout}: {figures['pictures']} pictures used."


def _finding(r: FindingFigures) -> dict[str, object]:
    lines = [
        f"{r['found']} of {r['cells']} white cells found in {r['fields']} pictures, "
        f"{r['false_boxes']} false boxes ({r['false_per_field']:.3f} a picture), at the threshold "
        f"{r['confidence']:g} and an overlap (IoU) of at least {r['least_iou']:g}."
    ]
    drawn, notes = [], []
    if r["cells"]:
        lines.append(
            f"Recall {_percent(r, 'recall')} %, precision {100 * r['precision']:.1f} %, F1 "
            f"{r['f1']:.3f}; AP50 {r['ap50']:.3f}, AP50-95 {r['ap50_95']:.3f} (COCO)."
        )
        drawn = [plots.precision_recall(r), plots.recall_by_size(r["by_size"])]
        notes = [
            "Orange: the threshold in use. White in the bars: number of cells.",
            f"Interval: {r['interval']}.",
        ]
    return {
        **_BLOCK,
        "title": "Finding white cells",
        "lines": lines,
        "plots": drawn,
        "notes": notes,
    }


def _naming(r: NamingFigures, pictures: OneCellPictures | None) -> dict[str, object]:
    missed = f", {100 * r['missed']:.1f} % not found" if r["missed"] else ""
    lines = [
        f"{_percent(r, 'accuracy')} % of {r['cells']} cells of the four types named right, "
        f"{100 * r['unclassified']:.1f} % declined at the threshold {r['min_score']:g}"
        f"{missed}; of those named {_percent(r, 'accuracy_classified')} % right."
    ]
    if pictures:
        lines.append(_picture_line(pictures))
    calibration, risk = r["calibration"], r["risk_coverage"]
    notes = [f"Interval: {r['interval']}."]
    drawn = []
    if calibration["bins"]:
        drawn.append(plots.reliability(calibration))
        notes.append(
            f"Expected calibration error {calibration['ece']:.3f} over the four types and “none of "
            f"them”, {len(calibration['bins'])} bins of as many cells each; a perfectly calibrated "
            f"classifier would show {calibration['ece_by_chance']:.3f} on so few cells."
        )
    if risk["points"]:
        drawn.append(plots.risk_coverage(risk))
        notes.append(
            f"Orange: the threshold in use. Area under risk and coverage {risk['aurc']:.4f}; at "
            f"most {100 * risk['coverage_most']:.1f} % are named, as others look like a basophil "
            "or an artefact."
        )
    declined = others_table(r)
    return {
        **_BLOCK,
        "title": "Naming the cells",
        "lines": lines,
        "tables": [by_class(r), *([declined] if declined else [])],
        "confusion": _confusion(r["confusion"]),
        "plots": drawn,
        "notes": notes,
    }


def _picture_line(p: OneCellPictures) -> str:
    line = (
        f"The name of a picture is that of its most certain cell. In {p['without_cell']} of "
        f"{p['pictures']} pictures no cell was found, in {p['with_several']} more than one."
    )
    if p["without_cell_of_four"]:
        line += (
            f" Taken whole as a crop, {p['right_as_crop']} of {p['without_cell_of_four']} of these "
            "would be named right; if your pictures are cut tightly, leave more ground around the "
            "cell."
        )
    return line


def _both(r: PipelineFigures) -> dict[str, object]:
    lines = [
        f"{r['found']} of {r['cells']} cells found, {r['false_boxes']} false boxes; in "
        f"{r['exact_counts']} of {r['fields']} pictures the number of cells is right."
    ]
    if r["typed_cells"]:
        lines.append(
            f"{r['found_and_named']} of {r['typed_cells']} cells of the four types found and named "
            f"right ({_percent(r, 'accuracy')} %), {r['unclassified']} left unclassified."
        )
    table = differential(r)
    return {
        **_BLOCK,
        "title": "Both stages together",
        "lines": lines,
        "tables": [table] if table else [],
        "notes": ["Points off: counted less true percentage."] if table else [],
    }


_BLOCK: dict[str, object] = {"lines": [], "tables": [], "confusion": None, "plots": [], "notes": []}


def _percent(r: JsonObject, key: str) -> str:
    if r[key] is None:
        return "–"
    low, high = r[f"{key}_ci"]
    return f"{100 * r[key]:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def _confusion(confusion: Mapping[str, Mapping[str, int]]) -> dict[str, object]:
    columns = list(next(iter(confusion.values())))
    rows = []
    for truth, counts in confusion.items():
        total = sum(counts.values())
        cells = []
        for named, count in counts.items():
            right = is_right(truth, named)
            share = count / total if total else 0.0
            colour, ink = _shade(share, right)
            percent = f"{100 * share:.0f} %" if count else ""
            cells.append(
                {"count": count, "percent": percent, "colour": colour, "ink": ink, "right": right}
            )
        rows.append({"name": truth, "cells": cells, "total": total})
    return {"columns": columns, "rows": rows}


def _shade(share: float, right: bool) -> tuple[str, str]:
    """Return ground and ink of a cell of the confusion matrix: blue where right, orange where
    wrong."""
    full = (0, 114, 178) if right else (213, 94, 0)
    # The root lets a few errors among many cells be seen.
    red, green, blue = (round(255 - (255 - part) * share**0.5) for part in full)
    return f"#{red:02x}{green:02x}{blue:02x}", "#fff" if right and share > 0.45 else "#1b1f24"


def _problems(problems: Sequence[LabelIssue]) -> list[dict[str, object]]:
    counts = Counter(problem.kind for problem in problems)
    listed = []
    for kind, text in KINDS.items():
        if counts[kind]:
            rows = [p for p in problems if p.kind == kind][:_MAX_LISTED]
            listed.append(
                {
                    "count": counts[kind],
                    "title": text.title[0].upper() + text.title[1:],
                    "advice": text.advice,
                    "rows": [{"where": one_line(p.where), "what": one_line(p.what)} for p in rows],
                    "more": counts[kind] - len(rows),
                }
            )
    return listed


def _classes(classes: Sequence[LabelClass]) -> Table:
    table = Table("", ("class of the labels", "labels", "stands for"))
    for entry in classes:
        table.add(one_line(entry["name"]), str(entry["labels"]), _standard(entry["standard"]))
    return table


def _standard(standard: str | None) -> str:
    words = {
        None: "unknown: counts neither way",
        WHITE_CELL: "white cell of any type",
        NOT_WHITE: "no white cell",
        IGNORE: "counts neither way",
    }
    return words.get(standard) or str(standard)


def _mistakes(mistakes: Sequence[ErrorCase]) -> list[dict[str, object]]:
    return [
        {
            "title": _TITLES[kind],
            "rows": [
                {
                    "jpeg": m.jpeg,
                    "truth": m.truth,
                    "said": m.said,
                    "arrow": kind in ("wrong name", "no name"),
                    "score": f"{m.score:.2f}" if m.score else "",
                    "file": one_line(m.file),
                }
                for m in rows
            ],
        }
        for kind, rows in groupby(mistakes, key=lambda m: m.kind)
    ]

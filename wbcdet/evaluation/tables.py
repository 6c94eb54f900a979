"""Figures as tables: short ones for the terminal and the page, full ones as Markdown and CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from wbcdet.evaluation.classification import FOUR
from wbcdet.evaluation.evaluate import ListResult
from wbcdet.evaluation.figures import (
    ClassFigures,
    FindingFigures,
    Interval,
    MeanFigures,
    NamingFigures,
    Outcome,
    PipelineFigures,
)
from wbcdet.evaluation.outcome import right_of
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.text import signed

#: Header of ``figures.csv`` and of ``cells.csv``.
FIGURE_COLUMNS = ("list", "figure", "value", "low", "high")
CELL_COLUMNS = (
    "list", "file", "part", "group", "x_min", "y_min", "x_max", "y_max", "truth", "named", "reason",
    *FOUR, "both_stages",
)  # fmt: skip


#: Numbers of ``outcome.judge_outcome`` in the order of their columns.
_OUTCOME: tuple[Literal["cells", "found", "missed", "named", "right", "declined"], ...] = (
    "cells", "found", "missed", "named", "right", "declined",
)  # fmt: skip


#: Types that the classifier must decline.
_OTHERS: tuple[Literal["basophil", "other", "artefact"], ...] = ("basophil", "other", "artefact")


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell of a table: its text and, where it has one, its interval."""

    text: str
    interval: str = ""


@dataclass(slots=True)
class Table:
    """A table of text; the first column is the name of the row."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[Entry, ...]] = field(default_factory=list)

    def add(self, *entries: Entry | str) -> None:
        """Add a row."""
        self.rows.append(tuple(Entry(e) if isinstance(e, str) else e for e in entries))


def percent(value: float | None, ci: Interval = None) -> Entry:
    """Return a proportion in percent; a dash without one."""
    if value is None:
        return Entry("–")
    return Entry(f"{100 * value:.1f}", f"{100 * ci[0]:.1f}–{100 * ci[1]:.1f}" if ci else "")


def overview(results: Sequence[ListResult]) -> list[Table]:
    """Return short tables of all lists: cells found, cells named, both stages."""
    tables = [_outcome(results), _finding(results), _naming(results), _both(results)]
    return [table for table in tables if table.rows]


def _outcome(results: Sequence[ListResult]) -> Table:
    table = Table("What became of the white cells", ("list", *_OUTCOME))
    for result in results:
        if "outcome" in result.figures:
            table.add(result.title, *_numbers(result.figures["outcome"], "–"))
    return table


def _finding(results: Sequence[ListResult]) -> Table:
    columns = ("list", "fields", "cells", "found %", "precision %", "AP50", "false boxes a field")
    table = Table("Finding white cells", columns)
    for result in results:
        if "finding" not in result.figures:
            continue
        r = result.figures["finding"]
        false = _false(r)
        if r["cells"]:
            table.add(
                result.title, str(r["fields"]), str(r["cells"]),
                percent(r["recall"], r["recall_ci"]), percent(r["precision"]), f"{r['ap50']:.3f}",
                false,
            )  # fmt: skip
        else:
            table.add(result.title, str(r["fields"]), "0", "–", "–", "–", false)
    return table


def _naming(results: Sequence[ListResult]) -> Table:
    columns = (
        "list", "cells", "named right %", "declined %", "missed %", "right of those named %",
        "macro F1 %", "ECE",
    )  # fmt: skip
    table = Table("Naming the four types", columns)
    for result in results:
        if "naming" not in result.figures:
            continue
        r = result.figures["naming"]
        ece = r["calibration"]["ece"]
        table.add(
            result.title, str(r["cells"]), percent(r["accuracy"], r["accuracy_ci"]),
            percent(r["unclassified"]), percent(r["missed"] or None),
            percent(r["accuracy_classified"], r["accuracy_classified_ci"]),
            percent(r["macro"]["f1"], r["macro"]["f1_ci"]),
            "–" if ece is None else f"{ece:.3f}",
        )  # fmt: skip
    return table


def _both(results: Sequence[ListResult]) -> Table:
    columns = (
        "list", "fields", "cells", "found %", "found and named right %",
        "fields counted exactly %", "differential off by, points",
    )  # fmt: skip
    table = Table("Both stages together", columns)
    for result in results:
        if "both" not in result.figures:
            continue
        r = result.figures["both"]
        off = r["differential"]["mean_absolute_points"]
        table.add(
            result.title, str(r["fields"]), str(r["cells"]), percent(r["recall"], r["recall_ci"]),
            percent(r["accuracy"], r["accuracy_ci"]), percent(r["exact"], r["exact_ci"]),
            "–" if off is None else f"{off:.1f}",
        )  # fmt: skip
    return table


def _numbers(r: Outcome, missing: str) -> list[str]:
    values = {key: missing if r[key] is None else str(r[key]) for key in _OUTCOME}
    if r["right"] is not None:
        values["right"] = right_of(r)
    return list(values.values())


def by_class(naming: NamingFigures) -> Table:
    """Return precision, recall and F1 of each type; then means, then what must be unclassified."""
    table = Table("", ("type", "cells", "precision %", "recall %", "F1 %"))
    for name, r in naming["classes"].items():
        table.add(name, str(r["cells"]), *_three(r))
    present = sum(r["cells"] > 0 for r in naming["classes"].values())
    if present:
        table.add("mean, types alike (macro)", str(present) + " types", *_three(naming["macro"]))
        table.add("mean by cells (weighted)", str(naming["cells"]), *_three(naming["weighted"]))
    return table


def others_table(naming: NamingFigures) -> Table | None:
    """Tabulate how many cells of other types came out unclassified, as they should."""
    table = Table("None of the four types", ("type", "cells", "rightly unclassified %"))
    for name in _OTHERS:
        r = naming[name]
        if r["cells"]:
            table.add(name, str(r["cells"]), percent(r["unclassified"], r["unclassified_ci"]))
    return table if table.rows else None


def differential(both: PipelineFigures) -> Table | None:
    """Return the differential counted beside the true one."""
    r = both["differential"]
    if not r["types"]:
        return None
    title = f"Differential over {r['fields']} fields of which every cell's type is known"
    table = Table(title, ("type", "true", "counted", "true %", "counted %", "points off"))
    for name, row in r["types"].items():
        ci = row["points_ci"]
        interval = f"{signed(ci[0])} to {signed(ci[1])}" if ci else ""
        table.add(
            name, str(row["true"]), str(row["counted"]), f"{row['true_percent']:.1f}",
            f"{row['counted_percent']:.1f}", Entry(signed(row["points"]), interval),
        )  # fmt: skip
    return table


def markdown(results: Sequence[ListResult]) -> str:
    """Return the tables of docs/results.md."""
    parts = []
    finding = [
        (result.title, result.figures["finding"])
        for result in results
        if "finding" in result.figures
    ]
    naming = [
        (result.title, result.figures["naming"]) for result in results if "naming" in result.figures
    ]
    both = [
        (result.title, result.figures["both"]) for result in results if "both" in result.figures
    ]
    became = [
        (result.title, result.figures["outcome"])
        for result in results
        if "outcome" in result.figures
    ]
    for title, table in (
        (
            "What became of the white cells",
            [_OUTCOME_HEAD, *(_outcome_row(*row) for row in became)],
        ),
        ("Finding white cells", [FINDING_HEAD, *(finding_row(*row) for row in finding)]),
        ("Naming the four types", [NAMING_HEAD, *(naming_row(*row) for row in naming)]),
        ("Means and calibration", [MEANS_HEAD, *(_means_row(*row) for row in naming)]),
        (
            "The best of the four labels, nothing declined",
            [FOUR_WAY_HEAD, *(four_way_row(*row) for row in naming)],
        ),
        ("Both stages together", [BOTH_HEAD, *(_both_row(*row) for row in both)]),
    ):
        if len(table) > 1:
            parts += [f"### {title}", "", *table, ""]
    return "\n".join(parts)


_OUTCOME_HEAD = (
    "| list | cells | found | missed | named | right | declined |\n|---|---|---|---|---|---|---|"
)
FINDING_HEAD = (
    "| list | fields | cells | AP50 | AP50-95 | recall % (95 %) | precision % | F1 | "
    "false boxes a field |\n|---|---|---|---|---|---|---|---|---|"
)
NAMING_HEAD = (
    "| list | cells | accuracy % (95 %) | declined % | missed % | eosinophil P / R / F1 (n) | "
    "lymphocyte | monocyte | neutrophil | basophils unclassified % | artefacts unclassified % |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)
MEANS_HEAD = (
    "| list | macro precision % (95 %) | macro recall % | macro F1 % | right of those named % | "
    "ECE (by chance) | AURC |\n|---|---|---|---|---|---|---|"
)
FOUR_WAY_HEAD = (
    "| list | cells | accuracy % (95 %) | macro precision % | macro recall % | macro F1 % |\n"
    "|---|---|---|---|---|---|"
)
BOTH_HEAD = (
    "| list | fields | cells | found % (95 %) | false boxes a field | fields counted exactly % | "
    "found and named % (95 %) | unclassified | differential off by, points |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def finding_row(title: str, r: FindingFigures) -> str:
    """Return one list as a row under ``FINDING_HEAD``."""
    middle = "- | - | - | - | -"
    if r["cells"]:
        middle = (
            f"{r['ap50']:.3f} | {r['ap50_95']:.3f} | {joined(r, 'recall')} | "
            f"{joined(r, 'precision')} | {r['f1']:.3f}"
        )
    return f"| {title} | {r['fields']} | {r['cells']} | {middle} | {_false(r)} |"


def naming_row(title: str, r: NamingFigures) -> str:
    """Return one list as a row under ``NAMING_HEAD``."""
    classes = " | ".join(
        f"{_plain(c['precision'])} / {_plain(c['recall'])} / {_plain(c['f1'])} ({c['cells']})"
        for c in r["classes"].values()
    )
    return (
        f"| {title} | {r['cells']} | {joined(r, 'accuracy')} | {_plain(r['unclassified'])} | "
        f"{_plain(r['missed'])} | {classes} | "
        f"{_plain(r['basophil']['unclassified'])} of {r['basophil']['cells']} | "
        f"{_plain(r['artefact']['unclassified'])} of {r['artefact']['cells']} |"
    )


def _outcome_row(title: str, r: Outcome) -> str:
    return f"| {title} | {' | '.join(_numbers(r, '-'))} |"


def _means_row(title: str, r: NamingFigures) -> str:
    macro, calibration, aurc = r["macro"], r["calibration"], r["risk_coverage"]["aurc"]
    ece = "-"
    if calibration["ece"] is not None:
        ece = f"{calibration['ece']:.3f} ({calibration['ece_by_chance']:.3f})"
    return (
        f"| {title} | {joined(macro, 'precision')} | {joined(macro, 'recall')} | "
        f"{joined(macro, 'f1')} | {joined(r, 'accuracy_classified')} | {ece} | "
        f"{'-' if aurc is None else f'{aurc:.4f}'} |"
    )


def four_way_row(title: str, r: NamingFigures) -> str:
    """Return one list as a row under ``FOUR_WAY_HEAD``."""
    four = r["four_way"]
    rates = " | ".join(joined(four, rate) for rate in ("accuracy", "precision", "recall", "f1"))
    return f"| {title} | {r['cells']} | {rates} |"


def _both_row(title: str, r: PipelineFigures) -> str:
    off = r["differential"]["mean_absolute_points"]
    return (
        f"| {title} | {r['fields']} | {r['cells']} | {joined(r, 'recall')} | {_false(r)} | "
        f"{joined(r, 'exact')} | {joined(r, 'accuracy')} of {r['typed_cells']} | "
        f"{r['unclassified']} | {'-' if off is None else f'{off:.1f}'} |"
    )


def figure_rows(results: Sequence[ListResult]) -> Iterator[dict[str, object]]:
    """Yield all single figures of all lists as rows of ``figures.csv``."""
    for result in results:
        for name, value, ci in _flat(result.figures):
            low, high = ci or (None, None)
            yield {"list": result.name, "figure": name, "value": value, "low": low, "high": high}


def _flat(
    figures: JsonObject, before: str = ""
) -> Iterator[tuple[str, int | float | None, Interval]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif not key.endswith("_ci") and (value is None or isinstance(value, int | float)):
            yield f"{before}{key}", value, figures.get(f"{key}_ci")


def _three(r: ClassFigures | MeanFigures) -> tuple[Entry, ...]:
    return (
        percent(r["precision"], r["precision_ci"]),
        percent(r["recall"], r["recall_ci"]),
        percent(r["f1"], r["f1_ci"]),
    )


def _false(r: FindingFigures | PipelineFigures) -> str:
    return f"{r['false_per_field']:.3f} ({r['false_boxes']})"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def joined(r: JsonObject, key: str) -> str:
    """Return a proportion in percent with its interval in parentheses, as Markdown has it."""
    ci = r.get(f"{key}_ci")
    if r[key] is None:
        return "-"
    return f"{100 * r[key]:.1f}" + (f" ({100 * ci[0]:.1f}-{100 * ci[1]:.1f})" if ci else "")

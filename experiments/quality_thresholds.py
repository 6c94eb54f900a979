"""Print the tables of docs/quality.md: real fields flagged, and damaged ones by strength.

Blur is given as the sigma of a Gaussian over the width of a white cell, exposure as a factor on
all values, colour as the share that is left, blank glass as the field's own ground with noise.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
import typer

if TYPE_CHECKING:
    from wbcdet import Analyzer
    from wbcdet.inference.quality import FieldQuality
    from wbcdet.records import FieldResult

#: ``(pixels, width of a cell)`` to damaged pixels.
Damage = Callable[[np.ndarray, float], np.ndarray]

PROBLEMS = ("blurred", "overexposed", "too dark", "no stain", "empty")


def blur(share: float) -> Damage:
    return lambda pixels, cell: cv2.GaussianBlur(pixels, (0, 0), share * cell)


def expose(factor: float) -> Damage:
    return lambda pixels, cell: np.clip(pixels * float(factor), 0, 255).astype(np.uint8)


def fade(left: float) -> Damage:
    def damage(pixels: np.ndarray, cell: float) -> np.ndarray:
        grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        return cv2.addWeighted(pixels, left, grey, 1 - left, 0)

    return damage


def blank(pixels: np.ndarray, cell: float) -> np.ndarray:
    """Return glass without cells: the field's ground, a tenth darker in the corners, with noise."""
    height, width = pixels.shape[:2]
    ground = np.percentile(pixels.reshape(-1, 3), 95, axis=0)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 - 0.05 * (x**2 + y**2)
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    return np.clip(ground * light[..., None] + noise, 0, 255).astype(np.uint8)


#: What the problem should be called, and the damages by strength.
DAMAGES: dict[str, tuple[str, Damage]] = {
    **{f"blur {s:g} of a cell": ("blurred", blur(s)) for s in (0.01, 0.02, 0.03, 0.04, 0.06, 0.1)},
    **{f"exposure x {f:g}": ("overexposed", expose(f)) for f in (1.15, 1.3, 1.5, 2, 3)},
    **{f"exposure x {f:g}": ("too dark", expose(f)) for f in (0.6, 0.5, 0.4, 0.3, 0.2)},
    **{f"colour x {c:g}": ("no stain", fade(c)) for c in (0.5, 0.3, 0.15, 0)},
    "blank glass": ("empty", blank),
}


def load(prepared: Path) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Return fields by laboratory, and the width of the white cells of each field by its labels."""
    sides: dict[str, list[float]] = defaultdict(list)
    with (prepared / "boxes.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["kind"] == "wbc":
                x0, y0, x1, y1 = (float(row[k]) for k in ("x_min", "y_min", "x_max", "y_max"))
                sides[row["field"]].append(max(x1 - x0, y1 - y0))
    fields: dict[str, list[str]] = defaultdict(list)
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            fields[row["laboratory"]].append(row["field"])
    return dict(fields), {name: float(np.median(of_field)) for name, of_field in sides.items()}


def look(analyzer: Analyzer, pixels: np.ndarray) -> tuple[FieldResult, FieldQuality]:
    """Return a field's cells and quality, as a count measures it."""
    from wbcdet.inference.quality import cell_width, measure

    result = analyzer.analyze(pixels)
    return result, measure(pixels, cell_width(result.cells))


def kept(before: FieldResult, after: FieldResult) -> tuple[int, int, int]:
    """Return cells before, those found again, and those of them with the same name."""
    found = same = 0
    for cell in before.cells:
        x, y = (cell.box[0] + cell.box[2]) / 2, (cell.box[1] + cell.box[3]) / 2
        again = [c for c in after.cells if c.box[0] < x < c.box[2] and c.box[1] < y < c.box[3]]
        found += bool(again)
        same += any(c.label == cell.label for c in again)
    return len(before.cells), found, same


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    for line in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(map(str, line)) + " |")
    print(flush=True)


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    whole: Annotated[int, typer.Option(help="Undamaged fields a laboratory.")] = 10_000,
    damaged: Annotated[int, typer.Option(help="Fields a laboratory to damage.")] = 40,
) -> None:
    """Print the tables of docs/quality.md."""
    from wbcdet import Analyzer

    fields, widths = load(prepared)
    analyzer = Analyzer(device="cpu")
    rng = np.random.default_rng(0)
    flagged: dict[str, Counter[str]] = defaultdict(Counter)
    cells: Counter[str] = Counter()
    found: Counter[str] = Counter()
    same: Counter[str] = Counter()
    rows = []
    for lab, names in fields.items():
        chosen = [names[i] for i in rng.permutation(len(names))][:whole]
        problems: Counter[str] = Counter()
        focus = []
        for number, name in enumerate(chosen):
            pixels = cv2.imread(str(prepared / "fields" / name))
            assert pixels is not None, name
            before, quality = look(analyzer, pixels)
            problems.update(quality.problems or ["none"])
            focus.append(quality.focus)
            if number >= damaged or name not in widths:
                continue
            flagged["fields"][lab] += 1
            for damage, (problem, change) in DAMAGES.items():
                result, quality = look(analyzer, change(pixels, widths[name]))
                flagged[damage][lab] += problem in quality.problems
                flagged[damage]["any"] += bool(quality.problems)
                counts = kept(before, result)
                for counter, count in zip((cells, found, same), counts, strict=True):
                    counter[damage] += count
        shares = [percent(problems[problem], len(chosen)) for problem in PROBLEMS]
        any_ = percent(len(chosen) - problems["none"], len(chosen))
        low, middle = np.percentile(focus, (1, 50))
        rows.append((lab, len(chosen), *shares, any_, f"{low:.0f}", f"{middle:.0f}"))
    print("Undamaged fields flagged, %:\n")
    table(("laboratory", "fields", *PROBLEMS, "any", "focus 1 %", "focus median"), rows)
    print("Damaged fields flagged as what they are, %, and what the damage does to the cells:\n")
    labs = list(fields)
    total = sum(flagged["fields"].values())
    rows = []
    for damage, (problem, _) in DAMAGES.items():
        shares = [percent(flagged[damage][lab], flagged["fields"][lab]) for lab in labs]
        rows.append(
            (
                damage,
                problem,
                percent(sum(flagged[damage][lab] for lab in labs), total),
                percent(flagged[damage]["any"], total),
                *shares,
                percent(found[damage], cells[damage]),
                percent(same[damage], found[damage]),
            )
        )
    header = ("damage", "problem", "all", "any problem", *labs, "cells still found", "same name")
    table(header, rows)


if __name__ == "__main__":
    typer.run(main)

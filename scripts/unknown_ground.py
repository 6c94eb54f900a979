"""Make the reference of the unknown-ground flag, and measure how well the flag works.

Prints the tables of docs/unknown-ground.md. The reference is made of fields that the detector was
not trained on, of every laboratory that was. A slide here is 20 fields of one laboratory, of one
smear where that is known.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if TYPE_CHECKING:
    from wbcdet.records import FieldResult

#: Fields of a slide, and slides drawn of a laboratory.
SLIDE, DRAWN = 20, 200


@dataclass(frozen=True, slots=True)
class Row:
    """A field of the prepared folder."""

    field: str
    laboratory: str
    group: str
    trained: bool


def read_rows(prepared: Path) -> dict[str, list[Row]]:
    """Return the fields by laboratory."""
    rows: dict[str, list[Row]] = defaultdict(list)
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            trained = "train" in (row["detect"], row["classify"])
            lab = row["laboratory"]
            rows[lab].append(Row(row["field"], lab, row["group"], trained))
    return dict(rows)


def analysed(
    prepared: Path, rows: Mapping[str, Sequence[Row]], most: int
) -> tuple[dict[str, dict[str, list[FieldResult]]], str]:
    """Return what the models say of each laboratory's fields, by group, and the detector's sha256.

    Fields that were trained on are left out where a laboratory has enough others.
    """
    from wbcdet import Analyzer

    analyzer = Analyzer(device="cpu")
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, list[FieldResult]]] = {}
    for lab, own in rows.items():
        unseen = [row for row in own if not row.trained]
        pool = unseen if len(unseen) >= SLIDE else list(own)
        chosen = sorted(rng.permutation(len(pool))[:most])
        groups: dict[str, list[FieldResult]] = defaultdict(list)
        for number in chosen:
            path = prepared / "fields" / pool[number].field
            groups[pool[number].group].append(analyzer.analyze(path))
        found[lab] = dict(groups)
    return found, analyzer.detector.sha256


def stains_trained_on(
    prepared: Path, rows: Mapping[str, Sequence[Row]], most: int
) -> dict[str, dict[str, list[FieldResult]]]:
    """Return records of the fields that were trained on, by laboratory and group: stain alone.

    Their scores would flatter the models; their stain is known ground like any other.
    """
    from wbcdet.inference.field_stain import measure_stain
    from wbcdet.io.field import read_field
    from wbcdet.records import FieldResult

    rng = np.random.default_rng(1)
    found: dict[str, dict[str, list[FieldResult]]] = {}
    for lab, own in rows.items():
        trained = [row for row in own if row.trained]
        if len(own) - len(trained) < SLIDE:  # looked at already, for want of others
            trained = []
        found[lab] = defaultdict(list)
        for number in sorted(rng.permutation(len(trained))[:most]):
            row = trained[number]
            field = read_field(prepared / "fields" / row.field)
            stain = measure_stain(field.pixels)
            seen = FieldResult(row.field, field.width, field.height, stain=stain)
            found[lab][row.group].append(seen)
    return found


def flat(groups: Mapping[str, Sequence[FieldResult]]) -> list[FieldResult]:
    return [result for results in groups.values() for result in results]


def halves(
    groups: Mapping[str, Sequence[FieldResult]],
) -> tuple[dict[str, Sequence[FieldResult]], dict[str, Sequence[FieldResult]]]:
    """Return the groups in two halves of about as many fields, none in both."""
    parts: tuple[dict[str, Sequence[FieldResult]], ...] = ({}, {})
    for group, results in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        smaller = min(parts, key=lambda part: len(flat(part)))
        smaller[group] = results
    return parts[0], parts[1]


def drawn_slides(
    groups: Mapping[str, Sequence[FieldResult]], fields: int
) -> list[list[FieldResult]]:
    """Return slides of one smear each where smears have enough fields, else of the whole
    laboratory."""
    rng = np.random.default_rng(0)
    smears = [list(results) for results in groups.values() if len(results) >= fields // 2]
    sources = smears or [flat(groups)]
    slides = []
    for number in range(DRAWN):
        source = sources[number % len(sources)]
        chosen = rng.permutation(len(source))[:fields]
        slides.append([source[i] for i in chosen])
    return slides


def judge(
    groups: Mapping[str, Sequence[FieldResult]], reference: Mapping[str, Any], fields: int
) -> tuple[float, dict[str, float]]:
    """Return the part of the drawn slides of so many fields that is flagged, and of all values that
    lie beyond each limit."""
    from wbcdet.inference.domain_shift import UNLIKE, compare

    slides = drawn_slides(groups, fields)
    flagged = float(np.mean([compare(slide, reference).verdict == UNLIKE for slide in slides]))
    shares = {
        name: measure.share for name, measure in compare(flat(groups), reference).measures.items()
    }
    return flagged, shares


def print_row(
    lab: str, judged: str, fields: int, flagged: float, shares: Mapping[str, float]
) -> None:
    from wbcdet.inference.domain_shift import MEASURES

    values = [f"{100 * shares[name]:.0f}" if name in shares else "–" for name in MEASURES]
    print(
        f"| {lab} | {judged} | {fields} | {100 * flagged:.0f} | {' | '.join(values)} |", flush=True
    )


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the models. Default: the shipped ones.")
    ] = None,
    left_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABORATORY=FOLDER",
            help="Models that were trained without a laboratory; may be given several times.",
        ),
    ] = None,
    fields: Annotated[int, typer.Option(help="Fields of a laboratory, at most.")] = 200,
    slide: Annotated[int, typer.Option(help="Fields of a slide that is judged.")] = SLIDE,
    write: Annotated[
        bool, typer.Option("--write", help="Write the reference to the classifier's card.")
    ] = False,
) -> None:
    """Make the reference, and judge laboratories that were and were not trained on."""
    from wbcdet.inference.domain_shift import MEASURES, make_reference
    from wbcdet.inference.weights import sealed, weights_folder

    if weights is not None:
        os.environ["WBCDET_WEIGHTS"] = str(weights)
    rows = read_rows(prepared)
    found, detector = analysed(prepared, rows, fields)
    trained = {lab: groups for lab, groups in found.items() if any(r.trained for r in rows[lab])}
    stains = stains_trained_on(prepared, rows, fields)
    known = {lab: flat(groups) + flat(stains[lab]) for lab, groups in trained.items()}
    reference = make_reference(known, detector)
    print(f"Slides of {slide} fields flagged, %, and values beyond the limit of each measure, %:\n")
    print(f"| laboratory | judged | fields | flagged | {' | '.join(MEASURES)} |")
    print(f"|{'---|' * (4 + len(MEASURES))}")
    for lab, groups in trained.items():
        own, other = halves(groups)
        judged = []
        for rest, asked in ((own, other), (other, own)):
            also = {group: stain for group, stain in stains[lab].items() if group not in asked}
            labs = {**known, lab: flat(rest) + flat(also)}
            judged.append(judge(asked, make_reference(labs, detector), slide))
        flagged = float(np.mean([verdict[0] for verdict in judged]))
        shares = {
            name: float(np.mean([verdict[1][name] for verdict in judged])) for name in judged[0][1]
        }
        print_row(lab, "trained on, other half", len(flat(groups)), flagged, shares)
    for lab, groups in found.items():
        if lab not in trained:
            print_row(lab, "never trained on", len(flat(groups)), *judge(groups, reference, slide))
    given = dict(pair.split("=", 1) for pair in left_out or [])
    for lab, groups in trained.items():
        if lab in given:
            os.environ["WBCDET_WEIGHTS"] = given[lab]
            again, detector = analysed(prepared, rows, fields)
            how, groups = "left out of all", again[lab]
            others = {n: flat(again[n]) + flat(stains[n]) for n in trained if n != lab}
            ground = make_reference(others, detector)
        else:
            how = "left out of the stains"
            others = {name: value for name, value in known.items() if name != lab}
            # The models know the laboratory: their scores and features would flatter the flag.
            ground = {"stain": make_reference(others, detector)["stain"]}
        print_row(lab, how, len(flat(groups)), *judge(groups, ground, slide))
    if write:
        path = (weights or weights_folder()) / "classifier.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        card["ground"] = reference
        text = json.dumps(sealed(card), indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
        print(f"\nreference written to {path}")


if __name__ == "__main__":
    typer.run(main)

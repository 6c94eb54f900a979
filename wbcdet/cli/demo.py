"""``wbcdet demo``: draw fields, analyse them, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import (
    DEFAULTS,
    Json,
    ModelSettings,
    NoAnnotate,
    Out,
    Quiet,
    Weights,
    load_analyzer,
    writing,
)
from wbcdet.cli.predict import finish_run
from wbcdet.records import NOTICE

if TYPE_CHECKING:
    from wbcdet.batch.predict import Run


EPILOG = NOTICE


def demo(
    out: Out = Path("wbcdet-demo"),
    fields: Annotated[int, typer.Option(min=1, max=1000, help="Number of fields to draw.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same fields.")] = 0,
    no_annotate: NoAnnotate = False,
    settings: ModelSettings = DEFAULTS,
    weights: Weights = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Analyse drawn smear fields: needs no picture.

    Draws synthetic fields into OUT/fields, analyses them as predict does, and says how many of
    the drawn cells were found and named right.
    """

    def work() -> tuple[Run, list[str]]:
        from wbcdet.batch.demo import run_demo
        from wbcdet.results.writer import Report

        analyzer = load_analyzer(settings, weights=weights)
        with Report(out, annotate=not no_annotate, command="demo") as report:
            done, score = run_demo(report, fields, seed, analyzer, quiet=quiet)
        return done, score.lines()

    done, lines = writing(out, work)
    finish_run(done, out, annotated=not no_annotate, quiet=quiet, json=json, lines=lines)

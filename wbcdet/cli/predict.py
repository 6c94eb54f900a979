"""``wbcdet predict``: parse, analyse, print."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import copyfileobj
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from wbcdet.cli.options import (
    DEFAULTS,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    FieldSettings,
    Json,
    NoAnnotate,
    Out,
    Quiet,
    Weights,
    begin_loading,
    close_pipe,
    search_fields,
    stop,
    writing,
)
from wbcdet.records import NOTICE

if TYPE_CHECKING:
    from wbcdet.batch.predict import Run


EPILOG = f"Exit code: 0 all pictures read, 1 some not read, 2 nothing to analyse. {NOTICE}"


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help='Pictures, folders (with their subfolders), patterns such as "day1/*.jpg", '
            "http(s) addresses.",
            show_default=False,
        ),
    ],
    out: Out = Path("wbcdet-out"),
    no_annotate: NoAnnotate = False,
    settings: FieldSettings = DEFAULTS,
    weights: Weights = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Find and name the white blood cells in your pictures.

    Writes OUT/results.json, OUT/cells.csv (one line per cell), OUT/fields.csv (one line per
    picture) and OUT/annotated/ (the pictures with every cell boxed and named).
    """
    from wbcdet.results.output_folder import check_output

    writing(out, lambda: check_output(out, "predict"))
    models = begin_loading(settings, weights=weights)
    searched = search_fields(sources, out, quiet=quiet)

    def work() -> Run:
        from wbcdet.batch.predict import run
        from wbcdet.results.writer import Report

        analyzer = models()
        with Report(out, annotate=not no_annotate, roots=searched.roots) as report:
            return run(searched.fields, report, analyzer, quiet=quiet)

    done = writing(out, work)
    finish_run(done, out, annotated=not no_annotate, quiet=quiet, json=json)


def finish_run(
    done: Run,
    out: Path,
    *,
    annotated: bool,
    quiet: bool,
    json: bool,
    lines: list[str] | None = None,
) -> NoReturn:
    """Print what was asked for and end with the run's exit code."""
    try:
        if json:
            # Bytes: the terminal's own encoding may lack a letter of a file name.
            with (out / "results.json").open("rb") as file:
                copyfileobj(file, sys.stdout.buffer)
        elif not quiet:
            from wbcdet.batch.summary import print_summary
            from wbcdet.differential.slide_summary import summarise
            from wbcdet.inference.run_info import taught_labels
            from wbcdet.utils.tables import terminal

            # Drawn fields, which come with further lines, are not compared with laboratories.
            reference = None if lines else done.info.get("ground")
            slides = summarise(
                done.results, reference, done.info.get("sources", ()), taught_labels(done.info)
            )
            print_summary(terminal(), done.results, out, annotated=annotated, slides=slides)
            for line in lines or []:
                print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        close_pipe()
    if done.interrupted:
        stop(f"stopped; what was done is in {out}", EXIT_INTERRUPTED)
    if done.failures and (quiet or json):
        print(f"wbcdet: {done.failures} not read, see {out / 'fields.csv'}", file=sys.stderr)
    raise typer.Exit(EXIT_SOME_FAILED if done.failures else 0)

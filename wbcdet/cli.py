"""The ``wbcdet`` command: parse, call, print.

What a command needs is imported inside it, so that ``wbcdet --help`` answers at once.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from wbcdet import __version__
from wbcdet.agreement.cli import EPILOG as AGREE_EPILOG
from wbcdet.agreement.cli import agree
from wbcdet.batch.cli import EPILOG as COUNT_EPILOG
from wbcdet.batch.cli import count
from wbcdet.console import (
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    Confidence,
    Device,
    Json,
    MinScore,
    NoAnnotate,
    Out,
    Quiet,
    Tile,
    build_settings,
    close_pipe,
    load_analyzer,
    stop,
    writing,
)
from wbcdet.evaluation.cli import EPILOG as EVALUATE_EPILOG
from wbcdet.evaluation.cli import evaluate
from wbcdet.exports.cli import EPILOG as EXPORT_EPILOG
from wbcdet.exports.cli import export
from wbcdet.learn.cli import EPILOG as LEARN_EPILOG
from wbcdet.learn.cli import learn
from wbcdet.records import NOTICE
from wbcdet.review.cli import EPILOG as REVIEW_EPILOG
from wbcdet.review.cli import review
from wbcdet.stream.cameras_cli import cameras
from wbcdet.stream.cli import EPILOG as STREAM_EPILOG
from wbcdet.stream.cli import stream
from wbcdet.training.data_cli import app as data_app
from wbcdet.training.train_cli import app as train_app

if TYPE_CHECKING:
    from wbcdet.predict import Run

app = typer.Typer(
    name="wbcdet",
    help=f"""Find, name and count the white blood cells in photographs of blood smears.

{NOTICE}

Try it without a picture of your own: wbcdet demo

Analyse a picture, or all pictures in a folder: wbcdet predict slide.jpg""",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data", help="Public training data: list, fetch, prepare.")
app.add_typer(train_app, name="train", help="Train the classifier or the detector yourself.")
app.command(epilog=AGREE_EPILOG)(agree)
app.command(epilog=COUNT_EPILOG)(count)
app.command(epilog=EVALUATE_EPILOG)(evaluate)
app.command(epilog=EXPORT_EPILOG)(export)
app.command(epilog=LEARN_EPILOG)(learn)
app.command(epilog=REVIEW_EPILOG)(review)
app.command(epilog=STREAM_EPILOG)(stream)
app.command()(cameras)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"wbcdet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass


@app.command(
    epilog=f"Exit code: 0 all pictures read, 1 some not read, 2 nothing to analyse. {NOTICE}"
)
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Pictures, folders (with their subfolders), patterns such as 'day1/*.jpg', "
            "http(s) addresses.",
            show_default=False,
        ),
    ],
    out: Out = Path("wbcdet-out"),
    no_annotate: NoAnnotate = False,
    confidence: Confidence = None,
    min_score: MinScore = None,
    device: Device = "auto",
    tile: Tile = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Find and name the white blood cells in your pictures.

    Writes OUT/results.json, OUT/cells.csv (one line per cell), OUT/fields.csv (one line per
    picture) and OUT/annotated/ (the pictures with every cell boxed and named).
    """
    settings = build_settings(confidence, min_score, device, tile)

    from wbcdet.fields import find_fields

    found = find_fields(sources, exclude=[out / "annotated"])
    problems = [item for item in found if item.problem is not None]
    if len(problems) == len(found):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        stop(f"{problems[0].name}: {problems[0].problem}{more}" if found else "nothing to analyse")

    def work() -> Run:
        from wbcdet.predict import run
        from wbcdet.report import Report

        report = Report(out, annotate=not no_annotate)
        return run(found, report, load_analyzer(settings), quiet=quiet)

    done = writing(out, work)
    _finish(done, out, annotated=not no_annotate, quiet=quiet, json=json)


@app.command(epilog=NOTICE)
def demo(
    out: Out = Path("wbcdet-demo"),
    fields: Annotated[int, typer.Option(min=1, max=1000, help="Number of fields to draw.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same fields.")] = 0,
    no_annotate: NoAnnotate = False,
    confidence: Confidence = None,
    min_score: MinScore = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Analyse drawn smear fields: needs no picture.

    Draws synthetic fields into OUT/fields, analyses them as predict does, and says how many of
    the drawn cells were found and named right.
    """
    settings = build_settings(confidence, min_score, device)

    def work() -> tuple[Run, list[str]]:
        from wbcdet.demo import run_demo
        from wbcdet.report import Report

        report = Report(out, annotate=not no_annotate)
        done, score = run_demo(report, fields, seed, load_analyzer(settings), quiet=quiet)
        return done, score.lines()

    done, lines = writing(out, work)
    _finish(done, out, annotated=not no_annotate, quiet=quiet, json=json, lines=lines)


def main() -> None:
    """Run the command; the console script."""
    import warnings

    for pipe in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a file name shows a mark in its place.
        if isinstance(pipe, TextIOWrapper):
            pipe.reconfigure(errors="replace")
    # Odd metadata in a picture is no concern of the reader: pixels decide.
    warnings.filterwarnings("ignore", module="PIL")
    app()


def _finish(
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
            from wbcdet.report import dump

            # Bytes: the terminal's own encoding may lack a letter of a file name.
            sys.stdout.buffer.write(dump(done.document).encode())
        elif not quiet:
            from rich.console import Console

            from wbcdet.summary import print_summary

            # In a pipe or file nothing is folded to a terminal's width.
            console = Console() if sys.stdout.isatty() else Console(width=200)
            print_summary(console, done.results, out, annotated=annotated)
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

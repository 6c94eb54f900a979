"""``wbcdet evaluate``: parse, evaluate, write, print."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import (
    DEFAULTS,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    CarefulSettings,
    Json,
    Out,
    Quiet,
    Weights,
    close_pipe,
    load_analyzer,
    stop,
    writing,
)
from wbcdet.records import NOTICE
from wbcdet.utils.progress import progress

if TYPE_CHECKING:
    from wbcdet.evaluation.evaluate import TestList
    from wbcdet.evaluation.output import Output
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.settings import Settings

EPILOG = (
    "Exit code: 0 all labels used, 1 some pictures or labels left out (the report says which and "
    f"why), 2 nothing to evaluate. {NOTICE}"
)

_ALL = "all"


class Layout(str, Enum):
    """Layout of a labelled folder."""

    AUTO = "auto"
    CLASSES = "classes"
    YOLO = "yolo"
    COCO = "coco"
    VOC = "voc"


def evaluate(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER...",
            help="Your own labelled pictures: one folder a cell type, or YOLO, COCO or Pascal VOC "
            "boxes.",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Layout, typer.Option("--format", help="How the folders are laid out.")
    ] = Layout.AUTO,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OWN=STANDARD",
            help="What a class of yours is, as in --map 'poly=neutrophil'. STANDARD: eosinophil, "
            "lymphocyte, monocyte, neutrophil, basophil, other (white cells of other types), "
            "artefact, wbc (a white cell of any type), rbc, platelet or ignore. May be repeated.",
            show_default=False,
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--list",
            metavar="NAME",
            help="A test list of the project, or all: bccd, raabin, pbc, pbc-experts, chula-ee, "
            "bcisc, tecom, cellavision, pbc-second, empty, telephone, unseen-bccd, kaggle-test. "
            "May be repeated.",
            show_default=False,
        ),
    ] = None,
    prepared: Annotated[
        Path,
        typer.Option(metavar="DIR", help="For --list: the folder of `wbcdet data prepare`."),
    ] = Path("prepared"),
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="For --list kaggle-test: the folder of the archives. Default: that of "
            "`wbcdet data fetch`.",
        ),
    ] = None,
    out: Out = Path("wbcdet-evaluation"),
    errors: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            help="How many of the worst errors of a list the page shows as small pictures; "
            "with 0 no part of a picture gets into it.",
        ),
    ] = 48,
    settings: CarefulSettings = DEFAULTS,
    weights: Weights = None,
    quiet: Quiet = False,
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all figures as Markdown tables.")
    ] = False,
) -> None:
    """Measure how right wbcdet is: on your labels, or on test lists.

    Writes OUT/evaluation.html (all figures with their intervals, plots and the worst errors, in
    one page that opens offline and prints on A4), evaluation.json, figures.csv and cells.csv (one
    line per labelled cell: what it is and what wbcdet says).

    What is wrong with the labels (unknown classes, missing or broken labels, copies across train
    and test) is listed, never passed over.
    """
    try:
        lists = _lists(folders or [], layout, mapping or [], names or [], prepared, data, settings)

        from wbcdet.evaluation.output import Output
        from wbcdet.results.output_folder import check_output

        writing(out, lambda: check_output(out, "evaluate"))
        analyzer = load_analyzer(settings, weights=weights)
        output = writing(out, lambda: Output(out))
        try:
            interrupted = _run(lists, output, analyzer, errors, quiet=quiet)
        finally:
            output.close()
    except KeyboardInterrupt:
        stop("stopped before a list was done", EXIT_INTERRUPTED)
    _print(output, quiet=quiet, json=json, markdown=markdown)
    if interrupted:
        stop(f"stopped; the lists that were done are in {out}", EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_SOME_FAILED if output.left_out else 0)


def _run(
    lists: list[TestList], output: Output, analyzer: Analyzer, errors: int, *, quiet: bool
) -> bool:
    """Evaluate and write; True where Ctrl-C ended it before the last list."""
    from wbcdet.evaluation.evaluate import evaluate_list

    interrupted = False
    try:
        for labelled in lists:
            with progress(labelled.title, labelled.size, quiet) as tick:
                output.results += evaluate_list(labelled, analyzer, tick, errors)
    except KeyboardInterrupt:
        interrupted = True
        if not output.results:
            raise
    except OSError as error:
        stop(
            f"{error.filename or 'a picture'} cannot be read ({error.strerror or error}); check "
            "the disk, and whether you may read it"
        )
    writing(output.out, lambda: output.write(analyzer))
    return interrupted


def _lists(
    folders: list[Path],
    layout: Layout,
    mapping: list[str],
    names: list[str],
    prepared: Path,
    data: Path | None,
    settings: Settings,
) -> list[TestList]:
    from wbcdet.datasets.archives import DataError
    from wbcdet.evaluation.benchmarks import NAMES, load_lists
    from wbcdet.evaluation.evaluate import folder_list
    from wbcdet.evaluation.label_reader import LabelledError
    from wbcdet.evaluation.labelled_folder import read_labelled
    from wbcdet.results.class_names import parse_mapping

    unknown = [name for name in names if name not in (_ALL, *NAMES)]
    if unknown:
        stop(f"--list {unknown[0]}: there is no such list; there are {', '.join(NAMES)} and all")
    if not folders and not names:
        stop("nothing to evaluate; name a folder of labelled pictures, or a --list (see --help)")
    try:
        own = parse_mapping(mapping)
        lists = [folder_list(read_labelled(f, layout.value, own, settings)) for f in folders]
        return lists + load_lists(NAMES if _ALL in names else names, prepared, data)
    except (LabelledError, DataError, ValueError) as error:
        stop(str(error))
    except OSError as error:
        stop(f"cannot read {error.filename}: {error.strerror}")


def _print(output: Output, *, quiet: bool, json: bool, markdown: bool) -> None:
    try:
        if json:
            # Bytes: the terminal's own encoding may lack a letter of a file name.
            sys.stdout.buffer.write(output.json().encode())
        elif markdown:
            print(output.markdown())
        elif not quiet:
            output.print_tables()
        sys.stdout.flush()
    except BrokenPipeError:
        close_pipe()
    if output.problems and (quiet or json or markdown):
        where = output.out / "evaluation.html"
        number = f"{output.problems} problem{'s' * (output.problems > 1)}"
        print(f"wbcdet: {number} of the labels, see {where}", file=sys.stderr)

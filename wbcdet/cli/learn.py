"""``wbcdet learn``: read the reviewed cells, fine-tune, judge, install or refuse, go back."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import EXIT_INTERRUPTED, EXIT_SOME_FAILED, Quiet, stop
from wbcdet.records import NOTICE
from wbcdet.utils.extras import missing

if TYPE_CHECKING:
    from wbcdet.inference.weights import Model
    from wbcdet.training.finetune.judge import Judgement
    from wbcdet.training.finetune.reviewed_cells import Reviewed
    from wbcdet.training.finetune.run import Learned

EPILOG = (
    "Exit code: 0 a better classifier was made, 1 it is not better and was not installed, 2 it "
    f"could not be made. {NOTICE}"
)

#: Files that are named when they are missing; the rest are counted.
_MAX_NAMED = 3


def learn(
    reports: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="REPORT...",
            help="Report folders whose cells were reviewed with wbcdet review.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="How to call the classifier; results name it.")
    ] = "mylab",
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the pictures are, if they were moved. For one report.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the classifier there and do not install it; use it with "
            "WBCDET_WEIGHTS=DIR beside a copy of the detector.",
            show_default=False,
        ),
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Go back to the classifier used before the last one.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Teach the classifier the cells of your laboratory, from your own review.

    Takes 50 cells or more, on which a person has decided, confirmed ones too; minutes on two
    cores. Tells on held-back fields whether it has become better, and is installed only then.
    """
    if restore:
        _restore()
        return
    if not reports:
        stop("name the report folders to learn from, or give --restore")
    if pictures is not None and len(reports) > 1:
        stop("--pictures goes with one report")
    try:
        _learn(reports, name, pictures, out, quiet=quiet)
    except KeyboardInterrupt:
        stop("stopped; nothing was installed", EXIT_INTERRUPTED)
    except ImportError as error:
        stop(missing(error, "learning", "train"))
    except OSError as error:
        stop(f"{error.filename or out or name}: {error.strerror or error}")


def _restore() -> None:
    from wbcdet.training.finetune.install import restore

    try:
        before, now = restore()
    except OSError as error:
        stop(f"{error.filename}: {error.strerror or error}")
    if before == now:
        print("The shipped classifier is in use; there is nothing to go back to.")
    else:
        print(f"In use now: {now}. {before} is kept and not used any more.")


def _learn(
    reports: list[Path], name: str, pictures: Path | None, out: Path | None, *, quiet: bool
) -> None:
    # The parts that the [train] extra brings, before anything is read.
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import safetensors.torch  # noqa: F401  (torch too)

    from wbcdet.inference.weights import WeightsError, load_shipped
    from wbcdet.results.output_folder import OutputError, check_output
    from wbcdet.training.config import TrainingError
    from wbcdet.training.finetune.install import InstallError, check_name
    from wbcdet.training.finetune.run import check_cells
    from wbcdet.training.finetune.run import learn as fine_tune
    from wbcdet.utils.lock import LockedError

    try:
        check_name(name)
        model = load_shipped("classifier")
        found = _cells(reports, pictures)
        check_cells(found)
        if out is None:
            _check_learned_reports(found)
        else:
            check_output(out, "learn")  # before the minutes of learning
        _say_cells(found, model, quiet=quiet)
        learned = fine_tune(model, found, quiet=quiet)
    except (TrainingError, WeightsError, InstallError, OutputError) as error:
        stop(str(error))
    _print_table(learned.judgement)
    if not learned.judgement.better:
        print(f"Not installed: {learned.judgement.why}.")
        sys.stdout.flush()
        raise typer.Exit(EXIT_SOME_FAILED)
    print(f"Better on held-back cells: {learned.judgement.why}.")
    try:
        _keep(learned, model, found, name, out)
    except (OutputError, LockedError) as error:
        stop(str(error))


def _check_learned_reports(found: Reviewed) -> None:
    """Check that nothing learnt gets lost. Learning starts at the shipped classifier each time: the
    reports that the one in use was learnt from must be given again, or the user restores the
    shipped one first."""
    from wbcdet.training.finetune.install import learned_reports

    lost = [name for sha, name in learned_reports().items() if sha not in found.reports]
    if lost:
        stop(
            "the classifier in use has also learnt from other reports (or other counts of the "
            f"same): {', '.join(lost)}; name these reports too, or go back first with "
            "'wbcdet learn --restore'"
        )


def _keep(learned: Learned, model: Model, found: Reviewed, name: str, out: Path | None) -> None:
    from wbcdet.results.output_folder import Output
    from wbcdet.training.finetune.install import install
    from wbcdet.training.finetune.run import export

    if out is not None:
        with Output(out, "learn", replaces=True) as output:
            export(learned, model, found, name, output.folder)
            output.finish()
        print(f"Written to {out}; not installed.")
        return
    with tempfile.TemporaryDirectory() as folder:
        export(learned, model, found, name, Path(folder))
        place = install(Path(folder), name)
    print(f"In use from now on: {place.name} ({place}). 'wbcdet learn --restore' goes back.")
    if os.environ.get("WBCDET_WEIGHTS"):
        print("WBCDET_WEIGHTS is set and has the last word: unset it to use what was learnt.")


def _cells(reports: list[Path], pictures: Path | None) -> Reviewed:
    from wbcdet.cli.review import open_session
    from wbcdet.review.decision_store import DATABASE
    from wbcdet.training.finetune.reviewed_cells import read_reviewed

    for report in reports:
        if not (report / DATABASE).is_file():
            stop(f"{report}: holds no review; look at its cells first: wbcdet review {report}")
    with ExitStack() as closing:
        sessions = []
        for report in reports:
            session = open_session(report, pictures, None)
            closing.callback(session.close)
            sessions.append(session)
        return read_reviewed(sessions)


def _say_cells(found: Reviewed, model: Model, *, quiet: bool) -> None:
    from wbcdet.training.finetune.reviewed_cells import MAX_CELLS

    for line in found.missing[:_MAX_NAMED]:
        typer.echo(f"wbcdet: left out: {line}", err=True)
    if len(found.missing) > _MAX_NAMED:
        more = len(found.missing) - _MAX_NAMED
        typer.echo(f"wbcdet: and {more} more fields left out", err=True)
    if quiet:
        return
    counts = ", ".join(f"{count} {name}" for name, count in found.by_class().items() if count)
    number = f"{len(found.cells)} reviewed cells"
    if found.offered > MAX_CELLS:
        number = f"{len(found.cells)} of {found.offered} reviewed cells, drawn by chance"
    print(f"Learning from {number} ({counts}), starting at {model.name}.")
    if found.unknown:
        others = ", ".join(f"{count} {label}" for label, count in found.unknown.most_common())
        print(f"Not learnt, as the classifier has no such class: {others}.")


def _print_table(judgement: Judgement) -> None:
    from wbcdet.training.finetune.run import table_rows
    from wbcdet.utils.tables import Row, print_table, terminal

    heads = ("type", "cells", "right before (95 %)", "right after (95 %)", "gained", "lost")
    rows = [
        Row([str(value) for value in row.values()], "bold" if row["type"] == "all" else "")
        for row in table_rows(judgement)
    ]
    print_table(terminal(), heads, rows)
    print(
        "On held-back fields (cross-validation); basophils and artefacts are right when they are "
        "left unclassified."
    )

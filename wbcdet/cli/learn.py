"""``wbcdet learn``: read reviewed cells and fields, fine-tune, judge, install, share, go back."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcdet.cli.learn_summary import print_data, print_finding, print_names
from wbcdet.cli.options import EXIT_INTERRUPTED, EXIT_SOME_FAILED, Quiet, stop
from wbcdet.records import NOTICE
from wbcdet.utils.extras import missing

if TYPE_CHECKING:
    from wbcdet.inference.weights import Model
    from wbcdet.review.session import Session
    from wbcdet.training.finetune.kept import Kept
    from wbcdet.training.finetune.learn_finding import LearnedDetector
    from wbcdet.training.finetune.learn_names import LearnedClassifier
    from wbcdet.training.finetune.reviewed_cells import Reviewed
    from wbcdet.training.finetune.reviewed_fields import ReviewedFields

EPILOG = (
    "Interrupted, the same command goes on where it was. Exit code: 0 a better model was made, 1 "
    f"none is better and none was installed, 2 none could be made. {NOTICE}"
)


def learn(
    reports: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="REPORT...",
            help="Report folders whose cells were reviewed with wbcdet review.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="How to call the models; results name them.")] = "mylab",
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the pictures are, if they were moved. For one report.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="names|finding",
            help="Learn the names of cells alone, or finding them alone. Default: both.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the models there and do not install them; use them with --weights DIR.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the models in use (with --out, those) as one file, which --weights FILE "
            "takes on another computer.",
            show_default=False,
        ),
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Go back to the models used before the last ones.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Teach wbcdet the cells of your laboratory, from your own review.

    The classifier learns from 50 cells or more on which a person has decided, confirmed ones too;
    types of your own (band, blast) from 20 each. The detector learns from 10 fields or more in
    which every cell is reviewed, with 5 or more cells drawn or boxes taken away. Both are tested on
    held-back fields, and installed only if they have become better.
    """
    if restore:
        if reports or any(given is not None for given in (share, out, only, pictures)):
            stop("--restore goes alone")
        _restore()
        return
    if share is not None and not reports:
        _share(out, share)
        return
    if not reports:
        stop("name the report folders to learn from, or give --restore")
    if only not in (None, "names", "finding"):
        stop(f"--only is names or finding, not {only!r}")
    if pictures is not None and len(reports) > 1:
        stop("--pictures goes with one report")
    if share is not None:
        _check_share(share)  # before the minutes of learning
    try:
        _learn(reports, name, pictures, out, only, quiet=quiet)
    except KeyboardInterrupt:
        stop(
            "stopped; nothing was installed, and the same command goes on where it was",
            EXIT_INTERRUPTED,
        )
    except ImportError as error:
        stop(missing(error, "learning", "train"))
    except OSError as error:
        stop(f"{error.filename or out or name}: {error.strerror or error}")
    if share is not None:
        _share(out, share)


def _restore() -> None:
    from wbcdet.inference.weights import WeightsError
    from wbcdet.training.finetune.install import restore
    from wbcdet.utils.lock import LockedError

    try:
        before, now = restore()
    except (LockedError, WeightsError) as error:
        stop(str(error))
    except OSError as error:
        stop(f"{error.filename}: {error.strerror or error}")
    if before == now:
        print("The shipped models are in use; there is nothing to go back to.")
    else:
        print(f"In use now: {now}. {before} is kept and not used any more.")


def _check_share(file: Path) -> None:
    from wbcdet.inference.shared_models import ShareError, check_free

    try:
        check_free(file)
    except ShareError as error:
        stop(str(error))


def _share(out: Path | None, file: Path) -> None:
    from wbcdet.inference.shared_models import ShareError, pack
    from wbcdet.inference.weights import WeightsError, learned_folder, load_model

    try:
        folder = out or learned_folder()
        if folder is None:
            stop("the shipped models are in use; there is nothing of your own to share")
        for role in ("detector", "classifier"):
            load_model(role, folder)  # what is damaged is not handed on
        pack(folder, file)
    except (ShareError, WeightsError) as error:
        stop(str(error))
    except OSError as error:
        stop(f"{file}: {error.strerror or error}")
    print(f"{file}: the models of {folder.name}; use them with --weights {file}")


def _learn(
    reports: list[Path],
    name: str,
    pictures: Path | None,
    out: Path | None,
    only: str | None,
    *,
    quiet: bool,
) -> None:
    # The parts that the [train] extra brings, before anything is read.
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import safetensors.torch  # noqa: F401  (torch too)

    os.environ.setdefault("YOLO_VERBOSE", "false")  # ultralytics prints when it is imported
    from wbcdet.inference.weights import WeightsError, load_shipped
    from wbcdet.io.errors import FieldError
    from wbcdet.results.output_folder import OutputError, check_output
    from wbcdet.review.images import PictureError
    from wbcdet.training.config import TrainingError
    from wbcdet.training.finetune.carry_over import carry_over, learned_roles
    from wbcdet.training.finetune.enough import check_cells, check_fields
    from wbcdet.training.finetune.install import InstallError, check_name
    from wbcdet.training.finetune.kept import Kept, data_fingerprint
    from wbcdet.training.finetune.reviewed_cells import read_reviewed
    from wbcdet.training.finetune.reviewed_fields import read_reviewed_fields
    from wbcdet.utils.lock import LockedError

    with ExitStack() as closing:
        try:
            check_name(name)
            closing.enter_context(Kept.held())
            shipped = load_shipped("detector"), load_shipped("classifier")
            sessions = _sessions(reports, pictures, closing)
            reviewed, fields = read_reviewed(sessions), read_reviewed_fields(sessions)
            no_names = check_cells(reviewed) if only != "finding" else "left out by --only"
            no_finding = check_fields(fields) if only != "names" else "left out by --only"
            if no_names and no_finding:
                asked = (no_names, no_finding) if only is None else (no_names,)
                stop(no_finding if only == "finding" else "; for the detector: ".join(asked))
            if not no_finding:
                # Its cells may all have names that are not learnt; its fields are all the same.
                reviewed.reports |= fields.reports
            asked_of = {"detector": no_finding, "classifier": no_names}
            untried = {role: why for role, why in asked_of.items() if why}
            if out is None:
                _check_learned_reports(reviewed)
                carried, learned = carry_over(untried, shipped), learned_roles()
            else:
                check_output(out, "learn")  # before the minutes of learning
                carried, learned = {}, []  # what is in use stays in use
            print_data(reviewed, fields, shipped, no_names, no_finding, quiet=quiet)
            for role, one in () if quiet else carried.items():
                print(f"The {role} that learnt before stays in use: {one.model.name}.")
            fingerprint = data_fingerprint(reviewed, fields)
            kept = Kept(fingerprint, *(model.sha256 for model in shipped))
            names = None if no_names else _learn_names(shipped[1], reviewed, kept, quiet=quiet)
            finding = None if no_finding else _learn_finding(shipped[0], fields, kept, quiet=quiet)
            if names is None and finding is None:
                print("Not installed: nothing has become better.")
                sys.stdout.flush()
                kept.done()
                raise typer.Exit(EXIT_SOME_FAILED)
            given = (name, shipped, reviewed, fingerprint, names, finding, carried)
            _keep(given, sessions, out, quiet=quiet)
            for role, model in (("detector", finding), ("classifier", names)):
                if role in learned and role not in carried and model is None:
                    print(
                        f"The {role} that learnt before goes out of use: learnt again, it is not "
                        "better than the shipped one, which takes its place."
                    )
            kept.done()
        except (PictureError, FieldError) as error:  # it was there when the learning began
            stop(f"{error}; the same command goes on where it was")
        except (TrainingError, WeightsError, InstallError, OutputError, LockedError) as error:
            stop(str(error))


def _learn_names(
    model: Model, reviewed: Reviewed, kept: Kept, *, quiet: bool
) -> LearnedClassifier | None:
    """Return the classifier where it is better; say how it was judged."""
    from wbcdet.training.finetune.learn_names import learn_names

    learned = learn_names(model, reviewed, kept, quiet=quiet)
    print_names(learned)
    return learned if learned.judgement.better else None


def _learn_finding(
    model: Model, fields: ReviewedFields, kept: Kept, *, quiet: bool
) -> LearnedDetector | None:
    """Return the detector where it is better; say how it was judged."""
    from wbcdet.training.finetune.learn_finding import learn_finding

    learned = learn_finding(model, fields, kept, quiet=quiet)
    print_finding(learned.judgement)
    return learned if learned.judgement.better else None


def _check_learned_reports(reviewed: Reviewed) -> None:
    """Check that nothing learnt gets lost. Learning starts at the shipped models each time: the
    reports that those in use were learnt from must be given again, or the user restores the shipped
    ones first."""
    from wbcdet.training.finetune.install import learned_reports

    lost = [name for sha, name in learned_reports().items() if sha not in reviewed.reports]
    if lost:
        stop(
            "the models in use have also learnt from other reports (or other counts of the "
            f"same): {', '.join(lost)}; name these reports too, or go back first with "
            "'wbcdet learn --restore'"
        )


def _keep(
    given: tuple[Any, ...], sessions: Sequence[Session], out: Path | None, *, quiet: bool
) -> None:
    from wbcdet.results.output_folder import Output
    from wbcdet.training.finetune.install import install
    from wbcdet.training.finetune.write_models import add_reference, write_models

    name = given[0]
    if out is not None:
        # One model of two would be used with the shipped other one.
        with Output(out, "learn", whole=True) as output:
            write_models(output.folder, *given)
            add_reference(output.folder, name, sessions, quiet=quiet)
            output.finish()
        print(f"Written to {out}; not installed. Use it with --weights {out}")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder), *given)
        add_reference(Path(folder), name, sessions, quiet=quiet)
        place = install(Path(folder), name)
    print(f"In use from now on: {place.name} ({place}). 'wbcdet learn --restore' goes back.")
    if os.environ.get("WBCDET_WEIGHTS"):
        print("WBCDET_WEIGHTS is set and has the last word: unset it to use what was learnt.")


def _sessions(reports: list[Path], pictures: Path | None, closing: ExitStack) -> list[Session]:
    from wbcdet.cli.review import open_session
    from wbcdet.review.decision_store import DATABASE

    # A report may be named as its results file, as for a review, or twice.
    folders = [report.parent if report.name == "results.json" else report for report in reports]
    named = {folder.resolve(): folder for folder in reversed(folders)}
    for report in (chosen := list(reversed(named.values()))):
        if not report.is_dir():
            stop(f"{report}: is not a report folder; name the --out of a wbcdet count or predict")
        if not (report / DATABASE).is_file():
            stop(f"{report}: holds no review; look at its cells first: wbcdet review {report}")
    sessions = []
    for report in chosen:
        session = open_session(report, pictures, None)
        closing.callback(session.close)
        sessions.append(session)
    return sessions

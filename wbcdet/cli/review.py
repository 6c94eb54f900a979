"""``wbcdet review``: open a report, serve the page, check the log."""

from __future__ import annotations

import getpass
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import EXIT_SOME_FAILED, Host, Language, Port, stop
from wbcdet.records import NOTICE
from wbcdet.utils.extras import missing
from wbcdet.utils.text import plural
from wbcdet.utils.web.bind import HOST, ListenError, listen
from wbcdet.utils.words import _, plural_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wbcdet.results.corrected import CorrectedField
    from wbcdet.review.session import Session

#: Conflicts of an import that are named; the rest are counted.
_MAX_NAMED = 50

EPILOG = (
    "Every decision is on the disk before the page shows it: close the page or stop the server at "
    f"any moment, and give the same command to go on. {NOTICE}"
)


def review(
    report: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT",
            help="The --out folder of wbcdet count, predict or stream.",
            show_default=False,
        ),
    ],
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the analysed pictures are. Needed once for a report of predict, or where "
            "the pictures were moved.",
            show_default=False,
        ),
    ] = None,
    reviewer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Your name, as it is kept with every decision. Default: your name on this "
            "computer; it can be changed on the page.",
            show_default=False,
        ),
    ] = None,
    brought: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Take over labels that were corrected in Label Studio, CVAT, QuPath or a COCO "
            "editor: a file, or a folder of them.",
            show_default=False,
        ),
    ] = None,
    delete_missing: Annotated[
        bool,
        typer.Option(
            "--delete-missing",
            help="With --import: take away cells that are missing from their field in FILE.",
        ),
    ] = False,
    second: Annotated[
        bool,
        typer.Option(
            "--second", help="Read as the second reader, without seeing the first one's decisions."
        ),
    ] = False,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Only say how far both readers agree.")
    ] = False,
    useful: Annotated[
        int | None,
        typer.Option(
            "--most-useful",
            metavar="N",
            min=1,
            help="Show first the N cells whose review teaches most (wbcdet learn): doubtful ones, "
            "unlike each other.",
            show_default=False,
        ),
    ] = None,
    language: Language = None,
    host: Host = HOST,
    port: Port = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address only.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only check that signatures, decisions and files still agree."
        ),
    ] = False,
    pdf: Annotated[
        bool,
        typer.Option(
            "--pdf",
            help="Only print the report that was signed last as REPORT/reviewed-NUMBER.pdf, where "
            "Chromium, Chrome or Edge is found.",
        ),
    ] = False,
) -> None:
    """Look at every cell in the browser, and have the last word.

    Correct names by key, mark missed cells, take away false ones, sign. The machine's files stay
    as they are; REPORT/reviewed/ gets the signed report, REPORT/review.sqlite all decisions and
    REPORT/review-log.jsonl the signatures.
    """
    only = [
        name
        for name, given in (
            ("--check", check),
            ("--pdf", pdf),
            ("--agreement", agreement),
            ("--import", brought is not None),
        )
        if given
    ]
    if len(only) > 1:
        stop(f"{only[0]} and {only[1]} are two things; give one of them")
    if only and useful is not None:
        stop(f"--most-useful goes with a reading, not with {only[0]}")
    if second and (check or pdf or agreement):
        stop(f"--second goes with a reading, not with {only[0]}")
    if delete_missing and brought is None:
        stop("--delete-missing goes with --import FILE")
    if pictures is not None and not pictures.exists():
        stop(f"--pictures {pictures}: there is no such folder")
    corrected = None if brought is None else _corrected(brought)
    session = open_session(report, pictures, reviewer, second=second)
    try:
        if check:
            _check(session)
        elif pdf:
            _print_pdf(session)
        elif agreement:
            _agreement(session)
        elif corrected is not None:
            _bring_back(session, corrected, delete_missing=delete_missing)
        else:
            if useful is not None:
                _choose_useful(session, useful)
            _serve(session, host, port, browser=not no_browser)
    finally:
        session.close()


def open_session(
    report: Path, pictures: Path | None, reviewer: str | None, *, second: bool = False
) -> Session:
    """Return a session on a report; ends the program with one line where there can be none."""
    from wbcdet.report.journal import JournalError
    from wbcdet.results.document import ResultsError
    from wbcdet.review.cell_state import MAX_LETTERS
    from wbcdet.review.decision_store import StoreError
    from wbcdet.review.session import Session
    from wbcdet.review.signature_log import SigningError
    from wbcdet.utils.lock import LockedError

    folder = report.parent if report.name == "results.json" else report
    who = (reviewer or _user())[:MAX_LETTERS]
    try:
        return Session(folder, pictures, who, named=reviewer is not None, second=second)
    except (ResultsError, StoreError, JournalError, SigningError) as error:
        stop(str(error))
    except LockedError:
        stop(f"{folder}: a review, a count or learn has this report open; end it, or use its page")
    except OSError as error:
        stop(f"cannot write to {folder}: {error.strerror or error}")


def _choose_useful(session: Session, number: int) -> None:
    """Have the page show first the cells whose review teaches most."""
    from wbcdet.inference.weights import WeightsError, load_shipped
    from wbcdet.utils.progress import progress

    try:
        from wbcdet.training.config import TrainingError
        from wbcdet.training.finetune.most_useful import MAX_CANDIDATES, most_useful
    except ImportError as error:
        stop(missing(error, "--most-useful", "train"))
    total = min(len(session.state.cells), MAX_CANDIDATES)
    try:
        with progress("Looking for the most useful cells", total, quiet=False) as tick:
            session.useful = most_useful(session, load_shipped("classifier"), number, tick)
    except (WeightsError, TrainingError) as error:
        stop(str(error))
    if not session.useful:
        stop(
            f"{session.folder}: no cell to choose: all are reviewed, or no field can be read; name "
            "the pictures with --pictures FOLDER"
        )
    session.notes.append(
        plural_of(
            "The {n} cell that teaches most is shown; '{button}' shows all.",
            "The {n} cells that teach most are shown; '{button}' shows all.",
            len(session.useful),
            button=_("Most useful only"),
        )
    )


def _corrected(path: Path) -> list[CorrectedField]:
    from wbcdet.results.corrected import CorrectedError, read_corrected

    try:
        return read_corrected(path)
    except CorrectedError as error:
        stop(str(error))


def _bring_back(
    session: Session, corrected: Sequence[CorrectedField], *, delete_missing: bool
) -> None:
    from wbcdet.review.bring_back import bring_back
    from wbcdet.review.cell_state import ChangeError

    try:
        done = bring_back(session.state, session.who, corrected, delete_missing=delete_missing)
    except ChangeError as error:
        stop(f"--reviewer: {error}")
    except OSError as error:
        stop(f"{session.folder}: cannot be written: {error.strerror or error}")
    for line in done.conflicts[:_MAX_NAMED]:
        typer.echo(f"wbcdet: {line}", err=True)
    if len(done.conflicts) > _MAX_NAMED:
        typer.echo(f"wbcdet: and {len(done.conflicts) - _MAX_NAMED} more", err=True)
    print(f"{done.summary()}. Undo on the page, as {session.who}, takes all of it back.")
    if done.missing and not delete_missing:
        print(
            f"not in the file, and left as {'it is' if done.missing == 1 else 'they are'}: "
            f"{plural(done.missing, 'cell')} of these fields; --delete-missing deletes them."
        )
    if done.conflicts:
        raise typer.Exit(EXIT_SOME_FAILED)


def _agreement(session: Session) -> None:
    from wbcdet.review.decision_store import StoreError
    from wbcdet.utils.kappa import NO_INTERVAL

    try:
        agreement = session.readers()
    except (StoreError, OSError) as error:
        stop(str(error))
    if agreement.share is None:
        stop(
            f"{session.folder}: no cell has been decided on by both readers yet; the second one "
            "reads with --second"
        )
    share, low, high = (100 * value for value in agreement.share)
    print(
        f"{plural(len(agreement.cells), 'cell')} read by both: {agreement.same} called the same, "
        f"{share:.1f} % (95 % interval {low:.1f} to {high:.1f})"
    )
    if agreement.kappa is None:
        print("kappa is not defined: both always say the same one thing")
    else:
        interval = agreement.kappa.interval
        said = f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else NO_INTERVAL
        print(f"Cohen's kappa {agreement.kappa.value:.3f} ({said})")
    print(
        f"read by the first alone {agreement.only_first}, "
        f"by the second alone {agreement.only_second}"
    )
    for names, count in agreement.confused():
        print(f"  {count:5} {names[0]} / {names[1]} (first / second)")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _check(session: Session) -> None:
    from wbcdet.review.sign_off import check
    from wbcdet.utils.text import some_of

    signatures = len(session.log())
    if not signatures:
        stop(f"{session.folder}: nothing is signed yet; sign on the review page first")
    wrong = check(session)
    for line in wrong:
        typer.echo(f"wbcdet: {line}", err=True)
    if wrong:
        raise typer.Exit(1)
    last, groups = session.signed() or {}, session.state.report.groups
    of = {group: session.signed(group) for group in groups}
    changed = [group for group, said in of.items() if said and not said["current"]]
    unsigned = [group for group, said in of.items() if not said]
    later = ""
    if changed:
        which = f" was signed: {some_of(changed)}" if len(groups) > 1 else ""
        later = f"; there are decisions after it{which}"
    if unsigned:
        later += f"; not signed: {some_of(unsigned)}"
    print(
        f"{session.folder}: {signatures} signature{'s' * (signatures != 1)}, decisions and files "
        f"agree; last by {last['name']}, {last['time']}{later}"
    )


def _print_pdf(session: Session) -> None:
    from wbcdet.report.pdf import PdfError, print_pdf
    from wbcdet.utils.safe_files import set_mode

    log = session.log()
    if not log:
        stop(f"{session.folder}: nothing is signed yet; sign on the review page first")
    pdf = session.folder / f"reviewed-{log[-1]['number']}.pdf"
    try:
        print_pdf(session.reviewed_folder / "report.html", pdf)
        set_mode(pdf, 0o600)
    except PdfError as error:
        stop(str(error))
    except OSError as error:
        stop(f"{pdf}: cannot be written: {error.strerror or error}")
    print(f"{pdf}: as signed last by {log[-1]['name']}, {log[-1]['time']}")


def _serve(session: Session, host: str, port: int | None, *, browser: bool) -> None:
    from wbcdet.review.server import build
    from wbcdet.utils.web.opening import opened_in_browser
    from wbcdet.utils.web.server import make_server

    try:
        listening = listen(host, port)
    except ListenError as error:
        stop(str(error))
    print(f"Review page: {listening.url}  (Ctrl-C ends; all decisions are kept)", flush=True)
    for note in session.notes:
        typer.echo(f"wbcdet: {note}", err=True)
    server = make_server(build(session), "review", listening)
    with (
        suppress(KeyboardInterrupt),
        opened_in_browser(listening.url) if browser else nullcontext(),
    ):
        server.run(sockets=[listening.socket])
    print(f"{session.state.last} decisions are kept in {session.store.path}")

"""``wbcdet review``: open a report, serve the page, check the log."""

from __future__ import annotations

import getpass
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import Host, Port, stop
from wbcdet.records import NOTICE
from wbcdet.utils.web.bind import HOST, ListenError, listen

if TYPE_CHECKING:
    from wbcdet.review.session import Session

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
    """Look at every cell of a report in the browser, and have the last word.

    Correct names by key, mark missed cells, take away false ones, sign. The machine's files stay
    as they are; REPORT/reviewed/ gets the signed report, REPORT/review.sqlite all decisions and
    REPORT/review-log.jsonl the signatures.
    """
    if pictures is not None and not pictures.exists():
        stop(f"--pictures {pictures}: there is no such folder")
    session = open_session(report, pictures, reviewer)
    try:
        if check:
            _check(session)
        elif pdf:
            _print_pdf(session)
        else:
            _serve(session, host, port, browser=not no_browser)
    finally:
        session.close()


def open_session(report: Path, pictures: Path | None, reviewer: str | None) -> Session:
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
        return Session(folder, pictures, who, named=reviewer is not None)
    except (ResultsError, StoreError, JournalError, SigningError) as error:
        stop(str(error))
    except LockedError:
        stop(f"{folder}: a review or a count has this report open; end it, or use its page")
    except OSError as error:
        stop(f"cannot write to {folder}: {error.strerror or error}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _check(session: Session) -> None:
    from wbcdet.review.sign_off import check

    signatures = len(session.log())
    if not signatures:
        stop(f"{session.folder}: nothing is signed yet")
    wrong = check(session)
    for line in wrong:
        typer.echo(f"wbcdet: {line}", err=True)
    if wrong:
        raise typer.Exit(1)
    last = session.signed() or {}
    later = "" if last["current"] else "; there are decisions after it"
    print(
        f"{session.folder}: {signatures} signature{'s' * (signatures != 1)}, decisions and files "
        f"agree; last by {last['name']}, {last['time']}{later}"
    )


def _print_pdf(session: Session) -> None:
    from wbcdet.report.pdf import PdfError, print_pdf
    from wbcdet.review.sign_off import signed_folder
    from wbcdet.review.signature_log import SignatureLog

    log = SignatureLog(session.folder)
    if log.last is None:
        stop(f"{session.folder}: nothing is signed yet; sign on the review page first")
    pdf = session.folder / f"reviewed-{log.last['number']}.pdf"
    try:
        print_pdf(signed_folder(session.folder, log) / "report.html", pdf)
        pdf.chmod(0o600)
    except PdfError as error:
        stop(str(error))
    except OSError as error:
        stop(f"{pdf}: cannot be written: {error.strerror or error}")
    print(f"{pdf}: as signed last by {log.last['name']}, {log.last['time']}")


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
    print(f"{session.board.last} decisions are kept in {session.store.path}")

"""``wbcdet review``: open a report, serve the page, check the log."""

from __future__ import annotations

import getpass
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.console import stop
from wbcdet.records import NOTICE

if TYPE_CHECKING:
    from wbcdet.review.session import Session

EPILOG = (
    "Every decision is on the disk before the page shows it: close the page or stop the server at "
    f"any moment, and give the same command to go on. {NOTICE}"
)

#: Port that is tried first, so that the address is the same every day.
_PORT = 8765


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
    host: Annotated[
        str,
        typer.Option(
            help="Address to serve on. Default: this computer alone. On another address the page "
            "asks for the token that is printed."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help=f"Port. Default: {_PORT}, or a free one.", show_default=False
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address only.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only check that signatures, decisions and files still agree."
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
        else:
            _serve(session, host, port, browser=not no_browser)
    finally:
        session.close()


def open_session(report: Path, pictures: Path | None, reviewer: str | None) -> Session:
    """A session on a report; ends the program with one line where there can be none."""
    from wbcdet.batch.journal import JournalError
    from wbcdet.batch.lock import LockedError
    from wbcdet.results import ResultsError
    from wbcdet.review.session import Session
    from wbcdet.review.signing import SigningError
    from wbcdet.review.standing import MOST_LETTERS
    from wbcdet.review.store import StoreError

    folder = report.parent if report.name == "results.json" else report
    who = (reviewer or _user())[:MOST_LETTERS]
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
    from wbcdet.review.signing import check

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


def _serve(session: Session, host: str, port: int | None, *, browser: bool) -> None:
    import uvicorn

    from wbcdet.review.guard import LOOPBACK, Guard
    from wbcdet.review.server import build

    listening = _listen(host, port)
    port = listening.getsockname()[1]
    local = host in LOOPBACK or host == "::1"
    token = None if local else secrets.token_urlsafe(24)
    shown = (
        f"[{host}]" if ":" in host else socket.gethostname() if host in ("0.0.0.0", "::") else host
    )
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    print(f"Review page: {address}  (Ctrl-C ends; all decisions are kept)", flush=True)
    for note in session.notes:
        typer.echo(f"wbcdet: {note}", err=True)
    if browser:
        import webbrowser

        webbrowser.open(address)
    config = uvicorn.Config(
        Guard(build(session), port, token),  # type: ignore[arg-type]
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    print(f"{session.board.last} decisions are kept in {session.store.path}")


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried = (_PORT, 0) if port is None else (port,)
    for number in tried:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
        except OSError as error:
            listening.close()
            if number == tried[-1]:
                stop(f"cannot listen on {host}:{number} ({error.strerror}); choose another --port")
            continue
        listening.listen(128)
        return listening
    raise AssertionError

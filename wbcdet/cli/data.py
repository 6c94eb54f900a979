"""``wbcdet data``: list, fetch and prepare the public pictures that wbcdet was trained on."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from wbcdet.cli.options import Command, as_command

if TYPE_CHECKING:
    from wbcdet.datasets.archives import Source

_LOG = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True,
    help="Public blood-smear pictures: see what there is, download them, prepare them for "
    "training. Nothing here is needed to analyse your own slides.",
)

_Folder = Annotated[
    Path | None,
    typer.Option(
        "--into",
        metavar="DIR",
        help="Folder for the archives. Default: the folder in WBCDET_DATA, else a cache folder "
        "of your user account.",
    ),
]


def _stop(message: object, code: int = 1) -> NoReturn:
    if sys.exc_info()[0] is not None:
        _LOG.debug("the error behind the line below", exc_info=True)
    typer.echo(f"wbcdet data: {message}", err=True)
    raise typer.Exit(code)


@app.command("list", cls=Command)
@as_command
def list_archives(into: _Folder = None) -> None:
    """List the archives, their licences, and which are here.

    An archive is "present" when every file that wbcdet uses has the right checksum, "damaged" when
    some are missing or differ (fetch it again), else "absent". The size is that of these files; the
    download may be larger (pbc-boxes: 350 MB).
    """
    from wbcdet.datasets.archives import default_folder, fault_line, faults, listed_files, sources
    from wbcdet.utils.tables import Row, print_table, terminal

    folder = into or default_folder()
    rows, notes = [], []
    for item in sources().values():
        path = folder / f"{item.name}.zip"
        megabytes = sum(listed.bytes for listed in listed_files(item.name)) / 1e6
        state = "absent"
        if path.is_file():
            wrong = faults(item.name, path)
            state = "damaged" if wrong else "present"
            if wrong:
                notes.append(f"{item.name}: {fault_line(wrong)}")
        size = f"{megabytes:.0f} MB" if megabytes >= 0.5 else "< 1 MB"
        rows.append(Row((item.name, item.licence, size, state, item.holds)))
    console = terminal()
    console.print(f"Archives in {folder}", markup=False, highlight=False, soft_wrap=True)
    print_table(console, ("name", "licence", "size", "state", "what it holds"), rows, left=5)
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


@app.command("fetch", cls=Command)
@as_command
def fetch_archives(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Archives to download. Default: all of them."),
    ] = None,
    into: _Folder = None,
) -> None:
    """Download the archives and check every file that wbcdet uses.

    What is already there and whole is left alone. If the download is interrupted, run the same
    command again: it goes on where it stopped. Without internet, set WBCDET_DATA_MIRROR to a
    folder or web address that has the zip files.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TransferSpeedColumn,
    )

    from wbcdet.datasets.archives import DataError, default_folder, source, sources
    from wbcdet.datasets.download import fetch

    try:
        wanted: list[Source] = [source(name) for name in names or sources()]
    except DataError as error:
        _stop(error, 2)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
    )
    try:
        with bar:
            for item in wanted:
                task = bar.add_task(item.name, total=None)

                def show(_: str, done: int, total: int | None, task: TaskID = task) -> None:
                    bar.update(task, completed=done, total=total)

                [path] = fetch([item.name], into, progress=show)
                size = path.stat().st_size
                bar.update(task, completed=size, total=size)
    except DataError as error:
        _stop(error)
    except KeyboardInterrupt:
        _stop("interrupted; run the same command again to go on", 130)
    typer.echo(f"{len(wanted)} archive(s) checked and ready in {into or default_folder()}")


@app.command("prepare", cls=Command)
@as_command
def prepare_folder(
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="Folder to write the training set to.")
    ] = Path("prepared"),
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder that holds the archives. Default: the one that fetch uses.",
        ),
    ] = None,
    laboratories: Annotated[
        list[str] | None,
        typer.Option(
            "--lab",
            metavar="LAB",
            help="Only this laboratory, such as bccd; may be given several times. Default: all.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Turn the fetched archives into one folder to train on.

    It holds pictures, boxes and cell types. The lists in datasets/ decide which picture trains and
    which one tests. The same archives always give the same folder.
    """
    from wbcdet.datasets.archives import DataError, default_folder
    from wbcdet.datasets.prepare import FolderError, check_folder, prepare
    from wbcdet.utils.lock import LockedError, locked

    try:
        check_folder(into)
        with locked(into):
            counts = prepare(data or default_folder(), into, True, laboratories)
    except (FolderError, LockedError) as error:
        _stop(error, 2)
    except DataError as error:
        _stop(error)
    except OSError as error:
        _stop(f"cannot write to {into}: {error.strerror or error}")
    for laboratory, count in sorted(counts.items()):
        typer.echo(f"{laboratory:12} {count:5} fields")
    typer.echo(f"written to {into}")

"""What the commands share: options, progress, one-line errors, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from wbcdet.settings import Settings
from wbcdet.utils.web.bind import PORT

if TYPE_CHECKING:
    from wbcdet.inference.analyzer import Analyzer

T = TypeVar("T")

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

#: Defaults of the two limits, as the options give them.
MEMORY_GB, TIMEOUT_S = Settings().memory_bytes / 1e9, Settings().timeout_s

Out = Annotated[Path, typer.Option(help="Folder for the results; made if needed.")]
NoAnnotate = Annotated[bool, typer.Option("--no-annotate", help="Draw no annotated pictures.")]
Confidence = Annotated[
    float | None,
    typer.Option(
        metavar="0..1", help="How sure a cell must be to be counted. Default: the detector's own."
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="How sure a name must be; below it a cell is unclassified. "
        "Default: the classifier's own.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cpu-bf16|cuda",
        help="Where the models run: auto (cuda where there is one, else cpu), cpu, cuda, or "
        "cpu-bf16: half precision, faster on new processors, with slightly other boxes.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Look at larger fields in tiles of this side. Default: fields of up to 2600 px as a "
        "whole, larger ones in tiles that suit the size of their cells.",
    ),
]
Memory = Annotated[
    float,
    typer.Option(
        metavar="GB",
        help="Memory for the pixels of all pictures in work; one that takes more is not read.",
    ),
]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", help="A file that takes longer to decode is not read.")
]
Ranges = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Reference ranges: CSV with label, low_percent, high_percent, source. Default: "
        "ranges for adults.",
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Forget what an earlier run has counted into OUT.")
]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address that the page listens on. The default can be reached from this computer "
        "alone; on another address the page asks for the token that is printed with it.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help=f"Port of the page; 0 takes a free one. Default: {PORT}, or a free one where that is "
        "taken.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no table and no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON, not as a table.")]


#: Settings whose options have another name.
_OPTIONS = {
    "min_score": "--min-score",
    "tile_size": "--tile",
    "memory_bytes": "--memory",
    "timeout_s": "--timeout",
}


def build_settings(
    confidence: float | None,
    min_score: float | None,
    device: str,
    tile: int | None = None,
    memory: float = MEMORY_GB,
    timeout: float = TIMEOUT_S,
) -> Settings:
    try:
        return Settings(
            confidence=confidence,
            min_score=min_score,
            device=device,
            tile_size=tile,
            memory_bytes=round(memory * 1e9),
            timeout_s=timeout,
        )
    except ValueError as error:
        said = str(error)
        for name, option in _OPTIONS.items():
            said = said.replace(name, option)
        stop(said)


def load_analyzer(settings: Settings, *, threads: int = 1) -> Analyzer:
    import cv2

    from wbcdet.inference.analyzer import Analyzer

    # Where each core has a field of its own, OpenCV's threads cost 5 % and gain nothing.
    cv2.setNumThreads(threads)
    try:
        return Analyzer(settings, threads=threads)
    except (OSError, RuntimeError, ValueError) as error:
        stop(f"models cannot be loaded: {error}")


def writing(out: Path, work: Callable[[], T]) -> T:
    """Run work that writes into a folder; one line where it cannot or is stopped."""
    try:
        return work()
    except KeyboardInterrupt:
        stop("stopped", EXIT_INTERRUPTED)
    except OSError as error:
        stop(f"cannot write to {out}: {error.strerror or error}")


def stop(message: str, code: int = EXIT_USAGE) -> NoReturn:
    print(f"wbcdet: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def close_pipe() -> None:
    """The reader of our output has gone: say nothing more, not even while Python shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

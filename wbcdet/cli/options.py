"""Shared parts of the commands: options, logging, one-line errors, exit codes."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from wbcdet.settings import Settings
from wbcdet.utils.stopping import stops_at_once
from wbcdet.utils.web.bind import PORT

if TYPE_CHECKING:
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.io.discover import SearchResult

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

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
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|FILE",
        help="Folder of the models (detector.json, classifier.json and their files), or the file "
        "of `wbcdet learn --share`; what it lacks is the shipped one. Default: the shipped ones, "
        "or those that `wbcdet learn` has put in use.",
        show_default=False,
    ),
]
Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="en|es|ru",
        help="Language of the report and the page. Default: reports in English, pages in the "
        "browser's language.",
        callback=lambda given: _speak(given),
        show_default=False,
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
Careful = Annotated[
    bool,
    typer.Option(
        "--careful",
        help="Look at every field four times, mirrored and turned by 180 degrees: the same answer "
        "however a field is turned, in about five times the time.",
    ),
]
Memory = Annotated[
    float,
    typer.Option(
        metavar="GB",
        help="Memory for the pixels of all pictures at work; one that takes more is not read.",
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
        "alone. Either way the page asks for the token in the address that is printed.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help=f"Port to listen on; 0 takes a free one. Default: {PORT}, or a free one where that is "
        "taken.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no table and no progress.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", help="Say on the way what is done, and show where an error comes from."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON, not as a table.")]


#: How the help writes the value of an option that does not say it, by the first word of its type,
#: which Typer and Click call differently; all others are texts.
_VALUES = {"float": "NUMBER", "int": "NUMBER", "integer": "NUMBER", "path": "FOLDER"}
#: What no number of an option reaches: beyond 64 bits ``results.json`` could not be read again.
_TOO_MUCH = 2**63


class Command(TyperCommand):
    """A command whose help does not depend on the version of Typer.

    Newer ones put braces around arguments and write ``<int range>`` for the value of an option.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for parameter in self.params:
            kind: Any = parameter.type
            if parameter.metavar is None and not getattr(parameter, "is_flag", False):
                choices = "|".join(getattr(kind, "choices", ()))
                parameter.metavar = choices or _VALUES.get(kind.name.split()[0], "TEXT")

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless a number has no end: JSON, timers and memory cannot hold it."""
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, int | float) and not abs(value) < _TOO_MUCH:  # nor is NaN
                said = str(value)[:30]
                stop(f"{parameter.opts[0]} {said}: give a number of less than 19 digits")
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return arguments as they are named: only those in square brackets may be left out."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


#: The settings of a command that is not told otherwise.
DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class SettingsOptions:
    """Options that stand for a parameter with the settings of a command; see :func:`as_command`.

    Attributes:
        options: name of the option, its annotation and its default, in the order of the help.
    """

    options: tuple[tuple[str, Any, Any], ...]


_MODELS = (
    ("confidence", Confidence, None),
    ("min_score", MinScore, None),
    ("device", Device, DEFAULTS.device),
)
_CAREFUL = (("careful", Careful, False),)
_READING = (
    ("memory", Memory, DEFAULTS.memory_bytes / 1e9),
    ("timeout", Timeout, DEFAULTS.timeout_s),
)
#: Settings of commands that run the models; that can look with care; that read any field.
ModelSettings = Annotated[Settings, SettingsOptions(_MODELS)]
CarefulSettings = Annotated[Settings, SettingsOptions((*_MODELS, *_CAREFUL))]
FieldSettings = Annotated[
    Settings, SettingsOptions((*_MODELS, ("tile", Tile, None), *_CAREFUL, *_READING))
]


def as_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Prepare a function to be a command.

    It gets the option ``--verbose``, and what is logged is shown on standard error. A parameter
    with :class:`SettingsOptions` becomes these options; the function gets the settings.
    """
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    groups: dict[str, SettingsOptions] = {}
    parameters: list[inspect.Parameter] = []
    for declared in signature.parameters.values():
        given = getattr(hints[declared.name], "__metadata__", ())
        group = next((item for item in given if isinstance(item, SettingsOptions)), None)
        if group is None:
            parameters.append(declared.replace(annotation=hints[declared.name]))
        else:
            groups[declared.name] = group
            parameters += [
                inspect.Parameter(name, declared.kind, default=default, annotation=annotation)
                for name, annotation, default in group.options
            ]
    parameters.append(
        inspect.Parameter(
            "verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Verbose
        )
    )

    @functools.wraps(function)
    def run(*arguments: Any, verbose: bool = False, **options: Any) -> Any:
        show_log(verbose=verbose)
        for parameter, group in groups.items():
            options[parameter] = build_settings(
                **{name: options.pop(name) for name, _, _ in group.options}
            )
        return function(*arguments, **options)

    # Typer reads a command's options from either, by its version.
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # A function may have the attribute; mypy's type of functions lacks it.
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def _speak(language: str | None) -> str | None:
    from wbcdet.utils.words import LanguageError, choose

    try:
        choose(language)
    except LanguageError as error:
        stop(f"--language: {error}")
    return language


def show_log(*, verbose: bool) -> None:
    """Print the log of wbcdet on standard error: warnings, or all of it with time and place."""
    log = logging.getLogger("wbcdet")
    handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s" if verbose else "wbcdet: %(message)s"
    handler.setFormatter(logging.Formatter(form))
    log.handlers = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.WARNING)


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
    careful: bool = False,
    memory: float = DEFAULTS.memory_bytes / 1e9,
    timeout: float = DEFAULTS.timeout_s,
) -> Settings:
    """Make settings of options; one line that names the option where one is out of range."""
    try:
        return Settings(
            confidence=confidence,
            min_score=min_score,
            device=device,
            tile_size=tile,
            careful=careful,
            memory_bytes=round(memory * 1e9),
            timeout_s=timeout,
        )
    except ValueError as error:
        said = str(error)
        for name, option in _OPTIONS.items():
            said = said.replace(name, option)
        stop(said)


def search_fields(
    sources: Sequence[str], out: Path, *, quiet: bool, may_be_slides: bool = False
) -> SearchResult:
    """Return the fields that the user named; says what was passed over, and ends where there is
    none.

    Args:
        sources: what the user named.
        out: the folder of the results.
        quiet: say nothing.
        may_be_slides: what is no field may be a slide: do not end.
    """
    from wbcdet.io.discover import search
    from wbcdet.io.slides.open import is_slide_folder

    searched = search(
        sources, exclude=[out], is_slide_folder=is_slide_folder if may_be_slides else None
    )
    if not may_be_slides and (problem := searched.problem()):
        stop(problem)
    if not quiet and (passed := searched.passed.line()):
        print(f"wbcdet: {passed}", file=sys.stderr)
    return searched


def load_analyzer(settings: Settings, *, weights: Path | None = None, threads: int = 1) -> Analyzer:
    """Load the models; one line where they cannot be loaded."""
    try:
        with stops_at_once():
            import cv2

            from wbcdet.inference.analyzer import Analyzer

            # Where each core works on one field, OpenCV's threads cost 5 % and gain nothing.
            cv2.setNumThreads(threads)
            return Analyzer(settings, threads=threads, weights=weights)
    except (OSError, RuntimeError, ValueError) as error:
        stop(f"models cannot be loaded: {error}")


def begin_loading(settings: Settings, *, weights: Path | None = None) -> Callable[[], Analyzer]:
    """Load the models in a thread, beside the search for fields; returns what waits for them.

    Setting up a model takes as long as all imports of a command, and needs no Python meanwhile.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1, thread_name_prefix="wbcdet-load")
    loading = pool.submit(load_analyzer, settings, weights=weights)
    pool.shutdown(wait=False)

    def wait() -> Analyzer:
        with stops_at_once():
            return loading.result()

    return wait


#: Remedy where a folder cannot be written.
OTHER_OUT = "make room and give yourself the right to write there, or choose another --out"


def writing(out: Path, work: Callable[[], T]) -> T:
    """Run work that writes into a folder; one line where it cannot or is stopped."""
    from wbcdet.results.output_folder import OutputError
    from wbcdet.utils.lock import LockedError

    try:
        return work()
    except KeyboardInterrupt:
        stop("stopped", EXIT_INTERRUPTED)
    except (OutputError, LockedError) as error:
        stop(str(error))
    except OSError as error:
        stop(f"cannot write to {out}: {error.strerror or error}; {OTHER_OUT}")


def stop(message: str, code: int = EXIT_USAGE) -> NoReturn:
    """End with one line; ``--verbose`` also shows the error behind it."""
    if sys.exc_info()[0] is not None:
        _LOG.debug("the error behind the line below", exc_info=True)
    print(f"wbcdet: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def close_pipe() -> None:
    """Discard further output, also while Python shuts down: the reader of the pipe has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

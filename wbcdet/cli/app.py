"""The ``wbcdet`` command: parse, call, print.

What a command needs is imported inside it, so that ``wbcdet --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from wbcdet.cli.options import (
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    Command,
    as_command,
    close_pipe,
    stop,
)
from wbcdet.records import NOTICE
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.standard_streams import PrintError, make_robust
from wbcdet.utils.version import __version__

#: Groups of commands, with their help; and commands, in the order of the help. Each is in a module
#: of its name.
_GROUPS = {
    "data": "Public training data: list, fetch, prepare.",
    "train": "Train the classifier or the detector yourself.",
}
_COMMANDS = (
    "agree", "count", "demo", "doctor", "evaluate", "export", "learn", "review", "serve", "stream",
    "cameras", "predict",
)  # fmt: skip


class _Commands(TyperGroup):
    """Group of all commands; turns unexpected errors into one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            stop("stopped", EXIT_INTERRUPTED)
        except WbcdetError as error:
            stop(str(error))
        except MemoryError:
            stop("the memory is not enough; close other programs, or set a smaller --memory")
        except ImportError as error:  # also where the memory is not enough for a library
            stop(f"cannot be loaded: {error}; free memory, or see what `wbcdet doctor` says")


def build(names: Iterable[str] = (*_GROUPS, *_COMMANDS)) -> typer.Typer:
    """Return the command with those of its commands: loading one takes as long as using it."""
    app = typer.Typer(
        name="wbcdet",
        cls=_Commands,
        help=f"""Find, name and count the white blood cells in photographs of blood smears.

{NOTICE}

Try it without a picture of your own: wbcdet demo

Analyse a picture, or all pictures in a folder: wbcdet predict slide.jpg""",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in names:
        module = import_module(f"wbcdet.cli.{name}")
        if name in _GROUPS:
            app.add_typer(module.app, name=name, help=_GROUPS[name])
        else:
            epilog = getattr(module, "EPILOG", None)
            app.command(cls=Command, epilog=epilog)(as_command(getattr(module, name)))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"wbcdet {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command."""
    import warnings

    make_robust()
    # Odd metadata in a picture does not concern the user: the pixels decide.
    warnings.filterwarnings("ignore", module="PIL")
    try:
        try:
            build(_asked_for())()
        finally:
            sys.stdout.flush()  # while it can still be said that it is full
    except BrokenPipeError:
        close_pipe()
        raise SystemExit(EXIT_SOME_FAILED) from None
    except PrintError as error:
        stop(str(error))


def _asked_for() -> Iterable[str]:
    """Return the one command that is asked for; all of them where the help or a shell asks."""
    every = (*_GROUPS, *_COMMANDS)
    completing = "_WBCDET_COMPLETE" in os.environ
    return [sys.argv[1]] if not completing and sys.argv[1:2] and sys.argv[1] in every else every


def __getattr__(name: str) -> Any:
    if name == "app":  # with all commands, for the documentation and tests
        return build()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

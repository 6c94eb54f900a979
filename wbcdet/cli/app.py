"""The ``wbcdet`` command: parse, call, print.

What a command needs is imported inside it, so that ``wbcdet --help`` answers at once.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from wbcdet.cli.agree import EPILOG as AGREE_EPILOG
from wbcdet.cli.agree import agree
from wbcdet.cli.cameras import cameras
from wbcdet.cli.count import EPILOG as COUNT_EPILOG
from wbcdet.cli.count import count
from wbcdet.cli.data import app as data_app
from wbcdet.cli.demo import EPILOG as DEMO_EPILOG
from wbcdet.cli.demo import demo
from wbcdet.cli.doctor import EPILOG as DOCTOR_EPILOG
from wbcdet.cli.doctor import doctor
from wbcdet.cli.evaluate import EPILOG as EVALUATE_EPILOG
from wbcdet.cli.evaluate import evaluate
from wbcdet.cli.export import EPILOG as EXPORT_EPILOG
from wbcdet.cli.export import export
from wbcdet.cli.learn import EPILOG as LEARN_EPILOG
from wbcdet.cli.learn import learn
from wbcdet.cli.options import EXIT_INTERRUPTED, as_command, stop
from wbcdet.cli.predict import EPILOG as PREDICT_EPILOG
from wbcdet.cli.predict import predict
from wbcdet.cli.review import EPILOG as REVIEW_EPILOG
from wbcdet.cli.review import review
from wbcdet.cli.serve import EPILOG as SERVE_EPILOG
from wbcdet.cli.serve import serve
from wbcdet.cli.stream import EPILOG as STREAM_EPILOG
from wbcdet.cli.stream import stream
from wbcdet.cli.train import app as train_app
from wbcdet.records import NOTICE
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.version import __version__


class _Commands(TyperGroup):
    """Group of all commands; turns unexpected errors into one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            stop("stopped", EXIT_INTERRUPTED)
        except WbcdetError as error:
            stop(str(error))


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
app.add_typer(data_app, name="data", help="Public training data: list, fetch, prepare.")
app.add_typer(train_app, name="train", help="Train the classifier or the detector yourself.")
app.command(epilog=AGREE_EPILOG)(as_command(agree))
app.command(epilog=COUNT_EPILOG)(as_command(count))
app.command(epilog=DEMO_EPILOG)(as_command(demo))
app.command(epilog=DOCTOR_EPILOG)(as_command(doctor))
app.command(epilog=EVALUATE_EPILOG)(as_command(evaluate))
app.command(epilog=EXPORT_EPILOG)(as_command(export))
app.command(epilog=LEARN_EPILOG)(as_command(learn))
app.command(epilog=REVIEW_EPILOG)(as_command(review))
app.command(epilog=SERVE_EPILOG)(as_command(serve))
app.command(epilog=STREAM_EPILOG)(as_command(stream))
app.command()(as_command(cameras))
app.command(epilog=PREDICT_EPILOG)(as_command(predict))


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"wbcdet {__version__}")
        raise typer.Exit


@app.callback()
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

    for pipe in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a file name shows a mark in its place.
        if isinstance(pipe, TextIOWrapper):
            pipe.reconfigure(errors="replace")
    # Odd metadata in a picture does not concern the user: the pixels decide.
    warnings.filterwarnings("ignore", module="PIL")
    app()

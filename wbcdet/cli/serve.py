"""``wbcdet serve``: load the models, listen, answer until a signal ends it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from wbcdet.cli.options import (
    DEFAULTS,
    FieldSettings,
    Port,
    Weights,
    load_analyzer,
    stop,
)
from wbcdet.records import NOTICE
from wbcdet.utils.extras import missing
from wbcdet.utils.text import plural
from wbcdet.utils.web.bind import HOST, ListenError, listen

EPILOG = (
    "The address of the service shows what it answers. Ctrl-C or SIGTERM: what is inside is "
    f"answered, nothing new is taken. {NOTICE}"
)

#: Pictures that wait, for each worker.
_WAITING = 8


def serve(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on. The default can be reached from this computer alone.",
        ),
    ] = HOST,
    port: Port = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="WBCDET_TOKENS",
            help="Tokens that let in, one a line. Default: one that is made and printed.",
            show_default=False,
        ),
    ] = None,
    allow_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Requests may name pictures whose address begins so, as in "
            "https://archive.example/smears/. May be given several times.",
        ),
    ] = None,
    allow_path: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Requests may name pictures in this folder. May be given several times.",
        ),
    ] = None,
    max_mb: Annotated[
        float, typer.Option(metavar="MB", min=0.001, help="Size of a request, at most.")
    ] = 64.0,
    max_held_mb: Annotated[
        float,
        typer.Option(
            metavar="MB",
            min=0.001,
            help="All requests inside together, at most; beyond it they are answered 429.",
        ),
    ] = 1000.0,
    max_batch: Annotated[int, typer.Option(min=1, help="Pictures in a batch, at most.")] = 100,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pictures analysed at the same time. Default: one a processor core, up to 8.",
        ),
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Requests that may wait; more are answered 429. Default: "
            f"{_WAITING} for each worker.",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="At the end, time to answer the requests that are inside.",
        ),
    ] = 30.0,
    settings: FieldSettings = DEFAULTS,
    weights: Weights = None,
) -> None:
    """Answer programs of your network: a picture in, results out.

    POST /v1/analyze takes one picture, /v1/batch several; /health, /metrics and / (what it
    answers) are for those who run it.
    """
    for folder in allow_path or []:
        if not folder.is_dir():
            stop(f"--allow-path {folder}: there is no such folder")
    for url in allow_url or []:
        if not url.lower().startswith(("http://", "https://")):
            stop(f"--allow-url {url}: give the start of an http(s) address")

    if max_held_mb < max_mb:
        stop(f"--max-held-mb {max_held_mb:g}: is less than --max-mb {max_mb:g}, one request")

    from wbcdet.utils.web.bearer import TokenError, read_tokens

    try:
        from wbcdet.batch.service.app import Limits
        from wbcdet.batch.service.pictures import Allowed
        from wbcdet.batch.service.server import Server, guarded, make_parts
        from wbcdet.batch.service.server import serve as run
    except ImportError as error:
        stop(missing(error, "serve", "serve"))
    try:
        known = read_tokens(tokens) if tokens is not None else None
        listening = listen(host, port)
    except (TokenError, ListenError) as error:
        stop(str(error))
    allowed = Allowed(tuple(allow_url or ()), tuple(path.resolve() for path in allow_path or ()))
    limits = Limits(round(max_mb * 1e6), round(max_held_mb * 1e6), max_batch, allowed)
    analyzer = load_analyzer(settings, weights=weights)
    number = workers or analyzer.at_once
    waiting = _WAITING * number if queue is None else queue
    app, work = make_parts(analyzer, number, waiting, limits)
    print(
        f"Service: {listening.url.partition('?')[0]}  ({plural(number, 'worker')}; Ctrl-C ends)",
        flush=True,
    )
    if known is None:
        known = [listening.token]
        print(f"Token: {listening.token}  (--tokens FILE keeps one of your own)", flush=True)
    server = Server(guarded(app, known, limits), work, grace)
    with suppress(KeyboardInterrupt):
        run(server, work, listening.socket)
    print("The service has ended.")

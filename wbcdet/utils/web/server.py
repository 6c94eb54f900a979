"""Build the web server behind a page."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

from wbcdet.utils.web.bind import BoundAddress
from wbcdet.utils.web.connections import PatientConnection
from wbcdet.utils.web.guard import Guard


def make_server(app: ASGIApp, kind: str, listening: BoundAddress) -> uvicorn.Server:
    """Return a guarded server, to be run on ``listening.socket``.

    Args:
        app: answers the requests.
        kind: of page, such as ``review``.
        listening: where it will run.
    """
    config = uvicorn.Config(
        Guard(app, kind, listening),
        http=PatientConnection,
        ws="none",  # no page has any, and the guard is for HTTP
        log_level="warning",
        access_log=False,  # the first request has the token in its address
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)

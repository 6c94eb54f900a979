"""The server of the service: guard, limits, and an end that loses nothing."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Sequence
from math import ceil

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wbcdet.batch.service.analysis import Analysis
from wbcdet.batch.service.app import Limits, build
from wbcdet.batch.service.bodies import FORGET_S, forget
from wbcdet.batch.service.metrics import Metrics
from wbcdet.batch.service.problems import Problem
from wbcdet.batch.service.work_queue import WorkQueue
from wbcdet.inference.analyzer import Analyzer
from wbcdet.utils.web.bearer import BearerGuard

_LOG = logging.getLogger(__name__)

#: What needs no token: it tells nothing of pictures.
PUBLIC = ("/", "/openapi.json", "/health")


def make_parts(
    analyzer: Analyzer, workers: int, waiting: int, limits: Limits
) -> tuple[FastAPI, WorkQueue]:
    """Return the application and its queue."""
    info = analyzer.info()
    queue = WorkQueue(workers, waiting)
    metrics = Metrics(info, queue.places)
    return build(Analysis(analyzer, info, metrics), queue, metrics, limits), queue


def guarded(app: FastAPI, tokens: Sequence[str], limits: Limits) -> BearerGuard:
    """Return the application, for those who know a token."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(401, "no-token", "send Authorization: Bearer TOKEN")
        await forget(Request(scope, receive), limits.body)
        await Response(problem.body(), problem.status, problem.headers())(scope, receive, send)

    return BearerGuard(app, tokens, PUBLIC, refuse)


class Server(uvicorn.Server):
    """Ends in order: takes nothing new, answers what is inside, and refuses what takes too long.

    Args:
        app: what is served.
        queue: what is inside.
        grace_s: seconds for what is inside.
    """

    def __init__(self, app: BearerGuard, queue: WorkQueue, grace_s: float) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            # Longer than the grace, so that those who are refused hear it, slow ones too.
            timeout_graceful_shutdown=ceil(grace_s + FORGET_S) + 1,
        )
        super().__init__(config)
        self._queue, self._grace_s = queue, grace_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; called in the event loop when a signal has come."""
        self._queue.end(self._grace_s)
        await super().shutdown(sockets)
        self._queue.close()


def serve(server: Server, queue: WorkQueue, sock: socket.socket) -> None:
    """Serve until a signal ends it."""
    # uvicorn raises again what has ended it, when all is done: that is no reason to be killed.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run(sockets=[sock])
    if queue.working:
        # A thread cannot be stopped, and its answer is not awaited any more.
        _LOG.warning("%d pictures in work were given up", queue.working)
        os._exit(1)

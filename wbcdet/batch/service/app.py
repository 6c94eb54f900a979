"""What the service answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wbcdet.batch.service.analysis import Analysis
from wbcdet.batch.service.bodies import (
    BODY_READ,
    BYTES,
    NamedPicture,
    NamedPictures,
    check_query,
    forget,
    kind_of,
    read_bytes,
    read_form,
    read_json,
)
from wbcdet.batch.service.metrics import CONTENT_TYPE, Metrics
from wbcdet.batch.service.pictures import Allowed, Picture, numbered, unique_names
from wbcdet.batch.service.problems import MEDIA_TYPE, Problem
from wbcdet.batch.service.work_queue import WorkQueue
from wbcdet.io.download import download
from wbcdet.io.errors import FieldError
from wbcdet.records import FORMAT, NOTICE, FieldResult
from wbcdet.settings import Settings
from wbcdet.utils.pages import render_page
from wbcdet.utils.version import __version__

#: Seconds without an answer after which the download of a named address is given up.
_HTTP_S = 10.0
_JSON, _FORM = "application/json", "multipart/form-data"
#: The page of the service has its style inside and no script.
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

Name = Annotated[str, Query(max_length=255, description="How the field is called in the results.")]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a request may ask for.

    Attributes:
        body: bytes of a body, or of a picture behind an address.
        held: bytes of the bodies of all requests inside together.
        batch: pictures in a batch.
        allowed: addresses and folders that may be named.
    """

    body: int = 64_000_000
    held: int = 1_000_000_000
    batch: int = 100
    allowed: Allowed = field(default_factory=Allowed)


def build(analysis: Analysis, queue: WorkQueue, metrics: Metrics, limits: Limits) -> FastAPI:
    """Return the application."""
    settings = replace(Settings(), max_download_bytes=limits.body, http_timeout_s=_HTTP_S)
    app = FastAPI(
        title="wbcdet",
        version=__version__,
        summary="Finds, names and counts white blood cells in microscope fields of blood smears.",
        description=NOTICE,
        docs_url=None,
        redoc_url=None,
    )

    app.add_middleware(Measured, metrics=metrics)

    # A client that still sends when the time of grace is over is told that the service ends.
    sent = queue.unless_ended
    # A picture that was fetched is in memory until it is analysed, of whichever request it is.
    fetching = asyncio.Semaphore(queue.workers)

    def named(named_picture: NamedPicture) -> Picture:
        if named_picture.path is not None:
            path = limits.allowed.path(named_picture.path)
            return Picture(path.name, path=path)
        url = limits.allowed.check_url(named_picture.url or "")
        return Picture(PurePosixPath(unquote(urlsplit(url).path)).name, url=url)

    async def fetched(picture: Picture, url: str) -> Picture:
        arriving = asyncio.to_thread(download, url, settings, limits.allowed.url)
        try:
            return replace(picture, data=await queue.unless_ended(arriving))
        except FieldError as error:
            return replace(picture, problem=str(error))

    async def analyze_all(pictures: Sequence[Picture]) -> list[FieldResult]:
        # No more of a batch wait for a worker than there are workers: others get their turn.
        turns = asyncio.Semaphore(queue.workers)

        async def one(picture: Picture) -> list[FieldResult]:
            async with turns:
                if picture.url is None:
                    return await queue.run(lambda: analysis.analyze(picture))
                async with fetching:
                    there = await fetched(picture, picture.url)
                    return await queue.run(lambda: analysis.analyze(there))

        tasks = [asyncio.ensure_future(one(picture)) for picture in pictures]
        try:
            found = [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
        # A picture may be called as a field of a TIFF is: x.tif#2. The field keeps the name, in
        # whichever order they were sent: else it would be taken for another one of the TIFF.
        results = [result for each in found for result in each]
        alone = [len(each) == 1 for each in found for _ in each]
        order = sorted(range(len(results)), key=alone.__getitem__)
        names = dict(zip(order, numbered([results[n].file for n in order]), strict=True))
        return [replace(result, file=names[n]) for n, result in enumerate(results)]

    @app.exception_handler(Problem)
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        await forget(request, limits.body)
        return Response(error.body(), error.status, error.headers())

    @app.exception_handler(HTTPException)
    async def no_such(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = {404: "no-such-path", 405: "no-such-method"}.get(error.status_code, "refused")
        problem = Problem(error.status_code, kind, f"{request.method} {request.url.path[:200]}")
        return Response(
            problem.body(), error.status_code, {**(error.headers or {}), **problem.headers()}
        )

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        return await refused(request, Problem(422, "malformed", f"{where}: {first['msg']}"))

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        # The traceback is logged by the server.
        problem = Problem(500, "internal", "the service failed; its log says how")
        return Response(problem.body(), problem.status, problem.headers())

    @app.post(
        "/v1/analyze", openapi_extra=_takes(_SINGLE), responses=_RESULTS, summary="One picture"
    )
    async def analyze(request: Request, name: Name = "picture") -> Response:
        """Find and name the white cells of one picture: sent as the body, or named by JSON.

        A picture that cannot be read is a problem of status 422.
        """
        check_query(request, "name")
        with queue.place(limits.held) as hold, metrics.inside.track_inprogress():
            kind = kind_of(request)
            if kind == _JSON:
                picture = named(await sent(read_json(request, NamedPicture, hold)))
                if "name" in request.query_params:
                    picture = replace(picture, name=name)
            elif kind == BYTES or kind.startswith("image/"):
                picture = Picture(name, await sent(read_bytes(request, limits.body, hold)))
            else:
                raise _wrong_type(kind, f"image/..., {BYTES} or {_JSON}")
            picture = replace(picture, name=unique_names([picture.name])[0])
            results = await analyze_all([picture])
            if len(results) == 1 and results[0].failure is not None:
                raise _unreadable(results[0].failure)
            return Response(analysis.document(results), media_type=_JSON)

    @app.post(
        "/v1/batch", openapi_extra=_takes(_BATCH), responses=_RESULTS, summary="Several pictures"
    )
    async def batch(request: Request) -> Response:
        """Find and name the white cells of several pictures, in one results document.

        A picture that cannot be read has a record with the reason, `failure`.
        """
        check_query(request)
        with queue.place(limits.held) as hold, metrics.inside.track_inprogress():
            kind = kind_of(request)
            if kind == _JSON:
                named_pictures = (await sent(read_json(request, NamedPictures, hold))).pictures
                _check_number(len(named_pictures), limits.batch)
                pictures = [named(named_picture) for named_picture in named_pictures]
            elif kind == _FORM:
                files = await sent(read_form(request, limits.body, limits.batch, hold))
                pictures = [Picture(file, data) for file, data in files]
            else:
                raise _wrong_type(kind, f"{_FORM} or {_JSON}")
            names = unique_names([picture.name for picture in pictures])
            pictures = [
                replace(picture, name=name) for picture, name in zip(pictures, names, strict=True)
            ]
            results = await analyze_all(pictures)
            return Response(analysis.document(results), media_type=_JSON)

    @app.get(
        "/health",
        summary="Whether it takes requests",
        responses={503: {"description": "It is ending"}},
    )
    async def health() -> JSONResponse:
        """Say whether requests are taken. It needs no token."""
        state = "ending" if queue.ending else "ok"
        document = {"status": state, "wbcdet": __version__, "inside": queue.inside}
        return JSONResponse(document, 503 if queue.ending else 200)

    @app.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def figures() -> Response:
        """Give counters, times and the length of the queue, in the format of Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        text = render_page(__file__, document=app.openapi(), notice=NOTICE, limits=limits)
        return HTMLResponse(text, headers={"content-security-policy": _PAGE_POLICY})

    return app


class Measured:
    """ASGI middleware that counts and times the requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def take() -> Message:
            message = await receive()
            scope[BODY_READ] = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, take, answer)
        finally:
            # Of an unknown path only that it is one: there is no end of them.
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.request_seconds.labels(path).observe(time.monotonic() - start)


_NAMED = NamedPicture.model_json_schema()
_SINGLE = {
    "image/*": {"schema": {"type": "string", "format": "binary"}},
    BYTES: {"schema": {"type": "string", "format": "binary"}},
    _JSON: {"schema": _NAMED},
}
_BATCH = {
    _FORM: {
        "schema": {
            "type": "object",
            "required": ["pictures"],
            "properties": {
                "pictures": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string", "format": "binary"},
                }
            },
            "additionalProperties": False,
        }
    },
    _JSON: {
        "schema": {
            "type": "object",
            "required": ["pictures"],
            "properties": {"pictures": {"type": "array", "minItems": 1, "items": _NAMED}},
        }
    },
}
_PROBLEM: dict[str, object] = {
    "description": "Why the request is refused (RFC 9457)",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    },
}
_RESULTS: dict[int | str, dict[str, object]] = {
    200: {
        "description": f"A results document ({FORMAT})",
        "content": {
            _JSON: {"schema": {"type": "object", "required": ["format", "info", "fields"]}}
        },
    },
    "default": _PROBLEM,
    **{
        status: {**_PROBLEM, "description": text}
        for status, text in (
            (400, "The body is broken"),
            (401, "No token, or a wrong one"),
            (403, "The address or path may not be named"),
            (408, "The body came too slowly"),
            (413, "The body is too large"),
            (415, "The body is of another type"),
            (422, "The picture cannot be read, or the request is malformed"),
            (429, "The queue is full; Retry-After says when to ask again"),
            (503, "The service is ending"),
        )
    },
}


def _takes(content: Mapping[str, object]) -> dict[str, object]:
    return {"requestBody": {"required": True, "content": content}}


def _unreadable(why: str) -> Problem:
    return Problem(422, "unreadable-picture", f"the picture cannot be read: {why}")


def _wrong_type(kind: str, wanted: str) -> Problem:
    said = kind[:100] or "none"
    return Problem(415, "wrong-type", f"content-type is {said}; send {wanted}")


def _check_number(number: int, most: int) -> None:
    if number > most:
        raise Problem(413, "too-many", f"{number} pictures in a batch; send {most} at most")

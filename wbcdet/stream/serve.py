"""The live page: picture, differential and buttons in a browser on this computer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import cv2
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from wbcdet.draw import colour_of
from wbcdet.records import NOTICE
from wbcdet.stream.overlay import Overlay
from wbcdet.stream.session import Look
from wbcdet.stream.surfaces import Command, Status

_PAGE = Path(__file__).parent / "page"
_FILES = {"page.js": "text/javascript", "page.css": "text/css"}
#: Seconds between two pictures on the page, and how long a page that is gone is still drawn for.
_PICTURE_S, _GONE_S = 0.08, 3.0
_QUALITY = 85
#: Header that the page sends with every command: a browser lets no page of another site set it.
_OURS = "x-wbcdet"


class ServeError(RuntimeError):
    """The page cannot be served; one line."""


class Server:
    """Serves the page from a thread of its own until the stream ends.

    Any number of tabs may look and steer. Requests that another site makes the browser send are
    refused.

    Args:
        title: what is watched.
        ask: takes the commands.
        overlay: draws the frames.
        host, port: where to listen; port 0 takes a free one.

    Raises:
        ServeError: the port is taken, or the address is not one of this computer.
    """

    def __init__(
        self, title: str, ask: Callable[[Command], None], overlay: Overlay, host: str, port: int
    ) -> None:
        self._title = title
        self._ask = ask
        self._overlay = overlay
        self._jpeg = b""
        self._drawn = self._wanted = 0.0
        self._status: dict[str, Any] = {"state": "waiting", "title": title, "notice": NOTICE}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(64)  # the page may be asked for before its server runs
        except OSError as error:
            listener.close()
            raise ServeError(
                f"the live page cannot listen on {host} port {port} "
                f"({error.strerror or error}); choose another --port"
            ) from error
        self.port = int(listener.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/"
        config = uvicorn.Config(
            make_app(self, host), log_level="warning", lifespan="off", access_log=False
        )
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [listener]},
            name="wbcdet-page",
            daemon=True,
        )
        self._thread.start()

    def show(self, look: Look | None, status: Status) -> None:
        """See :class:`~wbcdet.stream.surfaces.Surface`."""
        self._status = {**to_json(status), "title": self._title, "notice": NOTICE}
        now = time.monotonic()
        # Nothing is drawn where nobody looks.
        if look is None or now - self._drawn < _PICTURE_S or now - self._wanted > _GONE_S:
            return
        self._drawn = now
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        done, data = cv2.imencode(".jpg", self._overlay.of(look), options)
        if done:
            self._jpeg = data.tobytes()

    def close(self) -> None:
        """End the page: tabs that are open are told."""
        self._status = {**self._status, "state": "ended"}
        time.sleep(0.6)  # a tab asks every half second
        self._server.should_exit = True
        self._thread.join(timeout=3.0)

    def status(self) -> dict[str, Any]:
        """What the page shows beside the picture."""
        return self._status

    def command(self, name: str) -> bool:
        """Take a command of the page; False where there is no such."""
        if name not in get_args(Command):
            return False
        self._ask(name)  # type: ignore[arg-type]
        return True

    def picture(self) -> bytes:
        """The live picture as a JPEG file; empty before the first."""
        self._wanted = time.monotonic()
        return self._jpeg


def to_json(status: Status) -> dict[str, Any]:
    """A status as the page takes it."""
    found = status.differential
    return {
        "slide": status.slide,
        "state": status.state,
        "message": status.message,
        "fps": round(status.fps, 1),
        "lag_s": round(status.lag_s, 2),
        "target": found.target,
        "classified": found.classified,
        "unclassified": sum(found.unclassified.values()),
        "shares": [
            {
                "label": share.label,
                "count": share.count,
                "percent": share.percent,
                "low": share.ci_low,
                "high": share.ci_high,
                "range": [share.range.low, share.range.high] if share.range else None,
                "flag": share.flag,
                "colour": colour_of(share.label),
            }
            for share in found.shares()
        ],
    }


def make_app(server: Server, host: str) -> FastAPI:
    """The page's requests."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # A name that a stranger's server resolves to this computer is not ours.
    if host in ("127.0.0.1", "localhost", "::1"):
        app.add_middleware(
            TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]", "::1"]
        )

    @app.middleware("http")
    async def guard(request: Request, answer: Any) -> Any:
        response = await answer(request)
        response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/")
    def page() -> Response:
        return FileResponse(_PAGE / "page.html", media_type="text/html")

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return server.status()

    # One picture at a time: an endless answer would hold one of a browser's few connections, and a
    # few tabs all of them.
    @app.get("/live.jpg")
    async def live() -> Response:
        picture = server.picture()
        return Response(picture, 200 if picture else 503, media_type="image/jpeg")

    @app.get("/{name}")
    def file(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404)
        return FileResponse(_PAGE / name, media_type=_FILES[name])

    @app.post("/command/{name}")
    async def command(name: str, request: Request) -> dict[str, bool]:
        if not _own(request.headers.get("origin"), request.headers.get("host")):
            raise HTTPException(403, "commands are taken from the live page only")
        if _OURS not in request.headers:
            raise HTTPException(403, f"commands need the header {_OURS}")
        if not server.command(name):
            raise HTTPException(404, "no such command")
        return {"done": True}

    return app


def _own(origin: str | None, host: str | None) -> bool:
    """A request comes from the page itself, or from a program that is no browser."""
    return origin is None or origin == f"http://{host}"

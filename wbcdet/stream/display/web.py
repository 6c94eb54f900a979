"""The live page: picture, differential and buttons in a browser on this computer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

import cv2
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field

from wbcdet.differential.differential import Share
from wbcdet.io.ownership import signed
from wbcdet.records import LABELS, NOTICE
from wbcdet.results.palette import colour_of
from wbcdet.stream.cell_counter import NO_CELL, FrameResult
from wbcdet.stream.display.base import Command, Overview, Relabel, Status, Steer
from wbcdet.stream.display.overlay import Overlay
from wbcdet.utils.safe_files import inside, own_file
from wbcdet.utils.web.bind import BoundAddress
from wbcdet.utils.web.guard import REPORT_POLICY
from wbcdet.utils.web.malformed import answer_malformed
from wbcdet.utils.web.server import make_server
from wbcdet.utils.web.words import words_script

_PAGE = Path(__file__).parent / "page"
_FILES = {"page.js": "text/javascript", "page.css": "text/css"}
#: Seconds between two pictures on the page, and how long a page that is gone is still drawn for.
_PICTURE_S, _GONE_S = 0.08, 3.0
#: Seconds without a question of a tab after which none is open; hidden ones ask every second.
_LEFT_S = 5.0
#: What of a report is shown in a browser.
_REPORT_TYPES = {
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".csv": "text/csv",
    ".pdf": "application/pdf",
}
#: Seconds between two overviews of the slide.
_OVERVIEW_S = 0.5
_QUALITY = 85


class Ask(BaseModel):
    """Command that a button of the page sends."""

    command: Steer


#: Names that a person may give to a cell, beside those that the classifier was taught.
_NAMES = (*map(str, LABELS), NO_CELL)


class Name(BaseModel):
    """Label that a person gives to a cell; null restores wbcdet's own."""

    cell: int = Field(ge=1, lt=1 << 31)
    label: str | None = Field(None, max_length=40)


class Server:
    """Serves the page from a separate thread: the stream while it runs, then its report.

    Any number of tabs may look and steer.

    Args:
        title: what is watched.
        listening: where the page is served.
    """

    def __init__(self, title: str, listening: BoundAddress) -> None:
        self._title = title
        self._ask: Callable[[Command], None] | None = None
        self._overlay: Overlay | None = None
        self._jpeg = b""
        self._result: FrameResult | None = None
        self._drawn = self._wanted = self._overviewed = 0.0
        self._polled = float("-inf")
        self._overview: dict[str, object] = {}
        self._thumbnails: dict[int, bytes] = {}
        self._status: dict[str, object] = {"state": "waiting", "title": title, "notice": NOTICE}
        self._report: Path | None = None
        self._server = make_server(make_app(self), "stream", listening)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [listening.socket]},
            name="wbcdet-page",
            daemon=True,
        )
        self._thread.start()

    def begin(self, ask: Callable[[Command], None], overlay: Overlay) -> None:
        """Begin to show a stream.

        Args:
            ask: takes the commands.
            overlay: draws the frames.
        """
        self._ask, self._overlay = ask, overlay

    def command(self, command: Command) -> None:
        """Do what a tab asks for; nothing before the stream begins and after it has ended."""
        if self._ask is not None:
            self._ask(command)

    def show(self, result: FrameResult | None, status: Status) -> None:
        """See :class:`~wbcdet.stream.display.base.Display`."""
        now = time.monotonic()
        if (
            status.overview is not None
            and now - self._overviewed >= _OVERVIEW_S
            and now - self._wanted <= _GONE_S
        ):
            self._overviewed = now
            overview = status.overview()
            self._thumbnails = {cell.number: cell.picture for cell in overview.recent}
            self._overview = overview_to_json(overview)
        self._status = {
            **to_json(status), "title": self._title, "notice": NOTICE, "overview": self._overview,
        }  # fmt: skip
        self._result = result or self._result  # for those who open the page when no new frame comes
        # Nothing is drawn where nobody looks.
        if self._result is None or now - self._drawn < _PICTURE_S or now - self._wanted > _GONE_S:
            return
        assert self._overlay is not None
        result, self._result = self._result, None
        self._drawn = now
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        done, data = cv2.imencode(".jpg", self._overlay.of(result), options)
        if done:
            self._jpeg = signed(data.tobytes())

    def close(self) -> None:
        """Tell the tabs that the stream has ended, and its report is being written."""
        self._ask = None
        self._status = {**self._status, "state": "ended"}

    def show_report(self, folder: Path) -> None:
        """Serve the report as long as a tab is open; Ctrl-C ends that too.

        Args:
            folder: the report, which is whole now.
        """
        self._report = folder
        self._status = {**self._status, "report_at": "report/report.html"}
        while time.monotonic() - self._polled < _LEFT_S:
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(timeout=3.0)

    def status(self) -> dict[str, object]:
        """Return the status that the page shows beside the picture."""
        self._polled = time.monotonic()
        return self._status

    def report_file(self, name: str) -> Path | None:
        """Return a page, picture or table of the report; None where it has none of that name."""
        if self._report is None or PurePosixPath(name).suffix not in _REPORT_TYPES:
            return None
        try:
            path = inside(self._report, name)
            own_file(path.parent, path.name)
            return path if path.is_file() else None
        except OSError:
            return None

    def thumbnail(self, cell: int) -> bytes:
        """Return a recent cell as a JPEG file; empty where there is no such picture."""
        return self._thumbnails.get(cell, b"")

    def picture(self) -> bytes:
        """Return the live picture as a JPEG file; empty before the first."""
        self._wanted = time.monotonic()
        return self._jpeg


def to_json(status: Status) -> dict[str, object]:
    """Return a status as the page takes it."""
    differential = status.differential
    return {
        "slide": status.slide,
        "state": status.state,
        "message": status.message,
        "warning": status.warning,
        "report": status.report,
        "fps": round(status.fps, 1),
        "lag_s": round(status.lag_s, 2),
        "target": differential.target,
        "classified": differential.classified,
        "unclassified": sum(differential.unclassified.values()),
        "white_cells": differential.white_cells,
        "ground": status.ground,
        "thresholds": status.thresholds,
        "taught": status.taught,
        "shares": [
            _share(share) | {"colour": colour_of(share.label)} for share in differential.shares()
        ],
        "together": [
            _share(share) | {"labels": differential.labels_of(share.label)}
            for share in differential.together()
        ],
        "reasons": [_share(share) for share in differential.reasons()],
    }


def _share(share: Share) -> dict[str, object]:
    return {
        "label": share.label,
        "count": share.count,
        "percent": share.percent,
        "low": share.ci_low,
        "high": share.ci_high,
        "percent_text": share.percent_text,
        "interval_text": share.interval_text,
        "range": [share.range.low, share.range.high] if share.range else None,
        "flag": share.flag,
    }


def overview_to_json(overview: Overview) -> dict[str, object]:
    """Return the slide so far as the page takes it; corners and centres in pixels of the frames."""
    return {
        "recent": [
            {
                "cell": cell.number,
                "label": cell.label,
                "reason": cell.reason,
                "colour": colour_of(cell.label),
                "by_person": cell.by_person,
            }
            for cell in overview.recent
        ],
        "scanned": [[round(side) for side in corners] for corners in overview.scanned],
        "cells": [[round(x), round(y), colour_of(label)] for x, y, label in overview.cells],
        "here": overview.here and [round(side) for side in overview.here],
        "maps": overview.maps,
    }


def make_app(server: Server) -> FastAPI:
    """Return the application that answers the page's requests."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    answer_malformed(app)

    @app.get("/")
    def page() -> Response:
        return FileResponse(_PAGE / "page.html", media_type="text/html")

    @app.get("/status")
    async def status() -> dict[str, object]:
        return server.status()

    # One picture at a time: an endless answer would hold one of a browser's few connections, and a
    # few tabs all of them.
    @app.get("/live.jpg")
    async def live() -> Response:
        picture = server.picture()
        return Response(picture, 200 if picture else 503, media_type="image/jpeg")

    @app.get("/cell/{number}.jpg")
    async def cell(number: int) -> Response:
        picture = server.thumbnail(number)
        return Response(picture, 200 if picture else 404, media_type="image/jpeg")

    @app.get("/words.js")
    def words(request: Request) -> Response:
        return words_script(request)

    @app.get("/report/{name:path}")
    def report(name: str) -> Response:
        path = server.report_file(name)
        if path is None:
            raise HTTPException(404)
        kind = _REPORT_TYPES[path.suffix]
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return FileResponse(path, media_type=kind, headers=headers)

    @app.get("/{name}")
    def file(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404)
        return FileResponse(_PAGE / name, media_type=_FILES[name])

    def running() -> None:
        # What comes after the end, before the page has asked again, changes nothing any more.
        if server.status().get("state") == "ended":
            raise HTTPException(409, "The stream has ended; its report is being written.")

    @app.post("/command", dependencies=[Depends(running)])
    async def command(said: Ask) -> dict[str, bool]:
        server.command(said.command)
        return {"done": True}

    @app.post("/relabel", dependencies=[Depends(running)])
    async def relabel(said: Name) -> dict[str, bool]:
        taught = server.status().get("taught", ())
        assert isinstance(taught, Collection)
        if said.label is not None and said.label not in (*_NAMES, *taught):
            raise HTTPException(422, "no such name: take one of the four, a taught one or no cell")
        server.command(Relabel(said.cell, said.label))
        return {"done": True}

    return app

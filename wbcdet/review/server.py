"""Web server of the review page: requests and answers, not the rules of reviewing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from wbcdet.records import NOTICE
from wbcdet.review.cell_state import ChangeError, ConflictError, Key, LabelChange
from wbcdet.review.decision_store import StoreError
from wbcdet.review.images import CROP_SIDES, TILE, PictureError
from wbcdet.review.reader_agreement import note_shown
from wbcdet.review.serializers import cell_row, colours_of, label_row, readers_page, report_page
from wbcdet.review.session import Session
from wbcdet.review.signature_log import SignatureEntry, SigningError
from wbcdet.review.slide_viewer import slide_routes
from wbcdet.utils.web.guard import REPORT_POLICY
from wbcdet.utils.web.malformed import answer_malformed
from wbcdet.utils.web.words import words_script

_STATIC = Path(__file__).parent / "static"

#: Cells in one change, and levels of a field's tiles.
_MAX_CELLS, _MAX_LEVEL = 20_000, 16
#: Seconds after which a quiet stream of events says that it is alive.
_ALIVE_S = 20.0
_OTHER_REPORT = "this page shows another report; load it again"
_NOT_SECOND = "the second reader sees nothing of the first one's reading"
_PICTURE_HEADERS = {"Cache-Control": "private, max-age=3600"}
Name = Annotated[str, Field(min_length=1, max_length=40)]
Group = Annotated[str, Field(max_length=4096)]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class CellWish(BaseModel):
    """Requested label of one cell."""

    field: int
    cell: int
    seen: int
    label: Name


class Ask(BaseModel):
    """Fields of every write: which report, who, and what the page has and shows."""

    mark: Annotated[str, Field(max_length=64)]
    who: Name
    since: int = 0
    group: Group | None = None


class ChangeAsk(Ask):
    cells: Annotated[list[CellWish], Field(min_length=1, max_length=_MAX_CELLS)]


class DrawAsk(Ask):
    field: int
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate]
    label: Name


class MoveAsk(Ask):
    field: int
    cell: int
    seen: int
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate]


class ReadersAsk(BaseModel):
    mark: Annotated[str, Field(max_length=64)]


class SignAsk(Ask):
    note: Annotated[str, Field(max_length=500)] = ""
    slide: Group | None = None


def build(session: Session) -> FastAPI:
    """Return the application for one report."""
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", title="wbcdet review"
    )
    answer_malformed(app)
    state, pictures = session.state, session.pictures

    def news(since: int, group: str | None, **more: Any) -> dict[str, object]:
        """Return what has changed since a decision, with the differential as it is now."""
        group = group if group in state.report.groups else None
        with state.turn:
            changed = list(state.since(since))
            return {
                "mark": session.mark,
                "last": state.last,
                "group": group,
                "cells": [cell_row(state, key) for key in changed],
                "colours": colours_of(state, changed),
                "differential": session.differential(group),
                "signed": session.signed(group),
                **more,
            }

    def written(ask: Ask) -> None:
        # A page of another report stays open when its server ends, and finds this one.
        if ask.mark != session.mark:
            raise ConflictError(_OTHER_REPORT)

    def shown(mark: str | None = None) -> None:
        # The browser keeps pictures by their address: none of this report under another's mark.
        if mark not in (None, session.mark):
            raise PictureError(_OTHER_REPORT)

    of_report = [Depends(shown)]

    def picture(data: bytes) -> Response:
        return Response(data, media_type="image/jpeg", headers=_PICTURE_HEADERS)

    def key_of(field: int, cell: int) -> Key:
        if (field, cell) not in state.cells:
            raise PictureError("there is no such cell")
        return field, cell

    @app.exception_handler(ChangeError)
    def refused(_request: Request, error: Exception) -> Response:
        status = 409 if isinstance(error, ConflictError) else 400
        return JSONResponse({"error": str(error), **news(0, None)}, status)

    @app.exception_handler(SigningError)
    def unsigned(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 409)

    @app.exception_handler(PictureError)
    def no_picture(_request: Request, error: Exception) -> Response:
        return Response(str(error), 404, media_type="text/plain; charset=utf-8")

    @app.exception_handler(StoreError)
    def no_reading(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 409)

    @app.exception_handler(OSError)
    def disk_full(_request: Request, error: Exception) -> Response:
        why = getattr(error, "strerror", None) or str(error)
        return JSONResponse({"error": f"cannot be written: {why}"}, 507)

    @app.get("/")
    def page() -> Response:
        return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/words.js")
    def words(request: Request) -> Response:
        return words_script(request)

    @app.get("/api/report")
    def report() -> Response:
        with state.turn:
            start = {
                **report_page(session),
                **news(0, None),
                "cells": [cell_row(state, key) for key in state.cells],
                "colours": colours_of(state, state.cells),
                "labels": label_row(state.report.info),
                "notice": NOTICE,
                "tile": TILE,
                "crops": CROP_SIDES,
            }
        # Plain dumps: the encoder of the framework takes a second for 10,000 cells.
        return Response(json.dumps(start), media_type="application/json")

    @app.get("/api/changes")
    def changes(since: int = 0, group: Group | None = None) -> dict[str, object]:
        return news(since, group)

    @app.post("/api/change")
    def change(ask: ChangeAsk) -> dict[str, object]:
        written(ask)
        changes = [
            LabelChange((cell.field, cell.cell), cell.seen, cell.label) for cell in ask.cells
        ]
        state.change(ask.who, changes)
        return news(ask.since, ask.group)

    @app.post("/api/draw")
    def draw(ask: DrawAsk) -> dict[str, object]:
        written(ask)
        key = session.draw(ask.who, ask.field, ask.box, ask.label)
        return news(ask.since, ask.group, drawn=key)

    @app.post("/api/move")
    def move(ask: MoveAsk) -> dict[str, object]:
        written(ask)
        state.move(ask.who, (ask.field, ask.cell), ask.seen, ask.box)
        return news(ask.since, ask.group)

    @app.post("/api/undo")
    def undo(ask: Ask) -> dict[str, object]:
        written(ask)
        touched = state.undo(ask.who)
        return news(ask.since, ask.group, touched=touched)

    @app.post("/api/redo")
    def redo(ask: Ask) -> dict[str, object]:
        written(ask)
        touched = state.redo(ask.who)
        return news(ask.since, ask.group, touched=touched)

    @app.post("/api/sign")
    def sign(ask: SignAsk) -> dict[str, object]:
        written(ask)
        entry = session.sign(ask.who, ask.note, ask.since, ask.slide)
        return news(ask.since, ask.group, entry=entry)

    @app.get("/readers")
    def readers_html() -> Response:
        if session.second:
            raise PictureError(_NOT_SECOND)
        return FileResponse(_STATIC / "readers.html", headers={"Cache-Control": "no-cache"})

    # A write: what is shown here counts from now on as known to the first reader.
    @app.post("/api/readers")
    def readers(ask: ReadersAsk) -> dict[str, object]:
        if session.second:
            raise PictureError(_NOT_SECOND)
        if ask.mark != session.mark:
            raise ConflictError(_OTHER_REPORT)
        with state.turn:
            shown = readers_page(state, session.readers())
            if shown["differing"]:
                note_shown(session.store, state.last)
            return shown

    # Its lines are as they were written: pydantic has no say in them (and reads no TypedDict of
    # typing before Python 3.12).
    @app.get("/api/log", response_model=None)
    def log() -> list[SignatureEntry]:
        return session.log()

    @app.get("/thumb/{field}/{cell}", dependencies=of_report)
    def thumb(field: int, cell: int) -> Response:
        return picture(pictures.thumbnail(key_of(field, cell)))

    @app.get("/crop/{field}/{cell}/{side}", dependencies=of_report)
    def crop(field: int, cell: int, side: int) -> Response:
        if side not in CROP_SIDES:
            raise PictureError("there is no crop of that size")
        return picture(pictures.crop(key_of(field, cell), side))

    @app.get("/tile/{field}/{level}/{column}/{row}", dependencies=of_report)
    def tile(field: int, level: int, column: int, row: int) -> Response:
        if not 0 <= level <= _MAX_LEVEL or column < 0 or row < 0:
            raise PictureError("there is no such part of the field")
        return picture(pictures.tile(field, level, column, row))

    @app.get("/api/events")
    def events(request: Request) -> Response:
        return StreamingResponse(_events(session, request), media_type="text/event-stream")

    @app.get("/reviewed/{path:path}")
    async def signed_report(path: str, request: Request) -> Response:
        if path not in session.signed_files():
            raise PictureError("there is no such file in the signed report")
        place = StaticFiles(directory=session.reviewed_folder, check_dir=False)
        response = await place.get_response(path, request.scope)
        response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response

    app.include_router(slide_routes(session, _STATIC))
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return app


async def _events(session: Session, request: Request) -> AsyncIterator[str]:
    """Return the number of the last decision, whenever it changes; pages fetch the rest
    themselves."""
    last = -1
    with session.waiting() as changed:
        while not await request.is_disconnected():
            changed.clear()
            if session.state.last != last:
                last = session.state.last
                yield f"data: {last}\n\n"
            else:
                yield ": alive\n\n"
            try:
                await asyncio.wait_for(changed.wait(), _ALIVE_S)
            except asyncio.TimeoutError:
                continue

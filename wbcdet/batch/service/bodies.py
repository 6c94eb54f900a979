"""Bodies of requests: read within bounds, or refused with the reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from wbcdet.batch.service.problems import Problem

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: Takes bytes of a body into account.
Hold = Callable[[int], None]

#: Seconds in which a body must be there, and in which a refused one is read and forgotten.
BODY_S, FORGET_S = 60.0, 5.0
#: Bytes of a JSON body, which holds addresses and no picture.
_MAX_JSON = 1 << 20
#: What a body of bytes may call itself, beside ``image/...``.
BYTES = "application/octet-stream"

#: Key of a request's scope: nothing is left of its body.
BODY_READ = "wbcdet.body_read"


class NamedPicture(BaseModel):
    """A picture that is not sent: its address, or its path where the service runs."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, min_length=1, max_length=4096)
    path: str | None = Field(None, min_length=1, max_length=4096)

    @model_validator(mode="after")
    def _one_of_them(self) -> NamedPicture:
        if (self.url is None) == (self.path is None):
            raise ValueError("give either url or path")
        return self


class NamedPictures(BaseModel):
    """Several of them."""

    model_config = ConfigDict(extra="forbid")

    pictures: list[NamedPicture] = Field(min_length=1)


def check_query(request: Request, *known: str) -> None:
    """See that the address of a request asks for nothing that would be ignored.

    Raises:
        Problem: it does, or says something twice.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            takes = f"takes {', '.join(known)} alone" if known else "takes nothing"
            raise Problem(
                422,
                "malformed",
                f"query {name[:200]}: is not known; {request.url.path} {takes}, settings are "
                "options of wbcdet serve",
            )
        if names.count(name) > 1:
            raise Problem(422, "malformed", f"query {name}: stands twice; give it once")


def kind_of(request: Request) -> str:
    """Return the type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_bytes(request: Request, limit: int, hold: Hold) -> bytes:
    """Return the body of a request.

    Args:
        request: the request.
        limit: bytes that it may have.
        hold: told of the bytes of each part before it is kept; raises ``Problem`` where all
            requests together would hold too many.

    Raises:
        Problem: it is too large, too slow, or was broken off; or as ``hold``.
    """
    return await _in_time(_joined(request, limit, hold))


async def read_json(request: Request, model: type[M], hold: Hold) -> M:
    """Return the body of a request as JSON.

    Raises:
        Problem: it is not JSON, or of another form.
    """
    data = await read_bytes(request, _MAX_JSON, hold)
    try:
        read = model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Problem(422, "malformed", f"{where[:200]}: {first['msg']}") from error
    json.loads(data, object_pairs_hook=_once_each)
    return read


def _once_each(pairs: list[tuple[str, object]]) -> None:
    # Of two lists of pictures under one name, the first would be in no count.
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Problem(422, "malformed", f"{twice[:200]}: stands twice; give it once")


class _Form(MultiPartParser):
    """A form of which it is known whether it has come to its end."""

    is_whole = False

    def on_end(self) -> None:
        self.is_whole = True


async def read_form(request: Request, limit: int, most: int, hold: Hold) -> list[tuple[str, bytes]]:
    """Names and bytes of the pictures in a form (``multipart/form-data``).

    Raises:
        Problem: it is no such form, too large, cut short, or holds no picture, too many, or
            anything else.
    """
    parser = _Form(request.headers, _bounded(request, limit, hold), max_files=most, max_fields=16)
    try:
        form = await _in_time(parser.parse())
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        said = getattr(error, "message", None) or "it is no multipart/form-data"
        raise Problem(400, "malformed", f"the form cannot be read: {said}") from error
    try:
        if not parser.is_whole and form:
            # The parser passes over the part that was being sent, and those that were to come.
            raise Problem(
                400,
                "malformed",
                "the form is cut short: its closing boundary is missing; send it again",
            )
        files = []
        for field, part in form.multi_items():
            if not isinstance(part, UploadFile):
                raise Problem(
                    422,
                    "malformed",
                    f"{field[:200]}: is no file; send each picture as -F pictures=@FILE, and give "
                    "settings as options of wbcdet serve",
                )
            files.append(part)
        if not files:
            raise Problem(
                422, "malformed", "the form holds no file; send each as -F pictures=@FILE"
            )
        return [(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()


async def forget(request: Request, limit: int) -> None:
    """Read what is left of a refused body, within bounds, so that its sender learns why."""
    with suppress(Exception):
        await asyncio.wait_for(_spend(request, limit), FORGET_S)


async def _spend(request: Request, limit: int) -> None:
    left = limit
    while left > 0 and not request.scope.get(BODY_READ):
        message = await request.receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


async def _joined(request: Request, limit: int, hold: Hold) -> bytes:
    return b"".join([part async for part in _bounded(request, limit, hold)])


async def _bounded(request: Request, limit: int, hold: Hold) -> AsyncGenerator[bytes, None]:
    said = request.headers.get("content-length", "")
    length = 0
    if not (said.isdecimal() and int(said[:20]) > limit):
        async for part in request.stream():
            length += len(part)
            if length > limit:
                break
            hold(len(part))
            yield part
        else:
            return
    raise Problem(413, "too-large", f"the request has more than {limit / 1e6:g} MB")


async def _in_time(reading: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(reading, BODY_S)
    except asyncio.TimeoutError as error:
        raise Problem(408, "too-slow", f"the request was not sent in {BODY_S:g} s") from error
    except ClientDisconnect as error:
        raise Problem(400, "broken-off", "the request was broken off") from error

"""Bodies of requests: read within bounds, or refused with the reason."""

from __future__ import annotations

import asyncio
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
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Problem(422, "malformed", f"{where[:200]}: {first['msg']}") from error


async def read_form(request: Request, limit: int, most: int, hold: Hold) -> list[tuple[str, bytes]]:
    """Names and bytes of the pictures in a form (``multipart/form-data``).

    Raises:
        Problem: it is no such form, too large, or holds no picture or too many.
    """
    parser = MultiPartParser(
        request.headers, _bounded(request, limit, hold), max_files=most, max_fields=16
    )
    try:
        form = await _in_time(parser.parse())
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        said = getattr(error, "message", None) or "it is no multipart/form-data"
        raise Problem(400, "malformed", f"the form cannot be read: {said}") from error
    try:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise Problem(
                422, "malformed", "the form holds no file; send each as -F pictures=@FILE"
            )
        return [(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()


async def forget(request: Request, limit: int) -> None:
    """Read what is left of a refused body, within bounds, so that who sent it hears why."""
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

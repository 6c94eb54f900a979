"""Whom a service answers: programs that know a token."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.web.guard import with_headers

#: Letters of a token, at least: what is shorter can be guessed.
MIN_LETTERS = 16


class TokenError(WbcdetError, ValueError):
    """A file holds no usable tokens; the message is one line."""


def read_tokens(path: Path) -> list[str]:
    """Return the tokens in a file, one a line; empty lines and those that begin with # are passed
    over.

    Raises:
        TokenError: it cannot be read, holds none, or one that can be guessed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        raise TokenError(
            f"{path}: cannot be read ({why}); name a file with a token a line"
        ) from error
    tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not tokens:
        raise TokenError(f"{path}: holds no token; write one a line")
    for number, token in enumerate(tokens, 1):
        if len(token) < MIN_LETTERS or not token.isascii() or " " in token:
            raise TokenError(
                f"{path}: token {number} must have at least {MIN_LETTERS} letters of ASCII and no "
                "space; make one with: openssl rand -hex 24"
            )
    return tokens


class BearerGuard:
    """ASGI middleware that lets in requests with a token in ``Authorization: Bearer``.

    A browser does not send that header by itself, so a page of another site cannot ask in the name
    of its reader.

    Args:
        app: what is guarded.
        tokens: those that let in.
        public: paths that need none.
        refuse: answers a request without one; what it has of a body is not read.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: Sequence[str],
        public: Collection[str],
        refuse: Callable[[Scope, Receive, Send], Awaitable[None]],
    ) -> None:
        self._app, self._public, self._refuse = app, public, refuse
        self._known = [_digest(token) for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            await send(with_headers(message))

        if scope["path"] in self._public or self._is_known(Headers(scope=scope)):
            await self._app(scope, receive, answer)
        else:
            await self._refuse(scope, receive, answer)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = _digest(token.strip())
        # All are compared, so that the time tells nothing.
        matches = [secrets.compare_digest(given, known) for known in self._known]
        return scheme.lower() == "bearer" and any(matches)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()

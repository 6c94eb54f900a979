"""Whom a page answers: requests from other sites, hosts and persons are refused."""

from __future__ import annotations

import re
import secrets

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Names under which a browser reaches this computer only.
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
#: Headers that an answer may bring itself.
_UNLESS_GIVEN = (
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


class Guard:
    """ASGI middleware that lets in only the page that it guards.

    Without a token the server listens on this computer alone, and the ``Host`` of a request must
    be one of its names: a foreign name that was made to point here (DNS rebinding) is refused.
    With a token, that is what lets in: in the address first, in a cookie from then on.

    Args:
        app: what is guarded.
        kind: of page, for the name of its cookie.
        port: of the server.
        token: what must be known; None asks for none.
    """

    def __init__(self, app: ASGIApp, kind: str, port: int, token: str | None) -> None:
        self._app, self._token = app, token
        # Cookies know no ports: each server of a computer has its own.
        self._name = f"wbcdet-{kind}-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if scope["path"] == "/" and self._is_token(asked.query_params.get("token")):
            await _answer(send, 303, "", [(b"location", b"/"), self._cookie()])
            return
        refusal = self._refusal(scope, asked)
        if refusal is not None:
            await _answer(send, 403, f"{refusal}\n")
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                more = [header for header in _UNLESS_GIVEN if header[0] not in given]
                message["headers"] = [*message["headers"], *_HEADERS, *more]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Scope, asked: HTTPConnection) -> str | None:
        headers = asked.headers
        host = headers.get("host", "")
        # Whatever the port: a browser names none for 80, and a tunnel (ssh -L) has its own.
        if self._token is None and re.sub(r":\d+$", "", host.lower()) not in _LOOPBACK:
            return "Refused: this server answers under its own address only."
        site = headers.get("sec-fetch-site", "none")
        link = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not link:
            return "Refused: the request comes from another site."
        if scope["method"] not in ("GET", "HEAD"):
            # Browsers name the origin of every write; a page of another site cannot change it.
            if headers.get("origin") not in (f"http://{host}", f"https://{host}"):
                return "Refused: the request comes from another site."
            if not headers.get("content-type", "").startswith("application/json"):
                return "Refused: not JSON."
        if self._token is not None and not self._is_token(asked.cookies.get(self._name)):
            return "Refused: open the address that was printed, with its token."
        return None

    def _is_token(self, given: str | None) -> bool:
        if given is None or self._token is None:
            return False
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _cookie(self) -> tuple[bytes, bytes]:
        # Strict would refuse who follows the address from a mail; writes are guarded above.
        value = f"{self._name}={self._token}; HttpOnly; SameSite=Lax; Path=/"
        return b"set-cookie", value.encode()


async def _answer(
    send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = text.encode()
    start = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *_HEADERS,
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})

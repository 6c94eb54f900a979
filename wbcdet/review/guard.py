"""Who may talk to the server: requests from other sites, hosts and persons are refused."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Names under which a browser reaches this computer only.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: The regenerated report brings its own, stricter policy and has its style inside.
_REPORT_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Guard:
    """ASGI middleware that lets only the review page itself in.

    Without a token the server listens on this computer alone, and the ``Host`` of a request must
    be one of its names: a foreign name that was made to point here (DNS rebinding) is refused.
    With a token, that is what lets in: in the address first, in a cookie from then on.

    Args:
        app: what is guarded.
        port: of the server.
        token: what must be known; None asks for none.
    """

    def __init__(self, app: App, port: int, token: str | None) -> None:
        self._app, self._token = app, token
        self._hosts = {f"{name}:{port}" for name in LOOPBACK}
        # Cookies know no ports: each server of a computer has its own.
        self._name = f"wbcdet-review-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and given and self._is_token(given):
            await _answer(send, 303, "", [(b"location", b"/"), self._cookie()])
            return
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, 403, f"{refusal}\n")
            return
        policy = _REPORT_POLICY if scope["path"].startswith("/reviewed/") else _POLICY

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = [*_HEADERS, (b"content-security-policy", policy.encode())]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    more.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> str | None:
        host = headers.get("host", "")
        if self._token is None and host.lower() not in self._hosts:
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
        if self._token is not None:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._name)
            if cookie is None or not self._is_token(cookie.value):
                return "Refused: open the address that wbcdet review has printed, with its token."
        return None

    def _is_token(self, given: str) -> bool:
        return self._token is not None and secrets.compare_digest(
            given.encode(), self._token.encode()
        )

    def _cookie(self) -> tuple[bytes, bytes]:
        value = f"{self._name}={self._token}; HttpOnly; SameSite=Strict; Path=/"
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

"""Guard a page: refuse requests from other sites, hosts and persons, and large ones."""

from __future__ import annotations

import re
import secrets

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wbcdet.utils.web.bind import BoundAddress

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

#: Of a report, which has no script, and its style inside.
REPORT_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


#: Largest body of a request, in bytes; 20,000 cells in one change take 1.5 MB.
MAX_BYTES = 4 << 20
#: Bytes of a larger one that are read and dropped, so that the sender learns why it is refused.
_MAX_FORGOTTEN = 512 << 20


class Guard:
    """ASGI middleware that lets in only the page that it guards.

    The token is what lets in: in the address first, in a cookie from then on. Where this computer
    alone can reach the server, the ``Host`` of a request must also be one of its names: a foreign
    name that was made to point here (DNS rebinding) is refused.

    Args:
        app: what is guarded.
        kind: of page, for the name of its cookie.
        listening: where the server runs.
    """

    def __init__(self, app: ASGIApp, kind: str, listening: BoundAddress) -> None:
        self._app, self._token, self._alone = app, listening.token, listening.alone
        # Cookies know no ports: each server of a computer has its own.
        self._name = f"wbcdet-{kind}-{listening.port}"

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
            # Who may not come in keeps no connection open either.
            await _answer(send, 403, f"{refusal}\n", [(b"connection", b"close")])
            return
        body = await _body(receive)
        if body is None:
            await _answer(send, 413, f"Refused: more than {MAX_BYTES >> 20} MB.\n")
            return
        read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_body() -> Message:
            return read.pop() if read else await receive()

        async def answer(message: Message) -> None:
            await send(with_headers(message))

        await self._app(scope, receive_body, answer)

    def _refusal(self, scope: Scope, asked: HTTPConnection) -> str | None:
        headers = asked.headers
        host = headers.get("host", "")
        # Whatever the port: a browser names none for 80, and a tunnel (ssh -L) has its own.
        if self._alone and re.sub(r":\d+$", "", host.lower()) not in _LOOPBACK:
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
        if not self._is_token(asked.cookies.get(self._name)):
            return "Refused: open the address that was printed, with its token."
        return None

    def _is_token(self, given: str | None) -> bool:
        if given is None:
            return False
        return secrets.compare_digest(given.encode(errors="replace"), self._token.encode())

    def _cookie(self) -> tuple[bytes, bytes]:
        # Strict would refuse people who follow the address from a mail; writes are guarded above.
        value = f"{self._name}={self._token}; HttpOnly; SameSite=Lax; Path=/"
        return b"set-cookie", value.encode()


def with_headers(message: Message) -> Message:
    """Return a message of an answer, with the headers that every answer has."""
    if message["type"] == "http.response.start":
        given = {name for name, _ in message["headers"]}
        more = [header for header in _UNLESS_GIVEN if header[0] not in given]
        message["headers"] = [*message["headers"], *_HEADERS, *more]
    return message


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request; None where it is too large, of which nothing is kept."""
    body, length = bytearray(), 0
    while length <= _MAX_FORGOTTEN:
        message = await receive()
        if message["type"] != "http.request":  # the client has disconnected
            break
        part = message.get("body", b"")
        length += len(part)
        if length <= MAX_BYTES:
            body += part
        else:
            body.clear()
        if not message.get("more_body", False):
            break
    return bytes(body) if length <= MAX_BYTES else None


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

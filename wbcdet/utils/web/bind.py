"""Bind the socket of a page, and build the address that opens it."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass

from wbcdet.utils.errors import WbcdetError

#: Default address of a page: on this computer alone, on a port that is tried
#: first, so that the address is the same every day.
HOST, PORT = "127.0.0.1", 8765


class ListenError(WbcdetError, RuntimeError):
    """No page can be served there; one line."""


@dataclass(frozen=True, slots=True)
class BoundAddress:
    """A socket that a page can be served from.

    Attributes:
        socket: takes connections already; a browser that comes before the server runs waits.
        port: where it listens.
        token: what a browser must know: a computer may have other accounts, and other computers
            may reach it.
        alone: this computer alone can reach the socket.
        url: what a person opens; with the token, so it belongs on the terminal only.
    """

    socket: socket.socket
    port: int
    token: str
    alone: bool
    url: str


def listen(host: str, port: int | None) -> BoundAddress:
    """Open a socket for a page.

    Args:
        host: address or name of this computer.
        port: where to listen; 0 takes a free port; None takes 8765, or a free one where that is
            taken.

    Raises:
        ListenError: the port is taken, or the address is not one of this computer.
    """
    for number in (PORT, 0) if port is None else (port,):
        try:
            opened = _open(host, number)
        except (OSError, UnicodeError) as error:  # a malformed name cannot even be encoded
            failure = error
        else:
            return _describe(opened)
    where = host if port is None else f"{host} port {port}"
    why = getattr(failure, "strerror", None) or failure
    raise ListenError(
        f"cannot listen on {where} ({why}); name another --host or --port"
    ) from failure


def _open(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio sends the parts of an answer at once (TCP_NODELAY) only on
    # sockets that say they are TCP. On others the second part waits 40 ms for the client.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # on Windows it would share a port that is taken
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(128)
    except BaseException:
        opened.close()
        raise
    return opened


def _describe(opened: socket.socket) -> BoundAddress:
    # What the name stood for, not the name: "localhost" need not be this computer.
    address, port = opened.getsockname()[:2]
    alone = address in ("127.0.0.1", "::1")
    token = secrets.token_urlsafe(24)
    if address in ("0.0.0.0", "::"):
        address = _reached_at(opened.family) or socket.gethostname()
    shown = f"[{address}]" if ":" in address else address
    return BoundAddress(opened, port, token, alone, f"http://{shown}:{port}/?token={token}")


def _reached_at(family: int) -> str | None:
    """Return the address that others reach this computer at: a tablet often cannot resolve its
    name."""
    there = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"  # of documentation
    with socket.socket(family, socket.SOCK_DGRAM) as way, suppress(OSError):
        way.connect((there, 9))  # sends nothing: only the route is looked up
        return str(way.getsockname()[0])
    return None

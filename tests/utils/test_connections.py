"""Connections that send no whole request hold nobody up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from reviewing import Server, make_report

from wbcdet.utils.web import connections


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(make_report(tmp_path_factory.mktemp("connections"), 1))
    yield running
    running.kill()


def begun(server: Server, text: bytes) -> socket.socket:
    """Return a connection on which this was sent, and nothing after it."""
    opened = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    opened.sendall(text)
    return opened


def is_closed(opened: socket.socket) -> bool:
    opened.settimeout(1)
    try:
        while opened.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_many_that_send_nothing(server: Server) -> None:
    """The page is answered at once, and the oldest of them are closed."""
    held = [
        begun(server, (b"", b"GET / HTTP/1.1\r\nX: ", b"POST /")[n % 3])
        for n in range(3 * connections.MAX_WAITING)
    ]
    start = time.monotonic()
    assert server.request("/api/report")[0] == 200
    assert time.monotonic() - start < 5
    assert is_closed(held[0]) and is_closed(held[connections.MAX_WAITING])
    for connection in held:
        connection.close()


def test_a_head_that_never_ends(server: Server) -> None:
    """Time for a head is not given again with every byte of it."""
    slow = begun(server, b"GET / HTTP/1.1\r\n")
    end = time.monotonic() + connections.HEAD_S + 6
    with pytest.raises(ConnectionError):
        while time.monotonic() < end:
            slow.sendall(b"X: y\r\n")
            time.sleep(0.4)
    slow.close()
    assert server.request("/api/report")[0] == 200


def test_who_may_not_come_in_keeps_no_connection(server: Server) -> None:
    asked = begun(server, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
    answer = asked.recv(65536)
    assert b" 403 " in answer and b"connection: close" in answer.lower()
    assert is_closed(asked)


def test_a_connection_that_goes_on(server: Server) -> None:
    """Requests one after another and all at once on one connection, and a body that is slow."""
    head = f"Host: 127.0.0.1:{server.port}\r\nCookie: {server.cookie}\r\n"
    asked = begun(server, f"GET /api/log HTTP/1.1\r\n{head}\r\n".encode() * 20)
    with asked, asked.makefile("rb") as answers:
        for _ in range(20):
            assert b" 200 " in answers.readline()
            size = 0
            while (line := answers.readline().strip().lower()) != b"":
                size = int(line.split(b":")[1]) if line.startswith(b"content-length") else size
            answers.read(size)
        body = b'{"mark": "x", "who": "Ann"}'
        more = f"Origin: http://127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
        length = f"Content-Length: {len(body)}\r\n"
        asked.sendall(f"POST /api/undo HTTP/1.1\r\n{head}{more}{length}\r\n".encode())
        for letter in (body[:9], body[9:]):
            time.sleep(0.3)
            asked.sendall(letter)
        assert b" 409 " in answers.readline()  # of another report: it was read as a whole

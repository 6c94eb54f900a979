"""The pages of ``wbcdet review`` and ``wbcdet stream``: where they listen, whom they answer."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import cv2
import pytest
from reviewing import make_report
from serving import CHROMIUM, Served
from streaming import frame_at

from wbcdet.utils.web.bind import PORT, ListenError, listen


@dataclass(frozen=True)
class Kind:
    """A command that serves a page.

    Attributes:
        command: makes what it works on, in a folder; gives its arguments.
        read: what the page asks for.
        write: what the page sends, and the answer of the page itself to that.
        shows: a part of the page with something in it, once it works.
    """

    command: Callable[[Path], list[object]]
    read: str
    write: tuple[str, dict[str, Any], int]
    shows: str


def _review(folder: Path) -> list[object]:
    return ["review", make_report(folder, 1), "--no-browser"]


def _stream(folder: Path) -> list[object]:
    (folder / "camera").mkdir()
    cv2.imwrite(str(folder / "camera" / "0.png"), frame_at(0, 0))
    return ["stream", folder / "camera", "--out", folder / "out", "--serve", "--quiet"]


KINDS = {
    # Of no report: it passes the guard, and changes nothing.
    "review": Kind(
        _review, "/api/report", ("/api/undo", {"who": "Ann", "mark": "a"}, 409), "#classes b"
    ),
    "stream": Kind(_stream, "/status", ("/command", {"command": "start"}, 200), "#notice"),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def local(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Yield a page on this computer, begun while its usual port is taken."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # then it is taken already
            other.bind(("127.0.0.1", PORT))
            other.listen()
        page = Served(*kind.command(tmp_path_factory.mktemp("local")))
    yield page
    page.kill()


@pytest.fixture
def elsewhere(kind: Kind, tmp_path: Path) -> Iterator[Served]:
    """Yield a page that other computers can reach."""
    page = Served(*kind.command(tmp_path), "--host", "0.0.0.0", "--port", 0)
    yield page
    page.kill()


def test_a_port_that_is_taken_is_passed_over(local: Served) -> None:
    assert local.url.startswith(f"http://127.0.0.1:{local.port}/?token=") and local.port != PORT


def test_a_named_port_that_is_taken_is_said(
    kind: Kind, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = command(*kind.command(tmp_path), "--port", other.getsockname()[1])
    assert done.returncode == 2
    assert "--port" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no..name"])
@pytest.mark.parametrize("port", [None, 0])
def test_an_address_of_no_network_here_is_said(host: str, port: int | None) -> None:
    with pytest.raises(ListenError, match="--host"):
        listen(host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.0.0.2", "::"])
def test_a_token_everywhere(host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    listening = listen(host, 0)
    listening.socket.close()
    assert listening.alone == (host in ("127.0.0.1", "localhost"))
    assert len(listening.token) >= 32 and listening.url.endswith(f"/?token={listening.token}")
    assert "//0.0.0.0:" not in listening.url and "//[::]:" not in listening.url


def test_an_answer_on_a_kept_connection_does_not_wait(local: Served) -> None:
    # Headers and body are two writes: without TCP_NODELAY the second waits 40 ms for the client.
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=20)
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        connection.request("GET", "/", headers={"Cookie": local.cookie})
        connection.getresponse().read()
        took.append(time.perf_counter() - begun)
    connection.close()
    assert min(took[2:]) < 0.03


def test_readers(kind: Kind, local: Served) -> None:
    status, headers, _ = local.request("/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    for refused in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{local.port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert local.request(kind.read, **refused)[0] == 403
    assert local.request("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    for own in (f"LOCALHOST:{local.port}", "127.0.0.1", "localhost:9000"):  # 80, and a tunnel
        assert local.request(kind.read, Host=own)[0] == 200


def test_other_accounts_of_this_computer(kind: Kind, local: Served) -> None:
    path, body, _ = kind.write
    for cookie in ("", f"{local.cookie.split('=')[0]}=wrong", local.token):
        assert local.request("/", Cookie=cookie)[0] == 403
        assert local.request(kind.read, Cookie=cookie)[0] == 403
        assert local.request(path, body, Cookie=cookie)[0] == 403


def test_large_requests(kind: Kind, local: Served) -> None:
    path, body, answer = kind.write
    assert local.request(path, {**body, "more": "x" * 3_000_000})[0] == answer
    assert local.request(path, {**body, "more": "x" * 5_000_000})[0] == 413
    with socket.create_connection(("127.0.0.1", local.port), timeout=20) as line:
        line.sendall(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
            f"Cookie: {local.cookie}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(50):
            line.sendall(b"20000\r\n" + b" " * 0x20000 + b"\r\n")
        line.sendall(b"0\r\n\r\n")
        assert b" 413 " in line.recv(100)


def test_writers(kind: Kind, local: Served) -> None:
    path, body, answer = kind.write
    own = f"http://127.0.0.1:{local.port}"
    for refused in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": own, "Content_Type": "text/plain"},
        {"Origin": own, "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
    ):
        assert local.request(path, body, **refused)[0] == 403
    assert local.request(path, body)[0] == answer


def test_a_token_lets_in(kind: Kind, elsewhere: Served, tmp_path: Path) -> None:
    path, body, answer = kind.write
    token = elsewhere.url.split("token=")[1]
    assert len(token) >= 32
    for address in ("/", kind.read, "/?token=wrong", f"{kind.read}?token={token}"):
        status, _, text = elsewhere.request(address, Cookie="")
        assert status == 403 and b"address that was printed" in text
    assert elsewhere.request(path, body, Cookie="")[0] == 403

    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(f"http://127.0.0.1:{elsewhere.port}/?token={token}", timeout=20) as page:
        assert page.url == f"http://127.0.0.1:{elsewhere.port}/"
    (cookie,) = jar
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    known = f"{cookie.name}={cookie.value}"
    assert elsewhere.request(kind.read, Cookie=known)[0] == 200
    # Those of other programs on the same computer come along.
    assert elsewhere.request(kind.read, Cookie=f'a/b={{"c": 1}}; {known}')[0] == 200
    assert elsewhere.request(path, body, Cookie=known)[0] == answer
    assert elsewhere.request(kind.read, Cookie=f"{cookie.name}=wrong")[0] == 403
    foreign = {"Origin": "http://evil.example", "Cookie": known}
    assert elsewhere.request(path, body, **foreign)[0] == 403

    elsewhere.process.send_signal(signal.SIGINT)
    elsewhere.process.wait(timeout=60)  # what is written at the end is there too
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not any(token.encode() in file.read_bytes() for file in files)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: chromium)")
def test_a_browser_with_the_token(kind: Kind, elsewhere: Served) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    token = elsewhere.url.split("token=")[1]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        wrong: list[str] = []
        tab.on(
            "console",
            lambda line: wrong.append(line.text) if "Security Policy" in line.text else None,
        )
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(f"http://127.0.0.1:{elsewhere.port}/?token={token}")
        api.expect(tab.locator(kind.shows).first).not_to_be_empty()
        assert token not in tab.url
        assert wrong == []
        browser.close()

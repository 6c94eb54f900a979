"""Pictures from the web, from a server that also fails in the usual ways."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from email.message import Message
from io import BytesIO
from urllib.error import URLError
from urllib.request import Request

import pytest
from conftest import close_to, encode, grain
from PIL import Image

from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.settings import Settings
from wbcdet.utils.http_request import _Redirects, open_url


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves pictures and the ways in which servers fail."""

    picture = encode(Image.fromarray(grain()), "PNG")

    def do_GET(self) -> None:
        kind = "text/html" if "page" in self.path else "application/octet-stream"
        length = len(self.picture) * (2 if "short" in self.path else 1)
        if "missing" in self.path:
            self.send_error(404)
            return
        if "to=" in self.path:
            self.send_response(302)
            self.send_header("Location", self.path.split("to=")[1])
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if "nolength" not in self.path:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(self.picture)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_pictures_from_the_web(server: str) -> None:
    field = read_field(f"{server}/slides/%D0%BC%D0%B0%D0%B7%D0%BE%D0%BA.png?key=1")
    host = server.removeprefix("http://")
    # What stands behind the question mark may be a key: of it only a hash is in the name.
    assert re.fullmatch(rf"{host}/slides/мазок\.png\?[0-9a-f]{{8}}", field.name)
    assert close_to(field.pixels, grain(), 1)
    assert read_field(f"{server}/nolength.png").pixels.shape == (48, 64, 3)
    for path, expected in (("page", "web page"), ("missing", "404"), ("short", "cut short")):
        with pytest.raises(FieldError, match=expected):
            read_field(f"{server}/{path}.png")
    for path in ("x.png", "nolength.png"):
        with pytest.raises(FieldError, match="over the limit"):
            read_field(f"{server}/{path}", Settings(max_download_bytes=100))
    with pytest.raises(FieldError, match="download failed"):
        read_field("http://127.0.0.1:9/x.png")
    with pytest.raises(FieldError):
        read_field("http://[broken/x.png")


def test_redirects(server: str) -> None:
    assert read_field(f"{server}/a.png?to={server}/b.png").pixels.shape == (48, 64, 3)
    for place in ("ftp://127.0.0.1/x.png", "file:///etc/passwd", "data:image/png;base64,AAAA"):
        with pytest.raises(FieldError, match=r"[Rr]edirect"):
            read_field(f"{server}/a.png?to={place}")


def test_https_never_leads_back_to_http() -> None:
    handler = _Redirects()
    request = Request("https://mirror.example/a.zip")
    with pytest.raises(URLError, match="redirects from https to http"):
        handler.redirect_request(request, BytesIO(), 302, "", Message(), "http://mirror.example/a")
    followed = handler.redirect_request(
        request, BytesIO(), 302, "", Message(), "https://other.example/a"
    )
    assert followed is not None and followed.full_url == "https://other.example/a"
    with pytest.raises(ValueError, match="http"):
        open_url(Request("file:///etc/passwd"), 1.0)

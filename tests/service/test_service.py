"""The service in this process, with plain arithmetic in place of the models."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import GROUND, PURPLE, grain
from count_worker import PlainAnalyzer, find_cells
from PIL import Image

from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field
from wbcdet.records import FieldResult
from wbcdet.results.document import parse_document
from wbcdet.settings import Settings
from wbcdet.utils.web.bearer import TokenError, read_tokens

pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("multipart", reason="needs the extra serve")

from starlette.testclient import TestClient

from wbcdet.batch.service import app as app_module
from wbcdet.batch.service.app import Limits
from wbcdet.batch.service.pictures import Allowed, unique_names
from wbcdet.batch.service.server import guarded, make_parts

TOKEN = "a-token-of-the-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
JPEG = {**BEARER, "content-type": "image/jpeg"}


class Gate(PlainAnalyzer):
    """Analyses when it is let."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.open = threading.Event()
        self.open.set()

    def analyze(self, field: Field) -> FieldResult:
        assert self.open.wait(20)
        return FieldResult(field.name, field.width, field.height, find_cells(field))


class Service:
    def __init__(self, waiting: int = 2, **limits: Any) -> None:
        self.analyzer = Gate()
        given = Limits(**limits)
        app, self.queue = make_parts(self.analyzer, 1, waiting, given)
        self.client = TestClient(guarded(app, [TOKEN], given), raise_server_exceptions=False)

    def post(self, path: str, **options: Any) -> Any:
        options.setdefault("headers", BEARER)
        return self.client.post(path, **options)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    with made.client:
        yield made


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    return picture(".jpg")


def picture(kind: str) -> bytes:
    pixels = np.full((120, 160, 3), GROUND, np.uint8)
    pixels[20:45, 30:55] = PURPLE
    return bytes(cv2.imencode(kind, pixels)[1])


def problem(answer: Any, status: int, kind: str) -> str:
    """Return the detail of a refusal, which is one line of JSON of RFC 9457."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.text.count("\n") == 1 and answer.text.endswith("\n")
    said = answer.json()
    assert set(said) == {"type", "title", "status", "detail"}
    assert (said["type"], said["status"]) == (f"urn:wbcdet:problem:{kind}", status)
    return str(said["detail"])


def fields(answer: Any) -> list[FieldResult]:
    assert answer.status_code == 200, answer.text
    return parse_document(answer.json())[1]


def test_a_batch_of_addresses_is_fetched_as_it_is_analysed(
    jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all at first, when all would be in memory together; the order is that of the request."""
    under_way = most = 0

    def fetch(url: str, *_: object) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if url.endswith("3.jpg"):
            under_way -= 1
            raise FieldError("server answered 404; check the URL")
        return jpeg

    monkeypatch.setattr(app_module, "download", fetch)
    made = Service(allowed=Allowed(urls=("http://archive.example/",)))
    analyze = made.analyzer.analyze

    def analyzed(field: Field) -> FieldResult:
        nonlocal under_way
        under_way -= 1
        return analyze(field)

    monkeypatch.setattr(made.analyzer, "analyze", analyzed)
    urls = [f"http://archive.example/{number}.jpg" for number in range(8)]
    with made.client:
        found = fields(made.post("/v1/batch", json={"pictures": [{"url": url} for url in urls]}))
        assert [field.file for field in found] == [f"{number}.jpg" for number in range(8)]
        assert [field.file for field in found if field.failure] == ["3.jpg"]
        assert most == 1  # of one worker
        most = 0
        refused = [*urls, "http://elsewhere.example/9.jpg"]
        answer = made.post("/v1/batch", json={"pictures": [{"url": url} for url in refused]})
        problem(answer, 403, "url-not-allowed")
        assert most == 0


def test_all_batches_together_fetch_no_more_than_there_are_workers(
    jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(app_module, "download", lambda url, *_: asked.append(url) or jpeg)
    made = Service(allowed=Allowed(urls=("http://archive.example/",)))
    made.analyzer.open.clear()
    answers: list[Any] = []

    def ask(name: str) -> None:
        urls = [f"http://archive.example/{name}{number}.jpg" for number in range(3)]
        body = {"pictures": [{"url": url} for url in urls]}
        answers.append(made.post("/v1/batch", json=body))

    with made.client:
        threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        while made.queue.inside < 2:
            time.sleep(0.01)
        time.sleep(0.3)
        at_first = len(asked)
        made.analyzer.open.set()
        for thread in threads:
            thread.join()
    assert at_first == 1  # of one worker, which is at it
    assert len(asked) == 6
    assert [len(fields(answer)) for answer in answers] == [3, 3]


def test_all_requests_together_hold_no_more_than_is_allowed(jpeg: bytes) -> None:
    made = Service(waiting=5, held=2 * len(jpeg) + 10)
    made.analyzer.open.clear()
    answers: list[Any] = []
    with made.client:

        def ask() -> None:
            answers.append(made.post("/v1/analyze", content=jpeg, headers=JPEG))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        while made.queue.held < 2 * len(jpeg):
            time.sleep(0.01)
        files = [("pictures", ("1.jpg", jpeg, "image/jpeg"))]
        # A refused request is read and forgotten, without waiting for those inside.
        refused = [
            made.post("/v1/analyze", content=jpeg, headers=JPEG),
            made.post("/v1/batch", files=files),
        ]
        made.analyzer.open.set()
        for thread in threads:
            thread.join()
        for answer in refused:
            assert "the requests inside hold" in problem(answer, 429, "queue-full")
            assert int(answer.headers["retry-after"]) >= 1
        assert [len(fields(answer)) for answer in answers] == [1, 1]
        assert made.queue.held == made.queue.inside == 0
        fields(made.post("/v1/batch", files=files))


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("image/jpeg", ".jpg"), ("image/png", ".png"), ("application/octet-stream", ".tif")],
)
def test_a_picture_gives_a_results_document(service: Service, kind: str, ending: str) -> None:
    answer = service.post(
        "/v1/analyze?name=smear%201",
        content=picture(ending),
        headers={**BEARER, "content-type": kind},
    )
    [field] = fields(answer)
    assert (field.file, field.width, field.height, len(field.cells)) == ("smear 1", 160, 120, 1)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_tiff_of_several_pictures_gives_several_fields(service: Service, tmp_path: Path) -> None:
    pages = [Image.fromarray(grain(90, 120, seed)) for seed in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    answer = service.post("/v1/analyze", content=(tmp_path / "x.tif").read_bytes(), headers=JPEG)
    assert [field.file for field in fields(answer)] == ["picture#1", "picture#2", "picture#3"]


def test_pages_of_a_tiff_that_are_not_looked_at_are_said(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As ``predict`` says them: a count of the first pages is not that of the file."""
    monkeypatch.setattr("wbcdet.io.tiff_pages.MAX_PAGES", 2)
    monkeypatch.setattr("wbcdet.io.planes.MAX_PAGES", 2)
    pages = [Image.fromarray(grain(90, 120, seed)) for seed in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    answer = service.post("/v1/analyze", content=(tmp_path / "x.tif").read_bytes(), headers=JPEG)
    found = fields(answer)
    assert [field.failure is None for field in found] == [True, True, False]
    assert found[2].file == "picture#3" and "more than 2 pages" in str(found[2].failure)


def test_a_batch_keeps_its_order_and_names(service: Service, jpeg: bytes) -> None:
    names = ["b.jpg", "a.jpg", "bad.jpg", "b.jpg"]
    parts = [("pictures", (name, b"no picture" if name == "bad.jpg" else jpeg)) for name in names]
    found = fields(service.post("/v1/batch", files=parts))
    assert [item.file for item in found] == ["b.jpg", "a.jpg", "bad.jpg", "b.jpg #2"]
    assert [item.failure is None for item in found] == [True, True, False, True]


@pytest.mark.parametrize(
    "body",
    [b"", b"text", b"%PDF-1.4", picture(".jpg")[:300], b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
     b"II*\0" + b"\xff" * 40],
)  # fmt: skip
def test_a_corrupt_picture(service: Service, body: bytes) -> None:
    said = problem(
        service.post("/v1/analyze", content=body, headers=JPEG), 422, "unreadable-picture"
    )
    assert said.startswith("the picture cannot be read: ")


@pytest.mark.parametrize(
    "kind", ["text/html", "application/x-www-form-urlencoded", "", "multipart/form-data"]
)
def test_a_wrong_type(service: Service, kind: str, jpeg: bytes) -> None:
    headers = {**BEARER, "content-type": kind}
    assert "send image/" in problem(
        service.post("/v1/analyze", content=jpeg, headers=headers), 415, "wrong-type"
    )


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "text/plain"])
def test_a_batch_of_a_wrong_type(service: Service, kind: str) -> None:
    headers = {**BEARER, "content-type": kind}
    problem(service.post("/v1/batch", content=b"x", headers=headers), 415, "wrong-type")


@pytest.mark.parametrize(
    "body", [b"", b"x", b"--b\r\n", b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--\r\n"]
)
def test_a_broken_form(service: Service, body: bytes) -> None:
    headers = {**BEARER, "content-type": "multipart/form-data; boundary=b"}
    answer = service.post("/v1/batch", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    problem(answer, answer.status_code, "malformed")


@pytest.mark.parametrize("sent", ["whole", "in the third", "in a header", "after the second"])
def test_a_form_that_is_cut_short_is_not_counted(service: Service, jpeg: bytes, sent: str) -> None:
    """Its whole pictures were counted, and nothing told of the others."""
    parts = [
        b"--b\r\nContent-Disposition: form-data; name=pictures; filename=%d.jpg\r\n\r\n%s\r\n"
        % (number, jpeg)
        for number in range(3)
    ]
    cut = {
        "whole": b"".join(parts) + b"--b--",
        "in the third": b"".join(parts)[:-100],
        "in a header": b"".join(parts[:2]) + parts[2][:30],
        "after the second": b"".join(parts[:2]),
    }
    headers = {**BEARER, "content-type": "multipart/form-data; boundary=b"}
    answer = service.post("/v1/batch", content=cut[sent], headers=headers)
    if sent == "whole":
        assert len(fields(answer)) == 3
    else:
        assert "is cut short" in problem(answer, 400, "malformed")


def test_nothing_that_is_asked_for_is_ignored(service: Service, jpeg: bytes) -> None:
    """A setting in the address, a file name without @, a list that stands twice."""
    for path, said in (
        ("/v1/analyze?confidence=0.2", "query confidence: is not known"),
        ("/v1/analyze?name=a&name=b", "query name: stands twice"),
        ("/v1/batch?name=a", "query name: is not known"),
    ):
        assert said in problem(service.post(path, content=jpeg, headers=JPEG), 422, "malformed")
    for part in (("pictures", (None, "1.jpg")), ("confidence", (None, "0.2"))):
        answer = service.post("/v1/batch", files=[part, ("pictures", ("2.jpg", jpeg))])
        assert f"{part[0]}: is no file" in problem(answer, 422, "malformed")
    twice = b'{"pictures": [{"path": "1.jpg"}], "pictures": [{"path": "2.jpg"}]}'
    headers = {**BEARER, "content-type": "application/json"}
    answer = service.post("/v1/batch", content=twice, headers=headers)
    assert "pictures: stands twice" in problem(answer, 422, "malformed")


def test_a_field_of_a_tiff_shares_its_name_with_no_picture(
    service: Service, tmp_path: Path, jpeg: bytes
) -> None:
    pages = [Image.fromarray(grain(90, 120, seed)) for seed in range(2)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    sent = {"x.tif": (tmp_path / "x.tif").read_bytes(), "x.tif#1": jpeg}
    parts = [("pictures", entry) for entry in sent.items()]
    found = fields(service.post("/v1/batch", files=parts))
    assert [field.file for field in found] == ["x.tif#1", "x.tif#2", "x.tif#1 #2"]
    # Whichever comes first: the record of another picture was taken for one of the TIFF.
    found = fields(service.post("/v1/batch", files=parts[::-1]))
    assert [field.file for field in found] == ["x.tif#1 #2", "x.tif#1", "x.tif#2"]


def test_too_large(jpeg: bytes) -> None:
    service = Service(body=1000, batch=2)
    with service.client:
        big = jpeg + b"\0" * 2000
        for headers in (JPEG, {**JPEG, "transfer-encoding": "chunked"}):
            content: Any = big if headers is JPEG else iter([big[:900], big[900:]])
            answer = service.post("/v1/analyze", content=content, headers=headers)
            assert "more than 0.001 MB" in problem(answer, 413, "too-large")
        problem(service.post("/v1/batch", files=[("pictures", big)]), 413, "too-large")
        named = {"pictures": [{"path": "x"}] * 3}
        problem(service.post("/v1/batch", json=named), 413, "too-many")
        answer = service.post("/v1/batch", files=[("pictures", (str(n), b"x")) for n in range(3)])
        problem(answer, 400, "malformed")


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer "}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN},
     {"authorization": f"Basic {TOKEN}"}],
)  # fmt: skip
def test_no_token(service: Service, headers: dict[str, str], jpeg: bytes) -> None:
    answer = service.post(
        "/v1/analyze", content=jpeg, headers={**headers, "content-type": "image/jpeg"}
    )
    problem(answer, 401, "no-token")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert service.client.get("/metrics", headers=headers).status_code == 401
    for path in ("/", "/health", "/openapi.json"):
        assert service.client.get(path).status_code == 200


def test_a_full_queue_says_when_to_come_again(jpeg: bytes) -> None:
    service = Service(waiting=1)
    with service.client:
        service.analyzer.open.clear()
        answers: list[Any] = []

        def ask() -> None:
            answers.append(service.post("/v1/analyze", content=jpeg, headers=JPEG))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: service.queue.inside == 2)
        refused = service.post("/v1/analyze", content=jpeg, headers=JPEG)
        problem(refused, 429, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        assert service.client.get("/health").json()["inside"] == 2
        service.analyzer.open.set()
        for thread in threads:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert service.post("/v1/analyze", content=jpeg, headers=JPEG).status_code == 200
        figures = service.client.get("/metrics", headers=BEARER).text
        assert 'wbcdet_requests_total{route="/v1/analyze",status="429"} 1.0' in figures
        assert "wbcdet_requests_inside 0.0" in figures
        assert 'wbcdet_fields_total{outcome="read"} 3.0' in figures


def test_an_ending_service_answers_what_is_inside(jpeg: bytes) -> None:
    """What is done within the grace is answered; what is not hears why; nothing new is taken."""
    service = Service(waiting=4)
    with service.client:
        portal = service.client.portal
        assert portal is not None
        service.analyzer.open.clear()
        answers: list[Any] = []
        threads = [
            threading.Thread(
                target=lambda: answers.append(
                    service.post("/v1/analyze", content=jpeg, headers=JPEG)
                )
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        until(lambda: service.queue.inside == 2)
        portal.call(service.queue.end, 0.3)
        problem(service.post("/v1/analyze", content=jpeg, headers=JPEG), 503, "ending")
        assert service.client.get("/health").status_code == 503
        for thread in threads:
            thread.join(20)
        for answer in answers:
            problem(answer, 503, "ending")
        service.analyzer.open.set()


def until(true: Any) -> None:
    for _ in range(400):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it does not come true")


def test_paths_only_where_allowed(tmp_path: Path, jpeg: bytes) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a.jpg", "out.jpg"):
        (tmp_path / name).write_bytes(jpeg)
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "out.jpg")
    service = Service(allowed=Allowed(folders=((tmp_path / "in").resolve(),)))
    with service.client:
        for path in ("a.jpg", str(tmp_path / "in" / "a.jpg")):
            [field] = fields(service.post("/v1/analyze", json={"path": path}))
            assert (field.file, len(field.cells)) == ("a.jpg", 1)
        [field] = fields(service.post("/v1/analyze?name=smear", json={"path": "a.jpg"}))
        assert field.file == "smear"
        for path in ("../out.jpg", str(tmp_path / "out.jpg"), "link.jpg", "\0", "/etc/passwd"):
            problem(service.post("/v1/analyze", json={"path": path}), 403, "path-not-allowed")
        for path in ("none.jpg", "."):
            problem(service.post("/v1/analyze", json={"path": path}), 422, "unreadable-picture")
        pictures = {"pictures": [{"path": "none.jpg"}, {"path": "a.jpg"}]}
        found = fields(service.post("/v1/batch", json=pictures))
        assert [item.failure is None for item in found] == [False, True]
    plain = Service()
    with plain.client:
        problem(plain.post("/v1/analyze", json={"path": "a.jpg"}), 403, "path-not-allowed")
        problem(
            plain.post("/v1/analyze", json={"url": "http://127.0.0.1/"}), 403, "url-not-allowed"
        )


def test_addresses_only_where_allowed(jpeg: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            where = {"/smears/away.jpg": "/secret.jpg", "/smears/here.jpg": "/smears/a%201.jpg"}
            self.send_response(302 if self.path in where else 200)
            self.send_header("location", where.get(self.path, ""))
            self.send_header("content-length", str(0 if self.path in where else len(jpeg)))
            self.end_headers()
            self.wfile.write(b"" if self.path in where else jpeg)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    service = Service(allowed=Allowed(urls=(f"{base}/smears",)))
    with service.client:
        for path in ("/smears/a%201.jpg", "/smears/here.jpg"):
            [field] = fields(service.post("/v1/analyze", json={"url": base + path}))
            assert len(field.cells) == 1
        said = service.post("/v1/analyze", json={"url": f"{base}/smears/away.jpg"})
        assert "not allowed" in problem(said, 422, "unreadable-picture")
        for url in (
            f"{base}/secret.jpg",
            f"{base}/smears/../secret.jpg",
            f"{base}/smears/%2e%2e/secret.jpg",
            f"{base}/smears2/a.jpg",
            f"http://127.0.0.1:{server.server_port + 1}/smears/a.jpg",
            f"http://you@127.0.0.1:{server.server_port}/smears/a.jpg",
            "file:///etc/passwd",
            "http://[",
        ):
            problem(service.post("/v1/analyze", json={"url": url}), 403, "url-not-allowed")
    server.shutdown()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"url": "a", "path": "b"}', b"{}", b'{"path": 1}',
     b'{"path": "a", "more": 1}', b'{"pictures": []}', b"\xff", b"[" * 99999],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/batch"])
def test_malformed_json(service: Service, path: str, body: bytes) -> None:
    headers = {**BEARER, "content-type": "application/json; charset=utf-8"}
    problem(service.post(path, content=body, headers=headers), 422, "malformed")


def test_unknown_paths_and_methods(service: Service) -> None:
    problem(service.client.get("/nothing", headers=BEARER), 404, "no-such-path")
    problem(service.client.get("/v1/analyze", headers=BEARER), 405, "no-such-method")
    problem(service.post("/v1/analyze?name=" + "x" * 300, content=b"x"), 422, "malformed")


def test_a_fault_of_our_own_is_a_problem_too(
    service: Service, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.analyzer, "analyze", lambda _: 1 / 0)
    problem(service.post("/v1/analyze", content=jpeg, headers=JPEG), 500, "internal")
    assert service.queue.inside == 0


def test_the_page_names_every_request(service: Service) -> None:
    text = service.client.get("/").text
    for path in service.client.get("/openapi.json").json()["paths"]:
        assert path in text
    assert "Research use only" in text


def test_names_are_unique_and_printable() -> None:
    assert unique_names(["a", "a", "a #2", "", "b\nc\0", "\ud800"]) == [
        "a", "a #2", "a #2 #2", "picture", "bc", "picture #2",
    ]  # fmt: skip


def test_tokens_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# of the scanner\n0123456789abcdef\n\n  fedcba9876543210 \n")
    assert read_tokens(path) == ["0123456789abcdef", "fedcba9876543210"]
    for text, said in (("", "no token"), ("short", "at least 16"), ("é" * 20, "ASCII")):
        path.write_text(text)
        with pytest.raises(TokenError, match=said):
            read_tokens(path)
    with pytest.raises(TokenError, match="cannot be read"):
        read_tokens(tmp_path / "none")


def test_documents_are_one_line(service: Service, jpeg: bytes) -> None:
    text = service.post("/v1/analyze", content=jpeg, headers=JPEG).text
    assert text.count("\n") == 1 and json.loads(text)["format"] == "wbcdet-results/1"

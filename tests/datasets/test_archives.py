"""Archives: download, resume, verification, reading."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from wbcdet.cli import data as data_cli
from wbcdet.datasets import archives, download
from wbcdet.datasets.archives import Archive, DataError, open_archive

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PREFIX = f"smears-{COMMIT}/"
PICTURE = np.dstack([np.full((4, 6), value, np.uint8) for value in (10, 120, 240)])
FILES = {
    "fields/a b.png": cv2.imencode(".png", PICTURE)[1].tobytes(),
    "fields/noise.bin": np.random.default_rng(0).integers(0, 256, 600_000, np.uint8).tobytes(),
    "labels.csv": b"file,class\n",
}


def write_zip(path: Path, files: dict[str, bytes], prefix: str = PREFIX) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(prefix, b"")
        for name, data in files.items():
            target.writestr(zipfile.ZipInfo(prefix + name, (2020, 1, 1, 0, 0, 0)), data)
    return path.read_bytes()


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One archive, ``smears``, instead of the six real ones."""
    folder = tmp_path / "definitions"
    (folder / "files").mkdir(parents=True)
    entry = {
        "name": "smears",
        "repository": "somebody/smears",
        "commit": COMMIT,
        "licence": "MIT",
        "holds": "test files",
    }
    (folder / "sources.json").write_text(json.dumps({"archives": [entry]}))
    with (folder / "files" / "smears.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "bytes", "sha256"])
        for name, data in FILES.items():
            writer.writerow([name, len(data), hashlib.sha256(data).hexdigest()])
    monkeypatch.setattr(archives, "datasets_folder", lambda: folder)
    monkeypatch.setattr(download, "RETRY_WAIT_S", 0.0)
    monkeypatch.delenv("WBCDET_DATA_MIRROR", raising=False)
    # A proxy of the machine would be asked for the test server otherwise.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    archives.sources.cache_clear()
    archives.listed_files.cache_clear()
    yield
    archives.sources.cache_clear()
    archives.listed_files.cache_clear()


class Server(ThreadingHTTPServer):
    """Serves ``smears.zip`` and misbehaves as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = b""
        self.cuts = 0  # answers that end half-way
        self.ranges = True
        self.length = True  # says how long its answers are
        self.statuses: list[int] = []  # errors to answer first
        self.asked: list[tuple[str, str | None]] = []
        self.authorization: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mirror"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append((self.path, wanted))
        server.authorization = self.headers.get("Authorization")
        if self.path != "/mirror/smears.zip":
            self.send_error(404)
            return
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(server.data):
            self.send_error(416)
            return
        body = server.data[start:]
        self.send_response(206 if start else 200)
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, definitions: None) -> Iterator[Server]:
    running = Server()
    running.data = write_zip(tmp_path / "served.zip", FILES)
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def fetch(into: Path, mirror: str, progress: download.Progress | None = None) -> Path:
    [path] = download.fetch(["smears"], into, mirror, progress)
    return path


def test_download_verifies_renames_and_reports_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    path = fetch(tmp_path / "data", server.url, lambda *step: seen.append(step))
    assert path.read_bytes() == server.data
    assert list(path.parent.iterdir()) == [path]
    assert seen[-1] == ("smears", len(server.data), len(server.data))
    fetch(tmp_path / "data", server.url)
    assert len(server.asked) == 1, "a whole archive is not asked for again"


def test_cut_connection_is_continued(server: Server, tmp_path: Path) -> None:
    server.cuts = 1
    assert fetch(tmp_path, server.url).read_bytes() == server.data
    half = len(server.data) // 2
    assert [wanted for _, wanted in server.asked] == [None, f"bytes={half}-"]


def test_server_without_ranges_restarts_cleanly(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = 1, False
    assert fetch(tmp_path, server.url).read_bytes() == server.data


def test_interrupted_run_is_continued_by_the_next(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.cuts = 1
    with pytest.raises(DataError, match=r"cut after \d+ of \d+ bytes.*same command again"):
        fetch(tmp_path, server.url)
    assert [p.name for p in tmp_path.glob("smears*")] == ["smears.zip.part"]
    assert fetch(tmp_path, server.url).read_bytes() == server.data
    assert server.asked[-1][1] is not None


def test_part_of_another_file_is_dropped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "smears.zip.part").write_bytes(b"x" * 1000)
    assert fetch(tmp_path, server.url).read_bytes() == server.data


@pytest.mark.parametrize("whole", [True, False])
def test_part_that_needs_no_more_bytes(server: Server, tmp_path: Path, whole: bool) -> None:
    data = server.data if whole else b"x" * len(server.data)
    (tmp_path / "smears.zip.part").write_bytes(data)
    assert fetch(tmp_path, server.url).read_bytes() == server.data
    assert len(server.asked) == (1 if whole else 2)


def test_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert fetch(tmp_path, server.url).read_bytes() == server.data


def test_404_is_one_line_with_the_address_and_no_retry(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(tmp_path, f"{server.url}/elsewhere")
    message = str(caught.value)
    assert "/elsewhere/smears.zip" in message and "404" in message
    assert "WBCDET_DATA_MIRROR" in message and "\n" not in message
    assert len(server.asked) == 1


def test_password_of_a_mirror_is_sent_but_not_shown(server: Server, tmp_path: Path) -> None:
    mirror = server.url.replace("//", "//lab:s%3Acret@")
    fetch(tmp_path / "a", mirror)
    assert server.authorization == "Basic bGFiOnM6Y3JldA=="
    server.statuses = [403]
    with pytest.raises(DataError) as caught:
        fetch(tmp_path / "b", mirror)
    assert "cret" not in str(caught.value)


def test_unreachable_server(definitions: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9/smears\.zip: no complete answer.*proxy"):
        fetch(tmp_path, "http://127.0.0.1:9")


def test_wrong_content_names_the_files_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    changed = {**FILES, "labels.csv": b"file,clasS\n"}
    del changed["fields/a b.png"]
    server.data = write_zip(tmp_path / "served.zip", changed)
    into = tmp_path / "data"
    with pytest.raises(DataError) as caught:
        fetch(into, server.url)
    message = str(caught.value)
    assert "fields/a b.png is missing; labels.csv differs" in message
    assert "\n" not in message
    assert list(into.iterdir()) == []


def test_damaged_archive_is_replaced(server: Server, tmp_path: Path) -> None:
    damaged = bytearray(server.data)
    middle = len(damaged) // 2
    damaged[middle : middle + 20] = bytes(20)
    (tmp_path / "smears.zip").write_bytes(damaged)
    assert archives.faults("smears", tmp_path / "smears.zip") == ["fields/noise.bin differs"]
    assert fetch(tmp_path, server.url).read_bytes() == server.data


def test_web_page_instead_of_a_zip(server: Server, tmp_path: Path) -> None:
    server.data = b"<html>please sign in</html>"
    with pytest.raises(DataError, match="cannot be opened as a zip"):
        fetch(tmp_path / "data", server.url)


def test_mirror_folder(definitions: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror of data"
    mirror.mkdir()
    monkeypatch.setenv("WBCDET_DATA_MIRROR", str(mirror))
    monkeypatch.setenv("WBCDET_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match=r"smears\.zip is missing: put it there"):
        download.fetch(None)
    data = write_zip(mirror / "smears.zip", FILES)
    assert download.fetch(None) == [tmp_path / "data" / "smears.zip"]
    assert (tmp_path / "data" / "smears.zip").read_bytes() == data
    assert open_archive("smears").names() == tuple(FILES)


def test_full_disk_is_one_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    (tmp_path / "smears.zip.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"is full .*--into") as caught:
        fetch(tmp_path, server.url)
    assert "\n" not in str(caught.value)


def test_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--into"):
        fetch(tmp_path / "file" / "data", server.url)


def test_archive_reads_by_path_in_the_repository(tmp_path: Path) -> None:
    path = tmp_path / "smears.zip"
    write_zip(path, {**FILES, "../../outside.txt": b"x", "broken.jpg": b"no picture"})
    archive = Archive(path, PREFIX)
    assert archive.names() == tuple(sorted([*FILES, "broken.jpg"]))
    assert archive.read("labels.csv") == FILES["labels.csv"]
    image = archive.read_image("fields/a b.png")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, PICTURE)
    for wrong in ("../../outside.txt", "absent.png", "broken.jpg", "/etc/passwd"):
        with pytest.raises(DataError):
            archive.read_image(wrong)


def test_archive_survives_pickle_close_and_threads(tmp_path: Path) -> None:
    path = tmp_path / "smears.zip"
    write_zip(path, FILES)
    archive = pickle.loads(pickle.dumps(Archive(path)))
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.extend(archive.read(n) for n in archive.names()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted([*FILES.values()] * 4)
    archive.close()
    assert archive.read("labels.csv") == FILES["labels.csv"]


def test_forked_process_opens_the_zip_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "smears.zip"
    write_zip(path, FILES)
    archive = Archive(path, PREFIX)
    before = archive._zip()
    monkeypatch.setattr(archives.os, "getpid", lambda: -1)
    assert archive._zip() is not before
    assert archive.read("labels.csv") == FILES["labels.csv"]
    before.close()


def test_absent_archive_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="wbcdet data fetch bccd"):
        open_archive("bccd", tmp_path)
    with pytest.raises(DataError, match="there are aslan, bccd"):
        open_archive("bcdc", tmp_path)


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WBCDET_DATA", str(tmp_path))
    assert archives.default_folder() == tmp_path
    monkeypatch.delenv("WBCDET_DATA")
    assert archives.default_folder().parts[-2:] == ("wbcdet", "data")


def test_cli_lists_and_fetches(server: Server, tmp_path: Path) -> None:
    run = CliRunner()
    into = ["--into", str(tmp_path / "data")]
    assert "absent" in run.invoke(data_cli.app, ["list", *into]).output
    environment = {"WBCDET_DATA_MIRROR": server.url}
    fetched = run.invoke(data_cli.app, ["fetch", *into], env=environment)
    assert fetched.exit_code == 0, fetched.output
    assert "present" in run.invoke(data_cli.app, ["list", *into]).output
    (tmp_path / "data" / "smears.zip").write_bytes(b"")
    assert "damaged" in run.invoke(data_cli.app, ["list", *into]).output
    server.statuses = [404]
    failed = run.invoke(data_cli.app, ["fetch", *into], env=environment)
    assert failed.exit_code == 1
    unknown = run.invoke(data_cli.app, ["fetch", "nothing", *into])
    assert unknown.exit_code == 2


def test_cli_import_is_cheap() -> None:
    code = (
        "import sys, wbcdet.cli.data;"
        "print([m for m in ('numpy', 'cv2', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_mirror_without_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.data = b"x" * 900_000
    monkeypatch.setattr(download, "MAX_BYTES", 500_000)
    for length in (True, False):
        server.length = length
        with pytest.raises(DataError, match="sends more than") as caught:
            fetch(tmp_path / "data", server.url)
        assert "\n" not in str(caught.value)
        assert list((tmp_path / "data").iterdir()) == []

"""Counting on a real Ray cluster of two nodes on this machine, and without one."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from conftest import REPOSITORY
from count_worker import PlainAnalyzer

from wbcdet.batch.ray_engine import RayError, _check_address, _Counter, _SentPart
from wbcdet.batch.slide_claims import Claims
from wbcdet.batch.slides import SlideOptions, plan_slide
from wbcdet.datasets.synthetic import render_field
from wbcdet.datasets.synthetic.slide import SyntheticSlide, write_pyramid
from wbcdet.io.source import as_slide
from wbcdet.settings import Settings

ray = pytest.importorskip("ray", reason="needs the extra ray")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("address", ["nonsense", "host:", ":1", "host:0", "host:99999", "h:x"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(RayError, match="no host and port"):
        _check_address(address)


def test_where_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(RayError, match=r"no Ray listens at .*ray start --head"):
            _check_address(f"127.0.0.1:{free.getsockname()[1]}")


def test_where_something_else_listens() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer() -> None:
            with other.accept()[0] as connection:
                connection.recv(9)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(RayError, match="is no Ray"):
            _check_address(f"127.0.0.1:{other.getsockname()[1]}")


def test_a_mistake_is_one_line(command: Command, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), render_field(1).pixels)
    for engine, said in (("spark", "give local, ray or"), ("ray://127.0.0.1:1", "no Ray listens")):
        done = command("count", "1.png", "--out", "out", "--engine", engine)
        assert done.returncode == 2 and said in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(
    not os.environ.get("WBCDET_RAY"), reason="starts a Ray cluster (a minute); set WBCDET_RAY=1"
)
@pytest.mark.parametrize("kind", ["fields", "slide"])
def test_a_lost_node_costs_its_work_only(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes as on this machine alone, with a node killed in the middle."""
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    from ray.cluster_utils import Cluster

    named, failed, enough = (prepare_fields if kind == "fields" else prepare_slide)(tmp_path)

    def start(out: str, engine: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "wbcdet", "count", *named, "--out", out, "--quiet"]
        return subprocess.Popen(
            [*command, "--engine", engine],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "SOURCE_DATE_EPOCH": "1700000000",
            },
        )

    assert start("alone", "local").wait() == failed
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        second = cluster.add_node(num_cpus=1)
        process = start("cluster", f"ray://{cluster.address}")
        journal = tmp_path / "cluster" / "journal" / "fields.jsonl"
        while not journal.exists() or journal.read_bytes().count(b"\n") < enough:
            assert process.poll() is None
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        assert process.wait() == failed
    finally:
        cluster.shutdown()
    found = [
        {
            path.relative_to(tmp_path / out).as_posix(): path.read_bytes()
            for path in sorted((tmp_path / out).rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        for out in ("alone", "cluster")
    ]
    assert found[0] == found[1]


def prepare_fields(folder: Path) -> tuple[list[str], int, int]:
    """Drawn fields, one of which is no picture: what is named, the exit code, and the lines of the
    journal at which a node is killed."""
    (folder / "fields").mkdir()
    for number in range(24):
        path = folder / "fields" / f"{number:02}.png"
        cv2.imwrite(str(path), render_field(number).pixels)
    (folder / "fields" / "bad.png").write_bytes(b"no picture")
    return ["fields", "--dedupe"], 1, 8


def prepare_slide(folder: Path) -> tuple[list[str], int, int]:
    """Return the same for a slide of six parts."""
    pytest.importorskip("openslide", reason="needs the extra slides")
    from drawn_slides import whole_zone

    slide = SyntheticSlide(6000, 4000, kinds=1)
    write_pyramid(slide, folder / "slide.tif", levels=(1, 4))
    zone = whole_zone(folder / "zone.geojson", slide.width, slide.height)
    return ["slide.tif", "--zone", str(zone)], 0, 5


def test_a_part_that_is_sent_is_counted_as_one_that_is_read(tmp_path: Path) -> None:
    """A worker that does not reach the slide gets the part's pixels."""
    pytest.importorskip("openslide", reason="needs the extra slides")
    from drawn_slides import Drawn, whole_zone

    write_pyramid(Drawn(), tmp_path / "slide.tif", levels=(1, 4))
    options = SlideOptions(zone=whole_zone(tmp_path / "zone.geojson"))
    plan = plan_slide(as_slide(str(tmp_path / "slide.tif"))[0], options)
    claims = pickle.loads(pickle.dumps(Claims({"slide.tif": plan.claims()})))
    source = plan.parts[0]
    assert isinstance(source.path, Path)
    status = (source.path.stat().st_size, source.path.stat().st_mtime_ns)
    worker = object.__new__(_Counter)
    worker._analyzer = PlainAnalyzer(Settings())  # type: ignore[assignment]
    read = worker.count(source, status, {"sha256": "x"}, None, False, False, claims)
    assert read is not None and len(read.result.cells) > 10

    sent = pickle.loads(pickle.dumps(_SentPart.of(source)))
    away = replace(source, path=tmp_path / "not here.tif")
    assert worker.count(away, status, {"sha256": "x"}, None, False, False, claims) is None
    assert worker.count(away, status, {"sha256": "x"}, sent, False, False, claims) == read

"""Frames from real files, folders, servers and Micro-Manager's demo camera."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from conftest import close_to
from PIL import Image
from streaming import HEIGHT, WIDTH, frame_at, free_port, write_video
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.io.field import Field
from wbcdet.records import FieldResult
from wbcdet.results.writer import write_annotated
from wbcdet.stream.sources import open as sources
from wbcdet.stream.sources import watched_folder as folder
from wbcdet.stream.sources.base import Frame, FrameSource, SourceError
from wbcdet.stream.sources.latest_frame import Notice, watch
from wbcdet.stream.sources.micromanager import to_bgr
from wbcdet.stream.sources.open import open_source

SYSTEM_PYTHON = "/usr/bin/python3"


def all_frames(source: FrameSource) -> list[Frame]:
    return [frame for frame in source.frames() if isinstance(frame, Frame)]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")]
)
def test_video_files(tmp_path: Path, name: str, codec: str) -> None:
    pictures = [frame_at(60 * i, 100) for i in range(6)]
    source = open_source(str(write_video(tmp_path / name, pictures, codec)))
    assert not source.live
    frames = all_frames(source)
    assert [frame.index for frame in frames] == list(range(6))
    assert frames[3].seconds == pytest.approx(3 / 15, abs=0.01)
    for frame, picture in zip(frames, pictures, strict=True):
        assert close_to(frame.pixels, picture[:, :, ::-1], 12)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0, 40, 500, 530, 2000, 2033]
    path = write_video(tmp_path / "v.mkv", [frame_at(60 * i, 0) for i in range(6)], times_ms=times)
    seconds = [frame.seconds for frame in all_frames(open_source(str(path)))]
    assert seconds == pytest.approx([t / 1000 for t in times], abs=0.002)


def test_every_nth_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [frame_at(20 * i, 0) for i in range(10)])
    taken = [item.index for item in watch(open_source(str(path)), 0, every=4)]  # type: ignore[union-attr]
    assert taken == [0, 4, 8]


def test_twelve_bit_video_is_scaled(tmp_path: Path) -> None:
    grey = np.linspace(0, 4095, 64 * 48).reshape(48, 64).astype(np.uint16)
    path = write_video(tmp_path / "g.mkv", [grey] * 3, "ffv1", pixels="gray12le")
    pixels = all_frames(open_source(str(path)))[0].pixels
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[:, :, 0].astype(int) - (grey >> 4)).max() <= 2


def test_twelve_bit_camera_is_scaled() -> None:
    grey = np.array([[0, 16, 4095]], np.uint16)
    assert to_bgr(grey, 12)[0, :, 0].tolist() == [0, 1, 255]
    colour = np.zeros((1, 1, 3), np.uint8)
    colour[0, 0] = (250, 20, 10)
    assert to_bgr(colour, 8)[0, 0].tolist() == [10, 20, 250]


def test_frame_size_may_change_midway(tmp_path: Path) -> None:
    big = write_video(tmp_path / "a.ts", [frame_at(0, 0)] * 4)
    small = write_video(tmp_path / "b.ts", [frame_at(0, 0)[:240, :320]] * 4)
    path = tmp_path / "both.ts"
    path.write_bytes(big.read_bytes() + small.read_bytes())
    sizes = {frame.pixels.shape[:2] for frame in all_frames(open_source(str(path)))}
    assert sizes == {(HEIGHT, WIDTH), (240, 320)}


@pytest.mark.parametrize("kind", ["noise", "empty", "no frame", "not a video"])
def test_a_file_that_is_no_video_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.mp4"
    if kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no frame":
        path = tmp_path / "x.avi"
        data = write_video(path, [frame_at(0, 0)] * 2, "mpeg4").read_bytes()
        path.write_bytes(data[: data.index(b"movi") + 4])
    else:
        path.write_text("Dear diary")
    with pytest.raises(SourceError, match=r"x\.(mp4|avi): .*(read|frame)"):
        all_frames(open_source(str(path)))


def test_damage_inside_a_video_is_told_after_the_rest(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "x.avi", [frame_at(30 * i, 0) for i in range(20)], "mjpeg", pixels="yuvj420p"
    )
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data) - 3) if data[i : i + 3] == b"\xff\xd8\xff"]
    data[starts[5] : starts[6] - 200] = bytes(starts[6] - 200 - starts[5])
    path.write_bytes(data)
    items = list(watch(open_source(str(path)), 0))
    assert len([item for item in items if isinstance(item, Frame)]) >= 15
    said = [item for item in items if isinstance(item, Notice)]
    assert [notice.kind for notice in said] == ["unreadable"] * 2
    assert items.index(said[0]) < 10  # at once: the run may be stopped before its end
    assert "damaged pieces" in said[-1].text


def test_folder_gives_what_is_there_and_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_GIVEN_S", 0.5)
    cv2.imwrite(str(tmp_path / "1.png"), frame_at(0, 0))
    tifffile.imwrite(tmp_path / "2.tif", frame_at(0, 0)[:, :, 0].astype(np.uint16) << 8)
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "._1.png").write_bytes(b"what a Mac writes on a network drive")

    def add() -> None:
        time.sleep(0.8)
        cv2.imwrite(str(tmp_path / "3.jpg"), frame_at(50, 50))

    adder = threading.Thread(target=add)
    adder.start()
    items = [
        item for item in watch(open_source(str(tmp_path), idle_stop=2.0), 0) if item is not None
    ]
    adder.join()
    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert all(frame.pixels.shape == (HEIGHT, WIDTH, 3) for frame in frames)
    (said,) = (item for item in items if isinstance(item, Notice))
    assert said.kind == "unreadable"
    assert "broken.jpg" in said.text
    assert items[-1] is frames[-1]  # said while it is watched, not at the end


def test_a_folder_is_not_read_again_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame_at(50 * number, 0))
    drawn = tmp_path / "drawn.jpg"
    write_annotated(tmp_path, drawn.name, frame_at(0, 0), FieldResult("0.png", WIDTH, HEIGHT, ()))
    read: list[Path] = []
    is_signed = folder.is_signed

    def counted(path: Path) -> bool:
        read.append(path)
        return is_signed(path)

    monkeypatch.setattr(folder, "is_signed", counted)
    source = open_source(str(tmp_path), idle_stop=2.0)
    assert len([item for item in source.frames() if isinstance(item, Frame)]) == 3
    assert read.count(drawn) == 1
    assert len(read) <= 1 + 2 * 3  # each is looked at twice: has it grown?


def test_a_picture_written_over_under_its_name_is_a_new_frame(tmp_path: Path) -> None:
    live = tmp_path / "live.bmp"
    views = [frame_at(50 * at, 0) for at in range(3)]
    cv2.imwrite(str(live), views[0])
    seen: list[Frame] = []
    for item in open_source(str(tmp_path), idle_stop=1.0).frames():
        if isinstance(item, Frame):
            seen.append(item)
            if len(seen) < len(views):
                cv2.imwrite(str(live), views[len(seen)])  # of the same size
    assert [frame.index for frame in seen] == [0, 1, 2]
    assert all(np.array_equal(f.pixels, view) for f, view in zip(seen, views, strict=True))


def test_a_file_that_grows_for_long_is_read_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_GIVEN_S", 0.5)
    data = cv2.imencode(".png", frame_at(0, 0))[1].tobytes()
    items = []
    for look, item in enumerate(open_source(str(tmp_path), idle_stop=1.0).frames()):
        items.append(item)
        if look < 5:
            (tmp_path / "slow.png").write_bytes(data[: len(data) * (look + 1) // 5])
    assert [type(item) for item in items if item is not None] == [Frame]


def test_every_picture_of_a_file_in_a_folder_is_a_frame(tmp_path: Path) -> None:
    views = [frame_at(50 * at, 0) for at in range(3)]
    with tifffile.TiffWriter(tmp_path / "1.tif") as file:
        for view in views:
            file.write(view[:, :, ::-1], photometric="rgb")
    moving = [Image.fromarray(view[:, :, ::-1]) for view in views]
    moving[0].save(tmp_path / "2.gif", save_all=True, append_images=moving[1:])
    items = [item for item in watch(open_source(str(tmp_path), idle_stop=1.0), 0) if item]
    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert all(np.array_equal(f.pixels, view) for f, view in zip(frames, views, strict=False))
    notes = [item for item in items if isinstance(item, Notice)]
    assert [(note.kind, note.text) for note in notes] == [
        ("note", "2.gif: animation: first of 3 pictures")
    ]


def test_a_slow_writer_is_waited_for_longer_than_a_folder_may_be_idle(tmp_path: Path) -> None:
    data = cv2.imencode(".png", frame_at(0, 0))[1].tobytes()
    (tmp_path / "slow.png").write_bytes(data[:4000])

    def rest() -> None:
        time.sleep(1.2)
        (tmp_path / "slow.png").write_bytes(data)

    writer = threading.Thread(target=rest)
    writer.start()
    items = [
        item for item in watch(open_source(str(tmp_path), idle_stop=0.4), 0) if item is not None
    ]
    writer.join()
    assert [type(item) for item in items] == [Frame]


def test_a_picture_too_large_for_one_view_is_not_analysed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Field, "reduction", 2)
    cv2.imwrite(str(tmp_path / "a.png"), frame_at(0, 0))
    items = [
        item for item in watch(open_source(str(tmp_path), idle_stop=0.1), 0) if item is not None
    ]
    assert [type(item) for item in items] == [Notice]
    assert "wbcdet predict" in items[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "97",
        "99999999999",
        "rtsp://a:p[w@127.0.0.1:9/x",
        "rtsp://127.0.0.1:9/x",
        "http://127.0.0.1:9/x.mjpg",
    ],
)
def test_a_camera_that_is_not_there_says_so(text: str) -> None:
    items = [item for item in watch(open_source(text), 1.0) if item is not None]
    assert [type(item) for item in items] == [Notice]
    assert items[0].kind == "failed"  # type: ignore[union-attr]


def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_source("nowhere.mp4")
    pytest.importorskip("pymmcore_plus")
    with pytest.raises(SourceError, match="no such file"):
        next(iter(open_source("mm:nowhere.cfg").frames()))


def test_options_that_a_source_would_not_heed_are_refused(tmp_path: Path) -> None:
    """Of a folder, --every 2 left out every other picture; a camera ran on at its target."""
    (tmp_path / "film.mp4").write_bytes(b"nothing")
    (tmp_path / "fields").mkdir()
    for source, options, said in (
        ("fields", ("--every", "2"), "each picture of a folder is looked at"),
        ("0", ("--every", "2"), "the newest frame of a camera is looked at"),
        ("film.mp4", ("--idle-stop", "3"), "is for a watched folder"),
        ("fields", ("--transport", "tcp"), "is for an rtsp:// camera"),
        ("fields", ("--stop-at-target",), "with --target NUMBER"),
    ):
        place = source if source == "0" else str(tmp_path / source)
        out = ("--out", str(tmp_path / "out"))
        answer = CliRunner().invoke(app, ["stream", place, *options, *out])
        assert answer.exit_code == 2 and said in answer.stderr
    assert not (tmp_path / "out").exists()


def test_third_parties_add_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        live = False

        def __init__(self, address: str) -> None:
            self.name = address

        def frames(self) -> Iterator[Frame | None]:
            yield Frame(frame_at(0, 0), 0, 0.0)

        def close(self) -> None:
            pass

    monkeypatch.setattr(sources, "_registered", {})
    sources.register("mine", Mine)
    source = open_source("mine:a/b")
    assert source.name == "a/b"
    assert len(all_frames(source)) == 1


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://user:secret@127.0.0.1:9/x?token=secret", "rtsp://127.0.0.1:9/x"),
        ("rtsp://127.0.0.1:9/x#token=secret", "rtsp://127.0.0.1:9/x"),
        ("rtsp://admin:pa#secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"),
        ("rtsp://admin:pa/secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"),
        ("rtsp://admin:pa?secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"),
        ("rtsp://admin:[secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"),
        ("rtsp://127.0.0.1:9/user=a&password=secret&c=1.sdp", "rtsp://127.0.0.1:9/user=a&password=***"),
        ("rtsp://127.0.0.1:9/user=a_password=secret_c=1.sdp", "rtsp://127.0.0.1:9/user=a_password=***"),
        ("rtsp://127.0.0.1:9/user=a&password=x@secret&c=1.sdp", "rtsp://***"),
    ],
)  # fmt: skip
def test_password_is_never_said(address: str, name: str) -> None:
    source = open_source(address)
    assert source.name == name
    with pytest.raises(SourceError) as error:
        next(iter(source.frames()))
    assert "secret" not in str(error.value)


def test_http_mjpeg(tmp_path: Path) -> None:
    jpegs = [cv2.imencode(".jpg", frame_at(40 * i, 0))[1].tobytes() for i in range(12)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
            self.end_headers()
            for jpeg in jpegs:
                head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.05)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = open_source(f"http://127.0.0.1:{server.server_port}/live.mjpg")
    frames = []
    with pytest.raises(SourceError, match=r"ended|error"):
        for frame in source.frames():
            assert isinstance(frame, Frame)
            frames.append(frame)
    server.shutdown()
    assert len(frames) >= 10
    assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)


def test_live_source_keeps_the_newest_frame_only(tmp_path: Path) -> None:
    class Fast:
        name, live, given = "fast", True, 0

        def frames(self) -> Iterator[Frame | None]:
            for i in range(100):
                time.sleep(0.005)
                self.given = i
                yield Frame(np.zeros((8, 8, 3), np.uint8), i, i / 200)

        def close(self) -> None:
            pass

    taken, fast, before = [], Fast(), 0
    for item in watch(fast, 0):
        if isinstance(item, Frame):
            taken.append(item.index)
            # None waits in a queue: it is the newest that had come when it was asked for.
            assert item.index >= before - 1
            time.sleep(0.1)
            before = fast.given
    assert taken == sorted(set(taken))
    assert 3 <= len(taken) < 30


def rtsp_server(folder: Path, port: int, *only: str) -> subprocess.Popen[str]:
    """GStreamer's server of some pictures, over any transport or one alone."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, check=False).returncode
    ):
        pytest.skip("no GStreamer RTSP server (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi)")
    for i in range(30):
        cv2.imwrite(str(folder / f"{i:04}.jpg"), frame_at(10 * i, 0))
    command = [SYSTEM_PYTHON, str(Path(__file__).parents[1] / "rtsp_server.py"), str(folder)]
    command += [str(port), str(WIDTH), str(HEIGHT), *only]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    if server.stdout.readline().strip() != "ready":
        pytest.skip("GStreamer's RTSP server does not start")
    return server


@pytest.mark.parametrize(
    ("only", "asked", "comes"),
    [
        ("udp", "auto", True),
        ("udp", "udp", True),
        ("udp", "tcp", False),
        ("tcp", "auto", True),
        ("tcp", "udp", False),
    ],
)
def test_rtsp_over_one_transport_alone(tmp_path: Path, only: str, asked: str, comes: bool) -> None:
    port = free_port()
    server = rtsp_server(tmp_path, port, only)
    try:
        source = open_source(f"rtsp://127.0.0.1:{port}/live", transport=asked)
        if comes:
            frames = list(
                islice((frame for frame in source.frames() if isinstance(frame, Frame)), 5)
            )
            assert len(frames) == 5
            assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
        else:
            with pytest.raises(SourceError, match=rf"tried over {asked.upper()}"):
                next(iter(source.frames()))
        source.close()
    finally:
        server.kill()
        server.wait()


def test_rtsp_lost_and_found_three_times(tmp_path: Path) -> None:
    port = free_port()

    def serve() -> subprocess.Popen[str]:
        return rtsp_server(tmp_path, port)

    server = serve()
    said: list[str] = []
    indices: list[int] = []
    fresh = 0
    try:
        for item in islice(watch(open_source(f"rtsp://127.0.0.1:{port}/live"), 30.0), 4000):
            if isinstance(item, Notice):
                said.append(item.kind)
                fresh = 0
                if item.kind == "lost":
                    server = serve()
            elif item is not None:
                indices.append(item.index)
                fresh += 1
                if fresh == 5 and said.count("back") < 3:
                    server.kill()
                    server.wait()
                elif fresh == 5:
                    break
    finally:
        server.kill()
    assert said == ["lost", "back"] * 3
    assert indices == sorted(set(indices))


def test_lost_for_too_long_is_given_up() -> None:
    class Dying:
        name, live = "dying", True
        opened = 0

        def frames(self) -> Iterator[Frame | None]:
            self.opened += 1
            if self.opened > 1:
                raise SourceError("unplugged")
            yield Frame(np.zeros((8, 8, 3), np.uint8), 0, 0.0)
            raise SourceError("unplugged")

        def close(self) -> None:
            pass

    kinds = [item.kind for item in watch(Dying(), 2.0) if isinstance(item, Notice)]
    assert kinds == ["lost", "failed"]


def test_any_error_of_a_driver_is_a_lost_signal() -> None:
    class Strange:
        name, live = "strange", True

        def frames(self) -> Iterator[Frame | None]:
            yield Frame(np.zeros((8, 8, 3), np.uint8), 0, 0.0)
            raise ValueError("two\nlines")

        def close(self) -> None:
            pass

    said = [item for item in watch(Strange(), 0.1) if isinstance(item, Notice)]
    assert [notice.kind for notice in said] == ["lost", "failed"]
    assert said[0].text == "signal lost: strange: two lines"
    Strange.live = False
    assert [item.kind for item in watch(Strange(), 0) if isinstance(item, Notice)] == ["failed"]


def test_an_unplugged_camera_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    # No camera can be pulled out of a test machine: OpenCV's reader is stood in for.
    class Capture:
        def __init__(self, number: int) -> None:
            self.left = 3

        def isOpened(self) -> bool:
            return True

        def set(self, *_: float) -> bool:
            return True

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.left -= 1
            return (True, np.zeros((8, 8), np.uint8)) if self.left >= 0 else (False, None)

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    frames = []
    with pytest.raises(SourceError, match="plugged in"):
        for frame in open_source("0").frames():
            assert isinstance(frame, Frame)
            frames.append(frame.pixels.shape)
    assert frames == [(8, 8, 3)] * 3


def test_micromanager_demo_camera() -> None:
    pytest.importorskip("pymmcore_plus")
    source = open_source("mm:demo")
    try:
        frames = [item for item in islice(source.frames(), 5) if isinstance(item, Frame)]
    except SourceError as error:
        if "device adapters" in str(error):
            pytest.skip(str(error))
        raise
    assert frames[0].pixels.shape == (512, 512, 3)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})


def test_micromanager_configuration_with_twelve_bits(tmp_path: Path) -> None:
    pytest.importorskip("pymmcore_plus")
    path = tmp_path / "mine.cfg"
    path.write_text(
        "Property,Core,Initialize,0\nDevice,Cam,DemoCamera,DCam\nProperty,Core,Initialize,1\n"
        "Property,Core,Camera,Cam\nProperty,Cam,PixelType,16bit\nProperty,Cam,BitDepth,12\n"
    )
    try:
        (frame,) = islice(open_source(f"mm:{path}").frames(), 1)
    except SourceError as error:
        if "device adapters" in str(error):
            pytest.skip(str(error))
        raise
    assert isinstance(frame, Frame)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.any()

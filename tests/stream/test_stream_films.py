"""Films as people have them: interlaced, cut short, damaged, of odd pixels, behind a web server."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import close_to
from streaming import HEIGHT, WIDTH, frame_at, write_video

from wbcdet.records import Cell, CellType
from wbcdet.stream.report import how, unusable
from wbcdet.stream.sources import network
from wbcdet.stream.sources.base import Frame, SourceError
from wbcdet.stream.sources.interlace import is_combed
from wbcdet.stream.sources.latest_frame import Notice, watch
from wbcdet.stream.sources.open import open_source
from wbcdet.stream.track import Track

COUNT = 45
SCORES = {"eosinophil": 0.1, "lymphocyte": 0.4, "monocyte": 0.3, "neutrophil": 0.2}


def looked(text: str | Path, wait: float = 0.0) -> tuple[list[Frame], list[Notice]]:
    """Return the frames of a source, and what was said of it."""
    items = [item for item in watch(open_source(str(text)), wait) if item is not None]
    return (
        [item for item in items if isinstance(item, Frame)],
        [item for item in items if isinstance(item, Notice)],
    )


def panned(count: int = COUNT) -> list[np.ndarray]:
    return [frame_at(12 * i, 100) for i in range(count)]


def woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    picture = first.copy()
    picture[1::2] = second[1::2]
    return picture


def write_interlaced(path: Path, pictures: Sequence[np.ndarray], *, flagged: bool) -> Path:
    """Return an H.264 film of woven fields, with or without a word about it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.options = {"crf": "12", "preset": "ultrafast"}
        if flagged:
            stream.options = {**stream.options, "x264-params": "tff=1:interlaced=1"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("flagged", [True, False])
def test_interlaced_films_are_deinterlaced(tmp_path: Path, flagged: bool) -> None:
    places = [100 + 16 * i for i in range(10)]
    pictures = [woven(frame_at(x, 100), frame_at(x + 8, 100)) for x in places]
    path = write_interlaced(tmp_path / "i.mkv", pictures, flagged=flagged)
    frames, said = looked(path)
    assert [frame.index for frame in frames] == list(range(10))
    assert frames[5].seconds == pytest.approx(5 / 15, abs=0.01)
    assert [notice.kind for notice in said] == ["note"] and "interlaced" in said[0].text
    assert is_combed(pictures[4]) and not any(is_combed(frame.pixels) for frame in frames)
    # What comes out is one of the two moments.
    for frame, x in zip(frames[1:-1], places[1:-1], strict=True):
        off = [
            float(np.abs(frame.pixels.astype(int) - frame_at(x + d, 100)).mean()) for d in (0, 4, 8)
        ]
        assert min(off) < 6 and off.index(min(off)) != 1


def test_progressive_films_are_left_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(frame_at(0, 0) + rng.normal(0, 9, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
    assert not is_combed(noisy) and not is_combed(frame_at(0, 0, blur=3))
    assert not is_combed(np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
    assert not is_combed(np.zeros((4, 4, 3), np.uint8))
    frames, said = looked(write_video(tmp_path / "p.mkv", panned(6)))
    assert len(frames) == 6 and said == []


@pytest.mark.parametrize("ratio", [Fraction(2), Fraction(1, 2), Fraction(16, 15)])
def test_pixels_that_are_not_square(tmp_path: Path, ratio: Fraction) -> None:
    whole = frame_at(0, 0)
    size = (round(WIDTH / ratio), HEIGHT) if ratio > 1 else (WIDTH, round(HEIGHT * ratio))
    squeezed = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    path = tmp_path / "anamorphic.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        stream.options = {"crf": "12"}
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(squeezed, format="bgr24")))
        container.mux(stream.encode())
    frames, said = looked(path)
    assert [notice.kind for notice in said] == ["note"] and "not square" in said[0].text
    assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
    assert close_to(frames[0].pixels, whole[:, :, ::-1], 14)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("b.mkv", "mjpeg", "yuvj420p"),
    ],
)
@pytest.mark.parametrize("damage", ["half", "zeros"])
def test_how_much_of_a_film_was_read(
    tmp_path: Path, name: str, codec: str, pixels: str, damage: str
) -> None:
    path = write_video(tmp_path / name, panned(), codec, pixels=pixels)
    data = path.read_bytes()
    if damage == "half":
        data = data[: len(data) // 2]
    else:
        at = len(data) * 3 // 10
        data = data[:at] + bytes(100_000) + data[at + 100_000 :]
    path.write_bytes(data)
    frames, said = looked(path)
    assert 0 < len(frames) < COUNT - 3
    assert said[-1].kind == "unreadable"
    read = len(frames) / 15
    assert f"s of {COUNT / 15:.1f} s could be read" in said[-1].text
    assert float(said[-1].text.split("only ")[1].split(" ")[0]) == pytest.approx(read, abs=0.3)


def test_whole_films_say_nothing(tmp_path: Path) -> None:
    for name, codec in (("a.mkv", "libx264"), ("a.mp4", "libx264"), ("a.ts", "libx264")):
        frames, said = looked(write_video(tmp_path / name, panned(20), codec))
        assert (len(frames), said) == (20, [])
    times = [0, 40, 500, 530, 2000, 9000]  # a time lapse has gaps and nothing is missing
    frames, said = looked(write_video(tmp_path / "v.mkv", panned(6), times_ms=times))
    assert (len(frames), said) == (6, [])


def test_an_mp4_without_its_index_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", panned(10))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(SourceError, match=r"a\.mp4: 0 s of the film .* missing"):
        list(open_source(str(path)).frames())


class Served:
    """A web server on loopback that answers as ``handler`` does."""

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class Files(SimpleHTTPRequestHandler):
    """Hands out files from front to back only, as many small servers do."""

    def log_message(self, *_: object) -> None:
        pass


class Bare(BaseHTTPRequestHandler):
    """Hands out bytes without saying how many; at the pace of a camera where ``pause`` is set."""

    parts: tuple[bytes, ...] = ()
    pause = 0.0
    kind = "video/mp2t"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.end_headers()
        try:
            for part in self.parts:
                self.wfile.write(part)
                time.sleep(self.pause)
        except OSError:  # the one who looked has seen enough
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(handler: Callable[..., BaseHTTPRequestHandler]) -> Served:
        started.append(Served(handler))
        return started[-1]

    yield start
    for server in started:
        server.server.shutdown()
        server.server.server_close()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "list.m3u8"])
def test_films_of_a_web_server_are_read_whole(
    tmp_path: Path, serve: Callable[..., Served], name: str
) -> None:
    if name == "list.m3u8":
        options = {"hls_time": "1", "hls_playlist_type": "vod"}
        with av.open(str(tmp_path / name), "w", format="hls", options=options) as container:
            stream = container.add_stream("libx264", rate=15)
            stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
            for picture in panned():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode())
    else:
        write_video(tmp_path / name, panned())
    url = serve(functools.partial(Files, directory=str(tmp_path))).url
    source = open_source(f"{url}/{name}")
    assert not source.live
    items = list(watch(source, 0))
    assert [item.index for item in items if isinstance(item, Frame)] == list(range(COUNT))
    assert not [item for item in items if isinstance(item, Notice)]


def test_a_film_of_unknown_length_is_read_whole_and_once(
    tmp_path: Path, serve: Callable[..., Served]
) -> None:
    path = write_video(tmp_path / "a.ts", panned())
    server = serve(type("Once", (Bare,), {"parts": (path.read_bytes(),)}))
    frames, said = looked(f"{server.url}/a.ts", 5.0)
    assert ([frame.index for frame in frames], said) == (list(range(COUNT)), [])


def mjpeg(jpegs: Sequence[bytes]) -> tuple[bytes, ...]:
    head = "--b\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n"
    return tuple(head.format(len(jpeg)).encode() + jpeg + b"\r\n" for jpeg in jpegs)


def live_mjpeg(jpegs: Sequence[bytes]) -> type[Bare]:
    kind = "multipart/x-mixed-replace; boundary=b"
    return type("Camera", (Bare,), {"parts": mjpeg(jpegs), "pause": 0.04, "kind": kind})


def jpegs(count: int) -> list[bytes]:
    return [cv2.imencode(".jpg", frame_at(20 * i, 0))[1].tobytes() for i in range(count)]


@pytest.mark.parametrize(("moved", "back"), [(True, True), (False, False)])
def test_a_camera_may_begin_with_the_same_picture(
    moved: bool, back: bool, serve: Callable[..., Served]
) -> None:
    black = cv2.imencode(".jpg", np.zeros_like(frame_at(0, 0)))[1].tobytes()
    seen = jpegs(20)
    first = live_mjpeg([black, black, *seen[:10]])
    served = serve(first)
    source = open_source(f"{served.url}/live.mjpg")
    with pytest.raises(SourceError):
        assert len(list(source.frames())) > 8
    if moved:
        first.parts = mjpeg([black, black, *seen[10:]])
    frames: list[object] = []
    with contextlib.suppress(SourceError):  # it is lost again; a film has ended
        for item in source.frames():
            frames.append(item)
    assert bool(frames) == back


def test_cut_pictures_of_a_camera_are_not_looked_at(serve: Callable[..., Served]) -> None:
    pictures = [jpeg if i % 3 == 0 else jpeg[: len(jpeg) // 3] for i, jpeg in enumerate(jpegs(24))]
    source = open_source(f"{serve(live_mjpeg(pictures)).url}/live.mjpg")
    assert source.live
    frames, damaged = [], 0
    for item in watch(source, 0):
        if isinstance(item, Frame):
            frames.append(item)
        elif isinstance(item, Notice):
            damaged += item.pictures
    assert 14 <= damaged <= 16
    whole = [frame_at(20 * i, 0) for i in range(0, 24, 3)]
    for frame in frames:
        assert min(np.abs(frame.pixels.astype(int) - picture).mean() for picture in whole) < 8


def test_only_damaged_pictures_are_a_failure(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_DAMAGED_S", 0.3)
    # The first is whole, so that the stream is known for what it is.
    pictures = [jpegs(1)[0], *(jpeg[: len(jpeg) // 3] for jpeg in jpegs(40))]
    source = open_source(f"{serve(live_mjpeg(pictures)).url}/live.mjpg")
    with pytest.raises(SourceError, match="every picture came damaged"):
        list(source.frames())


def test_a_server_that_is_silent_is_said_in_plain_words(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_OPEN_S", 0.5)
    server = serve(type("Silent", (Bare,), {"parts": (b"",), "pause": 1.5}))
    frames, said = looked(f"{server.url}/x")
    assert not frames
    assert [notice.kind for notice in said] == ["failed"]
    assert "no answer within 0.5 s" in said[0].text and "mmediate exit" not in said[0].text


def test_rtsp_over_tcp_then_udp() -> None:
    source = network.NetworkStream("rtsp://127.0.0.1:9/x")
    assert source._transports == ("tcp", "udp")
    assert source._options("udp")["rtsp_transport"] == "udp"
    assert network.NetworkStream("rtsp://127.0.0.1:9/x", "multicast")._transports == ("multicast",)
    assert source._options("multicast")["rtsp_transport"] == "udp_multicast"
    assert "fflags" not in network.NetworkStream("http://127.0.0.1:9/x")._options("")


def test_a_fifth_of_unusable_pictures_is_said() -> None:
    assert unusable({"analysed": 80, "blurred": 19}) is None
    assert unusable({"analysed": 4, "blurred": 4}) is None  # too few to tell
    text = unusable({"analysed": 60, "still": 20, "blurred": 15, "damaged": 5})
    assert text is not None and "20 %" in text and "15 blurred, 5 damaged" in text
    lines = how({"totals": {"analysed": 10, "damaged": 90}, "unread": ["a.mkv: only 1 s"]}, None)
    assert any("90 %" in line for line in lines) and any("only 1 s" in line for line in lines)


def test_a_film_that_is_left_early_is_not_cut_short(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mkv", panned(20))))
    frames = source.frames()
    next(frames)
    source.close()
    assert [frame for frame in frames if isinstance(frame, str)] == []


def test_a_cell_that_a_person_names() -> None:
    cell = Cell(0, (10.0, 10.0, 50.0, 50.0), 0.9, CellType.UNCLASSIFIED, 0.4, SCORES, "low-score")
    track = Track(1, 1, 1, cell.box, 0, 0.0, 0, 0.0, cell, "", 0.9, 0.5)
    track.add(cell, 0, 0.0)
    track.chances = 1
    assert (str(track.label), track.reason) == ("unclassified", "low-score")
    old = track.to_record()
    del old["named"]  # a journal of an earlier version
    assert Track.from_record(old).named is None
    track.named = "eosinophil"
    told = Track.from_record(track.to_record()).verdict(3)
    assert (str(told.label), told.reason, told.label_score) == ("eosinophil", None, 0.1)
    assert str(track.voted) == "unclassified" and track.counts

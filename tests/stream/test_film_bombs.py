"""Films that claim too much, hold none, are mirrored, or come from where none can come."""

from __future__ import annotations

import functools
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from streaming import HEIGHT, WIDTH, frame_at, write_video

from wbcdet.stream.sources import network, pictures
from wbcdet.stream.sources.base import Frame, SourceError
from wbcdet.stream.sources.latest_frame import Notice, watch
from wbcdet.stream.sources.open import open_source

PICTURES = [frame_at(12 * i, 100) for i in range(4)]


def looked(text: str | Path) -> tuple[list[Frame], str]:
    items = list(watch(open_source(str(text)), 0.0))
    said = "; ".join(item.text for item in items if isinstance(item, Notice))
    assert "\n" not in said
    return [item for item in items if isinstance(item, Frame)], said


def mjpeg(path: Path, sides: list[tuple[int, int]]) -> Path:
    """Write a film whose pictures claim these widths and heights."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=15)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
        for at in range(len(sides)):
            frame = av.VideoFrame.from_ndarray(PICTURES[at % 4], format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = 0
    for width, height in sides:
        at = data.index(b"\xff\xc0", at) + 5
        struct.pack_into(">HH", data, at, height, width)
    path.write_bytes(data)
    return path


def test_pictures_larger_than_any_view_are_refused_by_the_header(tmp_path: Path) -> None:
    path = write_video(tmp_path / "large.mp4", [np.zeros((6000, 7000, 3), np.uint8)])
    assert path.stat().st_size < 200_000
    frames, said = looked(path)
    assert not frames and "large.mp4: its pictures have 7000 x 6000 pixels" in said


def test_a_picture_that_grows_midway_is_damage(tmp_path: Path) -> None:
    own = (WIDTH, HEIGHT)
    frames, said = looked(mjpeg(tmp_path / "grows.mkv", [own, own, (20_000, 20_000), own]))
    assert len(frames) == 3 and "1 damaged pieces of the video were passed over" in said


def test_large_films_take_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread holds a picture of its own."""
    monkeypatch.setattr(pictures, "_LARGE", WIDTH * HEIGHT - 1)
    with av.open(str(write_video(tmp_path / "a.mkv", PICTURES))) as container:
        pictures.Pictures(container, "a.mkv", live=False)
        assert container.streams.video[0].codec_context.thread_count == 4
    assert len(looked(tmp_path / "a.mkv")[0]) == len(PICTURES)


def test_sound_is_no_film(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 800), np.int16), format="s16", layout="mono"
            )
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        assert looked(tmp_path / name) == ([], f"{name}: holds sound but no picture")


def test_hundreds_of_videos_in_one_film(tmp_path: Path) -> None:
    path = tmp_path / "many.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        streams = [container.add_stream("mpeg2video", rate=15) for _ in range(200)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(PICTURES[0][:48, :64]), format="bgr24"
            )
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    frames, said = looked(path)
    assert len(frames) == 1 and "many.ts: holds 200 videos" in said


def test_a_time_far_away_ends(tmp_path: Path) -> None:
    path = tmp_path / "far.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=15)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
        for at, picture in enumerate(PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts = at if at < 3 else 10**10
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames, _ = looked(path)
    assert [len(frames), frames[-1].seconds > 1e8] == [4, True]


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].swapaxes(0, 1)),
        ((0, 0, 0, 0), lambda p: p),
    ],
)
def test_mirrored_and_empty_turns(tmp_path: Path, matrix: tuple[int, ...], shown: object) -> None:
    path = write_video(tmp_path / "a.mp4", PICTURES)
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    frames, said = looked(path)
    expected = shown(PICTURES[0])  # type: ignore[operator]
    assert frames[0].pixels.shape == expected.shape and said == ""
    assert np.abs(frames[0].pixels.astype(int) - expected).mean() < 8


@pytest.mark.skipif(os.name != "posix", reason="kinds of files of POSIX")
def test_what_is_neither_file_nor_folder_is_named() -> None:
    with tempfile.TemporaryDirectory() as place:  # a socket's path must be short
        folder = Path(place)
        os.mkfifo(folder / "pipe.mkv")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / "socket"))
            for path, said in (
                (folder / "pipe.mkv", "is a pipe, no file"),
                (folder / "socket", "is a socket, no file"),
                (Path("/dev/null"), "is a device, no video"),
                (folder / "none.mkv", "no such file or folder"),
            ):
                with pytest.raises(SourceError, match=said) as caught:
                    open_source(str(path))
                assert str(caught.value).startswith(f"{path}: ")


class Redirects(SimpleHTTPRequestHandler):
    """``/go/ADDRESS`` leads on to the address; the rest are files."""

    def do_GET(self) -> None:
        if not self.path.startswith("/go/"):
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", self.path.removeprefix("/go/"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Redirects, directory=str(tmp_path))
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def test_redirects_are_followed_to_web_addresses_alone(tmp_path: Path, server: str) -> None:
    film = write_video(tmp_path / "a.mp4", PICTURES)
    for to in ("/a.mp4", f"{server}/a.mp4"):
        assert len(looked(f"{server}/go/{to}")[0]) == len(PICTURES)
    for to in (f"file://{film}", f"concat:{film}", "ftp://127.0.0.1/a.mp4", "data:video/mp4,a"):
        frames, said = looked(f"{server}/go/{to}")
        assert not frames and "is none of http or https" in said


def test_playlists_of_a_server_reach_no_file_here(tmp_path: Path, server: str) -> None:
    film = write_video(tmp_path / "a.ts", PICTURES)
    head, end = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n", "\n#EXT-X-ENDLIST\n"
    for at, place in enumerate((str(film), f"file://{film}")):
        (tmp_path / f"{at}.m3u8").write_text(head + place + end)
        assert not looked(f"{server}/{at}.m3u8")[0]
    (tmp_path / "own.m3u8").write_text(head + "a.ts" + end)
    assert len(looked(f"{server}/own.m3u8")[0]) == len(PICTURES)


def test_a_film_without_end_does_not_fill_the_disk(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    write_video(tmp_path / "a.mp4", PICTURES)
    assert network._fetch(f"{server}/a.mp4") is not None
    for path in (tmp_path / "temporary").iterdir():
        path.unlink()
    room = SimpleNamespace(free=network._SPARE + 20)
    monkeypatch.setattr(network.shutil, "disk_usage", lambda _: room)
    monkeypatch.setattr(Redirects, "send_header", _without_length)
    assert network._fetch(f"{server}/a.mp4") is None
    assert not list((tmp_path / "temporary").iterdir())


_send_header = SimpleHTTPRequestHandler.send_header


def _without_length(handler: SimpleHTTPRequestHandler, name: str, value: str) -> None:
    if name != "Content-Length":
        _send_header(handler, name, value)

"""Films and web servers as people have them, made by code from a synthetic smear."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import av
import cv2
import numpy as np
from command_cases import case
from PIL import Image

from wbcdet.datasets.synthetic import STAINS, render_smear

SIZE = 640, 480


@functools.cache
def smear() -> np.ndarray:
    return render_smear(8, 1800, 700, cell_px=80, cells_per_mm2=300, stain=STAINS[0]).pixels


def view(x: int, y: int = 100) -> np.ndarray:
    return np.ascontiguousarray(smear()[y : y + SIZE[1], x : x + SIZE[0]])


def panned(step: int = 16, count: int = 60) -> list[np.ndarray]:
    return [view(step * i) for i in range(count)]


def film(
    path: Path,
    pictures: Sequence[np.ndarray],
    codec: str = "libx264",
    ratio: Fraction | None = None,
    **options: str,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=15)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = ratio
        stream.options = {"crf": "15", "preset": "ultrafast", **options} if codec != "mjpeg" else {}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def watch(source: object, *more: str) -> list[str]:
    return ["stream", str(source), "--out", "out", "--no-annotate", *more]


@case("8", "the film as it should be", "exit 0", "9 cells")
def _(folder: Path) -> Sequence[str]:
    return watch(film(folder / "film.mkv", panned()))


def _woven() -> list[np.ndarray]:
    pictures = panned()
    for i, picture in enumerate(pictures):
        picture[1::2] = view(16 * i + 8)[1::2]
    return pictures


@case("8", "interlaced, and says so", "exit 0", "9 cells", "deinterlaced")
def _(folder: Path) -> Sequence[str]:
    options = {"x264-params": "tff=1:interlaced=1"}
    return watch(film(folder / "film.mkv", _woven(), **options))


@case("8", "interlaced, and does not say so", "exit 0", "9 cells", "deinterlaced")
def _(folder: Path) -> Sequence[str]:
    return watch(film(folder / "film.mkv", _woven()))


@case("8", "pixels twice as wide as high", "exit 0", "9 cells", "not square")
def _(folder: Path) -> Sequence[str]:
    half = [cv2.resize(picture, (SIZE[0] // 2, SIZE[1])) for picture in panned()]
    return watch(film(folder / "film.mkv", half, ratio=Fraction(2)))


def _damaged(folder: Path, name: str, codec: str, how: str) -> Path:
    path = film(folder / name, panned(), codec)
    data = path.read_bytes()
    if how == "half":
        path.write_bytes(data[: len(data) // 2])
    else:
        at = len(data) // 3
        path.write_bytes(data[:at] + bytes(200_000) + data[at + 200_000 :])
    return path


for _name, _codec in (("film.mkv", "libx264"), ("film.mkv", "mjpeg"), ("film.avi", "mjpeg"),
                      ("film.ts", "libx264"), ("film.mp4", "libx264")):  # fmt: skip
    for _how in ("half", "zeros"):
        _lost = (_name, _how) == ("film.mp4", "half")  # its index is at the end
        _words = "cut in half" if _how == "half" else "200 kB of zeros in it"

        @case(
            "8",
            f"{_name} ({_codec}), {_words}",
            "exit 2" if _lost else "exit 1",
            "could be read" if not _lost else "can be read",
        )
        def _(
            folder: Path, name: str = _name, codec: str = _codec, how: str = _how
        ) -> Sequence[str]:
            return watch(_damaged(folder, name, codec, how))


class Files(SimpleHTTPRequestHandler):
    """Hands out files from front to back only; ``/bare/`` without their length, and
    ``/camera/`` pictures of a camera, of which every second one is cut to a third; ``/elsewhere/``
    leads on to a file of the folder by its path here."""

    def do_GET(self) -> None:
        kind, _, name = self.path.strip("/").partition("/")
        if kind == "elsewhere":
            self.send_response(302)
            self.send_header("Location", (Path(self.directory) / name).as_uri())
            self.end_headers()
            return
        if kind not in ("bare", "camera"):
            super().do_GET()
            return
        self.send_response(200)
        sort = "video/mp2t" if kind == "bare" else "multipart/x-mixed-replace; boundary=b"
        self.send_header("Content-Type", sort)
        self.end_headers()
        if kind == "bare":
            self.wfile.write((Path(self.directory) / name).read_bytes())
            return
        for i, picture in enumerate(panned()):
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            jpeg = jpeg[: len(jpeg) // 3] if i % 2 else jpeg
            head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            threading.Event().wait(0.1)

    def log_message(self, *_: object) -> None:
        pass


def _behind(name: str, title: str, way: str = "", *expected: str) -> None:
    @case("8", title, *(expected or ("exit 0", "9 cells")))
    def _(folder: Path) -> Sequence[str]:
        if name.endswith(".m3u8"):
            film(folder / "film.mp4", panned())
            with (
                av.open(str(folder / "film.mp4")) as given,
                av.open(
                    str(folder / name), "w", format="hls", options={"hls_playlist_type": "vod"}
                ) as made,
            ):
                stream = made.add_stream_from_template(given.streams.video[0])
                for packet in given.demux(given.streams.video[0]):
                    if packet.dts is not None:
                        packet.stream = stream
                        made.mux(packet)
        elif way != "camera":
            film(folder / name, panned())
        return watch(f"SERVER/{way}/{name}" if way else f"SERVER/{name}", "--reconnect-for", "3")


_behind("film.mp4", "MP4 of a web server")
_behind("film.mkv", "MKV of a web server")
_behind("list.m3u8", "HLS of a web server")
_behind("film.ts", "MPEG-TS of a web server")
_behind("film.ts", "MPEG-TS of a server that does not say its length", "bare")
_behind(
    "live.mjpg", "live MJPEG, every second picture cut to a third", "camera", "exit 1", "damaged"
)


@case("8", "a small video before the large one", "exit 0", "9 cells", "holds 2 videos")
def _(folder: Path) -> Sequence[str]:
    with av.open(str(folder / "film.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=15) for _ in range(2)]
        for stream, share in zip(streams, (4, 1), strict=True):
            stream.width, stream.height = SIZE[0] // share, SIZE[1] // share
            stream.pix_fmt, stream.options = "yuv420p", {"crf": "15", "preset": "ultrafast"}
        for picture in panned():
            for stream in streams:
                scaled = cv2.resize(picture, (stream.width, stream.height))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(scaled, format="bgr24")))
        for stream in streams:
            container.mux(stream.encode())
    return watch(folder / "film.mkv")


@case("8", "an animated WebP", "exit 2", "no film")
def _(folder: Path) -> Sequence[str]:
    first, *more = (Image.fromarray(picture[:, :, ::-1]) for picture in panned(count=3))
    first.save(folder / "film.webp", save_all=True, append_images=more)
    return watch(folder / "film.webp")


@case("8", "pictures of 42 megapixels in a film of 120 kB", "exit 2", "7000 x 6000")
def _(folder: Path) -> Sequence[str]:
    return watch(film(folder / "film.mp4", [np.zeros((6000, 7000, 3), np.uint8)]))


@case("8", "a turn of zeros in the header", "exit 0", "9 cells")
def _(folder: Path) -> Sequence[str]:
    path = film(folder / "film.mp4", panned())
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = bytes(32) + b"\x40\0\0\0"
    path.write_bytes(data)
    return watch(path)


@case("8", "sound without a picture", "exit 2", "sound but no picture")
def _(folder: Path) -> Sequence[str]:
    with av.open(str(folder / "film.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = np.zeros((1, 8000), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return watch(folder / "film.mkv")


@case("8", "a pipe", "exit 2", "is a pipe")
def _(folder: Path) -> Sequence[str]:
    (folder / "film.mkv").unlink(missing_ok=True)
    os.mkfifo(folder / "film.mkv")
    return watch(folder / "film.mkv")


@case("8", "a server that leads on to a file of this computer", "exit 2", "none of http or https")
def _(folder: Path) -> Sequence[str]:
    film(folder / "film.mkv", panned())
    return watch("SERVER/elsewhere/film.mkv")


@case("8", "a server that accepts and is silent", "exit 2", "no answer")
def _(folder: Path) -> Sequence[str]:
    return watch("SILENT/x")

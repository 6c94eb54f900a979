"""Try films and labels as people have them: made by code, given to the commands.

    python scripts/format_cases_films.py                     # the package that is imported
    python scripts/format_cases_films.py --only 8 --keep DIR # the cases of one section, files kept
    python scripts/format_cases_films.py --against OLD       # a column of another checkout too

A case makes files and names a command; its outcome is the exit code, the cells counted or the
figures, and what was said. More cases: write a function that takes a folder and returns the
arguments of ``wbcdet``, and put ``@case("section", "title")`` over it.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from format_cases import Row, is_chosen, print_table

from wbcdet.datasets.synthetic import STAINS, render_field, render_smear

REPOSITORY = Path(__file__).resolve().parent.parent
SIZE = 640, 480
#: What a command may take, s.
_PATIENCE = 240


@dataclass(frozen=True)
class Case:
    """A case: its section, its title, what makes its files and the arguments, and what it says."""

    section: str
    title: str
    make: Callable[[Path], Sequence[str]]
    expected: Sequence[str]


CASES: list[Case] = []


def case(section: str, title: str, *expected: str) -> Callable[..., Any]:
    """Register a case; ``expected`` are parts of what should be said."""

    def register(make: Callable[[Path], Sequence[str]]) -> Callable[[Path], Sequence[str]]:
        CASES.append(Case(section, title, make, expected))
        return make

    return register


# --- 8: films -------------------------------------------------------------------------------


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
    half = [cv2.resize(one, (SIZE[0] // 2, SIZE[1])) for one in panned()]
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


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class Files(SimpleHTTPRequestHandler):
    """Hands out files from front to back only; ``/bare/`` without their length, and
    ``/camera/`` pictures of a camera, of which every second one is cut to a third."""

    def do_GET(self) -> None:
        kind, _, name = self.path.strip("/").partition("/")
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


@case("8", "a server that accepts and is silent", "exit 2", "no answer")
def _(folder: Path) -> Sequence[str]:
    return watch("SILENT/x")


# --- 10: labels of others -------------------------------------------------------------------


@functools.cache
def field(seed: int) -> tuple[np.ndarray, list[tuple[float, ...]]]:
    made = render_field(seed)
    return made.pixels, [tuple(float(v) for v in cell.box) for cell in made.cells]


def pictures(folder: Path, count: int = 4) -> list[tuple[str, np.ndarray, list[Any]]]:
    found = []
    for seed in range(count):
        pixels, boxes = field(seed)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels)
        found.append((f"{seed}.png", pixels, boxes))
    return found


def coco(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Sequence[str]:
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "WBC"}],
    }
    for number, (name, _, boxes) in enumerate(pictures(folder)):
        document["images"].append({"id": number, "file_name": name})
        for x0, y0, x1, y1 in boxes:
            box = [x0, y0, x1 - x0, y1 - y0]
            entry = {"id": len(document["annotations"]), "image_id": number, "category_id": 1}
            document["annotations"].append({**entry, "bbox": box})
    change(document)
    (folder / "labels.json").write_text(json.dumps(document), encoding="utf-8")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


def _boxes(change: Callable[..., Sequence[float]]) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        for one in document["annotations"]:
            one["bbox"] = list(change(*one["bbox"]))

    return apply


#: Said of boxes that all lie beside their cells in one way.
_BESIDE = ("exit 1", "all in the same way")


def _shared(document: dict[str, Any]) -> None:
    document["images"][1]["id"] = 0
    for one in document["annotations"]:
        one["image_id"] = 0 if one["image_id"] == 1 else one["image_id"]


def _windows(document: dict[str, Any]) -> None:
    for one in document["images"]:
        one["file_name"] = f"C:\\data\\images\\{one['file_name']}"


for _title, _change, *_expected in (
    ("COCO as it should be", lambda _: None, "exit 0", "found 9"),
    ("COCO, two pictures of one id", _shared, "exit 1", "pictures left out"),
    ("COCO, paths of Windows", _windows, "exit 0", "found 9"),
    ("COCO, boxes x, y, x, y", _boxes(lambda x, y, w, h: (x, y, x + w, y + h)), *_BESIDE),
    ("COCO, boxes in percent", _boxes(lambda x, y, w, h: (x / 6.4, y / 4.8, w / 6.4, h / 4.8)),
     *_BESIDE),
    ("COCO, boxes of half scale", _boxes(lambda x, y, w, h: (x / 2, y / 2, w / 2, h / 2)),
     *_BESIDE),
    ("COCO, swapped axes", _boxes(lambda x, y, w, h: (y, x, h, w)), *_BESIDE),
    ("COCO, before the turn", _boxes(lambda x, y, w, h: (y, SIZE[0] - x - w, h, w)), *_BESIDE),
):  # fmt: skip

    @case("10", _title, *_expected)
    def _(folder: Path, change: Callable[[dict[str, Any]], None] = _change) -> Sequence[str]:
        return coco(folder, change)


def yolo_lines(pixels: np.ndarray, boxes: Iterable[Sequence[float]]) -> str:
    """Return the labels of a picture whose cells are all of the first class."""
    h, w = pixels.shape[:2]
    return "\n".join(
        f"0 {(x0 + x1) / 2 / w} {(y0 + y1) / 2 / h} {(x1 - x0) / w} {(y1 - y0) / h}"
        for x0, y0, x1, y1 in boxes
    )


@case("10", "YOLO, data.yaml against classes.txt", "exit 2", "differently")
def _(folder: Path) -> Sequence[str]:
    for name, pixels, boxes in pictures(folder):
        (folder / name).with_suffix(".txt").write_text(yolo_lines(pixels, boxes))
    (folder / "data.yaml").write_text("names: [neutrophil, lymphocyte]")
    (folder / "classes.txt").write_text("lymphocyte\nneutrophil\n")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


@case("10", "YOLO with byte order marks", "exit 0", "found 9")
def _(folder: Path) -> Sequence[str]:
    for name, pixels, boxes in pictures(folder):
        path = (folder / name).with_suffix(".txt")
        path.write_text(yolo_lines(pixels, boxes), encoding="utf-8-sig")
    (folder / "data.yaml").write_text("names: [WBC]", encoding="utf-8-sig")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


for _names in (("eosi", "NEU", "BNE"), ("Eosinófilos", "Linfocitos", "segmentados"),
               ("эозинофилы", "лимфоциты", "нейтрофилы"),
               ("嗜酸性粒细胞", "淋巴细胞", "中性粒细胞"),
               ("Eosinophile", "Lymphozyten", "Segmentkernige")):  # fmt: skip

    @case("10", f"class folders {', '.join(_names)}", "exit 0", "cells 3")
    def _(folder: Path, names: tuple[str, ...] = _names) -> Sequence[str]:
        for seed, name in enumerate(names):
            pixels, boxes = field(seed)
            x0, y0, x1, y1 = (round(v) for v in boxes[0])
            (folder / name).mkdir()
            crop = pixels[max(0, y0 - 40) : y1 + 40, max(0, x0 - 40) : x1 + 40]
            cv2.imencode(".png", crop)[1].tofile(folder / name / "1.png")
        return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


for _title, _text in (
    ("sep=; and 1.200", "sep=;\nslide;neut;lymph;mono;eos;n\ns1;1.200;600;160;40;2.000\n"),
    ("decimal commas", "slide;neut %;lymph %;mono %;eos %;n\ns1;60,0;30,0;8,0;2,0;2.000\n"),
):

    @case("10", f"CSV of a manual count with {_title}", "exit 0")
    def _(folder: Path, text: str = _text) -> Sequence[str]:
        (folder / "manual.csv").write_text(text, encoding="utf-8-sig")
        rows = "s1,neutrophil,60\ns1,lymphocyte,30\ns1,monocyte,8\ns1,eosinophil,2\n"
        (folder / "differential.csv").write_text("group,label,count\n" + rows)
        return ["agree", str(folder / "differential.csv"), str(folder / "manual.csv")]


# --------------------------------------------------------------------------------------------


def run(arguments: Sequence[str], package: Path, where: Path) -> str:
    """Return what a command said and did, in a few words."""
    where.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(where / "out", ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wbcdet", *arguments], cwd=where, env=environment,
            capture_output=True, text=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end within {_PATIENCE} s"
    return "; ".join([f"exit {done.returncode}", *_figures(where / "out"), *_said(done)])


def _figures(out: Path) -> list[str]:
    if (out / "cells.csv").is_file() and (out / "results.json").is_file():
        with (out / "cells.csv").open(encoding="utf-8", newline="") as file:
            counted = [row for row in csv.DictReader(file) if not row.get("left_out")]
        names = sorted(Counter(row["label"] for row in counted).items())
        return [f"{len(counted)} cells: " + ", ".join(f"{count} {name}" for name, count in names)]
    if (out / "evaluation.json").is_file():
        document = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
        one = document["lists"][0]
        both = one.get("outcome") or one.get("both") or one.get("naming") or {}
        keys = ("cells", "found", "missed", "named", "declined")
        return [", ".join(f"{key} {both[key]}" for key in keys if key in both)]
    return []


def _said(done: subprocess.CompletedProcess[str]) -> list[str]:
    words = (
        *("interlaced", "square", "read", "damaged", "beside", "id in the", "differently"),
        *("no labels", "signal", "answer", "exit requested", "lie on no cell", "ended", "number"),
    )
    lines = [*done.stderr.splitlines(), *done.stdout.splitlines()]
    # Several lines may say the same.
    found = dict.fromkeys(
        line.removeprefix("wbcdet: ")[:160] for line in lines if any(w in line for w in words)
    )
    return [one for one in found if "Research use" not in one][:2]


def rows(only: str | None, against: Path | None, root: Path) -> Iterator[Row]:
    """Yield the cases of films and labels, one after the other."""
    packages = [*([against] if against else []), REPOSITORY]
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # never answers
    quiet = f"http://127.0.0.1:{silent.server_port}"
    for number, one in enumerate(CASES):
        if not is_chosen(only, one.section, one.title):
            continue
        place = root / f"case-{number:02}"
        place.mkdir(parents=True, exist_ok=True)
        arguments = one.make(place)
        with served(functools.partial(Files, directory=str(place))) as address:
            arguments = [a.replace("SERVER", address).replace("SILENT", quiet) for a in arguments]
            said = [
                run(arguments, package, root / f"case-{number:02}-{i}")
                .replace(str(root), "…")
                .replace(address, "http://…")
                .replace(quiet, "http://…")
                for i, package in enumerate(packages)
            ]
        right = all(part in said[-1] for part in one.expected)
        yield Row(one.section, one.title, said[0], said[-1], right)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="the cases of one section, or with a word in their title")
    parser.add_argument("--keep", type=Path, help="keep the files there")
    parser.add_argument("--against", type=Path, help="another checkout, for a column beside it")
    given = parser.parse_args()
    against = given.against and given.against.resolve()
    with tempfile.TemporaryDirectory() as folder:
        made = rows(given.only, against, given.keep or Path(folder))
        return print_table(made, against=against is not None)


if __name__ == "__main__":
    sys.exit(main())

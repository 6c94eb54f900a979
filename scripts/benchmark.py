"""Compare time and memory of wbcdet, ultralytics, a two-stage script and the bare graph.

Without --part it measures all in some ten minutes, and prints at the end one table of the ratios
that docs/performance.md names aims for. Every round runs all contenders one after the other; ratios
are taken within a round, so that a machine that speeds up or slows down moves both sides. Needs the
data archives (`wbcdet data fetch`) and, for the others' figures, `pip install '.[train]'`; what is
missing is said and left out.
"""

from __future__ import annotations

import compileall
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

REPOSITORY = Path(__file__).resolve().parent.parent
#: Fields of each set.
SMALL, LARGE = 300, 60
#: Numbers of fields whose cost is compared: with the models, and with some that answer at once.
MANY, WITHOUT_MODELS = (100, 1000, 10_000), (100, 1000, 10_000, 100_000)
#: What is measured, with its aim: at least so much, or at most.
AIMS = {
    "300 fields of 640x480, `yolo predict` over wbcdet": (5, "at least"),
    "the same, plain two-stage script over wbcdet": (6, "at least"),
    "the detector's graph and decoding over wbcdet, models loaded": (0.90, "at least"),
    "one picture, cold, wbcdet over `yolo predict`": (0.08, "at most"),
    "60 fields of 2048x1536, `yolo predict` over wbcdet": (5, "at least"),
    "peak memory, wbcdet over `yolo predict`": (0.125, "at most"),
    "stream of 640x480, ms from frame to result": (25, "at most"),
    "processor time a field, 10,000 over 100 fields": (1.05, "at most"),
    "the same without models, 100,000 over 1000 fields": (1.05, "at most"),
}
Figures = dict[str, tuple[float, str]]


class Part(str, Enum):
    """Parts that can be measured."""

    ONE = "one"
    SMALL = "small"
    LARGE = "large"
    WARM = "warm"
    WARM_LARGE = "warm-large"
    STREAM = "stream"
    MANY = "many"


@dataclass
class Contender:
    """One way to do the work, and what it took in each round."""

    name: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


def pictures(folder: Path, archive: str, number: int) -> Path:
    """Return the first pictures of an archive as files."""
    from wbcdet.datasets.archives import open_archive

    opened = open_archive(archive)
    names = [name for name in opened.names() if name.endswith(".jpg") and "ubimage" not in name]
    target = folder / archive
    target.mkdir()
    for name in names:
        data = opened.read(name)
        if archive == "bccd" or _is_large(data):
            (target / "-".join(Path(name).parts[-2:])).write_bytes(data)
        if len(list(target.iterdir())) == number:
            break
    return target


def _is_large(data: bytes) -> bool:
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        return picture.size == (2048, 1536)


def environment(work: Path) -> dict[str, str]:
    """Set for all contenders the package of this tree, and settings of ultralytics of their own."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "YOLO_CONFIG_DIR": str(work), "YOLO_OFFLINE": "true"}


def measure(contender: Contender, env: dict[str, str]) -> None:
    """Run a contender as a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        contender.command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{contender.name} failed: {errors[-2000:]}")
    contender.seconds.append(time.perf_counter() - start)
    contender.processor.append(used.ru_utime + used.ru_stime)
    peak = used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    contender.peak_mb = max(contender.peak_mb, peak)


def warm(contenders: list[Contender], env: dict[str, str], rounds: int) -> None:
    """Run contenders that stay loaded, in turn."""
    running = []
    for contender in contenders:
        process = subprocess.Popen(
            contender.command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        running.append((contender, process.stdin, process.stdout, process))
        _answer(process.stdout, "ready")
    for _ in range(rounds):
        for contender, asks, answers, _process in running:
            print(file=asks, flush=True)
            contender.seconds.append(float(_answer(answers, "took")))
    for contender, asks, _answers, process in running:
        asks.close()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
        contender.processor.append(float("nan"))
        contender.peak_mb = used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def _answer(lines: object, word: str) -> str:
    for line in lines:  # type: ignore[attr-defined]
        if line.startswith(word):
            return str(line.removeprefix(word).strip())
    raise RuntimeError("a contender ended early")


def show(title: str, contenders: list[Contender], fields: int) -> None:
    """Print a table; ratios are of the first contender's time, pair by pair."""
    first = contenders[0]
    print(f"\n{title}, {len(first.seconds)} rounds\n")
    print("| | seconds | fields/s | processor s | peak MB | its time over wbcdet's (least-most) |")
    print("|---|---|---|---|---|---|")
    for contender in contenders:
        ratios = [a / b for a, b in zip(contender.seconds, first.seconds, strict=True)]
        took = median(contender.seconds)
        print(
            f"| {contender.name} | {took:.2f} | {fields / took:.1f} "
            f"| {median(contender.processor):.2f} | {contender.peak_mb:.0f} "
            f"| {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |",
            flush=True,
        )


def whole_processes(
    source: Path, work: Path, checkpoint: Path | None, bf16: bool, device: str
) -> list:
    """Return the contenders as commands."""
    python, out = sys.executable, work / "out"
    ours = [python, "-m", "wbcdet", "predict", str(source), "--quiet", "--out", str(out)]
    made = [
        Contender("wbcdet predict", [*ours, "--device", device]),
        Contender("wbcdet predict --no-annotate", [*ours, "--device", device, "--no-annotate"]),
    ]
    if bf16:
        made.append(Contender("wbcdet predict --device cpu-bf16", [*ours, "--device", "cpu-bf16"]))
    if checkpoint is not None:
        yolo = "import sys; from ultralytics.cfg import entrypoint; entrypoint()"
        options = [f"model={checkpoint}", f"source={source}", f"project={work / 'yolo'}", "name=r"]
        place = "0" if device == "cuda" else "cpu"
        command = [python, "-c", yolo, "predict", *options, "exist_ok=True", f"device={place}"]
        made.append(Contender("yolo predict (detection only)", command))
        script = str(REPOSITORY / "scripts" / "plain_two_stage.py")
        options = ["--checkpoint", str(checkpoint), "--out", str(work / "two"), "--device", device]
        options += ["--weights", str(REPOSITORY / "weights")]
        if source.is_dir():
            made.append(
                Contender("plain two-stage script", [python, script, str(source), *options])
            )
    return made


def warm_processes(
    source: Path, work: Path, checkpoint: Path | None, bf16: bool, device: str
) -> list:
    """Return the contenders as processes that stay loaded."""
    names = {"wbcdet": "wbcdet", "wbcdet-plain": "wbcdet, no pictures"}
    if bf16:
        names["wbcdet-bf16"] = "wbcdet, cpu-bf16"
    if checkpoint is not None:
        names |= {"yolo": "ultralytics (detection only)", "two-stage": "plain two-stage script"}
    names |= {"floor": "the graph alone", "floor-decode": "the graph and JPEG decoding"}
    script = str(REPOSITORY / "scripts" / "benchmark_warm.py")
    return [
        Contender(
            title,
            [sys.executable, script, key, str(source), str(work / key), str(checkpoint), device],
        )
        for key, title in names.items()
    ]


def many(source: Path, work: Path, env: dict[str, str], device: str) -> Figures:
    """Print what a field costs in runs of more and more, under new names."""
    print("\n| fields | ms a field | processor ms a field | peak MB |\n|---|---|---|---|")
    files = sorted(source.iterdir())
    cost = {}
    for number in MANY:
        folder = _links(files, work / f"many-{number}", number)
        command = [sys.executable, "-m", "wbcdet", "predict", str(folder), "--quiet"]
        command += ["--no-annotate", "--device", device, "--out", str(work / "out")]
        took = Contender("wbcdet", command)
        measure(took, env)
        each, cost[number] = (1e3 * of[0] / number for of in (took.seconds, took.processor))
        print(f"| {number} | {each:.1f} | {cost[number]:.1f} | {took.peak_mb:.0f} |", flush=True)
    bare = {}
    script = str(REPOSITORY / "scripts" / "benchmark_growth.py")
    for number in WITHOUT_MODELS:
        folder = _links(_tiny(work), work / f"bare-{number}", number)
        command = [sys.executable, script, str(folder), str(work / "bare-out")]
        said = subprocess.run(command, env=env, capture_output=True, check=True, text=True).stdout
        seconds, processor, peak = map(float, said.split())
        bare[number] = 1e3 * processor / number
        print(
            f"| {number}, without models | {1e3 * seconds / number:.2f} | {bare[number]:.2f} "
            f"| {peak:.0f} |",
            flush=True,
        )
    names = list(AIMS)[-2:]
    return {
        names[0]: (cost[MANY[-1]] / cost[MANY[0]], ""),
        names[1]: (bare[WITHOUT_MODELS[-1]] / bare[WITHOUT_MODELS[1]], ""),
    }


def _links(files: list[Path], folder: Path, number: int) -> Path:
    folder.mkdir()
    for index in range(number):
        os.link(files[index % len(files)], folder / f"{index}.jpg")
    return folder


def _tiny(work: Path) -> list[Path]:
    """Return fields so small that reading them is nothing; a file has 65,000 names at most."""
    from PIL import Image

    paths = [work / f"tiny-{number}.jpg" for number in range(4)]
    for path in paths:
        Image.effect_noise((64, 48), 40).convert("RGB").save(path)
    return paths


def stream(env: dict[str, str], seconds: int) -> Figures:
    """Watch a camera in real time."""
    script = str(REPOSITORY / "scripts" / "stream_speed.py")
    command = [sys.executable, script, "--seconds", str(seconds + 2), "--every", str(seconds)]
    said = subprocess.run(command, env=env, capture_output=True, check=True, text=True).stdout
    print(f"\nStream of 640x480, 30 frames a second\n\n{said}", flush=True)
    took = re.findall(r"processing +(\d+) ms", said)
    return {"stream of 640x480, ms from frame to result": (float(took[-1]), "")}


def processor() -> str:
    """Name the processor, its cores, and the widest vectors that it computes with."""
    from wbcdet.utils.parallel import cores

    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return f"{platform.processor() or platform.machine()}, {cores()} cores"
    name = re.search(r"model name\s*: (.*)", text)
    flags = set(re.findall(r"\b(avx2|avx512f|avx512_vnni|avx512_bf16|amx_tile)\b", text))
    said = [
        word for flag, word in (
            ("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_vnni", "VNNI"),
            ("avx512_bf16", "BF16"), ("amx_tile", "AMX"),
        ) if flag in flags
    ]  # fmt: skip
    return f"{name[1] if name else platform.machine()}, {cores()} cores, {', '.join(said)}"


def ratio(over: Contender, under: Contender) -> tuple[float, str]:
    """Return the median of the ratios of two contenders' times, pair by pair, and their range."""
    pairs = [a / b for a, b in zip(over.seconds, under.seconds, strict=True)]
    return median(pairs), f"{min(pairs):.2f} to {max(pairs):.2f}"


def judge(part: Part, contenders: list[Contender]) -> Figures:
    """Return the figures of a part that have an aim."""
    by = {contender.name: contender for contender in contenders}
    ours = contenders[0]
    names = list(AIMS)
    yolo, script = by.get("yolo predict (detection only)"), by.get("plain two-stage script")
    figures: Figures = {}
    if part is Part.SMALL and yolo and script:
        figures[names[0]] = ratio(yolo, ours)
        figures[names[1]] = ratio(script, ours)
        figures[names[5]] = (ours.peak_mb / yolo.peak_mb, "")
    elif part is Part.WARM:
        figures[names[2]] = ratio(by["the graph and JPEG decoding"], ours)
    elif part is Part.ONE and yolo:
        figures[names[3]] = ratio(ours, yolo)
    elif part is Part.LARGE and yolo:
        figures[names[4]] = ratio(yolo, ours)
    return figures


def show_aims(figures: Figures) -> None:
    """Print the table of aims."""
    print(f"\n{processor()}\n\n| | aim | measured (least to most) | |\n|---|---|---|---|")
    for name, (value, spread) in sorted(
        figures.items(), key=lambda item: list(AIMS).index(item[0])
    ):
        aim, way = AIMS[name]
        met = value >= aim if way == "at least" else value <= aim
        shown = f"{value:.0f}" if value > 15 else f"{value:.2f}"
        shown = f"{value:.3f}" if value < 0.3 else shown
        said = f"{shown} ({spread})" if spread else shown
        print(f"| {name} | {way} {aim} | {said} | {'met' if met else 'missed'} |", flush=True)


def _runs(arguments: list[str], env: dict[str, str]) -> bool:
    """Tell whether a Python process ends well.

    Large imports stay out of this process: the system counts its memory as that of its children.
    """
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


def main(
    parts: Annotated[
        list[Part] | None, typer.Option("--part", help="What to measure; all without it.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 5,
    half: Annotated[bool, typer.Option("--half", help="Time --device cpu-bf16 too.")] = False,
    seconds: Annotated[int, typer.Option(help="How long the stream is watched.")] = 20,
    fields: Annotated[int, typer.Option(min=1, help="Small fields, at most 300.")] = SMALL,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Print a table for each part."""
    sys.path.insert(0, str(REPOSITORY))
    from wbcdet.datasets.archives import DataError

    # As pip does: else each start compiles what the others' libraries have compiled already.
    compileall.compile_dir(REPOSITORY / "wbcdet", quiet=1)
    with tempfile.TemporaryDirectory(prefix="wbcdet-benchmark-") as folder:
        work = Path(folder)
        env = environment(work)
        try:
            small = pictures(work, "bccd", min(fields, SMALL))
            large = pictures(work, "bcisc", LARGE)
        except DataError as error:
            print(f"benchmark: {error}", file=sys.stderr)
            raise typer.Exit(2) from error
        checkpoint: Path | None = work / "detector.pt"
        if not _runs(
            [str(REPOSITORY / "scripts" / "detector_checkpoint.py"), str(checkpoint)], env
        ):
            checkpoint = None
            print("no checkpoint (pip install '.[train]'?): without the others' figures")
        opened = "from wbcdet.inference.detector import Detector; Detector('cpu-bf16')"
        bf16 = half and device == "cpu" and _runs(["-c", opened], env)
        if half and not bf16:
            print("no openvino, or a processor without bfloat16: without cpu-bf16")
        figures: Figures = {}
        picture = next(iter(sorted(small.iterdir())))
        cases = {
            Part.ONE: (picture, "One field, whole process"),
            Part.SMALL: (small, "Fields of 640x480, whole process"),
            Part.LARGE: (large, "Fields of 2048x1536, whole process"),
            Part.WARM: (small, "Fields of 640x480, models loaded"),
            Part.WARM_LARGE: (large, "Fields of 2048x1536, models loaded"),
        }
        for part, (source, title) in cases.items():
            # What has no aim is measured where it is asked for.
            if part not in (parts or set(cases) - {Part.WARM_LARGE}):
                continue
            number = len(list(source.iterdir())) if source.is_dir() else 1
            given = source, work, checkpoint, bf16, device
            if part in (Part.WARM, Part.WARM_LARGE):
                # Others with their models loaded have no aim.
                others = checkpoint if parts else None
                contenders = warm_processes(source, work, others, bf16, device)
                warm(contenders, env, rounds)
            else:
                contenders = whole_processes(*given)
                for _ in range(rounds):
                    for contender in contenders:
                        measure(contender, env)
            show(f"{title}: {number}", contenders, number)
            figures |= judge(part, contenders)
        if not parts or Part.STREAM in parts:
            figures |= stream(env, seconds)
        if not parts or Part.MANY in parts:
            figures |= many(small, work, env, device)
        show_aims(figures)


if __name__ == "__main__":
    typer.run(main)

"""Compare time and memory of wbcdet, ultralytics, a two-stage script and the bare graph.

Every round runs all contenders one after the other; ratios are taken within a round, so that a
machine that speeds up or slows down moves both sides. Needs the data archives (`wbcdet data fetch`)
and, for the others' figures, `pip install '.[train]'`; what is missing is said and left out.
"""

from __future__ import annotations

import os
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
#: Numbers of fields whose cost is compared.
MANY = (100, 1000, 10_000)


class Part(str, Enum):
    """Parts that can be measured."""

    ONE = "one"
    SMALL = "small"
    LARGE = "large"
    WARM = "warm"
    WARM_LARGE = "warm-large"
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
    for one in contenders:
        process = subprocess.Popen(
            one.command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        running.append((one, process.stdin, process.stdout, process))
        _answer(process.stdout, "ready")
    for _ in range(rounds):
        for one, asks, answers, _process in running:
            print(file=asks, flush=True)
            one.seconds.append(float(_answer(answers, "took")))
    for one, asks, _answers, process in running:
        asks.close()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
        one.processor.append(float("nan"))
        one.peak_mb = used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


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
    for one in contenders:
        ratios = [a / b for a, b in zip(one.seconds, first.seconds, strict=True)]
        took = median(one.seconds)
        print(
            f"| {one.name} | {took:.2f} | {fields / took:.1f} | {median(one.processor):.2f} "
            f"| {one.peak_mb:.0f} | {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |",
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


def many(source: Path, work: Path, env: dict[str, str], device: str) -> None:
    """Print what a field costs in runs of more and more, under new names."""
    print("\n| fields | ms a field | processor ms a field | peak MB |\n|---|---|---|---|")
    files = sorted(source.iterdir())
    for number in MANY:
        folder = work / f"many-{number}"
        folder.mkdir()
        for one in range(number):
            os.link(files[one % len(files)], folder / f"{one}.jpg")
        command = [sys.executable, "-m", "wbcdet", "predict", str(folder), "--quiet"]
        command += ["--no-annotate", "--device", device, "--out", str(work / "out")]
        took = Contender("wbcdet", command)
        measure(took, env)
        each, processor = (1e3 * of[0] / number for of in (took.seconds, took.processor))
        print(f"| {number} | {each:.1f} | {processor:.1f} | {took.peak_mb:.0f} |", flush=True)


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
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 7,
    fields: Annotated[int, typer.Option(min=1, help="Small fields, at most 300.")] = SMALL,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Print a table for each part."""
    sys.path.insert(0, str(REPOSITORY))
    from wbcdet.datasets.archives import DataError

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
        half = "from wbcdet.inference.detector import Detector; Detector('cpu-bf16')"
        bf16 = device == "cpu" and _runs(["-c", half], env)
        if not bf16:
            print("no openvino, or a processor without bfloat16: without cpu-bf16")
        one = next(iter(sorted(small.iterdir())))
        cases = {
            Part.ONE: (one, "One field, whole process"),
            Part.SMALL: (small, "Fields of 640x480, whole process"),
            Part.LARGE: (large, "Fields of 2048x1536, whole process"),
            Part.WARM: (small, "Fields of 640x480, models loaded"),
            Part.WARM_LARGE: (large, "Fields of 2048x1536, models loaded"),
        }
        for part, (source, title) in cases.items():
            if parts and part not in parts:
                continue
            number = len(list(source.iterdir())) if source.is_dir() else 1
            given = source, work, checkpoint, bf16, device
            if part in (Part.WARM, Part.WARM_LARGE):
                contenders = warm_processes(*given)
                warm(contenders, env, rounds)
            else:
                contenders = whole_processes(*given)
                for _ in range(rounds):
                    for contender in contenders:
                        measure(contender, env)
            show(f"{title}: {number}", contenders, number)
        if not parts or Part.MANY in parts:
            many(small, work, env, device)


if __name__ == "__main__":
    typer.run(main)

"""Time the stages of one field, and one field from pixels to result."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any, TypeVar

import cv2
import typer

T = TypeVar("T")


def main(
    archive: Annotated[str, typer.Option(help="bccd (640x480) or bcisc (2048x1536).")] = "bccd",
    fields: Annotated[int, typer.Option(min=1, help="Number of fields.")] = 60,
    device: Annotated[str, typer.Option(help="Where the models run.")] = "cpu",
) -> None:
    """Print the processor time of each stage and the latency with one thread and with all cores."""
    from wbcdet import Analyzer
    from wbcdet.datasets.archives import open_archive
    from wbcdet.inference.detector import Detector
    from wbcdet.inference.field_stain import measure_field
    from wbcdet.io.decode import decode
    from wbcdet.results.writer import write_annotated
    from wbcdet.utils.parallel import cores

    cv2.setNumThreads(1)  # as the commands do
    opened = open_archive(archive)
    names = [name for name in opened.names() if name.endswith(".jpg") and "ubimage" not in name]
    analyzer = Analyzer(device=device)
    detector, classifier = analyzer.detector, analyzer.classifier
    assert isinstance(detector, Detector)
    spent: dict[str, list[float]] = defaultdict(list)

    def timed(stage: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        spent[stage].append(time.process_time() - start)
        return result

    target = Path(tempfile.mkdtemp()) / "field.jpg"
    pictures: list[Any] = []
    for name in names[: fields + 3]:
        data = opened.read(name)
        pixels = timed("decode", lambda data=data: decode(data, 10**9))
        pictures = [*pictures[-20:], pixels]
        colours = timed("colours of the field", lambda pixels=pixels: measure_field(pixels))
        boxes, _ = timed(
            "looks of the detector",
            lambda p=pixels, c=colours: detector.detect_whole(p, colours=c),
        )
        crops = timed("crop", lambda p=pixels, b=boxes: [classifier.crop(p, box) for box in b])
        timed("classifier", lambda crops=crops: classifier.classify(crops))
        result = analyzer.analyze(pixels)
        timed(
            "draw, write",
            lambda p=pixels, r=result: write_annotated(target.parent, target.name, p, r),
        )
    stages = {stage: sum(took[3:]) / len(took[3:]) * 1e3 for stage, took in spent.items()}
    whole = sum(stages.values())
    print("| stage | ms a field | share % |\n|---|---|---|")
    for stage, took in stages.items():
        print(f"| {stage} | {took:.2f} | {100 * took / whole:.1f} |")
    print(f"| together | {whole:.2f} | 100 |")
    cv2.setNumThreads(cores())
    for threads in sorted({1, cores()}):
        timed_analyzer = Analyzer(device=device, threads=threads)
        took = []
        for pixels in pictures:
            start = time.perf_counter()
            timed_analyzer.analyze(pixels)
            took.append((time.perf_counter() - start) * 1e3)
        took = sorted(took[3:])
        late = took[int(len(took) * 0.95)]
        print(
            f"\npixels to result, threads={threads}: median {median(took):.1f} ms, 95 % {late:.1f}"
        )


if __name__ == "__main__":
    typer.run(main)

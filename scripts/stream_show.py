"""Count the cells of ten panned videos, each once; beside it what other ways of counting give.

Six videos are panned over synthetic smears, four over real fields stitched into one (left out
where there is no prepared data). Truth: cells whose box was ever wholly inside a sharp frame.
Needs ``pip install trackers`` for the column of plain ByteTrack.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import stream_scenes as scenes
import typer

SIZE = (640, 480)


def make_scenes(prepared: Path | None) -> list[scenes.Scene]:
    """Return the ten slides."""
    found = [
        scenes.synthetic(seed, cell_px, per_mm2)
        for seed, cell_px, per_mm2 in (
            (21, 60, 250),
            (22, 70, 350),
            (23, 80, 400),
            (24, 90, 450),
            (25, 70, 450),
            (26, 60, 350),
        )
    ]
    if prepared is not None:
        found += [
            scenes.stitched(prepared, "bccd", 0, 0.6, 8, 7),
            scenes.stitched(prepared, "bccd", 1, 0.6, 8, 7),
            scenes.stitched(prepared, "txl-raabin", 0, 0.75, 6, 6),
            scenes.stitched(prepared, "bcisc", 0, 0.3, 6, 6),
        ]
    return found


def ours(video: Path, out: Path) -> int:
    """Return cells that ``wbcdet stream`` counts."""
    command = [sys.executable, "-m", "wbcdet", "stream", str(video), "--out", str(out), "--quiet"]
    subprocess.run(command, check=True)
    with (out / "cells.csv").open(encoding="utf-8", newline="") as file:
        cells = [row for row in csv.DictReader(file) if not row["left_out"]]
    return len(cells)


def others(video: Path) -> tuple[int, int]:
    """Return boxes of all frames, and tracks that plain ByteTrack makes of them."""
    import supervision as sv
    from trackers import ByteTrackTracker

    from wbcdet.inference.detector import Detector
    from wbcdet.stream.sources.base import Frame
    from wbcdet.stream.sources.video import VideoFile

    detector, tracker = Detector(), ByteTrackTracker(frame_rate=15)
    boxes, tracks = 0, set()
    for frame in VideoFile(video).frames():
        if not isinstance(frame, Frame):
            continue
        xyxy, scores = detector.detect(frame.pixels)
        boxes += len(xyxy)
        found = sv.Detections(xyxy=xyxy, confidence=scores, class_id=scores.astype(int) * 0)
        tracked = tracker.update(found)
        tracks |= {number for number in tracked.tracker_id.tolist() if number >= 0}
    return boxes, len(tracks)


def main(
    prepared: Annotated[
        Path | None, typer.Option(help="What `wbcdet data prepare` made, for the real fields.")
    ] = None,
    only: Annotated[str, typer.Option(help="Only scenes whose name has this in it.")] = "",
    keep: Annotated[
        Path | None, typer.Option(help="Keep videos and reports in this folder.")
    ] = None,
    compare: Annotated[bool, typer.Option(help="Also count in the other ways.")] = True,
) -> None:
    """Print the table."""
    head = "scene           frames  cells   ours  error"
    print(f"{head}    boxes  ByteTrack" if compare else head, flush=True)
    totals = [0, 0, 0, 0]
    with tempfile.TemporaryDirectory() as folder:
        for number, scene in enumerate(make_scenes(prepared)):
            if only not in scene.name:
                continue
            place = keep or Path(folder)
            place.mkdir(parents=True, exist_ok=True)
            video = place / f"{scene.name.replace(' ', '-')}.mp4"
            stops = scenes.pan(scene, SIZE, number)
            frames = scenes.write(video, scenes.frames(scene, stops, SIZE, number), SIZE)
            true = scenes.truth(scene, stops, SIZE)
            counted = ours(video, place / video.stem)
            line = f"{scene.name:15} {frames:6} {true:6} {counted:6} {counted / true - 1:+6.1%}"
            boxes, tracks = others(video) if compare else (0, 0)
            print(f"{line} {boxes:8} {tracks:10}" if compare else line, flush=True)
            for i, value in enumerate((true, counted, boxes, tracks)):
                totals[i] += value
    true, counted, boxes, tracks = totals
    print(f"all                    {true:6} {counted:6} {counted / true - 1:+6.1%}")
    if compare:
        print(
            f"boxes of all frames {boxes} ({boxes / true - 1:+.0%}), ByteTrack {tracks} "
            f"({tracks / true - 1:+.0%})"
        )


if __name__ == "__main__":
    typer.run(main)

"""Average precision, against COCO's own code."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from wbcdet.evaluation.average_precision import average_precision
from wbcdet.evaluation.detection import FoundField


def picture(rng: np.random.Generator, cells: int, boxes: int, digits: int) -> FoundField:
    """Return a picture with boxes near its cells and elsewhere."""
    corners = rng.uniform(0, 60, (cells + boxes, 2))
    every = np.hstack([corners, corners + rng.uniform(5, 50, (cells + boxes, 2))])
    truth, found = every[:cells], every[cells:]
    for index in range(min(cells, boxes)):
        if rng.random() < 0.7:
            found[index] = truth[index] + rng.normal(0, 2, 4)
    return FoundField(truth, found, np.round(rng.random(boxes), digits), (120, 120), "")


def by_coco(pictures: list[FoundField]) -> tuple[float, float]:
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")

    def rows(boxes: np.ndarray, image: int) -> list[dict[str, object]]:
        return [
            {"image_id": image, "category_id": 1, "bbox": [x, y, x2 - x, y2 - y]}
            for x, y, x2, y2 in boxes.tolist()
        ]

    truth, found = [], []
    for number, shown in enumerate(pictures):
        for row in rows(shown.truth, number):
            *_, width, height = row["bbox"]  # type: ignore[misc]
            truth.append({**row, "id": len(truth) + 1, "iscrowd": 0, "area": width * height})
        for row, score in zip(rows(shown.boxes, number), shown.scores.tolist(), strict=True):
            found.append({**row, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_module.COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(len(pictures))],
            "annotations": truth, "categories": [{"id": 1}], "info": {},
        }  # fmt: skip
        coco.createIndex()
        judge = evaluation.COCOeval(coco, coco.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[1]), float(judge.stats[0])


@pytest.mark.parametrize("seed", range(12))
def test_as_cocos_own_code_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Some with equal scores, some with more boxes than count.
    digits, most = (2, 8) if seed % 2 else (6, 130)
    pictures = [picture(rng, int(rng.integers(0, 6)), int(rng.integers(1, most)), digits)
                for _ in range(7)]  # fmt: skip
    got = average_precision(pictures)
    assert (got["ap50"], got["ap50_95"]) == pytest.approx(by_coco(pictures), abs=1e-9)


def test_nothing_to_find_and_nothing_found() -> None:
    none = np.zeros((0, 4))
    empty = FoundField(none, none, np.zeros(0), (9, 9), "")
    unseen = FoundField(np.array([[1.0, 1, 5, 5]]), none, np.zeros(0), (9, 9), "")
    for pictures in ([], [empty], [unseen], [empty, unseen]):
        assert average_precision(pictures) == {"ap50": 0, "ap50_95": 0}

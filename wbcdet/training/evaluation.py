"""Figures of the models on labelled lists, with their intervals."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.stats import binomtest
from ultralytics.utils.metrics import ap_per_class, box_iou

from wbcdet.classifier import Verdict, decide
from wbcdet.records import LABELS
from wbcdet.training.cells import CLASSES

#: (pixels, least score) → boxes (N, 4), scores (N,)
Detect = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


@dataclass(slots=True)
class TestField:
    """A field with the white cells that must be found.

    Attributes:
        truth: (N, 4) boxes.
        types: cell type of each, "" where nobody said.
        ignored: (M, 4) regions in which a box is neither right nor wrong.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    types: list[str]
    ignored: np.ndarray


def interval(hits: int, total: int) -> tuple[float, float]:
    """95 % Wilson interval of a proportion; (0, 1) for no trials."""
    if total == 0:
        return 0.0, 1.0
    ci = binomtest(hits, total).proportion_ci(method="wilson")
    return float(ci.low), float(ci.high)


def load_test_fields(prepared: Path, choose: Callable[[dict[str, str]], bool]) -> list[TestField]:
    """Fields of the prepared folder for which ``choose`` says yes of their row."""
    boxes: dict[str, list[dict[str, str]]] = {}
    with (prepared / "boxes.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            boxes.setdefault(row["field"], []).append(row)
    fields = []
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in filter(choose, csv.DictReader(stream)):
            image = cv2.imread(str(prepared / "fields" / row["field"]))
            assert image is not None, row["field"]

            def corners(kind: str, name: str = row["field"]) -> np.ndarray:
                found = [
                    [float(b[k]) for k in ("x_min", "y_min", "x_max", "y_max")]
                    for b in boxes.get(name, [])
                    if b["kind"] == kind
                ]
                return np.array(found).reshape(-1, 4)

            types = [b["cell_type"] for b in boxes.get(row["field"], []) if b["kind"] == "wbc"]
            fields.append(TestField(row["field"], image, corners("wbc"), types, corners("ignore")))
    return fields


def empty_windows(fields: Sequence[TestField], width: int, height: int) -> list[TestField]:
    """Windows of a regular grid on the fields that no white cell and no ignored spot reaches."""
    nothing = np.zeros((0, 4))
    windows = []
    for f in fields:
        for y in range(0, f.image.shape[0] - height + 1, height):
            for x in range(0, f.image.shape[1] - width + 1, width):
                kept = [
                    b
                    for b in np.concatenate([f.truth, f.ignored])
                    if b[0] < x + width and b[2] > x and b[1] < y + height and b[3] > y
                ]
                if not kept:
                    part = f.image[y : y + height, x : x + width]
                    windows.append(TestField(f"{f.name}@{x},{y}", part, nothing, [], nothing))
    return windows


def match(truth: np.ndarray, boxes: np.ndarray, least: float = 0.5) -> list[tuple[int, int]]:
    """Pairs (truth, box) by falling overlap, each used once, of at least this IoU."""
    if not len(truth) or not len(boxes):
        return []
    iou = box_iou(torch.from_numpy(truth).float(), torch.from_numpy(boxes).float()).numpy()
    pairs = []
    while iou.size and iou.max() >= least:
        t, b = np.unravel_index(iou.argmax(), iou.shape)
        pairs.append((int(t), int(b)))
        iou[t, :] = iou[:, b] = -1
    return pairs


def judge_detector(
    detect: Detect, fields: Sequence[TestField], confidence: float
) -> dict[str, Any]:
    """AP50, AP50-95 over all scores; recall, precision and false boxes at ``confidence``."""
    thresholds = np.arange(0.5, 1.0, 0.05)
    hits, scores = [], []
    cells = found = false = 0
    for f in fields:
        boxes, score = detect(f.image, 0.001)
        if len(f.ignored) and len(boxes):
            centre = (boxes[:, :2] + boxes[:, 2:]) / 2
            apart = np.ones(len(boxes), bool)
            for i in f.ignored:
                apart &= ~np.all((centre > i[:2]) & (centre < i[2:]), axis=1)
            boxes, score = boxes[apart], score[apart]
        right = np.zeros((len(boxes), len(thresholds)), bool)
        for column, least in enumerate(thresholds):
            for _, b in match(f.truth, boxes, least):
                right[b, column] = True
        hits.append(right)
        scores.append(score)
        cells += len(f.truth)
        shown = score >= confidence
        good = len(match(f.truth, boxes[shown]))
        found += good
        false += int(shown.sum()) - good
    out: dict[str, Any] = {"fields": len(fields), "cells": cells}
    if cells:
        tp, conf = np.concatenate(hits), np.concatenate(scores)
        ap = ap_per_class(tp, conf, np.zeros(len(conf)), np.zeros(cells))[5]
        out |= {"ap50": float(ap[0, 0]), "ap50_95": float(ap[0].mean())}
        out |= {"recall": found / cells, "recall_ci": interval(found, cells)}
        out |= {"precision": found / max(found + false, 1)}
        out |= {"f1": 2 * found / max(cells + found + false, 1)}
    out |= {"false_boxes": false, "false_per_field": false / max(len(fields), 1)}
    return out


def judge_labels(probabilities: np.ndarray, labels: np.ndarray, min_score: float) -> dict[str, Any]:
    """Figures of the classifier.

    Args:
        probabilities: (N, classes), calibrated.
        labels: (N,) indices into ``CLASSES``.
        min_score: threshold of the label's score.

    Returns:
        ``accuracy`` over cells of the four classes with unclassified counted as wrong, precision,
        recall and F1 of each, and how many basophils and artefacts came out unclassified.
    """
    verdicts: list[Verdict] = [decide(p, CLASSES, min_score) for p in probabilities]
    named = np.array([str(v.label) for v in verdicts])
    truth = np.array([CLASSES[label] for label in labels])
    four = [str(label) for label in LABELS]
    of_four = np.isin(truth, four)
    hits, total = int((named == truth)[of_four].sum()), int(of_four.sum())
    open_ = named == "unclassified"
    out: dict[str, Any] = {
        "cells": total,
        "accuracy": hits / max(total, 1),
        "accuracy_ci": interval(hits, total),
        "unclassified": float(open_[of_four].mean()) if total else 0.0,
        "classes": {},
    }
    for name in four:
        tp = int(((named == name) & (truth == name)).sum())
        n, said = int((truth == name).sum()), int(((named == name) & of_four).sum())
        out["classes"][name] = {
            "cells": n,
            "recall": tp / n if n else None,
            "recall_ci": interval(tp, n),
            "precision": tp / said if said else None,
            "f1": 2 * tp / (n + said) if n + said else None,
        }
    for name in ("basophil", "artefact"):
        mask = truth == name
        n, k = int(mask.sum()), int(open_[mask].sum())
        out[name] = {"cells": n, "unclassified": k / n if n else None, "ci": interval(k, n)}
    order = [*four, "unclassified"]
    out["confusion"] = {
        t: {n: int(((truth == t) & (named == n)).sum()) for n in order}
        for t in (*four, "basophil", "artefact")
    }
    return out

"""Show what `wbcdet learn` brings: laboratories that the models have never seen, some of their
cells and fields reviewed, and the rest judged before and after.

Needs the prepared folder and the runs of `python scripts/left_out.py` (networks that were trained
without each laboratory); PBC's second camera and CellaVision were never trained on, so the shipped
models stand for theirs. Three fifths of the groups (slides, overlapping fields) of a laboratory are
learnt from, its types spread over both parts, and the rest is judged, so that no slide is on both
sides; of a type as many cells are drawn as of the others, as far as there are so many. Every row is
appended to a file as soon as it is there, and an interrupted call goes on where it was; at the end
the tables are printed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from left_out import recall_and_false

from wbcdet.training.finetune.judge import FOLDS, folds_of

#: Laboratory → run of the classifier that was trained without it; "" is the shipped one.
NAMES = {
    "bccd": "bccd",
    "bcisc": "bcisc+tecom",
    "tecom": "bcisc+tecom",
    "txl-raabin": "txl-raabin+chula-ee",
    "chula-ee": "txl-raabin+chula-ee",
    "pbc-second": "",
    "cellavision": "",
}
#: Laboratories whose detector was trained without them, a run each.
FINDING = ("bccd", "bcisc", "chula-ee", "pbc", "tecom", "txl-raabin")
#: Input size, px, and threshold that the shipped detector has.
SIZE, THRESHOLD = 320, 0.25
EVERY = ("train", "val", "test", "heldout", "crosslab")
PARTS = ("names", "finding", "useful", "own", "adapt")
#: Variations of a cell, fields that are reviewed and most that are judged, replayed cells of a
#: laboratory and class, and cells of other laboratories that are judged.
VIEWS, FIELDS, JUDGED, REPLAYED, OTHERS = 4, 20, 120, 12, 25
#: Cells of one type that is learnt as a label of its own.
OWN_CELLS = 30
#: Fifths of the groups that are learnt from.
LEARNT_FIFTHS = 3
#: A number of cells is drawn where it is at most this part of those there are; of 500, all.
SMALLEST_ALL = 2.5

Rows = list[dict[str, Any]]


def main(
    classifiers: Annotated[
        Path, typer.Option(help="Folder of `left_out.py classifier`, a run each.")
    ] = Path("runs/left-out-classifier"),
    detectors: Annotated[
        Path, typer.Option(help="Folder of `left_out.py detector`, a run each.")
    ] = Path("runs/left-out-detector"),
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Laboratory; may be repeated.")] = None,
    part: Annotated[
        list[str] | None, typer.Option(help=f"Part of {', '.join(PARTS)}; may be repeated.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Numbers of reviewed cells.")] = "100,20,50,200,500",
    draws: Annotated[int, typer.Option(help="Random draws of each number.")] = 1,
    out: Annotated[Path, typer.Option(help="File that the rows are appended to.")] = Path(
        "runs/learn.jsonl"
    ),
) -> None:
    """Make the rows that are missing, then print the tables."""
    import torch

    from wbcdet.utils.parallel import cores

    torch.set_num_threads(cores())
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    rows = list({row["key"]: row for row in map(json.loads, lines)}.values())
    keys = {row["key"] for row in rows}
    for work in _works(only, part or list(PARTS), [int(size) for size in sizes.split(",")], draws):
        if work.key in keys:
            continue
        made = work.run(classifiers, detectors, prepared, out.parent / "learn-maps")
        if made is not None:
            rows.append({"key": work.key, **made})
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(json.dumps(rows[-1]), flush=True)
    print_tables(rows)


@dataclass(frozen=True, slots=True)
class Work:
    """One row to be made."""

    part: str
    laboratory: str
    size: int = 0
    draw: int = 0

    @property
    def key(self) -> str:
        return f"{self.part} {self.laboratory} {self.size} {self.draw}"

    def run(
        self, classifiers: Path, detectors: Path, prepared: Path, kept: Path
    ) -> dict[str, Any] | None:
        """Return the figures of the row; None where the laboratory is too small for it."""
        head = {"part": self.part, "laboratory": self.laboratory, "size": self.size}
        if self.part == "finding":
            figures = find_after(self.laboratory, self.draw, detectors, prepared, kept)
            return {**head, **figures}
        lab = Laboratory(self.laboratory, classifiers, prepared, kept)
        figures_or_none = {
            "names": name_after, "useful": compare_choice, "own": own_label, "adapt": adapt,
        }[self.part](lab, self.size, self.draw)  # fmt: skip
        return None if figures_or_none is None else {**head, **figures_or_none}


def _works(
    only: list[str] | None, parts: list[str], sizes: list[int], draws: int
) -> Iterator[Work]:
    labs = [name for name in NAMES if not only or name in only]
    if "names" in parts:
        yield from (Work("names", lab, sizes[0], 0) for lab in labs)
    if "finding" in parts:
        yield from (Work("finding", lab, FIELDS) for lab in FINDING if not only or lab in only)
    if "adapt" in parts:
        yield from (Work("adapt", lab, 50) for lab in labs)
    if "names" in parts:
        yield from (Work("names", lab, size, 0) for size in sizes[1:] for lab in labs)
    if "useful" in parts:
        yield from (Work("useful", lab, 50) for lab in labs[:5])
    if "own" in parts:
        yield from (Work("own", lab, OWN_CELLS) for lab in labs)
    if "names" in parts:
        for draw in range(1, draws):
            yield from (Work("names", lab, size, draw) for size in sizes for lab in labs)


def draw_groups(groups: list[str], number: int, seed: int) -> np.ndarray:
    """Draw whole groups by chance until there are so many cells; (N,) which cells they are."""
    rng = np.random.default_rng(seed)
    names, index = np.unique(np.array(groups, dtype=str), return_inverse=True)
    size = np.bincount(index)
    taken = np.zeros(len(names), bool)
    for group in rng.permutation(len(names)):
        if size[taken].sum() + size[group] <= number:
            taken[group] = True
    return taken[index]


def draw_cells(pool: np.ndarray, labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Draw cells of a pool (indices) by chance, in turn one of each type that has one left."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(pool)
    kinds = [list(shuffled[labels[shuffled] == kind]) for kind in np.unique(labels[pool])]
    chosen: list[int] = []
    while len(chosen) < min(number, len(pool)):
        for kind in kinds:
            if kind and len(chosen) < number:
                chosen.append(int(kind.pop()))
    return np.array(sorted(chosen))


class Laboratory:
    """A laboratory's cells behind the frozen blocks of a classifier that was trained without it,
    with the replay set of that classifier and cells of the others."""

    def __init__(self, name: str, classifiers: Path, prepared: Path, kept: Path) -> None:
        import torch

        from wbcdet.inference.weights import load_shipped
        from wbcdet.training.classifier_training import load_network

        shipped = load_shipped("classifier")
        run = NAMES[name]
        path = classifiers / run / "classifier.safetensors" if run else shipped.training_path
        self.network = load_network(path)
        card = json.loads((classifiers / run / "card.json").read_text()) if run else shipped.card
        self.card = {"temperature": card["temperature"], "min_score": shipped.card["min_score"]}  # type: ignore[typeddict-item]
        self.temperature = float(self.card["temperature"])
        self.least = float(self.card["min_score"])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        kept.mkdir(parents=True, exist_ok=True)
        out = (*run.split("+"), "cellavision", "pbc-second") if run else ()
        self.own = self._maps(kept / f"{digest}-{name}.pt", prepared, own=name)
        self.replay = self._maps(kept / f"{digest}-replay.pt", prepared, out=out, split="train")
        self.others = self._maps(kept / f"{digest}-others.pt", prepared, out=out, split="test")
        self.labels = self.own["labels"].numpy()
        self.groups: list[str] = self.own["groups"]
        #: Of what was learnt last, as much as costs known cells little.
        self.share = 1.0
        torch.manual_seed(0)

    def _maps(
        self, file: Path, prepared: Path, own: str = "", out: tuple[str, ...] = (), split: str = ""
    ) -> dict[str, Any]:
        """Return maps, labels, groups and laboratories of cells; made once."""
        import torch

        from wbcdet.datasets.cells import load_cells
        from wbcdet.datasets.laboratories import with_other_names
        from wbcdet.training.finetune.tune import FeatureMaps

        if file.exists():
            return dict(torch.load(file))
        if own:
            cells = load_cells(prepared, EVERY, laboratories=(own,), artefacts=0)
        else:
            cells = load_cells(
                prepared, (split,), leave_out=with_other_names(out),
                artefacts=int(split == "train"), most=REPLAYED if split == "train" else OTHERS,
            )  # fmt: skip
        made = FeatureMaps(self.network, cells, views=VIEWS if own else 1)  # type: ignore[arg-type]
        found = {
            "maps": made.maps, "labels": made.labels, "groups": [c.group for c in cells],
            "labs": [c.laboratory for c in cells],
        }  # fmt: skip
        torch.save(found, file)
        return found

    def feature_maps(self, labels: np.ndarray | None = None) -> Any:
        """Return the own cells as learning takes them."""
        import torch

        from wbcdet.training.finetune.tune import FeatureMaps

        maps = object.__new__(FeatureMaps)
        maps.maps = self.own["maps"]
        maps.labels = torch.from_numpy(self.labels if labels is None else labels)
        return maps

    def halves(self, draw: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices of the cells to learn from, and of those of the four to judge."""
        parts = (folds_of(self.groups, self.labels) + draw) % FOLDS
        learnt = parts < LEARNT_FIFTHS
        return np.flatnonzero(learnt), np.flatnonzero(~learnt & (self.labels < 4))

    def tune(self, chosen: np.ndarray, labels: np.ndarray | None = None) -> Any:
        """Return the network, tuned on the chosen cells (indices), as `learn` would do it."""
        from wbcdet.training.finetune.replay import Replay
        from wbcdet.training.finetune.run import REPLAY_PART, kept_share
        from wbcdet.training.finetune.tune import averaged, tune

        maps = self.replay["maps"][:, 0]
        every = Replay(maps, self.replay["labels"], tuple(self.replay["labs"]))
        replay, held = every.split(REPLAY_PART)
        tuned = tune(self.network, self.feature_maps(labels), chosen, replay)  # type: ignore[arg-type]
        own = ("own",) * (labels is not None)
        self.share = kept_share(self.network, tuned, held, self.card, own, own)  # type: ignore[arg-type]
        return averaged(self.network, tuned, self.share)  # type: ignore[arg-type]

    def right(self, network: Any, which: np.ndarray) -> np.ndarray:
        """Tell whether own cells (indices) are named right; unclassified is wrong for the four."""
        from wbcdet.training.finetune.judge import is_right
        from wbcdet.training.finetune.tune import outputs

        logits = outputs(network, self.feature_maps().plain(which))[0]
        return is_right(logits[:, :10], self.labels[which], self.temperature, self.least)

    def others_right(self, network: Any) -> float:
        """Return the share of the cells of other laboratories, of the four, named right."""
        from wbcdet.training.finetune.judge import is_right
        from wbcdet.training.finetune.tune import outputs

        labels = self.others["labels"].numpy()
        logits = outputs(network, self.others["maps"][:, 0])[0]
        right = is_right(logits[:, :10], labels, self.temperature, self.least)
        return float(right[labels < 4].mean())


def name_after(lab: Laboratory, size: int, draw: int) -> dict[str, Any] | None:
    """Judge names before and after some cells of a laboratory were learnt."""
    from wbcdet.utils.intervals import Groups

    pool, rest = lab.halves(draw)
    if size > SMALLEST_ALL * len(pool):
        return None
    chosen = draw_cells(pool, lab.labels, size, draw)
    tuned = lab.tune(chosen)
    before, after = lab.right(lab.network, rest), lab.right(tuned, rest)
    of = Groups([lab.groups[i] for i in rest])
    return {
        "reviewed": len(chosen),
        "judged": len(rest),
        "share": lab.share,
        "before": float(before.mean()),
        "after": float(after.mean()),
        "ci": list(of.share(after, np.ones(len(rest), bool))),
        "by_type": [
            float(after[lab.labels[rest] == k].mean()) if (lab.labels[rest] == k).any() else None
            for k in range(4)
        ],
        "others_before": lab.others_right(lab.network),
        "others_after": lab.others_right(tuned),
    }


def compare_choice(lab: Laboratory, size: int, draw: int) -> dict[str, Any] | None:
    """Judge cells that `review --most-useful` would choose against cells drawn by chance."""
    from wbcdet.training.finetune.most_useful import choose
    from wbcdet.training.finetune.tune import outputs
    from wbcdet.utils.calibration import softmax

    pool, rest = lab.halves(draw)
    if len(pool) < 1.5 * size:
        return None
    logits, features = outputs(lab.network, lab.feature_maps().plain(pool))
    useful = pool[choose(softmax(logits / lab.temperature), features, size)]
    chance = np.random.default_rng(draw).choice(pool, size, replace=False)
    shares = {
        name: float(lab.right(lab.tune(chosen), rest).mean())
        for name, chosen in (("useful", useful), ("chance", chance))
    }
    before = float(lab.right(lab.network, rest).mean())
    return {"judged": len(rest), "before": before, **shares}


def own_label(lab: Laboratory, size: int, draw: int) -> dict[str, Any] | None:
    """Judge a type that the shipped models decline, learnt as a label from some 30 cells."""
    from wbcdet.datasets.cells import CLASSES
    from wbcdet.training.finetune.tune import outputs

    numbers = np.bincount(lab.labels, minlength=len(CLASSES))
    declined = [k for k in range(4, len(CLASSES)) if numbers[k] >= 1.5 * size]
    if not declined:
        return None
    kind = max(declined, key=lambda k: numbers[k])
    rng = np.random.default_rng(draw)
    order = rng.permutation(np.unique(lab.groups))
    taken = np.zeros(len(lab.labels), bool)
    for group in order:  # whole groups, until there are so many of that type
        if (taken & (lab.labels == kind)).sum() >= size:
            break
        taken |= np.array([other == group for other in lab.groups])
    # As a class that the classifier has never heard of.
    labels = np.where(lab.labels == kind, len(CLASSES), lab.labels)
    chosen, rest = np.flatnonzero(taken), np.flatnonzero(~taken)
    tuned = lab.tune(chosen, labels)
    said = outputs(tuned, lab.feature_maps().plain(rest))[0].argmax(1)
    said = np.where(said == kind, len(CLASSES), said)
    true = labels[rest] == len(CLASSES)
    if not true.any():
        return None
    return {
        "type": CLASSES[kind],
        "reviewed": len(chosen),
        "of_type": int((labels[chosen] == len(CLASSES)).sum()),
        "judged": int(true.sum()),
        "named": float((said[true] == len(CLASSES)).mean()),
        "others_so_named": float((said[~true] == len(CLASSES)).mean()),
    }


def adapt(lab: Laboratory, size: int, draw: int) -> dict[str, Any]:
    """Judge an adaptation without labels: the features of the head are moved and scaled half way
    to those of the replay set, as 50 unlabelled fields of the laboratory show them."""
    import copy

    import torch

    from wbcdet.training.finetune.tune import outputs

    rng = np.random.default_rng(draw)
    seen = rng.choice(len(lab.labels), min(size, len(lab.labels) // 2), replace=False)
    rest = np.setdiff1d(np.flatnonzero(lab.labels < 4), seen)
    network = copy.deepcopy(lab.network)
    head = []
    handle = network.head.norm.register_forward_pre_hook(lambda _, x: head.append(x[0].detach()))
    outputs(network, lab.feature_maps().plain(seen))
    here = torch.cat(head)
    head.clear()
    outputs(network, lab.replay["maps"][:, 0])
    there = torch.cat(head)
    handle.remove()
    axes = (0, 2, 3)
    scale = (here.var(axes) / there.var(axes).clamp_min(1e-6)).clamp(0.25, 4) ** 0.5
    norm: Any = network.head.norm
    with torch.no_grad():  # half of the way, in mean and in spread
        norm.running_mean += 0.5 * (here.mean(axes) - there.mean(axes))
        norm.running_var *= scale
    before, after = lab.right(lab.network, rest), lab.right(network, rest)
    return {
        "judged": len(rest), "before": float(before.mean()), "after": float(after.mean()),
    }  # fmt: skip


def find_after(
    laboratory: str, draw: int, detectors: Path, prepared: Path, kept: Path
) -> dict[str, Any]:
    """Judge finding before and after some fields of a laboratory were reviewed."""
    from wbcdet.evaluation.benchmarks import prepared_fields
    from wbcdet.evaluation.infer import FINDING as FIND
    from wbcdet.evaluation.infer import observe
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.training.finetune import tune_detector as tuning
    from wbcdet.training.finetune.reviewed_fields import ReviewedField

    models = detectors / laboratory / f"models-{SIZE}"
    start = models / "detector.safetensors"
    detect = ("train", "val", "test", "heldout")
    fields = prepared_fields(
        prepared,
        lambda row: (
            row["laboratory"] == laboratory
            and (row["detect"] in detect or (laboratory == "tecom" and row["classify"] in detect))
        ),
        completed=True,
    )
    taken = draw_groups([field.group for field in fields], FIELDS, draw)
    rest = [field for field, there in zip(fields, taken, strict=True) if not there]
    reviewed = []
    for field, there in zip(fields, taken, strict=True):
        if there:
            pixels, boxes = field.read(), field.boxes.astype(np.float32)
            reviewed.append(ReviewedField(field.name, field.group, pixels, boxes, 0, 0))
    others = prepared_fields(
        prepared,
        lambda row: row["laboratory"] != laboratory and row["detect"] == "test",
        completed=True,
    )
    rest, others = rest[:: -(-len(rest) // JUDGED)], others[:: -(-len(others) // (JUDGED // 2))]
    stain = json.loads((models / "detector.json").read_text()).get("stain")
    state = kept / f"finding-{laboratory}-{draw}.pt"
    state.parent.mkdir(parents=True, exist_ok=True)
    tuned = tuning.tune_detector(start, reviewed, state, stain=stain)
    figures: dict[str, Any] = {"reviewed": len(reviewed), "judged": len(rest)}
    seen = {}
    for when, network in (("before", tuning.load_detector(start)), ("after", tuned)):
        detector = tuning.detector_with(network, models)
        analyzer = Analyzer(detector=detector)
        seen[when] = [
            [observation.found for observation, _ in observe(some, analyzer, (FIND,), [])]
            for some in (rest, others)
        ]
    least = 0.25
    false = [recall_and_false(found, least)[1] for found in seen["before"]]
    # The threshold afterwards: that of which the laboratory's fields have no more false boxes.
    tried = [round(0.05 * k, 2) for k in range(2, 19)]
    after = {t: recall_and_false(seen["after"][0], t) for t in tried}
    allowed = [t for t in tried if after[t][1] <= false[0]] or [tried[-1]]
    chosen = max(allowed, key=lambda t: after[t][0])
    cells = sum(len(found.truth) for found in seen["before"][0])
    for when, threshold in (("before", least), ("after", chosen)):
        for where, found in zip(("", "others_"), seen[when], strict=True):
            recall, boxes = recall_and_false(found, threshold)
            figures |= {f"{where}{when}": recall, f"{where}false_{when}": boxes}
    return {**figures, "cells": cells, "threshold": chosen}


def print_tables(rows: Rows) -> None:
    """Print all tables, means over the draws."""

    def of(part: str) -> Rows:
        return [row for row in rows if row["part"] == part]

    def mean(some: Rows, name: str) -> float:
        return 100 * float(np.mean([row[name] for row in some]))

    print("\n| laboratory | reviewed | judged | right before % | right after % (95 %) | draws | "
          "others before, after % |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for lab in NAMES:
        for size in sorted({row["size"] for row in of("names")}):
            some = [r for r in of("names") if r["laboratory"] == lab and r["size"] == size]
            if some:
                low, high = (100 * float(np.mean([r["ci"][k] for r in some])) for k in (0, 1))
                print(
                    f"| {lab} | {some[0]['reviewed']} | {some[0]['judged']} | "
                    f"{mean(some, 'before'):.1f} | {mean(some, 'after'):.1f} "
                    f"({low:.1f} - {high:.1f}) | {len(some)} | "
                    f"{mean(some, 'others_before'):.1f}, {mean(some, 'others_after'):.1f} |"
                )
    for size in sorted({row["size"] for row in of("names")}):
        labs = {
            lab: [r for r in of("names") if r["laboratory"] == lab and r["size"] == size]
            for lab in NAMES
        }
        shares = [mean(some, "after") for some in labs.values() if some]
        print(f"mean of {len(shares)} laboratories, {size} cells: {np.mean(shares):.1f} %, "
              f"least {min(shares):.1f} %")  # fmt: skip
    print("\n| laboratory | reviewed, judged | found before, after % | false boxes a field | "
          "missed found % | others (found; false) |\n|---|---|---|---|---|---|")  # fmt: skip
    for r in of("finding"):
        gained = (r["after"] - r["before"]) / max(1 - r["before"], 1e-9)
        print(
            f"| {r['laboratory']} | {r['reviewed']}, {r['judged']} | {100 * r['before']:.1f}, "
            f"{100 * r['after']:.1f} | {r['false_before']:.3f}, {r['false_after']:.3f} | "
            f"{100 * gained:.0f} | {100 * r['others_before']:.1f}, {100 * r['others_after']:.1f}; "
            f"{r['others_false_before']:.3f}, {r['others_false_after']:.3f} |"
        )
    print("\n| laboratory | judged | before % | 50 by chance % | 50 most useful % |\n"
          "|---|---|---|---|---|")  # fmt: skip
    for r in of("useful"):
        print(f"| {r['laboratory']} | {r['judged']} | {100 * r['before']:.1f} | "
              f"{100 * r['chance']:.1f} | {100 * r['useful']:.1f} |")  # fmt: skip
    print("\n| laboratory | type | cells of it learnt, judged | so named % | others so named % |\n"
          "|---|---|---|---|---|")  # fmt: skip
    for r in of("own"):
        print(f"| {r['laboratory']} | {r['type']} | {r['of_type']}, {r['judged']} | "
              f"{100 * r['named']:.1f} | {100 * r['others_so_named']:.1f} |")  # fmt: skip
    print("\n| laboratory | judged | before % | adapted without labels % |\n|---|---|---|---|")
    for r in of("adapt"):
        print(f"| {r['laboratory']} | {r['judged']} | {100 * r['before']:.1f} | "
              f"{100 * r['after']:.1f} |")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)

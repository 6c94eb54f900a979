"""Names of `learn_show.py`: cells of a laboratory that the classifier was trained without, some of
them learnt, the rest judged before and after."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from replay import MOST, replayed_cells

from wbcdet.training.finetune.judge import FOLDS, folds_of

#: End of the name of a laboratory whose cells are dealt out by field instead of by slide.
BY_FIELD = " by field"
#: Laboratory → run of the classifier that was trained without it; "" is the shipped one. Each slide
#: of Chula EE holds one type, almost: by slide, what is learnt is its slide as well as its type.
NAMES = {
    "bccd": "bccd",
    "bcisc": "bcisc+tecom",
    "tecom": "bcisc+tecom",
    "txl-raabin": "txl-raabin+chula-ee",
    "chula-ee": "txl-raabin+chula-ee",
    "chula-ee by field": "txl-raabin+chula-ee",
    "pbc-second": "",
    "cellavision": "",
}
EVERY = ("train", "val", "test", "heldout", "crosslab")
#: Variations of a cell, and most cells of another laboratory and class that are judged.
VIEWS, OTHERS = 4, 100
#: Fifths of the groups that are learnt from.
LEARNT_FIFTHS = 3
#: A number of cells is drawn where it is at most this part of those there are; of 500, all.
SMALLEST_ALL = 2.5


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
        place = name.removesuffix(BY_FIELD)
        self.own = self._maps(kept / f"{digest}-{place}.pt", prepared, own=place)
        self.replay = self._maps(kept / f"{digest}-train{MOST}.pt", prepared, out=out)
        self.others = self._maps(kept / f"{digest}-test{OTHERS}.pt", prepared, out=out, test=True)
        self.labels = self.own["labels"].numpy()
        self.groups: list[str] = self.own["groups" if place == name else "fields"]
        #: Of what was learnt last, as much as costs known cells little.
        self.share = 1.0
        torch.manual_seed(0)

    def _maps(
        self,
        file: Path,
        prepared: Path,
        own: str = "",
        out: tuple[str, ...] = (),
        test: bool = False,
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
        elif test:
            left_out = with_other_names(out)
            cells = load_cells(prepared, ("test",), leave_out=left_out, artefacts=0, most=OTHERS)
        else:
            cells = replayed_cells(prepared, with_other_names(out))
        made = FeatureMaps(self.network, cells, views=VIEWS if own else 1)  # type: ignore[arg-type]
        found = {
            "maps": made.maps, "labels": made.labels, "groups": [c.group for c in cells],
            "fields": [c.field for c in cells], "labs": [c.laboratory for c in cells],
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
        from wbcdet.training.finetune.learn_names import REPLAY_PART, kept_share
        from wbcdet.training.finetune.replay import Replay
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

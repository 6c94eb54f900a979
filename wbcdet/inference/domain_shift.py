"""Compare a slide with the training data in scores, features and stain (domain shift).

The reference stands on the classifier's card (``ground``): for each measure the limit beyond
which 5 % of what the trained laboratories show lies. On a slide like theirs about as few lie
beyond; where surely more than a sixth does, or a twelfth of all measures together, the slide is
unlike them, and what holds for them may not hold for it. It is so too where surely more than two
thirds of its cells lie farther from the training than half of the training's own do, and where
surely more than a few of its nuclei lie in no box (:mod:`wbcdet.inference.unboxed_nuclei`).
``docs/unknown-ground.md`` says how well that works; ``scripts/unknown_ground.py`` makes the
reference and checks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from wbcdet.inference.cards import GroundCard, LaboratoryStain, LimitCard, StainLimitCard
from wbcdet.inference.unboxed_nuclei import NucleusSearch, UnboxedNucleus
from wbcdet.records import FieldResult
from wbcdet.utils.intervals import clopper_pearson
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.words import N_, _

#: What is compared: scores of the boxes, certainty of the names, distance of the crops' features,
#: stain of the fields.
MEASURES: tuple[str, ...] = ("detection_score", "name_score", "distance", "stain")
#: Of these a low value is strange, of the others a high one.
_LOW_IS_STRANGE = ("detection_score", "name_score")

#: Part of the trained laboratories' values that lies beyond a limit.
_BEYOND = 0.05
#: A slide is unlike them where surely (lower end of the exact 95 % interval) more than this does.
_MAX_SHARE = 1 / 6
#: The same of the values of all measures together, of enough fields: a slide may differ a little in
#: each of them. The values of one cell go together, so that a single one says nothing.
_MAX_TOGETHER = 1 / 12
#: Measures of which it also counts how many values lie beyond the median: a slide may differ a
#: little in all its cells. Scores and stains of trained laboratories differ so among themselves.
_ALSO_BY_MEDIAN = ("distance",)
#: A slide is unlike the training where surely more than this part lies beyond the median.
_MAX_PAST_MEDIAN = 2 / 3
#: A slide is unlike the training where surely more than this part of its nuclei lies in no box.
_MAX_UNBOXED = 0.03
#: With fewer values of every measure nothing is said, unless all are beyond.
_MIN_VALUES = 10
#: Density that is added before logarithms are compared, and the least spread of a laboratory.
_OFFSET, _MIN_SPREAD = 0.15, 0.1

LIKE, UNLIKE = "like-training", "unlike-training"
TOO_FEW, NOT_COMPARED = "too-few", "not-compared"

#: What to do about a slide that is unlike the training.
ADVICE = N_(
    "Cells may be missed or misnamed: look at all of them, and at empty fields (wbcdet review); "
    "measure on cells that you have labelled (wbcdet evaluate); where cells are missed, lower "
    "--confidence; teach corrected names (wbcdet learn)."
)


@dataclass(frozen=True, slots=True)
class Beyond:
    """Number of values of a measure that lie beyond the limit of the trained laboratories.

    Attributes:
        values: of the slide.
        beyond: of these, so many lie beyond the limit.
        limit: 5 % of the values of the trained laboratories lie beyond it.
        past_median: so many lie beyond the median of these; 0 where that is not counted.
        median: that one; None where it is not counted.
    """

    values: int
    beyond: int
    limit: float
    past_median: int = 0
    median: float | None = None

    @property
    def share(self) -> float:
        """Part of the values that lies beyond, 0..1."""
        return self.beyond / max(self.values, 1)

    @property
    def unlike(self) -> bool:
        """Whether surely more values lie beyond than on slides like those trained on."""
        return self.beyond_limit or _surely(self.past_median, self.values, _MAX_PAST_MEDIAN)

    @property
    def beyond_limit(self) -> bool:
        """Whether surely too many values lie beyond the limit."""
        return _surely(self.beyond, self.values, _MAX_SHARE)

    def to_dict(self) -> dict[str, object]:
        """Return it as it stands in ``results.json``."""
        shown: dict[str, object] = {
            "values": self.values,
            "beyond": self.beyond,
            "limit": self.limit,
            "unlike": self.unlike,
        }
        if self.median is not None:
            shown |= {"past_median": self.past_median, "median": self.median}
        return shown


@dataclass(frozen=True, slots=True)
class GroundVerdict:
    """Result of the comparison of a slide.

    Attributes:
        verdict: ``like-training``, ``unlike-training``, ``too-few`` (to tell) or ``not-compared``
            (the classifier's card has no reference).
        measures: the figures of each measure that was compared.
        unboxed: nuclei that lie in no box.
        boxed: how many lie in one; 0 where these are too few to look for others like them.
    """

    verdict: str
    measures: Mapping[str, Beyond] = field(default_factory=dict)
    unboxed: Sequence[UnboxedNucleus] = ()
    boxed: int = 0

    @property
    def reasons(self) -> list[str]:
        """Reasons why the slide is unlike the training data, a line each."""
        return [text.format(**values) for text, values in self._reasons()]

    @property
    def unlike_together(self) -> bool:
        """Whether surely too many values of all measures together lie beyond."""
        values, beyond = self._together()
        return self.enough and _surely(beyond, values, _MAX_TOGETHER)

    @property
    def overlooks(self) -> bool:
        """Whether surely too many nuclei lie in no box."""
        return _surely(len(self.unboxed), len(self.unboxed) + self.boxed, _MAX_UNBOXED)

    @property
    def enough(self) -> bool:
        """Whether there are values enough of a measure to say that a slide is like the training."""
        return max((m.values for m in self.measures.values()), default=0) >= _MIN_VALUES

    def _together(self) -> tuple[int, int]:
        measures = self.measures.values()
        return sum(m.values for m in measures), sum(m.beyond for m in measures)

    def _reasons(self) -> list[tuple[str, dict[str, str]]]:
        said = [_reason(name, measure) for name, measure in self.measures.items() if measure.unlike]
        if self.overlooks:
            number = len(self.unboxed)
            said.append((_UNBOXED, {"n": str(number), "total": str(number + self.boxed)}))
        if said or not self.unlike_together:
            return said
        values, beyond = self._together()
        return [(_TOGETHER, {"share": f"{100 * beyond / values:.0f} %"})]

    def warning(self, say: Callable[..., str] = _) -> str | None:
        """Return the reasons and what to do in one line; None where the slide is not unlike.

        Args:
            say: gives a text in the language of the reader, or in English for programs.
        """
        if self.verdict != UNLIKE:
            return None
        said = ", ".join(say(text, **values) for text, values in self._reasons())
        start = say(N_("unlike what the models were trained on: {reasons}."), reasons=said)
        return f"{start} {say(ADVICE)}"

    def to_dict(self) -> dict[str, object]:
        """Return the verdict as it stands in ``results.json``."""
        return {
            "verdict": self.verdict,
            "reasons": self.reasons,
            "advice": ADVICE if self.verdict == UNLIKE else None,
            "measures": {name: measure.to_dict() for name, measure in self.measures.items()},
            "nuclei": {
                "in_boxes": self.boxed,
                "outside": [nucleus.to_dict() for nucleus in self.unboxed],
            },
        }


def translated_reasons(ground: JsonObject) -> list[str]:
    """Return the reasons of a slide in the language of the reader.

    Those that its figures do not give, as another version may have written them, stay as they are.

    Args:
        ground: as it stands in ``results.json``.
    """
    measures = {
        name: Beyond(
            one["values"],
            one["beyond"],
            one["limit"],
            one.get("past_median", 0),
            one.get("median"),
        )
        for name, one in ground["measures"].items()
    }
    nuclei = ground.get("nuclei", {"in_boxes": 0, "outside": ()})
    unboxed = [UnboxedNucleus.from_dict(one) for one in nuclei["outside"]]
    verdict = GroundVerdict(ground["verdict"], measures, unboxed, nuclei["in_boxes"])
    if verdict.reasons != ground["reasons"]:
        return list(ground["reasons"])
    return [_(text, **values) for text, values in verdict._reasons()]


class GroundComparison:
    """Compares the fields of a slide with the training, one after the other.

    Args:
        reference: ``ground`` of the classifier's card, as :func:`make_reference` gives it; None
            where the card has none. Measures that it lacks are not compared.
    """

    def __init__(self, reference: GroundCard | None) -> None:
        self._reference = reference or GroundCard()
        cards = cast("dict[str, LimitCard]", self._reference)
        self._limits = {
            name: card["limit"] for name, card in cards.items() if name in MEASURES and card
        }
        self._medians = {
            name: cards[name]["median"]
            for name in _ALSO_BY_MEDIAN
            if name in self._limits and "median" in cards[name]
        }
        self._values: Counter[str] = Counter()
        self._beyond: Counter[str] = Counter()
        self._past_median: Counter[str] = Counter()
        self._nuclei = NucleusSearch()

    def add(self, result: FieldResult) -> None:
        """Take the record of a field into account."""
        self._nuclei.add(result)
        for name, values in measured(result, self._reference).items():
            if name in self._limits:
                self._values[name] += len(values)
                limit = self._limits[name]
                low = name in _LOW_IS_STRANGE
                self._beyond[name] += sum(v < limit if low else v > limit for v in values)
            if name in self._medians:
                self._past_median[name] += sum(v > self._medians[name] for v in values)

    def verdict(self) -> GroundVerdict:
        """Return what can be said by now."""
        unboxed, boxed = self._nuclei.found()
        measures = {
            name: Beyond(
                self._values[name],
                self._beyond[name],
                self._limits[name],
                self._past_median[name],
                self._medians.get(name),
            )
            for name in MEASURES
            if name in self._limits
        }
        unlike = GroundVerdict(UNLIKE, measures, unboxed, boxed)  # as it may turn out
        if (
            any(measure.unlike for measure in measures.values())
            or unlike.unlike_together
            or unlike.overlooks
        ):
            return unlike
        verdict = LIKE if unlike.enough else TOO_FEW
        return replace(unlike, verdict=verdict if self._limits else NOT_COMPARED)


def _surely(beyond: int, values: int, share: float) -> bool:
    return bool(values) and clopper_pearson(beyond, values)[0] > share


def compare(results: Iterable[FieldResult], reference: GroundCard | None) -> GroundVerdict:
    """Compare the fields of one slide with the training; see :class:`GroundComparison`."""
    comparison = GroundComparison(reference)
    for result in results:
        comparison.add(result)
    return comparison.verdict()


def measured(result: FieldResult, reference: GroundCard) -> dict[str, list[float]]:
    """Return the values of a field under each measure: one a box, a cell, a cell with a distance, a
    field.

    Args:
        result: its record.
        reference: holds the stains of the trained laboratories.
    """
    cells = result.cells
    values = {
        # Boxes that are nearly cells count too: on strange ground cells get low scores.
        "detection_score": [*(cell.detection_score for cell in cells), *result.weak_scores],
        # A cell that is surely none of the four is as sure as one that surely is.
        "name_score": [max(c.label_score, 1 - sum(c.scores.values())) for c in cells],
        "distance": [cell.distance for cell in cells if cell.distance is not None],
    }
    stains = (reference.get("stain") or {}).get("laboratories")
    if stains and result.stain is not None:
        values["stain"] = [stain_distance(result.stain, stains)]
    return values


def stain_distance(stain: Sequence[float], laboratories: Mapping[str, LaboratoryStain]) -> float:
    """Return distance to the nearest trained laboratory, in its spreads, over all colours together.

    Args:
        stain: as :func:`wbcdet.inference.field_stain.measure_stain` gives it.
        laboratories: ``mean`` and ``spread`` of the logarithms of each.
    """
    own = _logarithm(stain)
    return min(
        float(np.linalg.norm((own - laboratory["mean"]) / np.array(laboratory["spread"])))
        for laboratory in laboratories.values()
    )


def make_reference(
    by_laboratory: Mapping[str, Sequence[FieldResult]], detector_sha256: str
) -> GroundCard:
    """Return the reference of a card, from fields of the trained laboratories that were not trained
    on.

    Args:
        by_laboratory: what the models say of each laboratory's fields; all laboratories weigh
            alike.
        detector_sha256: of the detector, whose scores hold for it alone.
    """
    stains = {
        name: np.array([_logarithm(result.stain) for result in results if result.stain is not None])
        for name, results in by_laboratory.items()
    }
    laboratories = {
        name: LaboratoryStain(
            mean=np.round(values.mean(0), 3).tolist(),
            spread=np.round(np.sqrt(values.var(0) + _MIN_SPREAD**2), 3).tolist(),
        )
        for name, values in stains.items()
        if len(values) >= _MIN_VALUES
    }
    reference = GroundCard(
        detector=detector_sha256,
        fields={name: len(results) for name, results in by_laboratory.items()},
        stain=StainLimitCard(laboratories=laboratories),
    )
    by_lab = {
        lab: [measured(result, reference) for result in results]
        for lab, results in by_laboratory.items()
    }
    limits: dict[str, LimitCard] = {}
    for name in MEASURES:
        labs = [
            np.array([value for measures in fields for value in measures.get(name, [])])
            for fields in by_lab.values()
        ]
        labs = [values for values in labs if len(values)]
        if not labs:
            continue
        values = np.concatenate(labs)
        weights = np.concatenate([np.full(len(lab), 1 / len(lab)) for lab in labs])
        beyond = _BEYOND if name in _LOW_IS_STRANGE else 1 - _BEYOND
        limits[name] = {
            "median": round(_quantile(values, weights, 0.5), 4),
            "limit": round(_quantile(values, weights, beyond), 4),
        }
    stain = reference.pop("stain")
    card = cast("GroundCard", {**reference, **limits})
    if "stain" in limits:
        card["stain"] = {**stain, **limits["stain"]}
    return card


def reference_for(card: JsonObject, detector_sha256: str) -> GroundCard | None:
    """Return the reference on a classifier's card, as far as it holds beside a detector.

    Args:
        card: of the classifier; one without a reference gives None.
        detector_sha256: of the detector in use; scores of another are not compared.
    """
    ground = card.get("ground")
    if not ground:
        return None
    known = [name for name in MEASURES if ground.get(name)]
    if ground.get("detector") != detector_sha256:
        known = [name for name in known if name != "detection_score"]
    return cast("GroundCard", {name: ground[name] for name in known})


def _logarithm(stain: Sequence[float] | None) -> np.ndarray:
    assert stain is not None
    result: np.ndarray = np.log(np.maximum(np.array(stain, float), 0) + _OFFSET)
    return result


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, share * below[-1])])


#: What is said where no measure alone shows it.
_TOGETHER = N_("{share} of all scores, distances and stains are strange (5 % in the training)")
#: What is said where the detector seems to overlook cells.
_UNBOXED = N_("{n} of {total} nuclei lie in no box")
#: What is said of a measure by which a slide is unlike the training.
_REASONS = {
    "detection_score": N_("{share} of the box scores are below {limit} (5 % in the training)"),
    "name_score": N_("{share} of the name scores are below {limit} (5 % in the training)"),
    "distance": N_(
        "{share} of the cells lie farther than {limit} from those trained on (5 % in the training)"
    ),
    "stain": N_("{share} of the fields have another stain, light or camera (5 % in the training)"),
}
#: The same where its values lie beyond the median, and not beyond the limit.
_BY_MEDIAN = {
    "distance": N_(
        "{share} of the cells lie farther than {limit} from those trained on (50 % in the training)"
    ),
}


def _reason(name: str, measure: Beyond) -> tuple[str, dict[str, str]]:
    """Return what is said of a measure, with its values."""
    if measure.beyond_limit or measure.median is None:
        text, beyond, limit = _REASONS[name], measure.beyond, measure.limit
    else:
        text, beyond, limit = _BY_MEDIAN[name], measure.past_median, measure.median
    share = f"{100 * beyond / max(measure.values, 1):.0f} %"
    return text, {"share": share, "limit": f"{limit:.3g}" if name == "distance" else f"{limit:.2f}"}

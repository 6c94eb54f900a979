"""Write judgements of learned models as tables of text."""

from __future__ import annotations

from collections.abc import Sequence

from wbcdet.training.finetune.judge import Judgement
from wbcdet.training.finetune.judge_detector import DetectorJudgement


def naming_rows(judgement: Judgement) -> Sequence[dict[str, str]]:
    """Return the table of the classifier as text: type, cells, right before and after with their
    intervals."""
    return [
        {
            "type": row.name,
            "cells": str(row.cells),
            "before": share(row.before, row.cells, row.before_ci),
            "after": share(row.after, row.cells, row.after_ci),
            "gained": str(row.gained),
            "lost": str(row.lost),
        }
        for row in judgement.rows
    ]


def finding_rows(judgement: DetectorJudgement) -> Sequence[dict[str, str]]:
    """Return the table of the detector as text: where, cells, found before and after, false
    boxes."""
    return [
        {
            "fields": f"{finding.fields} {name}"
            + (f", {finding.groups} places" if finding.groups < finding.fields else ""),
            "cells": str(finding.cells),
            "before": share(finding.before, finding.cells, finding.before_ci),
            "after": share(finding.after, finding.cells, finding.after_ci),
            "false before": str(finding.false_before),
            "false after": str(finding.false_after),
        }
        for name, finding in (("held back", judgement.own), ("synthetic", judgement.synthetic))
    ]


def share(hits: int, of: int, interval: tuple[float, float]) -> str:
    """Return a count with its share and 95 % interval, as text."""
    low, high = (100 * end for end in interval)
    return f"{hits} = {100 * hits / max(of, 1):.1f} % ({low:.1f} - {high:.1f})"

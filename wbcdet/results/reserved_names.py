"""Tell which names no cell type of a laboratory's own may have: our outputs mean something else."""

from __future__ import annotations

from wbcdet.differential.differential import EDGE
from wbcdet.records import ARTEFACT, REASONS
from wbcdet.results.class_names import TYPES

#: Before the name of a type, where a line is of all its cells, those that are named apart too.
TOGETHER = "all-"
#: What artefacts are called that the model found, and no person.
ARTEFACT_BY_MODEL = "artefact-by-model"
#: End of the reasons that tell what a cell looks like; a taught classifier adds to them.
_LIKE = "-like"

_RESERVED = frozenset(
    (EDGE, ARTEFACT_BY_MODEL, *REASONS, *(f"{TOGETHER}{type_}" for type_ in TYPES))
) - {ARTEFACT}


def is_reserved(label: str) -> bool:
    """Say whether a name stands for something else in tables and reports: cut cells (``edge``), a
    reason (``low-score``, ``blast-like``), all cells of a type (``all-neutrophil``)."""
    return label in _RESERVED or label.endswith(_LIKE)

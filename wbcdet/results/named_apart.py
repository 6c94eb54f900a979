"""Tell which names of a differential are parts of one of its types: bands are neutrophils too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wbcdet.differential.differential import Differential
from wbcdet.results.class_names import understand


def named_apart(counts: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return, by type, the names that a person or a taught classifier gave to a part of it.

    Args:
        counts: cells by label; a label without a cell tells nothing.
    """
    found: dict[str, tuple[str, ...]] = {}
    for label, count in counts.items():
        meaning = understand(label)
        whole = str(meaning.standard)
        if count and meaning.part and whole in counts:
            found[whole] = (*found.get(whole, ()), label)
    return found


def with_parts(differential: Differential) -> Differential:
    """Return a differential that knows which of its labels are a part of another one."""
    apart = named_apart(differential.counts)
    return replace(differential, apart=apart) if apart else differential

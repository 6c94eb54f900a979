"""Count cells where some names are parts of a type: bands are neutrophils too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from wbcdet.differential import differential as counting
from wbcdet.differential.differential import CountedField, Differential
from wbcdet.differential.reference_ranges import ReferenceRange
from wbcdet.io.source import RootInfo
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


def differentials(
    results: Iterable[CountedField],
    *,
    by: str | Callable[[str], str] | None = None,
    exclude_edge: bool = False,
    target: int | None = None,
    ranges: Mapping[str, ReferenceRange] | None = None,
    labels: Iterable[str] = (),
    roots: Sequence[RootInfo] = (),
) -> list[Differential]:
    """Return the differential of every group, in the order in which the groups first appear.

    Flags are those of a report. The reference range of neutrophils covers bands too: where bands
    are named apart, the line of the other neutrophils has no range and no flag, and
    ``Differential.together()`` has the sum with both.

    Args:
        results: the record of every field, such as ``Analyzer.analyze_many`` or ``load_results``
            gives; they are read once and not kept. Every cell counts, also one that a count left
            out of its report.
        by: ``folder``; or a regular expression whose one capture group, searched in the name of a
            field (see ``roots``), is the name of the group; or a function that gives the group of a
            field's name. None puts all fields together.
        exclude_edge: leave cells cut by the border out of the counts.
        target: number of classified cells asked for in each group.
        ranges: reference ranges in percent, by label (``reference_ranges.read_ranges``).
        labels: labels beside the four that the classifier gives
            (``inference.run_info.taught_labels``): that no cell has one is a count, too.
        roots: where the fields are (``info["sources"]`` of a results document): as
            ``wbcdet count`` does, ``by`` looks at names below the one folder that was given.
            Without it at the whole name, the folder that was given included.

    Raises:
        WbcdetError: ``by`` is not usable, in one line (``grouping.GroupingError``).
    """
    counted = counting.differentials(
        results,
        by=by,
        exclude_edge=exclude_edge,
        target=target,
        ranges=ranges,
        labels=labels,
        roots=roots,
    )
    return list(map(with_parts, counted))

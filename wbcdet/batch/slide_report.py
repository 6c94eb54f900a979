"""The report of slides: as that of a folder, with maps."""

from __future__ import annotations

from wbcdet.batch.slide_count import SlideCount
from wbcdet.differential.differential import ALL
from wbcdet.differential.grouping import group_of
from wbcdet.io.discover import below
from wbcdet.report.counts import CountOptions, ReportCounts
from wbcdet.report.duplicates import Overlaps
from wbcdet.report.header import roots_of
from wbcdet.report.job import Job
from wbcdet.report.journal import Journal
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.seams import find_shared
from wbcdet.report.write import finish


def finish_slides(
    job: Job, slides: SlideCount, journal: Journal, options: CountOptions
) -> ReportCounts:
    """Write the files of a report of slides; see ``report.write.finish``."""
    names = slides.counted()
    shared = find_shared(JournalEntry.from_record(journal.read(name)).result for name in names)
    roots = roots_of(journal)

    def group(name: str) -> str:
        return ALL if options.group_by is None else group_of(below(name, roots), options.group_by)

    def overlaps(wanted: str) -> Overlaps:
        duplicates = {
            key: kept for key, kept in shared.duplicate_of.items() if group(key[0]) == wanted
        }
        return Overlaps(duplicates, [pair for pair in shared.pairs if group(pair[1]) == wanted])

    return finish(job, names, journal, options, overlaps=overlaps)

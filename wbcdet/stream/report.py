"""The files of a stream's report, made from its journal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wbcdet.differential.differential import ALL
from wbcdet.differential.grouping import FOLDER
from wbcdet.differential.identifiers import Identifiers
from wbcdet.differential.reference_ranges import ReferenceRange
from wbcdet.inference.preprocess import crop_cell
from wbcdet.inference.run_info import RunInfo, StreamInfo
from wbcdet.records import FieldResult
from wbcdet.report.counts import CountOptions, ReportCounts
from wbcdet.report.duplicates import CellKey
from wbcdet.report.job import Job
from wbcdet.report.journal import Journal
from wbcdet.report.thumbnails import to_jpeg
from wbcdet.report.write import ReportAdditions
from wbcdet.report.write import finish as finish_count
from wbcdet.results.writer import picture_name, remove_pictures, write_annotated, write_picture
from wbcdet.stream.mosaic import mosaics
from wbcdet.stream.scales import of_two_scales
from wbcdet.stream.store import ANNOTATED, StreamStore, View, read_view
from wbcdet.stream.track import Track
from wbcdet.utils.words import N_, _, plural_of

CROPS, MOSAICS = "crops", "mosaic"

#: Columns of ``cells.csv`` beside those of a count.
COLUMNS = (
    "cell",
    "first_frame",
    "first_s",
    "last_frame",
    "last_s",
    "best_frame",
    "views",
    "chances",
    "certainty",
    "votes",
    "named_by_wbcdet",
    "map",
    "map_x",
    "map_y",
)

#: Side of a crop, px, and over the longer side of its box.
_CROP, _PADDING = 256, 1.4
_QUALITY = 92
#: Pictures before it is said that many cannot be used, and the share that is many.
_ENOUGH, _UNUSABLE = 25, 0.2
#: Sources that the title names; all stand in the report.
_NAMED = 3
#: The journal's list of the files that are made at the end, beside those of a count.
_FILES = "stream-files"


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Options of the report.

    Attributes:
        ranges: reference ranges.
        target: of classified cells.
        annotate: write annotated pictures.
        identifiers: what the laboratory calls the slides, by ``slide_name``.
        pdf: print the page as a PDF file too.
    """

    ranges: Mapping[str, ReferenceRange]
    target: int | None = None
    annotate: bool = True
    identifiers: Mapping[str, Identifiers] = field(default_factory=dict)
    pdf: bool = False


def slide_name(number: int) -> str:
    """Return what a slide of a run of several is called: the folder of its views."""
    return f"slide-{number}"


def finish(
    out: Path,
    journal: Journal,
    store: StreamStore,
    options: ReportOptions,
    tick: Callable[[], None] = lambda: None,
) -> ReportCounts:
    """Write all files of the report.

    Args:
        out: the report folder.
        journal: where everything stands.
        store: the same, loaded; nothing in it waits to be written.
        options: what the report is to hold.
        tick: called after every view.

    Raises:
        PdfError: the page is written, and not printed.
        OSError: a file cannot be written.
    """
    views = [view for view in store.views() if view.listed]
    made: list[str] = []
    for view in views:
        made += _pictures(out, view, options.annotate)
        tick()
    tracks = [track for view in views for track in view.tracks if track.real]
    for name, picture in mosaics(store.all_keyframes(), tracks):
        made.append(f"{MOSAICS}/{name}")
        write_picture(out, made[-1], picture)
    count_options = CountOptions(
        group_by=FOLDER if store.slide > 1 else None,
        exclude_edge=True,
        target=options.target,
        ranges=options.ranges,
        identifiers=_called(options.identifiers, store.slide),
    )
    info = RunInfo(stream=store.run)
    sources = _sources(store.run) or [out.name]
    title = ", ".join(sources[:_NAMED]) + (f" + {len(sources) - _NAMED}" * (len(sources) > _NAMED))
    more: dict[CellKey, Mapping[str, object]] = {
        (view.name, i): row for view in views for i, row in _rows(view)
    }
    counts = finish_count(
        Job((), out, annotate=options.annotate, command="stream", pdf=options.pdf),
        [view.name for view in views],
        journal,
        count_options,
        ReportAdditions(
            title, how(store.run, options.target, tracks), info=info, more=(COLUMNS, more)
        ),
    )
    remove_pictures(out, set(journal.lists.get(_FILES, ())) - set(made))
    journal.note(_FILES, made)
    return counts


def _sources(run: StreamInfo) -> list[str]:
    """Return what the cells were seen in; journals of earlier versions know the last alone."""
    return run.get("sources") or ([run["source"]] if "source" in run else [])


def _called(identifiers: Mapping[str, Identifiers], slides: int) -> Mapping[str, Identifiers]:
    """Return the identifiers by the groups of the report; a run of one slide has no other group
    than all."""
    if slides > 1:
        return identifiers
    return {ALL if name == slide_name(1) else name: slide for name, slide in identifiers.items()}


def unusable(totals: Mapping[str, float], say: Callable[..., str] = _) -> str | None:
    """Warn that many of the pictures could not be used; None where most could.

    Args:
        totals: number of frames by what they became.
        say: gives a text in the language of the reader, or in English for programs.
    """
    blurred, damaged = (int(totals.get(key, 0)) for key in ("blurred", "damaged"))
    analysed = blurred + damaged + int(totals.get("analysed", 0)) + int(totals.get("still", 0))
    if analysed < _ENOUGH or blurred + damaged < _UNUSABLE * analysed:
        return None
    kinds = ((blurred, N_("{n} blurred")), (damaged, N_("{n} damaged")))
    return say(
        N_(
            "{share} of the pictures could not be used ({kinds}): what only they show is not "
            "counted; see to the focus, the speed of the stage and the camera's connection, and "
            "begin a new slide where the objective was changed"
        ),
        share=f"{100 * (blurred + damaged) / analysed:.0f} %",
        kinds=", ".join(say(what, n=n) for n, what in kinds if n),
    )


def how(run: StreamInfo, target: int | None, tracks: Sequence[Track] = ()) -> list[str]:
    """Describe how the cells of a stream were counted.

    Args:
        run: its counters.
        target: of classified cells.
        tracks: the cells.
    """
    totals = run.get("totals", {})
    kinds = ("analysed", "without_cell", "blurred", "still", "damaged", "dropped")
    lines = [
        _(
            "Each cell of the slide is counted once, however often it was seen, in its best view; "
            "its name is the vote of its sharp views. Cells that were cut by the border in every "
            "view are left out."
        ),
        _(
            "Frames: {analysed} analysed, {without_cell} of them without a cell; not analysed: "
            "{blurred} blurred, {still} still, {damaged} damaged, {dropped} dropped for newer "
            "ones.",
            **{kind: f"{totals.get(kind, 0):g}" for kind in kinds},
        ),
    ]
    for warning in (unusable(totals), of_two_scales(tracks)):
        if warning:
            lines.append(f"{warning[0].upper()}{warning[1:]}.")
    if len(sources := _sources(run)) > 1:
        lines.append(_("Seen one after the other: {sources}.", sources=", ".join(sources)))
    if run.get("unread"):
        lines.append(_("Not everything could be read: {what}.", what="; ".join(run["unread"])))
    if totals.get("lost_times"):
        lines.append(
            plural_of(
                "The signal was lost {n} time, {seconds} s in all; what passed meanwhile is not "
                "counted.",
                "The signal was lost {n} times, {seconds} s in all; what passed meanwhile is not "
                "counted.",
                int(totals["lost_times"]),
                seconds=f"{totals.get('lost_s', 0):g}",
            )
        )
    if target:
        lines.append(_("Target: {target} classified cells.", target=target))
    return lines


def _rows(view: View) -> Iterator[tuple[int, dict[str, object]]]:
    for number, track in enumerate(_real(view)):
        centre = [(track.box[i] + track.box[i + 2]) / 2 for i in (0, 1)]
        yield (
            number,
            {
                "cell": track.number,
                "first_frame": track.first,
                "first_s": track.first_s,
                "last_frame": track.last,
                "last_s": track.last_s,
                "best_frame": int(Path(track.best).stem),
                "views": track.hits,
                "chances": track.chances,
                "certainty": round(track.certainty / max(track.chances, 1), 3),
                "votes": "; ".join(
                    f"{label} {count}"
                    for label, count in sorted(
                        track.views.items(), key=lambda entry: (-entry[1], entry[0])
                    )
                ),
                # Empty unless a person named the cell while the stream ran.
                "named_by_wbcdet": str(track.voted) if track.named else "",
                "map": f"{track.slide}-{track.island}",
                "map_x": round(centre[0], 1),
                "map_y": round(centre[1], 1),
            },
        )


def _real(view: View) -> list[Track]:
    """Return the cells of a view in the order of its journal entry."""
    return sorted((track for track in view.tracks if track.real), key=lambda track: track.number)


def _folder(label: str) -> str:
    """Return the one folder of a label's crops: a laboratory's own may hold signs of paths, or such
    as no file system takes everywhere."""
    return picture_name(re.sub(r"[/\\]", "_", label)).removesuffix(".jpg")


def _pictures(out: Path, view: View, annotate: bool) -> list[str]:
    """Write the crops of a view and its annotated picture; returns their names."""
    pixels = read_view(out, view.name)
    if pixels is None:  # removed by hand: what the journal holds is still reported
        return []
    made = []
    cells = [track.verdict(number) for number, track in enumerate(_real(view))]
    for track, cell in zip(_real(view), cells, strict=True):
        if not track.counts:
            continue
        name = f"{CROPS}/{slide_name(view.slide)}/{_folder(str(cell.label))}"
        name += f"/cell-{track.number:05}.jpg"
        write_picture(out, name, to_jpeg(crop_cell(pixels, cell.box, _CROP, _PADDING), _QUALITY))
        made.append(name)
    if annotate:
        name = f"{ANNOTATED}/{view.name}"
        write_annotated(out, name, pixels, FieldResult(view.name, *view.size, tuple(cells)))
        made.append(name)
    return made

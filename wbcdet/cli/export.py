"""``wbcdet export``: parse, place the pictures, write one format."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from wbcdet.cli.options import EXIT_SOME_FAILED, stop, writing
from wbcdet.records import NOTICE
from wbcdet.utils.extras import missing
from wbcdet.utils.text import plural

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wbcdet.records import Cell, FieldResult
    from wbcdet.results.export.base import Item, Pictures, Writer
    from wbcdet.results.export.lab_report import LabWriter

EPILOG = f"Exit code: 0 all written, 1 some pictures not found, 2 nothing to export. {NOTICE}"

#: Header of ``fields.csv``: which field is which file of the export.
COLUMNS: tuple[str, ...] = ("file", "name", "width", "height", "cells", "picture")

#: Header of ``slides.csv``: which file is the report of which slide, and who has signed it.
SLIDE_COLUMNS: tuple[str, ...] = ("slide", "file", "status", "signed_by", "signed")

#: Missing pictures that are named; the rest are counted.
_MAX_NAMED = 3


#: Formats that come with wbcdet; each has a module of its name in ``wbcdet.results.export``.
FORMATS = ("coco", "yolo", "voc", "qupath", "labelstudio", "cvat", "fhir", "hl7")


#: Entry point group of packages that add a format: the name, and what has a ``write``.
ENTRY_POINTS = "wbcdet.export_formats"


class Kind(str, Enum):
    """Cells that an export may leave out."""

    ARTEFACTS = "artefacts"
    UNCLASSIFIED = "unclassified"


class Images(str, Enum):
    """Whether pictures are copied, linked or left out."""

    COPY = "copy"
    LINK = "link"
    NONE = "none"


def export(
    report: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT",
            help="A report folder of wbcdet, or its results.json.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="|".join(FORMATS),
            help="The format; packages beside wbcdet may add others.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A new folder for the export. Default: REPORT-FORMAT in the working folder, as in "
            "report-coco.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the pictures are: the folder that was analysed.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Images | None,
        typer.Option(
            help="Copy the pictures into the export, link to them, or leave them out. "
            "Default: copy where --pictures is given.",
            show_default=False,
        ),
    ] = None,
    without: Annotated[
        list[Kind] | None,
        typer.Option(
            help="Leave out cells: artefacts, or unclassified ones (their artefacts too). May be "
            "given twice.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a report for another program, to look at or correct there."""
    from wbcdet.results.document import ResultsError, load_whole, roots_in
    from wbcdet.results.export.base import Pictures
    from wbcdet.results.signed_slides import signed_notes

    writer = _open_writer(to)
    folder = (report if report.is_dir() else report.parent).resolve()
    target = Path(f"{folder.name or 'report'}-{to}") if out is None else out
    if hasattr(writer, "encode"):
        if pictures is not None or images not in (None, Images.NONE):
            stop(f"--to {to}: a laboratory's system takes no pictures; leave out --pictures")
        if without:
            stop(f"--to {to}: a differential is of all cells; leave out --without")
        _export_to_laboratory(report, writer, to, target)
    place: Pictures | None = None
    if pictures is not None and images is not Images.NONE:
        if not pictures.is_dir():
            stop(f"--pictures {pictures}: there is no such folder")
        place = Pictures(pictures, images is Images.LINK)
    elif images in (Images.COPY, Images.LINK):
        stop(f"--images {images.value} needs --pictures FOLDER: where the pictures are")
    try:
        file = report / "results.json" if report.is_dir() else report
        # In one reading: a count that goes on may write the report again meanwhile.
        whole = load_whole(file)
        if place is not None:
            place = replace(place, roots=roots_in(whole.info), digests=whole.digests)
    except ResultsError as error:
        stop(str(error))
    results = whole.results
    if getattr(writer, "WHOLE_SLIDES", False) and any(result.region for result in results):
        results = _once(results, whole.duplicates)
    results, left_out = _without(results, without or [])
    if all(result.failure is not None for result in results):
        stop(f"{report}: no field in it could be read, so there is nothing to export")
    problems = writing(target, lambda: _write(results, writer, to, target, place))
    for note in signed_notes(folder):
        typer.echo(f"wbcdet: {folder.name}: {note}", err=True)
    if without:
        kinds = " and ".join(dict.fromkeys(kind.value for kind in without))
        typer.echo(f"Without {kinds}: {left_out} cell{'s' * (left_out != 1)} left out.")
    for problem in problems[:_MAX_NAMED]:
        typer.echo(f"wbcdet: picture left out: {' '.join(problem.split())}", err=True)
    if len(problems) > _MAX_NAMED:
        typer.echo(f"wbcdet: and {len(problems) - _MAX_NAMED} more, see fields.csv", err=True)
    sys.stdout.flush()
    raise typer.Exit(EXIT_SOME_FAILED if problems else 0)


def _once(
    results: Sequence[FieldResult], duplicates: Collection[tuple[str, int]]
) -> list[FieldResult]:
    """Return the records, each cell of a slide in one part alone, as it was counted."""
    return [
        replace(
            result,
            cells=tuple(cell for cell in result.cells if (result.file, cell.id) not in duplicates),
        )
        if result.region
        else result
        for result in results
    ]


def _without(
    results: Sequence[FieldResult], kinds: Sequence[Kind]
) -> tuple[list[FieldResult], int]:
    """Return the records without the cells of some kinds, and how many these were."""
    from wbcdet.records import CellType

    def stays(cell: Cell) -> bool:
        # The machine has no type for them: it leaves the cell unclassified and says why.
        artefact = "artefact" in (cell.label, cell.reason)
        unclassified = cell.label == CellType.UNCLASSIFIED.value
        return not (
            (Kind.ARTEFACTS in kinds and artefact) or (Kind.UNCLASSIFIED in kinds and unclassified)
        )

    kept = [
        replace(result, cells=tuple(cell for cell in result.cells if stays(cell)))
        for result in results
    ]
    before, after = (sum(len(result.cells) for result in some) for some in (results, kept))
    return kept, before - after


def _export_to_laboratory(report: Path, writer: LabWriter, to: str, out: Path) -> NoReturn:
    """One file a slide: signed slides as they were signed, the others as the program counted."""
    from wbcdet.results.export.base import free_stem
    from wbcdet.review.lab_report import NotSignedAsIsError, open_lab_report

    try:
        lab = open_lab_report(report)
    except NotSignedAsIsError as error:
        stop(str(error))
    try:
        files = [writer.encode(lab, slide) for slide in lab.slides]
    except ImportError as error:
        stop(missing(error, f"--to {to}", "lis"))
    except Exception as error:  # what the libraries raise is their own
        stop(f"{report}: does not fit --to {to}: {str(error)[:300]}")

    def work() -> None:
        from wbcdet.results.output_folder import Output
        from wbcdet.utils.files import atomic_write, csv_bytes

        taken: set[str] = set()
        rows = []
        with Output(out, "export") as output:
            for slide, data in zip(lab.slides, files, strict=True):
                name = f"{free_stem(slide.name, taken)[0]}{writer.SUFFIX}"
                atomic_write(output.folder / name, data)
                signed = slide.signature or {}
                status = "final" if slide.is_final else "preliminary"
                values = (slide.name, name, status, signed.get("name"), signed.get("time"))
                rows.append(dict(zip(SLIDE_COLUMNS, values, strict=True)))
            atomic_write(output.folder / "slides.csv", csv_bytes(SLIDE_COLUMNS, rows))
            output.finish()

    _check_empty(out)
    writing(out, work)
    final = sum(slide.is_final for slide in lab.slides)
    slides = plural(len(files), "slide")
    typer.echo(
        f"{slides} written to {out} as {to}: {final} final, {len(files) - final} preliminary. "
        f"{NOTICE}"
    )
    raise typer.Exit


def _check_empty(out: Path) -> None:
    from wbcdet.results.output_folder import is_empty, not_empty

    if out.is_dir() and not is_empty(out):
        stop(not_empty(out))


def _open_writer(name: str) -> Any:
    """Load the writer of a format: one of wbcdet's, or one that another package declares."""
    if name in FORMATS:
        return import_module(f"wbcdet.results.export.{name}")
    from importlib.metadata import entry_points

    declared = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in declared:
        stop(f"--to {name}: there is no such format; there are {', '.join([*FORMATS, *declared])}")
    try:
        return declared[name].load()
    except Exception as error:  # another package may raise anything
        stop(f"--to {name}: {declared[name].value} cannot be loaded: {error}")


def _write(
    results: Sequence[FieldResult],
    writer: Writer,
    to: str,
    out: Path,
    pictures: Pictures | None,
) -> list[str]:
    """Write the export and print its closing line; returns what is wrong with pictures."""
    from wbcdet.results.export.base import make_items, summary
    from wbcdet.results.output_folder import Output
    from wbcdet.utils.files import atomic_write, csv_bytes

    _check_empty(out)
    with Output(out, "export") as output:
        target = output.folder / getattr(writer, "PICTURES", "images")
        items, problems = make_items(results, target, pictures)
        writer.write(items, output.folder)
        how = "" if pictures is None else "linked" if pictures.link else "copied"
        rows = (_row(item, how, asked=pictures is not None) for item in items)
        atomic_write(output.folder / "fields.csv", csv_bytes(COLUMNS, rows))
        output.finish()
    typer.echo(f"{summary(items, len(results) - len(items), to, out)}. {NOTICE}")
    return problems


def _row(item: Item, how: str, *, asked: bool) -> dict[str, object]:
    result = item.result
    picture = how if item.placed else "left out" if asked else None
    values = (result.file, item.stem, result.width, result.height, len(result.cells), picture)
    return dict(zip(COLUMNS, values, strict=True))

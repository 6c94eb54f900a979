"""Options of the sheets that ``count`` and ``stream`` write: what slides are called, and PDF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import stop

if TYPE_CHECKING:
    from wbcdet.differential.identifiers import Identifiers

Patient = Annotated[str, typer.Option(metavar="TEXT", help="Patient identifier for the sheet.")]
Order = Annotated[str, typer.Option(metavar="TEXT", help="Order identifier for the sheet.")]
Slide = Annotated[str, typer.Option(metavar="TEXT", help="Slide identifier for the sheet.")]
Ids = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The same for several slides: CSV with group, patient, order, slide.",
        show_default=False,
    ),
]
Pdf = Annotated[
    bool, typer.Option("--pdf", help="Print report.pdf too; needs Chromium, Chrome or Edge.")
]


def identifiers(
    only: str, patient: str, order: str, slide: str, ids: Path | None, *, several: bool
) -> Mapping[str, Identifiers]:
    """Return what the slides are called, by group; ends the program where that is a mistake.

    Args:
        only: the group that ``--patient``, ``--order`` and ``--slide`` are of.
        patient, order, slide, ids: as given.
        several: there are several groups, which ``--ids`` alone can name.
    """
    from wbcdet.differential.csv_table import TableError
    from wbcdet.differential.identifiers import Identifiers, read_identifiers

    try:
        given = Identifiers(patient.strip(), order.strip(), slide.strip())
        if given and (several or ids is not None):
            stop("--patient, --order and --slide are of one slide; name several with --ids FILE")
        if ids is not None:
            return read_identifiers(ids)
    except (TableError, ValueError) as error:
        stop(str(error))
    return {only: given} if given else {}


def check_browser() -> None:
    """End the program where ``--pdf`` cannot be done, before an hour of counting."""
    from wbcdet.report.pdf import PdfError, find_chromium

    try:
        find_chromium()
    except PdfError as error:
        stop(f"--pdf: {error}")

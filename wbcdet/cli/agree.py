"""The command ``wbcdet agree``: parse, compare, print, write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import stop, writing
from wbcdet.records import NOTICE

if TYPE_CHECKING:
    from wbcdet.evaluation.agreement.compare import Agreement

EPILOG = f"Exit code: 0 compared, 2 nothing to compare. {NOTICE}"


def agree(
    ours: Annotated[
        Path,
        typer.Argument(
            metavar="OURS",
            help="A report folder, or its differential.csv, cells.csv or results.json.",
            show_default=False,
        ),
    ],
    manual: Annotated[
        Path,
        typer.Argument(
            metavar="MANUAL.csv",
            help="The manual counts: one row a slide with a column for each cell type, or one row "
            "a slide and type; or single cells (file, id, manual).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for agreement.html, CSV and JSON; made if needed."),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="folder|PATTERN",
            help="How cells are put together to slides. Default: the groups of the report.",
        ),
    ] = None,
) -> None:
    """Compare a report with manual counts of the same slides.

    For each cell type: mean difference, limits that chance alone explains (binomial), limits of
    agreement (Bland-Altman), Passing-Bablok line; and Cohen's kappa where single cells are named
    by both.
    """
    from wbcdet.differential.csv_table import TableError
    from wbcdet.differential.grouping import GroupingError, check_grouping
    from wbcdet.evaluation.agreement.compare import compare
    from wbcdet.evaluation.agreement.counts import read_machine_counts
    from wbcdet.evaluation.agreement.manual import read_manual
    from wbcdet.evaluation.agreement.output import print_agreement
    from wbcdet.utils.tables import terminal

    try:
        if group_by is not None:
            check_grouping(group_by)
        machine = read_machine_counts(ours, group_by)
        agreement = compare(machine, read_manual(manual, group_by, machine.labels))
    except (TableError, GroupingError) as error:
        stop(str(error))
    if out is not None:
        names = [path.resolve().name for path in (ours, manual)]
        writing(out, lambda: _write(agreement, out, *names))

    print_agreement(terminal(), agreement)
    if out is not None:
        typer.echo(
            f"Files in {out}: agreement.html, agreement.csv, agreement_groups.csv, agreement.json"
        )


def _write(agreement: Agreement, out: Path, ours: str, manual: str) -> None:
    from wbcdet.evaluation.agreement.output import (
        CLASS_COLUMNS,
        GROUP_COLUMNS,
        class_rows,
        group_rows,
        to_json,
    )
    from wbcdet.evaluation.agreement.page import render
    from wbcdet.results.output_folder import Output
    from wbcdet.utils.files import atomic_write, csv_bytes

    with Output(out, "agree", replaces=True) as output:
        folder = output.folder
        atomic_write(folder / "agreement.csv", csv_bytes(CLASS_COLUMNS, class_rows(agreement)))
        atomic_write(
            folder / "agreement_groups.csv", csv_bytes(GROUP_COLUMNS, group_rows(agreement))
        )
        atomic_write(folder / "agreement.json", to_json(agreement, ours, manual).encode())
        atomic_write(folder / "agreement.html", render(agreement, ours, manual).encode())
        output.finish()

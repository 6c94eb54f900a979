"""Write an evaluation: a page, JSON, CSV, and tables on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console

from wbcdet.evaluation import label_issues as problems
from wbcdet.evaluation import tables
from wbcdet.evaluation.evaluate import ListResult
from wbcdet.evaluation.figures import EvaluationInfo
from wbcdet.evaluation.html import render
from wbcdet.evaluation.infer import box_threshold, label_threshold
from wbcdet.inference.analyzer import Analyzer
from wbcdet.records import NOTICE
from wbcdet.results.document import dump
from wbcdet.results.output_folder import Output as OutputFolder
from wbcdet.utils.files import atomic_write, csv_bytes
from wbcdet.utils.tables import Row, print_table, terminal
from wbcdet.utils.text import one_line
from wbcdet.utils.version import __version__

FORMAT = "wbcdet-evaluation/1"


class Output:
    """The output folder of an evaluation. Files appear whole or not at all.

    Args:
        out: the folder; made where it does not exist.

    Raises:
        OutputError: it holds what is not of an earlier evaluation.
        LockedError: another run writes to it.
        OSError: nothing can be written there.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._output = OutputFolder(out, "evaluate", replaces=True)
        self.results: list[ListResult] = []
        self.document: dict[str, object] = {}

    @property
    def problems(self) -> int:
        """Number of problems of the labels."""
        return sum(len(result.problems) for result in self.results)

    @property
    def left_out(self) -> bool:
        """Whether some labels are in no figure."""
        return any(problems.left_out(result.problems) for result in self.results)

    def write(self, analyzer: Analyzer) -> None:
        """Write ``evaluation.html``, ``evaluation.json``, ``figures.csv`` and ``cells.csv``.

        Raises:
            OSError: a file cannot be written.
        """
        info: EvaluationInfo = {
            "wbcdet": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "notice": NOTICE,
            **analyzer.info(),
            "confidence": box_threshold(analyzer),
            "min_score": label_threshold(analyzer),
        }
        lists = [
            {
                "name": result.name,
                "title": result.title,
                "note": result.note,
                **result.figures,
                "problems": [asdict(problem) for problem in result.problems],
            }
            for result in self.results
        ]
        self.document = {"format": FORMAT, "info": info, "lists": lists}
        rows = ({"list": result.name, **row} for result in self.results for row in result.rows)
        figures = tables.figure_rows(self.results)
        folder = self._output.folder
        atomic_write(folder / "figures.csv", csv_bytes(tables.FIGURE_COLUMNS, figures))
        atomic_write(folder / "cells.csv", csv_bytes(tables.CELL_COLUMNS, rows))
        atomic_write(folder / "evaluation.json", self.json().encode())
        atomic_write(folder / "evaluation.html", render(info, self.results).encode())
        self._output.finish()

    def close(self) -> None:
        """End without the files; those of an earlier evaluation stay."""
        self._output.close()

    def json(self) -> str:
        """Return the document as text."""
        return dump(self.document)

    def markdown(self) -> str:
        """Return all figures as Markdown tables."""
        return tables.markdown(self.results)

    def print_tables(self) -> None:
        """Print the short tables, what is wrong with the labels, and where the files are."""
        console = terminal()
        for table in tables.overview(self.results):
            _print_table(console, table)
        for result in self.results:
            for line in problems.summarise(result.problems):
                text = f"{one_line(result.title)}: {one_line(line)}"
                console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
        names = "evaluation.html, evaluation.json, figures.csv, cells.csv"
        for line in (f"Intervals in parentheses: 95 %. {NOTICE}", f"Files in {self.out}: {names}"):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_table(console: Console, table: tables.Table) -> None:
    if table.title:
        console.print(table.title, style="bold", markup=False, highlight=False, soft_wrap=True)
    rows = [
        Row(
            (
                one_line(row[0].text),
                *(f"{e.text} ({e.interval})" if e.interval else e.text for e in row[1:]),
            )
        )
        for row in table.rows
    ]
    print_table(console, table.header, rows)
    console.print()

"""The notebooks of the documentation run from top to bottom; they are shipped without output."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

nbformat = pytest.importorskip("nbformat", reason="pip install wbcdet[test]")
nbclient = pytest.importorskip("nbclient", reason="pip install wbcdet[test]")

NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs for cell in cells), "ship it without output"
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=120, resources=resources).execute()
    assert all(cell.outputs for cell in cells)

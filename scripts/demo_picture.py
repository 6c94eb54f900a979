"""Draw the README's picture: a synthetic field with every cell type, analysed by wbcdet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import typer


def main(
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("docs/demo.jpg"),
    seed: Annotated[int, typer.Option(help="Which field.")] = 1,
) -> None:
    """Draw the README's picture."""
    from wbcdet import Analyzer
    from wbcdet.datasets.synthetic import render_field
    from wbcdet.results.annotate import annotate

    counts = {"neutrophil": 2, "lymphocyte": 1, "monocyte": 1, "eosinophil": 1, "basophil": 1}
    field = render_field(seed, 960, 640, cell_px=120, counts=counts)
    cells = Analyzer().analyze(field.pixels).cells
    cv2.imwrite(str(out), annotate(field.pixels, cells), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    typer.run(main)

"""Draw a sheet of annotated fields of each laboratory, to look at. Never committed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("runs/sheet.jpg"),
    each: Annotated[int, typer.Option(help="Fields of each laboratory.")] = 5,
    seed: Annotated[int, typer.Option(help="Which fields.")] = 0,
    tile: Annotated[int, typer.Option(help="Side of a tile, px.")] = 400,
) -> None:
    """Draw what wbcdet finds on test fields, one row a laboratory."""
    from wbcdet import Analyzer
    from wbcdet.evaluation.benchmarks import prepared_fields
    from wbcdet.results.annotate import annotate

    analyzer = Analyzer()
    rng = np.random.default_rng(seed)
    rows = []
    for laboratory in ("bccd", "bcisc", "txl-raabin", "txl-pbc", "tecom", "cellavision"):
        fields = prepared_fields(
            prepared,
            lambda r, lab=laboratory: (
                r["laboratory"] == lab
                and "train" not in (r["detect"], r["classify"] if lab == "tecom" else "")
            ),
        )
        row = []
        for index in rng.choice(len(fields), each, replace=False):
            image = fields[index].read()
            picture = annotate(image, analyzer.analyze(image).cells)
            scale = tile / max(picture.shape[:2])
            small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            canvas = np.full((tile, tile, 3), 255, np.uint8)
            canvas[: small.shape[0], : small.shape[1]] = small[:tile, :tile]
            row.append(canvas)
        rows.append(np.hstack(row))
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), np.vstack(rows))
    print(out)


if __name__ == "__main__":
    typer.run(main)

"""Write a folder of weights whose detector computes in 8-bit integers.

It is calibrated on training fields. Not shipped: docs/performance.md says what it gains and loses.
Judge one with `WBCDET_WEIGHTS=FOLDER python experiments/detector_choices.py`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer


def main(
    folder: Annotated[Path, typer.Argument(help="For the weights.")],
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    of_each: Annotated[int, typer.Option(help="Fields of each laboratory.")] = 20,
) -> None:
    """Quantise the detector: convolutions but the last ones, by channel, others in float32."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantise
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from wbcdet.inference.detector import letterbox
    from wbcdet.inference.weights import load_model, sealed, weights_folder
    from wbcdet.io.decode import decode

    model = load_model("detector")
    shape = [model.card[key] for key in ("input_size", "stride", "letterbox_grey")]
    by: dict[str, list[str]] = {}
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["detect"] == "train":
                by.setdefault(row["laboratory"], []).append(row["field"])
    chance = random.Random(0)
    chosen = [name for own in by.values() for name in chance.sample(own, min(of_each, len(own)))]

    class Fields(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(chosen)

        def get_next(self) -> dict[str, Any] | None:
            name = next(self.left, None)
            if name is None:
                return None
            pixels = decode((prepared / "fields" / name).read_bytes(), 10**9)
            return {"images": letterbox(pixels, *shape)[0]}

    shutil.copytree(weights_folder(), folder)
    target = folder / model.path.name
    quant_pre_process(str(model.path), str(target), skip_symbolic_shape=True)
    nodes = onnx.load(target).graph.node
    head = [n.name for n in nodes if n.name.startswith("/model.23/") and "/act/" not in n.name]
    inner = [name for name in head if name.endswith("/conv/Conv")]
    quantise(
        str(target),
        str(target),
        Fields(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=sorted(set(head) - set(inner)),
        extra_options={"CalibMovingAverage": True},
    )
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    card = {**model.card, "sha256": digest, "version": f"{model.card['version']} int8"}
    text = json.dumps(sealed(card), indent=2) + "\n"
    (folder / "detector.json").write_text(text, encoding="utf-8")
    print(f"{len(chosen)} fields, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)

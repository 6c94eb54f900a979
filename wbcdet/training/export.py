"""Export trained networks: ONNX for inference, safetensors for fine-tuning."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from wbcdet.datasets.cells import CLASSES, MEAN, REASONS, STD
from wbcdet.inference.weights import sealed
from wbcdet.training.augment_cells import CROP, CROP_SIZE
from wbcdet.training.classifier_training import load_network
from wbcdet.training.compose_scenes import FIELD_STAIN, LETTERBOX_GREY
from wbcdet.training.leucocytenet import DISTANCE_PREFIX, FeatureDistance, LeucoCyteNet, NamedCells
from wbcdet.training.model_card import LICENCE, provenance
from wbcdet.utils.schemas import JsonObject

#: Training data of the shipped models.
ARCHIVES = (
    "aslan", "bccd", "bcisc", "chula-ee", "pbc", "pbc-boxes", "tecom-cellavision", "txl-pbc"
)  # fmt: skip


def _save(
    tensors: dict[str, torch.Tensor], path: Path, distance: FeatureDistance | None = None
) -> None:
    """Save half precision safetensors that every user of an installed package may read."""
    kept = {k: v.half().contiguous() for k, v in tensors.items() if v.is_floating_point()}
    if distance is not None:  # its whitening spans more than half precision holds
        kept |= {DISTANCE_PREFIX + k: v.contiguous() for k, v in distance.state_dict().items()}
    save_file(kept, path)
    path.chmod(0o644)


def _strip(path: Path) -> None:
    """Take out of an ONNX file what exporters note of the machine: paths, dates, call stacks."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    for item in (graph, *graph.node, *graph.initializer, *graph.value_info):
        item.doc_string = ""
        del item.metadata_props[:]
    for item in (*graph.input, *graph.output):
        del item.metadata_props[:]
    onnx.save(model, path)


def _write_card(folder: Path, role: str, card: JsonObject) -> None:
    digest = hashlib.sha256((folder / card["file"]).read_bytes()).hexdigest()
    card = sealed({**card, "sha256": digest, "licence": LICENCE})
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / f"{role}.json").write_text(text, encoding="utf-8")


def export_detector(
    checkpoint: Path, folder: Path, size: int, confidence: float, recipe: str
) -> None:
    """Write ``detector.onnx``, ``detector.safetensors`` and the card.

    Args:
        checkpoint: ultralytics checkpoint of our own training.
        folder: where the models go.
        size: longer side of the input in pixels.
        confidence: threshold on the card.
        recipe: how it was trained, in a sentence for the card.
    """
    from ultralytics import YOLO

    from wbcdet.training.usage_reports import ultralytics_reports_nothing

    ultralytics_reports_nothing()
    model = YOLO(checkpoint)
    _save(model.model.state_dict(), folder / "detector.safetensors")
    scratch = checkpoint.with_name("export.pt")
    shutil.copy(checkpoint, scratch)
    written = YOLO(scratch).export(format="onnx", imgsz=size, dynamic=True, simplify=True)
    Path(written).replace(folder / "detector.onnx")
    scratch.unlink()
    _strip(folder / "detector.onnx")
    _write_card(
        folder,
        "detector",
        {
            "name": "wbcdet-detector",
            "version": "5",
            "architecture": "ultralytics yolo26n, one class",
            "file": "detector.onnx",
            "training_file": "detector.safetensors",
            "classes": ["wbc"],
            "input_size": size,
            "stride": 32,
            "letterbox_grey": LETTERBOX_GREY,
            "stain": FIELD_STAIN,
            "normalisation": "pixels / 255",
            "colour_order": "RGB",
            "confidence": confidence,
            "nms_iou": 0.5,
            "data": provenance(ARCHIVES),
            "splits": "datasets/splits.csv, detect = train (Tecom: classify = train)",
            "recipe": recipe,
        },
    )


def export_classifier(
    weights: Path,
    folder: Path,
    temperature: float,
    min_score: float,
    recipe: str,
    stages: int = 5,
    head: int = 480,
    distance: FeatureDistance | None = None,
    extra: dict[str, object] | None = None,
    offsets: Sequence[float] | None = None,
    own: Sequence[str] = (),
) -> None:
    """Write ``classifier.onnx``, ``classifier.safetensors`` and the card.

    Args:
        weights: safetensors of a training run.
        folder: where the models go.
        temperature: divisor of the logits that calibrates them.
        min_score: threshold on the card.
        recipe: how it was trained, in a sentence for the card.
        stages, head: size of the network.
        distance: from what was trained on; becomes the second output of the graph.
        extra: more for the card, such as the threshold of the distance.
        offsets: what is added to the logits of each class, in both files.
        own: names of classes after those that every classifier has.
    """
    network = load_network(weights, stages, head, classes=len(CLASSES) + len(own))
    assert isinstance(network, LeucoCyteNet)
    if offsets is not None:
        with torch.no_grad():
            network.classify.bias.add_(torch.tensor(offsets))
    graph: torch.nn.Module = copy.deepcopy(network).float()
    outputs, tensors = ["logits"], dict(network.state_dict())
    if distance is not None:
        graph = NamedCells(copy.deepcopy(network).float(), distance).eval()
        outputs.append("distance")
    _save(tensors, folder / "classifier.safetensors", distance)
    torch.onnx.export(
        graph,
        (torch.zeros(2, 3, CROP_SIZE, CROP_SIZE),),
        str(folder / "classifier.onnx"),
        input_names=["crops"],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        dynamo=True,
        external_data=False,
    )
    _strip(folder / "classifier.onnx")
    _write_card(
        folder,
        "classifier",
        {
            "name": "wbcdet-leucocytenet",
            "version": "7",
            "architecture": f"LeucoCyteNet, {stages} stages, head {head}",
            "stages": stages,
            "head": head,
            "file": "classifier.onnx",
            "training_file": "classifier.safetensors",
            "classes": [*CLASSES, *own],
            "reasons": REASONS,
            **CROP,
            "mean": list(MEAN),
            "std": list(STD),
            "colour_order": "RGB",
            "temperature": round(temperature, 4),
            "min_score": min_score,
            **(extra or {}),
            "data": provenance(ARCHIVES),
            "splits": "datasets/splits.csv, classify = train",
            "recipe": recipe,
        },
    )

"""Types of the model cards ``weights/*.json``, which ``card.schema.json`` checks when read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class Licensed(TypedDict):
    """Source of training data: repository, commit and licence."""

    repository: str
    commit: str
    licence: str


class LearnedCard(TypedDict, total=False):
    """Origin of a model of ``wbcdet learn``; see :mod:`wbcdet.training.finetune.write_models`."""

    from_sha256: str
    created: str
    wbcdet: str
    data_sha256: str
    reports: dict[str, str]
    cells: dict[str, int]
    fields: int
    others: dict[str, float]
    p: float
    criterion: str
    better: bool


class _Written(TypedDict):
    name: str
    version: str
    file: str
    sha256: str
    card_sha256: str


class ModelCard(_Written, total=False):
    """Common part of the cards of both models.

    Attributes:
        name, version: of the model.
        file, sha256: the ONNX file beside the card.
        card_sha256: see :func:`wbcdet.inference.weights.card_digest`.
        training_file: safetensors to start a training from.
        architecture, splits, recipe, licence: in words.
        data: what the model was trained on.
        learned: only of a model of ``wbcdet learn``.
    """

    training_file: str
    architecture: str
    data: list[Licensed]
    splits: str
    recipe: str
    licence: str
    learned: LearnedCard


class _FieldStainCard(TypedDict):
    ground: Sequence[float]
    red_cell: Sequence[float]
    limits: Sequence[float]


class FieldStainCard(_FieldStainCard, total=False):
    """Arguments of :func:`wbcdet.inference.field_stain.match_field_stain`."""

    colour_grain: int


class _DetectorCard(ModelCard):
    classes: list[str]
    input_size: int
    stride: int
    letterbox_grey: int
    colour_order: str
    confidence: float
    nms_iou: float


class DetectorCard(_DetectorCard, total=False):
    """Card of a detector.

    Attributes:
        classes: one, ``wbc``.
        input_size: longer side of the input, px, a multiple of ``stride``.
        stride: coarsest step of the network, px.
        letterbox_grey: value of the padding, 0..255.
        colour_order: ``RGB``.
        confidence: score from which a box is a cell, 0..1.
        nms_iou: greatest IoU of two boxes that are both kept.
        stain: colours that ground and red cells of a field are brought to; networks before
            version 3 have none, and see fields as they are.
    """

    stain: FieldStainCard


class _StainCard(TypedDict):
    nucleus: Sequence[float]
    ground: float
    limits: Sequence[float]


class StainCard(_StainCard, total=False):
    """Arguments of :func:`wbcdet.inference.cell_crop.match_stain`.

    Networks before version 5 have no ``red_cell``: theirs are the arguments of
    :func:`wbcdet.inference.preprocess.normalise_stain`.
    """

    red_cell: Sequence[float]


class _CropCard(TypedDict):
    input_size: int
    crop_padding: float


class CropCard(_CropCard, total=False):
    """How a cell is cut out; see :func:`wbcdet.inference.cell_crop.cell_crop`.

    Attributes:
        input_size: side of a crop, px.
        crop_padding: its side over the longer side of the box.
        least_red_cells: diameters of red cells from which a cell fills its crop.
        stain: colours that nucleus, red cells and ground are brought to; None leaves them.
    """

    least_red_cells: float
    stain: StainCard | None


class DistanceCard(TypedDict):
    """The distance from what was trained on: output of the graph, and the limit of a label."""

    output: str
    threshold: float


class _ClassifierNeeds(ModelCard, CropCard):
    classes: list[str]
    mean: list[float]
    std: list[float]
    colour_order: str
    temperature: float
    min_score: float


class ClassifierCard(_ClassifierNeeds, total=False):
    """Card of a classifier; see :class:`CropCard` for the crops.

    Attributes:
        classes: in the order of the logits; the four labels are among them.
        mean, std: of the red, green and blue channel, 0..1.
        colour_order: ``RGB``.
        temperature: divisor of the logits.
        min_score: probability from which a label is given, 0..1.
        decline_below: the same for single labels.
        reasons: why a cell of another class is unclassified, by class.
        own_labels: classes that are labels beside the four, as a laboratory's own classifier
            (``wbcdet learn``) may have them.
        unlike_trained: distance from what was trained on.
        ground: what slides are compared with (:mod:`wbcdet.inference.domain_shift`).
        stages, head: size of LeucoCyteNet.
    """

    decline_below: dict[str, float]
    reasons: dict[str, str]
    own_labels: list[str]
    unlike_trained: DistanceCard
    ground: GroundCard | None
    stages: int
    head: int


class LimitCard(TypedDict, total=False):
    """Median of a measure over the trained laboratories, and the limit that few lie beyond."""

    median: float
    limit: float


class LaboratoryStain(TypedDict):
    """Mean and spread of the logarithms of a laboratory's stain, nine numbers each."""

    mean: list[float]
    spread: list[float]


class StainLimitCard(LimitCard, total=False):
    """The limit of the stain, with the laboratories that distances are from."""

    laboratories: dict[str, LaboratoryStain]


class GroundCard(TypedDict, total=False):
    """Reference that a slide is compared with.

    Attributes:
        detector: sha256 of the detector that ``detection_score`` holds for.
        fields: number of fields by laboratory.
        detection_score, name_score, distance, stain: the limit of each measure.
    """

    detector: str
    fields: dict[str, int]
    detection_score: LimitCard
    name_score: LimitCard
    distance: LimitCard
    stain: StainLimitCard

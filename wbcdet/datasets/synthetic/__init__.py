"""Synthetic blood smears with exact ground truth: the embedded demo, tests, streams to pan across.

Everything is drawn in micrometres and as optical density, then photographed: what overlaps
darkens as it does under a microscope. Only numpy and OpenCV are needed.
"""

from wbcdet.datasets.synthetic.field import SmearCell, SmearField, render_field, render_smear
from wbcdet.datasets.synthetic.leukocytes import SMEAR_LABELS
from wbcdet.datasets.synthetic.stain import STAINS, Stain, vary

__all__ = [
    "SMEAR_LABELS",
    "STAINS",
    "SmearCell",
    "SmearField",
    "Stain",
    "render_field",
    "render_smear",
    "vary",
]

"""Find copies among labelled pictures: the same file, or nearly the same picture.

A near copy is the picture scaled, recompressed, a little brighter, or turned or mirrored by right
angles. Overlapping fields, and copies rotated by other angles, are not found this way.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wbcdet.evaluation.dataset import LabelIssue, LabelledField
from wbcdet.io.colour import Pixels

_SIDE = 32
#: Differing bits of 63, and correlation of thumbnails. Of all pairs of different pictures of the
#: six public laboratories none passes both; scaled, JPEG (quality 40) and brightened copies do.
_MAX_BITS = 6
_MIN_CORRELATION = 0.98
#: Rows that are compared at once, to bound the memory.
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Print:
    """Fingerprint of a picture: sha256 of its file, and a 32x32 grey thumbnail."""

    sha256: str
    thumbnail: np.ndarray


def fingerprint(path: Path, pixels: Pixels) -> Print:
    """Return the print of a picture, (H, W, 3) uint8 BGR, and of its file."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Print(hashlib.sha256(path.read_bytes()).hexdigest(), small)


def find_copies(prints: Sequence[Print]) -> list[tuple[int, int, bool]]:
    """Return pairs ``(first, second, same file)`` of pictures that are copies."""
    if len(prints) < 2:
        return []
    thumbs = np.stack([p.thumbnail for p in prints]).astype(np.float32)
    # Bits as +1 and -1: their product counts the equal ones.
    bits = _bits(thumbs)
    pairs: dict[tuple[int, int], bool] = {}
    first_of: dict[str, int] = {}
    for number, p in enumerate(prints):
        first = first_of.setdefault(p.sha256, number)
        if first != number:
            pairs[first, number] = True
    plain = _unit(thumbs)
    for turned in _turned(thumbs):
        other_bits, other = _bits(turned), _unit(turned)
        for start in range(0, len(prints), _BLOCK):
            equal = bits[start : start + _BLOCK] @ other_bits.T
            rows, columns = np.nonzero(equal >= bits.shape[1] - 2 * _MAX_BITS)
            for i, j in zip((rows + start).tolist(), columns.tolist(), strict=True):
                if i < j and float(plain[i] @ other[j]) >= _MIN_CORRELATION:
                    pairs.setdefault((i, j), False)
    return sorted((i, j, same) for (i, j), same in pairs.items())


def judge_copies(
    fields: Sequence[LabelledField], pairs: Sequence[tuple[int, int, bool]]
) -> list[LabelIssue]:
    """Report copies as problems, and give both of a pair the same group, in place."""
    problems = []
    group_of = {f.group: f.group for f in fields}

    def root(group: str) -> str:
        while group_of[group] != group:
            group = group_of[group]
        return group

    for i, j, same in pairs:
        field, other = fields[i], fields[j]
        kind = "copy"
        if field.split != other.split:
            kind = "split-copy"
        elif field.picture_type != other.picture_type:
            kind = "class-copy"
        problems.append(
            LabelIssue(kind, field.name, f"{'same file' if same else 'like'} {other.name}")
        )
        group_of[root(other.group)] = root(field.group)
    for f in fields:
        f.group = root(f.group)
    return problems


def trained_on(prints: Sequence[Print], names: Sequence[str]) -> list[LabelIssue]:
    """Return pictures that are, byte for byte, of the lists wbcdet was trained or tuned on."""
    from wbcdet.datasets.archives import archive_of, datasets_folder, listed_files

    learnt = {}
    with (datasets_folder() / "splits.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if {row["classify"], row["detect"]} & {"train", "val"}:
                learnt[archive_of(row["laboratory"], row["file"]), row["file"]] = row["laboratory"]
    of_hash = {
        listed.sha256: learnt[archive, listed.path]
        for archive in {archive for archive, _ in learnt}
        for listed in listed_files(archive)
        if (archive, listed.path) in learnt
    }
    return [
        LabelIssue("trained-on", name, of_hash[p.sha256])
        for name, p in zip(names, prints, strict=True)
        if p.sha256 in of_hash
    ]


def _turned(thumbs: np.ndarray) -> list[np.ndarray]:
    """Return the eight ways of laying down a square."""
    mirrored = thumbs[:, :, ::-1]
    return [np.rot90(t, k, axes=(1, 2)) for t in (thumbs, mirrored) for k in range(4)]


def _bits(thumbs: np.ndarray) -> np.ndarray:
    """Return (N, 63) float32 of +1 and -1: coarse cosine coefficients above their median or
    below."""
    coarse = np.stack([cv2.dct(np.ascontiguousarray(t))[:8, :8].ravel()[1:] for t in thumbs])
    return np.where(coarse > np.median(coarse, axis=1, keepdims=True), 1, -1).astype(np.float32)


def _unit(thumbs: np.ndarray) -> np.ndarray:
    flat = thumbs.reshape(len(thumbs), -1)
    flat = flat - flat.mean(1, keepdims=True)
    result: np.ndarray = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return result

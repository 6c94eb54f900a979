"""A drawn slide as a series of DICOM files, as scanners and archives keep it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from drawn_slides import UM, Drawn

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_TILE = 512


def write_series(
    drawn: Drawn,
    folder: Path,
    *,
    levels: Sequence[int] = (1, 4),
    associated: bool = True,
    prefix: str = "",
    ending: str = ".dcm",
    scale: bool = True,
) -> list[Path]:
    """Write a slide as one file a level, the coarsest first, with its label and overview.

    Args:
        drawn: the slide.
        folder: where to, as ``1.dcm``, ``2.dcm`` and so on.
        levels: reductions.
        associated: write label and overview too.
        prefix, ending: of the names.
        scale: name the size of a pixel.
    """
    uid = pytest.importorskip("pydicom", reason="pip install 'wbcdet[slides]'").uid
    folder.mkdir(parents=True, exist_ok=True)
    series, place = uid.generate_uid(), uid.generate_uid()
    pictures = [
        ("VOLUME", drawn.read(0, 0, drawn.width // by, drawn.height // by, by), UM * by)
        for by in sorted(levels, reverse=True)
    ]
    if associated:
        pictures += [(kind, drawn.read(0, 0, 300, 200, 4), 10.0) for kind in ("LABEL", "OVERVIEW")]
    paths = []
    for number, (kind, pixels, um) in enumerate(pictures, 1):
        dataset = _instance(pixels, kind, um if scale else None)
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, place
        dataset.StudyInstanceUID, dataset.InstanceNumber = place, number
        paths.append(folder / f"{prefix}{number}{ending}")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _instance(pixels: np.ndarray, kind: str, um: float | None):  # type: ignore[no-untyped-def]
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    height, width = pixels.shape[:2]
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    padded = np.full((rows * _TILE, columns * _TILE, 3), 255, np.uint8)
    padded[:height, :width] = pixels[:, :, ::-1]
    tiles = padded.reshape(rows, _TILE, columns, _TILE, 3).swapaxes(1, 2)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = _WHOLE_SLIDE, generate_uid()
    dataset.Modality = "SM"
    dataset.ImageType = ["DERIVED", "PRIMARY", kind, "RESAMPLED" if kind == "VOLUME" else "NONE"]
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.Rows = dataset.Columns = _TILE
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = height, width
    dataset.NumberOfFrames = rows * columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = dataset.PixelRepresentation = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    measures = Dataset()
    if um is not None:
        measures.PixelSpacing = [um / 1000, um / 1000]
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PixelData = tiles.tobytes()
    dataset["PixelData"].VR = "OB"
    return dataset


def rewrite(path: Path, variant: str) -> None:
    """Write a level in another way that scanners and archives know, with the same tiles.

    Args:
        path: a level of ``write_series``.
        variant: ``sparse`` (each tile says its place), ``concatenated`` (two files), ``jpeg`` or
            ``jpeg2000`` (lossless); anything else leaves it as it is.
    """
    import pydicom

    dataset = pydicom.dcmread(path)
    if dataset.ImageType[2] != "VOLUME":
        return
    if variant == "sparse":
        _say_places(dataset)
    elif variant in ("jpeg", "jpeg2000"):
        _compress(dataset, variant)
    elif variant == "concatenated" and dataset.NumberOfFrames > 1:
        data, frames = dataset.PixelData, dataset.NumberOfFrames
        dataset.ConcatenationUID = dataset.SOPInstanceUIDOfConcatenationSource = (
            pydicom.uid.generate_uid()
        )
        dataset.InConcatenationTotalNumber = 2
        for number, (first, last) in enumerate(((0, frames // 2), (frames // 2, frames)), 1):
            size = len(data) // frames
            dataset.InConcatenationNumber, dataset.ConcatenationFrameOffsetNumber = number, first
            dataset.NumberOfFrames = last - first
            dataset.PixelData = data[first * size : last * size]
            dataset.SOPInstanceUID = uid = pydicom.uid.generate_uid()
            dataset.file_meta.MediaStorageSOPInstanceUID = uid
            dataset.save_as(path.with_stem(path.stem + "-part" * (number - 1)))
        return
    dataset.save_as(path)


def _say_places(dataset) -> None:  # type: ignore[no-untyped-def]
    from pydicom.dataset import Dataset

    across = -(-dataset.TotalPixelMatrixColumns // _TILE)
    dataset.DimensionOrganizationType = "TILED_SPARSE"
    groups, size = [], _TILE * _TILE * 3
    # The last first: the order tells nothing of the place.
    order = range(dataset.NumberOfFrames - 1, -1, -1)
    for frame in order:
        position, group = Dataset(), Dataset()
        position.ColumnPositionInTotalImagePixelMatrix = frame % across * _TILE + 1
        position.RowPositionInTotalImagePixelMatrix = frame // across * _TILE + 1
        group.PlanePositionSlideSequence = [position]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    data = dataset.PixelData
    dataset.PixelData = b"".join(data[frame * size : (frame + 1) * size] for frame in order)


def _compress(dataset, codec: str) -> None:  # type: ignore[no-untyped-def]
    from io import BytesIO

    from PIL import Image
    from pydicom import encaps, uid

    tiles = np.frombuffer(dataset.PixelData, np.uint8).reshape(-1, _TILE, _TILE, 3)
    frames = []
    for tile in tiles:
        stream = BytesIO()
        if codec == "jpeg":
            Image.fromarray(tile).save(stream, "JPEG", quality=90)
        else:
            Image.fromarray(tile).save(stream, "JPEG2000", no_jp2=True, irreversible=False, mct=1)
        frames.append(stream.getvalue())
    if codec == "jpeg":
        dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    else:
        dataset.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
        dataset.PhotometricInterpretation = "YBR_RCT"
    dataset.PixelData = encaps.encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True

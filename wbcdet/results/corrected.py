"""Labels as other programs give them back after a person has corrected them there.

Label Studio (JSON, JSON-MIN), COCO JSON, CVAT for images 1.1 and QuPath's GeoJSON are told apart by
what is in a file, never by its name; a ZIP file of them, as CVAT and Label Studio hand out, is read
in memory. Nothing of a file is followed: names in it are compared with the names of a report's
fields and open no file.
"""

from __future__ import annotations

import io
import lzma
import math
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wbcdet.io.ownership import MARKER
from wbcdet.utils.boxes import Box
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.schemas import JsonObject, parse_json
from wbcdet.utils.text import one_line

#: Endings of files that are looked at where a folder is given.
_SUFFIXES = (".json", ".geojson", ".xml")
_ZIPPED = (b"PK\x03\x04", b"PK\x05\x06")
#: Bytes of all files of labels in a ZIP file, unpacked: a small one may hold any number of them.
_MAX_UNPACKED = 256 << 20
_FORMATS = "Label Studio JSON, COCO JSON, CVAT for images 1.1 XML or QuPath GeoJSON"


class CorrectedError(WbcdetError, ValueError):
    """A file of corrected labels cannot be read; the message is one line that names it."""


class LabellingSetupError(CorrectedError):
    """A file holds no labels, but how they are made: beside labels it is passed over."""


@dataclass(frozen=True, slots=True)
class CorrectedField:
    """The labels of one field.

    Attributes:
        names: what the file calls the field, the surest first.
        size: width and height; None where the file does not say.
        cells: label and box, pixels of the field.
        problems: what of the field cannot be read, a line each.
        untouched: nobody has annotated it yet; it has what the machine found.
        stem: name of the field's own file, without ending; None where one file has all fields.
    """

    names: tuple[str, ...]
    size: tuple[float, float] | None
    cells: tuple[tuple[str, Box], ...]
    problems: tuple[str, ...] = ()
    untouched: bool = False
    stem: str | None = None


def read_corrected(path: Path) -> list[CorrectedField]:
    """Read a file, or all such files of a folder.

    Raises:
        CorrectedError: one of them cannot be read, or is of another format.
    """
    fields, setup, labels = list[CorrectedField](), None, False
    for inner, data in _files(path):
        try:
            fields += _read(data, inner)
            labels = True
        except LabellingSetupError as error:
            setup = error
    if setup and not labels:
        raise setup
    return fields


def _files(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield paths and bytes of a file, of all files of a folder, and of those in ZIP files."""
    files = [path]
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in (*_SUFFIXES, ".zip")
            and file.name != MARKER
            and file.is_file()
        )
    if not files:
        raise CorrectedError(f"{path}: holds no file of labels; export {_FORMATS}")
    for file in files:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise CorrectedError(
                f"{file}: cannot be read ({error.strerror or error}); check its name, and whether "
                "you may read it"
            ) from error
        if data.startswith(_ZIPPED):
            yield from _unzipped(file, data)
        else:
            yield file, data


def _unzipped(path: Path, data: bytes) -> Iterator[tuple[Path, bytes]]:
    """Yield paths and bytes of the files of labels in a ZIP file; none is written anywhere."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [member for member in archive.infolist() if _is_labels(member.filename)]
            if not parts:
                raise CorrectedError(f"{path}: holds no file of labels; export {_FORMATS}")
            # No more than a file's own size is ever unpacked of it.
            if sum(member.file_size for member in parts) > _MAX_UNPACKED:
                raise CorrectedError(
                    f"{path}: its labels take more than {_MAX_UNPACKED >> 20} MB; unpack it, and "
                    "import one file at a time"
                )
            for member in parts:
                yield path / one_line(member.filename).lstrip("/"), archive.read(member)
    except CorrectedError:
        raise
    except RuntimeError as error:  # a password, or a way of packing that zipfile does not know
        why = " ".join(str(error).split())[:200]
        raise CorrectedError(f"{path}: cannot be unpacked ({why}); unpack it first") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:
        raise CorrectedError(f"{path}: is a damaged ZIP file; export it again") from error


def _is_labels(name: str) -> bool:
    inner = PurePosixPath(name)
    hidden = inner.name.startswith(".") or inner.parts[:1] == ("__MACOSX",)
    return inner.suffix.lower() in _SUFFIXES and inner.name != MARKER and not hidden


def _read(data: bytes, path: Path) -> list[CorrectedField]:
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    try:
        if start == b"<":
            return list(_cvat(data))
        document = parse_json(data)
        return list(_json_fields(document, path))
    except CorrectedError as error:
        raise type(error)(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        why = f"{type(error).__name__}: {error}"
        raise CorrectedError(f"{path}: is damaged ({why}); export it again") from error
    except ValueError as error:
        why = " ".join(str(error).split())[:200]
        raise CorrectedError(f"{path}: is no JSON or XML ({why}); export {_FORMATS}") from error


def _json_fields(document: Any, path: Path) -> Iterator[CorrectedField]:
    if isinstance(document, dict) and isinstance(document.get("images"), list):
        return _coco(document)
    if isinstance(document, dict) and document.get("type") in ("FeatureCollection", "Feature"):
        return _qupath(document.get("features", [document]), path)
    if isinstance(document, list) and document and all(isinstance(x, dict) for x in document):
        if all(item.get("type") == "Feature" for item in document):
            return _qupath(document, path)
        if all("data" in item or "image" in item for item in document):
            return map(_label_studio, document)
    raise CorrectedError(f"is not one of the formats that come back: export {_FORMATS}")


def _label_studio(task: JsonObject) -> CorrectedField:
    data = task.get("data", task)
    names = tuple(str(data[name]) for name in ("file", "image") if data.get(name))
    names = (*names, *(name for address in names if (name := _local(address))))
    if "data" not in task:  # JSON-MIN has the labels of one annotation beside the data
        regions = [{"value": value, **_side(value)} for value in task.get("label") or []]
        return _regions(names, regions, ())
    done = [
        annotation
        for annotation in task.get("annotations") or []
        if not annotation.get("was_cancelled")
    ]
    if not done:
        return CorrectedField(names, None, (), untouched=True)
    last = max(
        done,
        key=lambda annotation: str(
            annotation.get("updated_at") or annotation.get("created_at") or ""
        ),
    )
    several = (f"has {len(done)} annotations; the latest is taken",) if len(done) > 1 else ()
    return _regions(names, last["result"], several)


def _side(value: JsonObject) -> JsonObject:
    return {name: value.get(name) for name in ("original_width", "original_height")}


def _regions(
    names: tuple[str, ...], regions: Sequence[JsonObject], said: tuple[str, ...]
) -> CorrectedField:
    cells, problems, size = [], list(said), None
    for region in regions:
        value = region.get("value") or {}
        labels = value.get("rectanglelabels")
        if not labels:
            continue  # other tools of the same task: ellipses, texts, choices
        width, height = float(region["original_width"]), float(region["original_height"])
        if value.get("rotation") or region.get("image_rotation"):
            problems.append(f"a turned box ({labels[0]}) is left out")
            continue
        if len(labels) > 1:
            several = ", ".join(map(str, labels))
            problems.append(f"a box has several labels ({several}); the first is taken")
        size = width, height
        x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
        w, h = float(value["width"]) * width / 100, float(value["height"]) * height / 100
        cells.append((_label(labels[0]), _box(x, y, x + w, y + h)))
    return CorrectedField(names, size, tuple(cells), tuple(problems))


def _local(address: str) -> str | None:
    """Return the file that Label Studio's address of a picture means."""
    parts = urlsplit(address)
    asked = parse_qs(parts.query).get("d")
    if asked:
        return asked[0]
    return unquote(parts.path) if parts.path and parts.path != address else None


def _coco(document: JsonObject) -> Iterator[CorrectedField]:
    classes = {category["id"]: category["name"] for category in document["categories"]}
    by_image: dict[Any, list[JsonObject]] = defaultdict(list)
    for annotation in document["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    for image in document["images"]:
        size = (image.get("width"), image.get("height"))
        cells, problems = [], []
        for annotation in by_image.pop(image["id"], []):
            if annotation.get("iscrowd"):
                problems.append("a crowd is left out")
                continue
            if annotation["category_id"] not in classes:
                raise CorrectedError(f"category {annotation['category_id']!r} has no name")
            x, y, w, h = (float(value) for value in annotation["bbox"])
            cells.append((_label(classes[annotation["category_id"]]), _box(x, y, x + w, y + h)))
        yield CorrectedField(
            (str(image["file_name"]),),
            (float(size[0]), float(size[1])) if size[0] and size[1] else None,
            tuple(cells),
            tuple(problems),
        )
    if by_image:
        raise CorrectedError(f"{len(by_image)} images have annotations and are not listed")


def _cvat(data: bytes) -> Iterator[CorrectedField]:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise CorrectedError("its XML declares entities, which CVAT does not; refused") from error
    except ParseError as error:
        raise CorrectedError(f"is no whole XML ({error}); export it again") from error
    if root.tag == "View":
        raise LabellingSetupError(
            "is the labelling setup of Label Studio and holds no labels; export its JSON"
        )
    images = root.findall("image")
    if root.tag != "annotations" or (not images and root.find("track") is not None):
        raise CorrectedError("is no CVAT for images 1.1; choose that format in CVAT")
    for image in images:
        cells, problems = [], []
        for shape in image:
            if shape.tag not in ("box", "tag"):
                problems.append(f"a {shape.tag} is left out; cells are boxes")
            elif shape.tag == "box" and float(shape.get("rotation") or 0):
                problems.append(f"a turned box ({shape.get('label')}) is left out")
            elif shape.tag == "box":
                corners = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
                cells.append((_label(shape.attrib["label"]), _box(*corners)))
        size = float(image.attrib["width"]), float(image.attrib["height"])
        yield CorrectedField((image.attrib["name"],), size, tuple(cells), tuple(problems))


def _qupath(features: Sequence[JsonObject], path: Path) -> Iterator[CorrectedField]:
    cells, problems = [], []
    for feature in features:
        properties = feature.get("properties") or {}
        classification = properties.get("classification")
        if classification is None and properties.get("objectType") != "detection":
            problems.append("an annotation without a class is left out")
            continue
        name = "unclassified" if classification is None else classification["name"]
        points = list(_points(feature["geometry"]["coordinates"]))
        if not points:
            raise CorrectedError("a feature has no outline")
        across, down = zip(*points, strict=True)
        cells.append((_label(name), _box(min(across), min(down), max(across), max(down))))
    yield CorrectedField((path.stem,), None, tuple(cells), tuple(problems), stem=path.stem)


def _points(coordinates: Any, depth: int = 0) -> Iterator[tuple[float, float]]:
    """Yield the corners of a GeoJSON outline, however deeply it is nested."""
    if depth > 4:
        raise CorrectedError("a feature is nested too deeply")
    if coordinates and isinstance(coordinates[0], int | float):
        yield float(coordinates[0]), float(coordinates[1])
        return
    for part in coordinates:
        yield from _points(part, depth + 1)


def _label(name: Any) -> str:
    if not isinstance(name, str):
        raise CorrectedError(f"{name!r} is no label")
    return name


def _box(x_min: float, y_min: float, x_max: float, y_max: float) -> Box:
    if not all(map(math.isfinite, (x_min, y_min, x_max, y_max))):
        raise CorrectedError("a box has a side without end")
    return min(x_min, x_max), min(y_min, y_max), max(x_min, x_max), max(y_min, y_max)

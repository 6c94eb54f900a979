"""Corrected labels in the ZIP files that CVAT and Label Studio hand out."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from wbcdet.results import corrected
from wbcdet.results.corrected import CorrectedError, read_corrected

CVAT = (
    '<?xml version="1.0"?><annotations><image id="0" name="anna/a.png" width="60" height="40">'
    '<box label="Blast" xtl="2" ytl="3" xbr="12" ybr="14"/></image></annotations>'
)
COCO = json.dumps({
    "images": [{"id": 1, "file_name": "images/0a1b2c3d-b.png", "width": 60, "height": 40}],
    "categories": [{"id": 1, "name": "monocyte"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 11]}],
})  # fmt: skip


def zipped(path: Path, files: dict[str, str | bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_as_they_are_handed_out(tmp_path: Path) -> None:
    cvat = {"annotations.xml": CVAT, "images/anna/a.png": b"\x89PNG"}
    (field,) = read_corrected(zipped(tmp_path / "task_7.zip", cvat))
    assert field.names == ("anna/a.png",) and field.cells == (("Blast", (2, 3, 12, 14)),)
    (field,) = read_corrected(zipped(tmp_path / "no ending", {"result.json": COCO}))
    assert field.cells[0][1] == (2, 3, 12, 14)
    # What macOS and editors leave in a ZIP file is not one of it; folders of any depth are.
    several = {
        "a/annotations.xml": CVAT, "b/c/annotations/instances_default.json": COCO,
        "b/notes.txt": "x", "__MACOSX/a/._annotations.xml": b"\x00\x05", "a/.hidden.json": "{",
    }  # fmt: skip
    assert len(read_corrected(zipped(tmp_path / "two.zip", several, zipfile.ZIP_LZMA))) == 2
    assert len(read_corrected(tmp_path)) == 3  # a folder of ZIP files, which end in .zip


def test_a_field_of_qupath_has_the_name_of_its_file(tmp_path: Path) -> None:
    ring = [[2, 2], [11, 2], [11, 11], [2, 11], [2, 2]]
    feature = {
        "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": "blast"}},
    }  # fmt: skip
    document = json.dumps({"type": "FeatureCollection", "features": [feature]})
    (field,) = read_corrected(zipped(tmp_path / "q.zip", {"out/field 1.geojson": document}))
    assert field.names == ("field 1",)


def _locked() -> bytes:
    """Return a ZIP file whose file says that it has a password."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("annotations.xml", CVAT)
    whole = bytearray(data.getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + offset] |= 1
    return bytes(whole)


def _damaged() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", CVAT * 20)
    whole = bytearray(data.getvalue())
    whole[60:90] = bytes(30)
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04 cut short", "damaged ZIP"),
        (b"PK\x05\x06" + bytes(18), "holds no file of labels"),
        (_locked(), "unpack it first"),
        (_damaged(), "damaged ZIP"),
    ],
)
def test_files_that_cannot_be_unpacked(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "back.zip"
    path.write_bytes(content)
    with pytest.raises(CorrectedError, match=said) as caught:
        read_corrected(path)
    assert "back.zip" in str(caught.value) and "\n" not in str(caught.value)


def test_names_reach_nothing(tmp_path: Path) -> None:
    """Names in a ZIP file are text, and open or write no file."""
    inner = tmp_path / "inner"
    inner.mkdir()
    for name in ("../../evil.json", "/etc/evil.json", "evil\x1b[2J\n.json", "c:\\evil.json"):
        path = zipped(inner / "back.zip", {name: "not json"})
        with pytest.raises(CorrectedError, match="no JSON or XML") as caught:
            read_corrected(path)
        assert str(caught.value).isprintable() and str(caught.value).startswith(str(path))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["back.zip"]


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrected, "_MAX_UNPACKED", 1000)
    path = zipped(tmp_path / "back.zip", {"a.json": " " * 600, "b.json": " " * 600})
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(CorrectedError, match="one file at a time"):
        read_corrected(path)

"""Finding fields and reading files: every input gives a field or one clear line."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import encode, grain
from PIL import Image

from wbcdet.io.discover import find_fields, search
from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.io.source import locate
from wbcdet.settings import Settings


def reason(path: Path) -> str:
    with pytest.raises(FieldError) as caught:
        read_field(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 160
    return text


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    cases = {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"This is a letter about a slide.\n", "not a JPEG"),
        "page.png": (b"<!DOCTYPE html><html></html>", "web page"),
        "paper.jpg": (b"%PDF-1.7\n", "PDF"),
        "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        "film.jpg": (b"\0\0\0\x18ftypisom" + bytes(40), "video"),
        "zeros.jpg": (bytes(500), "zeros"),
    }
    for name, (data, expected) in cases.items():
        (tmp_path / name).write_bytes(data)
        assert expected in reason(tmp_path / name)
    assert "does not exist" in reason(tmp_path / "missing.jpg")
    (tmp_path / "folder.jpg").mkdir()
    assert "folder" in reason(tmp_path / "folder.jpg")
    assert "\n" not in reason(tmp_path / ("long" * 200 + ".jpg"))
    floats = Image.fromarray(np.ones((8, 8), np.float32))
    floats.save(tmp_path / "float.tif")
    assert "export it as 8 or 16 bit" in reason(tmp_path / "float.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "pipe" in reason(tmp_path / "pipe.jpg")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX access rights")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "locked.jpg"
    path.write_bytes(encode(Image.fromarray(grain()), "JPEG"))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root reads every file: try as nobody
        os.seteuid(65534)
    try:
        assert "permission" in reason(path)
    finally:
        os.seteuid(user)


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grain()).save(path)
    return path


def test_folders_are_searched_in_natural_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("f10.jpg", "f2.PNG", "sub/f1.tif", ".hidden.jpg", ".git/x.jpg", "._f2.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dir.jpg").mkdir()
    assert [item.name for item in find_fields([tmp_path])] == ["f2.PNG", "f10.jpg", "sub/f1.tif"]
    names = [item.name for item in find_fields([tmp_path], exclude=[tmp_path / "sub"])]
    assert names == ["f2.PNG", "f10.jpg"]


def test_patterns_home_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("a1.jpg", "a2.jpg", "b[1].jpg"):
        save(tmp_path / name)
    found = find_fields(["~/a*.jpg", tmp_path / "a1.jpg", str(tmp_path / "b[1].jpg")])
    assert [item.name for item in found] == ["a1.jpg", "a2.jpg", "b[1].jpg"]
    assert all(item.problem is None for item in found)
    assert "no file matches" in str(find_fields([tmp_path / "z*.jpg"])[0].problem)
    assert "does not exist" in str(find_fields([tmp_path / "z.jpg"])[0].problem)
    assert "folder does not exist" in str(find_fields([tmp_path / "day1"])[0].problem)
    (tmp_path / "nothing").mkdir()
    assert "holds no JPEG" in str(find_fields([tmp_path / "nothing"])[0].problem)


def test_a_name_is_the_path_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is on the line, and whichever way the file is reached."""
    first, two = save(tmp_path / "work" / "a" / "x.jpg"), save(tmp_path / "work" / "b" / "x.jpg")
    outside = save(tmp_path / "b" / "x.jpg")
    monkeypatch.chdir(tmp_path / "work")
    lines = (["a/x.jpg"], ["a"], ["."], ["./a/", "b"], ["*/*.jpg"], [first], [tmp_path / "work"])
    for line in lines:
        assert find_fields(line)[0].name == "a/x.jpg", line
    assert [item.name for item in find_fields(["a", two])] == ["a/x.jpg", "b/x.jpg"]
    names = [item.name for item in find_fields(["b", "../b", outside.parent])]
    assert names == ["b/x.jpg", outside.relative_to(outside.anchor).as_posix()]
    urls = [
        "http://one.example/a/x.jpg?size=1",
        "http://me:secret@two.example/x.jpg",
        "http://one.example/a/x.jpg?size=2&key=secret",
    ]
    names = [item.name for item in find_fields(urls)]
    assert names[0].startswith("one.example/a/x.jpg?") and names[1] == "two.example/x.jpg"
    assert len(set(names)) == 3 and not any("secret" in name for name in names)


def test_the_order_is_not_that_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1.jpg", "01.jpg", "A.jpg", "a.jpg", "10.jpg", "2.jpg"):
        save(tmp_path / "in" / name)
    listed = Path.iterdir
    names = []
    for turned in (False, True):
        monkeypatch.setattr(
            Path, "iterdir", lambda self, by=turned: iter(sorted(listed(self), reverse=by))
        )
        names.append([Path(item.path).name for item in find_fields([tmp_path / "in"])])
    assert names[0] == names[1] == ["01.jpg", "1.jpg", "2.jpg", "10.jpg", "A.jpg", "a.jpg"]


def test_folders_of_one_name_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the working folder and elsewhere: each field has a name, and each name its own file."""
    outside = tmp_path / "data"
    inside = tmp_path / "work" / outside.relative_to(outside.anchor)
    for path in (inside / "1.jpg", inside / "2.jpg", outside / "2.jpg", outside / "3.jpg"):
        save(path)
    save(outside / "sub" / "4.jpg")
    monkeypatch.chdir(tmp_path / "work")
    relative = str(inside.relative_to(tmp_path / "work"))
    for line in (
        [relative, outside],
        [outside, relative],
        [outside, "."],
        [".", outside],
        [outside / "sub", relative, outside],
        [outside / "2.jpg", f"{relative}/2.jpg"],
        [f"{relative}/*.jpg", f"{outside}/*.jpg"],
    ):
        found = search(line)
        names = [item.name for item in found.fields]
        assert len(names) == len(set(names)) > 1, line
        places = [locate(name, found.roots) for name in names]
        assert places == [str(Path(item.path).resolve()) for item in found.fields], line
    # A folder that shares no name with another is called as if it were given alone.
    alone = [item.name for item in find_fields([outside / "sub"])]
    assert [item.name for item in find_fields(["absent", outside / "sub"])][1:] == alone
    both = search(["http://one.example/a.jpg", "https://one.example/a.jpg"])
    places = [locate(item.name, both.roots) for item in both.fields]
    assert places == ["http://one.example/a.jpg", "https://one.example/a.jpg"]


def test_where_a_field_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, two = save(tmp_path / "work" / "a" / "x.jpg"), save(tmp_path / "other" / "y.jpg")
    monkeypatch.chdir(tmp_path / "work")
    found = search(["a", "../other", "http://one.example/p/z.jpg"])
    places = [locate(item.name, found.roots) for item in found.fields]
    assert places == [str(first), str(two), "http://one.example/p/z.jpg"]
    for name in ("a/../../etc/x.jpg", "c/x.jpg", "a", ""):
        assert locate(name, found.roots) is None


def test_odd_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["with space.jpg", 'it\'s "x".jpg', "мазок крови.jpg", "line\nbreak.jpg", "-q.jpg"]
    for name in names:
        save(tmp_path / name)
    found = find_fields([tmp_path])
    assert sorted(item.name for item in found) == sorted(names)
    assert all(read_field(item).pixels.shape == (48, 64, 3) for item in found)


def test_settings_are_checked_and_named() -> None:
    assert Settings().fingerprint() == Settings().fingerprint()
    assert Settings().fingerprint() != Settings(confidence=0.3).fingerprint()
    for wrong in ({"confidence": 1.5}, {"min_score": -0.1}, {"device": "gpu"}, {"max_pixels": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Settings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="confidence"):
        Settings(confidence=float("nan"))
    for odd in ({"confidence": "0.5"}, {"min_score": True}, {"tile_size": 99.5}, {"timeout_s": []}):
        with pytest.raises(ValueError, match=next(iter(odd))):
            Settings(**odd)  # type: ignore[arg-type]
    for endless in ({"timeout_s": math.inf}, {"http_timeout_s": 1e10}, {"memory_bytes": 10**400}):
        with pytest.raises(ValueError, match=next(iter(endless))):
            Settings(**endless)  # type: ignore[arg-type]


def test_settings_from_numpy_are_plain_numbers() -> None:
    """A run ended with them in its last step: they are no JSON."""
    given = Settings(confidence=np.float32(0.5), tile_size=np.int64(640), min_score=1)  # type: ignore[arg-type]
    plain = Settings(confidence=0.5, tile_size=640, min_score=1.0)
    assert given == plain and given.fingerprint() == plain.fingerprint()
    assert json.loads(json.dumps(given.to_dict())) == plain.to_dict()

"""Reviewed fields that overlap: never on both sides of a split, and counted once."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import INFO, make_cell
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.datasets.synthetic import render_field
from wbcdet.records import FieldResult
from wbcdet.results.document import build_document, dump
from wbcdet.review.cell_state import LabelChange
from wbcdet.review.session import Session
from wbcdet.training.finetune.enough import check_fields
from wbcdet.training.finetune.judge_detector import (
    DetectorJudgement,
    FieldDetections,
    compare,
)
from wbcdet.training.finetune.learn_finding import detector_folds
from wbcdet.training.finetune.reviewed_fields import (
    ReviewedField,
    ReviewedFields,
    read_reviewed_fields,
)
from wbcdet.training.finetune.tables import finding_rows


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was learnt is in use, and no place of pictures is remembered."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WBCDET_WEIGHTS", raising=False)


def confirm(session: Session, but: Collection[int] = ()) -> None:
    """Decide on every cell as the machine named it, except those of some fields."""
    state = session.state
    changes = [
        LabelChange(key, 0, str(cell.label))
        for key, cell in state.cells.items()
        if key[0] not in but
    ]
    state.change("Ann", changes)


def reviewed(folder: Path, fields: Mapping[str, Mapping[str, Any]], **info: Any) -> Session:
    """Return a review of fields of one cell each.

    Args:
        folder: the report folder.
        fields: by name what the report says of them: ``group``, ``duplicate_of`` (a field), and
            ``seed`` of the picture, ``open`` where nobody decides on its cell.
        info: more of the report's.
    """
    pictures = folder / "fields"
    results, rng = [], np.random.default_rng
    for number, (name, more) in enumerate(fields.items()):
        pixels = rng(more.get("seed", number)).integers(0, 255, (60, 80, 3), np.uint8)
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(pictures / name), pixels)
        results.append(FieldResult(name, 80, 60, (make_cell(0, (5, 5, 30, 30)),)))
    document: Any = json.loads(dump(build_document({**INFO, **info}, results)))
    for record, more in zip(document["fields"], fields.values(), strict=True):
        if "group" in more:
            record["group"] = more["group"]
        if "duplicate_of" in more:
            record["cells"][0] |= {
                "left_out": "duplicate",
                "duplicate_of": {"file": more["duplicate_of"], "id": 0},
            }
    (folder / "results.json").write_text(json.dumps(document))
    session = Session(folder, pictures)
    confirm(session, [n for n, more in enumerate(fields.values()) if "open" in more])
    return session


def groups_of(*sessions: Session) -> list[set[str]]:
    """Return the names of the fields of each group, in order."""
    found: dict[str, set[str]] = {}
    for field in read_reviewed_fields(sessions).fields:
        found.setdefault(field.group, set()).add(field.name)
    for session in sessions:
        session.close()
    return list(found.values())


def test_overlapping_photographs_are_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slide").mkdir()
    for number in range(13):
        pixels = render_field(
            number, 640, 480, cell_px=64, counts={"neutrophil": 4, "lymphocyte": 2}
        ).pixels
        for side, left in (("a", 0), ("b", 160)):
            cv2.imwrite(f"slide/{number:02}{side}.png", pixels[:, left : left + 480])
    options = ("slide", "--dedupe", "--out", "report", "--no-annotate", "--quiet")
    done = CliRunner().invoke(app, ["count", *options])
    assert done.exit_code == 0, done.output
    session = Session(tmp_path / "report")
    confirm(session)
    fields = read_reviewed_fields([session])
    session.close()
    names = [Path(field.name).stem for field in fields.fields]
    part = dict(zip(names, detector_folds(fields.fields), strict=True))
    assert len(part) == 26
    assert [n for n in range(13) if part[f"{n:02}a"] != part[f"{n:02}b"]] == []
    assert fields.places == 13
    assert sorted(part.values()) in ([0] * 14 + [1] * 12, [0] * 12 + [1] * 14)
    assert check_fields(fields) is not None and "overlap" not in str(check_fields(fields))


def test_fields_that_overlap_with_a_third_one(tmp_path: Path) -> None:
    fields: dict[str, dict[str, Any]] = {name: {} for name in ("a.png", "b.png", "c.png", "d.png")}
    fields["a.png"]["duplicate_of"] = fields["c.png"]["duplicate_of"] = "b.png"
    fields["b.png"]["open"] = True
    session = reviewed(tmp_path / "one", fields)
    # Nobody has looked at the third one: a and c show one cell all the same.
    assert groups_of(session) == [{"a.png", "c.png"}, {"d.png"}]


def test_copies_of_a_picture_join_what_they_overlap_with(tmp_path: Path) -> None:
    first = reviewed(tmp_path / "one", {"a.png": {"seed": 1}, "b.png": {"seed": 2}})
    # Counted again, now with --dedupe.
    second = reviewed(
        tmp_path / "two",
        {"x.png": {"seed": 1}, "y.png": {"seed": 2, "duplicate_of": "x.png"}, "z.png": {"seed": 3}},
    )
    assert groups_of(first, second) == [{"a.png", "b.png"}, {"z.png"}]


def test_views_of_a_slide_of_a_stream_are_one_group(tmp_path: Path) -> None:
    slides = {
        f"{n}/{v}.png": {"group": f"slide-{n}", "seed": 3 * n + v} for n in (1, 2) for v in range(3)
    }
    views = reviewed(tmp_path / "two", slides, stream={})
    assert groups_of(views) == [{f"{n}/{v}.png" for v in range(3)} for n in (1, 2)]
    # Of one slide, all would be one group: each view is one then.
    one = {name: more for name, more in slides.items() if name[0] == "1"}
    assert groups_of(reviewed(tmp_path / "one", one, stream={})) == [{name} for name in one]
    # A count's slides hold fields that do not overlap.
    assert len(groups_of(reviewed(tmp_path / "count", slides))) == 6


def made(*groups: str, taken: int = 1) -> list[ReviewedField]:
    none = np.zeros((0, 4), np.float32)
    pixels = np.zeros((4, 4, 3), np.uint8)
    return [ReviewedField(str(n), group, pixels, none, 0, taken) for n, group in enumerate(groups)]


def test_groups_are_dealt_out_whole_and_the_halves_are_alike() -> None:
    fields = made(*"aaaabbccdddef")
    parts = detector_folds(fields)
    assert len({(field.group, part) for field, part in zip(fields, parts, strict=True)}) == 6
    assert sorted(np.bincount(parts)) == [6, 7]
    corrected = [replace(field, taken=n % 2) for n, field in enumerate(made(*"abcdefgh"))]
    parts = detector_folds(corrected)
    assert np.bincount(parts, [field.taken for field in corrected]).tolist() == [2, 2]


def test_one_place_alone_is_refused() -> None:
    why = check_fields(ReviewedFields(made(*"a" * 12)))
    assert why is not None and "the 12 fields" in why and "overlap with each other" in why
    assert check_fields(ReviewedFields(made(*"aaaaaaaaaaab"))) is None


def test_intervals_and_tables_say_how_many_places() -> None:
    truth = np.array([[10 * n, 0, 10 * n + 8, 8] for n in range(6)], np.float32)

    def field(group: str, found: int) -> FieldDetections:
        return FieldDetections(truth, truth[:found], np.full(found, 0.9, np.float32), group)

    twice, apart = (
        compare([(field(g, 6), field(g, 6)) for g in groups], 0.25, 0.25)
        for groups in ("aabbcc", "abcdef")
    )
    # As sure as three places make it, not six.
    assert twice.after_ci[0] < apart.after_ci[0] and (twice.groups, apart.groups) == (3, 6)
    rows = finding_rows(DetectorJudgement(twice, apart, 0.25, True, ""))
    assert [row["fields"] for row in rows] == ["6 held back, 3 places", "6 synthetic"]

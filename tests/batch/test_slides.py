"""Slides: pyramids, OME-Zarr and folders of tiles, counted part by part in the right zone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import GROUND, PURPLE, one_line, schema
from counting import Count, final_files, journal_lines, rows
from drawn_slides import CELL, UM, Drawn, whole_zone, write_zarr
from PIL import Image

from wbcdet.batch import slides as slides_module
from wbcdet.batch.slides import SlideOptions, plan_slide, read_zone
from wbcdet.datasets.synthetic.slide import (
    MONOLAYER_PART,
    SyntheticSlide,
    write_pyramid,
    write_tiles,
)
from wbcdet.differential.grouping import group_of
from wbcdet.inference.smear_map import MONOLAYER, THICK, map_smear
from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.io.slide_part import BY_SLIDE, SlidePart, part_of
from wbcdet.io.slides.open import Slide, forget, is_slide
from wbcdet.io.source import Source, as_slide
from wbcdet.records import DAMAGED
from wbcdet.results.document import load_document

openslide = pytest.importorskip("openslide", reason="pip install 'wbcdet[slides]'")
tifffile = pytest.importorskip("tifffile")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 700 px, so that a small slide has many."""
    monkeypatch.setattr(slides_module, "CORE", 700)


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, drawn: Drawn) -> Path:
    """Return the drawn slide in all formats."""
    folder = tmp_path_factory.mktemp("slides")
    write_pyramid(drawn, folder / "pyramid.tif", levels=(1, 4))
    write_pyramid(drawn, folder / "pyramid.ome.tif", levels=(1, 4), ome=True)
    write_tiles(drawn, folder / "tiles", side=900, overlap=120)
    write_zarr(drawn, folder / "slide.zarr")
    return folder


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Count]:
    yield Count(monkeypatch, tmp_path)


def found_places(out: Path) -> list[tuple[float, float]]:
    """Corners of the counted cells on the slide."""
    return [
        (float(row["slide_x"]) - CELL / 2, float(row["slide_y"]) - CELL / 2)
        for row in rows(out / "cells.csv")
        if not row["left_out"]
    ]


def missed_and_double(drawn: Drawn, found: list[tuple[float, float]]) -> tuple[int, int]:
    hits = [sum(abs(x - a) < 9 and abs(y - b) < 9 for a, b in found) for x, y in drawn.places]
    return hits.count(0), sum(hit > 1 for hit in hits)


@pytest.mark.parametrize("name", ["pyramid.tif", "pyramid.ome.tif", "tiles", "slide.zarr"])
def test_every_format_gives_each_cell_once(
    name: str, written: Path, drawn: Drawn, count: Count, tmp_path: Path
) -> None:
    scale = ["--um-per-px", UM] if name == "tiles" else []
    zone = whole_zone(tmp_path / "zone.geojson")
    done = count(written / name, "--out", "out", "--zone", zone, *scale)
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().endswith(", maps/")
    found = found_places(tmp_path / "out")
    assert missed_and_double(drawn, found) == (0, 0)
    assert len(found) == len(drawn.places)
    cells = rows(tmp_path / "out" / "cells.csv")
    assert any(row["left_out"] == "duplicate" for row in cells)  # seams were settled
    assert all(abs(float(row["diameter_um"]) - CELL * UM) < 1 for row in cells)
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    import jsonschema

    jsonschema.validate(document, schema())
    load_document(tmp_path / "out" / "results.json")
    features = json.loads(next((tmp_path / "out" / "maps").rglob("*.geojson")).read_text())
    detections = [
        feature
        for feature in features["features"]
        if feature["properties"]["objectType"] == "detection"
    ]
    assert len(detections) == len(found)
    assert "where it was counted" in (tmp_path / "out" / "report.html").read_text()


def test_target_stops_and_a_higher_one_goes_on(
    written: Path, count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wbcdet.differential.differential.TARGETS", (10, 20))
    zone = whole_zone(tmp_path / "zone.geojson")
    arguments = (written / "pyramid.tif", "--zone", zone, "--quiet", "--out")
    assert count(*arguments, "few", "--target", 10).exit_code == 0
    first = list(count.analysed)
    assert _classified(tmp_path / "few") >= 10
    assert len(rows(tmp_path / "few" / "fields.csv")) < len(_parts(written / "pyramid.tif", zone))
    assert count(*arguments, "few", "--target", 20).exit_code == 0
    assert not set(first) & set(count.analysed)  # what was done stays done
    assert _classified(tmp_path / "few") >= 20
    count(*arguments, "straight", "--target", 20)
    assert final_files(tmp_path / "few") == final_files(tmp_path / "straight")


def _classified(out: Path) -> int:
    return sum(
        not row["left_out"] and row["label"] != "unclassified" for row in rows(out / "cells.csv")
    )


def _parts(path: Path, zone: Path | None = None) -> list[str]:
    plan = plan_slide(as_slide(str(path))[0], SlideOptions(zone=zone))
    return [part.name for part in plan.parts]


def test_an_interrupted_count_goes_on_to_the_same_bytes(
    written: Path, count: Count, tmp_path: Path
) -> None:
    zone = whole_zone(tmp_path / "zone.geojson")
    arguments = (written / "pyramid.tif", "--zone", zone, "--quiet", "--out")
    count(*arguments, "whole")
    count(*arguments, "cut")
    lines = (tmp_path / "cut" / "journal" / "fields.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut" / "journal" / "fields.jsonl").write_bytes(b"".join(lines[:9]) + lines[9][:30])
    count(*arguments, "cut")
    assert 0 < len(count.analysed) < len(journal_lines(tmp_path / "whole/journal/fields.jsonl"))
    assert final_files(tmp_path / "cut") == final_files(tmp_path / "whole")


def test_another_zone_or_scale_is_refused(written: Path, count: Count, tmp_path: Path) -> None:
    zone = whole_zone(tmp_path / "zone.geojson")
    other = whole_zone(tmp_path / "other.geojson", 1500, 1500)
    count(written / "pyramid.tif", "--out", "out", "--zone", zone, "--quiet")
    done = count(written / "pyramid.tif", "--out", "out", "--zone", other, "--quiet")
    assert done.exit_code == 2
    assert "another zone or at another scale" in one_line(done.stderr)


def test_only_cells_inside_a_drawn_zone_count(
    written: Path, drawn: Drawn, count: Count, tmp_path: Path
) -> None:
    hole = [[400, 400], [900, 400], [900, 900], [400, 900], [400, 400]]
    ring = [[100, 100], [1500, 100], [1500, 1500], [100, 1500], [100, 100]]
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [ring, hole]},
    }
    path = tmp_path / "zone.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    count(written / "pyramid.tif", "--out", "out", "--zone", path, "--quiet")
    inside = [
        (x, y)
        for x, y in drawn.places
        if 100 < x + CELL / 2 < 1500
        and 100 < y + CELL / 2 < 1500
        and not (400 < x + CELL / 2 < 900 and 400 < y + CELL / 2 < 900)
    ]
    assert len(found_places(tmp_path / "out")) == len(inside) > 0


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> tuple[SyntheticSlide, Path]:
    slide = SyntheticSlide(9600, 6400, um_per_px=0.5, side=640, kinds=1, seed=1)
    path = tmp_path_factory.mktemp("smear") / "smear.tif"
    write_pyramid(slide, path, levels=(1, 2, 4))
    return slide, path


def test_the_zone_is_the_monolayer(smear: tuple[SyntheticSlide, Path]) -> None:
    slide, path = smear
    seen = map_smear(Slide(path), 0.5)
    rows, columns = seen.kind.shape
    truth = np.array(
        [
            [slide.part((c + 0.5) * seen.side, (r + 0.5) * seen.side) for c in range(columns)]
            for r in range(rows)
        ]
    )
    assert (truth[seen.zone] == MONOLAYER_PART).mean() > 0.95
    # The squares on its border are mixed; of the rest nearly all is taken.
    inner = cv2.erode((truth == MONOLAYER_PART).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert seen.zone[inner].mean() > 0.9
    thick = cv2.erode((truth == 1).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (seen.kind[thick] == THICK).mean() > 0.95
    assert seen.direction is not None and seen.direction[0] > 0.9
    # The edge and tail lie outside of the zone.
    assert seen.edge.any() and not (seen.edge & seen.zone).any()


def test_a_level_without_reduction_gives_the_same_zone(
    smear: tuple[SyntheticSlide, Path], tmp_path: Path
) -> None:
    slide, path = smear
    write_pyramid(slide, tmp_path / "flat.tif", levels=(1,))
    flat, known = Slide(tmp_path / "flat.tif"), Slide(path)
    assert len(flat.levels) == 1
    same = map_smear(flat, 0.5).zone == map_smear(known, 0.5).zone
    assert same.mean() > 0.9


def test_a_fold_and_a_pen_are_not_counted(smear: tuple[SyntheticSlide, Path]) -> None:
    slide, _ = smear

    class Marked:
        levels = Slide(smear[1]).levels

        def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
            by = int(self.levels[level].downsample)
            pixels = slide.read(x, y, width, height, by)
            # A line of ink 60 µm wide down the middle of the monolayer.
            left, right = 5000 // by - x, 5120 // by - x
            pixels[:, max(0, left) : max(0, right)] = (140, 40, 20)
            return pixels

    seen = map_smear(Marked(), 0.5)
    column = int(5060 / seen.side)
    assert not seen.zone[:, column].any()
    assert (seen.kind[:, column] != MONOLAYER).all()
    assert seen.zone[:, column + 2].any()


def test_real_fields_lie_in_the_zone(data_dir: Path, real_field) -> None:  # type: ignore[no-untyped-def]
    """Fields that people chose for a differential: red cells side by side."""
    pixels = real_field("bccd.zip", ".jpg")
    um = 7.5 / 95  # a red cell of 7.5 µm is about 95 px wide in BCCD

    class One:
        levels = (type("Level", (), {"width": 640, "height": 480, "downsample": 1.0})(),)

        def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
            return np.ascontiguousarray(pixels[y : y + height, x : x + width])

    assert map_smear(One(), um).kind.tolist() == [[MONOLAYER]]


def test_battlement_takes_a_part_of_the_zone(written: Path) -> None:
    source = as_slide(str(written / "pyramid.tif"))[0]
    zone = whole_zone(written / "whole.geojson")
    every = plan_slide(source, SlideOptions(zone=zone))
    some = plan_slide(source, SlideOptions(zone=zone, track="battlement"))
    names = [part.name for part in some.parts]
    assert 0 < len(names) < len(every.parts)
    assert [part.name for part in every.parts][: len(names)] == names
    assert len({part.name for part in every.parts}) == len(every.parts)


@pytest.mark.parametrize(
    ("um", "said"),
    [(1.2, "too few to be found"), (0.5, "objective too low"), (0.1, ""), (0.25, "")],
)
def test_the_objective_is_judged(um: float, said: str, written: Path) -> None:
    source = as_slide(str(written / "pyramid.tif"))[0]
    options = SlideOptions(um_per_px=um, zone=whole_zone(written / "whole.geojson"))
    if um > 1:
        with pytest.raises(FieldError, match=said):
            plan_slide(source, options)
        return
    plan = plan_slide(source, options)
    of_scale = f"--um-per-px {um:g} is taken, and the slide itself says {UM:g} µm"
    others = [line for line in plan.remarks if not line.startswith(of_scale)]
    assert len(plan.remarks) - len(others) == (um != UM)
    assert said in "; ".join(others) if said else not others


@pytest.mark.parametrize("um", [None, UM, 1.01 * UM])
def test_a_scale_that_the_file_says_too_is_not_remarked(um: float | None, written: Path) -> None:
    source = as_slide(str(written / "pyramid.tif"))[0]
    options = SlideOptions(um_per_px=um, zone=whole_zone(written / "whole.geojson"))
    assert not plan_slide(source, options).remarks


@pytest.mark.parametrize("um", [UM, 2 * UM])
def test_cells_too_large_for_blood_tell_a_wrong_scale(
    um: float, written: Path, count: Count, tmp_path: Path
) -> None:
    zone = whole_zone(tmp_path / "zone.geojson")
    done = count(written / "tiles", "--out", "out", "--zone", zone, "--um-per-px", um)
    said = "would be 27.0 µm wide (median)"
    page = (tmp_path / "out" / "report.html").read_text()
    assert (said in page) == (said in done.output) == (um != UM)


def test_the_working_level_follows_the_scale(tmp_path: Path) -> None:
    path = tmp_path / "fine.tif"
    write_pyramid(Drawn(), path, levels=(1, 2, 4))
    zone = whole_zone(tmp_path / "zone.geojson")
    source = as_slide(str(path))[0]
    for um, level in ((0.25, 0), (0.1, 0), (0.06, 1), (0.03, 2)):
        plan = plan_slide(source, SlideOptions(um_per_px=um, zone=zone))
        assert {part.part.level for part in plan.parts if part.part} == {level}


def test_bad_slides_are_one_line(written: Path, count: Count, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tif"
    data = (written / "pyramid.tif").read_bytes()
    cut.write_bytes(data[: len(data) // 3])
    done = count(cut, "--out", "a", "--um-per-px", 0.25, "--quiet")
    assert done.exit_code in (1, 2)
    assert "cut.tif" in one_line(done.stderr)
    assert "Traceback" not in done.stderr
    shutil.copytree(written / "tiles", tmp_path / "tiles")
    done = count("tiles", "--out", "b", "--quiet")  # positions in pixels alone: no scale
    assert done.exit_code == 2 and "--um-per-px" in one_line(done.stderr)
    (tmp_path / "bad.geojson").write_text("{}")
    done = count(
        written / "pyramid.tif", "--zone", tmp_path / "bad.geojson", "--out", "c", "--quiet"
    )
    assert done.exit_code == 2 and "bad.geojson" in one_line(done.stderr)
    done = count(tmp_path / "none.svs", "--out", "d", "--quiet")
    assert done.exit_code == 2 and "does not exist" in one_line(done.stderr)


@pytest.mark.parametrize("name", ["tiles", "slide.zarr"])
@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_slide_that_vanishes_keeps_what_is_done(
    name: str,
    left: str,
    written: Path,
    count: Count,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slide = tmp_path / "drive" / name
    shutil.copytree(written / name, slide)
    zone = whole_zone(tmp_path / "zone.geojson")
    arguments = (f"drive/{name}", "--out", "out", "--zone", zone, "--um-per-px", UM, "--quiet")
    from wbcdet.batch import slide_count

    add = slide_count.SlideCount.add

    def then_gone(self, *part) -> None:  # type: ignore[no-untyped-def]
        add(self, *part)
        if not (tmp_path / "away").exists():
            slide.rename(tmp_path / "away")
            if left == "an empty folder":
                slide.mkdir()
            if name == "tiles":  # a small slide is kept whole in memory
                forget(Path("drive/tiles"))

    monkeypatch.setattr(slide_count.SlideCount, "add", then_gone)
    done = count(*arguments)
    assert done.exit_code == 2
    line = one_line(done.stderr)
    assert "cannot be reached any more" in line and "the same command goes on" in line
    before = len(journal_lines(tmp_path / "out/journal/fields.jsonl"))
    if slide.exists():
        slide.rmdir()
    (tmp_path / "away").rename(slide)
    monkeypatch.setattr(slide_count.SlideCount, "add", add)
    assert count(*arguments).exit_code == 0
    assert before > 1
    assert count(arguments[0], "--out", "whole", *arguments[3:]).exit_code == 0
    found = [(tmp_path / out / "cells.csv").read_bytes() for out in ("out", "whole")]
    assert found[0] == found[1]


def test_slides_and_fields_are_not_mixed(written: Path, count: Count, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "field.png"), np.full((60, 80, 3), 200, np.uint8))
    done = count(written / "pyramid.tif", tmp_path / "field.png", "--out", "out", "--quiet")
    assert done.exit_code == 2 and "count them apart" in one_line(done.stderr)


def test_two_slides_have_two_differentials(written: Path, count: Count, tmp_path: Path) -> None:
    zone = whole_zone(tmp_path / "zone.geojson")
    both = (written / "pyramid.tif", written / "pyramid.ome.tif")
    assert count(*both, "--out", "out", "--zone", zone, "--quiet").exit_code == 0
    groups = {row["group"] for row in rows(tmp_path / "out" / "cells.csv")}
    assert {group.rsplit("/", 1)[-1] for group in groups} == {"pyramid.tif", "pyramid.ome.tif"}


def test_a_slide_under_two_names_is_counted_once(
    written: Path, count: Count, tmp_path: Path
) -> None:
    shutil.copy(written / "pyramid.tif", tmp_path / "s.tif")
    shutil.copytree(written / "tiles", tmp_path / "tiles")
    (tmp_path / "link.tif").symlink_to(tmp_path / "s.tif")
    zone = whole_zone(tmp_path / "zone.json")
    for number, again in enumerate(
        (["s.tif", tmp_path / "s.tif", "link.tif"], ["tiles", tmp_path / "tiles", "tile?"])
    ):
        options = ("--zone", zone, "--um-per-px", UM)
        count(again[0], *options, "--out", f"once{number}")
        result = count(*again, *options, "--out", f"again{number}")
        assert result.exit_code == 0, result.output
        names = ("differential.csv", "cells.csv", "fields.csv")
        for name in names:
            once, more = ((tmp_path / f"{out}{number}" / name) for out in ("once", "again"))
            assert once.read_bytes() == more.read_bytes(), (again, name)


def test_slides_of_one_name_are_both_counted(
    written: Path, count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "s.tif"
    inside = tmp_path / "work" / outside.relative_to(outside.anchor)
    inside.parent.mkdir(parents=True)
    for path in (outside, inside):
        shutil.copy(written / "pyramid.tif", path)
    monkeypatch.chdir(tmp_path / "work")
    zone = whole_zone(tmp_path / "zone.json")
    relative = inside.relative_to(tmp_path / "work")
    result = count(relative, outside, "--zone", zone, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    fields = rows(tmp_path / "report" / "fields.csv")
    assert len({row["file"] for row in fields}) == len(fields) == 18
    assert {row["path"] for row in fields} == {str(inside), str(outside)}
    assert len({row["group"] for row in fields}) == 2


def test_micromanager_and_openflexure_positions(drawn: Drawn, tmp_path: Path) -> None:
    from PIL import Image

    picture = drawn.pixels[:1000, :1500]
    frames = {}
    for number, x in enumerate((0, 700)):
        tile = picture[:, x : x + 800]
        cv2.imwrite(str(tmp_path / f"{number}.png"), tile)
        frames[f"FrameKey-{number}"] = {
            "FileName": f"{number}.png",
            "XPositionUm": 500 + x * 0.2,
            "YPositionUm": -40.0,
            "PixelSizeUm": 0.2,
        }
    (tmp_path / "metadata.txt").write_text(json.dumps(frames))
    slide = Slide(tmp_path)
    assert (slide.width, slide.height, slide.um_per_px) == (1500, 1000, 0.2)
    assert np.array_equal(slide.read(0, 300, 100, 900, 500), picture[100:600, 300:1200])

    scan = tmp_path / "scan"
    scan.mkdir()
    for number, x in enumerate((0, 700)):
        # Two stage steps a pixel; the matrix takes (rows, columns).
        said = {
            "position": {"x": 2 * x, "y": 0, "z": 5},
            "mapping": {
                "image_to_stage_displacement_matrix": [[0, 2], [2, 0]],
                "image_resolution": [1000, 800],
            },
        }
        picture_file = Image.fromarray(picture[:, x : x + 800, ::-1])
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = json.dumps(said).encode()
        picture_file.save(scan / f"img_{number}.jpg", exif=exif, quality=95)
    assert is_slide(scan)
    slide = Slide(scan)
    assert abs(slide.width - 1500 * 0.8) < 600 and slide.um_per_px is None


def micromanager(folder: Path, frames: dict[str, tuple[float | None, float | None]]) -> None:
    """Write pictures and what Micro-Manager says of them: by file, where the stage was."""
    folder.mkdir(parents=True)
    said: dict[str, object] = {"Summary": {"Prefix": folder.parent.name}}
    for name, (x, y) in frames.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((600, 800, 3), 255, np.uint8))
        said[f"Metadata-{folder.name}/{name}"] = {
            # With its own folder, as version 2 writes it.
            "FileName": f"{folder.name}/{name}.png",
            "XPositionUm": x,
            "YPositionUm": y,
            "PixelSizeUm": 0.2,
        }
    (folder / "metadata.txt").write_text(json.dumps(said))


def test_positions_of_one_scan_are_a_slide(tmp_path: Path) -> None:
    for number in range(2):
        frames: dict[str, tuple[float | None, float | None]] = {
            f"img_position{number}_time0_z0": (100.0 * number, 0.0),
            f"img_position{number}_time0_z1": (100.0 * number, 0.0),
        }
        micromanager(tmp_path / "scan" / f"Pos{number}", frames)
    assert is_slide(tmp_path / "scan")
    slide = Slide(tmp_path / "scan")
    assert slide.width == 1300
    assert slide.remarks[0].startswith("2 pictures lie at the place of another")


@pytest.mark.parametrize("same_place", [True, False])
def test_acquisitions_beside_each_other_are_no_tiles(tmp_path: Path, same_place: bool) -> None:
    # Without a motor the stage says 0, 0 of all; with one the scans are called otherwise.
    for number in range(2):
        x = 0.0 if same_place else 100.0 * number
        micromanager(tmp_path / "day" / f"acq_{number}", {"img_time0_z0": (x, 0.0)})
        if not same_place:
            file = tmp_path / "day" / f"acq_{number}" / "metadata.txt"
            file.write_text(file.read_text().replace('"day"', f'"acq_{number}"'))
    assert not is_slide(tmp_path / "day")
    assert not is_slide(tmp_path / "day" / "acq_0")  # a field


def test_a_stage_that_does_not_say_where_it_is(tmp_path: Path) -> None:
    micromanager(tmp_path / "none", {f"img_time{n}_z0": (None, None) for n in range(3)})
    assert not is_slide(tmp_path / "none")
    micromanager(tmp_path / "album", {f"img_time{n}_z0": (0.0, 0.0) for n in range(3)})
    with pytest.raises(FieldError, match=r"one after the other at one place, by metadata\.txt"):
        Slide(tmp_path / "album")


def test_zones_of_all_shapes(tmp_path: Path) -> None:
    ring = [[0, 0], [9, 0], [9, 9], [0, 0]]
    path = tmp_path / "zone.geojson"
    geometry = {"type": "MultiPolygon", "coordinates": [[ring], [ring]]}
    path.write_text(json.dumps([{"type": "Feature", "geometry": geometry}]))
    assert len(read_zone(path)) == 2
    for bad in ("[]", "3", '{"type": "Point", "coordinates": [1, 2]}', "nonsense", '{"type": 1}'):
        path.write_text(bad)
        with pytest.raises(FieldError, match=r"zone\.geojson"):
            read_zone(path)


def test_edge_and_tail_are_a_group_of_their_own(smear: tuple[SyntheticSlide, Path]) -> None:
    plan = plan_slide(as_slide(str(smear[1]))[0], SlideOptions(edges=True))
    groups = [group_of(part.name, BY_SLIDE) for part in plan.parts]
    assert sorted(set(groups)) == [plan.source.name, f"{plan.source.name}#edge"]
    for part, group in zip(plan.parts, groups, strict=True):
        assert part_of(part.name) == (plan.source.name, part.part)
        assert group.endswith("#edge") == (part.part is not None and part.part.edge)


def test_what_is_left_out_of_the_count_is_on_no_map(
    count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wbcdet.differential.differential.TARGETS", (10,))
    drawn = Drawn(50, width=1500, height=860)
    drawn.pixels[300 : 300 + CELL, :CELL] = PURPLE  # cut by the border of the slide
    drawn.pixels[:, 700:830] = GROUND
    right = drawn.pixels[:, 830:]
    right[..., 2] = np.where(right.max(2) > 140, 255, right[..., 2])  # overexposed
    seam = [(738, y) for y in (100, 400, 700)]  # both neighbours show these
    for x, y in seam:
        drawn.pixels[y : y + CELL, x : x + CELL] = PURPLE
    write_pyramid(drawn, tmp_path / "half.tif", levels=(1, 4))
    zone = whole_zone(tmp_path / "zone.geojson")
    arguments = ("half.tif", "--zone", zone, "--quiet", "--out", "out")
    for options in (("--exclude-edge",), ("--skip-bad", "--target", 10)):
        assert count(*arguments, *options).exit_code == 0
        found = found_places(tmp_path / "out")
        features = json.loads((tmp_path / "out" / "maps" / "half.tif.geojson").read_text())
        kinds = [item["properties"]["objectType"] for item in features["features"]]
        assert kinds.count("detection") == len(found)
        assert f"{len(found)} white cells on " in (tmp_path / "out" / "report.html").read_text()
    # The part that comes first is bad: it reaches no target, and its neighbour counts the seam.
    assert {row["left_out"] for row in rows(tmp_path / "out" / "fields.csv")} == {"", "bad-field"}
    assert _classified(tmp_path / "out") >= 10
    assert all(any(abs(x - a) < 9 and abs(y - b) < 9 for a, b in found) for x, y in seam)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_tiles_are_taken_as_stitching_programs_see_them(ending: str, tmp_path: Path) -> None:
    """A telephone turns pictures by EXIF alone, which Fiji passes over; a damaged one is said."""
    drawn = Drawn(8, width=700, height=400)
    orientations = [(0, 6), (300, 3)]
    for x, orientation in orientations:
        exif = Image.Exif()
        exif[0x0112] = orientation
        part = Image.fromarray(np.ascontiguousarray(drawn.pixels[:, x : x + 400, ::-1]))
        part.save(tmp_path / f"{x}.{ending}", exif=exif)
    lines = [f"{x}.{ending}; ; ({x}.0, 0.0)" for x, _ in orientations]
    (tmp_path / "TileConfiguration.txt").write_text("\n".join(lines))
    slide = Slide(tmp_path)
    assert (slide.width, slide.height, slide.remarks) == (700, 400, ())
    read = slide.read(0, 0, 0, 700, 400).astype(int)
    assert np.abs(read - drawn.pixels).mean() < 3
    if ending == "jpg":
        path = tmp_path / "300.jpg"
        data = path.read_bytes()
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes(3000) + data[middle + 3000 :])
        with pytest.raises(FieldError, match=r"tile 300\.jpg: damaged: .* or remove it"):
            Slide(tmp_path).read(0, 0, 0, 700, 400)


@pytest.mark.parametrize("ome", [False, True])
def test_a_damaged_jpeg_of_a_pyramid_is_said(ome: bool, tmp_path: Path) -> None:
    """The libraries decode what is left of it without a word; elsewhere nothing is said."""
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    write_pyramid(Drawn(20, width=1500, height=1100), path, levels=(1, 4), ome=ome)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        place = page.dataoffsets[1] + page.databytecounts[1] // 3  # the second of the first row
    parts = [
        Source(part.name("a.tif"), path, part=part)
        for part in (SlidePart(0, 0, 500, 500, 0), SlidePart(400, 0, 500, 500, 0))
    ]
    assert [read_field(part).remarks for part in parts] == [(), ()]
    with path.open("r+b") as data:
        data.seek(place)
        data.write(np.random.default_rng(1).integers(0, 255, 400, np.uint8).tobytes())
    forget(path)
    whole, damaged = (read_field(part).remarks for part in parts)
    assert whole == () and len(damaged) == 1 and damaged[0].startswith(DAMAGED)


def test_pixels_that_are_not_square_are_said(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for by in (1, 4):
            pixels = np.full((1200 // by, 1600 // by, 3), 240, np.uint8)
            scale = (1e4 / UM / by, 1e4 / (2 * UM) / by)
            writer.write(
                pixels, tile=(512, 512), photometric="rgb", resolution=scale,
                resolutionunit="CENTIMETER", subfiletype=int(by > 1),
            )  # fmt: skip
    shutil.copytree(written / "slide.zarr", tmp_path / "a.zarr")
    said = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    said["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"][1] *= 2
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps(said))
    for slide in (Slide(path), Slide(tmp_path / "a.zarr")):
        assert slide.um_per_px == pytest.approx(1.5 * UM)
        [remark] = slide.remarks
        assert "0.25 µm wide and 0.5 µm high" in remark and "--um-per-px" in remark
    assert not Slide(written / "slide.zarr").remarks

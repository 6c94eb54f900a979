"""Places on the slide, unique cells and their votes, one part at a time."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import make_cell
from streaming import HEIGHT, WIDTH, frame_at, raster

from wbcdet.inference.dark_border import DarkBorder
from wbcdet.records import CellType
from wbcdet.report.registration import RegistrationImage, encode_registration_image
from wbcdet.stream.association import likeness, match, separate_cells, shown
from wbcdet.stream.focus import Focus, sharpness
from wbcdet.stream.report import how
from wbcdet.stream.scales import of_two_scales
from wbcdet.stream.slide_map import Move, Position, SlideMap
from wbcdet.stream.track import Track

SIZE = (WIDTH, HEIGHT)


def ground(
    x: int, y: int, blur: float = 0.0, light: float = 1.0
) -> tuple[RegistrationImage, bytes]:
    pixels = np.clip(frame_at(x, y, blur) * light, 0, 255).astype(np.uint8)
    picture = encode_registration_image(pixels, colour=True)
    return RegistrationImage(picture, *SIZE, []), picture


def track(box: tuple[float, float, float, float], *, hits: int = 1, chances: int = 1) -> Track:
    made = Track(1, 1, 1, box, 0, 0.0, 0, 0.0, make_cell(box=box), "v", 0.9, 0.55)
    for _ in range(hits):
        made.add(made.cell, 0, 0.0)
    made.chances = chances
    return made


def test_places_stay_true_over_a_long_way() -> None:
    chart = SlideMap()
    rng = np.random.default_rng(0)
    for number, (x, y) in enumerate(raster(200) + raster(200)[::-1]):
        seen, picture = ground(x, y, light=float(rng.uniform(0.85, 1.1)))
        position = chart.follow(seen) if number else chart.begin_island(seen)
        assert position is not None, number
        assert abs(position.x - x) < 4, number
        assert abs(position.y - y) < 4, number
        if chart.wants(position, SIZE):
            chart.add(position, picture, seen, [])
    assert chart.islands() == [1]


def test_a_blurred_frame_is_followed() -> None:
    chart = SlideMap()
    first, picture = ground(0, 0)
    chart.add(chart.begin_island(first), picture, first, [])
    # Two blurred frames lead out of reach of the only keyframe.
    for x in (250, 500):
        position = chart.follow(ground(x, 0, blur=3.0)[0])
        assert position is not None
    position = chart.follow(ground(700, 0)[0])
    assert position is not None
    assert abs(position.x - 700) < 8


def test_a_lost_place_is_found_again() -> None:
    chart = SlideMap()
    for x in (0, 300):
        seen, picture = ground(x, 0)
        position = chart.follow(seen) or chart.begin_island(seen)
        chart.add(position, picture, seen, [])
    chart.lose_position()
    assert chart.follow(ground(200, 100)[0]) is None
    assert chart.find(ground(1150, 700)[0]) is None
    found = chart.find(ground(200, 100)[0], most=1)
    assert found is not None
    assert found.away(Position(1, 200, 100)) < 4


def test_two_islands_become_one() -> None:
    chart = SlideMap()
    for x in (0, 900):
        chart.lose_position()
        seen, picture = ground(x, 0)
        chart.add(chart.begin_island(seen), picture, seen, [])
    assert chart.islands() == [1, 2]
    seen, picture = ground(500, 0)
    position = chart.follow(seen)
    assert position is not None
    assert position.island == 2
    joined = chart.join(chart.add(position, picture, seen, []), most=20)
    assert joined is not None
    move, moved = joined
    assert [keyframe.position.island for keyframe in moved] == [1, 1]
    assert (move.island, move.onto) == (2, 1)
    assert abs(move.dx - 900) < 5
    assert chart.islands() == [1]
    assert chart.here is not None
    assert chart.here.away(Position(1, 500, 0)) < 5


def test_the_search_for_islands_that_are_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wbcdet.stream.slide_map._READY", 1)
    chart = SlideMap()
    for x in (300, 0, 600, 900):
        seen, picture = ground(x, 0)
        chart.add(chart.follow(seen) or chart.begin_island(seen), picture, seen, [])
    chart.lose_position()
    seen, picture = ground(250, 500)
    assert chart.find(seen, most=0) is None
    number = chart.add(chart.begin_island(seen), picture, seen, [])
    assert chart.smaller() == [number]
    seen, picture = ground(250, 200)
    number = chart.add(Position(2, 0, -300), picture, seen, [])
    assert chart.smaller() == [5]
    moves = [chart.join(number, most=1) for _ in range(4)]
    assert len([move for move in moves if move is not None]) == 1
    assert chart.smaller() == []


def test_an_island_gets_a_number_of_its_own() -> None:
    assert SlideMap().begin_island(ground(0, 0)[0]).island == 1
    assert SlideMap().begin_island(ground(0, 0)[0], above=4).island == 5


@pytest.mark.parametrize("light", [0.7, 1.0, 1.15])
def test_focus_heeds_blur_and_not_light(light: float) -> None:
    focus = Focus()
    assert focus.is_sharp(focus.share(*sharpness(frame_at(0, 0))))
    lit = np.clip(frame_at(400, 300) * light, 0, 255).astype(np.uint8)
    assert focus.is_sharp(focus.share(*sharpness(lit)))
    assert not focus.is_sharp(focus.share(*sharpness(frame_at(400, 300, blur=2.5))))


def test_noise_of_empty_glass_is_no_focus() -> None:
    """Two seconds beside the smear made every frame that followed a blurred one."""
    focus, rng = Focus(), np.random.default_rng(0)

    def seen(pixels: np.ndarray) -> float:
        noisy = np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
        return focus.share(*sharpness(noisy))

    for light in (20, 240):  # the lamp off, and no slide in its way
        for _ in range(4):
            seen(np.full((480, 640, 3), light, np.uint8))
    assert focus.is_sharp(seen(frame_at(0, 0)))
    assert focus.is_sharp(seen(frame_at(400, 300)))
    assert not focus.is_sharp(seen(frame_at(400, 300, blur=2.5)))


def test_a_box_that_comes_and_goes_is_no_cell() -> None:
    assert track((0, 0, 50, 50), hits=1, chances=1).counts
    assert track((0, 0, 50, 50), hits=8, chances=10).counts
    assert not track((0, 0, 50, 50), hits=4, chances=10).counts
    undone = track((0, 0, 50, 50))
    undone.undone = True
    assert not undone.counts


@pytest.mark.parametrize(
    ("times", "cells", "said"), [(1.7, 6, True), (1.5, 6, False), (3, 5, False)]
)
def test_maps_of_two_objectives_are_said(times: float, cells: int, said: bool) -> None:
    """What was seen with both counted twice, without a word."""
    tracks = [track((0, 0, 50, side)) for side in (40, 45, 50, 52, 55, 60, 70)]
    for _ in range(cells):
        tracks.append(track((0, 0, 10, 50 * times)))
        tracks[-1].island = 2
    text = of_two_scales(tracks)
    assert (text is not None) == said
    lines = how({}, None, tracks)
    if text is not None:
        assert "slide 1 are 52 px wide on one map and 85 px on another" in text
        assert text[1:] + "." in lines[-1]
    else:
        assert lines == how({}, None)


def test_sharp_views_vote_by_their_score() -> None:
    known = track((10, 20, 60, 80), hits=2)
    known.add(make_cell(label=CellType.MONOCYTE), 3, 0.2)
    cell = known.verdict(7)
    assert (cell.id, cell.label) == (7, CellType.NEUTROPHIL)
    assert known.views == {"neutrophil": 2, "monocyte": 1}
    for _ in range(60):
        known.add(make_cell(label=CellType.UNCLASSIFIED, reason="artefact"), 4, 0.3)
    assert known.verdict(0).reason == "artefact"


def test_a_view_unlike_the_training_is_a_vote_for_no_name() -> None:
    known = track((10, 20, 60, 80), hits=1)
    for frame in range(2, 5):
        known.add(make_cell(label=CellType.UNCLASSIFIED, reason="unlike-trained"), frame, 0.2)
    assert known.verdict(0).reason == "unlike-trained"


def test_known_cells_are_recognised_where_a_border_cuts_them() -> None:
    known = [track((600, 100, 680, 180)), track((100, 100, 180, 180))]
    cut = make_cell(box=(600, 102, 640, 178))
    cut = type(cut)(**{**{f: getattr(cut, f) for f in cut.__slots__}, "touches_edge": True})
    whole = make_cell(1, box=(104, 98, 182, 178))
    new = make_cell(2, box=(300, 300, 380, 380))
    found = match(known, [cut, whole, new], Position(1, 0, 0), SIZE)
    assert found == [known[0], known[1], None]
    pixels = np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)
    plain = DarkBorder(pixels, SIZE)
    assert not shown(known[0], Position(1, 0, 0), SIZE, plain)
    assert shown(known[0], Position(1, 300, 0), SIZE, plain)
    # Where the picture is black, as outside an eyepiece's disc, the cell could not be seen.
    pixels[:, :310] = 0
    assert not shown(known[0], Position(1, 300, 0), SIZE, DarkBorder(pixels, SIZE))


def test_neighbours_stay_apart() -> None:
    assert likeness((0, 0, 60, 60), (50, 0, 110, 60), whole=True) == 0
    small, large = make_cell(0, (20, 20, 70, 70)), make_cell(1, (0, 0, 100, 100))
    assert len(separate_cells([small, large])) == 1
    assert len(separate_cells([small, make_cell(1, (60, 20, 110, 70))])) == 2


def test_a_track_survives_the_journal_and_a_move() -> None:
    known = track((1.5, 2.5, 50.0, 60.0), hits=3, chances=4)
    again = Track.from_record(known.to_record())
    assert again.to_record() == known.to_record()
    again.moved(Move(1, 4, 10.0, -5.0))
    assert (again.island, again.box) == (4, (11.5, -2.5, 60.0, 55.0))

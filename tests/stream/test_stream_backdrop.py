"""What stands still in the pictures of a camera is no evidence of where it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import make_cell
from streaming import HEIGHT, WIDTH, frame_at, smear

from wbcdet.datasets.synthetic import STAINS, render_smear
from wbcdet.inference.analyzer import Analyzer
from wbcdet.report.journal import Journal
from wbcdet.report.registration import RegistrationImage, encode_registration_image
from wbcdet.stream.backdrop import Backdrop
from wbcdet.stream.cell_counter import ANALYSED, STILL, CellCounter
from wbcdet.stream.event_log import EventLog
from wbcdet.stream.resume import begin
from wbcdet.stream.runner import Options, Runner
from wbcdet.stream.slide_map import Keyframe, Position
from wbcdet.stream.sources.base import Frame
from wbcdet.stream.store import StreamStore
from wbcdet.stream.track import Track

Mark = Callable[[np.ndarray], np.ndarray]

#: Of a telephone on an eyepiece.
RADIUS = 235
YS, XS = np.mgrid[:HEIGHT, :WIDTH]
FAR = (XS - WIDTH / 2) ** 2 + (YS - HEIGHT / 2) ** 2
PLACES = [*((x, 100) for x in range(0, 1000, 80)), *((x, 460) for x in range(960, 280, -80))]


def round_view(picture: np.ndarray) -> np.ndarray:
    return np.where(FAR[..., None] > RADIUS**2, 0, picture).astype(np.uint8)


def clock(picture: np.ndarray) -> np.ndarray:
    cv2.rectangle(picture, (0, 0), (260, 36), (0, 0, 0), -1)
    cv2.putText(picture, "12:00:07", (4, 26), 0, 0.7, (255, 255, 255), 2)
    return picture


def reticle(picture: np.ndarray) -> np.ndarray:
    for at in range(0, WIDTH, 64):
        cv2.line(picture, (at, 0), (at, HEIGHT), (0, 0, 0), 2)
        cv2.line(picture, (0, at), (WIDTH, at), (0, 0, 0), 2)
    return picture


def dirt(picture: np.ndarray) -> np.ndarray:
    shade = np.ones((HEIGHT, WIDTH))
    for x, y in ((90, 60), (300, 200), (520, 90), (150, 390), (480, 330), (330, 430)):
        shade *= 1 - 0.5 * np.exp(-((XS - x) ** 2 + (YS - y) ** 2) / 600)
    return (picture * shade[..., None]).astype(np.uint8)


def kept(pixels: np.ndarray, backdrop: Backdrop) -> RegistrationImage:
    return RegistrationImage(encode_registration_image(pixels), WIDTH, HEIGHT, [], backdrop)


@pytest.mark.parametrize("mark", [round_view, clock, reticle, dirt])
def test_places_are_told_apart(mark: Mark) -> None:
    backdrop = Backdrop()
    frames = [mark(frame_at(*place)) for place in PLACES]
    for frame in frames:
        backdrop.learn(kept(frame, backdrop).seen)
    assert backdrop.found
    for number in (3, 15):
        here, before = (kept(frames[at], backdrop) for at in (number, number - 1))
        (shift,) = here.shift_to([before])
        assert shift is not None
        (x0, y0), (x1, y1) = PLACES[number - 1], PLACES[number]
        assert (shift.dx, shift.dy) == pytest.approx((x1 - x0, y1 - y0), abs=5)


def test_a_place_that_is_seen_again_does_not_stand_still() -> None:
    backdrop, rng = Backdrop(), np.random.default_rng(0)
    few = [(x, 100) for x in (0, 300, 600, 300)] * 4
    for place in [*few, *PLACES]:
        noise = rng.normal(0, 3, (HEIGHT, WIDTH, 3))
        frame = np.clip(frame_at(*place) + noise, 0, 255).astype(np.uint8)
        backdrop.learn(kept(frame, backdrop).seen)
        assert not backdrop.found
    assert backdrop.frames > 12
    creeping = Backdrop()
    for x in range(0, 160, 4):
        creeping.learn(kept(frame_at(x, 0), creeping).seen)
        assert not creeping.found
    assert creeping.frames > 6


def test_what_is_switched_off_is_forgotten() -> None:
    backdrop = Backdrop()
    for place in PLACES[:12]:
        backdrop.learn(kept(clock(frame_at(*place)), backdrop).seen)
    assert backdrop.found
    for y in (50, 300, 600):
        for x, _ in PLACES:
            backdrop.learn(kept(frame_at(x, y), backdrop).seen)
    assert not backdrop.found


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer()


def test_cells_of_a_round_view_count_once(tmp_path: Path, analyzer: Analyzer) -> None:
    """All frames seemed to show one place: a third of the cells was counted, without a word."""
    places = PLACES[:8]
    with closing(Journal(tmp_path / "journal")) as journal:
        begin(tmp_path, journal, analyzer.info(), restart=False)
        store = StreamStore(tmp_path, journal)
        counter = CellCounter(analyzer, store, live=False)
        for number, place in enumerate(places):
            counter.step(Frame(round_view(frame_at(*place)), number, number / 15))
        counted = sum(track.counts for track in counter.slide.tracks)
    assert len(counter.slide.slide_map.islands()) == 1
    assert sum(counter.frames.values()) == len(places) and counter.frames[STILL] == 0
    # Its border cuts cells, which cannot be told.
    whole, at_border = (_shown(RADIUS - rim, places) for rim in (0, -60))
    assert 3 < whole <= counted <= at_border


def test_places_that_lay_over_each_other_are_parted(tmp_path: Path, analyzer: Analyzer) -> None:
    """When it was found what stands still, three places lay over each other and went on to be found
    there: of 17 cells 12 were counted."""
    frames = [
        round_view(
            render_smear(
                number, WIDTH, HEIGHT, cell_px=70, cells_per_mm2=300, stain=STAINS[1]
            ).pixels
        )
        for number in range(100, 106)
    ]
    with closing(Journal(tmp_path / "journal")) as journal:
        begin(tmp_path, journal, analyzer.info(), restart=False)
        store = StreamStore(tmp_path, journal)
        counter = CellCounter(analyzer, store, live=False)
        for number, pixels in enumerate(frames):
            counter.step(Frame(pixels, number, number / 15, file=f"{number}.jpg"))
            if number == 4:
                assert counter.relabel(1, "eosinophil") == "cell 1 is eosinophil"
                said_of = counter.slide.tracks[0].cell.box
                # Few pictures: which of them lie over each other is all that can be said.
                assert len(counter.doubtful()) > 1
        store.flush(at_once=True)
        again = CellCounter(analyzer, StreamStore(tmp_path, journal), live=False).slide
    assert counter.frames == {ANALYSED: len(frames), STILL: 0}
    for slide in (counter.slide, again):
        assert len(slide.slide_map.islands()) == len(frames)
        # No cell has been looked for where another place lay, and all of one frame are its own.
        whole = [track for track in slide.tracks if not track.touches_edge]
        assert {(track.hits, track.chances, track.counts) for track in whole} == {(1, 1, True)}
        # What the black border cuts is known, and in no count.
        assert not any(track.counts for track in slide.tracks if track not in whole)
        assert len({track.best for track in slide.tracks}) == len(frames)
        [named] = [track for track in slide.tracks if track.named]
        assert (named.number, named.named, named.cell.box) == (1, "eosinophil", said_of)


def _shown(radius: float, places: Sequence[tuple[float, float]]) -> int:
    """White cells that are wholly within a radius of the middle of a frame."""
    return sum(
        any(
            all(
                np.hypot(at - x - WIDTH / 2, down - y - HEIGHT / 2) <= radius
                for at in (cell.box[0], cell.box[2])
                for down in (cell.box[1], cell.box[3])
            )
            for x, y in places
        )
        for cell in smear().cells
    )


@pytest.mark.parametrize("mark", [round_view, np.copy])
def test_few_pictures_of_a_round_view_are_named(
    tmp_path: Path, analyzer: Analyzer, mark: Mark
) -> None:
    """Five pictures of a folder were one, without a word."""
    places = [(0, 0), (1100, 0), (1104, 2), (0, 700)]
    frames = [
        Frame(mark(frame_at(*place)), number, 0.0, file=f"{number}.jpg")
        for number, place in enumerate(places)
    ]

    class Folder:
        name, live = "folder", False

        def frames(self) -> Iterator[Frame]:
            return iter(frames)

        def close(self) -> None:
            pass

    with (
        closing(Journal(tmp_path / "journal")) as journal,
        closing(EventLog(tmp_path, None)) as log,
    ):
        begin(tmp_path, journal, analyzer.info(), restart=False)
        store = StreamStore(tmp_path, journal)
        counter = CellCounter(analyzer, store, live=False)
        outcome = Runner(Folder(), counter, store, Options(), log).run()
    if mark is np.copy:
        assert outcome.failure is None and counter.frames[STILL] == 1
    else:
        assert outcome.failure is not None
        assert "1.jpg: seems to show the place of another picture" in outcome.failure
        assert "3.jpg: seems" in outcome.failure and "2.jpg" not in outcome.failure


def test_a_frame_that_is_looked_at_again_keeps_its_cells(tmp_path: Path) -> None:
    tracks = []
    with closing(Journal(tmp_path / "journal")) as journal:
        store = StreamStore(tmp_path, journal)
        for number in (1, 2):
            box = (10.0 * number, 20.0, 60.0, 80.0)
            cell = make_cell(box=box)
            tracks.append(Track(number, 1, 1, box, 0, 0.0, 0, 0.0, cell, "", 0.9, 0.1))
            tracks[-1].add(cell, 0, 0.0)
            store.view(0, frame_at(0, 0), tracks[-1:])
        store.flush(at_once=True)
        [view] = store.views()
    assert [track.number for track in view.tracks] == [1, 2]


def test_a_run_that_goes_on_knows_what_stands_still(tmp_path: Path, analyzer: Analyzer) -> None:
    with closing(Journal(tmp_path / "journal")) as journal:
        begin(tmp_path, journal, analyzer.info(), restart=False)
        store = StreamStore(tmp_path, journal)
        store.keep_keyframes(
            Keyframe(
                number,
                Position(1, *place),
                (WIDTH, HEIGHT),
                encode_registration_image(round_view(frame_at(*place))),
            )
            for number, place in enumerate(PLACES[:8], 1)
        )
        store.flush(at_once=True)
        again = CellCounter(analyzer, StreamStore(tmp_path, journal), live=False)
    assert again.backdrop.found

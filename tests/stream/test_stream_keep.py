"""The store of a stream: complete whenever it is killed; cells that are met again late."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_cell
from streaming import frame_at

from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.domain_shift import UNLIKE, Beyond, GroundVerdict
from wbcdet.inference.run_info import StreamInfo, ThresholdsInfo
from wbcdet.records import CellType
from wbcdet.report.journal import Journal
from wbcdet.report.registration import encode_registration_image
from wbcdet.stream import cell_counter as session
from wbcdet.stream import report
from wbcdet.stream import slide_map as chart
from wbcdet.stream import store as keep
from wbcdet.stream.cell_counter import STILL, CellCounter
from wbcdet.stream.event_log import EventLog
from wbcdet.stream.report import ReportOptions, finish, how, unusable
from wbcdet.stream.resume import begin
from wbcdet.stream.runner import Options, Outcome, Runner
from wbcdet.stream.sources.base import Frame
from wbcdet.stream.store import StreamStore
from wbcdet.stream.track import Track
from wbcdet.utils.words import LANGUAGES, in_english, speaking


def _track(number: int) -> Track:
    box = (10.0, 20.0, 60.0, 80.0)
    track = Track(number, 1, 1, box, 0, 0.0, 0, 0.0, make_cell(box=box), "", 0.9, 0.1)
    track.add(track.cell, 0, 0.0)
    track.chances = 1
    return track


def _written(journal: Journal) -> list[int]:
    """Numbers of the cells in the lines of all views."""
    records = [journal.read(name) for name in journal]
    return sorted(track["number"] for record in records for track in record.get("tracks", ()))


@pytest.mark.parametrize("lines", range(4))
@pytest.mark.parametrize("alone", [True, False])
def test_a_cell_is_on_disk_whenever_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int, alone: bool
) -> None:
    pixels = np.full((120, 160, 3), 200, np.uint8)
    cells = [_track(1)] if alone else [_track(1), _track(2)]
    with closing(Journal(tmp_path / "journal")) as journal:
        journal.start({})
        store = StreamStore(tmp_path, journal)
        store.view(0, pixels, [_track(3)])  # the first view of a slide stays in any case
        store.view(1, pixels, cells)
        store.flush(at_once=True)
        cells[0].add(cells[0].cell, 2, 0.1)
        store.view(2, pixels, [cells[0]])  # shows it better
        left = lines
        append = journal.append

        def full(*arguments: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("disk full")
            append(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(journal, "append", full)
        for _ in range(2 if lines < 3 else 0):  # and once more when the run ends
            with pytest.raises(OSError, match="disk full"):
                store.flush(at_once=True)
    numbers = [track.number for track in (*cells, _track(3))]
    with closing(Journal(tmp_path / "journal")) as journal:
        assert set(_written(journal)) == set(numbers)
        store = StreamStore(tmp_path, journal)
        assert sorted(track.number for track in store.tracks()) == numbers
        store.flush(at_once=True)
        assert _written(journal) == numbers


def test_what_more_is_known_of_a_cell_can_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "_FLUSH_S", 0.0)
    pixels = np.full((120, 160, 3), 200, np.uint8)

    def hits() -> dict[int, int]:
        records = [journal.read(name) for name in journal]
        return {
            track["number"]: track["hits"] for line in records for track in line.get("tracks", ())
        }

    with closing(Journal(tmp_path / "journal")) as journal:
        journal.start({})
        store = StreamStore(tmp_path, journal)
        known = _track(1)
        store.view(0, pixels, [known])
        store.flush()
        known.add(known.cell, 1, 0.1)
        store.changed([known])
        store.view(1, pixels, [_track(2)])
        store.flush()
        assert hits() == {1: 1, 2: 1}
        monkeypatch.setattr(keep, "_MORE_S", 0.0)
        store.flush()
        assert hits() == {1: 2, 2: 1}


def test_keyframes_without_pictures_are_left_out(tmp_path: Path) -> None:
    # As after a power cut, which may keep the lines of a file and lose those of another.
    with closing(Journal(tmp_path / "journal")) as journal:
        journal.start({})
        picture = encode_registration_image(frame_at(0, 0), colour=True)
        store = StreamStore(tmp_path, journal)
        store.keep_keyframes(
            [chart.Keyframe(n, chart.Position(1, 0, 0), (640, 480), picture) for n in (1, 2)]
        )
    (pictures,) = (tmp_path / "journal").glob("*.bin")
    with pictures.open("r+b") as file:
        file.truncate(len(picture) + 10)
    with closing(Journal(tmp_path / "journal")) as journal:
        store = StreamStore(tmp_path, journal)
        assert [keyframe.number for keyframe in store.keyframes()] == [1]
        # What is written next stands where the lost picture was.
        other = encode_registration_image(frame_at(400, 300), colour=True)
        store.keep_keyframes([chart.Keyframe(2, chart.Position(1, 5, 5), (640, 480), other)])
    with closing(Journal(tmp_path / "journal")) as journal:
        assert [keyframe.picture for keyframe in StreamStore(tmp_path, journal).keyframes()] == [
            picture,
            other,
        ]


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer()


@pytest.mark.parametrize("how", ["still", "end", "later"])
def test_a_place_of_long_ago_is_recognised_when_there_is_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    analyzer: Analyzer,
    command: Callable[..., subprocess.CompletedProcess[str]],
    how: str,
) -> None:
    # As with a slide of many more keyframes than are ready.
    monkeypatch.setattr(chart, "_READY", 0)
    monkeypatch.setattr(session, "_SEARCH_LIVE", 0)
    monkeypatch.setattr(session, "_SEARCH_JOIN", 0)
    monkeypatch.setattr(keep, "_FLUSH_S", 1e6)
    with closing(Journal(tmp_path / "journal")) as journal:
        begin(tmp_path, journal, analyzer.info(), restart=False)
        store = StreamStore(tmp_path, journal)
        counter = CellCounter(analyzer, store, live=True)
        places = [(0, 0), (300, 0), (600, 0), (900, 0)]
        for number, (x, y) in enumerate(places):
            counter.step(Frame(frame_at(x, y), number, number / 15))
        once = len(counter.slide.tracks)
        assert once
        counter.interrupted()
        counter.step(Frame(frame_at(600, 0), 4, 1.0))
        assert counter.slide.slide_map.islands() == [1, 2]
        assert len(counter.slide.tracks) > once
        if how == "still":
            monkeypatch.setattr(session, "_SEARCH_JOIN", 1)
            looks = [counter.step(Frame(frame_at(600, 0), 5 + i, 2.0)) for i in range(4)]
            assert {look.became for look in looks} == {STILL}
            assert looks[-1].position is not None
            assert looks[-1].position.island == 1
        elif how == "end":
            assert list(counter.settle()) == [(1, 1)]
        else:  # killed, and the files written by another run
            store.flush(at_once=True)
    if how == "later":
        done = command("stream", "--out", ".", "--quiet")
        assert done.returncode == 0, done.stderr
    # As after kill -9: cells and keyframes lie on the same island.
    with closing(Journal(tmp_path / "journal")) as journal:
        store = StreamStore(tmp_path, journal)
        assert {frame.position.island for _, frame in store.all_keyframes()} == {1}
        tracks = [track for view in store.views() for track in view.tracks]
        assert {track.island for track in tracks} == {1}
        assert len(tracks) == once


def _run(
    out: Path,
    analyzer: Analyzer,
    given: Callable[[Runner], Iterator[Frame | str]],
    name: str = "camera",
) -> tuple[Runner, Outcome, list[str]]:
    """Watch a camera that waits until each of its frames has been dealt with.

    Returns:
        the runner, how it ended, and the kinds of its events. Whether drawn ground is like that of
        the training is another matter with each pair of models, so that event is not among them;
        that it is said at most once a slide is checked here, what it says in test_domain_shift.
    """

    class Camera:
        live = True

        def __init__(self) -> None:
            self.name = name

        def frames(self) -> Iterator[Frame | str | None]:
            for item in given(runner):
                yield item
                end = time.monotonic() + 20
                while (
                    isinstance(item, Frame)
                    and store.run.get("last_frame") != first + item.index
                    and time.monotonic() < end
                ):
                    time.sleep(0.01)

        def close(self) -> None:
            pass

    with closing(Journal(out / "journal")) as journal, closing(EventLog(out, None)) as events:
        begin(out, journal, analyzer.info(), restart=False)
        store = StreamStore(out, journal)
        first = store.next_frame
        runner = Runner(Camera(), CellCounter(analyzer, store, live=True), store, Options(), events)
        outcome = runner.run()
    lines = (out / "events.csv").read_text().splitlines()[1:]
    kinds = [line.split(",")[2] for line in lines]
    assert kinds.count("ground") <= runner.status.slide
    return runner, outcome, [kind for kind in kinds if kind != "ground"]


def _kept(out: Path) -> StreamStore:
    with closing(Journal(out / "journal")) as journal:
        return StreamStore(out, journal)


def test_frames_of_a_pause_were_not_dropped(tmp_path: Path, analyzer: Analyzer) -> None:
    def given(runner: Runner) -> Iterator[Frame | str]:
        for number in range(6):
            if number == 1:
                runner.ask("pause")
            elif number == 5:
                runner.ask("start")
            elif number == 2:
                yield "camera: a part cannot be read"
            yield Frame(frame_at(0, 0), number, number / 15)

    _, outcome, told = _run(tmp_path, analyzer, given)
    assert outcome.frames == 2
    assert outcome.failure == "camera: a part cannot be read"
    assert _kept(tmp_path).run["totals"]["dropped"] == 0
    assert told == ["pause", "unreadable", "start"]


def test_events_are_english_in_every_language(
    tmp_path: Path, analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = GroundVerdict(UNLIKE, {"stain": Beyond(10, 10, 5.0)})
    monkeypatch.setattr(CellCounter, "ground", lambda _: far)
    with speaking("es"):
        runner, *_ = _run(tmp_path, analyzer, lambda _: iter([Frame(frame_at(0, 0), 0, 0.0)]))
    # The page speaks the language of its reader; the log is read by programs.
    assert runner.status.ground is not None and "campos" in runner.status.ground
    events = (tmp_path / "events.csv").read_text()
    assert "this slide looks unlike what the models were trained on: 100 % of the fields" in events
    assert "look at all of them" in events and "campos" not in events


def test_how_a_stream_was_counted_is_said_in_each_language() -> None:
    totals = {"analysed": 20, "blurred": 30, "damaged": 1, "lost_times": 2, "lost_s": 4.5}
    run: StreamInfo = {"totals": totals, "unread": ["cut.png"]}
    english = how(run, 100)
    assert english[2].startswith("61 % of the pictures could not be used (30 blurred, 1 damaged)")
    for language in LANGUAGES[1:]:
        with speaking(language):
            said = how(run, 100)
            assert unusable(totals, in_english) == english[2][:-1]
        assert len(said) == len(english) == 6 and not set(said) & set(english)
        for text, source in zip(said, english, strict=True):
            assert sorted(re.findall(r"\d+", text)) == sorted(re.findall(r"\d+", source))


@pytest.mark.parametrize(
    ("language", "times", "said"),
    [("en", 1, "lost 1 time,"), ("es", 1, "1 vez,"), ("ru", 2, "2 раза,"), ("ru", 5, "5 раз,")],
)
def test_how_often_a_signal_was_lost(language: str, times: int, said: str) -> None:
    with speaking(language):
        lines = how({"totals": {"lost_times": times, "lost_s": 4.5}}, None)
    assert said in lines[-1]


def test_frames_are_numbered_over_all_runs_of_a_report(tmp_path: Path, analyzer: Analyzer) -> None:
    def given(runner: Runner) -> Iterator[Frame | str]:
        for number, seconds in enumerate((0.0, 50.0, 60.0)):
            yield Frame(frame_at(0, 0) if number != 1 else frame_at(300, 0), number, seconds)
        yield "a part cannot be read"

    for run in range(2):
        _run(tmp_path, analyzer, given)
        events = (tmp_path / "events.csv").read_text().splitlines()
        told = [line.split(",")[1] for line in events if ",unreadable," in line]
        assert told == ["2", "5"][: run + 1]


def test_a_report_of_two_films_names_both(tmp_path: Path, analyzer: Analyzer) -> None:
    """Cells of the first stood under the name of the second."""
    for name, frames in (("a.mp4", 1), ("b.mp4", 1), ("empty", 0), ("a.mp4", 1)):
        _run(
            tmp_path,
            analyzer,
            lambda _, n=frames: (Frame(frame_at(0, 0), i, 0.0) for i in range(n)),  # type: ignore[misc]
            name,
        )
        store = _kept(tmp_path)
    assert store.run["sources"] == ["a.mp4", "b.mp4"] and store.run["source"] == "a.mp4"
    assert "Seen one after the other: a.mp4, b.mp4." in how(store.run, None)
    with closing(Journal(tmp_path / "journal")) as journal:
        finish(tmp_path, journal, StreamStore(tmp_path, journal), ReportOptions({}))
    assert "<title>a.mp4, b.mp4: " in (tmp_path / "report.html").read_text()


def test_a_time_is_that_of_its_frame() -> None:
    """Another run of a report begins again at 0 s."""
    seen = _track(1)
    seen.add(seen.cell, 10, 60.0)
    seen.add(seen.cell, 11, 0.5)
    assert (seen.last, seen.last_s) == (11, 0.5)
    other = _track(2)
    other.add(other.cell, 9, 59.0)
    seen.absorb(other)
    assert (seen.last, seen.last_s) == (11, 0.5)


def test_after_new_slide_the_old_one_is_not_counted_on(tmp_path: Path, analyzer: Analyzer) -> None:
    def given(runner: Runner) -> Iterator[Frame | str]:
        for number in range(5):
            if number == 1:
                runner.ask("new-slide")
            elif number == 4:
                runner.ask("start")
            yield Frame(frame_at(0, 0), number, number / 15)

    runner, _, _ = _run(tmp_path, analyzer, given)
    assert runner.status.slide == 2
    assert runner.status.state == "waiting"
    views = [view.name for view in _kept(tmp_path).views()]
    assert views == ["slide-1/0000000.jpg", "slide-2/0000004.jpg"]


def test_a_new_slide_that_two_pages_ask_for_is_one(tmp_path: Path, analyzer: Analyzer) -> None:
    """The next slide was the third: a table of identifiers gave it those of another patient."""

    def given(runner: Runner) -> Iterator[Frame | str]:
        yield Frame(frame_at(0, 0), 0, 0.0)
        for command in ("new-slide", "new-slide", "start"):
            runner.ask(command)  # type: ignore[arg-type]
        for number in (1, 2):
            yield Frame(frame_at(0, 0), number, number / 15)

    runner, _, told = _run(tmp_path, analyzer, given)
    assert runner.status.slide == 2 and told == ["new-slide", "new-slide", "start"]
    assert "slide 2 has begun: no picture" in (tmp_path / "events.csv").read_text()
    assert {view.slide for view in _kept(tmp_path).views()} == {1, 2}


def test_new_slide_passes_over_a_frame_in_hand_and_nothing_else(
    tmp_path: Path, analyzer: Analyzer
) -> None:
    def given(runner: Runner) -> Iterator[Frame | str]:
        yield Frame(frame_at(0, 0), 0, 0.0)
        for command in ("new-slide", "start"):  # both before the next item is looked at
            runner.ask(command)  # type: ignore[arg-type]
        yield Frame(frame_at(0, 0), 1, 0.1)
        runner.ask("new-slide")
        yield "camera: a part cannot be read"

    _, outcome, told = _run(tmp_path, analyzer, given)
    assert outcome.frames == 1
    assert outcome.failure == "camera: a part cannot be read"
    assert told == ["new-slide", "start", "new-slide", "unreadable"]
    assert _kept(tmp_path).run["totals"]["dropped"] == 0


@pytest.mark.parametrize("stop", [False, True])
def test_the_last_search_has_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analyzer: Analyzer, stop: bool
) -> None:
    done: list[int] = []
    runners: list[Runner] = []

    def settle(self: CellCounter) -> Iterator[tuple[int, int]]:
        for number in (1, 2, 3):
            done.append(number)
            if stop:
                runners[0].ask("stop")
            runners[0].ask("undo")
            yield number, 3

    monkeypatch.setattr(CellCounter, "settle", settle)

    def given(runner: Runner) -> Iterator[Frame | str]:
        runners.append(runner)
        yield Frame(frame_at(0, 0), 0, 0.0)

    runner, _, told = _run(tmp_path, analyzer, given)
    assert done == ([1] if stop else [1, 2, 3])
    assert told == ["undo"] * len(done)  # what was asked for meanwhile is done after it
    # As after kill -9: what was taken back stays so.
    tracks = _kept(tmp_path).tracks()
    assert sum(track.undone for track in tracks) == len([t for t in tracks if t.whole][: len(done)])
    assert runner.status.differential.classified == sum(track.counts for track in tracks)


def test_a_name_that_a_laboratory_has_taught_is_no_damage(tmp_path: Path) -> None:
    pixels = np.full((120, 160, 3), 200, np.uint8)
    thresholds = ThresholdsInfo(
        confidence=0.5, min_score={"neutrophil": 0.4, "basophil": 0.4}, unlike_trained=None
    )
    own = _track(1)
    own.cell = replace(own.cell, label="basophil")
    with closing(Journal(tmp_path / "journal")) as journal:
        journal.start({"thresholds": thresholds})
        store = StreamStore(tmp_path, journal)
        store.view(0, pixels, [own, _track(2)])
        store.flush(at_once=True)
    with closing(Journal(tmp_path / "journal")) as journal:
        tracks = StreamStore(tmp_path, journal).tracks()
        assert [track.cell.label for track in tracks] == ["basophil", CellType.NEUTROPHIL]
        assert not journal.damaged


def test_the_picture_of_a_damaged_line_stays(tmp_path: Path) -> None:
    pixels = np.full((120, 160, 3), 200, np.uint8)
    with closing(Journal(tmp_path / "journal")) as journal:
        journal.start({})
        store = StreamStore(tmp_path, journal)
        store.view(0, pixels, [_track(1)])
        store.flush(at_once=True)
        record = journal.read("slide-1/0000000.jpg")
        journal.append({**record, "quality": None})
    views = tmp_path / "views" / "slide-1"
    shutil.copy(views / "0000000.jpg", views / "0000009.jpg")  # of a run that was killed
    with closing(Journal(tmp_path / "journal")) as journal:
        assert not StreamStore(tmp_path, journal).tracks()
        assert journal.damaged == ["slide-1/0000000.jpg"]
    assert [path.name for path in views.iterdir()] == ["0000000.jpg"]


def test_what_a_person_named_stays_counted() -> None:
    track = _track(1)
    track.least = 0.5
    track.chances = 5
    assert not track.real
    track.named = "monocyte"
    assert track.counts and track.label == "monocyte"
    track.undone = True
    assert not track.counts


@pytest.mark.parametrize("first", ["undone", "named"])
@pytest.mark.parametrize("stays", [0, 1])
def test_of_two_maps_what_was_said_last_holds(tmp_path: Path, first: str, stays: int) -> None:
    with closing(Journal(tmp_path / "journal")) as journal:
        journal.start({})
        counter = CellCounter.__new__(CellCounter)
        counter._store = StreamStore(tmp_path, journal)
        tracks = [_track(1), _track(2)]
        counter._store.view(0, np.full((120, 160, 3), 200, np.uint8), tracks)
        counter.slide = session.Slide(1, tracks=tracks)
        labels = [session.NO_CELL, "monocyte"]
        for number, label in enumerate(labels if first == "undone" else reversed(labels), 1):
            counter.relabel(number, label)
    kept, other = tracks[stays], tracks[1 - stays]
    kept.absorb(Track.from_record(other.to_record()))
    assert kept.counts == (first == "undone")
    assert kept.counts is False or kept.label == "monocyte"


def test_crops_of_types_that_are_named_like_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A type that a laboratory has taught may be called anything: the report of a stream was lost
    to one that led out of its folder."""
    labels = ("../../x", "ig/pro", "blast?", "band", "..")
    cells = [replace(make_cell(number), label=label) for number, label in enumerate(labels)]
    tracks = [
        SimpleNamespace(number=number, real=True, counts=True, verdict=lambda _, cell=cell: cell)
        for number, cell in enumerate(cells)
    ]
    view = SimpleNamespace(name="slide-1/0.jpg", slide=1, tracks=tracks, size=(640, 480))
    monkeypatch.setattr(report, "read_view", lambda *_: np.zeros((480, 640, 3), np.uint8))
    made = report._pictures(tmp_path / "out", view, False)  # type: ignore[arg-type]
    folders = [Path(name).parts[2] for name in made]
    assert folders == [".._.._x", "ig_pro", "blast_", "band", "_"]
    assert all((tmp_path / "out" / name).is_file() for name in made)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

"""A second reader: sees nothing of the first one, at the same time, and how far both agree."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from reviewing import Server, make_report

from wbcdet.review.cell_state import DELETED, Key, LabelChange
from wbcdet.review.decision_store import SECOND_DATABASE, Store
from wbcdet.review.machine_report import MachineReport, load_report
from wbcdet.review.reader_agreement import compare_readers, note_shown, readers_of
from wbcdet.review.state import ReviewState

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("readers"), 2, "--group-by", "folder")


class Readers:
    """Two readings of one report."""

    def __init__(self, counted: Path, folder: Path) -> None:
        self.folder = folder
        self.report: MachineReport = load_report(counted)
        self.stores = Store(folder), Store(folder, SECOND_DATABASE)
        self.boards = [ReviewState(self.report, store) for store in self.stores]

    def call(self, reader: int, label: str, *keys: Key) -> None:
        state = self.boards[reader]
        for key in keys:
            state.change(
                ("Ann", "Bob")[reader], [LabelChange(key, state.cells[key].last_decision, label)]
            )

    def draw(self, reader: int, box: tuple[float, float, float, float], label: str) -> Key:
        return self.boards[reader].draw(("Ann", "Bob")[reader], 0, box, label, None)

    def found(self):  # type: ignore[no-untyped-def]
        return readers_of(self.report, self.stores[0], self.folder)


@pytest.fixture
def readers(counted: Path, tmp_path: Path) -> Readers:
    return Readers(counted, tmp_path)


def test_nothing_read_and_one_cell(readers: Readers) -> None:
    found = readers.found()
    assert found.cells == () and found.kappa is None and found.share is None
    readers.call(0, "monocyte", (0, 0))
    found = readers.found()
    assert found.cells == () and found.only_first == 1
    readers.call(1, "monocyte", (0, 0))
    found = readers.found()
    assert found.same == 1 and found.kappa is None  # one name alone says nothing
    assert found.share is not None and found.share[0] == 1


def test_kappa_cell_by_cell(readers: Readers) -> None:
    """Twenty cells, as reckoned by hand: 16 of 20 alike, 0.5 by chance, kappa 0.6."""
    for cell in range(20):
        readers.call(0, "neutrophil" if cell < 10 else "lymphocyte", (0, cell))
        readers.call(1, "neutrophil" if cell < 8 or cell >= 18 else "lymphocyte", (0, cell))
    readers.call(1, "monocyte", (1, 0))
    found = readers.found()
    assert found.labels == ("lymphocyte", "neutrophil")
    assert found.table == ((8, 2), (2, 8)) and found.only_second == 1
    assert found.kappa is not None and found.kappa.value == pytest.approx(0.6)
    assert found.kappa.interval is not None
    assert found.kappa.interval[0] < 0.6 < found.kappa.interval[1]
    assert [cell.key for cell in found.differing] == sorted(
        (cell.key for cell in found.differing),
        key=lambda key: (readers.boards[0].cells[key].box[1], readers.boards[0].cells[key].box[0]),
    )
    assert {cell.key[1] for cell in found.differing} == {8, 9, 18, 19}


def test_deleted_and_drawn_cells(readers: Readers) -> None:
    readers.call(0, DELETED, (0, 0))
    readers.call(1, "monocyte", (0, 0))
    readers.draw(0, (50, 50, 90, 90), "blast")
    readers.draw(1, (52, 50, 90, 92), "blast")
    readers.draw(1, (120, 50, 160, 90), "plasma cell")
    gone = readers.draw(0, (200, 100, 240, 140), "blast")
    readers.call(0, DELETED, gone)
    pairs = {(cell.first, cell.second) for cell in readers.found().cells}
    assert pairs == {("no cell", "monocyte"), ("blast", "blast"), ("no cell", "plasma cell")}


def test_what_is_settled_later_does_not_raise_kappa(readers: Readers) -> None:
    for cell in range(6):
        readers.call(0, "neutrophil" if cell % 2 else "monocyte", (0, cell))
        readers.call(1, "neutrophil", (0, cell))
    before = readers.found()
    note_shown(readers.stores[0], readers.boards[0].last)
    readers.call(0, "neutrophil", (0, 0), (0, 2), (0, 4))
    readers.call(0, "monocyte", (0, 7))  # read after that, and not shown yet
    readers.call(1, "monocyte", (0, 7))
    after = readers.found()
    assert len(after.cells) == 7 and [cell.first for cell in after.differing] == ["monocyte"] * 3
    assert len(before.differing) == len(after.differing)
    # Without the note, as where nobody has looked, the last word counts.
    rows = [store.decisions() for store in readers.stores]
    assert not compare_readers(readers.report, *rows).differing


#: Boxes of cells that a reader draws, none over another.
DRAWN = [(float(x), 50.0, x + 30.0, 80.0) for x in (10, 60, 110, 160)]


def test_a_cell_drawn_from_the_other_one_is_no_agreement(readers: Readers) -> None:
    for cell in range(6):
        readers.call(0, "neutrophil" if cell % 2 else "monocyte", (0, cell))
        readers.call(1, "neutrophil" if cell < 4 else "monocyte", (0, cell))
    readers.draw(0, DRAWN[0], "blast")
    for box in DRAWN:
        readers.draw(1, box, "blast")
    before = readers.found()
    assert [cell.key for cell in before.differing if cell.first == "no cell"] == [None] * 3
    # As the page does it: what differs is shown again after every cell that was drawn there.
    drawn = []
    for box in DRAWN[1:]:
        note_shown(readers.stores[0], readers.boards[0].last)
        drawn.append(readers.draw(0, box, "blast"))
    note_shown(readers.stores[0], readers.boards[0].last)
    readers.call(0, "plasma cell", drawn[0])
    after = readers.found()
    assert after.table == before.table and after.kappa == before.kappa
    # They are shown with the cell that stands in the report now: nobody draws it once more.
    assert [cell.key for cell in after.differing if cell.first == "no cell"] == drawn


def test_cells_drawn_alone_count_as_before(readers: Readers) -> None:
    readers.draw(0, DRAWN[0], "blast")
    readers.draw(1, DRAWN[0], "blast")
    readers.draw(1, DRAWN[1], "blast")
    note_shown(readers.stores[0], readers.boards[0].last)
    # Over a cell that was found alone, and where the second reader has marked nothing.
    readers.draw(0, DRAWN[0], "plasma cell")
    readers.draw(0, DRAWN[2], "plasma cell")
    pairs = sorted((cell.first, cell.second) for cell in readers.found().cells)
    assert pairs == [
        ("blast", "blast"), ("no cell", "blast"),
        ("plasma cell", "no cell"), ("plasma cell", "no cell"),
    ]  # fmt: skip


def test_a_note_from_somebody_else(readers: Readers) -> None:
    readers.call(0, "monocyte", (0, 0))
    for note in ("x", "{}", "[" * 5000, '["a", null, true, 1e999]'):
        readers.stores[0].set_note("differences-shown", note)
        assert readers.found().only_first == 1


@pytest.fixture
def report(counted: Path, tmp_path: Path) -> Path:
    shutil.copytree(counted, tmp_path / "report")
    return tmp_path / "report"


@pytest.fixture
def both(report: Path) -> Iterator[tuple[Server, Server]]:
    servers = Server(report, "--reviewer", "Ann"), Server(report, "--second", "--reviewer", "Bob")
    yield servers
    for server in servers:
        server.kill()


def test_both_at_once_and_neither_sees_the_other(
    both: tuple[Server, Server], report: Path, command: Command
) -> None:
    first, second = both
    first.call("basophil", (0, 0), (0, 1))
    first.call("monocyte", (0, 2))
    second.call("monocyte", (0, 2), who="Bob")
    second.call("eosinophil", (0, 1), who="Bob")
    cells = {tuple(row[:2]): row for row in second.ask("/api/report")["cells"]}
    assert cells[0, 0][2] != "basophil" and cells[0, 0][10] == "" and cells[0, 1][2] == "eosinophil"
    assert {tuple(row[:2]): row for row in first.ask("/api/report")["cells"]}[0, 1][2] == "basophil"
    # The second one neither sees the comparison nor what was signed, and signs nothing.
    for path, body in (("/readers", None), ("/api/readers", {})):
        assert second.request(path, body)[0] == 404
    assert second.request("/api/sign", {"who": "Bob", "since": 2})[0] == 409
    assert second.ask("/api/log") == [] and second.request("/reviewed/report.html")[0] == 404
    found = first.ask("/api/readers", {})
    assert found["cells"] == 2 and found["same"] == 1 and found["only_first"] == 1
    (differs,) = found["differing"]
    assert (differs["first"], differs["second"]) == ("basophil", "eosinophil")
    assert (differs["by_first"], differs["by_second"]) == ("Ann", "Bob")
    assert first.request("/readers")[0] == 200
    # A third, and a count into it, are refused while one of them reads.
    assert command("review", report, "--second").returncode == 2
    first.kill()
    assert command("count", report.parent, "--out", report).returncode == 2
    second.kill()  # as by kill -9
    assert {name.name for name in report.glob("review*.sqlite")} == {
        "review.sqlite", "review-second.sqlite",
    }  # fmt: skip
    again = Server(report, "--second")
    try:
        assert again.ask("/api/changes")["last"] == 2
    finally:
        again.kill()
    done = command("review", report, "--agreement")
    assert done.returncode == 0 and "2 cells read by both: 1 called the same" in done.stdout
    assert "basophil / eosinophil" in done.stdout


def test_a_second_reading_that_cannot_be_read(report: Path, command: Command) -> None:
    assert command("review", report, "--agreement").returncode == 2  # nobody has read
    with sqlite3.connect(report / SECOND_DATABASE) as database:
        database.execute("CREATE TABLE mine (text)")
    before = (report / SECOND_DATABASE).read_bytes()
    for options in (("--agreement",), ("--second",)):
        done = command("review", report, *options)
        assert done.returncode == 2 and "database of something else" in done.stderr
        assert done.stderr.count("\n") == 1
    assert (report / SECOND_DATABASE).read_bytes() == before
    server = Server(report)
    try:
        status, _, data = server.request("/api/readers", {})
        assert status == 409 and "something else" in json.loads(data)["error"]
    finally:
        server.kill()

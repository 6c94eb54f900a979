"""The journal: however a run ends, what it had written is there and the run can be resumed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from wbcdet.records import FieldResult
from wbcdet.report.input_fingerprint import InputFingerprints
from wbcdet.report.journal import FORMAT, Journal, JournalError
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.utils.lock import LockedError, locked

JPEG = b"\xff\xd8 picture"


def write(folder: Path, names: list[str]) -> None:
    journal = Journal(folder)
    if journal.header is None:
        journal.start({"wbcdet": "1"})
        journal.note("fields", names)
    for number, name in enumerate(names):
        journal.append({"file": name, "n": number}, [JPEG + bytes([number]), JPEG * 2])
    journal.close()


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    names = ["a.jpg", "мазок\n.jpg", "b.jpg"]
    write(tmp_path / "new" / "j", names)
    journal = Journal(tmp_path / "new" / "j")
    assert journal.header == {"journal": FORMAT, "wbcdet": "1"}
    assert (
        list(journal) == names and journal.lists == {"fields": tuple(names)} and len(journal) == 3
    )
    for number, name in enumerate(names):
        record = journal.read(name)
        assert record["n"] == number and journal.has_pictures(record)
        assert journal.pictures(record) == [JPEG + bytes([number]), JPEG * 2]
    with pytest.raises(KeyError):
        journal.read("c.jpg")
    journal.append({"file": "a.jpg", "n": 9})  # a later line stands in for an earlier one
    journal.close()
    again = Journal(tmp_path / "new" / "j")
    assert again.read("a.jpg")["n"] == 9 and list(again) == names
    again.start({"wbcdet": "2"})
    assert len(again) == 0 and again.lists == {}
    again.close()


def test_a_line_torn_at_any_byte_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b", "c"])
    path = tmp_path / "fields.jsonl"
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    for end in (0, 1, 20, *range(last, len(data))):
        path.write_bytes(data[:end])
        journal = Journal(tmp_path)
        kept = [] if end < 30 else ["a", "b"]
        assert list(journal) == kept and (journal.header is None) == (end < 30)
        journal.close()
    write(tmp_path, ["c"])
    journal = Journal(tmp_path)
    assert list(journal) == ["a", "b", "c"] and journal.has_pictures(journal.read("c"))
    journal.close()


def test_a_damaged_line_costs_its_field_only(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b", "c"])
    path = tmp_path / "fields.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b"\0" * (len(lines[3]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    journal = Journal(tmp_path)
    assert list(journal) == ["a", "c"] and journal.read("c")["n"] == 2
    journal.close()


def test_lost_pictures_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"])
    path = tmp_path / "pictures.bin"
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    journal = Journal(tmp_path)
    assert journal.has_pictures(journal.read("a")) and not journal.has_pictures(journal.read("b"))
    journal.close()
    path.write_bytes(b"\0" * len(data))
    journal = Journal(tmp_path)
    assert not journal.has_pictures(journal.read("a"))
    journal.close()


@pytest.mark.parametrize(
    "text", ['{"format": "x"}\n', "text\n", '{"journal": "wbcdet-journal/9"}\n']
)
def test_what_is_no_journal_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "fields.jsonl").write_text(text)
    with pytest.raises(JournalError, match=r"no journal of wbcdet|has format"):
        Journal(tmp_path)
    assert (tmp_path / "fields.jsonl").read_text() == text


def test_an_entry_comes_back() -> None:
    entry = JournalEntry(
        FieldResult("a.jpg", 4, 3), {"sha256": "0"}, {"problems": ["blurred"]}, "x", True
    )
    assert JournalEntry.from_record({**entry.to_record(), "pictures": []}) == entry
    assert (
        entry.problems == ("blurred",) and JournalEntry(FieldResult.failed("b", "x")).problems == ()
    )


def test_stamps(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    stamp = InputFingerprints().take(path)
    assert stamp is not None and stamp["size"] == 3
    assert InputFingerprints().same(path, stamp)
    os.utime(path, (1, 1))  # copied or restored: other times, same bytes
    assert InputFingerprints().same(path, stamp)
    path.write_bytes(b"two")
    assert not InputFingerprints().same(path, stamp)
    path.write_bytes(b"three")
    assert not InputFingerprints().same(path, stamp)
    path.unlink()
    assert not InputFingerprints().same(path, stamp) and InputFingerprints().take(path) is None
    assert InputFingerprints().take(tmp_path) is None and not InputFingerprints().same(path, None)


def hold(folder: Path, held: Event) -> None:
    with locked(folder):
        held.set()
        signal.pause() if hasattr(signal, "pause") else held.wait(60)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path / "j", held))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(LockedError), locked(tmp_path / "j"):
            pass
    finally:
        other.kill()
        other.join()
    with locked(tmp_path / "j"):  # a killed process holds nothing
        pass

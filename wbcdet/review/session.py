"""One review of one report: its parts, opened together and closed together."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from wbcdet.differential.differential import Differential
from wbcdet.io.discover import Root
from wbcdet.report.header import roots_of
from wbcdet.report.job import title_of
from wbcdet.report.journal import Journal
from wbcdet.report.layout import JOURNAL
from wbcdet.results.document import roots_in
from wbcdet.review import counts
from wbcdet.review.cell_state import Key
from wbcdet.review.decision_store import Box, Store
from wbcdet.review.images import PictureError, Pictures
from wbcdet.review.machine_report import load_report
from wbcdet.review.sign_off import sign
from wbcdet.review.signature_log import SignatureLog, SigningError
from wbcdet.review.state import ReviewState
from wbcdet.utils.lock import locked

#: Folder of the regenerated report, in the report folder.
REVIEWED = "reviewed"


class Session:
    """A review of a report.

    Args:
        folder: the report folder.
        pictures: where the fields are; None takes what the journal or an earlier review says.
        who: name that the page begins with.
        named: the person has given that name for this review, so it goes before one that the
            browser remembers.

    Attributes:
        mark: tells this report, in this place, from all others.
        given: tells this review from all others, where ``named``; else None.
        notes: what the person should know from the start, a line each.

    Raises:
        ResultsError: there is no report.
        StoreError: its database cannot be used.
        JournalError: its journal cannot be read.
        LockedError: another review or a count has it.
        OSError: nothing can be written there.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Path | None = None,
        who: str = "",
        *,
        named: bool = False,
    ) -> None:
        self.folder, self.who = folder, who
        self.given = secrets.token_hex(8) if named else None
        self.title = folder.resolve().name
        self.reviewed_folder = folder / REVIEWED
        self.notes: list[str] = []
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._before: dict[str | None, Differential] = {}
        self._closing = ExitStack()
        try:
            self._open(folder, pictures)
        except BaseException:
            self.close()
            raise

    def _open(self, folder: Path, pictures: Path | None) -> None:
        report = load_report(folder)
        self._closing.enter_context(locked(folder))
        journal = None
        if (folder / JOURNAL / "fields.jsonl").is_file():
            journal = Journal(folder / JOURNAL)
            self._closing.callback(journal.close)
        self.journal = journal
        self.store = Store(folder)
        self._closing.callback(self.store.close)
        if pictures is not None:
            self.store.set_note("pictures", str(pictures.resolve()))
        self.board = ReviewState(report, self.store)
        mark = f"{report.sha256} {folder.resolve()}"
        self.mark = hashlib.sha256(mark.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self.pictures = Pictures(
            self.board, self.store, journal, self._pictures_folder(), self._roots()
        )
        self._log = SignatureLog(folder)
        self.board.listen(self._tell)
        if self.board.strays:
            self.notes.append(
                f"{self.board.strays} earlier decisions are about cells that this report does not "
                "have any more; they are kept, and not applied."
            )
        if "stream" in report.info:
            self.notes.append(
                "Frames of a stream overlap: a cell without a box is mostly counted in another "
                "frame. Mark it as missed only if none has it."
            )
        self._check_pictures()

    def _pictures_folder(self) -> Path | None:
        """Where a person has said that the fields are."""
        known = self.store.note("pictures")
        return None if known is None else Path(known)

    def _roots(self) -> list[Root]:
        """Where the fields were when they were analysed."""
        if self.journal is None or self.journal.header is None:
            return [Root(**one) for one in roots_in(self.board.report.info)]
        roots = roots_of(self.journal)
        # A stream keeps its pictures in the report itself, which may have been moved.
        return [
            replace(root, path=str(inside))
            if (inside := self.folder / Path(root.path).name).is_dir()
            and not Path(root.path).exists()
            else root
            for root in roots
        ]

    def _check_pictures(self) -> None:
        read = [one.number for one in self.board.report.fields if one.result.failure is None]
        if not read:
            return
        try:
            self.pictures.field(read[0])
        except PictureError as error:
            self.notes.append(f"Fields cannot be shown: {error}.")
            if self.journal is None:
                self.notes.append("Thumbnails are cut from the fields, so there are none either.")

    def differential(self, group: str | None) -> dict[str, Any]:
        """Both differentials of a slide, or of all together."""
        if group is not None and group not in self.board.report.groups:
            group = None
        if group not in self._before:
            self._before[group] = counts.machine(self.board, group)
        return counts.side_by_side(self.board, group, self._before[group])

    def draw(self, who: str, number: int, box: Box, label: str) -> Key:
        """Add a cell that the machine has missed; as ``ReviewState.draw``."""
        with self.board.turn:
            try:
                thumbnail = self.pictures.cut_drawn(number, self.board.cut(number, box))
            except PictureError:
                thumbnail = None
            return self.board.draw(who, number, box, label, thumbnail)

    def sign(self, name: str, note: str, seen: int) -> dict[str, Any]:
        """Sign the review as it stands; as ``signing.sign``.

        Args:
            name, note: who signs, and a remark.
            seen: the last decision that they had seen.
        """
        with self.board.turn:
            if seen != self.board.last:
                raise SigningError("a cell was changed meanwhile; look again, then sign")
            return sign(self, self._log, name, note)

    def signed(self) -> dict[str, Any] | None:
        """The last signature, and whether it is of the report and the decisions as they are."""
        last = self._log.last
        if last is None:
            return None
        entry = {name: last[name] for name in ("number", "name", "time", "decisions")}
        same_report = last["results_sha256"] == self.board.report.sha256
        return {**entry, "current": same_report and last["decisions"] == self.board.last}

    def log(self) -> list[dict[str, Any]]:
        """All signatures."""
        return self._log.entries

    def counted(self) -> str:
        """What was analysed, as the heading of the reviewed report: the folder of the count."""
        if (
            self.journal is None
            or self.journal.header is None
            or "stream" in self.board.report.info
        ):
            return self.title
        return title_of(roots_of(self.journal)) or self.title

    @contextmanager
    def waiting(self) -> Iterator[asyncio.Event]:
        """An event, for the running loop, that is set after every decision."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        self._waiting.add(mine)
        try:
            yield mine[1]
        finally:
            self._waiting.discard(mine)

    def _tell(self) -> None:
        for loop, event in list(self._waiting):
            loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Close its files."""
        self._closing.close()

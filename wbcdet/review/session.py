"""One review of one report: its parts, opened together and closed together."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wbcdet.differential.differential import ALL, Differential
from wbcdet.inference.domain_shift import translated_reasons
from wbcdet.io.source import Root
from wbcdet.report.header import check_shape, roots_of
from wbcdet.report.job import title_of
from wbcdet.report.journal import LINES, PICTURES, Journal
from wbcdet.report.layout import JOURNAL
from wbcdet.results.document import roots_in
from wbcdet.review import counts
from wbcdet.review.cell_state import Key
from wbcdet.review.decision_store import DATABASE, SECOND_DATABASE, Store
from wbcdet.review.images import PictureError, Pictures
from wbcdet.review.machine_report import MachineReport, load_report
from wbcdet.review.reader_agreement import ReaderAgreement, readers_of
from wbcdet.review.remembered import remember_pictures, remembered_pictures
from wbcdet.review.sign_off import REVIEWED, settle, sign, signed_folder, valid
from wbcdet.review.signature_log import SignatureEntry, SignatureLog, SigningError, signs
from wbcdet.review.state import ReviewState
from wbcdet.utils.boxes import Box
from wbcdet.utils.lock import LOCK, SECOND_LOCK, locked
from wbcdet.utils.safe_files import own_folder
from wbcdet.utils.text import one_line
from wbcdet.utils.words import _, plural_of

_SECOND_SIGNS = "the second reader does not sign; the first one does, after both have read"
#: Folder of the fields that a stream keeps, in its report.
VIEWS = "views"


class Session:
    """A review of a report.

    Args:
        folder: the report folder.
        pictures: where the fields are; None takes what the journal or an earlier review says.
        who: name that the page begins with.
        named: the person has given that name for this review, so it goes before one that the
            browser remembers.
        second: this is the second reader, who has decisions of their own, sees none of the first
            reader's, and signs nothing.

    Attributes:
        mark: tells this report, in this place, from all others.
        given: tells this review from all others, where ``named``; else None.
        notes: what the person should know from the start, a line each.
        useful: cells that the page shows first, as their review teaches most; empty for all alike.

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
        second: bool = False,
    ) -> None:
        self.folder, self.who, self.second = folder, who, second
        self.given = secrets.token_hex(8) if named else None
        self.title = folder.resolve().name
        self.notes: list[str] = []
        self.useful: list[Key] = []
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
        own_folder(folder, JOURNAL)
        own_folder(folder, REVIEWED)
        self._closing.enter_context(locked(folder, SECOND_LOCK if self.second else LOCK))
        journal = None
        if all((folder / JOURNAL / name).exists() for name in (LINES, PICTURES)):
            journal = Journal(folder / JOURNAL, read_only=True)
            self._closing.callback(journal.close)
            if journal.header is not None:
                check_shape(journal.header)
            if journal.damaged:
                self.notes.append(
                    plural_of(
                        "{n} line of the journal is damaged ({lines}); the thumbnails of this "
                        "field are cut from the field. Count again to mend it.",
                        "{n} lines of the journal are damaged ({lines}); the thumbnails of these "
                        "fields are cut from the fields. Count again to mend it.",
                        len(journal.damaged),
                        lines="; ".join(journal.damaged[:3]),
                    )
                )
        self.journal = journal
        self.store = Store(folder, SECOND_DATABASE if self.second else DATABASE)
        self._closing.callback(self.store.close)
        self.state = ReviewState(report, self.store)
        here = f"{report.sha256} {folder.resolve()}"
        self.mark = _mark(f"{here} second" if self.second else here)
        place = self._place_of_pictures(_mark(here), pictures)
        self.pictures = Pictures(self.state, self.store, journal, place, self._roots())
        # The second reader neither signs nor sees what was signed.
        self._log = None if self.second else SignatureLog(folder)
        if self._log is not None:
            settle(folder, self._log)
        self.state.listen(self._tell)
        if self.state.strays:
            self.notes.append(
                plural_of(
                    "{n} earlier decision is about a cell that this report does not have any "
                    "more; it is kept, and not applied.",
                    "{n} earlier decisions are about cells that this report does not have any "
                    "more; they are kept, and not applied.",
                    self.state.strays,
                )
            )
        if twice := counts.counted_twice(self.state):
            both = [self.state.cells[key].number for key in twice[0]]
            field = report.fields[twice[0][0][0]].result.file
            self.notes.append(
                plural_of(
                    "{n} cell has two boxes, one of them drawn or moved by a person, and would "
                    "count twice: delete one ({field}, boxes {first} and {second}).",
                    "{n} cells have two boxes, one of them drawn or moved by a person, and would "
                    "count twice: delete one ({field}, boxes {first} and {second}, …).",
                    len(twice),
                    field=field,
                    first=both[0],
                    second=both[1],
                )
            )
        if "stream" in report.info:
            self.notes.append(
                _(
                    "Frames of a stream overlap: a cell without a box is mostly counted in another "
                    "frame. Mark it as missed only if none has it."
                )
            )
        elif any(field.duplicate_of for field in report.fields):
            self.notes.append(
                _(
                    "Fields of this report overlap: a cell without a box may be counted in another "
                    "field. Mark it as missed only if none has it, and in one of them."
                )
            )
        self.notes += _slide_notes(report)
        self._check_pictures()

    def _roots(self) -> list[Root]:
        """Return the roots of the fields when they were analysed, as the report says."""
        header = (self.journal.header if self.journal else None) or {}
        # A stream keeps its pictures in the report itself, which may have been moved.
        if header.get("stream") and (self.folder / VIEWS).is_dir():
            return [Root("", str(own_folder(self.folder, VIEWS)))]
        if self.journal is None or not header:
            return [Root(**root) for root in roots_in(self.state.report.info)]
        return [self._moved_with_report(root) for root in roots_of(self.journal)]

    def _moved_with_report(self, root: Root) -> Root:
        """Return a folder of fields; where it has gone, the one of its name that lies in the
        report."""
        name = Path(root.path).name
        if name in ("", "..") or Path(root.path).exists() or not (self.folder / name).is_dir():
            return root
        return Root(root.name, str(own_folder(self.folder, name)))

    def _place_of_pictures(self, mark: str, named: Path | None) -> Path | None:
        """Return the folder of the pictures that the reader names, or has named before."""
        if named is None:
            return remembered_pictures(mark)
        try:
            remember_pictures(mark, named)
        except OSError as error:  # no home folder, or one that cannot be written
            self.notes.append(
                _(
                    "Where the pictures are cannot be remembered ({why}): give --pictures again "
                    "with the next review.",
                    why=error.strerror or error,
                )
            )
        return named.resolve()

    def _check_pictures(self) -> None:
        read = [field.number for field in self.state.report.fields if field.result.failure is None]
        if not read:
            return
        try:
            self.pictures.field(read[0])
        except PictureError as error:
            self.notes.append(_("Fields cannot be shown: {why}.", why=error))
            if self.journal is None:
                self.notes.append(
                    _("Thumbnails are cut from the fields, so these are missing too.")
                )

    def differential(self, group: str | None) -> dict[str, object]:
        """Return both differentials of a slide, or of all together."""
        if group is not None and group not in self.state.report.groups:
            group = None
        if group not in self._before:
            self._before[group] = counts.machine(self.state, group)
        return counts.side_by_side(self.state, group, self._before[group])

    def draw(self, who: str, number: int, box: Box, label: str) -> Key:
        """Add a cell that the machine has missed; as ``ReviewState.draw``."""
        with self.state.turn:
            try:
                thumbnail = self.pictures.cut_drawn(number, self.state.cut(number, box))
            except PictureError:
                thumbnail = None
            return self.state.draw(who, number, box, label, thumbnail)

    def sign(self, name: str, note: str, seen: int, slide: str | None = None) -> SignatureEntry:
        """Sign the review as it stands; as ``sign_off.sign``.

        Args:
            name, note: who signs, and a remark.
            seen: the last decision that they had seen.
            slide: the one that is signed; None signs all of them.
        """
        if self._log is None:
            raise SigningError(_SECOND_SIGNS)
        with self.state.turn:
            if seen != self.state.last:
                raise SigningError("a cell was changed meanwhile; look again, then sign")
            return sign(self, self._log, name, note, slide)

    def signed(self, slide: str | None = None) -> dict[str, object] | None:
        """Return the last signature of a slide, or of any, and whether it is of the report and the
        decisions as they are; for all slides, whether each has one that is."""
        if self._log is None:
            return None
        slides = self.state.report.groups if slide is None else [slide]
        entries = [
            entry for entry in self._log.entries if any(signs(entry, group) for group in slides)
        ]
        if not entries:
            return None
        last = entries[-1]
        return {
            **{name: last[name] for name in ("number", "name", "time", "decisions")},
            "slide": last.get("slide"),
            "current": all(valid(self, self._log, group) for group in slides),
        }

    def signed_files(self) -> set[str]:
        """Files of the report that was signed last, by their path in its folder."""
        return set(self._log.last["files"]) if self._log and self._log.last else set()

    @property
    def reviewed_folder(self) -> Path:
        """Where the report stands that was signed last."""
        assert self._log is not None
        return signed_folder(self.folder, self._log)

    def log(self) -> list[SignatureEntry]:
        """All signatures."""
        return self._log.entries if self._log else []

    def readers(self) -> ReaderAgreement:
        """Compute how far both readers agree.

        Raises:
            StoreError: the second reader's decisions cannot be read.
        """
        return readers_of(self.state.report, self.store, self.folder)

    def counted(self) -> str:
        """Return what was analysed, as the heading of the reviewed report: the folder of the
        count."""
        if (
            self.journal is None
            or self.journal.header is None
            or "stream" in self.state.report.info
        ):
            return self.title
        return title_of(roots_of(self.journal)) or self.title

    @contextmanager
    def waiting(self) -> Iterator[asyncio.Event]:
        """Yield an event, for the running loop, that is set after every decision."""
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


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _slide_notes(report: MachineReport) -> Iterator[str]:
    """Yield what the report says of its slides that a person should know before they begin."""
    empty = sum(len(slide["without_cell"]) for slide in report.slides)
    if empty:
        fields = sum(slide["fields"] for slide in report.slides)
        yield plural_of(
            "{n} of {fields} holds no cell that was found: look whether cells were missed there.",
            "{n} of {fields} hold no cell that was found: look whether cells were missed there.",
            empty,
            fields=plural_of("{n} field", "{n} fields", fields),
        )
    for slide in report.slides:
        if said := ", ".join(translated_reasons(slide["ground"])):
            name = "" if slide["group"] == ALL else f"{one_line(slide['group'])}: "
            yield name + _(
                "unlike what the models were trained on: {reasons}. Look at every cell.",
                reasons=said,
            )

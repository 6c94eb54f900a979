"""Find the pictures behind files, folders, patterns and addresses; count what was passed over."""

from __future__ import annotations

import glob
import os
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from wbcdet.io.errors import FieldError
from wbcdet.io.formats import (
    PICTURE_SUFFIXES,
    SUFFIXES,
    TIFF,
    PictureKind,
    is_tiff_file,
    picture_kind,
)
from wbcdet.io.ownership import DRAWN, MARKER, is_old_report, is_signed, written_by
from wbcdet.io.passed_over import PassedOver
from wbcdet.io.source import (
    Root,
    RootNames,
    Source,
    as_address,
    as_source,
    is_url,
    natural_key,
    printable,
    root_of,
)
from wbcdet.utils.files import PART_PREFIX
from wbcdet.utils.user_folder import expanded

#: Endings of documents whose first bytes are those of some microscopes' files.
_DOCUMENTS = frozenset({".db", ".doc", ".dot", ".msg", ".msi", ".pps", ".ppt", ".xls", ".xlt"})
_ZIPS = frozenset({".zip", ".cbz"})
#: What systems and archives keep in a folder for themselves.
_OF_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})


@dataclass(slots=True)
class SearchResult:
    """Result of a search.

    Attributes:
        fields: every input, in the order given and in natural order inside folders.
        roots: where they came from (see :func:`locate`).
        passed: what was not taken.
    """

    fields: list[Source] = field(default_factory=list)
    roots: list[Root] = field(default_factory=list)
    passed: PassedOver = field(default_factory=PassedOver)

    def problem(self) -> str | None:
        """Say why there is nothing to analyse, in one line; None where there is
        something."""
        problems = [item for item in self.fields if item.problem is not None]
        if len(problems) < len(self.fields):
            return None
        if not problems:
            own = self.passed.outputs + self.passed.drawings
            if own:
                return f"{own[0]}: was written by wbcdet; name the original pictures"
            return "nothing to analyse"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        passed = self.passed.line()
        also = f"; {passed}" if passed else ""
        return f"{problems[0].name}: {problems[0].problem}{more}{also}"


def find_fields(
    sources: Iterable[str | Path], *, exclude: Iterable[str | Path] = ()
) -> list[Source]:
    """Find all inputs behind files, folders, patterns and URLs; see :func:`search`."""
    return search(sources, exclude=exclude).fields


def search(
    sources: Iterable[str | Path],
    *,
    exclude: Iterable[str | Path] = (),
    is_slide_folder: Callable[[Path], bool] | None = None,
) -> SearchResult:
    """Find all inputs behind files, folders, patterns and URLs, in natural order, each file once.

    Folders are searched through all their subfolders; a loop of links is walked once. Every file
    in them that is a picture, by its ending or its first bytes, becomes a ``Source``, with a
    ``problem`` where its format is not read; what is passed over is counted. What wbcdet wrote is
    passed over, wherever it lies. ``~`` and patterns that the shell left alone are expanded. What
    does not exist becomes a ``Source`` with a ``problem``, so that every input gives a record.

    Args:
        sources: what the user named.
        exclude: folders that are never searched and not counted, such as that of the results.
        is_slide_folder: says that a folder is a slide: it is one input, and not searched.
    """
    searching = _Search({_real(Path(folder)) for folder in exclude}, is_slide_folder)
    for source in sources:
        searching.add(str(source))
    result = searching.found
    result.fields = _with_unique_names(result.fields)
    result.roots = list(dict.fromkeys(result.roots))
    return result


class _Search:
    """A search: what it has found so far, and what it has passed over."""

    def __init__(self, skip: set[str], is_slide_folder: Callable[[Path], bool] | None) -> None:
        self.found = SearchResult()
        self._skip = skip
        self._is_slide_folder = is_slide_folder
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._owners: dict[str, tuple[Path, str] | None] = {}
        self._names = RootNames()

    def add(self, text: str) -> None:
        """Search what the user named."""
        if is_url(text):
            item, server = as_address(text)
            self._take_below(item, server)
            return
        if not text:  # as a variable of the shell that was not set
            self.found.fields.append(Source(text, Path(), "an empty name was given; check it"))
            return
        path = expanded(text)
        try:
            exists, is_folder = os.path.lexists(path), path.is_dir()
        except (OSError, ValueError):
            exists = is_folder = False
        if is_folder:
            self._add_folder(path)
        elif exists or not glob.has_magic(text):
            missing = "file or folder does not exist; check its name"
            self._add_file(path, None if exists else missing)
        else:
            self._add_pattern(path, text)

    def _add_pattern(self, path: Path, text: str) -> None:
        passed = self.found.passed
        before = passed.repeated, passed.folders_again
        matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)  # noqa: PTH207 - absolute patterns too
        for match in map(Path, matches):
            if match.is_dir():
                # `*` also matches folders of other things: only one with pictures counts.
                self._add_folder(match, by_pattern=True)
            elif match.suffix and match.suffix == path.suffix:
                self._add_file(match)
            else:
                self._consider(match, match.name, self._names.unique(root_of(match.parent)))
        # A pattern meets a folder and what is in it.
        passed.repeated, passed.folders_again = before
        if not matches:
            problem = "no file matches this pattern; check it"
            self.found.fields.append(Source(printable(text), path, problem))

    def _add_file(self, path: Path, problem: str | None = None) -> None:
        owner = self._owner(path.parent)
        if owner is not None and _is_drawn(path, owner[0]):
            self.found.passed.drawings.append(str(path))
            return
        if problem is None and is_signed(path):
            self.found.passed.drawings.append(str(path))
            return
        item = replace(as_source(str(path)), problem=problem)
        self._take_below(item, None if problem else root_of(path.parent))

    def _add_folder(self, path: Path, *, by_pattern: bool = False) -> None:
        if _real(path) in self._skip:
            self.found.passed.outputs.append(str(path))
            return
        owner = self._owner(path)
        if owner is not None:
            root, command = owner
            # An export that is named itself is searched: it holds copies of a user's pictures.
            whole = _real(path) == _real(root) and command != "export"
            if whole or _is_drawn(path, root):
                self.found.passed.outputs.append(str(path))
                return
        if self._is_slide_folder is not None and self._is_slide_folder(path):
            self._take_below(as_source(str(path)), root_of(path.parent))
            return
        before, passed = self._count_met(), len(self.found.passed.outputs)
        place = self._names.unique(root_of(path))
        self._walk(path, "", place)
        if self._count_met() > before or by_pattern:
            return
        if len(self.found.passed.outputs) == passed and not self.found.passed.drawings:
            problem = "folder holds no JPEG, PNG, TIFF or other picture"
            self.found.fields.append(Source(place.name or str(path), path, problem, None, ""))

    def _count_met(self) -> int:
        """Count the pictures, and folders with pictures, met so far."""
        passed = self.found.passed
        return len(self.found.fields) + passed.repeated + passed.folders_again

    def _walk(self, folder: Path, beneath: str, root: Root) -> None:
        real = _real(folder)
        if real in self._skip:
            return
        if real in self._folders:  # named twice, or a link to where we were
            self.found.passed.folders_again += 1
            return
        self._folders.add(real)
        try:
            entries = sorted(folder.iterdir(), key=lambda entry: natural_key(entry.name))
            kinds = [entry.is_dir() for entry in entries]
        except OSError as error:
            problem = f"folder cannot be read ({error.strerror}); change its access rights"
            name = _joined(root.name, beneath) or str(folder)
            self.found.fields.append(Source(name, folder, problem, None, beneath))
            return
        passed = self.found.passed
        named = {entry.name.casefold() for entry in entries}
        old = bool({"results.json", "journal"} & named) and is_old_report(folder)
        for entry, is_folder in zip(entries, kinds, strict=True):
            name = _joined(beneath, printable(entry.name))
            if entry.name.startswith("."):
                passed.hidden += not entry.name.startswith(PART_PREFIX)
            elif not is_folder:
                self._consider(entry, name, root)
            elif self._is_output(entry, old):
                if _real(entry) not in self._skip:
                    passed.outputs.append(str(entry))
            elif self._is_slide_folder is not None and self._is_slide_folder(entry):
                self._take(Source(_joined(root.name, name), entry, None, None, name), root)
            else:
                self._walk(entry, name, root)

    def _is_output(self, folder: Path, in_old_report: bool) -> bool:
        if in_old_report and folder.name.casefold() in DRAWN:
            return True
        if written_by(folder) is not None:
            return True
        # A link may lead into the middle of a report.
        if not folder.is_symlink():
            return False
        owner = self._owner(folder)
        return owner is not None and _is_drawn(Path(_real(folder)), owner[0])

    def _consider(self, path: Path, name: str, root: Root) -> None:
        """Take a file of a folder if it is a picture, else count it."""
        passed = self.found.passed
        suffix = path.suffix.lower()
        problem = None
        if path.name == MARKER or path.name.casefold() in _OF_SYSTEMS:
            return
        if suffix not in SUFFIXES:
            kind = picture_kind(path)
            if suffix in _ZIPS and any(name.endswith(MARKER) for name in _names_in_zip(path)):
                passed.outputs.append(str(path))
                return
            if kind is None or not _is_wanted(path, suffix, kind):
                if kind is not None and "video" in kind.name:
                    passed.films += 1
                else:
                    passed.others[suffix] += 1
                return
            problem = kind.problem
        if is_signed(path):
            passed.drawings.append(str(path))
            return
        self._take(Source(_joined(root.name, name), path, problem, None, name), root)

    def _take_below(self, item: Source, root: Root | None) -> None:
        """Take an input that is named by itself, with the folder or server that it is in."""
        if root is not None:
            unique = self._names.unique(root)
            rest = item.name[len(root.name) :].lstrip("/")
            item, root = replace(item, name=_joined(unique.name, rest)), unique
        self._take(item, root)

    def _take(self, item: Source, root: Root | None) -> None:
        key = item.path if isinstance(item.path, str) else _real(item.path)
        if key in self._files:
            self.found.passed.repeated += 1
            return
        self._files.add(key)
        self.found.fields += pictures_of(item)
        if root is not None:
            self.found.roots.append(root)

    def _owner(self, folder: Path) -> tuple[Path, str] | None:
        """Return the output folder that a folder is or lies in, and the command that wrote it."""
        real = _real(folder)
        if real not in self._owners:
            owner = None
            for place in (Path(real), *Path(real).parents):
                command = written_by(place)
                if command is None and _may_be_old(Path(real), place) and is_old_report(place):
                    command = "an older version"
                if command is not None:
                    owner = (place, command)
                    break
            self._owners[real] = owner
        return self._owners[real]


def _may_be_old(folder: Path, place: Path) -> bool:
    """Say whether a report without a marker may lie among a user's pictures: only its folders are
    its own."""
    parts = folder.relative_to(place).parts
    return bool(parts) and parts[0].casefold() in DRAWN


def _is_drawn(path: Path, root: Path) -> bool:
    """Say whether the path lies in a folder of drawings of an output folder."""
    parts = Path(_real(path)).relative_to(_real(root)).parts
    return bool(parts) and parts[0].casefold() in DRAWN


def _is_wanted(path: Path, suffix: str, kind: PictureKind) -> bool:
    """Say whether a file that does not end like one that is read is one of pictures, as far as can
    be told."""
    if kind.codec is not None:
        return True
    if suffix in _ZIPS:
        names = _names_in_zip(path)
        endings = {PurePosixPath(name).suffix.lower() for name in names}
        return not names or not PICTURE_SUFFIXES.isdisjoint(endings)
    if suffix in PICTURE_SUFFIXES:
        inner = Path(path.stem).suffix.lower()  # of `table.csv.gz`
        return kind.is_picture or inner in ("", ".tar", *PICTURE_SUFFIXES)
    return kind.is_picture and suffix not in _DOCUMENTS


def _names_in_zip(path: Path) -> list[str]:
    """Return the names in an archive; none where it cannot be looked into."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return []


def pictures_of(item: Source) -> list[Source]:
    """Return the pictures of a TIFF file that holds several, one by one; any other input as it
    is."""
    path = item.path
    if isinstance(path, str) or item.problem is not None:
        return [item]
    if not is_tiff_file(path) or picture_kind(path) is not TIFF:
        return [item]
    from wbcdet.io.planes import fields_of, pages_left_out

    try:
        count, problem = len(fields_of(path)), pages_left_out(path)
    except FieldError:
        return [item]  # reading it says what is wrong
    if count < 2 and problem is None:
        return [item]
    pictures = [
        replace(item, name=f"{item.name}#{n}", number=n, below=f"{item.below}#{n}")
        for n in range(1, count + 1)
    ]
    if problem is not None:
        more = f"#{count + 1}"
        pictures.append(
            replace(item, name=item.name + more, below=item.below + more, problem=problem)
        )
    return pictures


def _with_unique_names(sources: list[Source]) -> list[Source]:
    """Tell equal names apart by a number: two addresses may differ in what no name has, and so may
    two files whose names are no text."""
    taken: set[str] = set()
    unique = []
    for item in sources:
        name, number = item.name, 1
        while name in taken:
            number += 1
            name = f"{item.name} #{number}"
        taken.add(name)
        unique.append(replace(item, name=name))
    return unique


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _real(path: Path) -> str:
    try:
        return os.path.normcase(os.path.realpath(path))
    except ValueError:  # a name that no file can have
        return str(path)

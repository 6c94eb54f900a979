"""Bring archives into a folder: download or copy, resume, verify, then rename into place."""

from __future__ import annotations

import base64
import errno
import http.client
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from wbcdet.datasets.archives import (
    MIRROR_VARIABLE,
    DataError,
    Source,
    default_folder,
    fault_line,
    faults,
    source,
    sources,
)
from wbcdet.utils.http_request import open_url
from wbcdet.utils.user_folder import expanded

#: Called with the archive's name, bytes so far and bytes in all (None where unknown).
Progress = Callable[[str, int, int | None], None]

TIMEOUT_S = 60.0  # without one byte from the server
ATTEMPTS = 4  # each goes on where the one before was cut
RETRY_WAIT_S = 2.0  # before the second attempt; doubled before each later one
_BLOCK_BYTES = 256 * 1024
#: No archive is a fifth as large, of whatever else its repository may hold one day.
MAX_BYTES = 500_000_000
#: Bytes a second, over all of an answer, below which it is given up after a while.
_MIN_RATE, _PATIENCE_S = 2_000, 300.0

_T = TypeVar("_T")


class _TryAgainError(Exception):
    """The connection failed in a way that a later attempt may not."""


def fetch(
    names: Sequence[str] | None,
    into: Path | None = None,
    mirror: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Have these archives, whole, in a folder: see :func:`fetch_one`.

    Args:
        names: archives to have; None or empty for all.
        into: folder to put them in, by default :func:`default_folder`.
        mirror: folder or http(s) URL that has ``NAME.zip``, by default ``WBCDET_DATA_MIRROR``;
            without one the code host is asked.
        progress: called with name, bytes so far and bytes in all (None where unknown).

    Returns:
        The paths of the archives, in the order of ``names``.

    Raises:
        DataError: one archive cannot be had. Those before it are complete; run again to go on.
    """
    wanted = [source(name) for name in (names or sources())]
    folder = into or default_folder()
    place = mirror or os.environ.get(MIRROR_VARIABLE) or None
    return [fetch_one(item, folder, place, progress) for item in wanted]


def fetch_one(
    wanted: Source, folder: Path, mirror: str | None = None, progress: Progress | None = None
) -> Path:
    """Have one archive, whole, as ``folder/NAME.zip``.

    An archive that is there and whole is left alone. Bytes go into ``NAME.zip.part``, which an
    interrupted run leaves behind and the next one continues; only a verified file gets the final
    name. A mirror folder is copied from, so that the data stay when the mirror is unplugged.

    Raises:
        DataError: the archive cannot be had; the message names the place and a remedy.
    """
    target = folder / f"{wanted.name}.zip"
    part = folder / f"{wanted.name}.zip.part"
    try:
        if target.is_file() and not faults(wanted.name, target):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        if mirror is None or mirror.lower().startswith(("http://", "https://")):
            url = wanted.url if mirror is None else f"{mirror.rstrip('/')}/{wanted.name}.zip"
            place = _shown(url)
            wrong = _fill_from_url(wanted.name, url, part, progress)
        else:
            original = expanded(mirror) / f"{wanted.name}.zip"
            place = str(original)
            wrong = _fill_from_file(wanted.name, original, part, progress)
        if wrong:
            part.unlink()
            raise DataError(
                f"{wanted.name} from {place} is not as listed: {fault_line(wrong)}; "
                "try again, or set WBCDET_DATA_MIRROR to another copy"
            )
        part.replace(target)
    except OSError as error:
        raise DataError(_disk_line(error, folder)) from error
    return target


def _fill_from_url(name: str, url: str, part: Path, progress: Progress | None) -> list[str]:
    resumed = _download(name, url, part, progress)
    wrong = faults(name, part)
    if wrong and resumed:
        # The server may have built the zip again between the two halves.
        part.unlink()
        _download(name, url, part, progress)
        wrong = faults(name, part)
    return wrong


def _fill_from_file(name: str, original: Path, part: Path, progress: Progress | None) -> list[str]:
    if not original.is_file():
        raise DataError(
            f"{original} is missing: put it there, or point WBCDET_DATA_MIRROR elsewhere"
        )
    _copy(name, original, part, progress)
    return faults(name, part)


def _copy(name: str, original: Path, part: Path, progress: Progress | None) -> None:
    total = original.stat().st_size
    done = 0
    with original.open("rb") as reader, part.open("wb") as writer:
        while block := reader.read(_BLOCK_BYTES):
            writer.write(block)
            done += len(block)
            if progress:
                progress(name, done, total)


def _download(name: str, url: str, part: Path, progress: Progress | None) -> bool:
    """Fill the part file; True where it was put together from more than one answer."""
    resumed = part.is_file() and part.stat().st_size > 0
    wait = RETRY_WAIT_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _receive(name, url, part, progress) or resumed
        except _TryAgainError as error:
            if attempt == ATTEMPTS:
                raise DataError(
                    f"{_shown(url)}: {error}; check the connection and the proxy, then run the "
                    "same command again: it goes on where it stopped"
                ) from error
            resumed = True
            time.sleep(wait)
            wait *= 2
    raise AssertionError("unreachable")


def _receive(name: str, url: str, part: Path, progress: Progress | None) -> bool:
    """Make one request; True where it continued an older part."""
    have = part.stat().st_size if part.is_file() else 0
    request = _request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with open_url(request, TIMEOUT_S) as answer:
            continued = have > 0 and answer.status == 206
            done = have if continued else 0
            length = answer.headers.get("Content-Length")
            total = done + int(length) if length and length.isdigit() else None
            if (total or 0) > MAX_BYTES:
                raise _EndlessError
            begun, before = time.monotonic(), done
            writer = _on_disk(lambda: part.open("ab" if continued else "wb"))
            try:
                while block := _next_block(answer):
                    _on_disk(partial(writer.write, block))
                    done += len(block)
                    if done > MAX_BYTES:
                        raise _EndlessError
                    passed = time.monotonic() - begun
                    if passed > _PATIENCE_S and done - before < _MIN_RATE * passed:
                        raise _TryAgainError("the server sends next to nothing")
                    if progress:
                        progress(name, done, total)
            finally:
                _on_disk(writer.close)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            # Nothing lies behind what is here: it is the whole file, or not this file at all.
            if not faults(name, part):
                return True
            part.unlink()
            raise _TryAgainError("the partial download did not fit and was dropped") from error
        if error.code >= 500 or error.code in (408, 429):
            raise _TryAgainError(f"the server answered {error.code} {error.reason}") from error
        raise DataError(
            f"{_shown(url)}: the server answered {error.code} {error.reason}; "
            "check the address, or set WBCDET_DATA_MIRROR to a folder or URL that has the archive"
        ) from error
    except _EndlessError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise DataError(
            f"{_shown(url)}: sends more than {MAX_BYTES / 1e6:.0f} MB, which is not {name}; "
            "set WBCDET_DATA_MIRROR to another copy"
        ) from error
    except ValueError as error:
        raise DataError(f"{_shown(url)} is no address that can be asked: {error}") from error
    except _DiskError as error:
        raise error.cause from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _TryAgainError(f"no complete answer ({reason or type(error).__name__})") from error
    if total is not None and done < total:
        raise _TryAgainError(f"the connection was cut after {done} of {total} bytes")
    return continued


class _EndlessError(Exception):
    """More comes than any archive has."""


class _DiskError(Exception):
    """An OSError of the disk, told apart from one of the network, which is an OSError too."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _next_block(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_BLOCK_BYTES)
    except http.client.IncompleteRead as error:
        return error.partial  # the length is compared afterwards, with these bytes kept


def _on_disk(action: Callable[[], _T]) -> _T:
    try:
        return action()
    except OSError as error:
        raise _DiskError(error) from error


def _request(url: str) -> urllib.request.Request:
    """Return a request for this address; a user name and password in it go into the header."""
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(_shown(url), headers={"User-Agent": "wbcdet"})
    if parts.username is not None:
        pair = f"{parts.username}:{parts.password or ''}"
        token = base64.b64encode(urllib.parse.unquote(pair).encode()).decode()
        # Not to be sent on to whatever host the mirror redirects to.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _disk_line(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(folder).free // 1_000_000
        return (
            f"the disk of {folder} is full ({free} MB left): free about 200 MB or choose another "
            "folder with --into, then run the same command again"
        )
    reason = error.strerror or type(error).__name__
    return f"{error.filename or folder}: {reason}; choose another folder with --into"


def _shown(url: str) -> str:
    """Return the address without user name and password, fit for a message."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

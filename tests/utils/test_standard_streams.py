"""Standard streams that are closed, full or not listened to any more."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import REPOSITORY, one_line

from wbcdet.cli.app import main
from wbcdet.utils import standard_streams

FULL = Path("/dev/full")
linux = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which only Linux has")


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("stdout", "stderr"):  # put back afterwards
        monkeypatch.setattr(sys, name, getattr(sys, name))
    return monkeypatch


@linux
@pytest.mark.parametrize("asked", ["--version", "--help"])
def test_a_full_standard_output_is_said_in_one_line(
    streams: pytest.MonkeyPatch, asked: str
) -> None:
    said = io.StringIO()
    with FULL.open("w") as full:
        streams.setattr(sys, "stdout", full)
        streams.setattr(sys, "stderr", said)
        streams.setattr(sys, "argv", ["wbcdet", asked])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert "standard output cannot be written (No space left" in one_line(said.getvalue())
        sys.stdout.flush()  # and once only: Python does this at the end


@linux
def test_standard_errors_that_are_full_end_no_run(streams: pytest.MonkeyPatch) -> None:
    with FULL.open("w") as full:
        streams.setattr(sys, "stderr", full)
        standard_streams.make_robust()
        print("counted before", file=sys.stderr, flush=True)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
def test_a_pipe_that_does_not_wait_gets_everything(streams: pytest.MonkeyPatch) -> None:
    """As of a terminal that another program has set so: a long document is cut off there."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as file:
            got.append(file.read())

    thread = threading.Thread(target=read)
    with os.fdopen(writer, "w") as pipe:
        streams.setattr(sys, "stdout", pipe)
        standard_streams.make_robust()
        thread.start()
        sys.stdout.write("x" * 300_000)
        sys.stdout.flush()
    thread.join(20)
    assert got == [b"x" * 300_000]


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_closed_streams_are_no_files_of_the_program() -> None:
    """Else what a library says of a picture is written into whatever was opened first."""
    code = (
        "from wbcdet.utils.standard_streams import fill_closed, make_robust\n"
        "import os, sys; fill_closed(); make_robust()\n"
        "print(sys.stdout.isatty(), flush=True); print('x', file=sys.stderr)\n"
        f"number = os.open({os.devnull!r}, os.O_RDONLY); sys.exit(number if number > 2 else 1)"
    )
    closed = f'exec "{sys.executable}" -c "{code}" <&- >&- 2>&-'
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(["sh", "-c", closed], env={**os.environ, "PYTHONPATH": path}, timeout=60)
    assert done.returncode == 3

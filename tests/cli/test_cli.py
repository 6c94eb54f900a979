"""The ``wbcdet`` command in a process of its own, as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from conftest import REPOSITORY, grain, heed_ctrl_c, make_corpus, one_line, schema
from PIL import Image

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: What nobody should wait for before a command needs it.
HEAVY = ("torch", "ultralytics", "pandas", "supervision", "cv2", "numpy", "onnxruntime", "PIL")


def test_help_is_there_at_once(command: Run) -> None:
    # Processor time: other work on the machine makes the clock run, not this.
    took = []
    for _ in range(3):
        start = os.times()
        answer = command("--help")
        end = os.times()
        took.append(sum(end[2:4]) - sum(start[2:4]))  # of the children, user and system
    assert answer.returncode == 0
    assert "Research use only. Not a medical device." in answer.stdout
    commands = "predict", "demo", "count", "agree", "export", "evaluate", "data", "train"
    for name in commands:
        assert name in answer.stdout
    assert min(took) < 0.5


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['wbcdet', '--help']\nfrom wbcdet.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert answer.stderr.strip() == "[]"


def test_version_and_usage_errors(command: Run, tmp_path: Path) -> None:
    assert command("--version").stdout.startswith("wbcdet ")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "x.jpg").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    cases = {
        ("predict", "missing.jpg"): "does not exist",
        ("predict", "nothing"): "holds no JPEG",
        ("predict", "none/*.jpg"): "no file matches",
        ("predict", "x.jpg", "--confidence", "1.5"): "confidence must lie between 0 and 1",
        ("predict", "x.jpg", "--min-score", "-1"): "--min-score must lie between 0 and 1",
        ("predict", "x.jpg", "--device", "gpu"): "device must be one of",
        ("predict", "x.jpg", "--out", "file"): "cannot write to file",
    }
    for arguments, expected in cases.items():
        answer = command(*arguments)
        assert answer.returncode == 2, arguments
        assert expected in one_line(answer.stderr)
        assert answer.stdout == ""
    for arguments in (("predict",), ("unknown",), ("predict", "x.jpg", "--confidence", "high")):
        answer = command(*arguments)
        assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert not (tmp_path / "wbcdet-out").exists()


def test_a_folder_with_bad_files(command: Run, tmp_path: Path) -> None:
    good, bad = ([f"day 1/{name}" for name in names] for names in make_corpus(tmp_path / "day 1"))
    answer = command("predict", "day 1", "missing.jpg", "--out", "out")
    assert answer.returncode == 1, answer.stderr
    assert answer.stderr == ""  # no progress bar, no library's chatter
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    fields = {entry["file"]: entry for entry in document["fields"]}
    assert sorted(fields) == sorted([*good, *bad, "missing.jpg"])
    for name, entry in fields.items():
        assert (entry["failure"] is None) == (name in good)
    pictures = [path for path in (tmp_path / "out" / "annotated").rglob("*") if path.is_file()]
    assert len(pictures) == len(good)
    for part in (
        "in all",
        "unclassified"[2:],
        "not read: day 1/cut.jpg: file is cut short",
        "Files in out",
    ):
        assert part in answer.stdout
    # Once more, over the folder that now holds the results too: they are no input.
    shutil.move(tmp_path / "out", tmp_path / "day 1" / "out")
    again = command("predict", "day 1", "--out", "day 1/out", "--quiet")
    assert again.returncode == 1 and again.stdout == ""
    repeat = json.loads((tmp_path / "day 1/out/results.json").read_text(encoding="utf-8"))
    assert len(repeat["fields"]) == len(good) + len(bad)


def test_json_in_a_pipe(command: Run, tmp_path: Path) -> None:
    make_corpus(tmp_path / "in")
    (tmp_path / "in" / "text.jpg").unlink()
    answer = command("predict", "in/plain.jpg", "in/мазок.jpg", "--json", "--no-annotate")
    assert answer.returncode == 0 and answer.stderr == ""
    document = json.loads(answer.stdout)
    jsonschema.validate(document, schema())
    assert [entry["file"] for entry in document["fields"]] == ["in/plain.jpg", "in/мазок.jpg"]
    assert not (tmp_path / "wbcdet-out" / "annotated").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes and signals")
def test_a_reader_that_leaves(tmp_path: Path) -> None:
    make_corpus(tmp_path / "in")
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(
        [sys.executable, "-m", "wbcdet", "predict", "in", "--json", "--no-annotate"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None and running.stderr is not None
    running.stdout.close()
    assert "Traceback" not in running.stderr.read()
    assert running.wait(60) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes and signals")
def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture = Image.fromarray(grain(480, 640))
    picture.save(folder / "0.jpg")
    for number in range(1, 2000):
        os.link(folder / "0.jpg", folder / f"{number}.jpg")
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(
        [sys.executable, "-m", "wbcdet", "predict", "in"],
        cwd=tmp_path,
        preexec_fn=heed_ctrl_c,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    annotated = tmp_path / "wbcdet-out" / "annotated"
    deadline = time.monotonic() + 120
    while not (annotated / "3.jpg").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert "what was done is in wbcdet-out" in one_line(errors)
    document = json.loads((tmp_path / "wbcdet-out" / "results.json").read_text())
    jsonschema.validate(document, schema())
    assert 4 <= len(document["fields"]) < 2000
    assert not list((tmp_path / "wbcdet-out").rglob("*.part"))


def test_demo(command: Run, tmp_path: Path) -> None:
    answer = command("demo", "--fields", 2, "--seed", 3)
    assert answer.returncode == 0, answer.stderr
    assert "drawn cells" in answer.stdout and "named right" in answer.stdout
    out = tmp_path / "wbcdet-demo"
    assert len(list((out / "fields").glob("*.png"))) == 2
    assert len(list((out / "annotated").iterdir())) == 2
    jsonschema.validate(json.loads((out / "results.json").read_text()), schema())


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_while_it_loads(tmp_path: Path) -> None:
    """In the middle of an import it would come out as any error, or be lost."""
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from wbcdet.utils.stopping import stops_at_once\n"
        "with stops_at_once():\n    try:\n        import slow\n    except BaseException:\n"
        "        print('lost')\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert answer.returncode == 130 and answer.stdout == ""
    assert one_line(answer.stderr) == "wbcdet: stopped; nothing was done yet"


def test_no_folder_is_held_while_models_load(command: Run, tmp_path: Path) -> None:
    """Ctrl-C ends the program there and then: its locks and its mark would stay."""
    Image.fromarray(grain(120, 160)).save(tmp_path / "field.png")
    (tmp_path / "cells/neutrophil").mkdir(parents=True)
    shutil.copy(tmp_path / "field.png", tmp_path / "cells/neutrophil")
    (tmp_path / "empty").mkdir()
    for arguments in (["predict", "field.png"], ["demo"], ["evaluate", "cells"]):
        answer = command(*arguments, "--out", "out", "--weights", "empty")
        assert answer.returncode == 2 and "models cannot be loaded" in one_line(answer.stderr)
        assert not (tmp_path / "out").exists(), arguments


def test_ctrl_c_where_no_command_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from wbcdet.cli import app as commands

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wbcdet.io.discover.search", stopped)
    answer = CliRunner().invoke(commands.app, ["predict", "x.jpg"])
    assert answer.exit_code == 130 and one_line(answer.output) == "wbcdet: stopped"


@pytest.mark.parametrize(
    "line",
    [
        "predict x.jpg --timeout inf",
        "count x.jpg --memory inf",
        "count x.jpg --memory 1e12",
        "predict x.jpg --tile 99999999999999999999",
        "predict x.jpg --timeout 1e10",
        "evaluate x --confidence nan",
        "stream x --reconnect-for nan",
        "stream x --target 99999999999999999999",
        "serve --max-mb inf --max-held-mb inf",
        "serve --grace inf",
        "train classifier --rate nan",
    ],
)
def test_numbers_without_end_are_refused(line: str) -> None:
    """A results.json with them could not be read again; others ended in a traceback."""
    from typer.testing import CliRunner

    from wbcdet.cli import app as commands

    answer = CliRunner().invoke(commands.app, line.split())
    option = next(word for word in line.split() if word.startswith("--"))
    assert answer.exit_code == 2
    assert one_line(answer.output).startswith(f"wbcdet: {option} ")


@pytest.mark.parametrize("error", [MemoryError(), ImportError("libx.so: failed to map segment")])
def test_too_little_memory_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from typer.testing import CliRunner

    from wbcdet.cli import app as commands

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("wbcdet.io.discover.search", fail)
    answer = CliRunner().invoke(commands.app, ["predict", "x.jpg"])
    assert answer.exit_code == 2 and "memory" in one_line(answer.output)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("pressed", "code"), [("atexit.register(press)", 0), ("wbcdet.cli.app.main = press", 130)]
)
def test_ctrl_c_before_and_after_a_command(pressed: str, code: int) -> None:
    """While Python waits for what is left to end, and where no command watches for it yet."""
    program = (
        "import atexit, os, signal, sys, wbcdet.cli.app\n"
        "press = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        f"{pressed}; sys.argv = ['wbcdet', '--version']; wbcdet.cli.main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True,
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    said = "wbcdet: stopped\n" if code else ""
    assert (answer.returncode, answer.stderr) == (code, said)

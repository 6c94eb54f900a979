"""Every command in README and docs is one that wbcdet has, and runs as written where it can."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from conftest import REPOSITORY
from typer.main import get_command
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.datasets.synthetic import render_field
from wbcdet.stream.cell_counter import _SURER

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
#: Commands that do not run as written here, and why. They are checked to parse.
NOT_RUN = {
    r"wbcdet review (?!.*--(agreement|import))|wbcdet serve": "serves until Ctrl-C",
    r"--agreement": "two readers; tests/review/test_two_readers.py has them",
    r"wbcdet stream (0|mm:|http)": "a camera",
    r"wbcdet stream (acquisition|SOURCE)": "waits for pictures that come",
    r"wbcdet learn|--weights mylab.zip": "minutes of training; tests/training/test_learn.py learns",
    r"wbcdet train": "hours of training; tests/training/test_train_cli.py trains",
    r"wbcdet data (fetch|prepare)": "gigabytes from the network",
    r"wbcdet evaluate .*--list": "the public pictures, and minutes",
    r"--engine ray": "a cluster; tests/batch/test_ray_engine.py has one",
    r"count anna.svs": "a scanned slide; tests/batch/test_slides.py counts drawn ones",
}
#: What a page takes for granted, by its name.
BEFORE = {
    "differential.md": ("wbcdet count slides --group-by folder --out report",),
    "lis.md": ("wbcdet count slides --group-by folder --out report",),
    "review.md": (
        "wbcdet count slides --group-by folder --out report",
        "wbcdet export report --to cvat --out exported --pictures slides",
    ),
}
#: A page's Python that cannot run: it reads a public archive.
NO_PYTHON = {"data.md"}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_cookbook_takes_a_differential_from_the_report_itself() -> None:
    """Records hold cells that a count left out: counted again they contradict its report."""
    page = REPOSITORY / "docs" / "cookbook.md"
    code = "".join(text for language, text in blocks(page) if language == "python")
    assert "report/differential.csv" in code and "differentials(" not in code


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block of a page."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


def commands(text: str) -> list[str]:
    """Return the lines of a block that call wbcdet, each whole and without its remark."""
    lines = text.replace("\\\n", " ").splitlines()
    parts = (part.strip() for line in lines for part in line.split("#")[0].split("&&"))
    return [part for part in parts if part.startswith("wbcdet ")]


ALL = [
    pytest.param(line, id=f"{page.name}: {line}")
    for page in PAGES
    for language, text in blocks(page)
    if not language
    for line in commands(text)
]


@pytest.mark.parametrize("line", ALL)
def test_commands_and_options_exist(line: str) -> None:
    command, words = get_command(app), shlex.split(line)[1:]
    context = command.make_context("wbcdet", words[:1], resilient_parsing=True)
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {name for option in command.get_params(context) for name in option.opts}
    for word in words:
        if word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            assert word.split("=")[0] in known | {"--help", "-h"}, line


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the pages speak of: drawn slides, labelled cells, a manual
    count."""
    tmp_path = tmp_path_factory.mktemp("laboratory")
    places = (
        *("slides", "slides/S001", "slides/S002", "fields", "fields/patient1", "scan", "."),
        *("monday", "tuesday"),
    )
    for number, place in enumerate(places, 1):
        (tmp_path / place).mkdir(exist_ok=True)
        drawn = render_field(number, 640, 480)
        name = (
            "slide.jpg"
            if place == "."
            else "slide1_2.jpg"
            if place == "fields/patient1"
            else f"field-{number if '/' in place else 1}.jpg"
        )
        cv2.imwrite(str(tmp_path / place / name), drawn.pixels)
        for index, cell in enumerate(drawn.cells):
            x_min, y_min, x_max, y_max = (max(0, round(side)) for side in cell.box)
            folder = tmp_path / "my-cells" / str(cell.label)
            folder.mkdir(parents=True, exist_ok=True)
            crop = drawn.pixels[max(0, y_min - 30) : y_max + 30, max(0, x_min - 30) : x_max + 30]
            cv2.imwrite(str(folder / f"{number}-{index}.png"), crop)
    page = (REPOSITORY / "docs" / "laboratory.md").read_text(encoding="utf-8")
    count = next(text for _, text in _BLOCK.findall(page) if text.startswith("slide,"))
    (tmp_path / "manual.csv").write_text(count, encoding="utf-8")
    return tmp_path


@pytest.fixture
def laboratory(drawn: Path, tmp_path: Path) -> Path:
    """Return a copy of it, to write into."""
    return Path(shutil.copytree(drawn, tmp_path / "laboratory"))


def is_run(line: str) -> bool:
    return not any(re.search(pattern, line) for pattern in NOT_RUN)


def has_something_to_run(page: Path) -> bool:
    return any(
        (language == "python" and page.name not in NO_PYTHON) or any(map(is_run, commands(text)))
        for language, text in blocks(page)
    )


@pytest.mark.parametrize("page", filter(has_something_to_run, PAGES), ids=lambda page: page.name)
def test_a_page_can_be_followed(
    page: Path, laboratory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(laboratory)
    for line in BEFORE.get(page.name, ()):
        run(line)
    if page.name == "review.md":  # as if it came back from CVAT
        shutil.copy("exported/annotations.xml", ".")
    for language, text in blocks(page):
        if language == "python" and page.name not in NO_PYTHON:
            exec(compile(text, f"{page.name}, Python", "exec"), {"__name__": "page"})
        for line in filter(is_run, commands(text)):
            run(line)


def run(line: str) -> None:
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_is_on_a_page_and_parses(pattern: str) -> None:
    """Values too: a number out of range or a word that is none of the choices is an error."""
    lines = [str(each.values[0]) for each in ALL if re.search(pattern, str(each.values[0]))]
    assert lines
    for line in lines:
        command, words = get_command(app), shlex.split(line)[1:]
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context("wbcdet", words)


def shell_blocks() -> Iterator[tuple[str, str]]:
    """Page and text of the blocks in no language, their continued lines put together."""
    for page in (*PAGES, REPOSITORY / "CONTRIBUTING.md"):
        for language, text in blocks(page):
            if not language:
                yield page.name, text.replace("\\\n", " ")


def test_extras_that_pip_is_asked_for_exist() -> None:
    declared = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    asked = {
        extra
        for _, text in shell_blocks()
        for extras in re.findall(r"pip install[^\n]*\[([\w,]+)\]", text)
        for extra in extras.split(",")
    }
    assert {"test", "train", "slides"} <= asked
    assert [extra for extra in asked if not re.search(rf"^{extra} = \[", declared, re.M)] == []


def test_scripts_and_their_options_exist() -> None:
    lines = [
        (page, part.split("#")[0])
        for page, text in shell_blocks()
        for line in text.splitlines()
        for part in line.split("&&")
        if re.search(r"\bpython (scripts|experiments)/", part)
    ]
    assert len(lines) > 20
    for page, line in lines:
        name = re.search(r"python (\S+)", line)
        assert name, line
        source = (REPOSITORY / name[1]).read_text(encoding="utf-8")
        for option in re.findall(r"\s(--[a-z-]+)", line):
            written = (f'"{option}"', option.replace("--", "").replace("-", "_"))
            assert any(word in source for word in written), f"{page}: {line}: {option}"


def test_links_lead_somewhere() -> None:
    for page in (*PAGES, REPOSITORY / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_streams_say_the_certainty_that_the_shipped_detector_asks_for() -> None:
    card = json.loads((REPOSITORY / "weights" / "detector.json").read_text(encoding="utf-8"))
    page = (REPOSITORY / "docs" / "streams.md").read_text(encoding="utf-8")
    assert f"({card['confidence'] + _SURER:g} with the shipped detector)" in page

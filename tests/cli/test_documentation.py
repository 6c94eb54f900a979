"""Every command in README and docs is one that wbcdet has; those for users run as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import cv2
import pytest
from conftest import REPOSITORY
from typer.main import get_command
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.datasets.synthetic import render_field

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
#: Pages that are followed from top to bottom in a folder with pictures.
FOLLOWED = ("README.md", "first-slide.md", "poor-results.md", "laboratory.md", "cookbook.md")
#: What cannot run here: it installs, waits for a person, a camera or the network, or takes minutes.
NOT_RUN = re.compile(
    r"pip install|pytest|mmcore|wbcdet (review|learn|stream (0|mm:|http)|stream acquisition)"
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


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


@pytest.fixture
def laboratory(tmp_path: Path) -> Path:
    """Return a folder with what the pages speak of: drawn slides, labelled cells, a manual
    count."""
    places = ("slides", "slides/S001", "slides/S002", "fields", "scan", ".")
    for number, place in enumerate(places, 1):
        (tmp_path / place).mkdir(exist_ok=True)
        drawn = render_field(number, 640, 480)
        name = "slide.jpg" if place == "." else f"field-{number if '/' in place else 1}.jpg"
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


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_page_can_be_followed(
    name: str, laboratory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(laboratory)
    page = next(page for page in PAGES if page.name == name)
    run = 0
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, f"{name}, Python", "exec"), {})
            run += 1
            continue
        for line in commands(text):
            if NOT_RUN.search(line):
                continue
            done = CliRunner().invoke(app, shlex.split(line)[1:])
            assert done.exit_code == 0, f"{line}\n{done.output}"
            run += 1
    assert run


def test_links_lead_somewhere() -> None:
    for page in (*PAGES, REPOSITORY / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

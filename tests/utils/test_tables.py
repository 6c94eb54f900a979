"""Tables on a terminal: whole at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from wbcdet.utils.tables import Row, print_table, terminal
from wbcdet.utils.text import decimal, signed

HEADER = ("slide", "classified", "eosinophil\n%", "reference", "flag")
ROWS = [
    Row(("Basophil slide", "64", "15.6 high", "0 - 7", "")),
    Row(("[b]Ünï細胞[/b]", "4", "0.0", "0 - 7", "look")),
    Row(("a long name of a slide that somebody has given " * 2, "123456", "100.0", "0 - 7", "x")),
    Row(("(a line between)",)),
]


def test_what_rounds_to_nothing_has_no_minus() -> None:
    assert [signed(value) for value in (-0.04, 0.04, -0.06, 1.25, -0.0)] == [
        "+0.0", "+0.0", "-0.1", "+1.2", "+0.0",
    ]  # fmt: skip
    assert [decimal(value, 2) for value in (-0.004, 0.4, -0.4)] == ["0.00", "0.40", "-0.40"]


def printed(width: int, rows: list[Row] = ROWS, left: int = 1) -> list[str]:
    out = io.StringIO()
    print_table(Console(file=out, width=width), HEADER, rows, left)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 120, 300])
def test_nothing_is_cut_or_folded(width: int) -> None:
    text = "\n".join(printed(width))
    for row in ROWS:
        for cell in row.cells:
            assert cell in text
    for name in HEADER:
        for part in name.split("\n"):
            assert part in text
    assert "…" not in text


def test_lines_fit_where_figures_can() -> None:
    short = ROWS[:2]
    for width in (24, 40, 80):
        assert max(map(len, printed(width, short))) <= width
    wide = printed(80, short)
    assert len(wide) == 4  # two lines of header, a line a row
    assert wide[2].split() == ["Basophil", "slide", "64", "15.6", "high", "0", "-", "7"]


def test_a_long_name_stands_on_its_own_line() -> None:
    lines = printed(80)
    at = next(n for n, line in enumerate(lines) if line.startswith("a long name"))
    assert "123456" not in lines[at] and "123456" in lines[at + 1]


def test_no_rows() -> None:
    assert printed(80, [])[-1].split() == ["slide", "classified", "%", "reference", "flag"]


def test_columns_are_honoured_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "57")
    assert terminal().width == 57
    for odd in ("", "x", "-3"):
        monkeypatch.setenv("COLUMNS", odd)
        assert terminal().width == 200


def test_a_row_stands_only_where_it_says_something() -> None:
    rows = [Row((name, "1", "2.0", "", "flagged" if name == "b" else "")) for name in "abc"]
    lines = printed(34, rows)
    assert lines[2].split() == ["a", "1", "2.0"]
    assert [line.split() for line in lines[lines.index("") + 1 :]] == [
        ["slide", "reference", "flag"], ["b", "flagged"]
    ]  # fmt: skip


def test_texts_are_folded_between_words() -> None:
    text = " ".join(f"word-{number}" for number in range(30))
    lines = printed(40, [Row(("a name", "x", "y", "z", text))], left=5)
    assert max(map(len, lines)) <= 40
    *_, first = [n for n, line in enumerate(lines) if "word-0" in line]
    indent = lines[first].index("word-0")
    assert all(line[:indent].strip() in ("", "a name") for line in lines[first:])
    assert " ".join(line[indent:] for line in lines[first:]).split() == text.split()

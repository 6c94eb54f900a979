"""MkDocs hook: commands from the program itself, where a page asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from typer.main import get_command


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put the help of all commands where a page asks for it."""
    if page.file.src_uri == "reference/commands.md":
        markdown = markdown.replace("<!-- commands -->", "\n\n".join(_commands()))
    return markdown


def _commands() -> Iterator[str]:
    """Heading and help of each command, subcommands below their own."""
    # As wide as on a page of paper, and without the frames of a terminal.
    os.environ["COLUMNS"] = "96"
    from wbcdet.cli.app import app

    yield from _help(get_command(app), "wbcdet", 2)


def _help(command: Any, path: str, level: int) -> Iterator[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    yield f"{'#' * level} {path}\n\n```\n{command.get_help(context).strip()}\n```"
    for name in sorted(getattr(command, "commands", {})):
        yield from _help(command.commands[name], f"{path} {name}", min(level + 1, 4))

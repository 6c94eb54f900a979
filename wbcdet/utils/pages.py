"""Render HTML pages from Jinja templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render_page(module: str, **values: Any) -> str:
    """Fill the template ``page.html`` beside a module; all values are escaped.

    Args:
        module: its ``__file__``. Templates may include others beside it.
        values: what the template names; it may name nothing else.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from wbcdet.utils import words

    environment = Environment(
        loader=FileSystemLoader(Path(module).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(_=words._, plural_of=words.plural_of, language=words.current())
    return environment.get_template("page.html").render(values)

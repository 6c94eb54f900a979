"""Open a page in the browser without telling other accounts its token."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path


@contextmanager
def opened_in_browser(url: str) -> Iterator[None]:
    """Open an address with a token in the browser.

    The arguments of a program can be seen by every account of a computer. So the browser is given
    a file that only this account can read, which leads on to the address; it is removed at the end.

    Args:
        url: the address.
    """
    handle, name = tempfile.mkstemp(prefix="wbcdet-", suffix=".html")  # readable for this account
    page = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(
                '<!DOCTYPE html><meta charset="utf-8"><title>wbcdet</title>'
                f'<meta http-equiv="refresh" content="0;url={escape(url, quote=True)}">'
                f'<a href="{escape(url, quote=True)}">Open the page</a>\n'
            )
        webbrowser.open(page.as_uri())
        yield
    finally:
        page.unlink(missing_ok=True)

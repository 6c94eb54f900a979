"""A page as PDF, printed by the Chromium of this computer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.files import PART_PREFIX, atomic_write

_NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "msedge", "brave-browser",
)  # fmt: skip
#: Where they are on systems that put them on no search path.
_PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    ),
}
#: Seconds for a page; one of a thousand sheets takes a minute.
_TIMEOUT_S = 300
_REMEDY = "or open report.html in any browser and print it"


class PdfError(WbcdetError, RuntimeError):
    """A PDF cannot be made; the message is one line that names the remedy."""


def find_chromium() -> str:
    """Return the browser that prints.

    Raises:
        PdfError: no browser is found.
    """
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    for place in _PLACES.get(sys.platform, ()):
        if Path(place).is_file():
            return place
    raise PdfError(
        "a PDF needs Chromium, Chrome or Edge, and none is found: install one "
        f"(Debian: apt-get install chromium), {_REMEDY}"
    )


def print_pdf(page: Path, pdf: Path) -> None:
    """Print a page, as its style sheet says it for paper.

    Args:
        page: an HTML file that stands alone.
        pdf: the file to write; it appears as a whole.

    Raises:
        PdfError: there is no browser, or it does not print.
        OSError: the file cannot be written.
    """
    browser = find_chromium()
    with tempfile.TemporaryDirectory(
        dir=pdf.parent, prefix=PART_PREFIX, ignore_cleanup_errors=True
    ) as name:
        made = Path(name) / "page.pdf"
        command = [
            browser, "--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer",
            f"--user-data-dir={Path(name).resolve() / 'profile'}",
            f"--print-to-pdf={made.resolve()}",
        ]  # fmt: skip
        if sys.platform == "linux" and os.geteuid() == 0:
            # Chromium has no sandbox for root; the page is this program's own and has no scripts.
            command.append("--no-sandbox")
        try:
            done = subprocess.run(
                [*command, page.resolve().as_uri()], capture_output=True, timeout=_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PdfError(f"{browser} does not print {page}: {error}; {_REMEDY}") from error
        data = made.read_bytes() if made.is_file() else b""
        if not data.startswith(b"%PDF"):
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise PdfError(
                f"{browser} did not print {page} ({' '.join(said) or done.returncode}); {_REMEDY}"
            )
        atomic_write(pdf, data)

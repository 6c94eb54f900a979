"""Shorten the messages of model runtimes."""

from __future__ import annotations


def one_line(error: Exception) -> str:
    """Shorten a runtime's message: it names its own source files, over many lines."""
    return " ".join(str(error).split())[:200] or type(error).__name__

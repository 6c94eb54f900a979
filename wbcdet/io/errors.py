"""What reading a field raises."""

from __future__ import annotations


class FieldError(Exception):
    """A field could not be read; the message is one line that names the remedy."""

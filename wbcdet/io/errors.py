"""The error of fields that cannot be read."""

from __future__ import annotations

from wbcdet.utils.errors import WbcdetError


class FieldError(WbcdetError):
    """A field could not be read; the message is one line that names the remedy."""

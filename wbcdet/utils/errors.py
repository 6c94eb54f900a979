"""Base class of all errors that wbcdet raises deliberately."""


class WbcdetError(Exception):
    """Base class of wbcdet's errors; the message is one line that names the remedy."""

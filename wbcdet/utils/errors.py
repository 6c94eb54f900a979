"""The base of every error that wbcdet raises on purpose."""


class WbcdetError(Exception):
    """Something that wbcdet cannot do; the message is one line that names the remedy."""

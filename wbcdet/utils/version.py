"""The version of wbcdet."""

__version__ = "0.1.0"

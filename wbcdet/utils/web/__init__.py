"""Serve a page from a command: listening, access and the browser."""

"""Displays of a running stream."""

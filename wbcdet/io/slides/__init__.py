"""Slides of scanners: pyramids and folders of tiles, read one rectangle at a time."""

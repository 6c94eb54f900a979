"""The report of a slide, shared by count, stream and review."""

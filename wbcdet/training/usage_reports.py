"""Keep ultralytics from reporting trainings and exports to its makers."""

from __future__ import annotations

from ultralytics.utils.events import events


def ultralytics_reports_nothing() -> None:
    """Switch the reports off, for this process."""
    events.enabled = False

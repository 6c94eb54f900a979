"""Show the live picture in a window (OpenCV)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

import cv2

from wbcdet.io.colour import Pixels
from wbcdet.stream.cell_counter import FrameResult
from wbcdet.stream.display.base import Command, Status
from wbcdet.stream.display.overlay import Overlay
from wbcdet.stream.display.terminal import describe
from wbcdet.utils.errors import WbcdetError

_KEYS = "space: pause or go on   n: new slide   u: undo last cell   q: end"
#: Height of the line of text below the picture, px.
_LINE = 30


class WindowError(WbcdetError, RuntimeError):
    """There is no screen to show a window on."""


class Window:
    """Shows a stream until it ends; keys steer it.

    Args:
        title: of the window.
        ask: takes the commands.
        overlay: draws the frames.

    Raises:
        WindowError: there is no screen.
    """

    def __init__(self, title: str, ask: Callable[[Command], None], overlay: Overlay) -> None:
        # OpenCV's window system ends the whole process where it finds no screen.
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise WindowError("there is no screen for --display; use --serve")
        self._title = f"wbcdet: {title}"
        self._ask = ask
        self._overlay = overlay
        self._shown = False
        self._picture: Pixels | None = None
        self._said = ""
        self._closed = False
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL)

    def show(self, result: FrameResult | None, status: Status) -> None:
        """See :class:`~wbcdet.stream.display.base.Display`."""
        if self._closed:
            return
        if result is not None:
            self._picture = self._overlay.of(result)
        said = describe(status)
        if self._picture is not None and (result is not None or said != self._said):
            self._said = said
            picture = cv2.copyMakeBorder(self._picture, 0, 2 * _LINE, 0, 0, cv2.BORDER_CONSTANT)
            for number, text in enumerate((said, _KEYS)):
                at = (8, picture.shape[0] - 2 * _LINE + 21 + number * _LINE)
                cv2.putText(
                    picture,
                    text,
                    at,
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.5,
                    (230, 230, 230),
                    1,
                    cv2.LINE_AA,
                )
            if not self._shown:
                cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
                self._shown = True
            cv2.imshow(self._title, picture)
        key = cv2.waitKey(1) & 0xFF
        command = self._command(key, status)
        if command is not None:
            self._ask(command)

    def close(self) -> None:
        """Close the window."""
        with suppress(cv2.error):  # the user has closed it
            cv2.destroyWindow(self._title)

    def _command(self, key: int, status: Status) -> Command | None:
        if self._gone():
            self._closed = True
            return "stop"
        if key == ord("q"):
            return "stop"
        if key == ord(" "):
            return "start" if status.state == "paused" else "pause"
        keys: dict[int, Command] = {ord("n"): "new-slide", ord("u"): "undo"}
        return keys.get(key)

    def _gone(self) -> bool:
        """Say whether the user has closed the window; OpenCV raises where no window is left."""
        try:
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE)
        except cv2.error:
            return True
        return visible < (1 if self._shown else 0)

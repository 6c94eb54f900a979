"""Show the live picture in a window of its own (SDL, through pygame-ce)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import cv2

from wbcdet.io.colour import Pixels
from wbcdet.stream.cell_counter import FrameResult
from wbcdet.stream.display.base import Command, Status
from wbcdet.stream.display.overlay import Overlay
from wbcdet.stream.display.terminal import describe
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.extras import missing

_KEYS = "space: pause or go on   n: new slide   u: undo last cell   q: end"
#: Height of the line of text below the picture, px.
_LINE = 30
#: Size of the picture that the window has room for before there is one, px.
_EMPTY = (640, 480)
#: Share of the screen that a new window may take.
_OF_SCREEN = 0.9


class WindowError(WbcdetError, RuntimeError):
    """There is no screen to show a window on, or nothing that can draw one."""


class Window:
    """Shows a stream until it ends; keys steer it.

    Args:
        title: of the window.
        ask: takes the commands.
        overlay: draws the frames.

    Raises:
        WindowError: there is no screen, or the extra ``window`` is not installed.
    """

    def __init__(self, title: str, ask: Callable[[Command], None], overlay: Overlay) -> None:
        # SDL would draw into memory where it finds no screen.
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise WindowError("there is no screen for --display; use --serve")
        # No greeting on standard output; signals end the run as they do without a window.
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
        try:
            import pygame
        except ImportError as error:
            raise WindowError(missing(error, "--display", "window")) from error
        self._pygame = pygame
        self._ask = ask
        self._overlay = overlay
        self._picture: Pixels | None = None
        self._said = ""
        try:
            pygame.display.init()
            pygame.display.set_caption(f"wbcdet: {title}")
            self._open(*_EMPTY)
        except pygame.error as error:
            raise WindowError(f"no window can be opened ({error}); use --serve") from error

    def show(self, result: FrameResult | None, status: Status) -> None:
        """See :class:`~wbcdet.stream.display.base.Display`."""
        if not self._pygame.display.get_init():
            return
        if result is not None:
            first = self._picture is None
            self._picture = self._overlay.of(result)
            if first:
                self._open(*self._picture.shape[1::-1])
        said = describe(status)
        changed = result is not None or said != self._said
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                self.close()
                self._ask("stop")
                return
            if event.type == self._pygame.KEYDOWN:
                command = self._command(event.key, status)
                if command is not None:
                    self._ask(command)
            changed |= event.type == self._pygame.VIDEORESIZE
        if changed and self._picture is not None:
            self._said = said
            self._draw(self._picture)

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()

    def _open(self, width: int, height: int) -> None:
        """Open the window for a picture of this size, or as large as the screen has room."""
        room = self._pygame.display.get_desktop_sizes()[0]
        wanted = (width, height + 2 * _LINE)
        scale = min(
            1.0, *(_OF_SCREEN * have / want for have, want in zip(room, wanted, strict=True))
        )
        size = tuple(max(1, round(side * scale)) for side in wanted)
        self._pygame.display.set_mode(size, self._pygame.RESIZABLE)

    def _draw(self, picture: Pixels) -> None:
        """Show the picture, as large as the window has room for it, above two lines of text."""
        screen = self._pygame.display.get_surface()
        assert screen is not None  # it is open
        width, height = screen.get_size()
        room = max(1, height - 2 * _LINE)
        scale = min(width / picture.shape[1], room / picture.shape[0])
        size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
        shown = cv2.copyMakeBorder(
            cv2.resize(picture, size, interpolation=cv2.INTER_AREA),
            (room - size[1]) // 2,
            height - size[1] - (room - size[1]) // 2,
            (width - size[0]) // 2,
            width - size[0] - (width - size[0]) // 2,
            cv2.BORDER_CONSTANT,
        )
        for number, text in enumerate((self._said, _KEYS)):
            at = (8, height - 2 * _LINE + 21 + number * _LINE)
            cv2.putText(
                shown, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA
            )
        drawn = self._pygame.image.frombuffer(shown.tobytes(), shown.shape[1::-1], "BGR")
        screen.blit(drawn, (0, 0))
        self._pygame.display.flip()

    def _command(self, key: int, status: Status) -> Command | None:
        if key == ord("q"):
            return "stop"
        if key == ord(" "):
            return "start" if status.state == "paused" else "pause"
        keys: dict[int, Command] = {ord("n"): "new-slide", ord("u"): "undo"}
        return keys.get(key)

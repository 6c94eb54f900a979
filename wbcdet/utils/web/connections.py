"""Connections that send no whole request are closed, so that nobody can hold the page by them."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds for the head of a request, and connections that may be waited for at a time: everybody on
#: the computer may open some, and a browser sends its request at once.
HEAD_S, MAX_WAITING = 10.0, 64


class PatientConnection(H11Protocol):
    """A connection that has a limited time for the head of its first or next request.

    Where too many are waited for, the oldest is closed.
    """

    #: All that are waited for, the oldest first.
    _waiting: ClassVar[dict[PatientConnection, asyncio.TimerHandle]] = {}

    # uvicorn's own takes this kind alone, where asyncio's protocols take any.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, without more time, as long as there is no whole head."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self not in self._waiting:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn closes a connection on which none begins."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        while len(self._waiting) >= MAX_WAITING:
            next(iter(self._waiting))._give_up()
        self._waiting[self] = self.loop.call_later(HEAD_S, self._give_up)

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()

    def _stop_waiting(self) -> None:
        if timer := self._waiting.pop(self, None):
            timer.cancel()

"""Requests under a number that their answers repeat: kept until they are answered, across connections.

A request whose answer was lost with its connection is made again: each is such that the server ends up the same.
"""

from __future__ import annotations

__all__ = ["ANSWER_TIMEOUT_S", "Answer", "Inquiries", "Inquiry", "refusal_text"]

import math
from collections import deque
from copy import copy
from typing import TYPE_CHECKING

import trio

from .._sansio.signal import messages as m
from .upstream import keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from .upstream import KeptRequest, Upstream

Answer = m.RequestResponse | m.DataBlobStored | m.DataBlobFetched

ANSWER_TIMEOUT_S = 5.0
"""How long the server may take to answer, as in LiveKit's own SDKs. Time without a connection does not count."""

_MAX_IN_FLIGHT = 32
"""Requests that wait for an answer at the same time; others wait. The server hangs up on a client that has about 200
in flight."""

_MAX_NUMBER = (1 << 32) - 1


class Inquiry:
    """One request that waits for its answer.

    Attributes:
        answer: what the server said; ``None`` where it said nothing in time.
        sent: how often it was sent.
    """

    __slots__ = ("answer", "answered", "error", "number", "patience", "request", "sent")

    def __init__(self, number: int, request: KeptRequest) -> None:
        self.number = number
        self.request = request
        self.sent = 0
        self.patience = trio.CancelScope()
        self.answered = trio.Event()
        self.answer: Answer | None = None
        self.error: Exception | None = None

    def settle(self, answer: Answer | None = None, error: Exception | None = None) -> None:
        if not self.answered.is_set():
            self.answer, self.error = answer, error
            self.answered.set()


class Inquiries:
    """The requests of a session that have numbers."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._in_flight: dict[int, Inquiry] = {}
        self._queue: deque[Inquiry] = deque()
        self._last_number = 0
        self._is_heard = True
        self._end: Exception | None = None

    @property
    def in_flight(self) -> int:
        """How many wait for an answer."""
        return len(self._in_flight)

    def check_open(self) -> None:
        """Raise what ended the session, if anything did."""
        if self._end is not None:
            raise copy(self._end)

    def begin(self, make: Callable[[int], m.Request]) -> Inquiry:
        """Make a request under the next number, and send it as soon as it may be sent; ``finish`` has to follow.

        Raises what ended the session, or the ``ValueError`` or ``TypeError`` of a request that cannot be encoded.
        """
        self.check_open()
        number = self._last_number % _MAX_NUMBER + 1
        request = keep(make(number))
        self._last_number = number
        inquiry = Inquiry(number, request)
        self._queue.append(inquiry)
        self._pump()
        return inquiry

    async def finish(self, inquiry: Inquiry) -> Answer | None:
        """Wait for the answer; ``None`` if there is none in time. Raises what ended the session.

        When this is cancelled the request is forgotten; the server may act on it or not.
        """
        try:
            with inquiry.patience:
                await inquiry.answered.wait()
        finally:
            inquiry.settle()
            if self._in_flight.pop(inquiry.number, None) is None:
                self._queue.remove(inquiry)
            self._pump()
        if inquiry.error is not None:
            raise inquiry.error
        return inquiry.answer

    async def ask(self, make: Callable[[int], m.Request]) -> Answer | None:
        """``begin`` and ``finish``."""
        await trio.lowlevel.checkpoint()
        return await self.finish(self.begin(make))

    def on_answer(self, answer: Answer) -> None:
        """What the server made of a request."""
        inquiry = self._in_flight.get(answer.request_id)
        if inquiry is not None:
            inquiry.settle(answer)

    def on_signal_lost(self) -> None:
        """Nobody hears our requests, for now."""
        self._is_heard = False
        for inquiry in self._in_flight.values():
            inquiry.patience.deadline = math.inf

    def on_connected(self) -> None:
        """Our requests are heard again, by a server that may have heard none of those before."""
        self._is_heard = True
        for inquiry in self._in_flight.values():
            if not inquiry.answered.is_set():
                self._send(inquiry)
        self._pump()

    def close(self, end: Exception) -> None:
        """The session is over: ``end`` is what those who wait, or come later, are told."""
        if self._end is None:
            self._end = end
            for inquiry in (*self._in_flight.values(), *self._queue):
                inquiry.settle(error=copy(end))

    def on_room(self) -> None:
        """There is room for requests."""
        self._pump()

    @property
    def _may_send(self) -> bool:
        return (
            self._is_heard and self._end is None and len(self._in_flight) < _MAX_IN_FLIGHT and self._upstream.has_room
        )

    def _pump(self) -> None:
        while self._queue and self._may_send:
            inquiry = self._queue.popleft()
            self._in_flight[inquiry.number] = inquiry
            self._send(inquiry)

    def _send(self, inquiry: Inquiry) -> None:
        inquiry.sent += 1
        inquiry.patience.deadline = trio.current_time() + ANSWER_TIMEOUT_S
        self._upstream.send_request(inquiry.request)


def refusal_text(answer: m.RequestResponse, known: str | None) -> str:
    """A refusal in words: what is ``known`` of its reason, else the name of that, and what the server said."""
    text = known or f"the server refused ({answer.reason.name})"
    return f"{text}: {answer.message}" if answer.message else text

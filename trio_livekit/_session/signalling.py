"""The signal websocket of one session: requests go up in order, responses come down in order, pings measure it."""

from __future__ import annotations

__all__ = ["SignalCounters", "SignalLost", "Signalling"]

import logging
import math
from typing import TYPE_CHECKING

import trio

from .._sansio.signal.messages import DisconnectReason, Leave, LeaveAction, Ping, Pong
from .._transport.websocket import WebsocketClosed
from .._wire.signal import decode_response, encode_request
from ..errors import DecodeError, LiveKitError
from .upstream import KeptRequest, keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.signal.messages import Request, Response
    from .._transport.websocket import Websocket

logger = logging.getLogger(__name__)

_QUEUE_REQUESTS = 128
"""Requests waiting to be sent, beyond which those of an application have to wait elsewhere. The server closes the
connection at about 200 in flight, so more would not help."""

_ROOM_AGAIN_REQUESTS = _QUEUE_REQUESTS // 2
"""So many are left when those that wait elsewhere are called for."""

_MOST_REQUESTS = 2 * _QUEUE_REQUESTS
"""With those that cannot wait, as answers to what the server asked. A websocket that takes none of them is no use."""

_COMPLAINTS_S = 1.0
"""Between two lines of the log about messages that make no sense."""

_LEAVE_TIMEOUT_S = 0.5
"""How long a goodbye may take to be sent, where something else is stuck before it."""


class SignalLost(LiveKitError):
    """The signal websocket closed, broke, or stopped answering pings."""


class SignalCounters:
    """Counts over all the websockets of one session."""

    __slots__ = ("malformed", "received", "sent")

    def __init__(self) -> None:
        self.sent = self.received = self.malformed = 0


class Signalling:
    """Speaks on one open websocket; ``run`` does the work, and ends only by an error or by being cancelled."""

    def __init__(
        self,
        websocket: Websocket,
        deliver: Callable[[Response], None],
        counters: SignalCounters,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._websocket = websocket
        self._counters = counters
        self._deliver = deliver
        self._on_room = on_room
        self._outbox, self._to_send = trio.open_memory_channel[bytes](_MOST_REQUESTS)
        self._running = trio.CancelScope()
        self._overflowed = False
        self._last_pong = trio.current_time()
        self._complained_at = -math.inf
        self._ignored = 0  # messages, since then
        self._answered_until = -1  # the latest time stamp of a ping that came back
        self.rtt_s: float | None = None

    @property
    def has_room(self) -> bool:
        """Whether few requests are waiting. When there was none, ``on_room()`` tells that there is again."""
        return self._waiting < _QUEUE_REQUESTS

    def send_nowait(self, request: Request | KeptRequest) -> None:
        """Queue a request; it leaves in the order of the calls. One too many ends ``run``: nobody takes them."""
        kept = request if isinstance(request, KeptRequest) else keep(request)
        logger.debug("asking: %s", kept.kind)
        try:
            self._outbox.send_nowait(kept.message)
        except trio.WouldBlock:
            self._overflowed = True
            self._running.cancel("too many requests are waiting to be sent")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the session is ending, and whoever waits for an answer is told so elsewhere

    async def send_first(self, request: Request) -> None:
        """Send a request before ``run``, and so before all that are queued. Raises ``WebsocketClosed``."""
        await self._websocket.send(encode_request(request))

    async def receive_first(self) -> Response:
        """The next response this package understands, before ``run``. Raises ``WebsocketClosed``."""
        while True:
            response = self._decode(await self._websocket.receive())
            if response is not None:
                return response

    async def run(self, ping_interval_s: float, ping_timeout_s: float) -> None:
        """Send, receive and ping. Raises ``SignalLost`` when the connection does not do that any more."""
        self._last_pong = trio.current_time()
        lost: SignalLost | None = None
        try:
            with self._running:
                async with trio.open_nursery(strict_exception_groups=True) as nursery:
                    nursery.start_soon(self._send_requests, name="signalling: send")
                    nursery.start_soon(self._receive_responses, name="signalling: receive")
                    if ping_interval_s > 0:
                        nursery.start_soon(self._ping, ping_interval_s, ping_timeout_s, name="signalling: ping")
        except* WebsocketClosed as group:
            lost = SignalLost(str(group.exceptions[0]))
        except* SignalLost as group:
            lost = SignalLost(str(group.exceptions[0]))
        if lost is None and self._overflowed:
            lost = SignalLost(f"{_MOST_REQUESTS} requests are waiting to be sent")
        if lost is not None:
            raise lost

    async def leave(self) -> bool:
        """Say goodbye if the websocket still takes it, and close it. Bounded, also when cancelled; never raises.

        Returns ``False`` where the websocket is known to have broken before the server can have heard it.
        """
        self._outbox.close()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_LEAVE_TIMEOUT_S):
                goodbye = Leave(DisconnectReason.CLIENT_INITIATED, LeaveAction.DISCONNECT)
                try:
                    await self._websocket.send(encode_request(goodbye))
                except WebsocketClosed:
                    pass
            await self._websocket.aclose()
        return not self._websocket.is_broken

    async def aclose(self) -> None:
        """Close the websocket without a goodbye, so that the session can be resumed. Bounded, also when cancelled."""
        self._outbox.close()
        await self._websocket.aclose()

    async def _send_requests(self) -> None:
        async for request in self._to_send:
            if self._waiting == _ROOM_AGAIN_REQUESTS:
                self._on_room()
            await self._websocket.send(request)
            self._counters.sent += 1

    @property
    def _waiting(self) -> int:
        """How many requests nobody has begun to send."""
        return self._to_send.statistics().current_buffer_used

    async def _receive_responses(self) -> None:
        while True:
            response = self._decode(await self._websocket.receive())
            if isinstance(response, Pong):
                self._on_pong(response)
            if response is not None:
                self._deliver(response)

    def _decode(self, message: bytes) -> Response | None:
        try:
            response = decode_response(message)
        except DecodeError as exc:
            self._counters.malformed += 1
            self._complain(len(message), exc)
            return None
        self._counters.received += 1
        if response is not None:
            logger.debug("received %s", type(response).__name__)
        return response

    def _complain(self, size: int, exc: DecodeError) -> None:
        """Once a second at most: whoever sends nonsense must not fill the log."""
        self._ignored += 1
        if trio.current_time() - self._complained_at >= _COMPLAINTS_S:
            logger.info("ignored %d signalling messages, the last of %d bytes: %s", self._ignored, size, exc)
            self._complained_at, self._ignored = trio.current_time(), 0

    def _on_pong(self, pong: Pong) -> None:
        self._last_pong = now = trio.current_time()
        sent_at = pong.last_ping_timestamp_ms / 1000
        if 0 <= now - sent_at < 60:
            self.rtt_s = now - sent_at
            self._answered_until = max(self._answered_until, pong.last_ping_timestamp_ms)

    def ask(self) -> int:
        """Ask the server whether it is there; what to pass to ``is_answered``."""
        ping = self._new_ping()
        self.send_nowait(ping)
        return ping.timestamp_ms

    def is_answered(self, question: int) -> bool:
        """Whether the server has been there since."""
        return self._answered_until >= question

    def _new_ping(self) -> Ping:
        # Rounded down: the answer to a ping from the future would be no answer.
        return Ping(math.floor(trio.current_time() * 1000), round((self.rtt_s or 0) * 1000))

    async def _ping(self, interval_s: float, timeout_s: float) -> None:
        while True:
            if timeout_s > 0 and trio.current_time() - self._last_pong > timeout_s:
                raise SignalLost(f"no pong from the server for {timeout_s:g} s")
            with trio.move_on_after(timeout_s if timeout_s > 0 else math.inf) as bound:
                await self._websocket.send(encode_request(self._new_ping()))
            if bound.cancelled_caught:
                raise SignalLost(f"the network took no ping for {timeout_s:g} s")
            await trio.sleep(interval_s)

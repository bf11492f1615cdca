"""One signal connection: requests in, in order; responses out of a bounded queue."""

from __future__ import annotations

__all__ = ["SignalConnection"]

from collections import deque
from typing import TYPE_CHECKING

import trio

from .._transport.websocket import WebsocketClosed
from .._wire.signal import decode_request
from ..errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._sansio.signal.messages import Request
    from .._transport.websocket import Websocket
    from .limits import Limits

_FLUSH_TIMEOUT_S = 1.0
"""How long a connection that is to end may take to write what is queued."""


class SignalConnection:
    """The signalling of one client over one websocket; a resume makes another."""

    def __init__(self, websocket: Websocket, limits: Limits) -> None:
        self._websocket = websocket
        self._limits = limits
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = trio.Event()
        self._ending = False
        self._scope = trio.CancelScope()

    def send(self, message: bytes) -> None:
        """Queue one encoded response. A client that does not read them loses the connection."""
        if self._ending:
            return
        self._queue.append(message)
        self._queued_bytes += len(message)
        limits = self._limits
        if len(self._queue) > limits.signal_queue_messages or self._queued_bytes > limits.signal_queue_bytes:
            self.drop()
        self._wake.set()

    def end(self) -> None:
        """Close once everything queued is written."""
        self._ending = True
        self._scope.deadline = trio.current_time() + _FLUSH_TIMEOUT_S
        self._wake.set()

    def drop(self) -> None:
        """Close at once, whatever is queued."""
        self._ending = True
        self._scope.cancel("the signal connection is dropped")

    async def run(self, conversation: Callable[[], Awaitable[None]]) -> None:
        """Have a conversation, which reads requests, until either end closes. Responses are written meanwhile."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await conversation()
                    nursery.cancel_scope.cancel("the client closed the signal connection")
        finally:
            self._ending = True
            await self._websocket.aclose()

    async def receive(self) -> Request | None:
        """The next request, or ``None`` at the end. What does not parse, or nobody knows, is passed over."""
        while True:
            try:
                request = decode_request(await self._websocket.receive())
            except WebsocketClosed:
                return None
            except DecodeError:
                continue
            if request is not None and not self._ending:
                return request

    async def _write(self) -> None:
        while True:
            while self._queue:
                message = self._queue.popleft()
                self._queued_bytes -= len(message)
                try:
                    await self._websocket.send(message)
                except WebsocketClosed:
                    return  # reading ends as well
            if self._ending:
                self._scope.cancel("the last message is written")
                return
            self._wake = trio.Event()
            await self._wake.wait()

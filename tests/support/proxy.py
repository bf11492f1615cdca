"""A TCP proxy in front of a server's signalling that tests cut and block. Peer connections do not pass through it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Messages:
    """The websocket messages in one direction of a connection, after the head of HTTP: how many may pass, and did."""

    def __init__(self) -> None:
        self.left = math.inf
        self.passed = 0
        self._in_head = True
        self._header = bytearray()
        self._payload = 0  # bytes of this frame that have yet to come
        self._ends_message = False

    @property
    def is_over(self) -> bool:
        return self.left <= 0 and not self._in_head

    def take(self, chunk: bytes) -> int:
        """Look at what comes next; returns how many bytes of it belong to messages that may pass."""
        at = 0
        while at < len(chunk) and (self._in_head or self.left > 0):
            if self._payload:
                step = min(self._payload, len(chunk) - at)
                self._payload -= step
                at += step
            else:
                self._header.append(chunk[at])
                at += 1
                if not self._has_header():
                    continue
            if not self._payload and self._ends_message:
                self._ends_message = False
                self.passed += 1
                self.left -= 1
        return at

    def _has_header(self) -> bool:
        """Whether the head of HTTP, or the header of a frame, has just ended (RFC 6455 section 5.2)."""
        header = self._header
        if self._in_head:
            self._in_head = not header.endswith(b"\r\n\r\n")
        else:
            if len(header) < 2:
                return False
            long = {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
            if len(header) < 2 + long + (4 if header[1] & 0x80 else 0):
                return False
            self._payload = int.from_bytes(header[2 : 2 + long], "big") if long else header[1] & 0x7F
            self._ends_message = bool(header[0] & 0x80) and header[0] & 0x0F < 8  # neither ping nor pong nor close
        if not self._in_head:
            header.clear()
        return not self._in_head


class Relayed:
    """One connection: what may pass through it."""

    def __init__(self, bytes_left: float) -> None:
        self.bytes_left = bytes_left
        self.up, self.down = Messages(), Messages()

    def take(self, chunk: bytes, *, is_down: bool) -> bytes:
        """The part of it that passes."""
        messages = self.down if is_down else self.up
        passing = chunk[: int(min(self.bytes_left, messages.take(chunk)))]
        self.bytes_left -= len(chunk)
        return passing

    @property
    def is_over(self) -> bool:
        return self.bytes_left <= 0 or self.up.is_over or self.down.is_over


class SignalProxy:
    """Relays every connection to the server at ``target``."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.refuses = False
        """Whether new connections are closed at once."""
        self.stalls = False
        """Whether new connections are accepted, and nothing passes through them."""
        self.accepted = 0
        """Connections relayed so far."""
        self.is_deaf = False
        """Whether what the server says is lost on the way."""
        self.bytes_to_relay = math.inf
        """Of the next connection, in both directions together; then it is cut."""
        self.messages_to_relay: tuple[str, int] | None = None
        """Of the next connection, ``"up"`` or ``"down"`` and how many; then it is cut."""
        self.last = Relayed(math.inf)
        """The last connection."""
        self._connections: dict[trio.CancelScope, Relayed] = {}

    @property
    def is_busy(self) -> bool:
        """Whether there is a connection."""
        return bool(self._connections)

    def cut(self, *, refuse: bool = False) -> None:
        """Break every connection, as a network would; with ``refuse``, new ones too until that is taken back."""
        self.refuses = refuse
        for scope in self._connections:
            scope.cancel("cut")

    async def wait_accepted(self, count: int = 1, *, within_s: float = 10.0) -> None:
        """Wait until so many more connections are relayed."""
        goal = self.accepted + count
        await wait_until(lambda: self.accepted >= goal, within_s=within_s)

    def cut_after(self, relayed: int) -> None:
        """Break every connection when so many more bytes have passed through it, in both directions together."""
        for connection in self._connections.values():
            connection.bytes_left = relayed

    def cut_after_messages(self, way: str, count: int) -> None:
        """Break every connection when so many more websocket messages have passed, ``"up"`` or ``"down"``."""
        for connection in self._connections.values():
            getattr(connection, way).left = count

    async def relay(self, client: trio.SocketStream) -> None:
        if self.refuses:
            await trio.aclose_forcefully(client)
            return
        self.accepted += 1
        connection = self.last = Relayed(self.bytes_to_relay)
        if self.messages_to_relay is not None:
            way, count = self.messages_to_relay
            getattr(connection, way).left = count
        parts = urlsplit(self.target)
        assert parts.hostname
        assert parts.port
        with trio.CancelScope() as scope:
            self._connections[scope] = connection
            try:
                if self.stalls:
                    async with client:
                        await trio.sleep_forever()
                async with client, await trio.open_tcp_stream(parts.hostname, parts.port) as server:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pump, client, server, connection, scope)
                        await self._pump(server, client, connection, scope, is_down=True)
                        nursery.cancel_scope.cancel("the server closed the connection")
            except OSError:
                pass  # nobody listens there
            finally:
                del self._connections[scope]

    async def _pump(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        connection: Relayed,
        scope: trio.CancelScope,
        *,
        is_down: bool = False,
    ) -> None:
        try:
            async for chunk in source:
                if is_down and self.is_deaf:
                    continue
                await sink.send_all(connection.take(chunk, is_down=is_down))
                if connection.is_over:
                    scope.cancel("the connection has relayed what it was to relay")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        else:
            scope.cancel("one end closed the connection")


@asynccontextmanager
async def signal_proxy(target: str) -> AsyncIterator[SignalProxy]:
    """A proxy to the server at ``target``, for as long as the block lasts."""
    proxy = SignalProxy(target)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, proxy.relay, 0, host="127.0.0.1"))
        proxy.url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
        yield proxy
        nursery.cancel_scope.cancel("the test is over")

"""A TCP proxy in front of a server's signalling that tests cut and block. Peer connections do not pass through it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
        self._connections: dict[trio.CancelScope, list[float]] = {}

    def cut(self, *, refuse: bool = False) -> None:
        """Break every connection, as a network would; with ``refuse``, new ones too until that is taken back."""
        self.refuses = refuse
        for scope in self._connections:
            scope.cancel("cut")

    def cut_after(self, relayed: int) -> None:
        """Break every connection when so many more bytes have passed through it, in both directions together."""
        for budget in self._connections.values():
            budget[0] = relayed

    async def relay(self, client: trio.SocketStream) -> None:
        if self.refuses:
            await trio.aclose_forcefully(client)
            return
        self.accepted += 1
        budget = [self.bytes_to_relay]
        parts = urlsplit(self.target)
        assert parts.hostname
        assert parts.port
        with trio.CancelScope() as scope:
            self._connections[scope] = budget
            try:
                if self.stalls:
                    async with client:
                        await trio.sleep_forever()
                async with client, await trio.open_tcp_stream(parts.hostname, parts.port) as server:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pump, client, server, budget, scope)
                        await self._pump(server, client, budget, scope, is_down=True)
                        nursery.cancel_scope.cancel("the server closed the connection")
            except OSError:
                pass  # nobody listens there
            finally:
                del self._connections[scope]

    async def _pump(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        budget: list[float],
        scope: trio.CancelScope,
        *,
        is_down: bool = False,
    ) -> None:
        try:
            async for chunk in source:
                if is_down and self.is_deaf:
                    continue
                await sink.send_all(chunk[: int(min(budget[0], len(chunk)))])
                budget[0] -= len(chunk)
                if budget[0] <= 0:
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

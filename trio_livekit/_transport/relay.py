"""A TURN server as a network interface: drives one ``TurnClient`` over a connection to its server.

The allocation comes out as a ``DatagramEndpoint`` whose local address is the relayed one, so that a peer connection
uses it like any socket of its own. Permissions, channels and refreshing are the client's affair.
"""

from __future__ import annotations

__all__ = ["Relay", "RelayEndpoint"]

import math
import os
from collections import deque
from typing import TYPE_CHECKING

import trio

from .._sansio.ice.turn import TurnClient
from .._sansio.ice.turn_events import TurnAllocated, TurnFailed, TurnRedirected

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.types import Address
    from .carriers import Carrier
    from .datagrams import DatagramEndpoint
    from .servers import TurnServer

_MAX_WAITING = 4096
"""Datagrams received and not yet taken; beyond that the oldest are lost."""


class Relay:
    """One allocation on one server: ``run`` lasts as long as it does.

    Attributes:
        redirected: where the server wants us to go instead, if it does.
        refusal: why there is no allocation, or no more.
    """

    def __init__(self, server: TurnServer, carrier: Carrier, *, may_redirect: bool = True) -> None:
        self.redirected: Address | None = None
        self.refusal = ""
        self._carrier = carrier
        self._turn = TurnClient(
            server.username,
            server.password,
            random_bytes=os.urandom,
            is_stream=carrier.is_stream,
            may_redirect=may_redirect,
        )
        self._on_allocated: Callable[[RelayEndpoint], None]
        self._endpoint: RelayEndpoint | None = None
        self._sleep = trio.CancelScope()
        self._scope = trio.CancelScope()

    @property
    def server_address(self) -> Address:
        """Where the server is."""
        return self._carrier.server

    @property
    def mapped_address(self) -> Address:
        """Our own address as the server sees it, once there is an allocation."""
        return self._turn.mapped_address or ("0.0.0.0", 0)  # noqa: S104 - "unknown" (RFC 8839 section 5.1)

    async def run(
        self, on_allocated: Callable[[RelayEndpoint], None], on_ending: Callable[[RelayEndpoint], None]
    ) -> None:
        """Make an allocation, and hold it until ``close`` or cancelled, or until the server ends it.

        ``on_ending`` is called just before its endpoint is closed, in the same step, so that nobody sends on one that
        is. Closes the connection to the server, too. ``refusal`` and ``redirected`` say why it returned.
        """
        self._on_allocated = on_allocated
        self._turn.start(trio.current_time())
        try:
            with self._scope:
                async with trio.open_nursery(strict_exception_groups=True) as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._receive)
                    await self._keep_time()
        finally:
            if self._endpoint is not None:
                on_ending(self._endpoint)
                self._endpoint.close()
            await self._carrier.aclose()

    def close(self) -> None:
        """Give the allocation back, as far as the socket takes the message at once, and end ``run``."""
        if not self._scope.cancel_called:
            now = trio.current_time()
            self._turn.close(now)
            self._carrier.send_many(self._turn.datagrams_to_send(now))
            self._scope.cancel("the relay was closed")

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        """Send to a peer; what must wait for the server's permission counts as taken."""
        now = trio.current_time()
        wrapped = [message for data in datagrams if (message := self._turn.wrap(remote, data, now))]
        self._settle(now)
        if not wrapped:
            return len(datagrams)
        return self._carrier.send_many(wrapped)

    async def wait_writable(self) -> None:
        """Wait until a send is worth trying again."""
        await self._carrier.wait_writable()

    async def _receive(self) -> None:
        try:
            while True:
                messages = await self._carrier.receive()
                now = trio.current_time()
                received = [item for message in messages for item in self._turn.receive(message, now)]
                if received and self._endpoint is not None:
                    self._endpoint.on_received(received)
                self._settle(now)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._end(f"the connection to the TURN server broke: {exc}")

    async def _write(self) -> None:
        try:
            await self._carrier.run()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._end(f"the connection to the TURN server broke: {exc}")

    async def _keep_time(self) -> None:
        while True:
            now = trio.current_time()
            self._turn.handle_timeout(now)
            deadline = self._turn.next_timeout()
            with trio.CancelScope(deadline=math.inf if deadline is None else deadline) as self._sleep:
                self._settle(now)
                await trio.sleep_forever()

    def _settle(self, now: float) -> None:
        """Send what the client has to say to the server, and act on what became of the allocation."""
        messages = self._turn.datagrams_to_send(now)
        if messages:
            self._carrier.send_many(messages)
        for event in self._turn.poll_events():
            match event:
                case TurnAllocated(relayed, _):
                    self._endpoint = RelayEndpoint(self, relayed)
                    self._on_allocated(self._endpoint)
                case TurnFailed(reason, code):
                    self._end(f"{reason} ({code})" if code else reason)
                case TurnRedirected(server):
                    self.redirected = server
                    self._scope.cancel("the TURN server sent us elsewhere")
        deadline = self._turn.next_timeout()
        if deadline is not None and deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    def _end(self, reason: str) -> None:
        if not self._scope.cancel_called:
            self.refusal = reason
            self._scope.cancel(reason)


class RelayEndpoint:
    """The relayed address, as a ``DatagramEndpoint``."""

    def __init__(self, relay: Relay, address: Address) -> None:
        self._relay = relay
        self._address = address
        self._received: deque[tuple[bytes, Address]] = deque(maxlen=_MAX_WAITING)
        self._readable = trio.Event()
        self._closed = False

    @property
    def local_address(self) -> Address:
        """The relayed address: where peers reach us."""
        return self._address

    def send(self, data: bytes, remote: Address) -> bool:
        """Send one datagram to a peer. False: not now."""
        return self.send_many([data], remote) == 1

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        """Send datagrams to a peer in order; return how many were taken."""
        self._check_open()
        return self._relay.send_many(datagrams, remote)

    async def wait_readable(self) -> None:
        """Wait until something arrived."""
        await trio.lowlevel.checkpoint()
        while not self._received:
            self._check_open()
            self._readable = trio.Event()
            await self._readable.wait()

    def receive_all(self, limit: int) -> list[tuple[bytes, Address]]:
        """Take up to ``limit`` datagrams that peers sent."""
        self._check_open()
        received = self._received
        return [received.popleft() for _ in range(min(limit, len(received)))]

    async def wait_writable(self) -> None:
        """Wait until a send is worth trying again."""
        self._check_open()
        await self._relay.wait_writable()
        self._check_open()

    def close(self) -> None:
        """Give the allocation back, and wake whoever waits. Idempotent."""
        if not self._closed:
            self._closed = True
            self._received.clear()
            self._readable.set()
            self._relay.close()

    def on_received(self, received: list[tuple[Address, bytes]]) -> None:
        """The server relayed these to us."""
        self._received.extend((data, peer) for peer, data in received)
        self._readable.set()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this relay was closed")


if TYPE_CHECKING:
    _conforms: type[DatagramEndpoint] = RelayEndpoint

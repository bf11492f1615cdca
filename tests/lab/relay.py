"""A bad network on loopback, without root: a UDP relay between one client and one target.

    async with open_relay(server.local_address, model=LinkModel(loss=0.1, delay_s=0.05), seed=1) as relay:
        client.send(b"hello", relay.address)
        relay.up.model = LinkModel(rate_bps=500_000)      # from now on
        relay.down.drop = blocked
        relay.rebind()                                    # as a home router that restarts

Faults are those of the virtual-time link: a ``LinkModel`` for each direction, and ``drop`` for bursts and outages. A
seed fixes the dice, not the order in which the kernel delivers.
"""

from __future__ import annotations

import contextlib
import math
import random
from typing import TYPE_CHECKING

import trio

from trio_livekit._transport.datagrams import UdpEndpoint
from trio_livekit.testing.pair import Link, LinkModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio_livekit._sansio.types import Address

_BATCH = 64


class Relay:
    """One client on one side, the target on the other; see ``open_relay``.

    The client is whoever sent to ``address`` last, so a client that moves is followed.
    """

    def __init__(self, target: Address, up: LinkModel, down: LinkModel, seed: int) -> None:
        self.target = target
        self.up = Link(up, random.Random(f"{seed} up"))
        self.down = Link(down, random.Random(f"{seed} down"))
        self.client: Address | None = None
        self._inside = UdpEndpoint.bind(target[0])
        self._outside = UdpEndpoint.bind(target[0])
        self._wake = {self.up: trio.Event(), self.down: trio.Event()}

    @property
    def address(self) -> Address:
        """Where the client sends to, and what it is answered from."""
        return self._inside.local_address

    @property
    def public_address(self) -> Address:
        """Where the target sees the client."""
        return self._outside.local_address

    def rebind(self) -> None:
        """Change the address that the target sees; what it still sends to the old one is lost."""
        before, self._outside = self._outside, UdpEndpoint.bind(self.target[0])
        before.close()

    def redirect(self, description: str) -> str:
        """An SDP or a candidate line of the target, changed so that who reads it sends to the relay."""
        return description.replace(f" {self.target[0]} {self.target[1]} ", f" {self.address[0]} {self.address[1]} ")

    async def run(self) -> None:
        """Relay until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_client)
            nursery.start_soon(self._hear_target)
            nursery.start_soon(self._carry, self.up, self._to_target)
            nursery.start_soon(self._carry, self.down, self._to_client)

    def close(self) -> None:
        """Close both sockets."""
        self._inside.close()
        self._outside.close()

    async def _hear_client(self) -> None:
        while True:
            await self._inside.wait_readable()
            for data, source in self._inside.receive_all(_BATCH):
                self.client = source
                self._offer(self.up, data)

    async def _hear_target(self) -> None:
        while True:
            outside = self._outside
            try:
                await outside.wait_readable()
                received = outside.receive_all(_BATCH)
            except trio.ClosedResourceError:
                continue  # rebound: go on with the new socket
            for data, source in received:
                if source == self.target:
                    self._offer(self.down, data)

    def _offer(self, link: Link, data: bytes) -> None:
        link.offer(data, trio.current_time())
        self._wake[link].set()

    async def _carry(self, link: Link, send: Callable[[bytes], object]) -> None:
        while True:
            self._wake[link] = trio.Event()
            for data in link.arrivals(trio.current_time()):
                send(data)
            due = link.next_arrival()
            with trio.move_on_at(math.inf if due is None else due):
                await self._wake[link].wait()

    def _to_target(self, data: bytes) -> None:
        self._outside.send(data, self.target)

    def _to_client(self, data: bytes) -> None:
        if self.client is not None:
            self._inside.send(data, self.client)


@contextlib.asynccontextmanager
async def open_relay(
    target: Address, *, model: LinkModel | None = None, back: LinkModel | None = None, seed: int = 0
) -> AsyncIterator[Relay]:
    """Relay to ``target`` while the block runs. ``model`` rules both directions, unless ``back`` rules the way back."""
    up = model or LinkModel()
    relay = Relay(target, up, back or up, seed)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            yield relay
            nursery.cancel_scope.cancel("leaving the relay")
    finally:
        relay.close()

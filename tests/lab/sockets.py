"""A bad network between the sockets of one client and everyone else, in the process of that client.

    async with bad_sockets(LinkModel(loss=0.05)) as sockets, lk.connect(url, token) as room:
        sockets.set_model(LinkModel(mtu=1172))            # from now on

All UDP sockets that are made under the block are on it, those of its sub-tasks too. Unlike the relay, it needs no
change of descriptions, so it fits under a whole client and in front of a real server. TCP is not touched.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING

import trio

from trio_livekit._session import links as session_links
from trio_livekit._transport.datagrams import DatagramEndpoint, UdpEndpoint
from trio_livekit._transport.peer import PeerConfig
from trio_livekit.testing.pair import Link, LinkModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_livekit._sansio.types import Address

_BATCH = 64
_current: ContextVar[BadSockets | None] = ContextVar("bad sockets", default=None)


class BadSockets:
    """The sockets of one client, and what the network does to them."""

    def __init__(self, up: LinkModel, down: LinkModel, seed: int, nursery: trio.Nursery) -> None:
        self.up, self.down = up, down
        self.sizes: set[int] = set()
        """Of the datagrams that were sent; may be cleared at any time."""
        self._seed = seed
        self._nursery = nursery
        self._endpoints: list[BadEndpoint] = []

    def bind(self, host: str) -> BadEndpoint:
        """For ``PeerConfig.bind``."""
        endpoint = BadEndpoint(self, UdpEndpoint.bind(host))
        self._endpoints.append(endpoint)
        self._nursery.start_soon(endpoint.run)
        return endpoint

    def set_model(self, up: LinkModel, down: LinkModel | None = None) -> None:
        """From now on, this is what becomes of datagrams."""
        self.up, self.down = up, down or up
        for endpoint in self._endpoints:
            endpoint.follow()

    def rebind(self) -> None:
        """Have the network see other ports, as behind a router that restarts; what comes to the old ones is lost."""
        for endpoint in self._endpoints:
            endpoint.rebind()

    def link(self, *, is_up: bool) -> Link:
        """A new link; each has dice of its own."""
        self._seed += 1
        return Link(self.up if is_up else self.down, random.Random(self._seed))


class BadEndpoint:
    """A ``DatagramEndpoint`` with a link to and from each address."""

    def __init__(self, sockets: BadSockets, endpoint: UdpEndpoint) -> None:
        self.local_address = endpoint.local_address
        self._sockets = sockets
        self._endpoint = endpoint
        self._up: dict[Address, Link] = {}
        self._down: dict[Address, Link] = {}
        self._inbox: deque[tuple[bytes, Address]] = deque()
        self._readable = trio.Event()
        self._wake = trio.Event()
        self._closed = False

    def follow(self) -> None:
        """Take the model of the sockets."""
        for links, model in ((self._up, self._sockets.up), (self._down, self._sockets.down)):
            for link in links.values():
                link.model = model

    def rebind(self) -> None:
        """Use another port from now on, of which the client knows nothing."""
        if self._closed:
            return
        before, self._endpoint = self._endpoint, UdpEndpoint.bind(self.local_address[0])
        before.close()

    def send(self, data: bytes, remote: Address) -> bool:
        self._check_open()
        self._sockets.sizes.add(len(data))
        self._offer(self._up, data, remote, is_up=True)
        return True

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        return sum(self.send(data, remote) for data in datagrams)

    async def wait_writable(self) -> None:
        await self._endpoint.wait_writable()

    async def wait_readable(self) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            self._check_open()
            self._readable = trio.Event()
            await self._readable.wait()

    def receive_all(self, limit: int) -> list[tuple[bytes, Address]]:
        self._check_open()
        return [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]

    def close(self) -> None:
        self._closed = True
        self._endpoint.close()
        self._readable.set()
        self._wake.set()

    async def run(self) -> None:
        """Hear the real socket, and carry what is due, until closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry)
            while not self._closed:
                with contextlib.suppress(trio.ClosedResourceError):  # or rebound
                    await self._endpoint.wait_readable()
                    for data, remote in self._endpoint.receive_all(_BATCH):
                        self._offer(self._down, data, remote, is_up=False)

    async def _carry(self) -> None:
        while not self._closed:
            self._wake = trio.Event()
            now = trio.current_time()
            for remote, link in list(self._up.items()):
                for data in link.arrivals(now):
                    self._endpoint.send(data, remote)
            for remote, link in list(self._down.items()):
                self._inbox += [(data, remote) for data in link.arrivals(now)]
            if self._inbox:
                self._readable.set()
            links = (*self._up.values(), *self._down.values())
            due = min((at for link in links if (at := link.next_arrival()) is not None), default=math.inf)
            with trio.move_on_at(due):
                await self._wake.wait()

    def _offer(self, links: dict[Address, Link], data: bytes, remote: Address, *, is_up: bool) -> None:
        link = links.get(remote)
        if link is None:
            link = links[remote] = self._sockets.link(is_up=is_up)
        link.offer(data, trio.current_time())
        self._wake.set()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this endpoint was closed")


if TYPE_CHECKING:
    _conforms: type[DatagramEndpoint] = BadEndpoint


def _bind(host: str) -> DatagramEndpoint:
    sockets = _current.get()
    return UdpEndpoint.bind(host) if sockets is None else sockets.bind(host)


def _peer_config(*args: object, **kwargs: object) -> PeerConfig:
    return PeerConfig(*args, **{"bind": _bind, **kwargs})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def bad_sockets(
    up: LinkModel | None = None, down: LinkModel | None = None, *, seed: int = 1
) -> AsyncIterator[BadSockets]:
    """Put a bad network under every client that connects in the block. ``down`` is as ``up``, unless it is given."""
    up = up or LinkModel()
    before = session_links.PeerConfig
    session_links.PeerConfig = _peer_config  # type: ignore[misc, assignment]
    async with trio.open_nursery() as nursery:
        sockets = BadSockets(up, down or up, seed, nursery)
        token = _current.set(sockets)
        try:
            yield sockets
        finally:
            session_links.PeerConfig = before  # type: ignore[misc]
            _current.reset(token)
            nursery.cancel_scope.cancel("leaving the bad network")

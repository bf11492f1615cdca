"""An in-memory datagram network on trio's clock: latency, loss, reordering, MTUs and NATs, replayed by a seed.

Endpoints have the interface of ``trio_livekit._transport.datagrams.DatagramEndpoint``, so that drivers run on it
unchanged. With ``trio.testing.MockClock(autojump_threshold=0)`` an hour of retransmissions passes in a blink.

    network = Network(seed=7, model=LinkModel(delay_s=0.02, loss=0.05))
    alice = network.bind("198.51.100.1")
    home = network.nat("203.0.113.9")
    bob = network.bind("192.168.1.2", behind=home)

There is no task in here: datagrams are under way in a ``Link`` until trio's clock reaches their arrival, and a receiver
sleeps until the first of them.
"""

from __future__ import annotations

__all__ = ["MemoryEndpoint", "Network"]

import ipaddress
import itertools
import math
import random
from typing import TYPE_CHECKING

import trio

from .nat import FIRST_PORT, Nat
from .pair import Link, LinkModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.types import Address
    from .._transport.datagrams import DatagramEndpoint

    Drop = Callable[[bytes], bool] | None


class Network:
    """Hosts, routers, and between every two addresses a ``Link`` in each direction."""

    def __init__(self, *, seed: int = 0, model: LinkModel | None = None) -> None:
        """``model`` applies to every link that ``set_model`` does not name; the default is a perfect network."""
        self._seed = seed
        self._model = model or LinkModel()
        self._models: dict[frozenset[str], LinkModel] = {}
        self._drops: dict[frozenset[str], Drop] = {}
        self._links: dict[tuple[Address, Address], Link] = {}
        self._endpoints: dict[Address, MemoryEndpoint] = {}
        self._nats: dict[str, Nat[MemoryEndpoint]] = {}

    def bind(self, host: str, port: int = 0, *, behind: Nat[MemoryEndpoint] | None = None) -> MemoryEndpoint:
        """Open an endpoint. ``behind`` a NAT, ``host`` is private to that NAT; port 0 takes any free one.

        Raises:
            OSError: the address is taken.
            ValueError: ``host`` is not an IP address.
        """
        ipaddress.ip_address(host)
        neighbours = self._endpoints if behind is None else behind.inside
        if not port:
            port = next(number for number in itertools.count(FIRST_PORT) if (host, number) not in neighbours)
        if (host, port) in neighbours or (behind is None and host in self._nats):
            raise OSError(f"{host} port {port} is taken")
        endpoint = neighbours[host, port] = MemoryEndpoint(self, (host, port), behind)
        return endpoint

    def nat(self, host: str, *, symmetric: bool = False, filtering: bool = True) -> Nat[MemoryEndpoint]:
        """Add a router with one public address, which endpoints can be bound behind.

        Raises:
            OSError: the address is taken.
            ValueError: ``host`` is not an IP address.
        """
        ipaddress.ip_address(host)
        if host in self._nats or any(host == address[0] for address in self._endpoints):
            raise OSError(f"{host} is taken")
        nat = self._nats[host] = Nat(host, symmetric=symmetric, filtering=filtering)
        return nat

    def link(self, source: Address, destination: Address) -> Link:
        """The link from one address to another, as the outside sees them: its counters, its log, its faults."""
        key = (source, destination)
        link = self._links.get(key)
        if link is None:
            hosts = frozenset((source[0], destination[0]))
            dice = random.Random(f"{self._seed} {source} {destination}")  # noqa: S311 - a simulation that must replay
            link = self._links[key] = Link(self._models.get(hosts, self._model), dice)
            link.drop = self._drops.get(hosts)
        return link

    def set_model(self, model: LinkModel, first: str, second: str) -> None:
        """From now on, this is what the links between two hosts (public addresses) do, both ways."""
        self._models[frozenset((first, second))] = model
        for link in self._between(first, second):
            link.model = model

    def set_drop(self, drop: Drop, first: str, second: str) -> None:
        """From now on, ``drop`` decides what is lost between two hosts, before the model does; None: nothing."""
        self._drops[frozenset((first, second))] = drop
        for link in self._between(first, second):
            link.drop = drop

    def _between(self, first: str, second: str) -> list[Link]:
        hosts = {first, second}
        return [link for key, link in self._links.items() if {key[0][0], key[1][0]} == hosts]

    def _carry(self, sender: MemoryEndpoint, data: bytes, remote: Address) -> None:
        """Translate the addresses, and put a datagram on its link; one that nobody is there for is lost."""
        source, nat = sender.local_address, sender.behind
        if nat is not None and remote in nat.inside:  # neighbours behind one router talk past it
            receiver: MemoryEndpoint | None = nat.inside[remote]
        else:
            if nat is not None:
                source = nat.outgoing(source, remote)
            entrance = self._nats.get(remote[0])
            receiver = self._endpoints.get(remote) if entrance is None else entrance.incoming(source, remote[1])
        if receiver is not None:
            link = self.link(source, remote)
            link.offer(data, trio.current_time())
            receiver._expect(link, source)

    def _release(self, endpoint: MemoryEndpoint) -> None:
        neighbours = self._endpoints if endpoint.behind is None else endpoint.behind.inside
        del neighbours[endpoint.local_address]


class MemoryEndpoint:
    """A ``DatagramEndpoint`` on a ``Network``. Made by ``Network.bind``."""

    def __init__(self, network: Network, address: Address, behind: Nat[MemoryEndpoint] | None) -> None:
        self.behind = behind
        self._network = network
        self._address = address
        self._incoming: dict[Link, Address] = {}
        self._sooner = trio.Event()
        self._writable = trio.Event()
        self._writable.set()
        self._closed = False

    @property
    def local_address(self) -> Address:
        """Where this endpoint is bound; private, behind a NAT."""
        return self._address

    def send(self, data: bytes, remote: Address) -> bool:
        """Hand one datagram to the network. False while the endpoint is stalled."""
        self._check_open()
        if not self._writable.is_set():
            return False
        self._network._carry(self, data, remote)
        return True

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        """Hand datagrams to the network in order; none of them while the endpoint is stalled."""
        self._check_open()
        return sum(self.send(data, remote) for data in datagrams)

    def stall(self, stalled: bool = True) -> None:
        """Behave as a socket whose buffer is full, until ``stall(False)``."""
        if not stalled:
            self._writable.set()
        elif self._writable.is_set():
            self._writable = trio.Event()

    async def wait_readable(self) -> None:
        """Wait until the clock has reached an arrival."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            first = min((at for at, _ in self._arrivals()), default=math.inf)
            if first <= trio.current_time():
                return
            if self._sooner.is_set():
                self._sooner = trio.Event()
            with trio.move_on_at(first):
                await self._sooner.wait()

    def receive_all(self, limit: int) -> list[tuple[bytes, Address]]:
        """Take up to ``limit`` datagrams that have arrived, in the order of their arrival."""
        self._check_open()
        now = trio.current_time()
        received: list[tuple[bytes, Address]] = []
        while len(received) < limit:
            at, link = min(self._arrivals(), key=lambda arrival: arrival[0], default=(math.inf, None))
            if link is None or at > now:
                break
            received += [(data, self._incoming[link]) for data in link.arrivals(at)]
        return received

    async def wait_writable(self) -> None:
        """Wait until the endpoint is not stalled."""
        self._check_open()
        await self._writable.wait()
        self._check_open()

    def close(self) -> None:
        """Give the address back; tasks that wait get ``trio.ClosedResourceError``."""
        if not self._closed:
            self._closed = True
            self._network._release(self)
            self._incoming.clear()
            self._sooner.set()
            self._writable.set()

    def _arrivals(self) -> list[tuple[float, Link]]:
        return [(at, link) for link in self._incoming if (at := link.next_arrival()) is not None]

    def _expect(self, link: Link, source: Address) -> None:
        self._incoming[link] = source
        self._sooner.set()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this endpoint was closed")


if TYPE_CHECKING:
    _conforms: type[DatagramEndpoint] = MemoryEndpoint

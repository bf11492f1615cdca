"""A live connection under a flood of malformed datagrams: ``python -m tests.fuzz.flood --datagrams 300000``.

A client is in a room of the embedded server, or of the one at ``--url``. Datagrams that were really sent between the
two are changed and sent again, to the client and to the server: from somebody else's address, and from the true one,
which a sender on the path can have as well. Messages have to arrive all the while, and memory has to stay as it was.

livekit-server 1.13.5 is spared, and only the clients are flooded: its DTLS (pion) answers some forgeries with a fatal
alert, encrypted and thus to be believed, after which our client can but join anew, as it does. They need not come from
the true address: a genuine check that is sent again from another one opens the door to it.
"""

from __future__ import annotations

__all__ = ["Flood", "Tally"]

import argparse
import random
import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

import trio_livekit as lk
from trio_livekit._sansio.ice import stun
from trio_livekit._transport.datagrams import UdpEndpoint
from trio_livekit.server import serve

from . import mutators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_livekit._sansio.types import Address

BATCH = 50
"""Datagrams between two messages of the genuine traffic."""

RECORDED = 400


@dataclass
class Tally:
    """What came of it."""

    datagrams: int = 0
    messages: int = 0
    cpu_s: float = 0.0
    grown_kib: int = 0
    is_same: bool = False
    """Whether the connections of the beginning were there in the end."""


@dataclass
class Wire:
    """Which UDP datagrams went where, from which socket if it is one of this process."""

    seen: list[tuple[UdpEndpoint | None, bytes, Address]] = field(default_factory=list)

    def record(self, endpoint: UdpEndpoint | None, datagrams: list[bytes], remote: Address) -> None:
        self.seen += [(endpoint, bytes(data), remote) for data in datagrams[: RECORDED - len(self.seen)]]


@contextmanager
def recorded_wire() -> Iterator[Wire]:
    """While the block runs, what UDP sockets of this process send and receive is remembered."""
    wire, sent, received = Wire(), UdpEndpoint.send_many, UdpEndpoint.receive_all

    def send_many(self: UdpEndpoint, datagrams: list[bytes], remote: Address) -> int:
        wire.record(self, datagrams, remote)
        return sent(self, datagrams, remote)

    def receive_all(self: UdpEndpoint, limit: int) -> list[tuple[bytes, Address]]:
        arrived = received(self, limit)
        wire.record(None, [data for data, _ in arrived], self.local_address)
        return arrived

    UdpEndpoint.send_many, UdpEndpoint.receive_all = send_many, receive_all  # type: ignore[method-assign]
    try:
        yield wire
    finally:
        UdpEndpoint.send_many, UdpEndpoint.receive_all = sent, received  # type: ignore[method-assign]


class Flood:
    """Malformed datagrams from all sides, in between which two rooms talk."""

    def __init__(self, wire: Wire, stranger: UdpEndpoint, rng: random.Random, *, spare_server: bool) -> None:
        self._sources = [source for source in wire.seen if source[0] is None or not spare_server]
        self._stranger = stranger
        self._rng = rng

    def batch(self) -> int:
        """Send some, and return how many."""
        rng = self._rng
        for _ in range(BATCH):
            endpoint, data, remote = rng.choice(self._sources)
            sender = self._stranger if endpoint is None or rng.random() < 0.5 else endpoint
            sender.send(self._changed(data), remote)
        return BATCH

    def _changed(self, data: bytes) -> bytes:
        rng = self._rng
        if rng.random() < 0.1:
            return data  # as it was: a replay
        if rng.random() < 0.1:
            return rng.randbytes(rng.randrange(1400))
        mutate = mutators.stun if stun.is_stun(data) else mutators.dtls if data[:1] == b"\x16" else mutators.blind
        return mutate(data, rng)[:1400] or b"\0"


async def exchange(alice: lk.Room, bob: lk.Room, packets: Any, payload: bytes) -> None:
    """A message, reliable, which has to arrive."""
    await alice.publish_data(payload)
    with trio.fail_after(30):
        async for packet in packets:
            if packet.payload == payload:
                return


async def run(url: str, tokens: tuple[str, str], datagrams: int, rng: random.Random, *, spare_server: bool) -> Tally:
    """The whole. Raises what goes wrong."""
    tally = Tally()
    with recorded_wire() as wire:
        async with (
            lk.connect(url, tokens[0]) as alice,
            lk.connect(url, tokens[1]) as bob,
            bob.data_packets() as to_bob,
            alice.data_packets() as to_alice,
        ):
            for number in range(10):
                await exchange(alice, bob, to_bob, b"warm %d" % number)
            links = [room._session._connection.links for room in (alice, bob)]
            paths = [link._publisher._core.ice.selected_path for link in links]
            stranger = UdpEndpoint.bind("127.0.0.1")
            flood = Flood(wire, stranger, rng, spare_server=spare_server)
            half_way_kib = 0
            started = time.process_time()
            while tally.datagrams < datagrams:
                tally.datagrams += flood.batch()
                await trio.lowlevel.checkpoint()
                await exchange(alice, bob, to_bob, b"there %d" % tally.datagrams)
                await exchange(bob, alice, to_alice, b"back %d" % tally.datagrams)
                tally.messages += 2
                if tally.datagrams * 2 >= datagrams and not half_way_kib:
                    half_way_kib = resident_kib()
            tally.cpu_s = time.process_time() - started
            tally.grown_kib = resident_kib() - half_way_kib
            tally.is_same = links == [room._session._connection.links for room in (alice, bob)]
            tally.is_same &= paths == [link._publisher._core.ice.selected_path for link in links]
            stranger.close()
    return tally


def resident_kib() -> int:
    """The memory of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


async def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz.flood", description=__doc__)
    options.add_argument("--datagrams", type=int, default=300_000)
    options.add_argument("--url", help="a LiveKit server on this machine, with the key of livekit-server --dev")
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    async with serve() as server:
        url = arguments.url or server.url
        key = ("devkey", "secret") if arguments.url else (server.api_key, server.api_secret)
        tokens = tuple(lk.access_token(*key, identity=name, room="flood") for name in ("alice", "bob"))
        rng = random.Random(arguments.seed)
        tally = await run(url, tokens, arguments.datagrams, rng, spare_server=bool(arguments.url))  # type: ignore[arg-type]
    print(
        f"{tally.datagrams} datagrams, {tally.messages} messages between them, {tally.cpu_s:.1f} s of CPU "
        f"({tally.cpu_s / tally.datagrams * 1e6:.0f} us each), {tally.grown_kib} KiB grown in the second half"
    )
    return 0 if tally.is_same else 1


if __name__ == "__main__":
    sys.exit(trio.run(main))

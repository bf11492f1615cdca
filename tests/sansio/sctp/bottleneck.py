"""Several associations that share one link each way, in virtual time."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from tests.sansio.sctp.harness import one_size
from trio_livekit._sansio.sctp import Association, MessageReceived
from trio_livekit.testing.pair import Link, LinkModel, seeded_random_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


class _Packet(bytes):
    """A packet that knows whose it is."""

    flow: Flow


class Flow:
    """One association from ``a`` to ``b``, and what arrived at ``b``."""

    def __init__(self, seed: int, **config: object) -> None:
        settings = one_size(config)
        self.a = Association(random_bytes=seeded_random_bytes(seed), config=settings)
        self.b = Association(random_bytes=seeded_random_bytes(seed + 1), config=settings)
        self.arrived: list[tuple[float, MessageReceived]] = []
        self.received = 0
        """Bytes."""
        self.feed: Callable[[float], None] = lambda now: None
        """Called whenever something happened: sends what there is to send."""

    def saturate(self, now: float) -> None:
        """A ``feed`` that never runs out of data."""
        while self.a.total_buffered < 2_000_000:
            self.a.send(0, 53, bytes(16384), now=now)


class Bottleneck:
    """The link, and whoever is on it."""

    def __init__(self, model: LinkModel, *, seed: int = 1) -> None:
        self.up = Link(model, random.Random(seed))
        self.down = Link(LinkModel(delay_s=model.delay_s), random.Random(seed + 1))
        self.flows: list[Flow] = []
        self.now = 1000.0

    def add(self, flow: Flow) -> Flow:
        """A flow begins."""
        self.flows.append(flow)
        flow.a.connect(self.now)
        flow.b.connect(self.now)
        return flow

    def run(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        until = self.now + seconds
        self._flush()
        while (due := self._next_due()) <= until:
            self.now = max(self.now, due)
            for link, side in ((self.up, "b"), (self.down, "a")):
                for packet in link.arrivals(self.now):
                    assert isinstance(packet, _Packet)
                    getattr(packet.flow, side).receive_datagram(bytes(packet), self.now)
            for flow in self.flows:
                for core in (flow.a, flow.b):
                    deadline = core.next_timeout()
                    if deadline is not None and deadline <= self.now:
                        core.handle_timeout(self.now)
            self._flush()
        self.now = until

    def _flush(self) -> None:
        for flow in self.flows:
            for event in flow.b.poll_events():
                if isinstance(event, MessageReceived):
                    flow.arrived.append((self.now, event))
                    flow.received += len(event.data)
            flow.a.poll_events()
            if flow.a.is_established:
                flow.feed(self.now)
            for link, core in ((self.up, flow.a), (self.down, flow.b)):
                for data in core.datagrams_to_send(self.now):
                    packet = _Packet(data)
                    packet.flow = flow
                    link.offer(packet, self.now)

    def _next_due(self) -> float:
        dues = [self.up.next_arrival(), self.down.next_arrival()]
        for flow in self.flows:
            dues += [flow.a.next_timeout(), flow.b.next_timeout()]
        return min((due for due in dues if due is not None), default=math.inf)


def jain(shares: list[float]) -> float:
    """Jain's fairness index: 1 when all shares are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))

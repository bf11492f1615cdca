"""Two cores on a scripted link, in virtual time and without trio.

Any two objects with the common surface of a core (``receive_datagram``, ``handle_timeout``, ``datagrams_to_send``,
``next_timeout``, ``poll_events``) can be joined. Time is stepped from one deadline to the next, so an hour of
retransmission runs in a blink, and one seed replays a run exactly.

    pair = Pair(left, right, link=LinkModel(loss=0.1, delay_s=0.05), seed=7)
    pair.a.connect(pair.now)
    pair.run_until(lambda: pair.b_events, timeout_s=10)
"""

from __future__ import annotations

__all__ = ["Core", "Link", "LinkModel", "Pair", "seeded_random_bytes"]

import heapq
import random
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .faults import Bursts, LinkModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.types import RandomBytes

SAME_INSTANT_LIMIT = 10_000
"""Steps without time moving after which a core is taken to be spinning: a bug, reported as one."""


class Core(Protocol):
    """The doors every sans-IO core has."""

    def receive_datagram(self, data: bytes, now: float) -> object: ...
    def handle_timeout(self, now: float) -> None: ...
    def datagrams_to_send(self, now: float) -> list[bytes]: ...
    def next_timeout(self) -> float | None: ...
    def poll_events(self) -> list[Any]: ...


A = TypeVar("A", bound=Core)
B = TypeVar("B", bound=Core)


class Link:
    """One direction. ``model`` may be replaced at any time; ``drop`` decides per datagram, before the model does."""

    def __init__(self, model: LinkModel, rng: random.Random) -> None:
        self._rng = rng
        self._bursts: Bursts | None = None
        self.model = model
        self.drop: Callable[[bytes], bool] | None = None
        self.log: list[tuple[float, bytes]] | None = None  # set to a list to record what is offered to the link
        self.offered = self.dropped = self.delivered = 0
        self.offered_bytes = 0
        self._serial = 0
        self._free_at = 0.0
        self._in_flight: list[tuple[float, int, bytes]] = []

    @property
    def model(self) -> LinkModel:
        """What becomes of each datagram from now on."""
        return self._model

    @model.setter
    def model(self, model: LinkModel) -> None:
        self._model = model
        self._bursts = None
        if model.burst_enter:
            seed = self._rng.getrandbits(32)
            self._bursts = Bursts(enter=model.burst_enter, leave=model.burst_leave, seed=seed)

    @property
    def in_flight(self) -> int:
        """How many datagrams are under way."""
        return len(self._in_flight)

    def next_arrival(self) -> float | None:
        """When the first datagram under way arrives; None if there is none."""
        return self._in_flight[0][0] if self._in_flight else None

    def offer(self, data: bytes, now: float) -> None:
        """Put one datagram on the link at `now`."""
        self.offered += 1
        self.offered_bytes += len(data)
        if self.log is not None:
            self.log.append((now, data))
        leaves_at = self._leaves_at(data, now)
        if leaves_at is None:
            self.dropped += 1
            return
        self._deliver_at(data, leaves_at)
        if self._model.duplicate and self._rng.random() < self._model.duplicate:
            self._deliver_at(data, leaves_at)

    def arrivals(self, now: float) -> list[bytes]:
        """Everything that has arrived by `now`, in order of arrival."""
        arrived = []
        while self._in_flight and self._in_flight[0][0] <= now:
            arrived.append(heapq.heappop(self._in_flight)[2])
        self.delivered += len(arrived)
        return arrived

    def _leaves_at(self, data: bytes, now: float) -> float | None:
        """When the datagram is on the wire, or None if it is lost."""
        model = self._model
        if self.drop is not None and self.drop(data):
            return None
        if self._bursts is not None and self._bursts(data):
            return None
        if model.mtu is not None and len(data) > model.mtu:
            return None
        if model.loss and self._rng.random() < model.loss:
            return None
        if model.rate_bps is None:
            return now
        starts_at = max(now, self._free_at)
        if (starts_at - now) * model.rate_bps / 8 > model.queue_bytes:
            return None
        self._free_at = starts_at + len(data) * 8 / model.rate_bps
        return self._free_at

    def _deliver_at(self, data: bytes, leaves_at: float) -> None:
        model, rng = self._model, self._rng
        delay = model.delay_s
        if model.jitter_s:
            delay += rng.random() * model.jitter_s
        if model.reorder and rng.random() < model.reorder:
            delay += model.reorder_delay_s
        if model.corrupt and rng.random() < model.corrupt:
            data = _flip_one_bit(data, rng)
        self._serial += 1  # first in, first out between equals
        heapq.heappush(self._in_flight, (leaves_at + delay, self._serial, data))


class Pair(Generic[A, B]):
    """Core `a` and core `b` joined by two links, ``a_to_b`` and ``b_to_a``.

    ``a_events`` and ``b_events`` collect what the cores report; ``a_received`` and ``b_received`` collect what a
    core's ``receive_datagram`` returns, where it returns lists (DTLS hands application data out that way).
    """

    def __init__(
        self, a: A, b: B, *, link: LinkModel | None = None, back: LinkModel | None = None, seed: int = 0,
        now: float = 1000.0,
    ) -> None:  # fmt: skip
        link = link or LinkModel()
        rng = random.Random(seed)  # noqa: S311 - a simulation that must replay
        self.a, self.b, self.now = a, b, now
        self.a_to_b = Link(link, random.Random(rng.random()))  # noqa: S311
        self.b_to_a = Link(back or link, random.Random(rng.random()))  # noqa: S311
        self.a_events: list[Any] = []
        self.b_events: list[Any] = []
        self.a_received: list[Any] = []
        self.b_received: list[Any] = []
        self._steps_at_now = 0

    def step(self, until: float | None = None) -> bool:
        """Send what may leave now, then go to the next arrival or deadline (not beyond `until`) and handle it.

        Returns False, without moving time, when nothing is left to happen (before `until`).
        """
        self.flush()
        due = self._next_due()
        if due is None or (until is not None and due > until):
            return False
        if due > self.now:
            self.now = due
            self._steps_at_now = 0
        self._steps_at_now += 1
        if self._steps_at_now > SAME_INSTANT_LIMIT:
            raise AssertionError(f"a core asks for the same instant again and again: t={self.now}")
        self._deliver(self.b_to_a, self.a, self.a_received)
        self._deliver(self.a_to_b, self.b, self.b_received)
        self._expire(self.a)
        self._expire(self.b)
        self.flush()
        return True

    def flush(self) -> None:
        """Take what both cores have to say now: datagrams onto the links, events into the lists."""
        for data in self.a.datagrams_to_send(self.now):
            self.a_to_b.offer(data, self.now)
        for data in self.b.datagrams_to_send(self.now):
            self.b_to_a.offer(data, self.now)
        self.a_events += self.a.poll_events()
        self.b_events += self.b.poll_events()

    def run(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass."""
        until = self.now + seconds
        while self.step(until):
            pass
        self.now = until
        self._steps_at_now = 0

    def run_until(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Step until `condition()` is true; AssertionError when that takes more than `timeout_s` of virtual time."""
        until = self.now + timeout_s
        self.flush()
        while not condition():
            if not self.step(until):
                raise AssertionError(f"condition not met within {timeout_s} s of virtual time (t={self.now})")

    def run_until_idle(self, timeout_s: float = 600.0) -> None:
        """Step until nothing is in flight and no core has a deadline; AssertionError when that takes too long."""
        until = self.now + timeout_s
        while self.step(until):
            pass
        if self._next_due() is not None:
            raise AssertionError(f"not idle within {timeout_s} s of virtual time (t={self.now})")

    def _next_due(self) -> float | None:
        dues = (
            self.a_to_b.next_arrival(), self.b_to_a.next_arrival(), self.a.next_timeout(), self.b.next_timeout(),
        )  # fmt: skip
        return min((max(due, self.now) for due in dues if due is not None), default=None)

    def _deliver(self, link: Link, core: Core, received: list[Any]) -> None:
        for data in link.arrivals(self.now):
            result = core.receive_datagram(data, self.now)
            if isinstance(result, list):
                received += result

    def _expire(self, core: Core) -> None:
        deadline = core.next_timeout()
        if deadline is not None and deadline <= self.now:
            core.handle_timeout(self.now)


def seeded_random_bytes(seed: int) -> RandomBytes:
    """A ``random_bytes`` for tests: the same bytes in every run."""
    return random.Random(seed).randbytes  # noqa: S311


def _flip_one_bit(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data) * 8)
    flipped = bytearray(data)
    flipped[at // 8] ^= 1 << at % 8
    return bytes(flipped)

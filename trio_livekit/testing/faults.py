"""What networks do to datagrams: one vocabulary, for the simulator in virtual time and for the lab on real sockets.

``LinkModel`` says what becomes of each datagram of one direction of a path. ``CONDITIONS`` names the paths that
everything is tested on, and ``EPISODES`` what happens to a path in the middle of a session. They are applied by
``testing.pair`` and ``testing.network`` in virtual time, and by the relay and the network namespaces of the lab.
"""

from __future__ import annotations

__all__ = ["BLOCKED", "CONDITIONS", "EPISODES", "Bursts", "Episode", "LinkModel", "blocked", "udp_payload"]

import random
from dataclasses import dataclass

_IPV4_UDP_HEADERS = 28


@dataclass(frozen=True, slots=True)
class LinkModel:
    """What one direction of a path does to datagrams. Probabilities are per datagram, times in seconds.

    ``jitter_s`` adds a uniform 0..jitter to each delay, so it reorders; ``reorder`` holds that share of datagrams
    back by ``reorder_delay_s`` more. ``rate_bps`` serialises (bits per second) behind a drop-tail queue of
    ``queue_bytes``. ``corrupt`` flips one bit. A datagram above ``mtu`` bytes (of UDP payload) vanishes.
    ``burst_enter`` and ``burst_leave`` are the chances that a burst of loss begins and ends: see ``Bursts``.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    rate_bps: float | None = None
    queue_bytes: int = 256 * 1024
    corrupt: float = 0.0
    mtu: int | None = None
    reorder_delay_s: float = 0.02
    burst_enter: float = 0.0
    burst_leave: float = 0.2


class Bursts:
    """Loss in bursts: the two-state model of Gilbert and Elliott, one step per datagram.

    Each datagram moves the good state to the bad one with chance ``enter``, or back with chance ``leave``, and is lost
    in the bad state with chance ``loss``. A burst lasts ``1 / leave`` datagrams on average, and the share of time spent
    in bursts is ``enter / (enter + leave)``. Two links given one object as ``Link.drop`` fail together, as both ways of
    a radio do.
    """

    def __init__(self, *, enter: float, leave: float, loss: float = 1.0, seed: int = 0) -> None:
        self.enter = enter
        self.leave = leave
        self.loss = loss
        self.bad = False
        self._random = random.Random(seed)  # noqa: S311 - a simulation that must replay

    def __call__(self, data: bytes) -> bool:
        """Whether this datagram is lost."""
        roll = self._random.random
        if roll() < (self.leave if self.bad else self.enter):
            self.bad = not self.bad
        return self.bad and roll() < self.loss


def blocked(data: bytes) -> bool:
    """Lose everything: for ``Link.drop``."""
    return True


def udp_payload(mtu: int) -> int:
    """The largest UDP payload that an IPv4 packet of `mtu` bytes carries."""
    return mtu - _IPV4_UDP_HEADERS


BLOCKED = LinkModel(loss=1.0)
"""UDP does not get through at all."""

_USUAL_S = 0.02
"""One way, of the paths whose fault is another one."""

CONDITIONS: dict[str, LinkModel] = {
    "clean": LinkModel(delay_s=_USUAL_S),
    "loss 1 %": LinkModel(loss=0.01, delay_s=_USUAL_S),
    "loss 5 %": LinkModel(loss=0.05, delay_s=_USUAL_S),
    "loss 20 %": LinkModel(loss=0.2, delay_s=_USUAL_S),
    "loss 50 %": LinkModel(loss=0.5, delay_s=_USUAL_S),
    "loss in bursts": LinkModel(burst_enter=0.02, burst_leave=0.1, delay_s=_USUAL_S),
    "duplicates": LinkModel(duplicate=0.5, delay_s=_USUAL_S),
    "reordering": LinkModel(reorder=0.2, duplicate=0.2, delay_s=_USUAL_S),
    "corruption": LinkModel(corrupt=0.05, delay_s=_USUAL_S),
    "no delay": LinkModel(),
    "delay 250 ms, jitter": LinkModel(delay_s=0.25, jitter_s=0.04),
    "delay 500 ms, jitter": LinkModel(delay_s=0.4, jitter_s=0.1),
    "narrow, short queue": LinkModel(rate_bps=500e3, queue_bytes=12_000, delay_s=_USUAL_S),
    "narrow, bufferbloat": LinkModel(rate_bps=1e6, queue_bytes=256 * 1024, delay_s=_USUAL_S),
    "MTU 1280": LinkModel(mtu=udp_payload(1280), delay_s=_USUAL_S),
    "MTU 1200": LinkModel(mtu=udp_payload(1200), delay_s=_USUAL_S),
    "MTU 1150": LinkModel(mtu=udp_payload(1150), delay_s=_USUAL_S),
    "all at once": LinkModel(
        loss=0.03, duplicate=0.05, reorder=0.05, corrupt=0.01, delay_s=0.05, jitter_s=0.02, rate_bps=4e6,
        queue_bytes=64 * 1024, burst_enter=0.002, burst_leave=0.2,
    ),
}  # fmt: skip
"""Paths by name: what a session has from its beginning to its end, both ways."""


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that happens to a path of ``CONDITIONS["clean"]`` in the middle of a session, and then is over."""

    model: LinkModel
    seconds: float
    rebind: bool = False
    """The client's router also forgets its mappings: the other side sees a new address."""


EPISODES: dict[str, Episode] = {
    "UDP blocked for 3 s": Episode(BLOCKED, 3.0),
    "half of all lost for 10 s": Episode(CONDITIONS["loss 50 %"], 10.0),
    "MTU 1200 for 5 s": Episode(CONDITIONS["MTU 1200"], 5.0),
    "bufferbloat for 10 s": Episode(CONDITIONS["narrow, bufferbloat"], 10.0),
    "the delay jumps to 500 ms for 10 s": Episode(CONDITIONS["delay 500 ms, jitter"], 10.0),
    "NAT rebinding": Episode(CONDITIONS["clean"], 0.0, rebind=True),
    "NAT rebinding after 2 s of nothing": Episode(BLOCKED, 2.0, rebind=True),
}
"""Events by name."""

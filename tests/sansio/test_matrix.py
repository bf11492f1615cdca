"""Whole peer connections over every path and every episode of the vocabulary, in virtual time.

Reliable messages arrive once and in order, or the connection is reported as lost; unreliable ones never stall; nothing
grows without bound; and every handshake completes.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from trio_livekit._sansio.peer import Connected, Failed
from trio_livekit.testing.faults import CONDITIONS, EPISODES, Episode, LinkModel

from .peers import End, connect, make_pair, messages, open_channel, opened

if TYPE_CHECKING:
    from trio_livekit.testing.pair import Pair

SECONDS = 8.0
TICK_S = 0.05
SETTLE_S = 12.0  # two of the longest timeouts, and some
SIZES = (20, 200, 200, 200, 1100, 1180, 4000)
"""Of reliable messages: two in seven need packets of full size."""

HELD_AT_MOST = 64 * 1024
"""Bytes that may wait in any buffer at any time: the traffic offers 40 kB a second."""

HALF_OF_ALL = {"loss 50 %"}
"""Here the offered load cannot be carried: it has to arrive, but later, and buffers grow with it."""


class Traffic:
    """Numbered messages both ways, on a reliable and on a lossy channel, and what has become of them."""

    def __init__(self, pair: Pair[End, End], seed: int) -> None:
        self.pair = pair
        self.reliable = open_channel(pair, "reliable")
        self.lossy = pair.a.peer.open_channel("lossy", ordered=False, max_retransmits=0, now=pair.now)
        pair.run_until(lambda: self.lossy in opened(pair.a_events) & opened(pair.b_events))
        self.sent: list[bytes] = []
        self.largest = 0
        self.fresh: list[tuple[float, int]] = []
        """When unreliable messages arrived at b, and their numbers."""
        self._rng = random.Random(seed)
        self._next = 0

    def run(self, seconds: float) -> None:
        """Send for so long."""
        pair = self.pair
        until = pair.now + seconds
        while pair.now < until - 1e-9 and not lost(pair):
            number = len(self.sent)
            message = b"%06d" % number + bytes(self._rng.choice(SIZES) - 6)
            self.sent.append(message)
            for end in (pair.a, pair.b):
                end.peer.send(self.reliable, message, pair.now)
                end.peer.send(self.lossy, b"%06d" % number + bytes(194), pair.now)
            pair.run(min(TICK_S, until - pair.now))
            self.look()

    def look(self) -> None:
        """Note what arrived, and how much is buffered."""
        pair = self.pair
        arrived = messages(pair.b_events, self.lossy)
        self.fresh += [(pair.now, int(data[:6])) for data in arrived[self._next :]]
        self._next = len(arrived)
        for end in (pair.a, pair.b):
            statistics = end.peer._channels.statistics()
            self.largest = max(self.largest, statistics.buffered, statistics.held)

    def settle(self) -> None:
        """Everything reliable arrives, once and in order; then nothing is left in any buffer."""
        pair = self.pair
        count = len(self.sent)
        both = (pair.a_events, pair.b_events)
        pair.run_until(
            lambda: lost(pair) or all(len(messages(events, self.reliable)) >= count for events in both), timeout_s=120
        )
        assert not lost(pair)
        pair.run(SETTLE_S)
        assert messages(pair.b_events, self.reliable) == messages(pair.a_events, self.reliable) == self.sent
        for end in (pair.a, pair.b):
            statistics = end.peer._channels.statistics()
            assert (statistics.flight, statistics.buffered, statistics.held) == (0, 0, 0)


def lost(pair: Pair[End, End]) -> list[Any]:
    return [event for event in pair.a_events + pair.b_events if isinstance(event, Failed)]


def longest_silence(traffic: Traffic, since: float) -> float:
    """The longest time without an unreliable message while they were being sent."""
    times = [since, *(at for at, _ in traffic.fresh if at >= since), traffic.pair.now]
    return max(after - before for before, after in pairwise(times))


def oldest_arrival(traffic: Traffic, began: float) -> float:
    """How late the latest of the unreliable messages was."""
    return max(at - (began + number * TICK_S) for at, number in traffic.fresh)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_session_over_every_path(name: str):
    model = CONDITIONS[name]
    pair = connect(make_pair(model, seed=len(name)), timeout_s=60)
    traffic = Traffic(pair, seed=1)
    began = pair.now
    traffic.run(SECONDS)
    silence, late = longest_silence(traffic, began), oldest_arrival(traffic, began)
    traffic.settle()
    assert silence < model.delay_s + (4.0 if name in HALF_OF_ALL else 1.5)
    if name not in HALF_OF_ALL:
        assert traffic.largest < HELD_AT_MOST
        assert late < model.delay_s + model.jitter_s + 1.0


@pytest.mark.parametrize("name", EPISODES)
def test_a_session_through_every_episode(name: str):
    episode = EPISODES[name]
    clean = CONDITIONS["clean"]
    pair = connect(make_pair(clean, seed=3))
    traffic = Traffic(pair, seed=2)
    traffic.run(2.0)
    strike(pair, episode)
    traffic.run(episode.seconds)
    pair.a_to_b.model = pair.b_to_a.model = clean
    healed = pair.now
    traffic.run(4.0)
    silence = longest_silence(traffic, healed)
    traffic.settle()
    assert silence < 2.0


def strike(pair: Pair[End, End], episode: Episode) -> None:
    pair.a_to_b.model = pair.b_to_a.model = episode.model
    if episode.rebind:
        pair.b.move_remote()


@pytest.mark.parametrize("seed", range(20))
def test_handshakes_complete_where_a_fifth_of_all_packets_is_lost(seed: int):
    pair = make_pair(LinkModel(loss=0.2, delay_s=0.02), seed=seed)
    pair.run_until(lambda: Connected() in pair.a_events and Connected() in pair.b_events, timeout_s=10)

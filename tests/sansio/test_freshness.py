"""A link that takes much less than there is to send: what may be lost is fresh, or dropped and counted (R8).

The cores that a session has between the application and the network, in virtual time: the queues of lossy packets and
of data tracks, and one association, whose network buffers for seconds.
"""

from __future__ import annotations

import pytest

from tests.sansio.sctp.bottleneck import Bottleneck, Flow
from trio_livekit._sansio.channels.table import RELIABLE_WEIGHT
from trio_livekit._sansio.packets.lossy_queue import MAX_AGE_S, LossyQueue
from trio_livekit._sansio.tracks.clock import MediaClock
from trio_livekit._sansio.tracks.depacketizer import Depacketizer
from trio_livekit._sansio.tracks.packet import decode
from trio_livekit._sansio.tracks.packetizer import Packetizer, fitting_packet_size
from trio_livekit._sansio.tracks.send_queue import FRESH_S, SendQueue
from trio_livekit.testing.pair import LinkModel

RELIABLE, LOSSY, TRACK = 1, 2, 3
TICK_S = 0.005
LOSSY_S, FRAME_S = 0.02, 0.05


class Starved:
    """Sends reliable messages as fast as they are taken, and lossy ones and frames at their times."""

    def __init__(self, model: LinkModel, *, reliable_bytes: int, frame_bytes: int) -> None:
        self.net, self.flow = Bottleneck(model), Flow(1)
        self.association = self.flow.a
        self.association.set_weight(RELIABLE, RELIABLE_WEIGHT)
        self.reliable_bytes, self.frame_bytes = reliable_bytes, frame_bytes
        self.lossy, self.frames = LossyQueue(), SendQueue()
        self.packetizer = Packetizer(7, MediaClock(0, 0.0))
        self.pushed: dict[int, list[float]] = {LOSSY: [], TRACK: []}
        self.due = {LOSSY: 0.0, TRACK: 0.0}
        self.refused = self.outdated = 0
        self.net.add(self.flow)
        self.net.run(1)
        self.flow.feed = self.send

    def run(self, seconds: float) -> None:
        until = self.net.now + seconds
        self.due = dict.fromkeys(self.due, self.net.now)
        while self.net.now < until:
            now = self.net.now
            if now >= self.due[LOSSY]:
                self.due[LOSSY] += LOSSY_S
                self.lossy.push(b"%06d" % len(self.pushed[LOSSY]) + bytes(194), now)
                self.pushed[LOSSY].append(now)
            if now >= self.due[TRACK]:
                self.due[TRACK] += FRAME_S
                self.push_frame(now)
            self.send(now)
            self.net.run(TICK_S)

    def push_frame(self, now: float) -> None:
        self.packetizer.use_packet_size(fitting_packet_size(self.association.polite_amount))
        frame = b"%06d" % len(self.pushed[TRACK]) + bytes(self.frame_bytes - 6)
        self.pushed[TRACK].append(now)
        if not self.frames.make_room(7, now):
            self.refused += 1
            return
        assert self.frames.push(7, self.packetizer.packetize(frame, now), now)
        unsent = self.association.unsent_amount(TRACK)
        if unsent and self.frames.wants_back(7, unsent, now):
            again = self.frames.take_back(self.association.withdraw(TRACK))
            self.frames.handed_bytes += sum(map(len, again))
            self.hand_over(again, now)

    def send(self, now: float) -> None:
        association = self.association
        while association.unsent_amount(RELIABLE) < 32 * 1024:
            association.send(RELIABLE, 53, bytes(self.reliable_bytes), now=now)
        for expires_at, message in self.lossy.messages_to_send(association.unsent_amount(LOSSY), now):
            association.send(
                LOSSY, 53, message, now=now, ordered=False, max_retransmits=0, lifetime_s=expires_at - now
            )  # fmt: skip
        self.frames.follow(association.prompt_amount)
        self.hand_over(self.frames.packets_to_send(association.unsent_amount(TRACK), now), now)
        self.outdated += sum(self.frames.take_outdated().values())

    def hand_over(self, packets: list[bytes], now: float) -> None:
        for index, packet in enumerate(packets):
            more = index < len(packets) - 1 or self.frames.is_midway
            self.association.send(TRACK, 53, packet, now=now, ordered=False, max_retransmits=0, more=more)

    def ages(self, kind: int) -> list[float]:
        """Of what arrived whole, in the order of arrival."""
        depacketizer = Depacketizer()
        ages = []
        numbers = []
        for at, message in self.flow.arrived:
            if message.stream_id != kind:
                continue
            data: bytes | None = message.data
            if kind == TRACK:
                whole = depacketizer.push(decode(message.data))
                data = None if whole is None else whole.payload
            if data is not None:
                numbers.append(int(data[:6]))
                ages.append(at - self.pushed[kind][numbers[-1]])
        assert numbers == sorted(set(numbers))
        return ages


@pytest.mark.parametrize(("reliable_bytes", "frame_bytes"), [(1000, 1000), (1000, 5000), (15_000, 5000)])
def test_what_may_be_lost_is_fresh_beside_reliable_data_that_fills_the_link(
    reliable_bytes: int, frame_bytes: int
) -> None:
    """At 300 kbit/s, with a queue of 1.7 s on the way: it took lossy packets 3 s, and frames 16 s."""
    rate_bps = 300e3
    starved = Starved(
        LinkModel(delay_s=0.02, rate_bps=rate_bps, queue_bytes=64 * 1024),
        reliable_bytes=reliable_bytes,
        frame_bytes=frame_bytes,
    )
    starved.run(3)
    settled = len(starved.pushed[LOSSY]), len(starved.pushed[TRACK])
    received = starved.flow.received
    starved.flow.arrived.clear()
    starved.run(8)
    assert (starved.flow.received - received) * 8 > 0.9 * 8 * rate_bps  # nothing is left unused
    on_the_way = 0.02 + 6 * 1191 * 8 / rate_bps  # a short queue
    blocked = reliable_bytes * 8 / rate_bps  # a message that has been begun is not interrupted
    lossy = starved.ages(LOSSY)
    assert max(lossy) < MAX_AGE_S + on_the_way
    assert len(lossy) > 0.4 * (len(starved.pushed[LOSSY]) - settled[0])
    frames = starved.ages(TRACK)
    takes = frame_bytes * 8 / rate_bps
    assert max(frames) < FRAME_S + FRESH_S + 2 * takes + blocked + on_the_way
    assert sorted(frames)[len(frames) // 2] < FRESH_S + takes + on_the_way
    assert len(frames) >= 8
    waiting = starved.frames.queued(7)
    assert starved.outdated > 0
    assert starved.refused == 0
    assert waiting < 4
    association = starved.association
    dropped = starved.lossy.dropped + association.expired_count(LOSSY)
    assert 0 < dropped < len(starved.pushed[LOSSY])


def test_the_short_queue_is_given_up_where_it_is_not_ours() -> None:
    """Another sender fills the queue of the network: who kept it short would get next to nothing."""
    model = LinkModel(delay_s=0.02, rate_bps=4e6, queue_bytes=40_000)
    starved, other = Starved(model, reliable_bytes=1000, frame_bytes=5000), Flow(100, congestion="newreno")
    other.feed = other.saturate
    starved.net.add(other)
    starved.run(4)
    before = starved.flow.received, other.received
    starved.run(6)
    ours, theirs = starved.flow.received - before[0], other.received - before[1]
    assert 0.6 < ours / theirs < 1.6


def test_the_least_delay_of_the_path_stays_known() -> None:
    """A queue that is kept would hide it in half a minute, and be taken for the path: then one could be built on it."""
    starved = Starved(
        LinkModel(delay_s=0.02, rate_bps=300e3, queue_bytes=64 * 1024), reliable_bytes=1000, frame_bytes=300
    )
    starved.run(70)
    least_s = starved.association.statistics().min_rtt_s
    assert least_s is not None
    assert least_s < 0.04 + 3 * 1191 * 8 / 300e3

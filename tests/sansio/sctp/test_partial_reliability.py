"""Giving messages up (RFC 3758)."""

from __future__ import annotations

from functools import partial

import pytest

from tests.sansio.sctp.harness import HandmadePeer, chunks_of, data_chunk, joined, messages
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.tx.loss import LossDetector
from trio_livekit.testing.pair import LinkModel


def forward(tsn: int, *streams: tuple[int, int]) -> bytes:
    return c.encode_forward_tsn(c.ForwardTsn(tsn & 0xFFFFFFFF, list(streams)))


def times_sent(log: list[tuple[float, bytes]]) -> dict[bytes, int]:
    """How often each DATA chunk was put on the link, by its TSN."""
    count: dict[bytes, int] = {}
    for _, packet in log:
        for kind, _, body in chunks_of(packet):
            if kind == c.DATA:
                count[body[:4]] = count.get(body[:4], 0) + 1
    return count


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_fragment_is_sent_no_more_often_than_allowed(limit: int):
    pair = joined(LinkModel(delay_s=0.02, loss=0.3), seed=4)
    pair.a_to_b.log = log = []
    for n in range(100):
        pair.a.send(0, 53, b"%04d" % n * 600, now=pair.now, max_retransmits=limit)
        pair.run(0.02)
    pair.run_until_idle()
    assert max(times_sent(log).values()) == limit + 1
    got = messages(pair.b_events)
    assert got == sorted(got)
    assert len(got) < 100
    assert pair.a.statistics().abandoned_messages >= 100 - len(got)
    assert pair.b.statistics().held == 0
    assert pair.a.total_buffered == 0


def test_what_is_lost_is_skipped_within_two_round_trips():
    """The receiver is told by a FORWARD-TSN at once when the loss is detected, not after a retransmission timeout."""
    pair = joined(LinkModel(delay_s=0.05))
    pair.a.send(0, 53, b"warm up", now=pair.now)
    pair.run_until_idle()
    pair.a_to_b.drop = lambda _: True
    pair.a.send(0, 53, b"lost", now=pair.now, max_retransmits=0)
    pair.flush()
    pair.a_to_b.drop = None
    pair.b_events.clear()
    started = pair.now
    for n in range(5):
        pair.a.send(0, 53, b"%d" % n, now=pair.now, max_retransmits=0)
        pair.run(0.005)
    pair.run_until(lambda: messages(pair.b_events))
    assert pair.now - started < 0.2
    assert pair.a.statistics().timeouts == 0
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_lost_tail_is_given_up_by_the_timeout_and_all_is_quiet_then():
    pair = joined()
    pair.a_to_b.drop = lambda _: True
    pair.a.send(0, 53, bytes(5000), now=pair.now, max_retransmits=0)
    pair.flush()
    pair.a_to_b.drop = None
    pair.run_until_idle(timeout_s=5)
    assert pair.a.total_buffered == 0
    pair.a.send(0, 53, b"next", now=pair.now, max_retransmits=0)
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"next"]


def test_lifetime_ends_before_the_first_transmission():
    pair = joined(LinkModel(delay_s=0.02, rate_bps=8e5))
    for n in range(30):
        pair.a.send(0, 53, bytes([n]) * 10_000, now=pair.now, lifetime_s=0.5)
    pair.run_until_idle()
    got = messages(pair.b_events)
    assert 3 <= len(got) <= 12
    assert pair.a_to_b.offered_bytes < 150_000  # what had expired was never sent
    assert pair.a.total_buffered == 0


def test_lifetime_ends_in_the_middle_of_a_message():
    pair = joined(LinkModel(delay_s=0.02, rate_bps=8e5))
    pair.a.send(0, 53, bytes(60_000), now=pair.now, lifetime_s=0.2)
    pair.a.send(0, 53, b"next", now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"next"]
    assert pair.b.statistics().held == 0
    assert pair.a_to_b.offered_bytes < 50_000


def test_half_a_message_given_up_after_all_that_was_sent_arrived():
    """The peer has every TSN that was sent, so only an extra TSN makes the FORWARD-TSN that ends its wait."""
    peer = HandmadePeer(initial_window_packets=2)
    peer.association.send(7, 53, bytes(10_000), now=peer.now, lifetime_s=0.2)
    sent = [body for kind, _, body in peer.received() if kind == c.DATA]
    peer.now += 0.3
    peer.sack(len(sent) - 1)
    forwards = [c.decode_forward_tsn(body) for kind, _, body in peer.received() if kind == c.FORWARD_TSN]
    assert forwards == [(peer.init.initial_tsn + len(sent) & 0xFFFFFFFF, [(7, 0)])]
    peer.sack(len(sent))
    assert peer.association.next_timeout() is None


def test_mixed_with_reliable_messages():
    pair = joined(LinkModel(delay_s=0.02, loss=0.1, jitter_s=0.01, duplicate=0.05), seed=8)
    for n in range(300):
        pair.a.send(1, 53, b"R%04d" % n * 300, now=pair.now)
        pair.a.send(2, 53, b"L%04d" % n * 300, now=pair.now, max_retransmits=0, ordered=False)
        pair.run(0.01)
    pair.run_until_idle()
    got = messages(pair.b_events)
    assert [data for data in got if data[:1] == b"R"] == [b"R%04d" % n * 300 for n in range(300)]
    lossy = [data for data in got if data[:1] == b"L"]
    assert len(set(lossy)) == len(lossy) > 200


@pytest.mark.parametrize("delay_s", [0.005, 0.001])
def test_reordering_does_not_cost_unreliable_messages(delay_s: float, monkeypatch: pytest.MonkeyPatch):
    """Packets held back by 20 ms are late, not lost, once the sender has seen that happen; pion tells no duplicates."""
    monkeypatch.setattr(LossDetector, "on_duplicates", lambda *_: 0)
    pair = joined(LinkModel(delay_s=delay_s, reorder=0.2), seed=3)
    for n in range(1200):
        pair.a.send(2, 53, b"%04d" % n * 50, now=pair.now, max_retransmits=0, ordered=False)
        pair.run(0.01)
    pair.run_until_idle()
    assert len(messages(pair.b_events)) >= 1200 * 0.99


def overtaken(count: int, *, ordered: bool = False) -> HandmadePeer:
    """A peer that has all of so many unreliable messages but the first, which the sender has just given up."""
    peer = HandmadePeer(initial_window_packets=1000)
    send = partial(peer.association.send, 1, 53, ordered=ordered, max_retransmits=0)
    send(b"first of all", now=peer.now)
    peer.received()
    peer.now += 0.01
    peer.sack(0)
    for n in range(count):
        send(b"%d" % n, now=peer.now)
    while peer.received():
        peer.now += 0.001
    peer.now += 0.01
    peer.sack(0, (2, count))
    peer.now += 0.01
    peer.association.handle_timeout(peer.now)
    assert peer.association.statistics().abandoned_messages == 1
    return peer


def skips(peer: HandmadePeer) -> list[int]:
    """Which of our TSNs the peer is told to skip to."""
    bodies = [body for kind, _, body in peer.received() if kind == c.FORWARD_TSN]
    return [c.decode_forward_tsn(body).cumulative_tsn - peer.init.initial_tsn & 0xFFFFFFFF for body in bodies]


def test_what_was_given_up_is_waited_for_a_little_while():
    peer = overtaken(4)
    assert skips(peer) == []
    due = peer.association.next_timeout()
    assert due is not None
    assert 0.05 < due - peer.now < 0.15
    peer.now = due
    peer.association.handle_timeout(peer.now)
    assert skips(peer) == [1]
    peer.sack(4)
    assert peer.association.next_timeout() is None


def test_what_was_given_up_and_arrives_after_all_is_a_lesson():
    peer = overtaken(4)
    peer.sack(4)
    assert skips(peer) == []
    assert peer.association.next_timeout() is None
    peer.association.send(1, 53, b"late again", now=peer.now, ordered=False, max_retransmits=0)
    peer.association.send(1, 53, b"and overtaken", now=peer.now, ordered=False, max_retransmits=0)
    peer.received()
    peer.now += 0.01
    peer.sack(4, (2, 2))
    peer.now += 0.01
    peer.association.handle_timeout(peer.now)
    assert peer.association.statistics().abandoned_messages == 1


@pytest.mark.parametrize(
    ("count", "ordered"), [(4, True), (300, False)], ids=["others wait for it", "overtaken by many"]
)
def test_what_was_given_up_is_not_waited_for(count: int, ordered: bool):
    assert skips(overtaken(count, ordered=ordered)) == [1]


# The receiver of a FORWARD-TSN


def test_forward_tsn_releases_what_waited_and_drops_what_was_partial():
    peer = HandmadePeer()
    peer.send(data_chunk(1001, b"half", flags=2, stream_id=4), data_chunk(1003, b"whole", stream_id=4, ssn=1))
    assert messages(peer.events()) == []
    peer.received()
    peer.send(forward(1002, (4, 0)))
    assert messages(peer.events()) == [b"whole"]
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [1003]
    assert peer.association.statistics().held == 0


def test_forward_tsn_that_is_old_lost_or_late():
    peer = HandmadePeer()
    peer.send(forward(1005))
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [1005]
    for old in (1005, 1003, 900):
        peer.send(forward(old, (0, 40)))
        assert [sack.cumulative_tsn for sack in peer.sacks()] == [1005]
    peer.send(data_chunk(1002, b"late"))
    assert messages(peer.events()) == []
    peer.send(data_chunk(1006, b"next", ssn=0))
    assert messages(peer.events()) == [b"next"]


def test_forward_tsn_is_repeated_until_it_is_acknowledged():
    pair = joined(LinkModel(delay_s=0.02))
    pair.a.send(0, 53, b"warm up", now=pair.now)
    pair.run_until_idle()
    pair.a_to_b.drop = lambda packet: True
    for n in range(3):
        pair.a.send(0, 53, b"%d" % n, now=pair.now, max_retransmits=0)
    pair.run(3)
    pair.a_to_b.drop = None
    pair.run_until_idle(timeout_s=10)
    pair.a.send(0, 53, b"after", now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"warm up", b"after"]

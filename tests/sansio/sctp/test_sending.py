"""Loss recovery, timers and windows of the sender."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sansio.sctp.harness import HandmadePeer, chunks_of, joined, messages
from trio_livekit._sansio.sctp import AssociationLost
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.tx.rto import RtoEstimator
from trio_livekit.errors import TransportError
from trio_livekit.testing.pair import LinkModel


def tsns(peer: HandmadePeer) -> list[int]:
    """The DATA that leaves now, by TSN counted from 0."""
    return [
        int.from_bytes(body[:4], "big") - peer.init.initial_tsn & 0xFFFFFFFF
        for kind, _, body in peer.received()
        if kind == c.DATA
    ]


def sent(count: int, size: int = 1000, **kwargs: object) -> HandmadePeer:
    """A peer to which `count` messages have left, with a round trip time of 100 ms known."""
    peer = HandmadePeer()
    for _ in range(2):  # the acknowledgement of one alone might have been delayed
        peer.now += 0.1
        peer.association.send(9, 53, b"warm up", now=peer.now)
        peer.received()
    peer.now += 0.1
    peer.sack(1)
    peer.init = c.Init(
        **{**{s: getattr(peer.init, s) for s in peer.init.__slots__}, "initial_tsn": peer.init.initial_tsn + 2}
    )
    for _ in range(count):
        peer.association.send(0, 53, bytes(size), now=peer.now, **kwargs)
    assert tsns(peer) == list(range(count))
    return peer


def plain_sack(peer: HandmadePeer, tsn: int, gaps: list[tuple[int, int]], window: int) -> bytes:
    """A packet that acknowledges up to `tsn`, without a checksum, as livekit-server sends them."""
    chunk = c.encode_sack(peer.init.initial_tsn + tsn & 0xFFFFFFFF, window, gaps, [])
    return peer.sealer.seal_all([chunk], zero_checksum=True)[0]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(-1, 7),
            st.sampled_from([[], [], [], [(2, 2)], [(2, 3), (5, 5)]]),
            st.sampled_from([1 << 20, 5000, 0]),
        ),
        max_size=8,
    )
)
def test_sacks_that_come_together_do_what_each_of_them_does(sacks: list[tuple[int, list[tuple[int, int]], int]]):
    together, apart = sent(10), sent(10)
    together.association.receive_datagrams([plain_sack(together, *sack) for sack in sacks], together.now)
    for sack in sacks:
        apart.association.receive_datagram(plain_sack(apart, *sack), apart.now)
    left = [
        (tsns(peer), peer.association.buffered_amount(0), statistics.flight, statistics.peer_window)
        for peer in (together, apart)
        if (statistics := peer.association.statistics())
    ]
    assert left[0] == left[1]


def test_an_old_sack_behind_a_new_one_in_a_batch_takes_nothing_back():
    peer = sent(10)
    packets = [plain_sack(peer, tsn, [], window) for tsn, window in ((3, 1 << 20), (9, 1 << 20), (5, 0))]
    peer.association.receive_datagrams(packets, peer.now)
    assert peer.association.buffered_amount(0) == 0
    peer.association.send(0, 53, b"the window is open", now=peer.now)
    assert tsns(peer) == [10]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1159, 1160, 1161, 1162, 2320, 2321, 65536])
def test_every_size_arrives_and_no_packet_is_too_long(size: int):
    pair = joined()
    pair.a_to_b.model = LinkModel(delay_s=0.01, mtu=1191)
    content = bytes(n * 7 & 0xFF for n in range(size))
    pair.a.send(3, 53, content, now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [content]
    assert pair.a.statistics().retransmits == 0


def test_limits_on_messages():
    pair = joined(max_message_size=1000)
    with pytest.raises(ValueError, match="empty"):
        pair.a.send(0, 53, b"", now=pair.now)
    with pytest.raises(ValueError, match="1001 bytes"):
        pair.a.send(0, 53, bytes(1001), now=pair.now)
    pair = joined(max_message_size=0)
    pair.a.send(0, 53, bytes(100_000), now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [bytes(100_000)]


def test_small_messages_share_packets():
    pair = joined()
    for n in range(100):
        pair.a.send(0, 53, b"%03d" % n * 10, now=pair.now)
    before = pair.a_to_b.offered
    pair.run_until_idle()
    assert pair.a_to_b.offered - before <= 6
    assert messages(pair.b_events) == [b"%03d" % n * 10 for n in range(100)]


def test_one_lost_packet_is_sent_again_after_one_round_trip_and_only_it():
    peer = sent(8)
    peer.now += 0.1
    peer.sack(0, (2, 7))  # 1 is missing, 2..7 are there
    check_at = peer.association.next_timeout()
    assert check_at <= peer.now + 0.1 / 4 + 0.001
    peer.now = check_at
    peer.association.handle_timeout(peer.now)
    assert tsns(peer) == [1]


def test_the_window_shrinks_once_for_each_window_of_data():
    peer = sent(8)
    before = peer.association.statistics().cwnd
    peer.now += 0.1
    peer.sack(-1, (3, 3), (5, 5), (7, 8))
    peer.now = peer.association.next_timeout()
    peer.association.handle_timeout(peer.now)
    assert tsns(peer) == [0, 1, 3, 5]
    after = peer.association.statistics().cwnd
    assert before / 2 <= after < before
    peer.now += 0.1
    peer.sack(0, (2, 2), (4, 4), (6, 7))  # 1 is still missing, though 3 and 5 were sent after it
    peer.sack(0, (2, 4), (6, 7))
    assert peer.association.statistics().cwnd >= after


def test_a_lost_tail_is_probed_long_before_the_retransmission_timeout():
    peer = sent(5)
    rto = peer.association.statistics().rto_s
    started = peer.now
    peer.now = peer.association.next_timeout()
    assert peer.now - started == pytest.approx(0.152)
    assert peer.now - started < rto
    peer.association.handle_timeout(peer.now)
    assert tsns(peer) == [4]  # the last one again: its acknowledgement will show what else is missing
    peer.now += 0.1
    peer.sack(-1, (5, 5))
    assert tsns(peer) == [0, 1, 2, 3]


def test_a_single_packet_is_given_time_for_a_delayed_acknowledgement():
    peer = sent(1)
    assert peer.association.next_timeout() - peer.now == pytest.approx(0.35)


def test_a_delayed_acknowledgement_of_a_single_packet_is_not_the_round_trip():
    """A stream that begins after a pause would be paced for it, and lose its first frames."""
    pair = joined(LinkModel(delay_s=0.005), sack_delay_s=0.2)
    for _ in range(3):
        pair.a.send(0, 53, b"seldom", now=pair.now)
        pair.run(1.0)
    assert pair.a.statistics().srtt_s == pytest.approx(0.01, abs=0.002)
    assert pair.a.statistics().rto_s > 0.25
    for _ in range(40):
        pair.a.send(0, 53, bytes(1000), now=pair.now, ordered=False, max_retransmits=0)
        pair.run(0.0005)
        assert pair.a.unsent_amount(0) < 10_000
    assert pair.a.statistics().abandoned_messages == 0


def test_what_no_delay_explains_of_a_single_packet_counts():
    rto = RtoEstimator(0.5, 0.25, 5.0)
    rto.expect(0.01)
    rto.sample(0.2, 1.0, was_alone=True)
    assert (rto.srtt, rto.latest) == (0.01, 0.01)
    rto.sample(0.6, 2.0, was_alone=True)
    assert rto.latest == pytest.approx(0.4)
    assert rto.timeout >= 0.6  # it took that long, whoever was late
    rto.sample(0.004, 3.0, was_alone=True)
    assert rto.min_rtt == 0.004


def test_timeouts_back_off_to_five_seconds_and_never_give_up():
    peer = sent(3)
    times = []
    for _ in range(12):
        before = peer.association.statistics().timeouts
        while peer.association.statistics().timeouts == before:
            peer.now = peer.association.next_timeout()
            peer.association.handle_timeout(peer.now)
            sent_now = tsns(peer)
        times.append(peer.now)
        assert sent_now[0] == 0
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] == pytest.approx(2 * 0.35, rel=0.2)
    assert gaps[-1] == pytest.approx(5.0)
    peer.now += 0.1
    peer.sack(2)
    assert peer.association.next_timeout() is None
    assert peer.association.statistics().rto_s < 0.5


def test_a_premature_timeout_is_undone():
    """Nothing was lost, the path stalled: the window comes back, and the flight is not sent again."""
    peer = sent(8)
    before = peer.association.statistics()
    peer.wait(0.5)
    assert peer.association.statistics().timeouts == 1
    peer.sack(3)
    assert peer.association.statistics().cwnd >= before.cwnd
    assert peer.association.statistics().retransmits <= 3
    assert tsns(peer) == []


def test_what_had_been_sent_again_before_a_premature_timeout_is_judged_lost_once_more():
    """Else it waits for ever: acknowledgements of what follows put the timeout off."""
    peer = sent(10)
    peer.now += 0.1
    peer.sack(-1, (6, 7))  # 0 to 4 are missing
    peer.now = peer.association.next_timeout()
    peer.association.handle_timeout(peer.now)
    assert tsns(peer) == [0, 1, 2, 3]  # and these are lost again
    peer.now = peer.association.next_timeout()
    peer.association.handle_timeout(peer.now)
    assert tsns(peer) == [0, 1]
    peer.sack(-1, (6, 10))  # 7 to 9, sent before the timeout, were only late
    assert tsns(peer) == [4]
    repeated = []
    for newest in range(9, 20):
        peer.now += 0.1
        peer.sack(1, (3, newest - 1))  # whatever else was sent arrives, and is acknowledged
        peer.association.handle_timeout(peer.now)
        repeated += tsns(peer)
        peer.association.send(0, 53, bytes(1000), now=peer.now)
        assert tsns(peer) == [newest + 1]
    assert repeated[:2] == [2, 3]
    assert peer.association.statistics().timeouts == 1


def test_recovery_of_the_path_sends_at_once():
    peer = sent(5)
    peer.wait(12)
    peer.now += 0.01
    peer.association.on_path_recovered(peer.now)
    assert tsns(peer) == [0, 1, 2, 3, 4]
    assert peer.association.statistics().rto_s < 0.5


def test_zero_window_is_probed_with_one_chunk_and_reopens():
    peer = HandmadePeer(window=0)
    for _ in range(5):
        peer.association.send(0, 53, bytes(1000), now=peer.now)
    assert tsns(peer) == [0]
    peer.sack(-1, window=0)
    peer.now = peer.association.next_timeout()
    peer.association.handle_timeout(peer.now)
    assert tsns(peer) == [0]
    cwnd = peer.association.statistics().cwnd
    peer.now += 0.05
    peer.sack(-1, window=100_000)
    assert tsns(peer) == [0, 1, 2, 3, 4]
    assert peer.association.statistics().cwnd == cwnd


def test_gap_acknowledged_data_that_the_peer_forgot_is_sent_again():
    peer = sent(4)
    peer.now += 0.1
    peer.sack(-1, (2, 4))
    peer.wait(0.03)
    assert peer.association.statistics().retransmits == 1
    seen: set[int] = set()
    for _ in range(40):
        due = peer.association.next_timeout()
        peer.now = max(peer.now, due)
        peer.association.handle_timeout(peer.now)
        seen.update(tsns(peer))
        if 0 in seen:
            peer.sack(0)  # and nothing of 1..3 any more
            seen.update(tsns(peer))
        if seen == {0, 1, 2, 3}:
            break
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "bad",
    [
        {"tsn": 100},
        {"tsn": 0, "gaps": [(2, 100)]},
        {"tsn": 0, "gaps": [(5, 4)]},
        {"tsn": 0, "gaps": [(4, 5), (2, 2)]},
        {"tsn": 0, "gaps": [(2, 4), (3, 5)]},
        {"tsn": -5},
    ],
)
def test_a_sack_that_cannot_be_true_changes_nothing(bad: dict):
    peer = sent(8)
    before = peer.association.statistics()
    peer.sack(bad["tsn"], *bad.get("gaps", ()), window=7)
    assert peer.association.statistics() == before
    peer.sack(7)
    assert peer.association.statistics().flight == 0


def test_fairness_between_a_flood_and_a_quiet_stream():
    """A small message behind two megabytes of another stream leaves within one message of that stream."""
    pair = joined(LinkModel(delay_s=0.02, rate_bps=8e6))
    for _ in range(32):
        pair.a.send(1, 53, bytes(65536), now=pair.now)
    pair.run(0.3)
    pair.a.send(2, 53, b"small", now=pair.now)
    asked = pair.now
    pair.run_until(lambda: b"small" in messages(pair.b_events), timeout_s=5)
    assert pair.now - asked < 0.4
    assert len(messages(pair.b_events)) < 12


def test_streams_share_by_bytes():
    pair = joined(LinkModel(delay_s=0.02, rate_bps=8e6))
    for _ in range(100):
        pair.a.send(1, 53, b"L" * 20_000, now=pair.now)
    for _ in range(2000):
        pair.a.send(2, 53, b"s" * 1000, now=pair.now)
    pair.run(1.5)
    large = sum(len(data) for data in messages(pair.b_events) if data[:1] == b"L")
    small = sum(len(data) for data in messages(pair.b_events) if data[:1] == b"s")
    assert 0.6 < small / large < 1.6


def test_buffered_amount_and_its_event():
    pair = joined()
    pair.a.set_low_water(4, 10_000)
    for _ in range(5):
        pair.a.send(4, 53, bytes(10_000), now=pair.now)
    assert pair.a.buffered_amount(4) == pair.a.total_buffered == 50_000
    pair.run_until_idle()
    assert [type(event).__name__ for event in pair.a_events] == ["BufferedAmountLow"]
    assert pair.a.buffered_amount(4) == 0
    pair.a.send(4, 53, bytes(9_000), now=pair.now)
    pair.a_events.clear()
    pair.run_until_idle()
    assert pair.a_events == []  # it was never above the mark


def test_a_burst_is_spread_over_the_round_trip():
    pair = joined(LinkModel(delay_s=0.05))
    pair.a_to_b.log = log = []
    for _ in range(60):
        pair.a.send(0, 53, bytes(16384), now=pair.now)
    pair.run_until_idle()
    at_once: dict[float, int] = {}
    for at, packet in log:
        if chunks_of(packet)[0][0] == c.DATA:
            at_once[at] = at_once.get(at, 0) + 1
    assert max(at_once.values()) <= 40
    assert len(at_once) > 20


def test_ending_loses_the_queue_and_refuses_more():
    pair = joined()
    pair.a.send(0, 53, bytes(50_000), now=pair.now)
    pair.a.abort(pair.now, "enough")
    pair.run_until_idle()
    assert pair.a_events == [AssociationLost("enough", graceful=True)]
    [lost] = pair.b_events
    assert "enough" in lost.reason
    assert not lost.graceful
    with pytest.raises(TransportError):
        pair.a.send(0, 53, b"x", now=pair.now)
    with pytest.raises(TransportError):
        pair.b.send(0, 53, b"x", now=pair.now)
    assert pair.a.next_timeout() is pair.b.next_timeout() is None


def test_a_long_round_trip_is_known_from_the_handshake():
    """Without that, the first timeout comes before the first answer, and the window begins at its least."""
    pair = joined(LinkModel(delay_s=0.2, jitter_s=0.04))
    assert pair.a.statistics().rto_s > 1.0
    for _ in range(10):
        pair.a.send(0, 53, bytes(1000), now=pair.now)
    pair.run_until_idle()
    assert pair.a.statistics().timeouts == 0
    assert pair.a.statistics().retransmits == 0


def test_acknowledgements_lost_for_seconds_are_no_round_trips():
    """Half of all packets are lost: the answer to a repeated chunk acknowledges others that arrived long before."""
    pair = joined(LinkModel(delay_s=0.02), seed=5)
    pair.a.send(0, 53, b"warm up", now=pair.now)
    pair.run_until_idle()
    before = pair.a.statistics().rto_s
    pair.a_to_b.model = pair.b_to_a.model = LinkModel(delay_s=0.02, loss=0.5)
    worst = 0.0
    for _ in range(200):
        pair.a.send(0, 53, bytes(1500), now=pair.now)
        pair.run(0.1)
        worst = max(worst, pair.a._link.sender.rto.timeout)
    assert worst < 4 * before

"""Acknowledging: when a SACK is sent, and what it says."""

from __future__ import annotations

import pytest

from tests.sansio.sctp.harness import HandmadePeer, data_chunk, joined, messages
from trio_livekit._sansio.sctp import AssociationLost
from trio_livekit._sansio.sctp import chunks as c


def test_one_packet_is_acknowledged_late_and_two_at_once():
    peer = HandmadePeer()
    peer.send(data_chunk(1000))
    assert peer.sacks() == []
    assert peer.association.next_timeout() == pytest.approx(peer.now + 0.02)
    peer.now += 0.02
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [1000]
    peer.send(data_chunk(1001, ssn=1))
    peer.send(data_chunk(1002, ssn=2))
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [1002]
    assert peer.sacks() == []


def test_a_batch_gets_one_sack():
    peer = HandmadePeer()
    for n in range(50):
        peer.send(data_chunk(1000 + n, ssn=n))
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [1049]


def test_the_immediate_bit_asks_for_a_sack_now():
    peer = HandmadePeer()
    peer.send(data_chunk(1000, flags=3 | 8))
    assert len(peer.sacks()) == 1


def test_gaps_and_duplicates_are_reported_at_once():
    peer = HandmadePeer()
    peer.send(data_chunk(1002, ssn=2), data_chunk(1003, ssn=3), data_chunk(1005, ssn=5))
    [sack] = peer.sacks()
    assert (sack.cumulative_tsn, sack.gaps) == (999, [(3, 4), (6, 6)])
    peer.send(data_chunk(1003, ssn=3))
    [sack] = peer.sacks()
    assert sack.duplicates == [1003]
    peer.send(data_chunk(1000), data_chunk(1001, ssn=1))
    [sack] = peer.sacks()
    assert (sack.cumulative_tsn, sack.gaps, sack.duplicates) == (1003, [(2, 2)], [])
    peer.send(data_chunk(1004, ssn=4))
    [sack] = peer.sacks()
    assert (sack.cumulative_tsn, sack.gaps) == (1005, [])
    assert len(messages(peer.events())) == 6


def test_tsn_and_ssn_wrap():
    peer = HandmadePeer(tsn=0xFFFFFFFD)
    for n in range(6):
        peer.send(data_chunk(0xFFFFFFFD + n, b"%d" % n, ssn=n))
    [sack] = peer.sacks()
    assert sack.cumulative_tsn == 2
    assert messages(peer.events()) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_sack_with_many_gaps_fits_the_packet():
    peer = HandmadePeer()
    for n in range(1000):
        peer.send(data_chunk(1001 + 2 * n, ssn=2 * n + 1))
    [packet] = peer.association.datagrams_to_send(peer.now)
    assert len(packet) <= 1191
    sack = c.decode_sack(packet[16:])
    assert sack.gaps[:3] == [(2, 2), (4, 4), (6, 6)]
    assert len(sack.gaps) > 200


def test_the_window_shrinks_with_what_waits_and_reopens():
    peer = HandmadePeer(receive_window=10_000)
    peer.send(data_chunk(1001, bytes(4000), ssn=1))
    [sack] = peer.sacks()
    assert sack.receive_window == 6000
    peer.send(data_chunk(1000))
    [sack] = peer.sacks()
    assert sack.receive_window == 10_000


def test_manual_window_waits_for_the_application():
    peer = HandmadePeer(receive_window=10_000, manual_window=True)
    for n in range(4):
        peer.send(data_chunk(1000 + n, bytes(2500), ssn=n))
    [sack] = peer.sacks()
    assert sack.receive_window == 0
    peer.association.consume(1000)
    [sack] = peer.sacks()  # it was shut: any opening is news
    assert sack.receive_window == 1000
    peer.association.consume(9000)
    [sack] = peer.sacks()
    assert sack.receive_window == 10_000


def test_a_slow_reader_stops_the_sender_and_lets_it_go_on():
    pair = joined(receive_window=100_000, manual_window=True)
    for _ in range(40):
        pair.a.send(0, 53, bytes(10_000), now=pair.now)
    pair.run(30)
    taken = sum(map(len, messages(pair.b_events)))
    assert 90_000 <= taken <= 110_000
    assert pair.b.statistics().held <= 110_000
    while taken < 400_000:
        before = sum(map(len, messages(pair.b_events)))
        pair.b.consume(before)
        pair.b_events.clear()
        pair.run_until(lambda: messages(pair.b_events), timeout_s=2)
        pair.run(0.5)
        taken += sum(map(len, messages(pair.b_events)))
    pair.run_until_idle()
    assert taken == 400_000


def test_data_without_data_ends_the_association():
    peer = HandmadePeer()
    peer.send(data_chunk(1000, b""))
    [(kind, _, body)] = peer.received()
    assert (kind, body[:2]) == (c.ABORT, b"\0\x09")
    assert isinstance(peer.events()[0], AssociationLost)


def test_a_sack_rides_with_data_for_free():
    pair = joined()
    pair.b.send(0, 53, b"question", now=pair.now)
    pair.run_until(lambda: messages(pair.a_events))
    pair.a.send(0, 53, b"answer", now=pair.now)
    offered = pair.a_to_b.offered
    pair.flush()
    assert pair.a_to_b.offered == offered + 1
    pair.run(0.015)
    assert pair.b.statistics().flight == 0


def test_heartbeats_are_answered_and_sent_when_asked_for():
    peer = HandmadePeer()
    beat = c.encode_chunk(c.HEARTBEAT, 0, b"\0\1\0\x08info")
    peer.send(beat)
    assert peer.received() == [(c.HEARTBEAT_ACK, 0, b"\0\1\0\x08info")]
    pair = joined(heartbeat_interval_s=15.0)
    pair.run(40)
    assert pair.a.statistics().srtt_s == pytest.approx(0.02)


def test_unknown_chunks():
    def report(kind: int) -> tuple[list[int], list[bytes]]:
        peer = HandmadePeer()
        peer.send(c.encode_chunk(kind, 0, b"?"), data_chunk(1000, flags=3 | 8))
        sent = [k for k, _, _ in peer.received()]
        return sent, messages(peer.events())

    assert report(0x3F) == ([], [])  # 00: stop
    assert report(0x7F) == ([c.ERROR], [])  # 01: stop and report
    assert report(0xBF) == ([c.SACK], [b"x"])  # 10: skip
    assert report(0xFF) == ([c.ERROR, c.SACK], [b"x"])  # 11: skip and report

from __future__ import annotations

import itertools

import pytest

from tests.sansio.sctp.harness import HandmadePeer, chunks_of, joined, messages
from trio_livekit._sansio.sctp import Association, AssociationLost, AssociationRestarted, AssociationUp, Config
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.packet import PacketSealer
from trio_livekit._sansio.sctp.parameters import STATE_COOKIE
from trio_livekit.testing.pair import LinkModel, Pair, seeded_random_bytes


def test_simultaneous_init_makes_one_association():
    pair = joined()
    pair.a.send(0, 53, b"from a", now=pair.now)
    pair.b.send(0, 53, b"from b", now=pair.now)
    pair.run_until_idle()
    assert messages(pair.a_events) == [b"from b"]
    assert messages(pair.b_events) == [b"from a"]


def test_one_side_may_connect_alone():
    pair = joined(up=False)
    lone = Association(random_bytes=seeded_random_bytes(9))
    pair = Pair(pair.a, lone, link=LinkModel(delay_s=0.01))
    pair.run_until(lambda: pair.a.is_established and lone.is_established)


def test_data_rides_with_the_cookie():
    """One and a half round trips after the start the first message is there: it did not wait for COOKIE-ACK."""
    a = Association(random_bytes=seeded_random_bytes(1))
    b = Association(random_bytes=seeded_random_bytes(2))
    pair = Pair(a, b, link=LinkModel(delay_s=0.1))
    a.connect(pair.now)
    a.send(1, 51, b"early", now=pair.now)
    pair.run_until(lambda: messages(pair.b_events))
    assert pair.now == pytest.approx(1000.3)
    assert pair.b_events[0] == AssociationUp()


@pytest.mark.parametrize("lost", list(itertools.product(range(4), "ab")))
def test_loss_of_any_one_handshake_packet(lost: tuple[int, str]):
    pair = joined(up=False)
    link = pair.a_to_b if lost[1] == "a" else pair.b_to_a
    count = itertools.count()
    link.drop = lambda _: next(count) == lost[0]
    pair.run_until(lambda: pair.a.is_established and pair.b.is_established, timeout_s=3)
    pair.a.send(0, 53, b"x" * 5000, now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"x" * 5000]


@pytest.mark.parametrize("seed", range(10))
def test_half_of_all_packets_lost(seed: int):
    pair = joined(LinkModel(loss=0.5, delay_s=0.02), seed=seed, up=False)
    pair.run_until(lambda: pair.a.is_established and pair.b.is_established, timeout_s=25)


def test_duplicated_and_reordered_handshake():
    for seed in range(20):
        pair = joined(LinkModel(duplicate=0.5, delay_s=0.01, jitter_s=0.05), seed=seed, up=False)
        pair.run_until_idle()
        assert pair.a_events == pair.b_events == [AssociationUp()]


def test_giving_up_after_seventeen_inits():
    pair = joined(up=False)
    pair.a_to_b.drop = pair.b_to_a.drop = lambda _: True
    pair.run_until_idle()
    assert pair.a_events == [AssociationLost("the peer did not answer the handshake")]
    assert pair.a_to_b.offered == 1 + Config().handshake_retries


def test_init_is_always_checksummed_and_alone():
    peer = HandmadePeer(establish=False)
    peer.wait(0.5)
    packet = PacketSealer(5000, 5000, 0).seal(peer.init_chunk(c.INIT))
    peer.association.receive_datagram(packet[:8] + bytes(4) + packet[12:], peer.now)
    assert peer.received() == []
    peer.association.receive_datagram(packet, peer.now)
    assert [kind for kind, _, _ in peer.received()] == [c.INIT_ACK]


def test_init_ack_repeats_tag_and_tsn_of_our_init():
    peer = HandmadePeer(establish=False)
    peer.association.receive_datagram(PacketSealer(5000, 5000, 0).seal(peer.init_chunk(c.INIT)), peer.now)
    [packet] = peer.association.datagrams_to_send(peer.now)
    assert int.from_bytes(packet[4:8], "big") == HandmadePeer.TAG
    [(kind, _, body)] = chunks_of(packet)
    answer = c.decode_init(body)
    assert kind == c.INIT_ACK
    assert (answer.tag, answer.initial_tsn) == (peer.init.tag, peer.init.initial_tsn)
    cookie = dict(answer.parameters)[STATE_COOKIE]
    peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, cookie))
    assert peer.events() == [AssociationUp()]
    assert [kind for kind, _, _ in peer.received()] == [c.COOKIE_ACK]
    peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, cookie))  # the COOKIE-ACK was lost
    assert peer.events() == []
    assert [kind for kind, _, _ in peer.received()] == [c.COOKIE_ACK]


def test_a_cookie_ack_is_said_again_with_the_first_data():
    """A peer that lacks it drops data, and may take a second to ask; with its first acknowledgement that is over."""
    peer = HandmadePeer(establish=False)
    association = peer.association
    association.receive_datagram(PacketSealer(5000, 5000, 0).seal(peer.init_chunk(c.INIT)), peer.now)
    [packet] = association.datagrams_to_send(peer.now)
    [(_, _, body)] = chunks_of(packet)
    peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, dict(c.decode_init(body).parameters)[STATE_COOKIE]))

    def next_time() -> list[int]:
        peer.now = association.next_timeout()
        association.handle_timeout(peer.now)
        return [kind for kind, _, _ in peer.received()]

    assert [kind for kind, _, _ in peer.received()] == [c.COOKIE_ACK]
    association.send(0, 53, b"one", now=peer.now)
    assert [kind for kind, _, _ in peer.received()] == [c.COOKIE_ACK, c.DATA]
    said = [kinds for kinds in (next_time() for _ in range(6)) if c.COOKIE_ACK in kinds]
    assert len(said) >= 2
    assert all(kinds[:2] == [c.COOKIE_ACK, c.DATA] for kinds in said)
    peer.send(c.encode_sack(peer.init.initial_tsn, 1 << 20, [], []))
    association.send(0, 53, b"two", now=peer.now)
    peer.received()
    later = [next_time() for _ in range(6)]
    assert [c.DATA] in later
    assert not any(c.COOKIE_ACK in kinds for kinds in later)


def test_data_in_cookie_echoed_is_delivered_and_acknowledged():
    """A peer that sends data has accepted the cookie: a lost COOKIE-ACK must not cost it a retransmission timeout."""
    from tests.sansio.sctp.harness import data_chunk

    peer = HandmadePeer(establish=False)
    peer.send(peer.init_chunk(c.INIT_ACK, (STATE_COOKIE, b"cookie")))
    assert [kind for kind, _, _ in peer.received()] == [c.COOKIE_ECHO]
    peer.send(data_chunk(1000, b"one"), data_chunk(1001, b"two", ssn=1))
    peer.send(data_chunk(1002, b"three", ssn=2))
    assert messages(peer.events()) == [b"one", b"two", b"three"]
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [1002]
    peer.wait(1.0)
    peer.send(c.encode_chunk(c.COOKIE_ACK, 0, b""))
    assert peer.events() == [AssociationUp()]


def test_late_and_repeated_init_ack_and_cookie_ack_change_nothing():
    peer = HandmadePeer()
    peer.send(peer.init_chunk(c.INIT_ACK, (STATE_COOKIE, b"other")))
    peer.send(c.encode_chunk(c.COOKIE_ACK, 0, b""))
    assert peer.events() == []
    assert peer.received() == []


def test_init_ack_without_cookie_is_dropped():
    peer = HandmadePeer(establish=False)
    peer.send(peer.init_chunk(c.INIT_ACK))
    assert peer.received() == []
    peer.establish()


def test_unknown_mandatory_parameter_is_reported():
    peer = HandmadePeer(establish=False)
    packet = PacketSealer(5000, 5000, 0).seal(peer.init_chunk(c.INIT, (0xC777, b"what?")))
    peer.association.receive_datagram(packet, peer.now)
    [(_, _, body)] = peer.received()
    assert (0x0008, b"\xc7\x77\x00\x09what?\0\0\0") in c.decode_init(body).parameters


def test_restart_of_the_peer():
    """RFC 9260 section 5.2.2: a peer without memory may shake hands again, and all streams begin anew."""
    pair = joined()
    pair.a.send(0, 53, b"before", now=pair.now)
    pair.run_until_idle()
    newcomer = Association(random_bytes=seeded_random_bytes(77))
    again = Pair(newcomer, pair.b, link=LinkModel(delay_s=0.01), now=pair.now)
    newcomer.connect(again.now)
    newcomer.send(0, 53, b"after", now=again.now)
    again.run_until_idle()
    assert AssociationRestarted() in again.b_events
    assert messages(again.b_events) == [b"after"]


@pytest.mark.parametrize(("a_zero", "b_zero"), list(itertools.product([False, True], repeat=2)))
def test_zero_checksum_is_used_only_when_both_offer_it(a_zero: bool, b_zero: bool):
    a = Association(random_bytes=seeded_random_bytes(1), config=Config(zero_checksum=a_zero))
    b = Association(random_bytes=seeded_random_bytes(2), config=Config(zero_checksum=b_zero))
    pair = Pair(a, b, link=LinkModel(delay_s=0.01))
    a.connect(pair.now)
    b.connect(pair.now)
    pair.a_to_b.log = log = []
    pair.run_until(lambda: a.is_established and b.is_established)
    a.send(0, 53, b"hello", now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"hello"]
    zero = {kind for _, packet in log if packet[8:12] == bytes(4) for kind, _, _ in chunks_of(packet)}
    assert (c.DATA in zero) == (a_zero and b_zero)
    assert not zero & {c.INIT, c.INIT_ACK, c.COOKIE_ECHO}


def test_a_wrong_checksum_is_never_taken_for_zero():
    peer = HandmadePeer()
    from tests.sansio.sctp.harness import data_chunk

    packet = peer.sealer.seal(data_chunk(1000))
    peer.association.receive_datagram(packet[:8] + b"\0\0\0\1" + packet[12:], peer.now)
    assert peer.events() == []
    assert peer.association.statistics().dropped_packets == 1
    peer.association.receive_datagram(packet[:8] + bytes(4) + packet[12:], peer.now)
    assert messages(peer.events()) == [b"x"]

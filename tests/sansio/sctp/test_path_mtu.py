"""Paths that carry no large packets: found out before anything is stuck, or as soon as something is."""

from __future__ import annotations

import pytest

from tests.sansio.sctp.harness import AssociationPair, HandmadePeer, chunks_of, data_chunk, joined, messages
from trio_livekit._sansio.sctp import AssociationLost
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit.testing.pair import LinkModel

SAFE = 1063
FULL = 1188
CLEAN = LinkModel(delay_s=0.02)
NARROW = LinkModel(delay_s=0.02, mtu=1135)  # 1,172 bytes of UDP payload: an IPv4 packet of 1,200


def pair_on(link: LinkModel) -> AssociationPair:
    return joined(link, safe_mtu=SAFE)


class Sizes(list):
    """A link's log that keeps the sizes of packets with DATA alone."""

    def append(self, entry: tuple[float, bytes]) -> None:
        kinds = [kind for kind, _, _ in chunks_of(entry[1])]
        if c.DATA in kinds:
            super().append(len(entry[1]))


def data_sizes(pair: AssociationPair) -> list[int]:
    pair.a_to_b.log = sizes = Sizes()
    return sizes


def test_full_packets_one_round_trip_after_the_handshake():
    pair = pair_on(CLEAN)
    assert pair.a.statistics().mtu == SAFE
    pair.run(0.05)
    assert pair.a.statistics().mtu == pair.b.statistics().mtu == FULL
    sizes = data_sizes(pair)
    pair.a.send(0, 53, bytes(20_000), now=pair.now)
    pair.run_until_idle()
    assert max(sizes) == FULL


def test_a_path_that_is_narrow_from_the_beginning_costs_nothing():
    pair = pair_on(NARROW)
    sizes = data_sizes(pair)
    began = pair.now
    for number in range(50):
        pair.a.send(0, 53, b"%02d" % number + bytes(9998), now=pair.now)
    pair.run_until(lambda: len(messages(pair.b_events)) == 50, timeout_s=5)
    assert pair.now - began < 0.6
    assert max(sizes) <= SAFE
    assert pair.a.statistics().timeouts == 0


def test_probes_of_a_narrow_path_become_rare():
    pair = pair_on(NARROW)
    pair.run(20)
    before = pair.a_to_b.offered
    pair.run(600)
    assert pair.a_to_b.offered - before < 140  # probes of a, and answers to those of b


def warmed_up() -> AssociationPair:
    pair = pair_on(CLEAN)
    pair.run(2)
    pair.a.send(0, 53, bytes(5000), now=pair.now)
    pair.run_until_idle()
    return pair


@pytest.mark.parametrize("lossy", [False, True])
def test_a_path_that_becomes_narrow_is_found_out_within_four_seconds(lossy: bool):
    pair = warmed_up()
    pair.a_to_b.model = NARROW
    options = {"max_retransmits": 0, "ordered": False} if lossy else {}
    began = pair.now
    while pair.a.statistics().mtu == FULL:
        pair.a.send(1, 53, bytes(1150), now=pair.now, **options)
        pair.run(0.1)
        assert pair.now - began < 4
    sizes = data_sizes(pair)
    pair.b_events.clear()
    for number in range(40):
        pair.a.send(2, 53, b"%d" % number + bytes(1500), now=pair.now)
        pair.run(0.05)
    assert len(messages([event for event in pair.b_events if event.stream_id == 2])) >= 38
    assert sizes
    assert max(sizes) <= SAFE


def test_what_is_stuck_arrives_when_the_path_is_wide_again():
    pair = warmed_up()
    pair.b_events.clear()
    pair.a_to_b.model = NARROW
    for number in range(100):
        pair.a.send(0, 53, b"%03d" % number + bytes(1147), now=pair.now)
        pair.run(0.05)
    assert pair.a.statistics().mtu == SAFE
    assert messages(pair.b_events) == []  # ordered, behind the first one that is stuck
    pair.a_to_b.model = CLEAN
    pair.run_until(lambda: len(messages(pair.b_events)) == 100, timeout_s=3)
    assert [int(data[:3]) for data in messages(pair.b_events)] == list(range(100))
    pair.run_until_idle()
    assert pair.a.statistics().mtu == FULL


def test_what_is_stuck_for_half_a_minute_ends_the_association():
    pair = warmed_up()
    pair.a_to_b.model = NARROW
    pair.a.send(0, 53, bytes(5000), now=pair.now)
    pair.run_until(lambda: any(isinstance(event, AssociationLost) for event in pair.a_events), timeout_s=40)
    [lost] = [event for event in pair.a_events if isinstance(event, AssociationLost)]
    assert "does not carry" in lost.reason
    pair.run(1)
    assert any(isinstance(event, AssociationLost) for event in pair.b_events)


def test_a_path_that_becomes_narrow_does_no_harm_to_what_may_be_lost():
    pair = warmed_up()
    pair.a_to_b.model = NARROW
    for _ in range(1000):
        pair.a.send(1, 53, bytes(3000), now=pair.now, max_retransmits=0, ordered=False)
        pair.run(0.05)
    assert not [event for event in pair.a_events if isinstance(event, AssociationLost)]
    assert len(messages(pair.b_events)) > 900


def test_losses_that_are_not_about_size_change_nothing():
    pair = warmed_up()
    pair.a_to_b.model = pair.b_to_a.model = LinkModel(delay_s=0.02, loss=0.05)
    small = 0
    for _ in range(600):
        pair.a.send(0, 53, bytes(5000), now=pair.now)
        pair.run(0.1)
        small += pair.a.statistics().mtu == SAFE
    assert small < 6


def test_answers_that_nobody_asked_for_prove_nothing():
    peer = HandmadePeer(safe_mtu=SAFE)
    [probe] = [body for kind, _, body in peer.received() if kind == c.HEARTBEAT]
    forged = probe[:6] + b"\xff" + probe[7:]
    peer.send(c.encode_chunk(c.HEARTBEAT_ACK, 0, forged))
    peer.send(c.encode_chunk(c.HEARTBEAT_ACK, 0, b""), data_chunk(1000))
    assert peer.association.statistics().mtu == SAFE
    peer.send(c.encode_chunk(c.HEARTBEAT_ACK, 0, probe))
    assert peer.association.statistics().mtu == FULL

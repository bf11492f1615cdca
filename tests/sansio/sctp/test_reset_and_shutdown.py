"""Stream resets (RFC 6525), graceful shutdown (RFC 9260 section 9)."""

from __future__ import annotations

import struct

import pytest

from tests.sansio.sctp.harness import HandmadePeer, chunks_of, data_chunk, joined, messages
from trio_livekit._sansio.sctp import AssociationLost, StreamsReset
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.parameters import encode_parameter, split_parameters
from trio_livekit.testing.pair import LinkModel


def outgoing(sequence: int, last_tsn: int, *ids: int) -> bytes:
    value = struct.pack(">LLL", sequence & 0xFFFFFFFF, 0, last_tsn & 0xFFFFFFFF) + struct.pack(f">{len(ids)}H", *ids)
    return c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, value))


def answers(peer: HandmadePeer) -> list[tuple[int, int]]:
    """(sequence, result) of the responses that leave now."""
    return [
        struct.unpack(">LL", value[:8])
        for kind, _, body in peer.received()
        if kind == c.RECONFIG
        for parameter, value in split_parameters(body)
        if parameter == 16
    ]


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_reset_after_what_is_queued_and_numbers_begin_anew(loss: float):
    pair = joined(LinkModel(delay_s=0.02, loss=loss), seed=3)
    for n in range(5):
        pair.a.send(6, 53, b"%d" % n * 4000, now=pair.now)
    pair.a.reset_streams([6], pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"%d" % n * 4000 for n in range(5)]
    assert pair.b_events[-1] == StreamsReset((6,), incoming=True)
    assert pair.a_events[-1] == StreamsReset((6,), incoming=False)
    pair.a_to_b.log = log = []
    pair.a.send(6, 53, b"again", now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events)[-1] == b"again"
    [ssn] = {body[6:8] for _, packet in log for kind, _, body in chunks_of(packet) if kind == c.DATA}
    assert ssn == b"\0\0"


def test_messages_sent_during_a_reset_wait_for_its_end():
    pair = joined()
    pair.a.send(6, 53, b"before", now=pair.now)
    pair.run_until_idle()
    pair.a.reset_streams([6], pair.now)
    pair.flush()
    pair.a.send(6, 53, b"after", now=pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == [b"before", b"after"]


def test_a_reset_is_deferred_until_the_last_tsn_is_there():
    peer = HandmadePeer()
    peer.send(data_chunk(1001, b"second", stream_id=6, ssn=1))
    peer.send(outgoing(1000, 1001, 6))
    assert answers(peer) == [(1000, 6)]
    peer.send(outgoing(1000, 1001, 6))
    assert answers(peer) == [(1000, 6)]
    assert peer.events() == []
    peer.send(data_chunk(1000, b"first", stream_id=6))
    assert answers(peer) == [(1000, 1)]
    assert peer.events() == [(6, 53, b"first"), (6, 53, b"second"), StreamsReset((6,), incoming=True)]
    peer.send(outgoing(1000, 1001, 6))  # the answer was lost
    assert answers(peer) == [(1000, 1)]
    assert peer.events() == []
    peer.send(data_chunk(1002, b"anew", stream_id=6))
    assert messages(peer.events()) == [b"anew"]


def test_several_resets_of_a_peer_wait_for_their_data():
    """pion closes a channel without awaiting the answer to the request before."""
    peer = HandmadePeer()
    peer.send(outgoing(1000, 1000, 6))
    peer.send(outgoing(1001, 1001, 8))
    assert answers(peer) == [(1000, 6), (1001, 6)]
    peer.send(outgoing(1000, 1000, 6))
    assert answers(peer) == [(1000, 6)]
    peer.send(data_chunk(1000, b"the last of 6", stream_id=6))
    assert answers(peer) == [(1000, 1)]
    peer.send(data_chunk(1001, b"the last of 8", stream_id=8))
    assert answers(peer) == [(1001, 1)]
    assert [event for event in peer.events() if isinstance(event, StreamsReset)] == [
        StreamsReset((6,), incoming=True),
        StreamsReset((8,), incoming=True),
    ]


def test_requests_out_of_turn_or_for_more_than_resets():
    peer = HandmadePeer()
    peer.send(outgoing(1007, 999, 6))
    assert answers(peer) == [(1007, 5)]
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(17, struct.pack(">LHH", 1000, 8, 0))))
    assert answers(peer) == [(1000, 2)]
    peer.send(outgoing(1001, 999))
    assert answers(peer) == [(1001, 1)]
    assert peer.events() == [StreamsReset((), incoming=True)]


def test_a_request_in_progress_at_the_peer_is_repeated_word_for_word():
    peer = HandmadePeer()
    peer.association.reset_streams([2], peer.now)
    [(kind, _, request)] = peer.received()
    assert kind == c.RECONFIG
    sequence = request[4:8]
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(16, sequence + struct.pack(">L", 6))))
    assert peer.events() == []
    peer.association.send(9, 53, b"meanwhile", now=peer.now)
    peer.received()
    peer.now += 0.6
    peer.association.handle_timeout(peer.now)
    assert (c.RECONFIG, 0, request) in peer.received()
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(16, sequence + struct.pack(">L", 1))))
    assert peer.events() == [StreamsReset((2,), incoming=False)]


def test_both_reset_the_same_stream_at_once():
    pair = joined()
    pair.a.reset_streams([2], pair.now)
    pair.b.reset_streams([2], pair.now)
    pair.run_until_idle()
    both = {StreamsReset((2,), incoming=True), StreamsReset((2,), incoming=False)}
    assert set(pair.a_events) == set(pair.b_events) == both


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("crossed", [False, True])
def test_shutdown_after_everything_is_delivered(seed: int, crossed: bool):
    pair = joined(LinkModel(delay_s=0.02, loss=0.2), seed=seed)
    for n in range(10):
        pair.a.send(0, 53, b"%d" % n * 5000, now=pair.now)
        pair.b.send(0, 53, b"%d" % n * 5000, now=pair.now)
    pair.a.shutdown(pair.now)
    if crossed:
        pair.b.shutdown(pair.now)
    pair.run_until_idle()
    assert messages(pair.b_events) == messages(pair.a_events) == [b"%d" % n * 5000 for n in range(10)]
    assert pair.a_events[-1] == pair.b_events[-1] == AssociationLost("shut down", graceful=True)


def test_shutdown_without_an_answer_gives_up():
    pair = joined()
    pair.a_to_b.drop = lambda _: True
    pair.a.shutdown(pair.now)
    pair.run_until_idle()
    assert isinstance(pair.a_events[-1], AssociationLost)
    assert not pair.a_events[-1].graceful


def test_abort_at_any_step():
    """However far things have come, an abort ends both sides, once, and leaves no timer."""
    for steps in range(0, 60, 3):
        pair = joined(LinkModel(delay_s=0.02, loss=0.1), seed=steps, up=False)
        pair.a.send(1, 53, bytes(30_000), now=pair.now)
        pair.b.send(1, 53, bytes(30_000), now=pair.now, max_retransmits=0)
        for _ in range(steps):
            pair.step()
        pair.b.reset_streams([1], pair.now)
        pair.a.abort(pair.now, "stop")
        pair.a.abort(pair.now, "stop again")
        pair.b.abort(pair.now)
        pair.run_until_idle()
        for events in (pair.a_events, pair.b_events):
            assert sum(isinstance(event, AssociationLost) for event in events) == 1


def test_a_reset_does_not_wait_for_a_delayed_acknowledgement():
    """The peer may take 0.2 s to acknowledge a single packet; what is asked for twice is acknowledged at once."""
    pair = joined(LinkModel(delay_s=0.005))
    pair.a.send(6, 53, b"last", now=pair.now)
    pair.flush()
    begun = pair.now
    pair.a.reset_streams([6], pair.now)
    while StreamsReset((6,), incoming=False) not in pair.a_events:
        assert pair.step()
    assert messages(pair.b_events) == [b"last"]
    assert pair.now - begun < 0.1

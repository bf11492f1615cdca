"""Packing flights into datagrams, and when to repeat them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.dtls.config import Config
from trio_livekit._sansio.dtls.flight import Flight, FlightItem, Retransmitter, packetize
from trio_livekit._sansio.dtls.handshake import CERTIFICATE, FINISHED, Fragment, Message
from trio_livekit._sansio.dtls.reassembly import Reassembler
from trio_livekit._sansio.dtls.record import GcmSealer, PlainSealer, split_records

from .helpers import plain_fragments

CONFIG = Config(initial_timeout_s=0.1, max_timeout_s=0.5)


def plain_flight(sizes: list[int]) -> Flight:
    messages = [Message(CERTIFICATE, number, bytes([number]) * size) for number, size in enumerate(sizes)]
    return Flight(tuple(FlightItem.handshake(message) for message in messages), answers=None, timed=True)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.integers(200, 1500))
def test_datagrams_fit_and_carry_everything(sizes: list[int], mtu: int) -> None:
    flight = plain_flight(sizes)
    datagrams = packetize(flight, (PlainSealer(),), mtu)
    assert all(0 < len(datagram) <= mtu for datagram in datagrams)
    reassembler = Reassembler()
    messages = []
    for datagram in datagrams:
        for fragment in plain_fragments(datagram):
            reassembler.add(fragment)
            messages += filter(None, [reassembler.pop()])
    assert [FlightItem.handshake(message) for message in messages] == list(flight.items)


@given(st.integers(200, 1500))
def test_a_small_flight_is_not_cut_needlessly(mtu: int) -> None:
    datagrams = packetize(plain_flight([60, 60]), (PlainSealer(),), mtu)
    assert all(fragment.is_last for datagram in datagrams for fragment in plain_fragments(datagram))
    assert len(datagrams) == 1


def test_both_epochs_share_a_datagram() -> None:
    items = (FlightItem.change_cipher_spec(), FlightItem.handshake(Message(FINISHED, 3, bytes(12)), epoch=1))
    (datagram,) = packetize(Flight(items, None, timed=False), (PlainSealer(), GcmSealer(bytes(16), bytes(4))), 1200)
    assert [(record.kind, record.number >> 48) for record in split_records(datagram)] == [(20, 0), (22, 1)]


def test_the_timer_backs_off_to_its_limit_and_starts_anew() -> None:
    retransmitter = Retransmitter(CONFIG)
    retransmitter.start(plain_flight([1]), 10.0)
    intervals, now = [], 10.0
    for _ in range(5):
        assert retransmitter.deadline is not None
        intervals.append(round(retransmitter.deadline - now, 6))
        now = retransmitter.deadline
        retransmitter.back_off(now)
    assert intervals == [0.1, 0.2, 0.4, 0.5, 0.5]
    retransmitter.start(plain_flight([1]), 20.0)
    assert retransmitter.deadline == 20.1
    retransmitter.stop_timer()
    assert retransmitter.deadline is None


def test_the_end_of_the_answered_message_calls_for_a_repetition() -> None:
    retransmitter = Retransmitter(CONFIG)
    answered = Message(CERTIFICATE, 4, b"abcdef")
    retransmitter.start(Flight((), answered, timed=False), 0.0)
    assert not retransmitter.is_due_to_repeat(Fragment(CERTIFICATE, 6, 4, 0, b"abc"), 1.0)
    assert not retransmitter.is_due_to_repeat(Fragment(CERTIFICATE, 6, 4, 3, b"dex"), 1.0)
    assert not retransmitter.is_due_to_repeat(Fragment(CERTIFICATE, 6, 5, 3, b"def"), 1.0)
    assert not retransmitter.is_due_to_repeat(Fragment(FINISHED, 6, 4, 3, b"def"), 1.0)
    assert retransmitter.is_due_to_repeat(Fragment(CERTIFICATE, 6, 4, 3, b"def"), 1.0)
    assert not retransmitter.is_due_to_repeat(Fragment(CERTIFICATE, 6, 4, 3, b"def"), 1.019)
    assert retransmitter.is_due_to_repeat(Fragment(CERTIFICATE, 6, 4, 0, b"abcdef"), 1.021)
    retransmitter.stop()
    assert not retransmitter.is_due_to_repeat(Fragment(CERTIFICATE, 6, 4, 3, b"def"), 9.0)

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_livekit._sansio.sctp.chunks import FLAG_FIRST, FLAG_LAST, FLAG_UNORDERED
from trio_livekit._sansio.sctp.errors import Violation
from trio_livekit._sansio.sctp.rx.reassembly import Reassembly
from trio_livekit._sansio.sctp.rx.tracker import TsnTracker


class Bench:
    """A reassembly behind a tracker, fed with fragments in any order as the receiver does."""

    def __init__(self, *, limit: int = 1 << 20, streams: int = 64, manual: bool = False) -> None:
        self.delivered: list = []
        self.tracker = TsnTracker(1)
        self.first = self.tracker.cumulative + 1
        self.it = Reassembly(self.delivered, max_message_size=limit, max_streams=streams, manual_window=manual)

    def put(self, offset: int, flags: int, stream: int, ssn: int, data: bytes) -> None:
        tsn = self.first + offset
        if tsn == self.tracker.cumulative + 1 and not self.tracker.starts:
            self.tracker.cumulative = tsn
            self.it.add_next(tsn, flags, stream, ssn, 53, data)
            return
        settled = tsn == self.tracker.cumulative + 1
        if self.tracker.add(tsn):
            self.it.add(tsn, flags, stream, ssn, 53, data, settled)

    def skip(self, offset: int, *streams: tuple[int, int]) -> None:
        self.it.skip(self.first + offset, list(streams))
        self.tracker.advance_to(self.first + offset)


def fragments(sizes: list[tuple[int, int, bool]], *, first_ssn: int = 0) -> list[tuple[int, int, int, int, bytes]]:
    """(offset, flags, stream, ssn, data) for messages given as (stream, number of fragments, ordered)."""
    out, offset = [], 0
    numbers: dict[int, int] = {}
    for at, (stream, count, ordered) in enumerate(sizes):
        ssn = numbers.setdefault(stream, first_ssn)
        if ordered:
            numbers[stream] = ssn + 1 & 0xFFFF
        for part in range(count):
            flags = (FLAG_FIRST if part == 0 else 0) | (FLAG_LAST if part == count - 1 else 0)
            out.append((offset, flags | (0 if ordered else FLAG_UNORDERED), stream, ssn, b"%d.%d;" % (at, part)))
            offset += 1
    return out


shapes = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=200)
@given(shapes, st.integers(0, 2**32), st.integers(0, 8))
def test_any_order_of_arrival_gives_each_message_once_and_streams_in_order(sizes, seed: int, spread: int):
    bench = Bench()
    for stream in range(4):
        bench.it._open_stream(stream).next_ssn = 65534  # so that numbers wrap
    pieces = fragments(sizes, first_ssn=65534)
    rng = random.Random(seed)
    order = sorted(pieces, key=lambda piece: piece[0] + rng.random() * spread * spread)
    for piece in order:
        bench.put(*piece)
        if rng.random() < 0.2:
            bench.put(*piece)  # a duplicate
    whole = [b"".join(b"%d.%d;" % (at, part) for part in range(count)) for at, (_, count, _) in enumerate(sizes)]
    assert sorted(m.data for m in bench.delivered) == sorted(whole)
    for stream in range(4):
        expected = [whole[at] for at, (s, _, ordered) in enumerate(sizes) if s == stream and ordered]
        got = [m.data for m in bench.delivered if m.stream_id == stream and m.data in expected]
        assert got == expected
    assert bench.it.held == 0


@settings(max_examples=200)
@given(shapes, st.integers(0, 2**32), st.data())
def test_skipping_loses_only_the_messages_skipped_and_holds_nothing(sizes, seed: int, data: st.DataObject):
    """Some messages are given up, with any of their fragments lost; all the others arrive."""
    given_up = data.draw(st.sets(st.integers(0, len(sizes) - 1)))
    pieces = fragments(sizes)
    owner = [at for at, (_, count, _) in enumerate(sizes) for _ in range(count)]
    rng = random.Random(seed)
    bench = Bench()
    for piece in sorted(pieces, key=lambda piece: piece[0] + rng.random() * 4):
        if owner[piece[0]] not in given_up or rng.random() < 0.5:
            bench.put(*piece)
    skipped = {}
    for piece in pieces:
        if owner[piece[0]] in given_up and not piece[1] & FLAG_UNORDERED:
            skipped[piece[2]] = piece[3]
    bench.skip(len(pieces) - 1, *skipped.items())
    whole = [b"".join(b"%d.%d;" % (at, part) for part in range(count)) for at, (_, count, _) in enumerate(sizes)]
    got = [m.data for m in bench.delivered]
    assert len(set(got)) == len(got)
    assert set(got) >= {content for at, content in enumerate(whole) if at not in given_up}
    assert set(got) <= set(whole)
    assert bench.it.held == 0


def test_a_complete_message_is_not_held_up_by_a_gap_in_another_stream():
    bench = Bench()
    bench.put(1, 3, 5, 0, b"whole")
    bench.put(3, FLAG_FIRST, 6, 0, b"a")
    bench.put(4, FLAG_LAST, 6, 0, b"b")
    assert [m.data for m in bench.delivered] == [b"whole", b"ab"]


def test_head_of_line_waits_within_one_stream():
    bench = Bench()
    bench.put(1, 3, 5, 1, b"second")
    assert bench.delivered == []
    assert bench.it.held == 6
    bench.put(0, 3, 5, 0, b"first")
    assert [m.data for m in bench.delivered] == [b"first", b"second"]
    assert bench.it.held == 0


def test_a_new_message_in_place_of_a_fragment_ends_the_partial_one():
    """A peer gave a message up half-way and its FORWARD-TSN is late: the stream goes on."""
    bench = Bench()
    bench.put(0, FLAG_FIRST, 5, 0, b"half")
    bench.put(1, 3, 5, 1, b"next")
    assert [m.data for m in bench.delivered] == [b"next"]
    assert bench.it.held == 0


def test_a_rest_without_a_beginning_is_dropped():
    bench = Bench()
    bench.put(0, FLAG_LAST, 5, 0, b"rest")
    bench.put(2, 0, 5, 0, b"middle")
    bench.put(3, FLAG_LAST, 5, 0, b"rest")
    bench.put(1, 3, 5, 0, b"whole")
    assert [m.data for m in bench.delivered] == [b"whole"]
    assert bench.it.held == 0


def test_fragments_that_disagree_are_never_mixed():
    bench = Bench()
    bench.put(0, FLAG_FIRST, 5, 0, b"a")
    bench.put(1, FLAG_LAST, 6, 0, b"b")
    bench.put(2, FLAG_FIRST, 5, 1, b"c")
    bench.put(3, FLAG_LAST, 5, 1, b"d")
    assert [m.data for m in bench.delivered if m.data != b"cd"] == []
    assert bench.it.held in (0, 2)


def test_message_size_limit():
    bench = Bench(limit=10)
    bench.put(0, FLAG_FIRST, 5, 0, b"12345")
    bench.put(1, 0, 5, 0, b"12345")
    with pytest.raises(Violation):
        bench.put(2, 0, 5, 0, b"1")


def test_stream_limit_drops_the_newcomer_only():
    bench = Bench(streams=2)
    bench.put(0, 3, 1, 0, b"one")
    bench.put(1, 3, 2, 0, b"two")
    bench.put(2, 3, 3, 0, b"three")
    bench.put(3, 3, 1, 1, b"four")
    assert [m.data for m in bench.delivered] == [b"one", b"two", b"four"]
    assert bench.it.refused == 3


def test_reset_begins_at_zero_again():
    bench = Bench()
    bench.put(0, 3, 1, 0, b"one")
    bench.put(1, 3, 1, 2, b"early")
    bench.it.reset((1,))
    bench.put(2, 3, 1, 0, b"new")
    assert [m.data for m in bench.delivered] == [b"one", b"new"]
    assert bench.it.held == 0


def test_manual_window_holds_until_consumed():
    bench = Bench(manual=True)
    bench.put(0, 3, 1, 0, b"12345")
    bench.put(2, 3, 1, 2, b"678")
    bench.put(1, 3, 1, 1, b"ab")
    assert bench.it.held == 10
    bench.it.consume(7)
    assert bench.it.held == 3
    bench.it.consume(100)
    assert bench.it.held == 0

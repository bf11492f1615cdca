"""Reassembly: any order, any cut, nothing mixed, nothing unbounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.dtls.handshake import Fragment, Message
from trio_livekit._sansio.dtls.reassembly import MAX_BUFFERED_BYTES, MAX_PIECES, WINDOW, Reassembler

BODY = bytes(range(50))


def fragment(start: int, end: int, *, sequence: int = 0, body: bytes = BODY, message_type: int = 11) -> Fragment:
    return Fragment(message_type, len(body), sequence, start, body[start:end])


@st.composite
def cuts(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Pieces that cover BODY, with overlaps and repetitions, in any order."""
    ends = sorted(draw(st.sets(st.integers(1, len(BODY) - 1), max_size=8)) | {len(BODY)})
    pieces = list(zip([0, *ends], ends, strict=False))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(BODY) - 1))
        pieces.append((start, draw(st.integers(start + 1, len(BODY)))))
    return draw(st.permutations(pieces))


@given(cuts())
def test_fragments_in_any_order_with_overlaps(pieces: list[tuple[int, int]]) -> None:
    reassembler = Reassembler()
    for start, end in pieces:
        reassembler.add(fragment(start, end))
    assert reassembler.pop() == Message(11, 0, BODY)
    assert reassembler.pop() is None
    assert reassembler.buffered_bytes == 0


def test_messages_come_out_in_order() -> None:
    reassembler = Reassembler()
    for sequence in (2, 1):
        reassembler.add(fragment(0, 50, sequence=sequence))
        assert reassembler.pop() is None
    reassembler.add(fragment(0, 50, sequence=0))
    popped = [reassembler.pop() for _ in range(4)]
    assert [message and message.sequence for message in popped] == [0, 1, 2, None]


def test_an_empty_message_is_complete() -> None:
    reassembler = Reassembler()
    reassembler.add(Fragment(14, 0, 0, 0, b""))
    assert reassembler.pop() == Message(14, 0, b"")


def test_old_and_far_messages_are_dropped() -> None:
    reassembler = Reassembler()
    reassembler.restart(5)
    for sequence in (0, 4, 5 + WINDOW, 65535):
        reassembler.add(fragment(0, 50, sequence=sequence))
    assert reassembler.pieces == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 25), st.integers(26, 50)), max_size=40))
def test_overlapping_versions_of_a_message_never_mix(pieces: list[tuple[bool, int, int]]) -> None:
    versions = (BODY, bytes(byte ^ 0xFF for byte in BODY))
    reassembler = Reassembler()
    for which, start, end in pieces:
        reassembler.add(fragment(start, end, body=versions[which]))
        message = reassembler.pop()
        if message is not None:
            assert message.body in versions
            reassembler.restart(0)


def test_a_whole_message_overrules_a_contradicting_fragment() -> None:
    for other in (
        fragment(0, 10, body=bytes(50)),
        fragment(0, 10, body=bytes(51)),
        fragment(0, 10, message_type=12),
    ):
        reassembler = Reassembler()
        reassembler.add(other)
        reassembler.add(fragment(0, 50))
        assert reassembler.pop() == Message(11, 0, BODY)


def test_limits_hold_and_the_next_message_still_gets_through() -> None:
    reassembler = Reassembler()
    size = 32 * 1024
    for sequence in range(1, WINDOW):
        reassembler.add(Fragment(11, size, sequence, 0, bytes(size - 1)))
        assert reassembler.buffered_bytes <= MAX_BUFFERED_BYTES
    for sequence in range(1, WINDOW):
        for offset in range(0, 400, 2):
            reassembler.add(Fragment(11, size, sequence, offset + 1, b"x"))
            assert reassembler.pieces <= MAX_PIECES
    reassembler.add(fragment(0, 50))
    assert reassembler.pop() == Message(11, 0, BODY)


def test_continuing_keeps_later_messages() -> None:
    reassembler = Reassembler()
    for sequence in (0, 1, 2):
        reassembler.add(fragment(0, 50, sequence=sequence))
    reassembler.continue_at(2)
    assert reassembler.pop() == Message(11, 2, BODY)
    assert reassembler.buffered_bytes == 0

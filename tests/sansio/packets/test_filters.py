"""No packet twice, and a gap is told only where it can be a loss."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.packets import filters
from trio_livekit._sansio.packets.filters import Nonces, Sequences

NONCE = bytes(range(16))


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 20))))
def test_numbers_only_rise(packets: list[tuple[str, int]]) -> None:
    sequences = Sequences()
    highest: dict[str, int] = defaultdict(int)
    for sid, sequence in packets:
        taken = sequences.on_packet(sid, sequence, 0.0) is not None
        assert taken is (sequence > highest[sid])
        highest[sid] = max(highest[sid], sequence)
    assert sequences.last() == highest


def test_packets_without_a_number_always_pass() -> None:
    sequences = Sequences()
    assert [sequences.on_packet("a", number, 0.0) for number in (0, 3, 0, 0)] == [0, 0, 0, 0]
    assert sequences.on_packet("", 3, 0.0) == 0
    assert sequences.on_packet("", 3, 0.0) == 0


def test_a_gap_alone_is_no_loss() -> None:
    """What is missing may have been for others."""
    sequences = Sequences()
    sequences.on_joined("a", 0.0)
    assert [sequences.on_packet("a", number, 0.0) for number in (4, 5, 9)] == [0, 0, 0]


def test_a_gap_over_an_absence_is_told_once() -> None:
    sequences = Sequences()
    sequences.on_packet("a", 3, 0.0)
    sequences.on_present("a")
    sequences.on_away()
    sequences.on_back()
    assert sequences.on_packet("a", 8, 1000.0) == 4
    assert sequences.on_packet("a", 10, 1000.0) == 0


def test_nothing_missed_over_an_absence() -> None:
    sequences = Sequences()
    sequences.on_packet("a", 3, 0.0)
    sequences.on_away()
    sequences.on_back()
    assert sequences.on_packet("a", 4, 1.0) == 0
    assert sequences.on_packet("a", 7, 1.0) == 0


def test_who_joined_during_an_absence_began_at_one() -> None:
    sequences = Sequences()
    sequences.on_away()
    sequences.on_joined("meanwhile", 0.0)
    sequences.on_back()
    sequences.on_joined("later", 0.0)
    assert sequences.on_packet("meanwhile", 6, 0.0) == 5
    assert sequences.on_packet("later", 6, 0.0) == 0
    assert sequences.on_packet("not announced", 6, 0.0) == 0


def test_a_sender_that_is_gone_is_forgotten() -> None:
    sequences = Sequences()
    sequences.on_packet("gone", 5, 0.0)
    sequences.on_packet("here", 5, 0.0)
    sequences.on_present("gone")
    sequences.on_present("here")
    sequences.on_left("gone", 100.0)
    assert sequences.on_packet("gone", 5, 129.0) is None
    assert sequences.on_packet("gone", 5, 160.0) == 0
    assert sequences.on_packet("here", 5, 1000.0) is None


def test_senders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MAX_SENDERS", 3)
    sequences = Sequences()
    for name in "abcd":
        sequences.on_packet(name, 1, 0.0)
    assert list(sequences.last()) == ["b", "c", "d"]
    sequences.on_packet("e", 1, 100.0)  # all others are long gone
    assert list(sequences.last()) == ["e"]


@given(st.lists(st.tuples(st.sampled_from(["ann", "ben"]), st.sampled_from(["x", "y"]), st.floats(0, 30))))
def test_a_nonce_counts_once_a_minute(messages: list[tuple[str, str, float]]) -> None:
    nonces = Nonces()
    seen: dict[tuple[str, str], float] = {}
    now = 0.0
    for identity, name, pause in messages:
        now += pause
        expected = (identity, name) in seen and now < seen[identity, name] + filters.NONCE_TTL_S
        assert nonces.is_repeat(identity, name.encode() * 16, now) is expected
        if not expected:
            seen[identity, name] = now


@pytest.mark.parametrize("nonce", [b"", b"short", bytes(17)])
def test_only_sixteen_bytes_are_a_nonce(nonce: bytes) -> None:
    nonces = Nonces()
    assert not nonces.is_repeat("ann", nonce, 0.0)
    assert not nonces.is_repeat("ann", nonce, 0.0)
    assert len(nonces) == 0


def test_nonces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MAX_NONCES", 2)
    nonces = Nonces()
    for number in range(3):
        nonces.is_repeat("ann", bytes([number]) * 16, 0.0)
    assert len(nonces) == 2
    assert nonces.is_repeat("ann", b"\x02" * 16, 0.0)
    assert not nonces.is_repeat("ann", b"\x00" * 16, 0.0)

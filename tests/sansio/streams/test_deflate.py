"""Raw deflate in steps: round trips, damage, and bombs."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.streams.deflate import STEP_BYTES, Inflater, deflate
from trio_livekit.errors import DecodeError


def inflate(pieces: list[bytes], limit: int = STEP_BYTES) -> tuple[bytes, bool]:
    """All that comes out, and whether the end was seen."""
    inflater = Inflater()
    content = b""
    for piece in pieces:
        inflater.feed(piece)
        while not inflater.is_hungry:
            step = inflater.step(limit)
            assert len(step) <= limit
            content += step
    return content, inflater.is_finished


@given(st.binary(max_size=300), st.integers(1, 50), st.integers(1, 50))
def test_round_trips_however_it_is_cut(content: bytes, cut: int, limit: int) -> None:
    data = b"".join(deflate(content))
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    assert inflate(pieces, limit) == (content, True)


def test_many_steps() -> None:
    content = bytes(range(256)) * 4000
    parts = list(deflate(content))
    assert len(parts) == len(content) // STEP_BYTES + 2
    assert inflate(parts) == (content, True)
    assert zlib.decompress(b"".join(parts), wbits=-15) == content


@given(st.binary(max_size=100))
def test_any_bytes_inflate_or_raise_one_error(data: bytes) -> None:
    try:
        inflate([data])
    except DecodeError:
        pass


def test_what_comes_after_the_end_is_an_error() -> None:
    data = b"".join(deflate(b"hello"))
    for pieces in ([data + b"x"], [data, b"x"]):
        with pytest.raises(DecodeError, match="after the end"):
            inflate(pieces)
    assert inflate([data, b""]) == (b"hello", True)


def test_data_that_stops_is_not_finished() -> None:
    data = b"".join(deflate(b"hello" * 100))
    assert inflate([data[:-1]])[1] is False


def test_a_bomb_takes_no_more_memory_than_a_step() -> None:
    bomb = b"".join(deflate(bytes(50 << 20)))
    inflater = Inflater()
    inflater.feed(bomb)
    tracemalloc.start()
    try:
        for _ in range(20):
            assert len(inflater.step()) == STEP_BYTES
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()

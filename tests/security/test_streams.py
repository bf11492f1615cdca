"""Streams that are bombs, lies, or too many (S26, S27)."""

from __future__ import annotations

import tracemalloc
import zlib
from base64 import urlsafe_b64encode
from dataclasses import replace

import pytest

from tests.sansio.streams.test_incoming import HEADER, SLACK_S, Bench
from trio_livekit._sansio.streams.deflate import STEP_BYTES
from trio_livekit._sansio.streams.incoming import MAX_OPEN_PER_SENDER
from trio_livekit._sansio.streams.incoming_stream import IDLE_S, Limits
from trio_livekit._wire.generated import rtc
from trio_livekit._wire.signal import decode_join_request
from trio_livekit.errors import DecodeError, StreamError, StreamErrorReason

Reason = StreamErrorReason
MIB = 1 << 20


@pytest.fixture
def bench() -> Bench:
    return Bench()


def bomb(size: int, wbits: int = -15) -> bytes:
    """Zeros, a thousand times smaller: a mebibyte that is compressed once and repeated."""
    compressor = zlib.compressobj(9, wbits=wbits)
    head = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    again = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return head + again * (size // MIB - 1)


@pytest.mark.parametrize("inline", [True, False], ids=["in the header", "in chunks"])
def test_s26_a_megabyte_that_becomes_a_gigabyte(bench: Bench, inline: bool) -> None:
    data = bomb(1 << 30)
    parts = [data] if inline else [data[at : at + 15_000] for at in range(0, len(data), 15_000)]
    stream = bench.inflating(*parts, total=1 << 30, inline=inline)
    read, largest = 0, 0
    tracemalloc.start()
    try:
        with pytest.raises(StreamError) as error:
            while step := stream.read(bench.now):
                read, largest = read + len(step), max(largest, len(step))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.value.reason is Reason.TOO_LARGE
    assert Limits().inflated_bytes == 16 * MIB
    assert 15 * MIB < read <= 16 * MIB
    assert largest == STEP_BYTES == 64 << 10
    assert peak < 4 * MIB
    assert bench.core.held_bytes == 0


def test_s26_a_bomb_is_not_even_lit_before_it_is_read(bench: Bench) -> None:
    tracemalloc.start()
    try:
        stream = bench.inflating(bomb(64 * MIB), total=None, limits=Limits(inflated_bytes=1000))
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert bench.reason(stream) is Reason.TOO_LARGE


def test_s26_a_bomb_in_a_join_request() -> None:
    """All that a request of 64 KiB can blow up to, which is met before the token has been looked at closely."""
    wrapped = rtc.WrappedJoinRequest(compression=rtc.WrappedJoinRequest.GZIP, join_request=bomb(32 * MIB, 31))
    parameter = urlsafe_b64encode(wrapped.SerializeToString()).decode()
    assert len(parameter) < 64 << 10
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode_join_request(parameter)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("total", [2**63 - 1, 2**63, 2**64 - 1])
def test_s27_an_announced_length_takes_no_memory(bench: Bench, total: int) -> None:
    tracemalloc.start()
    try:
        stream = bench.header(replace(HEADER, total_length=total))
        bench.chunk(0, b"all there is")
        bench.trailer()
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert bench.reason(stream) is Reason.INCOMPLETE


def test_s27_a_gap_and_a_repeated_chunk(bench: Bench) -> None:
    stream = bench.header()
    assert bench.chunk(0, b"a")
    assert not bench.chunk(0, b"A")
    assert not bench.chunk(2, b"c")
    with pytest.raises(StreamError) as error:
        bench.drain(stream)
    assert error.value.reason is Reason.CHUNK_MISSING
    assert bench.core.open_count == 0


def test_s27_an_index_at_the_end_of_its_range(bench: Bench) -> None:
    stream = bench.header()
    assert not bench.chunk(2**64 - 1)
    assert bench.reason(stream) is Reason.CHUNK_MISSING


def test_s27_a_trailer_that_never_comes(bench: Bench) -> None:
    stream = bench.header()
    bench.chunk(0, b"x")
    assert bench.drain(stream) == (b"x", False)
    bench.sleep(IDLE_S + SLACK_S)
    assert bench.reason(stream) is Reason.IDLE
    assert bench.core.open_count == 0


def test_s27_a_hundred_thousand_streams_of_one_peer(bench: Bench) -> None:
    """256 are let in, the rest is counted and leaves nothing behind; others may open theirs all the same."""

    def opened(first: int, last: int) -> int:
        return sum(bench.header(replace(HEADER, stream_id=f"{n}")) is not None for n in range(first, last))

    assert opened(0, 300) == bench.core.open_count == MAX_OPEN_PER_SENDER == 256
    header = replace(HEADER)
    for number in range(300, 90_000):
        object.__setattr__(header, "stream_id", f"{number}")  # making each takes ten times as long as refusing it
        bench.header(header)
    tracemalloc.start()
    try:
        assert opened(90_000, 100_000) == 0
        assert tracemalloc.get_traced_memory()[0] < 10_000  # a byte for each would be more
    finally:
        tracemalloc.stop()
    assert bench.core.refused == 100_000 - 256
    assert bench.header(sender="bob", sid="PA_2") is not None


@pytest.mark.parametrize(("sender", "sid"), [("bob", "PA_2"), ("", ""), ("", "PA_1"), ("ANN", "PA_1")])
def test_s27_only_the_opener_adds_to_a_stream_and_ends_it(bench: Bench, sender: str, sid: str) -> None:
    stream = bench.header()
    bench.chunk(0, b"good")
    assert not bench.chunk(1, b"forged", sender=sender, sid=sid)
    bench.trailer("forged", sender=sender, sid=sid)
    bench.chunk(1, b" and true")
    bench.trailer()
    assert bench.drain(stream) == (b"good and true", True)

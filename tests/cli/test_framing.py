"""Frames cut from input and written to output: whatever the chunks, and there and back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit.cli.framing import (
    MAX_FRAME_BYTES,
    BlockSplitter,
    FramingError,
    LineSplitter,
    PrefixSplitter,
    encode_line,
    encode_prefixed,
    encode_raw,
)

lengths = st.lists(st.integers(0, 20), max_size=20)
text_like = st.lists(st.sampled_from([b"\n", b"a", b"\r", b"\0", b"word "]), max_size=60).map(b"".join)


def split(splitter, data, sizes):
    """All frames of ``data``, fed in chunks of these sizes and then the rest."""
    frames = []
    for size in sizes:
        chunk, data = data[:size], data[size:]
        frames += splitter.feed(chunk)
    return [*frames, *splitter.feed(data), *splitter.finish()]


@given(text_like, lengths)
def test_lines_come_back(data, sizes):
    frames = split(LineSplitter(), data, sizes)
    assert all(frames)
    assert all(frame == b"\n" or b"\n" not in frame for frame in frames)
    missing_newline = b"" if not data or data.endswith(b"\n") else b"\n"
    assert b"".join(map(encode_line, frames)) == data + missing_newline


def test_an_empty_line_is_a_newline():
    assert split(LineSplitter(), b"one\n\nthree", []) == [b"one", b"\n", b"three"]


@given(st.binary(max_size=200), lengths, st.integers(1, 40))
def test_blocks_come_back(data, sizes, block):
    frames = split(BlockSplitter(block), data, sizes)
    assert b"".join(map(encode_raw, frames)) == data
    assert all(len(frame) == block for frame in frames[:-1])
    assert all(0 < len(frame) <= block for frame in frames[-1:])


@pytest.mark.parametrize("size", [0, -1, MAX_FRAME_BYTES + 1])
def test_a_block_has_a_sensible_size(size):
    with pytest.raises(ValueError, match="a block is"):
        BlockSplitter(size)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=10), lengths)
def test_length_prefixed_frames_come_back(frames, sizes):
    assert split(PrefixSplitter(), b"".join(map(encode_prefixed, frames)), sizes) == frames


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=4), st.data())
def test_a_length_prefixed_input_ends_with_a_frame(frames, data):
    whole = b"".join(map(encode_prefixed, frames))
    ends = {0, *itertools.accumulate(len(frame) + 4 for frame in frames)}
    cut = data.draw(st.integers(1, len(whole) - 1).filter(lambda position: position not in ends))
    with pytest.raises(FramingError, match="ends within frame"):
        split(PrefixSplitter(), whole[:cut], [])


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_a_length_that_no_frame_has(length):
    splitter = PrefixSplitter()
    frames = splitter.feed(encode_prefixed(b"good") + length.to_bytes(4, "big"))
    assert next(frames) == b"good"
    with pytest.raises(FramingError, match=f"frame 2 has the length {length}"):
        next(frames)


def test_a_line_that_no_frame_can_hold_is_not_collected_for_ever():
    splitter = LineSplitter()
    assert list(splitter.feed(b"short\n")) == [b"short"]
    with pytest.raises(FramingError, match="line 2 is longer"):
        for _ in range(100):
            assert list(splitter.feed(bytes(MAX_FRAME_BYTES // 10))) == []


def test_the_largest_line():
    line = b"x" * MAX_FRAME_BYTES
    assert split(LineSplitter(), line + b"\n", [1000] * 3) == [line]

"""RFC 4571 framing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.ice.framing import MAX_FRAME, StreamFramer, frame
from trio_livekit.errors import DecodeError


def test_a_frame_is_length_and_bytes() -> None:
    assert frame(b"abc") == b"\x00\x03abc"


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.data())
def test_split_anywhere(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, messages))
    framer = StreamFramer()
    received: list[bytes] = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        received += framer.receive(stream[:cut], 0.0)
        stream = stream[cut:]
    assert received == messages
    assert framer.next_timeout() is None


def test_byte_by_byte() -> None:
    framer = StreamFramer()
    received = [f for byte in frame(b"one") + frame(b"two") for f in framer.receive(bytes([byte]), 0.0)]
    assert received == [b"one", b"two"]


def test_the_cap_moves_once_the_handshake_is_done() -> None:
    framer = StreamFramer()
    with pytest.raises(DecodeError):
        framer.receive(frame(bytes(8193)), 0.0)
    framer = StreamFramer()
    framer.max_frame = MAX_FRAME
    assert framer.receive(frame(bytes(8193)), 0.0) == [bytes(8193)]


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_any_bytes(chunks: list[bytes]) -> None:
    framer = StreamFramer()
    try:
        for chunk in chunks:
            framer.receive(chunk, 0.0)
    except DecodeError:
        pass

"""What a websocket's frames are counted for, whatever pieces they come in."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.signal.frames import (
    CONTROL_FRAMES_PER_S,
    MAX_CONTROL_FRAMES,
    MAX_PIECES,
    Fault,
    FrameGuard,
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode: int, size: int = 0, *, final: bool = True, masked: bool = False) -> bytes:
    """A frame whose payload would be all sorts of frames, were it taken for some."""
    long = b"\x7e" + struct.pack("!H", size) if size < 1 << 16 else b"\x7f" + struct.pack("!Q", size)
    length = bytes([size]) if size < 126 else long
    head = bytes([final << 7 | opcode, length[0] | masked << 7]) + length[1:] + bytes(4 if masked else 0)
    return head + (b"\x89\x00\x81\x00\x02" * (size // 5 + 1))[:size]


def verdict(data: bytes, cuts: list[int] | None = None, *, every_s: float = 0.0) -> Fault | None:
    """What a guard says of ``data``, cut there."""
    guard, now, last = FrameGuard(0.0), 0.0, 0
    for cut in [*sorted(cuts or []), len(data)]:
        fault = guard.receive(data[last:cut], now)
        if fault is not None:
            return fault
        now, last = now + every_s, cut
    return None


GOOD = st.lists(
    st.builds(
        frame,
        st.sampled_from([CONTINUATION, BINARY, CLOSE, PING, PONG]),
        st.sampled_from([0, 1, 125, 126, 300, 65_536]),
        final=st.booleans(),
        masked=st.booleans(),
    ),
    max_size=8,
)


@given(GOOD, st.lists(st.integers(0, 1 << 20), max_size=50))
def test_frames_are_told_apart_however_they_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    """Were one byte taken for another, there would be text in the payloads."""
    data = b"".join(frames)
    assert verdict(data, [cut % (len(data) + 1) for cut in cuts]) is None
    assert verdict(data + frame(TEXT, 5), [cut % (len(data) + 1) for cut in cuts]) is Fault.TEXT


@pytest.mark.parametrize("size", [0, 1, 200])
def test_fragments_of_one_message_are_counted(size: int) -> None:
    """Those of the next begin anew, and what comes between does not count."""
    first, more = frame(BINARY, size, final=False), frame(CONTINUATION, size, final=False)
    most = first + more * (MAX_PIECES - 2) + frame(PING) + frame(CONTINUATION, size)
    assert verdict(most * 3) is None
    assert verdict(first + more * (MAX_PIECES - 1)) is None
    assert verdict(first + more * MAX_PIECES) is Fault.PIECES


def test_a_message_that_trickles_in_is_in_pieces_too() -> None:
    data = frame(BINARY, 15_000)
    assert verdict(data, list(range(0, len(data), 4))) is None
    assert verdict(data, list(range(len(data)))) is Fault.PIECES
    assert verdict(frame(BINARY, 100) * 500, list(range(50_000))) is None


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_have_an_allowance(opcode: int) -> None:
    assert verdict(frame(opcode, 5) * MAX_CONTROL_FRAMES) is None
    assert verdict(frame(opcode, 5) * (MAX_CONTROL_FRAMES + 1)) is Fault.CONTROL
    steady, cuts = frame(opcode, 5) * 2000, list(range(0, 14_000, 7))
    assert verdict(steady, cuts, every_s=1 / CONTROL_FRAMES_PER_S) is None
    assert verdict(steady, cuts, every_s=0.9 / CONTROL_FRAMES_PER_S) is Fault.CONTROL


def test_an_announced_length_is_no_more_than_a_number() -> None:
    """Even the largest there is: what follows is its payload, for longer than anybody lives."""
    assert verdict(b"\x82\x7f" + b"\xff" * 8 + frame(TEXT, 5) * 1000) is None


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    assert verdict(data) in {None, *Fault}

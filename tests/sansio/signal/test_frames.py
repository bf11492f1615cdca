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
    close_frame,
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


MOST = 1 << 40


def frame(opcode: int, size: int = 0, *, final: bool = True, masked: bool = False) -> bytes:
    """A frame whose payload would be all sorts of frames, were it taken for some."""
    long = b"\x7e" + struct.pack("!H", size) if size < 1 << 16 else b"\x7f" + struct.pack("!Q", size)
    length = bytes([size]) if size < 126 else long
    head = bytes([final << 7 | opcode, length[0] | masked << 7]) + length[1:] + bytes(4 if masked else 0)
    return head + (b"\x89\x00\x81\x00\x02" * (size // 5 + 1))[:size]


def verdict(
    data: bytes, cuts: list[int] | None = None, *, every_s: float = 0.0, is_client: bool = True, most: int = MOST
) -> Fault | None:
    """What a guard says of ``data``, cut there."""
    guard, now, last = FrameGuard(0.0, is_client=is_client, max_message_bytes=most), 0.0, 0
    for cut in [*sorted(cuts or []), len(data)]:
        fault = guard.receive(data[last:cut], now)
        if fault is not None:
            return fault
        now, last = now + every_s, cut
    return None


@st.composite
def good_frames(draw: st.DrawFn) -> tuple[bool, list[bytes]]:
    """Who receives them, and the frames of some messages, whole or in fragments, with control frames in between."""
    is_client = draw(st.booleans())
    frames, is_within = [], False
    for size in draw(st.lists(st.sampled_from([0, 1, 125, 126, 300, 65_536]), max_size=8)):
        if draw(st.booleans()):
            frames.append(frame(draw(st.sampled_from([CLOSE, PING, PONG])), min(size, 125), masked=not is_client))
        final = draw(st.booleans())
        frames.append(frame(CONTINUATION if is_within else BINARY, size, final=final, masked=not is_client))
        is_within = not final
    return is_client, frames if not is_within else [*frames, frame(CONTINUATION, masked=not is_client)]


@given(good_frames(), st.lists(st.integers(0, 1 << 20), max_size=50))
def test_frames_are_told_apart_however_they_are_cut(good: tuple[bool, list[bytes]], cuts: list[int]) -> None:
    """Were one byte taken for another, there would be text in the payloads."""
    is_client, frames = good
    data = b"".join(frames)
    assert verdict(data, [cut % (len(data) + 1) for cut in cuts], is_client=is_client) is None
    data += frame(TEXT, 5, masked=not is_client)
    assert verdict(data, [cut % (len(data) + 1) for cut in cuts], is_client=is_client) is Fault.TEXT


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (bytes([0x80 | opcode, 0]), Fault.RESERVED) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ] + [
        (bytes([0x80 | bit | BINARY, 0]), Fault.RESERVED) for bit in (0x10, 0x20, 0x40)
    ] + [
        (frame(BINARY, 1, masked=True), Fault.MASK),
        (b"\x82\x7e\x00\x7d", Fault.LENGTH),
        (b"\x82\x7f" + (65_535).to_bytes(8, "big"), Fault.LENGTH),
        (frame(PING, final=False), Fault.LONG_CONTROL),
        (frame(PING, 126), Fault.LONG_CONTROL),
        (frame(CONTINUATION, 1), Fault.ORDER),
        (frame(BINARY, 1) + frame(CONTINUATION, 1), Fault.ORDER),
        (frame(BINARY, 1, final=False) + frame(BINARY, 1), Fault.ORDER),
        (frame(BINARY, 1, final=False) + frame(PING) + frame(TEXT, 1), Fault.ORDER),
    ],
)  # fmt: skip
def test_what_is_against_the_rules(data: bytes, fault: Fault) -> None:
    assert verdict(data) is fault


def test_clients_mask() -> None:
    assert verdict(frame(BINARY, 5, masked=True), is_client=False) is None
    assert verdict(frame(BINARY, 5), is_client=False) is Fault.MASK


def test_a_message_has_a_limit_in_all_its_fragments() -> None:
    whole, most = frame(BINARY, 60, final=False) + frame(PING, 9) + frame(CONTINUATION, 40), 100
    assert verdict(whole * 3, most=most) is None
    assert verdict(frame(BINARY, 101), most=most) is Fault.TOO_LARGE
    assert verdict(frame(BINARY, 60, final=False) + frame(CONTINUATION, 41), most=most) is Fault.TOO_LARGE


@given(good_frames(), st.integers(0, 100))
def test_what_came_before_a_fault_is_known(good: tuple[bool, list[bytes]], cut: int) -> None:
    is_client, frames = good
    data, fault = b"".join(frames), frame(3, masked=not is_client)
    guard = FrameGuard(0.0, is_client=is_client, max_message_bytes=MOST)
    assert guard.receive(data[:cut], 0.0) is None
    assert guard.receive(data[cut:] + fault, 0.0) is Fault.RESERVED
    assert guard.passed == len(data[cut:])
    guard = FrameGuard(0.0, is_client=is_client, max_message_bytes=MOST)
    assert guard.receive(data + fault[:1], 0.0) is None
    assert guard.receive(fault[1:], 0.0) is Fault.RESERVED
    assert guard.passed == 0


@pytest.mark.parametrize("is_client", [True, False])
def test_a_close_frame_is_known_when_it_has_come(is_client: bool) -> None:
    guard = FrameGuard(0.0, is_client=is_client, max_message_bytes=MOST)
    for data, is_closed in (
        (frame(BINARY, 3, masked=not is_client), False),
        (frame(CLOSE, 2, masked=not is_client), True),
    ):
        assert guard.receive(data, 0.0) is None
        assert guard.is_closed is is_closed


@pytest.mark.parametrize("fault", Fault)
def test_faults_are_told_in_one_small_frame(fault: Fault) -> None:
    told = close_frame(fault, b"")
    assert told[0] == 0x80 | CLOSE
    assert told[1] == len(told) - 2 <= 125
    assert told[2:] == fault.code.to_bytes(2, "big") + fault.text.encode()
    masked = close_frame(fault, b"\x01\x02\x03\x04")
    assert masked[:6] == bytes([0x80 | CLOSE, 0x80 | told[1], 1, 2, 3, 4])
    assert bytes(byte ^ masked[2 + place % 4] for place, byte in enumerate(masked[6:])) == told[2:]


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
    """Even a very large one: what follows is its payload, for longer than anybody lives."""
    assert verdict(b"\x82\x7f" + MOST.to_bytes(8, "big") + frame(TEXT, 5) * 1000) is None
    assert verdict(b"\x82\x7f" + b"\xff" * 8) is Fault.TOO_LARGE


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    assert verdict(data) in {None, *Fault}

"""What a peer may do to us with the frames of a websocket (RFC 6455 section 5), counted as their bytes go by.

The websocket library joins fragments for as long as it is sent any, answers every ping, and keeps to itself what it
cannot parse. This looks at the heads of the frames alone, before the library does, and says when to hang up and why.

    byte 0       FIN (0x80), three reserved bits, opcode
    byte 1       MASK (0x80), length: up to 125 is one; 126: two bytes of it follow; 127: eight bytes
    then         four bytes of mask where MASK is set, and the payload
"""

from __future__ import annotations

__all__ = ["Fault", "FrameGuard", "close_frame"]

import enum

MAX_PIECES = 4096
"""Of one message: fragments, and reads from the network that were part of one. The library keeps each by itself; a
message of a mebibyte in the smallest TCP segments there are takes about 2,000."""

MAX_CONTROL_FRAMES = 128
CONTROL_FRAMES_PER_S = 16.0
"""Pings, pongs and closes: so many at once, and so many in the long run. An honest peer sends one in some seconds."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_KNOWN = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_LONGEST_SHORT = 125
"""The longest payload of a control frame, and of a frame whose length is one byte."""
_EXTENDED = {126: 2, 127: 8}
_LEAST = {126: _LONGEST_SHORT + 1, 127: 1 << 16}
"""What is shorter has to be said in fewer bytes (section 5.2)."""


class Fault(enum.Enum):
    """Why to hang up: the close code that says so, and words."""

    RESERVED = 1002, "a frame with an opcode or a bit that means nothing here"
    MASK = 1002, "a frame that is masked and must not be, or the other way round"
    LENGTH = 1002, "a length in more bytes than it takes"
    LONG_CONTROL = 1002, f"a control frame in parts, or of more than {_LONGEST_SHORT} bytes"
    ORDER = 1002, "a fragment of nothing, or a message within another"
    TEXT = 1003, "a text message, where all are binary"
    TOO_LARGE = 1009, "a message larger than is accepted"
    PIECES = 1008, f"a message in more than {MAX_PIECES} pieces"
    CONTROL = 1008, "a flood of control frames"

    @property
    def code(self) -> int:
        """The close code of RFC 6455 section 7.4.1."""
        return self.value[0]

    @property
    def text(self) -> str:
        """What was wrong."""
        return self.value[1]


def close_frame(fault: Fault, mask: bytes) -> bytes:
    """What tells a peer of its fault. ``mask`` is 4 random bytes for a client's frame, and none for a server's."""
    payload = fault.code.to_bytes(2, "big") + fault.text.encode("ascii")
    head = bytes([_FINAL | _CLOSE, len(payload) | (_MASKED if mask else 0)])
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if mask else head + payload


class FrameGuard:
    """Reads the frames that one end of one websocket receives, from the first byte after the handshake on."""

    __slots__ = (
        "_allowance",
        "_at",
        "_head",
        "_is_data",
        "_is_within_message",
        "_masked",
        "_max_message_bytes",
        "_message_bytes",
        "_payload_left",
        "_pieces",
        "is_closed",
        "passed",
    )

    def __init__(self, now: float, *, is_client: bool, max_message_bytes: int) -> None:
        self._masked = 0 if is_client else _MASKED
        self._max_message_bytes = max_message_bytes
        self._head = bytearray()
        self._payload_left = 0
        self._is_data = False
        self._is_within_message = False
        self._message_bytes = 0
        self._pieces = 0
        self._allowance = float(MAX_CONTROL_FRAMES)
        self._at = now
        self.is_closed = False
        """Whether a close frame has come: its sender says nothing more, and has heard what there was to hear."""
        self.passed = 0
        """Bytes of what was looked at last that came before the frame in which there is a fault."""

    def receive(self, data: bytes | bytearray, now: float) -> Fault | None:
        """Look at what has arrived. After a fault, do not call this again."""
        self.passed = 0
        self._allowance = min(MAX_CONTROL_FRAMES, self._allowance + (now - self._at) * CONTROL_FRAMES_PER_S)
        self._at = now
        at = 0
        while at < len(data):
            if self._payload_left:
                step = min(self._payload_left, len(data) - at)
                self._payload_left -= step
                at += step
                fault = self._count_piece() if self._is_data else None
            else:
                if not self._head:
                    self.passed = at
                self._head.append(data[at])
                at += 1
                fault = self._on_head() if self._head_is_complete() else None
            if fault is not None:
                return fault
        return None

    def _head_is_complete(self) -> bool:
        head = self._head
        return len(head) > 1 and len(head) == 2 + _EXTENDED.get(head[1] & 0x7F, 0) + (4 if head[1] & 0x80 else 0)

    def _on_head(self) -> Fault | None:
        first, second = self._head[0], self._head[1]
        opcode, short = first & 0x0F, second & 0x7F
        extended = _EXTENDED.get(short, 0)
        length = int.from_bytes(self._head[2 : 2 + extended], "big") if extended else short
        self._head.clear()
        self._payload_left = length
        self._is_data = opcode < _CLOSE
        if opcode not in _KNOWN or first & _RESERVED:
            return Fault.RESERVED
        if second & _MASKED != self._masked:
            return Fault.MASK
        if length < _LEAST.get(short, 0):
            return Fault.LENGTH
        is_final = bool(first & _FINAL)
        return self._on_data(opcode, length, is_final) if self._is_data else self._on_control(opcode, length, is_final)

    def _on_control(self, opcode: int, length: int, is_final: bool) -> Fault | None:
        self.is_closed = self.is_closed or opcode == _CLOSE
        if not is_final or length > _LONGEST_SHORT:
            return Fault.LONG_CONTROL
        self._allowance -= 1
        return Fault.CONTROL if self._allowance < 0 else None

    def _on_data(self, opcode: int, length: int, is_final: bool) -> Fault | None:
        if self._is_within_message != (opcode == _CONTINUATION):
            return Fault.ORDER
        if opcode == _TEXT:
            return Fault.TEXT
        if opcode != _CONTINUATION:
            self._pieces = self._message_bytes = 0
        self._is_within_message = not is_final
        self._message_bytes += length
        if self._message_bytes > self._max_message_bytes:
            return Fault.TOO_LARGE
        return self._count_piece() if not length else None

    def _count_piece(self) -> Fault | None:
        self._pieces += 1
        return Fault.PIECES if self._pieces > MAX_PIECES else None

"""What a peer may do to us with the frames of a websocket (RFC 6455 section 5), counted as their bytes go by.

The websocket library joins fragments for as long as it is sent any, and answers every ping. This looks at the heads of
the frames alone, before the library does, and says when to hang up. The size of a message is the library's to bound.

    byte 0       FIN (0x80), three reserved bits, opcode
    byte 1       MASK (0x80), length: up to 125 is one; 126: two bytes of it follow; 127: eight bytes
    then         four bytes of mask where MASK is set, and the payload
"""

from __future__ import annotations

__all__ = ["Fault", "FrameGuard"]

import enum

MAX_PIECES = 4096
"""Of one message: fragments, and reads from the network that were part of one. The library keeps each by itself; a
message of a mebibyte in the smallest TCP segments there are takes about 2,000."""

MAX_CONTROL_FRAMES = 128
CONTROL_FRAMES_PER_S = 16.0
"""Pings, pongs and closes: so many at once, and so many in the long run. An honest peer sends one in some seconds."""

_CONTINUATION, _TEXT, _FIRST_CONTROL = 0, 1, 8
_EXTENDED = {126: 2, 127: 8}


class Fault(enum.Enum):
    """Why to hang up: the close code that says so, and words."""

    TEXT = 1003, "a text message, where all are binary"
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


class FrameGuard:
    """Reads the frames of one direction of one websocket, from the first byte after the handshake on."""

    __slots__ = ("_allowance", "_at", "_head", "_is_data", "_payload_left", "_pieces")

    def __init__(self, now: float) -> None:
        self._head = bytearray()
        self._payload_left = 0
        self._is_data = False
        self._pieces = 0
        self._allowance = float(MAX_CONTROL_FRAMES)
        self._at = now

    def receive(self, data: bytes | bytearray, now: float) -> Fault | None:
        """Look at what has arrived. After a fault, do not call this again."""
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
        opcode, length = self._head[0] & 0x0F, self._head[1] & 0x7F
        if length in _EXTENDED:
            length = int.from_bytes(self._head[2 : 2 + _EXTENDED[length]], "big")
        self._head.clear()
        self._payload_left = length
        self._is_data = opcode < _FIRST_CONTROL
        if not self._is_data:
            self._allowance -= 1
            return Fault.CONTROL if self._allowance < 0 else None
        if opcode == _TEXT:
            return Fault.TEXT
        if opcode != _CONTINUATION:
            self._pieces = 0
        return self._count_piece() if not length else None

    def _count_piece(self) -> Fault | None:
        self._pieces += 1
        return Fault.PIECES if self._pieces > MAX_PIECES else None

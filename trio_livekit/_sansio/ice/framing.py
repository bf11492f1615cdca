"""Datagrams over a TCP connection (RFC 4571 section 2): ``length u16 | that many bytes``, again and again."""

from __future__ import annotations

__all__ = ["StreamFramer", "frame"]

from struct import Struct

from ...errors import DecodeError

MAX_FRAME_BEFORE_HANDSHAKE = 8192
"""Checks and handshake messages are far smaller; a peer that sends more has not proved to be one."""

MAX_FRAME = 16896
"""A DTLS record of 2^14 bytes and what it is wrapped in."""

MAX_PARTIAL_FRAME_S = 10.0

_U16 = Struct("!H")


def frame(data: bytes) -> bytes:
    """Wrap one datagram for the stream."""
    return _U16.pack(len(data)) + data


class StreamFramer:
    """Cuts what arrives on one connection into datagrams, and keeps at most one incomplete frame.

    Attributes:
        max_frame: the largest frame taken; set it to ``MAX_FRAME`` once DTLS is up.
    """

    __slots__ = ("_began_at", "_buffer", "max_frame")

    def __init__(self) -> None:
        self.max_frame = MAX_FRAME_BEFORE_HANDSHAKE
        self._buffer = b""
        self._began_at = 0.0

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The frames that ``data`` completes, in order; empty ones are skipped.

        Raises:
            DecodeError: a frame is larger than allowed. Close the connection: it cannot be followed any more.
        """
        was_partial = bool(self._buffer)
        data = self._buffer + data
        frames: list[bytes] = []
        at, size = 0, len(data)
        while size - at >= 2:
            length = (data[at] << 8) | data[at + 1]
            if length > self.max_frame:
                self._buffer = b""
                raise DecodeError(f"a frame of {length} bytes on a connection that takes {self.max_frame}")
            end = at + 2 + length
            if end > size:
                break
            if length:
                frames.append(data[at + 2 : end])
            at = end
        self._buffer = data[at:]
        if at or not was_partial:
            self._began_at = now
        return frames

    def next_timeout(self) -> float | None:
        """When the incomplete frame, if there is one, has taken too long."""
        return self._began_at + MAX_PARTIAL_FRAME_S if self._buffer else None

    def is_stalled(self, now: float) -> bool:
        """Whether a frame was begun and not finished in time. Close the connection then."""
        deadline = self.next_timeout()
        return deadline is not None and now >= deadline

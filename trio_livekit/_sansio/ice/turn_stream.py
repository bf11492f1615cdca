"""Cuts a TCP or TLS connection to a TURN server into messages (RFC 8656 section 3.1).

STUN messages say their own length; ChannelData is ``channel u16 | length u16 | data``, padded to 4. The first two bits
tell them apart: 00 is STUN, 01 a channel, and anything else means that the stream is lost.
"""

from __future__ import annotations

__all__ = ["TurnStream"]

from ...errors import DecodeError
from .stun import HEADER_BYTES


class TurnStream:
    """Holds at most one incomplete message, so no more than 64 KiB."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, without padding.

        Raises:
            DecodeError: this is not a TURN stream, or not any more.
        """
        data = self._buffer + data
        messages: list[bytes] = []
        at, size = 0, len(data)
        while size - at >= 4:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            kind = data[at] >> 6
            if kind > 1:
                raise DecodeError("neither STUN nor ChannelData on the connection to the TURN server")
            end = at + (length + 4 if kind else length + HEADER_BYTES)
            following = end + (-length & 3) if kind else end
            if following > size:
                break
            messages.append(data[at:end])
            at = following
        self._buffer = data[at:]
        return messages

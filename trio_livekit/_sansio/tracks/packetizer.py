"""Frames of one track into packets, as the receivers in the field expect to find them."""

from __future__ import annotations

__all__ = ["MAX_PACKETS_PER_FRAME", "MTU", "SMALL_PACKET", "Packetizer", "fitting_packet_size"]

import struct
from typing import TYPE_CHECKING

from ...errors import FrameTooLarge, PushError, PushErrorReason
from ..serial import MASK16
from .packet import (
    BASE_HEADER_BYTES,
    FINAL,
    INTER,
    SINGLE,
    START,
    EncryptionInfo,
    encode_extensions,
)

if TYPE_CHECKING:
    from .clock import MediaClock

MTU = 16_000
"""Bytes of a message, header included: what the other SDKs use, just under the 16 KiB that any data channel carries."""

SMALL_PACKET = 1160
"""Where the network is slow: a packet that was begun is not overtaken, and 16 kB take 64 ms at 2 Mbit/s. This is what
one SCTP packet carries."""

MAX_PACKETS_PER_FRAME = 128
"""Packets a receiver keeps of one frame before it gives the frame up (Rust and JS SDKs)."""

TAG_BYTES = 16
"""What encryption adds to the payload of a frame."""

_X = 0x04
_HEAD = struct.Struct("!BBHH")  # what differs from packet to packet of a frame
_TAIL = struct.Struct("!HI")  # what does not

# The headers that most frames have, in one go. The bytes are the length of the extension block in words, and tag and
# length of each extension, of which encryption is the first.
_pack_header = struct.Struct("!BBHHHI").pack
_pack_timestamped = struct.Struct("!BBHHHI4sQ").pack
_pack_encrypted = struct.Struct("!BBHHHI4sB12s3x").pack
_pack_encrypted_timestamped = struct.Struct("!BBHHHI4sB12s2sQx").pack
_LARGEST_FAST_HEADER = 40


def fitting_packet_size(polite_amount: int) -> int:
    """The size of packets of which a few are on the way while that is no queue: what comes next waits for one."""
    return min(MTU, max(SMALL_PACKET, polite_amount // 7))


class Packetizer:
    """Numbers and cuts the frames of one track.

    Sequence and frame numbers run on for as long as the track lives, also through a republication.
    """

    __slots__ = ("_clock", "_frame_number", "_handle", "_largest", "_mtu", "_sequence")

    def __init__(
        self, handle: int, clock: MediaClock, *, mtu: int = MTU, first_sequence: int = 0, first_frame_number: int = 0
    ) -> None:
        if mtu <= BASE_HEADER_BYTES:
            raise ValueError(f"an MTU of {mtu} bytes leaves no room for payload")
        self._handle = handle
        self._clock = clock
        self._mtu = self._largest = mtu
        self._sequence = first_sequence
        self._frame_number = first_frame_number

    def use_packet_size(self, size: int) -> None:
        """From now on, frames are cut into packets of so many bytes, or larger ones where there would be too many."""
        self._mtu = min(size, self._largest)

    def packetize(
        self,
        payload: bytes | bytearray | memoryview,
        now: float,
        user_timestamp: int | None = None,
        encryption: EncryptionInfo | None = None,
    ) -> list[bytes]:
        """The packets of one frame, in the order to send them. ``payload`` is copied; it must be a buffer of bytes.

        Raises:
            FrameTooLarge: it would take more packets than a receiver keeps. Its numbers are those of the plaintext.
            PushError: it is empty, and no receiver would ever see it (``PushErrorReason.EMPTY``).
            ValueError: the MTU has no room for payload beside these extensions.

        After any of them the frame is as if it had never been pushed.
        """
        size = len(payload)
        if 0 < size <= self._mtu - _LARGEST_FAST_HEADER:
            sequence = self._sequence
            frame_number = self._frame_number
            ticks = self._clock.at(now)
            if encryption is not None:
                header = self._encrypted_header(sequence, frame_number, ticks, user_timestamp, encryption)
            elif user_timestamp is None:
                header = _pack_header(SINGLE, 0, self._handle, sequence, frame_number, ticks)
            else:
                header = _pack_timestamped(
                    SINGLE | _X, 0, self._handle, sequence, frame_number, ticks, b"\x00\x02\x02\x08", user_timestamp
                )
            packets = [header + payload]
            self._sequence = (sequence + 1) & MASK16
            self._frame_number = (frame_number + 1) & MASK16
            return packets
        tag_bytes = 0 if encryption is None else TAG_BYTES
        return self._cut(payload, size, now, encode_extensions(user_timestamp, encryption), tag_bytes)

    def _encrypted_header(
        self, sequence: int, frame_number: int, ticks: int, user_timestamp: int | None, encryption: EncryptionInfo
    ) -> bytes:
        """The header of an encrypted frame that is one packet."""
        handle, (key_index, iv) = self._handle, encryption
        if user_timestamp is None:
            return _pack_encrypted(
                SINGLE | _X, 0, handle, sequence, frame_number, ticks, b"\x00\x04\x01\x0d", key_index, iv
            )
        return _pack_encrypted_timestamped(
            *(SINGLE | _X, 0, handle, sequence, frame_number, ticks, b"\x00\x06\x01\x0d", key_index, iv),
            *(b"\x02\x08", user_timestamp),
        )

    def _cut(
        self, payload: bytes | bytearray | memoryview, size: int, now: float, extensions: bytes, tag_bytes: int
    ) -> list[bytes]:
        """Any frame, of any number of packets."""
        if not size:
            raise PushError(PushErrorReason.EMPTY, "an empty frame is never delivered")
        capacity = self._mtu - BASE_HEADER_BYTES - len(extensions)
        if capacity <= 0:
            raise ValueError(f"an MTU of {self._mtu} bytes leaves no room for payload beside the extensions")
        if size > capacity * MAX_PACKETS_PER_FRAME:
            capacity += self._largest - self._mtu
        if size > capacity * MAX_PACKETS_PER_FRAME:
            raise FrameTooLarge(size - tag_bytes, capacity * MAX_PACKETS_PER_FRAME - tag_bytes)
        handle = self._handle
        sequence = self._sequence
        x = _X if extensions else 0
        tail = _TAIL.pack(self._frame_number, self._clock.at(now)) + extensions
        pack_head = _HEAD.pack
        view = memoryview(payload)
        packets = []
        last = size - capacity
        for offset in range(0, size, capacity):
            marker = (INTER if offset else START) | (FINAL if offset >= last else INTER) | x
            head = pack_head(marker, 0, handle, sequence)
            packets.append(b"".join((head, tail, view[offset : offset + capacity])))
            sequence = (sequence + 1) & MASK16
        self._sequence = sequence
        self._frame_number = (self._frame_number + 1) & MASK16
        return packets

"""The data track packet, version 0: one packet is one binary message on the ``_data_track`` channel.

Everything is big-endian, and the payload runs to the end of the message.

===== ==========================================================================================
byte  content
===== ==========================================================================================
0     version (3 bits, 0), S start, F final, X extensions present, 2 reserved bits
1     reserved: written as 0, ignored when read
2-3   track handle; 0 is invalid. Chosen by the publisher on the way up, by the server on the way down
4-5   sequence number, one more for each packet of the track
6-7   frame number, one more for each frame of the track
8-11  timestamp, 90 kHz
===== ==========================================================================================

S and F together say where in its frame a packet stands: ``START``, ``INTER``, ``FINAL``, or ``SINGLE`` for both.

If X is set an extension block follows: a 16-bit L, then ``4 * (L + 1) - 2`` bytes, so that the block, counted from L
itself, is ``L + 1`` words. In it stand extensions of tag, length (of the value alone) and value; zeros are padding.

===== ====== ================================================================
tag   length value
===== ====== ================================================================
1     13     encryption: key index (8 bits) and initialisation vector
2     8      user timestamp: 64 bits, milliseconds since 1970 by convention
===== ====== ================================================================

Reading is tolerant where the peers in the field differ: padding may stand anywhere and in any amount, a longer value of
a known tag is cut to what is known, a shorter one is skipped like an unknown tag, and the last of two equal tags wins.
Writing puts padding at the end only, because servers take the first zero tag for the end of the block.
"""

from __future__ import annotations

__all__ = [
    "BASE_HEADER_BYTES",
    "FINAL",
    "INTER",
    "MAX_HANDLE",
    "SINGLE",
    "START",
    "EncryptionInfo",
    "Packet",
    "PacketError",
    "PacketErrorKind",
    "PacketFields",
    "decode",
    "decode_fields",
    "encode",
    "encode_extensions",
    "rewrite_handle",
]

import enum
import struct
from typing import NamedTuple

from ...errors import DecodeError

BASE_HEADER_BYTES = 12

MAX_HANDLE = 0xFFFF
"""Handles are 1 to this. Signalling has 32 bits for them."""

# Where a packet stands in its frame: the S and F bits as they lie in the first byte. Plain integers, because the
# packetizer and the depacketizer compare them for every packet.
INTER = 0x00
FINAL = 0x08
START = 0x10
SINGLE = START | FINAL

_EXTENSIONS = 0x04
_VERSION_SHIFT = 5

_TAG_PADDING = 0
_TAG_ENCRYPTION = 1
_TAG_USER_TIMESTAMP = 2
_IV_BYTES = 12
_ENCRYPTION_BYTES = 1 + _IV_BYTES
_USER_TIMESTAMP_BYTES = 8

_HEADER = struct.Struct("!BBHHHI")
_WORDS = struct.Struct("!H")
_ENCRYPTION_EXTENSION = struct.Struct("!BBB12s")
_USER_TIMESTAMP_EXTENSION = struct.Struct("!BBQ")
_USER_TIMESTAMP = struct.Struct("!Q")

_USER_TIMESTAMP_ALONE = bytes((0, 2, _TAG_USER_TIMESTAMP, _USER_TIMESTAMP_BYTES))

_unpack_header = _HEADER.unpack_from


class PacketErrorKind(enum.Enum):
    """What is wrong with a packet, in the order in which it is looked for."""

    TOO_SHORT = "the message is shorter than the base header"
    UNSUPPORTED_VERSION = "the version is not 0"
    INVALID_HANDLE = "the track handle is 0"
    MISSING_EXT_WORDS = "the length of the extension block is missing"
    HEADER_OVERRUN = "the extension block is longer than the message"
    MALFORMED_EXT = "an extension runs past its block"


class PacketError(DecodeError):
    """A message on the data track channel is not a packet: drop it, and keep the channel.

    Attributes:
        kind: a ``PacketErrorKind``.
    """

    def __init__(self, kind: PacketErrorKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


class EncryptionInfo(NamedTuple):
    """What a receiver needs, besides the key itself, to decrypt a frame."""

    key_index: int
    iv: bytes


class Packet(NamedTuple):
    """One packet; ``marker`` is one of ``START``, ``INTER``, ``FINAL`` and ``SINGLE``."""

    marker: int
    handle: int
    sequence: int
    frame_number: int
    timestamp: int
    user_timestamp: int | None
    encryption: EncryptionInfo | None
    payload: bytes


PacketFields = tuple[int, int, int, int, int, int | None, EncryptionInfo | None, bytes]
"""A ``Packet`` without its names: making one of those costs as much as all the rest of decoding."""


def decode(message: bytes) -> Packet:
    """The packet in ``message``.

    Raises:
        PacketError: it is not one; the first thing wrong, in the order of ``PacketErrorKind``.
    """
    return Packet._make(decode_fields(message))


def decode_fields(message: bytes) -> PacketFields:
    """``decode``, for the path that every packet takes."""
    if len(message) < BASE_HEADER_BYTES:
        raise PacketError(PacketErrorKind.TOO_SHORT)
    first, _, handle, sequence, frame_number, timestamp = _unpack_header(message)
    if first >> _VERSION_SHIFT:
        raise PacketError(PacketErrorKind.UNSUPPORTED_VERSION)
    if not handle:
        raise PacketError(PacketErrorKind.INVALID_HANDLE)
    user_timestamp = encryption = None
    end = BASE_HEADER_BYTES
    if first & _EXTENSIONS:
        end, user_timestamp, encryption = _decode_extensions(message)
    return first & SINGLE, handle, sequence, frame_number, timestamp, user_timestamp, encryption, message[end:]


def _decode_extensions(message: bytes) -> tuple[int, int | None, EncryptionInfo | None]:
    """Where the payload begins, and the two extensions that are known."""
    if message[BASE_HEADER_BYTES:16] == _USER_TIMESTAMP_ALONE and len(message) >= 24:
        return 24, _USER_TIMESTAMP.unpack_from(message, 16)[0], None  # what most packets with extensions have
    position = BASE_HEADER_BYTES + 2
    if len(message) < position:
        raise PacketError(PacketErrorKind.MISSING_EXT_WORDS)
    end = BASE_HEADER_BYTES + 4 * (_WORDS.unpack_from(message, BASE_HEADER_BYTES)[0] + 1)
    if len(message) < end:
        raise PacketError(PacketErrorKind.HEADER_OVERRUN)
    user_timestamp = encryption = None
    while position < end:
        tag = message[position]
        position += 1
        if tag == _TAG_PADDING:
            continue
        if position == end:
            break  # a tag without room for a length: nothing to read, and nothing lost
        length = message[position]
        value = position + 1
        position = value + length
        if position > end:
            raise PacketError(PacketErrorKind.MALFORMED_EXT)
        if tag == _TAG_USER_TIMESTAMP and length >= _USER_TIMESTAMP_BYTES:
            user_timestamp = _USER_TIMESTAMP.unpack_from(message, value)[0]
        elif tag == _TAG_ENCRYPTION and length >= _ENCRYPTION_BYTES:
            encryption = EncryptionInfo(message[value], message[value + 1 : value + _ENCRYPTION_BYTES])
    return end, user_timestamp, encryption


def encode(packet: Packet) -> bytes:
    """The message that carries ``packet``. Its fields must be in range (``struct.error`` otherwise: they are ours)."""
    marker, handle, sequence, frame_number, timestamp, user_timestamp, encryption, payload = packet
    extensions = encode_extensions(user_timestamp, encryption)
    if extensions:
        marker |= _EXTENSIONS
    return _HEADER.pack(marker, 0, handle, sequence, frame_number, timestamp) + extensions + payload


def encode_extensions(user_timestamp: int | None, encryption: EncryptionInfo | None) -> bytes:
    """The extension block with its length, or ``b""`` if there is nothing to say (then X must not be set)."""
    block = b""
    if encryption is not None:
        block = _ENCRYPTION_EXTENSION.pack(_TAG_ENCRYPTION, _ENCRYPTION_BYTES, *encryption)
    if user_timestamp is not None:
        block += _USER_TIMESTAMP_EXTENSION.pack(_TAG_USER_TIMESTAMP, _USER_TIMESTAMP_BYTES, user_timestamp)
    if not block:
        return b""
    padding = -(2 + len(block)) % 4
    words = (2 + len(block) + padding) // 4 - 1
    return _WORDS.pack(words) + block + bytes(padding)


def rewrite_handle(message: bytes, handle: int) -> bytes:
    """The same packet under another handle: what a server does for each subscriber. ``message`` must have decoded."""
    return message[:2] + _WORDS.pack(handle) + message[4:]

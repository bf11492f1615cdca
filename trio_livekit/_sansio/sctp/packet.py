"""SCTP packets: the common header, the checksum, and bundling of chunks (RFC 9260 sections 3 and 6.10).

| bytes | field                                                         |
|-------|---------------------------------------------------------------|
| 0-1   | source port                                                   |
| 2-3   | destination port                                              |
| 4-7   | verification tag of the receiver                              |
| 8-11  | CRC-32C of the packet with this field zero, little endian     |
| 12-   | chunks: type u8, flags u8, length u16, body, padding to 4     |

The checksum field may stay zero where RFC 9653 was negotiated, because DTLS below already protects the bytes.
"""

from __future__ import annotations

__all__ = ["HEADER_SIZE", "NO_CHECKSUM", "PacketSealer", "bundle", "checksum_is_valid", "header_checksum", "next_chunk"]

import struct

from ...errors import DecodeError
from .crc32c import crc32c

HEADER_SIZE = 12
CHUNK_HEADER_SIZE = 4

_PREFIX = struct.Struct(">HHL")
_CHECKSUM = struct.Struct("<L")
_CHUNK_HEADER = struct.Struct(">BBH")
NO_CHECKSUM = bytes(4)


class PacketSealer:
    """Puts a packet header in front of bundled chunks, for one destination tag."""

    __slots__ = ("_header_crc", "_prefix", "_zero_prefix")

    def __init__(self, source_port: int, destination_port: int, tag: int) -> None:
        self._prefix = _PREFIX.pack(source_port, destination_port, tag)
        self._zero_prefix = self._prefix + NO_CHECKSUM
        self._header_crc = header_checksum(self._prefix)

    def seal(self, body: bytes) -> bytes:
        """One packet with its checksum."""
        return self._prefix + _CHECKSUM.pack(crc32c(self._header_crc, body)) + body

    def seal_all(self, bodies: list[bytes], *, zero_checksum: bool) -> list[bytes]:
        """One packet for each body."""
        if zero_checksum:
            prefix = self._zero_prefix
            return [prefix + body for body in bodies]
        prefix, header_crc, pack, extend = self._prefix, self._header_crc, _CHECKSUM.pack, crc32c
        return [prefix + pack(extend(header_crc, body)) + body for body in bodies]


def bundle(chunks: list[bytes], capacity: int) -> list[bytes]:
    """Join encoded chunks, in order, into packet bodies of at most `capacity` bytes."""
    if len(chunks) == 1:
        return chunks
    bodies: list[bytes] = []
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        length = len(chunk)
        size += length
        if size <= capacity:
            parts.append(chunk)
            continue
        if parts:
            bodies.append(parts[0] if len(parts) == 1 else b"".join(parts))
        parts = [chunk]
        size = length
    if parts:
        bodies.append(b"".join(parts))
    return bodies


def header_checksum(prefix: bytes) -> int:
    """The CRC-32C of a header that begins with `prefix` (ports and tag), from where to go on with the chunks."""
    return crc32c(0, prefix + NO_CHECKSUM)


def checksum_is_valid(packet: bytes, header_crc: int) -> bool:
    """Whether the checksum field holds the packet's CRC-32C; `header_crc` is ``header_checksum`` of its header."""
    return packet[8:12] == _CHECKSUM.pack(crc32c(header_crc, packet[HEADER_SIZE:]))


def next_chunk(packet: bytes, offset: int) -> tuple[int, int, bytes, int]:
    """``(type, flags, body, offset of the next chunk)``, or DecodeError.

    The padding of the last chunk may be missing: some peers leave it out.
    """
    end = len(packet)
    if end - offset < CHUNK_HEADER_SIZE:
        raise DecodeError("trailing bytes after the last chunk")
    kind, flags, length = _CHUNK_HEADER.unpack_from(packet, offset)
    if length < CHUNK_HEADER_SIZE or offset + length > end:
        raise DecodeError(f"chunk of type {kind} has an impossible length {length}")
    return kind, flags, packet[offset + CHUNK_HEADER_SIZE : offset + length], offset + (length + 3 & ~3)

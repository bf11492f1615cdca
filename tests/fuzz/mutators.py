"""Changes to real input: blind ones, and ones that know the format and mend its checksums.

Every mutator takes input and a random generator, and returns other input. The same seed makes the same changes.
"""

from __future__ import annotations

__all__ = ["blind", "dtls", "every_prefix_and_bit", "sctp", "stun"]

import struct
import zlib
from typing import TYPE_CHECKING

from trio_livekit._sansio.ice import stun as stun_codec
from trio_livekit._sansio.sctp.crc32c import crc32c
from trio_livekit._sansio.sctp.packet import HEADER_SIZE, next_chunk
from trio_livekit.errors import DecodeError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

MOST_BYTES = 4096
"""No mutated input is longer: what UDP and a large message carry, but no memory for its own sake."""

_NUMBERS = (0, 1, 2, 3, 4, 5, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def blind(data: bytes, rng: random.Random) -> bytes:
    """One to four changes that know nothing of the format."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(8):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[at % len(changed)] = rng.randrange(256)
            case 2:
                del changed[at:]
            case 3:
                changed[at:at] = rng.randbytes(rng.randrange(1, 16))
            case 4:
                size = rng.choice((1, 2, 4))
                changed[at : at + size] = (rng.choice(_NUMBERS) & (1 << 8 * size) - 1).to_bytes(size, "big")
            case 5:
                end = min(len(changed), at + rng.randrange(64))
                changed[at:at] = changed[at:end] * rng.randrange(1, 8)
            case 6:
                del changed[at : at + rng.randrange(1, 32)]
            case _ if changed:
                end = min(len(changed), at + rng.randrange(1, 32))
                changed[at:end] = bytes(reversed(changed[at:end]))
            case _:
                pass
    return bytes(changed[:MOST_BYTES])


def sctp(packet: bytes, rng: random.Random, *, tag: bytes | None = None, tsn: int | None = None) -> bytes:
    """Chunks changed, repeated, moved and left out; then the right `tag`, TSNs about `tsn`, and the right checksum."""
    chunks = _chunks(packet)
    if not chunks:
        return blind(packet, rng)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(chunks))
        kind, flags, body = chunks[at]
        match rng.randrange(7):
            case 0:
                chunks[at] = (kind, flags, blind(body, rng))
            case 1:
                chunks[at] = (kind, rng.randrange(256), body)
            case 2:
                chunks[at] = (
                    rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 64, 130, 192, 194, 255)),
                    flags,
                    body,
                )
            case 3:
                chunks.insert(at, chunks[at])
            case 4 if len(chunks) > 1:
                del chunks[at]
            case 5:
                rng.shuffle(chunks)
            case _:
                chunks[at] = (kind, flags, _numbers_changed(body, rng))
    parts = []
    for kind, flags, body in chunks:
        if tsn is not None and kind in (0, 3, 192) and len(body) >= 4 and rng.random() < 0.8:
            near = tsn + rng.choice((-2, -1, 0, 0, 0, 1, 1, 2, 3, 5, 100, 40_000, 1 << 31)) & 0xFFFFFFFF
            body = near.to_bytes(4, "big") + body[4:]
        length = len(body) + 4 if rng.random() < 0.95 else rng.choice(_NUMBERS)
        parts.append(struct.pack(">BBH", kind, flags, length & 0xFFFF) + body + bytes(-len(body) % 4))
    mended = bytearray(packet[:4] + (packet[4:8] if tag is None else tag) + bytes(4) + b"".join(parts))
    mended[8:12] = crc32c(0, bytes(mended)).to_bytes(4, "little")
    return bytes(mended)


def _chunks(packet: bytes) -> list[tuple[int, int, bytes]]:
    found, offset = [], HEADER_SIZE
    try:
        while offset < len(packet):
            kind, flags, body, offset = next_chunk(packet, offset)
            found.append((kind, flags, body))
    except DecodeError:
        pass
    return found


def _numbers_changed(body: bytes, rng: random.Random) -> bytes:
    """A field of two or four bytes becomes an odd number, or a little more or less than it was."""
    size = rng.choice((2, 4))
    if len(body) < size:
        return body
    at = rng.randrange(0, len(body) - size + 1, 2)
    number = int.from_bytes(body[at : at + size], "big")
    number = rng.choice((number + 1, number - 1, number * 2, *_NUMBERS)) & (1 << 8 * size) - 1
    return body[:at] + number.to_bytes(size, "big") + body[at + size :]


def stun(message: bytes, rng: random.Random, *, key: bytes | None = None) -> bytes:
    """Attributes changed, repeated, moved and left out; then the right length, and integrity if a `key` is given."""
    attributes = _attributes(message)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(attributes) + 1)
        match rng.randrange(5):
            case 0 if attributes:
                kind, value = attributes[at % len(attributes)]
                attributes[at % len(attributes)] = (kind, blind(value, rng))
            case 1 if attributes:
                kind, value = attributes[at % len(attributes)]
                attributes[at % len(attributes)] = (
                    rng.choice((1, 6, 8, 9, 0x14, 0x20, 0x24, 0x25, 0x8029, kind ^ 1)),
                    value,
                )
            case 2:
                attributes.insert(at, (rng.randrange(65536), rng.randbytes(rng.randrange(40))))
            case 3 if attributes:
                del attributes[at % len(attributes)]
            case _:
                rng.shuffle(attributes)
    head = message[:2] if rng.random() < 0.8 else rng.choice((b"\0\1", b"\1\1", b"\1\x11", b"\0\x11", b"\0\3"))
    body = b"".join(struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes)
    plain = head + struct.pack(">H", len(body) & 0xFFFF) + message[4:20] + body
    if key is None:
        return plain
    with_length = plain[:2] + struct.pack(">H", len(body) + 24 & 0xFFFF) + plain[4:]
    signed = (
        with_length + struct.pack(">HH", stun_codec.MESSAGE_INTEGRITY, 20) + stun_codec._integrity(with_length, key)
    )
    return _with_fingerprint(signed)


def _with_fingerprint(message: bytes) -> bytes:
    longer = message[:2] + struct.pack(">H", len(message) - 20 + 8 & 0xFFFF) + message[4:]
    return longer + struct.pack(">HHL", stun_codec.FINGERPRINT, 4, zlib.crc32(longer) ^ 0x5354554E)


def _attributes(message: bytes) -> list[tuple[int, bytes]]:
    """All but integrity and fingerprint, which are made anew."""
    found, at = [], 20
    while at + 4 <= len(message):
        kind, size = struct.unpack_from(">HH", message, at)
        if kind not in (stun_codec.MESSAGE_INTEGRITY, stun_codec.FINGERPRINT):
            found.append((kind, message[at + 4 : at + 4 + size]))
        at += 4 + size + -size % 4
    return found


def dtls(datagram: bytes, rng: random.Random) -> bytes:
    """A handshake message changed inside of its record; then the right lengths of both, most of the time."""
    if len(datagram) < 25 or datagram[0] != 22 or rng.random() < 0.2:
        return blind(datagram, rng)
    size = int.from_bytes(datagram[11:13], "big")
    record, rest = datagram[13 : 13 + size], datagram[13 + size :]
    if len(record) < 12:
        return blind(datagram, rng)
    body = blind(record[12:], rng)
    header = bytearray(record[:12])
    if rng.random() < 0.7:
        header[1:4] = header[9:12] = len(body).to_bytes(3, "big")
    if rng.random() < 0.3:
        at = rng.randrange(12)
        header[at] = rng.randrange(256)
    record = bytes(header) + body
    return datagram[:11] + struct.pack(">H", len(record) & 0xFFFF) + record + rest


def every_prefix_and_bit(data: bytes, *, bits: int) -> Iterator[bytes]:
    """Each prefix, and the input with each single bit of the first `bits` // 8 bytes changed."""
    for size in range(len(data)):
        yield data[:size]
    changed = bytearray(data)
    for bit in range(min(len(data) * 8, bits)):
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
        changed[bit // 8] ^= 1 << bit % 8

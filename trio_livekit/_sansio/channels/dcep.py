"""Data Channel Establishment Protocol: the messages that open a channel (RFC 8832 section 5).

DATA_CHANNEL_OPEN:

| bytes | field                                                                   |
|-------|-------------------------------------------------------------------------|
| 0     | 3                                                                       |
| 1     | type: 0 reliable, 1 limited retransmits, 2 limited lifetime; 128 unordered |
| 2-3   | priority, 256 being normal                                              |
| 4-7   | retransmits, or lifetime in ms                                          |
| 8-9   | length of the label                                                     |
| 10-11 | length of the protocol                                                  |
| 12-   | label and protocol, UTF-8                                               |

DATA_CHANNEL_ACK is one byte, 2; some peers pad it.
"""

from __future__ import annotations

__all__ = ["ACK", "MESSAGE_ACK", "MESSAGE_OPEN", "Open", "decode_open", "encode_open"]

import struct

from ...errors import DecodeError
from ..records import dataclass

MESSAGE_ACK = 2
MESSAGE_OPEN = 3
ACK = bytes((MESSAGE_ACK,))

RELIABLE, LIMITED_RETRANSMITS, LIMITED_LIFETIME = range(3)
UNORDERED = 0x80
NORMAL_PRIORITY = 256

_OPEN = struct.Struct(">BBHLHH")


@dataclass(frozen=True, slots=True)
class Open:
    """What a DATA_CHANNEL_OPEN asks for. At most one of `max_retransmits` and `lifetime_ms` is set."""

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    lifetime_ms: int | None = None
    priority: int = NORMAL_PRIORITY


def encode_open(open_: Open) -> bytes:
    """A DATA_CHANNEL_OPEN. ValueError for what the message cannot say."""
    kind, value = RELIABLE, 0
    if open_.max_retransmits is not None and open_.lifetime_ms is not None:
        raise ValueError("a channel may limit retransmits or lifetime, not both")
    if open_.max_retransmits is not None:
        kind, value = LIMITED_RETRANSMITS, open_.max_retransmits
    elif open_.lifetime_ms is not None:
        kind, value = LIMITED_LIFETIME, open_.lifetime_ms
    label, protocol = open_.label.encode(), open_.protocol.encode()
    if max(len(label), len(protocol)) > 0xFFFF or not 0 <= value <= 0xFFFFFFFF:
        raise ValueError("label, protocol or limit is out of range")
    if not open_.ordered:
        kind |= UNORDERED
    fixed = _OPEN.pack(MESSAGE_OPEN, kind, open_.priority, value, len(label), len(protocol))
    return fixed + label + protocol


def decode_open(data: bytes) -> Open:
    """What a DATA_CHANNEL_OPEN says, or DecodeError."""
    if len(data) < _OPEN.size:
        raise DecodeError("DATA_CHANNEL_OPEN is too short")
    _, kind, priority, value, label_size, protocol_size = _OPEN.unpack_from(data)
    if len(data) != _OPEN.size + label_size + protocol_size:
        raise DecodeError("DATA_CHANNEL_OPEN has an impossible length")
    reliability = kind & ~UNORDERED
    if reliability > LIMITED_LIFETIME:
        raise DecodeError(f"unknown channel type {kind:#04x}")
    try:
        label = data[_OPEN.size : _OPEN.size + label_size].decode()
        protocol = data[_OPEN.size + label_size :].decode()
    except UnicodeDecodeError as exc:
        raise DecodeError("a label or protocol that is not UTF-8") from exc
    return Open(
        label,
        protocol,
        ordered=not kind & UNORDERED,
        max_retransmits=value if reliability == LIMITED_RETRANSMITS else None,
        lifetime_ms=value if reliability == LIMITED_LIFETIME else None,
        priority=priority,
    )

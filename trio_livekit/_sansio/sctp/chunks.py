"""Encoding and decoding of chunk bodies (RFC 9260 section 3.3, RFC 3758 section 3.2, RFC 6525 section 3.1).

DATA, ahead of its payload (RFC 9260 section 3.3.1):

| bytes | field                                                            |
|-------|------------------------------------------------------------------|
| 0     | type 0                                                           |
| 1     | flags: 1 last fragment, 2 first fragment, 4 unordered, 8 SACK now |
| 2-3   | length of header and payload                                     |
| 4-7   | TSN                                                              |
| 8-9   | stream id                                                        |
| 10-11 | stream sequence number                                           |
| 12-15 | payload protocol id                                              |
"""

from __future__ import annotations

__all__ = [
    "ABORT",
    "COOKIE_ACK",
    "COOKIE_ACK_CHUNK",
    "COOKIE_ECHO",
    "DATA",
    "DATA_HEADER_SIZE",
    "ERROR",
    "FLAG_FIRST",
    "FLAG_IMMEDIATE",
    "FLAG_LAST",
    "FLAG_UNORDERED",
    "FORWARD_TSN",
    "HEARTBEAT",
    "HEARTBEAT_ACK",
    "INIT",
    "INIT_ACK",
    "RECONFIG",
    "SACK",
    "SHUTDOWN",
    "SHUTDOWN_ACK",
    "SHUTDOWN_COMPLETE",
    "ForwardTsn",
    "Init",
    "Sack",
    "decode_forward_tsn",
    "decode_init",
    "decode_sack",
    "encode_chunk",
    "encode_forward_tsn",
    "encode_init",
    "encode_sack",
]

import struct
from typing import NamedTuple

from ...errors import DecodeError
from ..records import dataclass
from .parameters import Parameter, encode_parameter, split_parameters

DATA = 0
INIT = 1
INIT_ACK = 2
SACK = 3
HEARTBEAT = 4
HEARTBEAT_ACK = 5
ABORT = 6
SHUTDOWN = 7
SHUTDOWN_ACK = 8
ERROR = 9
COOKIE_ECHO = 10
COOKIE_ACK = 11
SHUTDOWN_COMPLETE = 14
RECONFIG = 130
FORWARD_TSN = 192

FLAG_LAST = 1
FLAG_FIRST = 2
FLAG_UNORDERED = 4
FLAG_IMMEDIATE = 8

DATA_HEADER_SIZE = 16

_HEADER = struct.Struct(">BBH")
_INIT = struct.Struct(">LLHHL")
_SACK = struct.Struct(">LLHH")
_SACK_CHUNK = struct.Struct(">BBHLLHH")
_U32 = struct.Struct(">L")


@dataclass(frozen=True, slots=True)
class Init:
    """Body of INIT and INIT-ACK."""

    tag: int
    receive_window: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    parameters: tuple[Parameter, ...] = ()


class Sack(NamedTuple):
    """Body of SACK. Gap blocks are ``(start, end)`` offsets from the cumulative TSN, duplicates are TSNs."""

    cumulative_tsn: int
    receive_window: int
    gaps: list[tuple[int, int]]
    duplicates: list[int]


class ForwardTsn(NamedTuple):
    """Body of FORWARD-TSN: where to, and the last skipped sequence number of each ordered stream."""

    cumulative_tsn: int
    streams: list[tuple[int, int]]


def encode_chunk(kind: int, flags: int, body: bytes) -> bytes:
    """One chunk, padded to a multiple of 4."""
    return _HEADER.pack(kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


COOKIE_ACK_CHUNK = encode_chunk(COOKIE_ACK, 0, b"")


def encode_init(kind: int, init: Init) -> bytes:
    """An INIT or INIT-ACK chunk."""
    fixed = _INIT.pack(
        init.tag, init.receive_window, init.outbound_streams, init.inbound_streams, init.initial_tsn
    )  # fmt: skip
    return encode_chunk(kind, 0, fixed + b"".join(encode_parameter(*parameter) for parameter in init.parameters))


def decode_init(body: bytes) -> Init:
    """An INIT or INIT-ACK body, or DecodeError. Zero tags and zero streams are the caller's to refuse."""
    if len(body) < _INIT.size:
        raise DecodeError("INIT is too short")
    tag, window, outbound, inbound, initial_tsn = _INIT.unpack_from(body)
    return Init(tag, window, outbound, inbound, initial_tsn, tuple(split_parameters(body[_INIT.size :])))


def encode_sack(
    cumulative_tsn: int, receive_window: int, gaps: list[tuple[int, int]], duplicates: list[int]
) -> bytes:  # fmt: skip
    """A SACK chunk."""
    length = 16 + 4 * (len(gaps) + len(duplicates))
    fixed = _SACK_CHUNK.pack(SACK, 0, length, cumulative_tsn, receive_window, len(gaps), len(duplicates))
    if not gaps and not duplicates:
        return fixed
    flat = [edge for block in gaps for edge in block]
    return fixed + struct.pack(f">{len(flat)}H{len(duplicates)}L", *flat, *duplicates)


def decode_sack(body: bytes) -> Sack:
    """A SACK body, or DecodeError. The counts must agree with the length of the chunk."""
    if len(body) < 12:
        raise DecodeError("SACK is too short")
    cumulative_tsn, receive_window, gap_count, duplicate_count = _SACK.unpack_from(body)
    if not gap_count and not duplicate_count:
        return Sack(cumulative_tsn, receive_window, [], [])
    if len(body) < 12 + 4 * (gap_count + duplicate_count):
        raise DecodeError("SACK is shorter than its counts say")
    flat = struct.unpack_from(f">{2 * gap_count}H{duplicate_count}L", body, 12)
    edges = flat[: 2 * gap_count]
    return Sack(
        cumulative_tsn, receive_window, list(zip(edges[::2], edges[1::2], strict=True)), list(flat[2 * gap_count :])
    )


def encode_forward_tsn(forward: ForwardTsn) -> bytes:
    """A FORWARD-TSN chunk."""
    streams = b"".join(stream_id.to_bytes(2, "big") + ssn.to_bytes(2, "big") for stream_id, ssn in forward.streams)
    return encode_chunk(FORWARD_TSN, 0, _U32.pack(forward.cumulative_tsn) + streams)


def decode_forward_tsn(body: bytes) -> ForwardTsn:
    """A FORWARD-TSN body, or DecodeError."""
    if len(body) < 4 or len(body) % 4:
        raise DecodeError("FORWARD-TSN has an impossible length")
    flat = struct.unpack(f">L{(len(body) - 4) // 2}H", body)
    return ForwardTsn(flat[0], list(zip(flat[1::2], flat[2::2], strict=True)))

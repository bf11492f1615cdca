"""Parameters and error causes: type u16, length u16 (with this header, without padding), value, padding to 4.

RFC 9260 sections 3.2.1 and 3.3.10.
"""

from __future__ import annotations

__all__ = [
    "ADD_INCOMING_STREAMS",
    "ADD_OUTGOING_STREAMS",
    "FORWARD_TSN_SUPPORTED",
    "HEARTBEAT_INFO",
    "INCOMING_RESET",
    "OUTGOING_RESET",
    "RECONFIG_RESPONSE",
    "SSN_TSN_RESET",
    "STATE_COOKIE",
    "SUPPORTED_EXTENSIONS",
    "UNRECOGNIZED_PARAMETER",
    "ZERO_CHECKSUM_ACCEPTABLE",
    "Parameter",
    "encode_parameter",
    "split_parameters",
]

import struct

from ...errors import DecodeError

HEARTBEAT_INFO = 0x0001
STATE_COOKIE = 0x0007
UNRECOGNIZED_PARAMETER = 0x0008
OUTGOING_RESET = 0x000D  # RFC 6525 section 4.1
INCOMING_RESET = 0x000E
SSN_TSN_RESET = 0x000F
RECONFIG_RESPONSE = 0x0010
ADD_OUTGOING_STREAMS = 0x0011
ADD_INCOMING_STREAMS = 0x0012
ZERO_CHECKSUM_ACCEPTABLE = 0x8001  # RFC 9653 section 4
SUPPORTED_EXTENSIONS = 0x8008  # RFC 5061 section 4.2.7
FORWARD_TSN_SUPPORTED = 0xC000  # RFC 3758 section 3.1

MAX_PARAMETERS = 64
"""More in one chunk than any peer sends: the rest of a packet is not worth the time."""

_HEADER = struct.Struct(">HH")

Parameter = tuple[int, bytes]
"""``(type, value)``."""


def encode_parameter(kind: int, value: bytes) -> bytes:
    """One parameter, padded to a multiple of 4."""
    return _HEADER.pack(kind, 4 + len(value)) + value + bytes(-len(value) % 4)


def split_parameters(data: bytes) -> list[Parameter]:
    """The parameters in `data`, or DecodeError."""
    parameters: list[Parameter] = []
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < 4:
            raise DecodeError("trailing bytes after the last parameter")
        if len(parameters) == MAX_PARAMETERS:
            raise DecodeError(f"more than {MAX_PARAMETERS} parameters in one chunk")
        kind, length = _HEADER.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise DecodeError(f"parameter {kind:#06x} has an impossible length {length}")
        parameters.append((kind, data[offset + 4 : offset + length]))
        offset += length + 3 & ~3
    return parameters

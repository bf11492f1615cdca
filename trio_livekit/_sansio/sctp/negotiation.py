"""What INIT and INIT-ACK say about each side (RFC 9260 sections 3.3.2 and 5.1, RFC 3758, RFC 6525, RFC 9653)."""

from __future__ import annotations

__all__ = ["PeerInfo", "make_init", "peer_info", "unrecognized"]

from ...errors import DecodeError
from ..records import dataclass
from .chunks import FORWARD_TSN, RECONFIG, Init
from .parameters import (
    FORWARD_TSN_SUPPORTED,
    STATE_COOKIE,
    SUPPORTED_EXTENSIONS,
    UNRECOGNIZED_PARAMETER,
    ZERO_CHECKSUM_ACCEPTABLE,
    Parameter,
    encode_parameter,
)

MAX_STREAMS = 65535
ERROR_DETECTION_BY_DTLS = bytes((0, 0, 0, 1))
"""Error Detection Method Identifier 1 (RFC 9653 section 7)."""

UNKNOWN_STOP = 0x8000
"""Without this bit an unknown parameter ends the processing of the rest (RFC 9260 section 3.2.1)."""
UNKNOWN_REPORT = 0x4000
MAX_REPORTED = 4

KNOWN = frozenset({STATE_COOKIE, SUPPORTED_EXTENSIONS, FORWARD_TSN_SUPPORTED, ZERO_CHECKSUM_ACCEPTABLE,
                   5, 6, 9, 11, 12, 0x8000, UNRECOGNIZED_PARAMETER})  # fmt: skip
"""Ours, and those of RFC 9260 (addresses, cookie preservative, ECN) that mean nothing inside DTLS."""


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What the peer's INIT or INIT-ACK told."""

    tag: int
    initial_tsn: int
    receive_window: int
    forward_tsn: bool
    reconfig: bool
    zero_checksum: bool


def make_init(
    tag: int, receive_window: int, initial_tsn: int, *, zero_checksum: bool, extra: tuple[Parameter, ...] = ()
) -> Init:  # fmt: skip
    """Our INIT or INIT-ACK. Extensions are announced both ways peers look for them."""
    parameters: tuple[Parameter, ...] = (
        (FORWARD_TSN_SUPPORTED, b""),
        (SUPPORTED_EXTENSIONS, bytes((RECONFIG, FORWARD_TSN))),
    )
    if zero_checksum:
        parameters += ((ZERO_CHECKSUM_ACCEPTABLE, ERROR_DETECTION_BY_DTLS),)
    return Init(tag, receive_window, MAX_STREAMS, MAX_STREAMS, initial_tsn, extra + parameters)


def peer_info(init: Init) -> PeerInfo:
    """What a received INIT or INIT-ACK tells, or DecodeError when it asks for the impossible."""
    if not init.tag or not init.outbound_streams or not init.inbound_streams:
        raise DecodeError("INIT with a zero tag or without streams")
    extensions = b"".join(value for kind, value in init.parameters if kind == SUPPORTED_EXTENSIONS)
    kinds = {kind for kind, _ in init.parameters}
    return PeerInfo(
        init.tag,
        init.initial_tsn,
        init.receive_window,
        forward_tsn=FORWARD_TSN in extensions or FORWARD_TSN_SUPPORTED in kinds,
        reconfig=RECONFIG in extensions,
        zero_checksum=(ZERO_CHECKSUM_ACCEPTABLE, ERROR_DETECTION_BY_DTLS) in init.parameters,
    )


def unrecognized(init: Init) -> tuple[Parameter, ...]:
    """The reports an INIT-ACK owes for parameters that ask to be reported when unknown."""
    reports: list[Parameter] = []
    for kind, value in init.parameters:
        if kind in KNOWN:
            continue
        if kind & UNKNOWN_REPORT and len(reports) < MAX_REPORTED:
            reports.append((UNRECOGNIZED_PARAMETER, encode_parameter(kind, value[:64])))
        if not kind & UNKNOWN_STOP:
            break
    return tuple(reports)

"""Which protocol a datagram belongs to, by its first byte (RFC 7983, section 7; RFC 9443 adds QUIC, which is not used).

======== ================
first    protocol
======== ================
0-3      STUN
16-19    ZRTP (unused)
20-63    DTLS
64-79    TURN channel
128-191  RTP and RTCP
======== ================
"""

from __future__ import annotations

__all__ = ["DTLS", "OTHER", "PROTOCOLS", "RTP", "STUN", "TURN_CHANNEL", "is_rtcp", "protocol_of"]

# Plain integers: this is asked of every datagram.
OTHER = 0
STUN = 1
DTLS = 2
TURN_CHANNEL = 3
RTP = 4

PROTOCOLS = bytes(
    [STUN] * 4 + [OTHER] * 16 + [DTLS] * 44 + [TURN_CHANNEL] * 16 + [OTHER] * 48 + [RTP] * 64 + [OTHER] * 64
)
"""Protocol by first byte, for loops that have no time for a call: ``PROTOCOLS[datagram[0]]``."""


def protocol_of(datagram: bytes) -> int:
    """One of the constants of this module; ``OTHER`` for an empty datagram too."""
    return PROTOCOLS[datagram[0]] if datagram else OTHER


def is_rtcp(datagram: bytes) -> bool:
    """Whether an ``RTP`` datagram is RTCP, when both share a port (RFC 5761, section 4)."""
    return len(datagram) > 1 and 192 <= datagram[1] <= 223

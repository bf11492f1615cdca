"""What a connection reports, and the states it goes through."""

from __future__ import annotations

__all__ = ["ConnectionClosed", "ConnectionFailed", "ConnectionState", "Event", "HandshakeCompleted", "Statistics"]

import enum
from typing import TYPE_CHECKING

from ..records import dataclass

if TYPE_CHECKING:
    from ...errors import LiveKitError


class ConnectionState(enum.Enum):
    HANDSHAKING = "handshaking"  # also before ``start``, and while only the fingerprints are missing
    CONNECTED = "connected"
    CLOSED = "closed"  # by us or by the peer
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """The peer is who signalling says it is; application data may flow.

    Attributes:
        srtp_profile: what use_srtp negotiated, if anything.
    """

    srtp_profile: int | None


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The connection is over, and not because anybody closed it.

    Attributes:
        reason: for people.
        error: a ``HandshakeError``, or a ``TransportError`` when time ran out or the peer sent a fatal alert.
    """

    reason: str
    error: LiveKitError


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The peer sent close_notify."""


Event = HandshakeCompleted | ConnectionFailed | ConnectionClosed


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters since the start.

    Attributes:
        records_dropped: records that were malformed, forged, replayed or out of place.
        flights_sent: handshake flights, repetitions included.
    """

    records_dropped: int
    flights_sent: int

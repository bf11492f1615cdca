"""SCTP over DTLS (RFC 9260, RFC 8261): one association as a sans-IO core."""

from __future__ import annotations

__all__ = [
    "Association",
    "AssociationLost",
    "AssociationRestarted",
    "AssociationUp",
    "BufferedAmountLow",
    "Config",
    "Event",
    "MessageReceived",
    "Statistics",
    "StreamsReset",
]

from trio_livekit._sansio.sctp.association import Association
from trio_livekit._sansio.sctp.config import Config
from trio_livekit._sansio.sctp.events import (
    AssociationLost,
    AssociationRestarted,
    AssociationUp,
    BufferedAmountLow,
    Event,
    MessageReceived,
    StreamsReset,
)
from trio_livekit._sansio.sctp.statistics import Statistics

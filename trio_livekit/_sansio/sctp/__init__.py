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

from .association import Association
from .config import Config
from .events import (
    AssociationLost,
    AssociationRestarted,
    AssociationUp,
    BufferedAmountLow,
    Event,
    MessageReceived,
    StreamsReset,
)
from .statistics import Statistics

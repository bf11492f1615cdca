"""WebRTC data channels on an SCTP association (RFC 8831, RFC 8832) as a sans-IO core."""

from __future__ import annotations

__all__ = [
    "AssociationLost",
    "AssociationUp",
    "BufferedAmountLow",
    "ChannelClosed",
    "ChannelConfig",
    "ChannelOpened",
    "DataChannels",
    "Event",
    "MessageReceived",
]

from trio_livekit._sansio.channels.events import (
    AssociationLost,
    AssociationUp,
    BufferedAmountLow,
    ChannelClosed,
    ChannelOpened,
    Event,
    MessageReceived,
)
from trio_livekit._sansio.channels.table import ChannelConfig, DataChannels

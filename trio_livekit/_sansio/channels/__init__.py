"""WebRTC data channels on an SCTP association (RFC 8831, RFC 8832) as a sans-IO core.

``table`` is the core: all channels of an association. ``channel`` is one of them, ``dcep`` the messages that open it.
"""

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

from .events import (
    AssociationLost,
    AssociationUp,
    BufferedAmountLow,
    ChannelClosed,
    ChannelOpened,
    Event,
    MessageReceived,
)
from .table import ChannelConfig, DataChannels

"""What the data channels report, in order, through ``poll_events``."""

from __future__ import annotations

__all__ = [
    "AssociationLost",
    "AssociationUp",
    "BufferedAmountLow",
    "ChannelClosed",
    "ChannelOpened",
    "Event",
    "MessageReceived",
]

from typing import NamedTuple

from ..records import dataclass
from ..sctp.events import AssociationLost, AssociationUp


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """A channel is open at both ends. ``remote``: the peer opened it; else the peer accepted ours."""

    channel_id: int
    label: str
    protocol: str
    ordered: bool
    max_retransmits: int | None
    lifetime_ms: int | None
    remote: bool


class MessageReceived(NamedTuple):
    """A message of a channel. A named tuple because there may be a hundred thousand a second."""

    channel_id: int
    data: bytes
    text: bool


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """A channel is closed at both ends, or went down with the association. Its id may come back."""

    channel_id: int


@dataclass(frozen=True, slots=True)
class BufferedAmountLow:
    """What a channel has unacknowledged fell to its low-water mark, or below."""

    channel_id: int


Event = ChannelOpened | MessageReceived | ChannelClosed | BufferedAmountLow | AssociationUp | AssociationLost

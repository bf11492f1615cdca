"""What an association reports, in order, through ``poll_events``."""

from __future__ import annotations

__all__ = [
    "AssociationLost",
    "AssociationRestarted",
    "AssociationUp",
    "BufferedAmountLow",
    "Event",
    "MessageReceived",
    "StreamsReset",
]

from typing import NamedTuple

from ..records import dataclass


@dataclass(frozen=True, slots=True)
class AssociationUp:
    """The handshake is done: data flows."""


@dataclass(frozen=True, slots=True)
class AssociationRestarted:
    """The peer lost its state and shook hands again (RFC 9260 section 5.2.2): all streams begin anew."""


@dataclass(frozen=True, slots=True)
class AssociationLost:
    """The association ended. ``graceful`` after a shutdown that both sides finished, or an abort of our own."""

    reason: str
    graceful: bool = False


class MessageReceived(NamedTuple):
    """A complete message. A named tuple because there may be a hundred thousand a second."""

    stream_id: int
    ppid: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamsReset:
    """Streams were reset. ``incoming``: the peer will begin at sequence number 0; else: we do, the peer agreed."""

    stream_ids: tuple[int, ...]
    incoming: bool


@dataclass(frozen=True, slots=True)
class BufferedAmountLow:
    """What a stream has queued or unacknowledged fell to its low-water mark, or below."""

    stream_id: int


Event = AssociationUp | AssociationRestarted | AssociationLost | MessageReceived | StreamsReset | BufferedAmountLow

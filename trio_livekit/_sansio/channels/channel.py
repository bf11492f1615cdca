"""One data channel: what was agreed for it, and how far its opening and closing have come (RFC 8831 section 6)."""

from __future__ import annotations

__all__ = ["Channel", "ChannelState"]

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dcep import Open


class ChannelState(enum.Enum):
    OPENING = 0  # our OPEN is not acknowledged; data may be sent
    OPEN = 1
    CLOSING = 2  # one or both directions are being reset
    REFUSED = 3  # the peer's OPEN was not acceptable; the id is blocked until the peer has reset it


class Channel:
    """State of one channel."""

    __slots__ = ("id", "incoming_done", "lifetime_s", "open", "ordered", "outgoing_done", "reliable", "remote", "state")

    def __init__(self, channel_id: int, open_: Open, state: ChannelState, *, remote: bool) -> None:
        self.id = channel_id
        self.open = open_
        self.state = state
        self.remote = remote
        self.reliable = open_.max_retransmits is None and open_.lifetime_ms is None
        self.lifetime_s = None if open_.lifetime_ms is None else open_.lifetime_ms / 1000
        # Until the peer has acknowledged the OPEN, order keeps data from overtaking it (RFC 8832 section 6).
        self.ordered = open_.ordered or not remote
        self.outgoing_done = False
        self.incoming_done = False

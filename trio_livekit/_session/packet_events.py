"""What the packets of a session tell, apart from what it takes to send them: this is imported by the front door."""

from __future__ import annotations

__all__ = ["ContinuityLost", "PacketStatistics"]

from typing import NamedTuple

from .._sansio.records import dataclass


class ContinuityLost(NamedTuple):
    """While this session was lost, a participant may have sent packets that we did not get."""

    identity: str
    missed: int
    """By their numbers. Packets that were for others count as well."""


@dataclass(frozen=True, slots=True)
class PacketStatistics:
    """Counts of a room's data packets, of all kinds."""

    reliable_sent: int  # handed to the channel, repeats included
    reliable_resent: int  # of those, sent once more because a session was replaced
    reliable_unacknowledged: int
    reliable_waiting: int  # for room in the channel, or for a connection
    lossy_sent: int  # handed to the channel
    lossy_dropped: int  # 0.3 s old before anything of them had left, in the channel or before, or without a connection
    received: int  # that reached the application, or a call or a stream
    repeats: int  # dropped: seen before
    malformed: int  # dropped: not a packet
    unheeded: int  # dropped: nobody is there to take this kind
    undecryptable: int  # dropped: encrypted, and not for us, or not by a key of ours
    plaintext_refused: int  # dropped: not encrypted, in a room where that is not allowed
    unread_bytes: (
        int  # of reliable packets that wait to be read; at 4 MiB the server sends nothing more that is reliable
    )

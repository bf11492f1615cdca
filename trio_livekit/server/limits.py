"""How much one embedded server lets its clients use: every queue, name and number here has a bound."""

from __future__ import annotations

__all__ = ["DEFAULT_LIMITS", "Limits"]

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of an embedded server; the defaults suit tests, demos and one machine."""

    rooms: int = 1000
    participants_per_room: int = 1000
    data_tracks_per_participant: int = 1000
    subscriptions_per_participant: int = 4096
    """Track SIDs one participant may ask for, published or not; more are ignored."""

    name_bytes: int = 256
    """Identities, rooms, display names and track names, in UTF-8; LiveKit's own limit."""

    metadata_bytes: int = 512 << 10
    attributes_bytes: int = 64 << 10
    """All keys and values of one participant's attributes together."""

    data_blob_key_bytes: int = 256
    data_blobs_bytes: int = 64_000
    """What one participant may store for others, keys and contents together; 0 to store nothing at all."""

    request_head_bytes: int = 64 << 10
    """HTTP request line and headers of a client that has not shown its token yet. A join request takes about 1 KiB."""

    pending_connections: int = 512
    """TCP connections that have not said who they are; for each one more, the oldest is closed. At least 1."""

    handshake_timeout_s: float = 5.0
    """From the TCP connection to the end of the HTTP request."""

    signal_message_bytes: int = 1 << 20
    signal_queue_messages: int = 1000
    signal_queue_bytes: int = 16 << 20
    """Signalling not yet written to one client. A client further behind loses its connection, and may resume."""

    packet_bytes: int = 65_535
    """One message on a data channel, what LiveKit servers read at most; longer ones are dropped."""

    downlink_start_bytes: int = 256 << 10
    """A frame is begun towards a subscriber while less than this is waiting for it."""

    downlink_bytes: int = 4 << 20
    """A frame that has begun is continued while less than this is waiting: more than the largest frame (2 MB)."""

    reliable_bytes: int = 8 << 20
    """Reliable packets waiting for one client; who sends more to it is held up until half of that has gone out."""

    reliable_limit_bytes: int = 64 << 20
    """The same where many senders are held up, for what each had on its way; beyond this, packets are dropped."""

    reliable_stall_s: float = 75.0
    """A client that takes nothing for this long holds up nobody any more: it loses packets, which are counted. It is
    more than the minute after which our clients give up a stream that nobody reads."""

    early_bytes: int = 100_000
    """Reliable packets kept for a client that has joined and whose channels are not open yet."""

    connect_timeout_s: float = 15.0
    """How long a joined client may take to connect its peer connection."""

    departure_timeout_s: float = 6.0
    """How long a participant outlives its peer connection, waiting for a resume."""


DEFAULT_LIMITS = Limits()

"""What a room knows of one participant, and of the data tracks and subscriptions it has."""

from __future__ import annotations

__all__ = ["Admission", "Participant", "Subscription", "Track"]

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .._sansio.signal.messages import (
    DataBlobKey,
    DataTrackInfo,
    DisconnectReason,
    ParticipantInfo,
    ParticipantKind,
    ParticipantState,
    Permission,
    TrackPermission,
)

if TYPE_CHECKING:
    from .forwarding import Downlink, Uplink


@dataclass(frozen=True, slots=True)
class Admission:
    """What a verified token and a join request say of who wants to join which room."""

    room: str
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    kind: ParticipantKind = ParticipantKind.STANDARD
    permission: Permission = field(default_factory=Permission)
    token_expires_at: float = 0.0
    client_protocol: int = 0
    capabilities: tuple[int, ...] = ()
    auto_subscribe_data_tracks: bool = False
    two_peers: bool = False
    """Whether the client expects a second peer connection, offered by the server, to receive on."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscriber of one track, under the handle that its packets carry on the way down."""

    subscriber: Participant
    track: Track
    handle: int
    wire_handle: bytes = field(init=False)
    packets_forwarded: int = 0
    packets_dropped: int = 0
    frames_dropped: int = 0
    dropping: int = -1
    """The number of the frame whose remaining packets are not worth sending, or -1."""

    def __post_init__(self) -> None:
        self.wire_handle = self.handle.to_bytes(2, "big")


@dataclass(slots=True, eq=False)
class Track:
    """One published data track. ``subscriptions`` is replaced, never changed: forwarding may be walking it."""

    publisher: Participant
    info: DataTrackInfo
    subscriptions: tuple[Subscription, ...] = ()


@dataclass(slots=True, eq=False)
class Participant:
    """One participant of one room, for as long as its session lives."""

    sid: str
    identity: str
    name: str
    metadata: str
    attributes: dict[str, str]
    kind: ParticipantKind
    permission: Permission
    token_expires_at: float
    client_protocol: int
    capabilities: tuple[int, ...]
    auto_subscribe_data_tracks: bool
    joined_at_ms: int
    next_handle: int
    state: ParticipantState = ParticipantState.JOINING
    disconnect_reason: DisconnectReason = DisconnectReason.UNKNOWN_REASON
    version: int = 0
    has_published: bool = False

    tracks: dict[int, Track] = field(default_factory=dict)
    """Own tracks by the publisher's handle."""

    blobs: dict[DataBlobKey, bytes] = field(default_factory=dict)
    """What it stored for others to get: the definitions of schemas."""

    subscribable: tuple[TrackPermission, ...] | None = None
    """Who may subscribe to its tracks, by its own wish; ``None`` for everyone."""

    wanted: dict[str, None] = field(default_factory=dict)
    """Track SIDs this participant asked for, in order, whether or not they can be had at the moment."""

    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """What is forwarded to it, by track SID."""

    handles: dict[int, str] = field(default_factory=dict)
    """The same by handle: the snapshot that its client is sent."""

    last_sequence: int = 0
    """The highest sequence number among its reliable packets: a resume tells it, and older ones are repeats."""

    missed: dict[str, ParticipantInfo] | None = None
    """While its signal connection is away: who left meanwhile, by SID. ``None`` while it is connected."""

    downlink: Downlink | None = None
    """Where packets for it go; set by whoever drives its peer connection."""

    uplink: Uplink | None = None
    """What its reliable packets come on; set likewise."""

    def info(self) -> ParticipantInfo:
        """The participant as others are told of it."""
        return ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=self.name,
            state=self.state,
            metadata=self.metadata,
            attributes=dict(self.attributes),
            version=self.version,
            permission=self.permission,
            kind=self.kind,
            is_publisher=self.has_published,
            joined_at_ms=self.joined_at_ms,
            disconnect_reason=self.disconnect_reason,
            client_protocol=self.client_protocol,
            capabilities=self.capabilities,
            data_tracks=tuple(track.info for track in self.tracks.values()),
        )

    def take_handle(self) -> int:
        """The next free subscriber handle: upwards, 16 bits, never 0 and never one in use."""
        handle = self.next_handle
        while handle in self.handles or not handle:
            handle = (handle + 1) & 0xFFFF
        self.next_handle = (handle + 1) & 0xFFFF
        return handle

    def departed(self, reason: DisconnectReason) -> ParticipantInfo:
        """Mark it as gone, and say so."""
        self.state = ParticipantState.DISCONNECTED
        self.disconnect_reason = reason
        self.version += 1
        return replace(self.info(), data_tracks=())

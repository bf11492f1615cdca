"""The signalling messages of LiveKit as frozen dataclasses, named and cut as in ``livekit_rtc.proto``.

Only what this package acts on is here: a message or field that nobody reads is not carried. Both directions are needed
on both sides, because the embedded server speaks the same protocol from the other end. What is in messages is in
``values``, and can be had from here as well.
"""

from __future__ import annotations

__all__ = [
    "Answer",
    "Capability",
    "ClientInfo",
    "ConnectionQuality",
    "ConnectionQualityUpdate",
    "DataBlobFetched",
    "DataBlobKey",
    "DataBlobStored",
    "DataTrackInfo",
    "DataTrackPublished",
    "DataTrackSchema",
    "DataTrackUnpublished",
    "DisconnectReason",
    "EncryptionType",
    "FrameEncoding",
    "GetDataBlob",
    "IceServer",
    "Join",
    "JoinRequest",
    "Leave",
    "LeaveAction",
    "Offer",
    "ParticipantInfo",
    "ParticipantKind",
    "ParticipantState",
    "ParticipantUpdate",
    "Permission",
    "Ping",
    "Pong",
    "PublishDataTrack",
    "Reconnected",
    "RefreshToken",
    "Request",
    "RequestReason",
    "RequestResponse",
    "Response",
    "RoomInfo",
    "RoomMoved",
    "RoomUpdate",
    "SchemaEncoding",
    "ServerInfo",
    "Simulate",
    "Speaker",
    "SpeakersChanged",
    "StoreDataBlob",
    "SubscriberHandles",
    "SubscriptionPermission",
    "SubscriptionPermissionUpdate",
    "SyncState",
    "Target",
    "TrackPermission",
    "Trickle",
    "UnpublishDataTrack",
    "UpdateDataSubscription",
    "UpdateMetadata",
]

from dataclasses import field

from ..records import dataclass
from .values import (
    Capability,
    ClientInfo,
    ConnectionQuality,
    DataBlobKey,
    DataTrackInfo,
    DataTrackSchema,
    DisconnectReason,
    EncryptionType,
    FrameEncoding,
    IceServer,
    LeaveAction,
    ParticipantInfo,
    ParticipantKind,
    ParticipantState,
    Permission,
    RequestReason,
    RoomInfo,
    SchemaEncoding,
    ServerInfo,
    Target,
)

# --- messages in both directions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A session description to be answered; ``id`` is echoed by the answer."""

    sdp: str = field(repr=False)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the offer with the same ``id``."""

    sdp: str = field(repr=False)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Trickle:
    """One ICE candidate line (without ``a=``); empty text carries only ``final``."""

    candidate: str
    target: Target = Target.PUBLISHER
    final: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """Either end of the session says goodbye, and what should follow; perhaps where, by URL, the best first."""

    reason: DisconnectReason = DisconnectReason.UNKNOWN_REASON
    action: LeaveAction = LeaveAction.DISCONNECT
    regions: tuple[str, ...] = ()


# --- client to server -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The option block of a ``/rtc/v1`` connection."""

    client_info: ClientInfo
    auto_subscribe: bool = True
    auto_subscribe_data_track: bool = False
    publisher_offer: Offer | None = None
    reconnect: bool = False
    reconnect_reason: int = 0
    participant_sid: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ping:
    """Milliseconds of the sender's clock, and the last round trip it measured (not in the legacy form)."""

    timestamp_ms: int
    rtt_ms: int = 0
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class UpdateMetadata:
    """Change one's own name, metadata or attributes; empty means unchanged, an empty attribute is deleted."""

    request_id: int
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishDataTrack:
    """Ask to publish a data track under a handle of the publisher's choice."""

    pub_handle: int
    name: str
    encryption: EncryptionType = EncryptionType.NONE
    frame_encoding: FrameEncoding | str | None = None
    schema: DataTrackSchema | None = None


@dataclass(frozen=True, slots=True)
class UnpublishDataTrack:
    """End the publication with this handle."""

    pub_handle: int


@dataclass(frozen=True, slots=True)
class UpdateDataSubscription:
    """Subscribe to (True) or unsubscribe from (False) data tracks by SID."""

    updates: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class TrackPermission:
    """Who (by SID or identity) may subscribe to which of the sender's tracks."""

    participant_sid: str = ""
    participant_identity: str = ""
    all_tracks: bool = False
    track_sids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscriptionPermission:
    """Who may subscribe to the sender's tracks, replacing what was said before: everyone, or those named."""

    all_participants: bool = True
    track_permissions: tuple[TrackPermission, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncState:
    """After a resume: what this client believes of the session."""

    offer: Offer | None = None
    answer: Answer | None = None
    data_tracks: tuple[DataTrackInfo, ...] = ()
    data_channels: tuple[tuple[str, int, Target], ...] = ()
    received: tuple[tuple[str, int], ...] = ()
    """The number of the last reliable packet by the SID of its sender: another node may have to go on from there."""


@dataclass(frozen=True, slots=True)
class StoreDataBlob:
    """Keep bytes at the server for as long as the sender is in the room, for whoever knows the key."""

    request_id: int
    key: DataBlobKey
    contents: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetDataBlob:
    """Ask for what a participant stored under a key."""

    request_id: int
    participant_identity: str
    key: DataBlobKey


@dataclass(frozen=True, slots=True)
class Simulate:
    """Ask the server to act out a fault (tests): the name and value of one ``SimulateScenario`` member."""

    scenario: str
    value: int


Request = (
    Offer
    | Answer
    | Trickle
    | Leave
    | Ping
    | UpdateMetadata
    | PublishDataTrack
    | UnpublishDataTrack
    | UpdateDataSubscription
    | SubscriptionPermission
    | SyncState
    | StoreDataBlob
    | GetDataBlob
    | Simulate
)
"""Whatever a client sends once joined."""


# --- server to client -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Join:
    """The first message of a new session."""

    room: RoomInfo
    participant: ParticipantInfo
    other_participants: tuple[ParticipantInfo, ...] = ()
    server: ServerInfo = ServerInfo()
    ice_servers: tuple[IceServer, ...] = ()
    subscriber_primary: bool = False
    ping_interval_s: int = 0
    ping_timeout_s: int = 0
    force_relay: bool = False
    may_resume: bool = True


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The first message of a resumed session."""

    ice_servers: tuple[IceServer, ...] = ()
    force_relay: bool = False
    last_message_seq: int = 0


@dataclass(frozen=True, slots=True)
class ParticipantUpdate:
    """Participants that changed; whoever is not named stayed as they were."""

    participants: tuple[ParticipantInfo, ...]


@dataclass(frozen=True, slots=True)
class Speaker:
    """One participant's loudness, 0 to 1."""

    sid: str
    level: float
    active: bool


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    """The speakers that changed."""

    speakers: tuple[Speaker, ...]


@dataclass(frozen=True, slots=True)
class RoomUpdate:
    """The room changed; replaces what was known."""

    room: RoomInfo


@dataclass(frozen=True, slots=True)
class ConnectionQualityUpdate:
    """Connection quality by participant SID."""

    updates: tuple[tuple[str, ConnectionQuality], ...]


@dataclass(frozen=True, slots=True)
class SubscriptionPermissionUpdate:
    """A publisher (un)granted this client one of its tracks."""

    participant_sid: str
    track_sid: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A newer token for later reconnects."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to ``Ping``, in kind: its time stamp, and the server's clock (not in the legacy form)."""

    last_ping_timestamp_ms: int
    timestamp_ms: int = 0
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class RequestResponse:
    """How a request ended. ``pub_handle`` is set where the request was about a data track."""

    request_id: int
    reason: RequestReason
    message: str = ""
    publish_handle: int | None = None
    unpublish_handle: int | None = None


@dataclass(frozen=True, slots=True)
class DataTrackPublished:
    """One's own track is published."""

    info: DataTrackInfo


@dataclass(frozen=True, slots=True)
class DataTrackUnpublished:
    """One's own track is no longer published."""

    info: DataTrackInfo


@dataclass(frozen=True, slots=True)
class DataBlobStored:
    """The server keeps what was stored under this key."""

    request_id: int
    key: DataBlobKey


@dataclass(frozen=True, slots=True)
class DataBlobFetched:
    """What was asked for."""

    request_id: int
    key: DataBlobKey
    contents: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SubscriberHandles:
    """Every active data subscription of this client, by packet handle: a full snapshot each time."""

    handles: dict[int, str]
    """handle -> track SID"""


@dataclass(frozen=True, slots=True)
class RoomMoved:
    """The server moved this participant to another room."""

    room: RoomInfo
    token: str = field(repr=False)
    participant: ParticipantInfo
    other_participants: tuple[ParticipantInfo, ...] = ()


Response = (
    Join
    | Reconnected
    | Answer
    | Offer
    | Trickle
    | ParticipantUpdate
    | Leave
    | SpeakersChanged
    | RoomUpdate
    | ConnectionQualityUpdate
    | SubscriptionPermissionUpdate
    | RefreshToken
    | Pong
    | RequestResponse
    | DataTrackPublished
    | DataTrackUnpublished
    | DataBlobStored
    | DataBlobFetched
    | SubscriberHandles
    | RoomMoved
)
"""Whatever a server sends."""

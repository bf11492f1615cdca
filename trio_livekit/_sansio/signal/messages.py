"""The signalling messages of LiveKit as frozen dataclasses, named and cut as in ``livekit_rtc.proto``.

Only what this package acts on is here: a message or field that nobody reads is not carried. Both directions are needed
on both sides, because the embedded server speaks the same protocol from the other end. Enumerations that only travel
through keep their protobuf numbers, so that a value newer than this version survives the trip.
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

import enum
from dataclasses import field
from typing import Any

from ..records import dataclass

# --- what travels inside messages -------------------------------------------------------------------------------------


class _OpenEnum(enum.IntEnum):
    """An enumeration whose unknown numbers become members named ``UNKNOWN_<n>`` instead of errors."""

    @classmethod
    def _missing_(cls, value: object) -> Any:  # noqa: ANN401 (the signature is enum's)
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member


class DisconnectReason(_OpenEnum):
    """Why a participant left, in the server's words (``DisconnectReason``)."""

    UNKNOWN_REASON = 0
    CLIENT_INITIATED = 1
    DUPLICATE_IDENTITY = 2
    SERVER_SHUTDOWN = 3
    PARTICIPANT_REMOVED = 4
    ROOM_DELETED = 5
    STATE_MISMATCH = 6
    JOIN_FAILURE = 7
    MIGRATION = 8
    SIGNAL_CLOSE = 9
    ROOM_CLOSED = 10
    USER_UNAVAILABLE = 11
    USER_REJECTED = 12
    SIP_TRUNK_FAILURE = 13
    CONNECTION_TIMEOUT = 14
    MEDIA_FAILURE = 15
    AGENT_ERROR = 16


class ParticipantState(_OpenEnum):
    """How far a participant has come (``ParticipantInfo.State``)."""

    JOINING = 0
    JOINED = 1
    ACTIVE = 2
    DISCONNECTED = 3


class ParticipantKind(_OpenEnum):
    """What a participant is (``ParticipantInfo.Kind``)."""

    STANDARD = 0
    INGRESS = 1
    EGRESS = 2
    SIP = 3
    AGENT = 4
    CONNECTOR = 7
    BRIDGE = 8


class ConnectionQuality(_OpenEnum):
    """How well the server hears a participant (``ConnectionQuality``)."""

    POOR = 0
    GOOD = 1
    EXCELLENT = 2
    LOST = 3


class EncryptionType(_OpenEnum):
    """How a track is encrypted end to end (``Encryption.Type``)."""

    NONE = 0
    GCM = 1
    CUSTOM = 2


class Capability(enum.IntEnum):
    """What a client can do (``ClientInfo.Capability``, where the names begin with ``CAP_``)."""

    PACKET_TRAILER = 1
    COMPRESSION_DEFLATE_RAW = 2


class RequestReason(_OpenEnum):
    """The outcome of a request (``RequestResponse.Reason``)."""

    OK = 0
    NOT_FOUND = 1
    NOT_ALLOWED = 2
    LIMIT_EXCEEDED = 3
    QUEUED = 4
    UNSUPPORTED_TYPE = 5
    UNCLASSIFIED_ERROR = 6
    INVALID_HANDLE = 7
    INVALID_NAME = 8
    DUPLICATE_HANDLE = 9
    DUPLICATE_NAME = 10
    INVALID_REQUEST = 11


class LeaveAction(_OpenEnum):
    """What the client should do after ``leave`` (``LeaveRequest.Action``)."""

    DISCONNECT = 0
    RESUME = 1
    RECONNECT = 2


class Target(_OpenEnum):
    """Which of the two peer connections a candidate is for (``SignalTarget``)."""

    PUBLISHER = 0
    SUBSCRIBER = 1


class FrameEncoding(_OpenEnum):
    """How the frames of a data track are encoded (``WellKnownDataTrackFrameEncoding``)."""

    UNSPECIFIED = 0
    ROS1 = 1
    CDR = 2
    PROTOBUF = 3
    FLATBUFFER = 4
    CBOR = 5
    MSGPACK = 6
    JSON = 7


class SchemaEncoding(_OpenEnum):
    """In which language a schema is written (``WellKnownDataTrackSchemaEncoding``)."""

    UNSPECIFIED = 0
    PROTOBUF = 1
    FLATBUFFER = 2
    ROS1_MSG = 3
    ROS2_MSG = 4
    ROS2_IDL = 5
    OMG_IDL = 6
    JSON_SCHEMA = 7


@dataclass(frozen=True, slots=True)
class DataTrackSchema:
    """Which schema the frames of a data track follow (``DataTrackSchemaId``).

    Attributes:
        name: what publisher and subscribers call it, as a rule the name of a type.
        encoding: the language it is written in: a well-known one, or the name of another, of 1 to 32 bytes.
    """

    name: str
    encoding: SchemaEncoding | str = SchemaEncoding.UNSPECIFIED


DataBlobKey = DataTrackSchema | str
"""Under what a participant stores bytes at the server: a schema whose definition they are, or any text."""


@dataclass(frozen=True, slots=True)
class DataTrackInfo:
    """One published data track. ``sid`` names the publication, ``pub_handle`` the publisher's packets."""

    pub_handle: int
    sid: str
    name: str
    encryption: EncryptionType = EncryptionType.NONE
    frame_encoding: FrameEncoding | str | None = None
    schema: DataTrackSchema | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """What a participant may do (``ParticipantPermission``)."""

    can_subscribe: bool = True
    can_publish: bool = True
    can_publish_data: bool = True
    can_update_metadata: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class ParticipantInfo:
    """A participant as the server describes it; always whole, never a delta."""

    sid: str
    identity: str
    name: str = ""
    state: ParticipantState = ParticipantState.JOINING
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    version: int = 0
    permission: Permission | None = None
    kind: ParticipantKind = ParticipantKind.STANDARD
    is_publisher: bool = False
    joined_at_ms: int = 0
    disconnect_reason: DisconnectReason = DisconnectReason.UNKNOWN_REASON
    client_protocol: int = 0
    capabilities: tuple[int, ...] = ()
    data_tracks: tuple[DataTrackInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class RoomInfo:
    """The room as the server describes it."""

    sid: str = ""
    name: str = ""
    metadata: str = ""
    num_participants: int = 0
    num_publishers: int = 0
    max_participants: int = 0
    active_recording: bool = False
    creation_time_ms: int = 0
    empty_timeout_s: int = 0
    departure_timeout_s: int = 0


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Which server, and where (``ServerInfo``): what it says when a room is joined."""

    version: str = ""
    region: str = ""
    node_id: str = ""
    protocol: int = 0


@dataclass(frozen=True, slots=True)
class IceServer:
    """One STUN or TURN server: its URLs, and the credentials for TURN."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """What a client says of itself when it joins."""

    sdk: int = 9
    version: str = ""
    protocol: int = 0
    client_protocol: int = 0
    os: str = ""
    capabilities: tuple[int, ...] = ()


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

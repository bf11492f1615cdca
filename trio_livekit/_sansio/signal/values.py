"""What is in signalling messages: participants, rooms, tracks, and the enumerations of the protocol.

Enumerations that only travel through keep their protobuf numbers, so that a value newer than this version survives the
trip.
"""

from __future__ import annotations

__all__ = [
    "Capability",
    "ClientInfo",
    "ConnectionQuality",
    "DataBlobKey",
    "DataTrackInfo",
    "DataTrackSchema",
    "DisconnectReason",
    "EncryptionType",
    "FrameEncoding",
    "IceServer",
    "LeaveAction",
    "ParticipantInfo",
    "ParticipantKind",
    "ParticipantState",
    "Permission",
    "RequestReason",
    "RoomInfo",
    "SchemaEncoding",
    "ServerInfo",
    "Target",
]

import enum
from dataclasses import field

from ...errors import DisconnectReason, OpenEnum
from ..records import dataclass


class ParticipantState(OpenEnum):
    """How far a participant has come (``ParticipantInfo.State``)."""

    JOINING = 0
    JOINED = 1
    ACTIVE = 2
    DISCONNECTED = 3


class ParticipantKind(OpenEnum):
    """What a participant is (``ParticipantInfo.Kind``)."""

    STANDARD = 0
    INGRESS = 1
    EGRESS = 2
    SIP = 3
    AGENT = 4
    CONNECTOR = 7
    BRIDGE = 8


class ConnectionQuality(OpenEnum):
    """How well the server hears a participant (``ConnectionQuality``)."""

    POOR = 0
    GOOD = 1
    EXCELLENT = 2
    LOST = 3


class EncryptionType(OpenEnum):
    """How a track is encrypted end to end (``Encryption.Type``)."""

    NONE = 0
    GCM = 1
    CUSTOM = 2


class Capability(enum.IntEnum):
    """What a client can do (``ClientInfo.Capability``, where the names begin with ``CAP_``)."""

    PACKET_TRAILER = 1
    COMPRESSION_DEFLATE_RAW = 2


class RequestReason(OpenEnum):
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


class LeaveAction(OpenEnum):
    """What the client should do after ``leave`` (``LeaveRequest.Action``)."""

    DISCONNECT = 0
    RESUME = 1
    RECONNECT = 2


class Target(OpenEnum):
    """Which of the two peer connections a candidate is for (``SignalTarget``)."""

    PUBLISHER = 0
    SUBSCRIBER = 1


class FrameEncoding(OpenEnum):
    """How the frames of a data track are encoded (``WellKnownDataTrackFrameEncoding``)."""

    UNSPECIFIED = 0
    ROS1 = 1
    CDR = 2
    PROTOBUF = 3
    FLATBUFFER = 4
    CBOR = 5
    MSGPACK = 6
    JSON = 7


class SchemaEncoding(OpenEnum):
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

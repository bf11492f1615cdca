"""LiveKit for trio: rooms and data tracks as structured concurrency, in pure Python.

>>> import trio_livekit as lk
>>> async with lk.connect(url, token) as room:                        # one scope: the session
...     async with room.publish_data_track("lidar") as track:         # one scope: the published track
...         track.try_push(b"...")

This module is the front door: it re-exports, and has no logic. Modules and packages whose names begin with an
underscore are not for import from outside. Where everything is, and how a frame travels, is in
``docs/guide/architecture.md``.
"""

from __future__ import annotations

__all__ = [
    "AccessTokenError",
    "AccessTokenErrorReason",
    "ByteStreamInfo",
    "ByteStreamReader",
    "ByteStreamWriter",
    "ByteStreams",
    "ChannelStats",
    "ChatMessage",
    "Check",
    "ConnectError",
    "ConnectErrorReason",
    "ConnectionQuality",
    "ConnectionState",
    "DataPacket",
    "DataPackets",
    "DataTrackFrame",
    "DataTrackSchema",
    "DataTrackSubscription",
    "DecodeError",
    "DecryptionFailureReason",
    "DeliveryError",
    "DeliveryErrorReason",
    "Diagnosis",
    "DisconnectReason",
    "Encryption",
    "EncryptionType",
    "FrameEncoding",
    "FrameTooLarge",
    "InternalError",
    "KeyDerivation",
    "LiveKitError",
    "LocalDataTrack",
    "LocalParticipant",
    "MissingKey",
    "NotRead",
    "OnFullReconnect",
    "PacketStatistics",
    "ParticipantKind",
    "Paths",
    "PayloadTooLarge",
    "Permission",
    "ProtocolError",
    "PublicationStatistics",
    "PublishDataError",
    "PublishDataErrorReason",
    "PublishError",
    "PublishErrorReason",
    "PushError",
    "PushErrorReason",
    "ReaderStatistics",
    "Receipt",
    "RecipientNotFound",
    "ReconnectPolicy",
    "RemoteDataTrack",
    "RemoteDataTracks",
    "RemoteParticipant",
    "Room",
    "RoomDisconnected",
    "RoomEvents",
    "RoomInfo",
    "RoomStats",
    "RpcError",
    "RpcErrorCode",
    "RpcHandler",
    "RpcInvocation",
    "SchemaEncoding",
    "SchemaError",
    "SchemaErrorReason",
    "ServerInfo",
    "SignalStats",
    "SimulateScenario",
    "StreamError",
    "StreamErrorReason",
    "StreamProgress",
    "SubscribeError",
    "SubscribeErrorReason",
    "SubscriptionStatistics",
    "TextOperation",
    "TextStreamInfo",
    "TextStreamReader",
    "TextStreamWriter",
    "TextStreams",
    "TokenSource",
    "TrackStats",
    "TrackSubscriptionPermission",
    "Transcription",
    "TranscriptionSegment",
    "TransportError",
    "TransportStats",
    "UpdateError",
    "UpdateErrorReason",
    "Verdict",
    "VideoGrants",
    "__version__",
    "access_token",
    "connect",
    "diagnose",
    "events",
    "now_ms",
]

from typing import TYPE_CHECKING, Any

from . import events
from ._sansio.encryption.complaints import DecryptionFailureReason
from ._sansio.signal.messages import (
    ConnectionQuality,
    DataTrackSchema,
    EncryptionType,
    FrameEncoding,
    ParticipantKind,
    Permission,
    RoomInfo,
    SchemaEncoding,
    ServerInfo,
)
from ._session.credentials import TokenSource
from ._session.paths import Paths
from ._session.reconnect import ReconnectPolicy
from ._version import __version__
from .data_tracks import (
    DataTrackFrame,
    DataTrackSubscription,
    LocalDataTrack,
    PublicationStatistics,
    RemoteDataTrack,
    RemoteDataTracks,
    SubscriptionStatistics,
    now_ms,
)
from .errors import (
    AccessTokenError,
    AccessTokenErrorReason,
    ConnectError,
    ConnectErrorReason,
    DecodeError,
    DeliveryError,
    DeliveryErrorReason,
    DisconnectReason,
    FrameTooLarge,
    InternalError,
    LiveKitError,
    MissingKey,
    NotRead,
    PayloadTooLarge,
    ProtocolError,
    PublishDataError,
    PublishDataErrorReason,
    PublishError,
    PublishErrorReason,
    PushError,
    PushErrorReason,
    RecipientNotFound,
    RoomDisconnected,
    RpcError,
    RpcErrorCode,
    SchemaError,
    SchemaErrorReason,
    StreamError,
    StreamErrorReason,
    SubscribeError,
    SubscribeErrorReason,
    TransportError,
    UpdateError,
    UpdateErrorReason,
)
from .messages import (
    ChatMessage,
    DataPacket,
    DataPackets,
    OnFullReconnect,
    PacketStatistics,
    ReaderStatistics,
    Receipt,
    Transcription,
    TranscriptionSegment,
)
from .participants import LocalParticipant, RemoteParticipant, TrackSubscriptionPermission
from .room import ConnectionState, Room, RoomEvents, SimulateScenario, connect
from .rpc import RpcHandler, RpcInvocation
from .streams import (
    ByteStreamInfo,
    ByteStreamReader,
    ByteStreams,
    ByteStreamWriter,
    StreamProgress,
    TextOperation,
    TextStreamInfo,
    TextStreamReader,
    TextStreams,
    TextStreamWriter,
)

if TYPE_CHECKING:
    from ._session.stats import ChannelStats, RoomStats, SignalStats, TrackStats, TransportStats
    from .diagnosis import Check, Diagnosis, Verdict, diagnose
    from .encryption import Encryption, KeyDerivation
    from .tokens import VideoGrants, access_token


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    """What most clients do without is imported when it is asked for: tokens, and the keys of encryption."""
    if name in ("VideoGrants", "access_token"):
        from . import tokens

        return getattr(tokens, name)
    if name in ("Check", "Diagnosis", "Verdict", "diagnose"):
        from . import diagnosis

        return getattr(diagnosis, name)
    if name in ("ChannelStats", "RoomStats", "SignalStats", "TrackStats", "TransportStats"):
        from ._session import stats

        return getattr(stats, name)
    if name in ("Encryption", "KeyDerivation"):
        from . import encryption

        return getattr(encryption, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What happens in a room, as frozen dataclasses, read with ``async with room.events() as events``.

Events tell what changed; the state they speak of is always there to read without them (``room.participants``,
``participant.attributes``, ``participant.data_tracks``).
"""

from __future__ import annotations

__all__ = [
    "ActiveSpeakersChanged",
    "ChatMessageReceived",
    "ConnectionQualityChanged",
    "ContinuityLost",
    "DataTrackPublished",
    "DataTrackUnpublished",
    "DecryptionFailed",
    "DtmfReceived",
    "EventsMissed",
    "ParticipantActive",
    "ParticipantAttributesChanged",
    "ParticipantConnected",
    "ParticipantDisconnected",
    "ParticipantMetadataChanged",
    "ParticipantNameChanged",
    "ParticipantPermissionsChanged",
    "Reconnected",
    "Reconnecting",
    "RecordingStatusChanged",
    "RoomEvent",
    "RoomInfoChanged",
    "RoomMetadataChanged",
    "RoomMoved",
    "SubscriptionPermissionChanged",
    "TokenRefreshed",
    "TranscriptionReceived",
]

from dataclasses import field
from typing import TYPE_CHECKING

from ._sansio.records import dataclass

if TYPE_CHECKING:
    from ._sansio.encryption.complaints import DecryptionFailureReason
    from ._sansio.packets.messages import ChatMessage, Transcription
    from ._sansio.signal.messages import ConnectionQuality, DisconnectReason, Permission, RoomInfo
    from .data_tracks import RemoteDataTrack
    from .participants import LocalParticipant, RemoteParticipant

    Participant = LocalParticipant | RemoteParticipant


@dataclass(frozen=True, slots=True)
class ParticipantConnected:
    """A participant joined. Those already there at ``connect`` are in ``room.participants`` without an event."""

    participant: RemoteParticipant


@dataclass(frozen=True, slots=True)
class ParticipantDisconnected:
    """A participant left; its data tracks were reported unpublished just before.

    If it came back at once, ``ParticipantConnected`` follows, and tracks that it publishes again have not ended.
    """

    participant: RemoteParticipant
    reason: DisconnectReason


@dataclass(frozen=True, slots=True)
class ParticipantActive:
    """A participant's peer connection is up: what is sent to it now arrives."""

    participant: RemoteParticipant


@dataclass(frozen=True, slots=True)
class ParticipantNameChanged:
    """A participant's display name changed."""

    participant: Participant
    old_name: str


@dataclass(frozen=True, slots=True)
class ParticipantMetadataChanged:
    """A participant's metadata changed."""

    participant: Participant
    old_metadata: str


@dataclass(frozen=True, slots=True)
class ParticipantAttributesChanged:
    """Some of a participant's attributes changed: only those, with their new values; ``None`` where one was removed."""

    participant: Participant
    changed: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class ParticipantPermissionsChanged:
    """What a participant may do changed."""

    participant: Participant
    old_permission: Permission | None


@dataclass(frozen=True, slots=True)
class ConnectionQualityChanged:
    """How well the server hears a participant changed."""

    participant: Participant
    quality: ConnectionQuality


@dataclass(frozen=True, slots=True)
class ActiveSpeakersChanged:
    """Who speaks, loudest first, by identity with the level (0 to 1)."""

    speakers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class RoomMetadataChanged:
    """The room's metadata changed."""

    old_metadata: str
    metadata: str


@dataclass(frozen=True, slots=True)
class RecordingStatusChanged:
    """The room is being recorded from now on, or not any more."""

    is_recording: bool


@dataclass(frozen=True, slots=True)
class RoomInfoChanged:
    """Something about the room other than its metadata changed: its counters, its SID, or whether it is recorded."""

    info: RoomInfo


@dataclass(frozen=True, slots=True)
class RoomMoved:
    """The server moved this client to another room, under the same blocks; the properties show that room by now.

    The participants of the old room were reported disconnected before; those of the new one follow.
    """

    old_name: str
    name: str


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """The server sent a newer access token. Reconnecting uses it by itself; keep it to join again later."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SubscriptionPermissionChanged:
    """The publisher of a data track denied it to this client, or granted it again; subscriptions pause meanwhile."""

    track: RemoteDataTrack
    is_allowed: bool


@dataclass(frozen=True, slots=True)
class DataTrackPublished:
    """A remote participant published a data track."""

    track: RemoteDataTrack


@dataclass(frozen=True, slots=True)
class DataTrackUnpublished:
    """A remote data track ended."""

    track: RemoteDataTrack


@dataclass(frozen=True, slots=True)
class ChatMessageReceived:
    """A participant said something in the chat, or edited what it had said: then ``message.edit_timestamp`` is set.

    Attributes:
        sender_identity: who; empty where the server does not say.
        participant: the same, where the server has told of it already.
    """

    message: ChatMessage
    sender_identity: str
    participant: RemoteParticipant | None


@dataclass(frozen=True, slots=True)
class DtmfReceived:
    """A participant pressed a key of a telephone.

    Attributes:
        code: 0 to 15.
        digit: what is printed on the key.
        sender_identity: who; empty where the server does not say.
        participant: the same, where the server has told of it already.
    """

    code: int
    digit: str
    sender_identity: str
    participant: RemoteParticipant | None


@dataclass(frozen=True, slots=True)
class TranscriptionReceived:
    """Speech as text. ``transcription`` says who spoke, on which track; the sender is whoever wrote it down.

    Attributes:
        sender_identity: who; empty where the server does not say.
        participant: the same, where the server has told of it already.
    """

    transcription: Transcription
    sender_identity: str
    participant: RemoteParticipant | None


@dataclass(frozen=True, slots=True)
class ContinuityLost:
    """This client was out of the room for a while, and reliable packets of a participant did not reach it meanwhile.

    Attributes:
        sender_identity: whose packets.
        participant: the same, where the server has told of it already.
        missed: how many at most, by their numbers: packets that were for others count as well.
    """

    sender_identity: str
    participant: RemoteParticipant | None
    missed: int


@dataclass(frozen=True, slots=True)
class DecryptionFailed:
    """Something a participant sent was dropped: no key fits, it was changed on the way, or it was not encrypted.

    There is at most one such event for a participant in 10 seconds. ``room.decryption_failures`` has the totals.

    Attributes:
        sender_identity: whose it was, as the server says.
        participant: the same, where the server has told of it already.
        reason: why the last of them was dropped.
        count: how many were dropped since the event before.
    """

    sender_identity: str
    participant: RemoteParticipant | None
    reason: DecryptionFailureReason
    count: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection to the server was lost, in whole or in part, and is being taken up again.

    As long as only signalling is lost, frames flow on; what is asked for meanwhile waits.
    """


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection is back, and the room's state is the server's again; events for what was missed came before.

    Attributes:
        resumed: the session went on, and nobody in the room noticed. Otherwise it is another one: the others saw this
            client leave and come back, and what they sent meanwhile is lost to it (see ``ContinuityLost``).
    """

    resumed: bool


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """This reader fell behind and its buffer overflowed: so many events are lost to it. Read the state afresh."""

    count: int


RoomEvent = (
    ParticipantConnected
    | ParticipantDisconnected
    | ParticipantActive
    | ParticipantNameChanged
    | ParticipantMetadataChanged
    | ParticipantAttributesChanged
    | ParticipantPermissionsChanged
    | ConnectionQualityChanged
    | ActiveSpeakersChanged
    | RoomMetadataChanged
    | RecordingStatusChanged
    | RoomInfoChanged
    | RoomMoved
    | TokenRefreshed
    | SubscriptionPermissionChanged
    | DataTrackPublished
    | DataTrackUnpublished
    | ChatMessageReceived
    | DtmfReceived
    | TranscriptionReceived
    | ContinuityLost
    | DecryptionFailed
    | Reconnecting
    | Reconnected
    | EventsMissed
)
"""Everything that ``room.events()`` yields."""

"""What a room looks like from here: kept up to date by what its session tells, with an event for each change.

The session tells facts of the connection and of signalling; what an application gets to see of them, as state and as
events, is decided here. All of it happens in the step that the session tells it in.
"""

from __future__ import annotations

__all__ = ["ConnectionState", "RoomView"]

import enum
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from . import events as ev
from ._listeners import Listeners
from ._sansio.encryption.complaints import Complaint
from ._sansio.packets import messages as p
from ._sansio.signal import messages as m
from ._sansio.signal.roster import Changed, Joined, Left, SelfChanged
from ._session.ending import end_of_room
from ._session.packet_events import ContinuityLost
from ._session.reconnect import Interrupted, Lost, Regained
from ._session.subscribing import TrackPublished, TrackReassigned, TrackUnpublished
from .data_tracks import RemoteDataTrack
from .participants import RemoteParticipant

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._session.features import SessionEvent
    from ._session.subscribing import RemoteTrack
    from .errors import LiveKitError
    from .participants import LocalParticipant


class ConnectionState(enum.Enum):
    """How a room stands: ``CONNECTED`` and ``RECONNECTING`` alternate, and ``DISCONNECTED`` is the end."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"


class RoomView:
    """The state of a room, behind what ``Room`` shows of it.

    Attributes:
        state: how the room stands.
        over: why it is over, once it is.
        info: what the server said of it last.
        local: this client, as soon as the room is joined.
        participants: the others, by identity.
        listeners: who is told of changes.
    """

    def __init__(self) -> None:
        self.state = ConnectionState.CONNECTED
        self.over: Exception | None = None
        self.info = m.RoomInfo()
        self.local: LocalParticipant | None = None
        self.participants: dict[str, RemoteParticipant] = {}
        self.listeners = Listeners()
        self._tracks: dict[RemoteTrack, RemoteDataTrack] = {}
        self._levels: dict[str, float] = {}  # of those who speak, by identity
        self._changed = trio.lowlevel.ParkingLot()
        self._emit = self.listeners.emit

    @property
    def active_speakers(self) -> tuple[tuple[str, float], ...]:
        """Identities and levels, loudest first."""
        return tuple(sorted(self._levels.items(), key=lambda speaker: -speaker[1]))

    def check_open(self) -> None:
        """Raise what ended the room, if it is over."""
        if self.over is not None:
            raise copy(self.over)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the state holds. Raises what ends the room before that."""
        await trio.lowlevel.checkpoint()
        while True:
            self.check_open()
            if condition():
                return
            await self._changed.park()

    def end(self, lost: LiveKitError | None) -> None:
        """The room was lost, or left; of both, what came first counts."""
        if self.over is not None:
            return
        self.over = end_of_room(lost)
        self.state = ConnectionState.DISCONNECTED
        self.listeners.end(lost)
        for participant in self.participants.values():
            participant.data_tracks._finish(self.over)
        self._changed.unpark_all()

    def on_session_event(self, event: SessionEvent) -> None:
        """The session tells something."""
        match event:
            case Interrupted():
                self.state = ConnectionState.RECONNECTING
                self._emit(ev.Reconnecting())
            case Regained(resumed):
                self.state = ConnectionState.CONNECTED
                self._emit(ev.Reconnected(resumed))
                self._changed.unpark_all()
            case Lost(error):
                self.end(error)
            case Joined(info):
                self._on_joined(info)
            case Left(info, reason):
                self._on_left(info, reason)
            case Changed(old, new):
                self._on_changed(old, new)
            case SelfChanged(old, new):
                if self.local is not None:
                    self.local._info = new
                    self._emit_changes(self.local, old, new)
            case TrackPublished(track):
                self._on_track_published(track)
            case TrackReassigned(track):  # its publisher came back as another participant of the same identity
                self.participants[track.publisher_identity].data_tracks._add(self._tracks[track])
            case TrackUnpublished(track):
                self._on_track_unpublished(track)
            case p.DataPacket():
                self._on_packet(event)
            case ContinuityLost(identity, missed):
                self._emit(ev.ContinuityLost(identity, self.participants.get(identity), missed))
            case Complaint(identity, reason, count):
                self._emit(ev.DecryptionFailed(identity, self.participants.get(identity), reason, count))
            case m.RoomUpdate(room):
                self._on_room_update(room)
            case m.RoomMoved(room):
                old_name = self.info.name
                self._on_room_update(room)
                self._emit(ev.RoomMoved(old_name, room.name))
            case m.RefreshToken(token):
                self._emit(ev.TokenRefreshed(token))
            case m.SubscriptionPermissionUpdate(_, track_sid, allowed):
                self._on_subscription_permission(track_sid, allowed)
            case m.SpeakersChanged(speakers):
                self._on_speakers(speakers)
            case m.ConnectionQualityUpdate(updates):
                self._on_quality(updates)

    # --- participants -------------------------------------------------------------------------------------------------

    def _on_joined(self, info: m.ParticipantInfo) -> None:
        participant = self.participants[info.identity] = RemoteParticipant(info)
        self._emit(ev.ParticipantConnected(participant))
        self._changed.unpark_all()

    def _on_left(self, info: m.ParticipantInfo, reason: m.DisconnectReason) -> None:
        participant = self.participants.pop(info.identity)
        participant.data_tracks._finish()
        self._emit(ev.ParticipantDisconnected(participant, reason))
        if self._levels.pop(info.identity, None) is not None:
            self._emit(ev.ActiveSpeakersChanged(self.active_speakers))

    def _on_changed(self, old: m.ParticipantInfo, new: m.ParticipantInfo) -> None:
        participant = self.participants[new.identity]
        participant._info = new
        if new.state == m.ParticipantState.ACTIVE != old.state:
            self._emit(ev.ParticipantActive(participant))
            self._changed.unpark_all()
        self._emit_changes(participant, old, new)

    def _emit_changes(
        self, participant: LocalParticipant | RemoteParticipant, old: m.ParticipantInfo, new: m.ParticipantInfo
    ) -> None:
        if new.name != old.name:
            self._emit(ev.ParticipantNameChanged(participant, old.name))
        if new.metadata != old.metadata:
            self._emit(ev.ParticipantMetadataChanged(participant, old.metadata))
        if new.attributes != old.attributes:
            changed: dict[str, str | None] = {
                key: value for key, value in new.attributes.items() if old.attributes.get(key) != value
            }
            changed.update(dict.fromkeys(old.attributes.keys() - new.attributes.keys()))
            self._emit(ev.ParticipantAttributesChanged(participant, changed))
        if new.permission != old.permission:
            self._emit(ev.ParticipantPermissionsChanged(participant, old.permission))

    def _on_speakers(self, speakers: tuple[m.Speaker, ...]) -> None:
        """The message names only who changed."""
        for speaker in speakers:
            participant = self._by_sid(speaker.sid)
            if participant is None:
                continue
            if speaker.active:
                self._levels[participant.identity] = speaker.level
            else:
                self._levels.pop(participant.identity, None)
        self._emit(ev.ActiveSpeakersChanged(self.active_speakers))

    def _on_quality(self, updates: tuple[tuple[str, m.ConnectionQuality], ...]) -> None:
        for sid, quality in updates:
            participant = self._by_sid(sid)
            if participant is not None and participant.connection_quality != quality:
                participant._quality = quality
                self._emit(ev.ConnectionQualityChanged(participant, quality))

    def _by_sid(self, sid: str) -> LocalParticipant | RemoteParticipant | None:
        if self.local is not None and sid == self.local.sid:
            return self.local
        return next((participant for participant in self.participants.values() if participant.sid == sid), None)

    # --- data tracks --------------------------------------------------------------------------------------------------

    def _on_track_published(self, track: RemoteTrack) -> None:
        remote = self._tracks[track] = RemoteDataTrack(track)
        self.participants[track.publisher_identity].data_tracks._add(remote)
        self._emit(ev.DataTrackPublished(remote))

    def _on_track_unpublished(self, track: RemoteTrack) -> None:
        remote = self._tracks.pop(track)
        publisher = self.participants.get(track.publisher_identity)
        if publisher is not None:
            publisher.data_tracks._remove(remote)
        self._emit(ev.DataTrackUnpublished(remote))

    def _on_subscription_permission(self, track_sid: str, allowed: bool) -> None:
        """A server says so before each first subscription too: what counts is what changes."""
        track = next((track for track in self._tracks.values() if track.sid == track_sid), None)
        if track is not None and track.is_allowed != allowed:
            track._allowed = allowed
            self._emit(ev.SubscriptionPermissionChanged(track, allowed))

    # --- the room, and what is said in it -----------------------------------------------------------------------------

    def _on_room_update(self, room: m.RoomInfo) -> None:
        old, self.info = self.info, room
        if room.metadata != old.metadata:
            self._emit(ev.RoomMetadataChanged(old.metadata, room.metadata))
        if room.active_recording != old.active_recording:
            self._emit(ev.RecordingStatusChanged(room.active_recording))
        if room != replace(old, metadata=room.metadata):
            self._emit(ev.RoomInfoChanged(room))
        if room.sid != old.sid:
            self._changed.unpark_all()

    def _on_packet(self, packet: p.DataPacket) -> None:
        """One of the kinds of packet that come as events."""
        identity = packet.participant_identity
        sender = self.participants.get(identity)
        match packet.value:
            case p.ChatMessage() as message:
                self._emit(ev.ChatMessageReceived(message, identity, sender))
            case p.SipDtmf(code, digit):
                self._emit(ev.DtmfReceived(code, digit, identity, sender))
            case p.Transcription() as transcription:
                self._emit(ev.TranscriptionReceived(transcription, identity, sender))

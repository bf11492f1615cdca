"""All of a room that outlives its connections: what it can do, and who is in it.

The features share no tasks and no locks. Signalling messages and packets come in on the step of whoever reads them, and
are routed, synchronously, to the feature that owns them; and so is what becomes of the connection. What the room looks
like is told upwards through one ``listener``, a synchronous function as well.
"""

from __future__ import annotations

__all__ = ["Features", "SessionEvent"]

import math
from typing import TYPE_CHECKING

import trio

from .._sansio.encryption.complaints import Complaint
from .._sansio.packets import messages as p
from .._sansio.signal import messages as m
from .._sansio.signal.roster import Changed, Joined, Left, Roster, SelfChanged
from .ending import end_of_room
from .inquiries import Inquiries
from .labels import DATA_TRACK, RELIABLE
from .packet_events import ContinuityLost
from .packet_sealing import PacketSealing
from .packets import Packets
from .publishing import Publishing
from .reconnect import Interrupted, Lost, Regained
from .rpc import Rpc
from .schemas import Schemas
from .sealing import Sealing
from .streams import Streams
from .subscribing import Subscribing, TrackPublished, TrackReassigned, TrackUnpublished
from .updating import Updating
from .user_packets import UserPackets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._sansio.signal.roster import RosterEvent
    from ..errors import RoomDisconnected
    from .links import Links
    from .sealing import EncryptionOptions
    from .upstream import Upstream

SessionEvent = (
    Interrupted
    | Regained
    | Lost
    | Joined
    | Left
    | Changed
    | SelfChanged
    | TrackPublished
    | TrackReassigned
    | TrackUnpublished
    | ContinuityLost
    | p.DataPacket
    | m.RoomUpdate
    | m.SpeakersChanged
    | m.ConnectionQualityUpdate
    | m.SubscriptionPermissionUpdate
    | m.RefreshToken
    | m.RoomMoved
    | Complaint
)
"""What the listener is told."""


class Features:
    """The features of a room.

    Attributes:
        roster: who is in the room, once it is joined.
        room: what the server said of the room last.
        server: what it said of itself when the room was joined.
    """

    roster: Roster

    def __init__(
        self,
        background: trio.Nursery,
        links: Links,
        upstream: Upstream,
        encryption: EncryptionOptions | None,
        listener: Callable[[SessionEvent], None],
    ) -> None:
        self._listener = listener
        self._has_joined = False
        self._sleep = trio.CancelScope()
        self._full = trio.lowlevel.ParkingLot()  # those who wait for room to send a request
        self.room = m.RoomInfo()
        self.server = m.ServerInfo()
        self.sealing = None if encryption is None else Sealing(encryption, background, listener)
        self.publishing = Publishing(upstream, links, self._reschedule, self.sealing)
        self.subscribing = Subscribing(upstream, listener, self._reschedule, self.sealing)
        self.packets = Packets(links, self._reschedule, listener)
        if self.sealing is not None:
            self.packets.sealer = PacketSealing(self.sealing, self.packets.incoming.on_opened)
        self.inquiries = Inquiries(upstream)
        self.updating = Updating(upstream, self.inquiries, self.publishing.published)
        self.schemas = Schemas(self.inquiries, background, lambda: self.roster.local.identity)
        self.user_packets = UserPackets(self.packets, self._reschedule)
        self.streams = Streams(self.packets, lambda: self.roster, background.start_soon, self._reschedule)
        self.rpc = Rpc(background, self.packets, self.streams, lambda: self.roster, lambda: self.server.version)
        self.packets.incoming.route((p.ChatMessage, p.SipDtmf, p.Transcription), self._on_small_packet)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def on_message(self, label: str, data: bytes) -> None:
        """A message of one of the three channels."""
        if label == DATA_TRACK:
            self.subscribing.on_packet(data)
        else:
            self.packets.incoming.on_message(label, data)

    def _on_small_packet(self, packet: p.DataPacket, _size: int) -> bool:
        self._listener(packet)
        return True

    def on_progress(self, label: str) -> None:
        """There may be room for more on a channel."""
        if label == RELIABLE:  # and the lossy one
            self.packets.on_progress()
        else:
            self.publishing.on_progress()

    def on_join(self, join: m.Join) -> None:
        """A session begins: who is here, of whom some may have been there in the session before."""
        self.server = join.server
        self.packets.incoming.own_identity = join.participant.identity
        if self.sealing is not None:
            self.sealing.on_joined(join.participant.identity)
        self._on_room(m.RoomUpdate(join.room))
        self._on_roster(self.roster.replace(join.participant, join.other_participants))
        self._has_joined = True

    def on_response(self, response: m.Response) -> None:
        """A message of the server's, on the signal connection."""
        match response:
            case m.ParticipantUpdate(participants):
                self._on_roster(self.roster.apply(participants))
            case m.SubscriberHandles(handles):
                self.subscribing.on_handles(handles)
            case m.DataTrackPublished(info):
                self.publishing.on_response(response)
                self.updating.on_track_published(info.name)
            case m.DataTrackUnpublished():
                self.publishing.on_response(response)
            case m.RequestResponse():
                self.publishing.on_response(response)
                self.inquiries.on_answer(response)
            case m.DataBlobStored() | m.DataBlobFetched():
                self.inquiries.on_answer(response)
            case m.RoomUpdate():
                self._on_room(response)
            case m.Reconnected(last_message_seq=sequence):
                self.packets.on_resumed(sequence)
            case m.RoomMoved():
                self._on_moved(response)
            case (
                m.RefreshToken() | m.SpeakersChanged() | m.ConnectionQualityUpdate() | m.SubscriptionPermissionUpdate()
            ):
                self._listener(response)

    def _on_moved(self, moved: m.RoomMoved) -> None:
        """The server took us to another room, with the connections as they are. Nobody came along."""
        self._on_roster(self.roster.replace(moved.participant, ()))
        self.room = moved.room
        self._listener(moved)
        self._on_roster(self.roster.apply(moved.other_participants))

    def _on_room(self, update: m.RoomUpdate) -> None:
        self._listener(update)
        self.room = update.room

    def _on_roster(self, events: list[RosterEvent]) -> None:
        back = {event.info.identity for event in events if isinstance(event, Joined)}
        for event in events:
            match event:
                case Joined(info):
                    self._listener(event)
                    self.subscribing.on_participant(info)
                    self.packets.on_participant(info, is_new=self._has_joined)
                    self.rpc.calling.on_joined(info.identity)
                case Left(info):
                    if self.sealing is not None:
                        self.sealing.on_participant_left(info.identity)
                    if info.identity not in back:  # else its next list says which of its tracks go on
                        self.subscribing.on_participant_left(info)
                    self.packets.on_participant_left(info)
                    self.rpc.calling.on_left(info.identity)
                    self._listener(event)
                case Changed(_, new):
                    self._listener(event)
                    self.subscribing.on_participant(new)
                case SelfChanged(_, new):
                    self._listener(event)
                    self.publishing.on_own_tracks(new.data_tracks)
                    self.subscribing.on_own_tracks(new.data_tracks)
                    self.packets.on_permission(new.permission)
                    self._on_own_permission(new.permission)

    def _on_own_permission(self, permission: m.Permission | None) -> None:
        self.subscribing.is_allowed = permission is None or permission.can_subscribe

    # --- what goes out ------------------------------------------------------------------------------------------------

    def on_room(self) -> None:
        """Requests that had to wait may be sent."""
        self.updating.on_room()
        self.inquiries.on_room()
        self.publishing.on_room()
        self.subscribing.on_room()
        self._full.unpark_all()

    async def wait_room(self) -> None:
        """Wait until there is room for requests, or no signalling to have any."""
        await self._full.park()

    # --- what becomes of the connection -------------------------------------------------------------------------------

    def on_present(self, participants: Sequence[m.ParticipantInfo]) -> None:
        """Who is in the room, all of them, as a server tells where a session is resumed."""
        self._on_roster(self.roster.retain({info.sid for info in participants}) + self.roster.apply(participants))

    def on_signal_lost(self) -> None:
        """Until further notice, requests are not heard."""
        self.publishing.on_signal_lost()
        self.subscribing.on_signal_lost()
        self.updating.on_signal_lost()
        self.inquiries.on_signal_lost()
        self._full.unpark_all()

    def on_resumed(self, own: m.ParticipantInfo) -> None:
        """The same session goes on over another signal connection; ``own`` is this client, as the server has it."""
        self.updating.on_connected()
        self.inquiries.on_connected()
        self.publishing.on_resumed(own.data_tracks)
        self.subscribing.on_resumed()

    def on_links_lost(self) -> None:
        """Nothing can be sent, and the session is lost."""
        self.publishing.on_links_lost()
        self.packets.on_links_lost()
        self.rpc.calling.on_links_lost()

    def on_session_lost(self) -> None:
        """Another session is to take the place of the one there was."""
        self.publishing.on_session_lost()
        self.subscribing.on_session_lost()
        self.packets.on_session_lost()
        self.rpc.calling.on_session_lost()

    def on_connected(self, links: Links) -> None:
        """The new session can be sent on."""
        self.updating.on_connected()  # before there is anything to subscribe to
        self.inquiries.on_connected()
        self.schemas.on_new_session()
        self.publishing.on_connected(links)
        self.subscribing.on_connected()
        self.packets.on_connected(links)
        self.rpc.calling.on_connected()

    def close(self, end: RoomDisconnected | None) -> None:
        """The room is over: ``end`` says how, ``None`` that we left. Calls are ended before, by ``rpc.close``."""
        self.publishing.close()
        self.subscribing.close(end)
        self.packets.close(end)
        self.user_packets.on_over(end)
        self.inquiries.close(end_of_room(end))
        self._full.unpark_all()

    # --- time ---------------------------------------------------------------------------------------------------------

    async def keep_time(self) -> None:
        """The one timer of the session's features."""
        while True:
            now = trio.current_time()
            self.publishing.handle_timeout(now)
            self.subscribing.handle_timeout(now)
            self.packets.handle_timeout(now)
            self.streams.handle_timeout(now)
            self.user_packets.handle_timeout(now)
            with trio.CancelScope(deadline=self._next_timeout()) as self._sleep:
                await trio.sleep_forever()

    def _next_timeout(self) -> float:
        features = (self.publishing, self.subscribing, self.packets, self.streams, self.user_packets)
        deadlines = (feature.next_timeout() for feature in features)
        return min((deadline for deadline in deadlines if deadline is not None), default=math.inf)

    def _reschedule(self, deadline: float | None) -> None:
        """One of the features has something to do by then."""
        if deadline is not None and deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

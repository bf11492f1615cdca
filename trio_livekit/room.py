"""``connect`` and ``Room``: what one ``async with`` gives you."""

from __future__ import annotations

__all__ = ["ConnectionState", "Paths", "Room", "RoomEvents", "SimulateScenario", "connect"]

import enum
import os
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, overload
from uuid import uuid4

import trio

from . import events as ev
from ._sansio.encryption.complaints import Complaint
from ._sansio.packets import messages as p
from ._sansio.packets.filters import NONCE_BYTES
from ._sansio.rpc.faults import MAX_METHOD_BYTES
from ._sansio.signal import messages as m
from ._sansio.signal.roster import Changed, Joined, Left, SelfChanged
from ._sansio.tracks.schema import check_schema
from ._session.mailbox import Mailbox
from ._session.packet_events import ContinuityLost, PacketStatistics
from ._session.parameters import Profile
from ._session.paths import Paths
from ._session.reconnect import Interrupted, ReconnectPolicy, Regained
from ._session.session import SessionOptions, open_session
from ._session.subscribing import TrackPublished, TrackReassigned, TrackUnpublished
from ._session.user_packets import PacketReader
from .data_tracks import LocalDataTrack, RemoteDataTrack, now_ms
from .errors import RoomDisconnected
from .messages import DTMF_CODES, DataPacket, DataPackets, OnFullReconnect, Receipt
from .participants import LocalParticipant, RemoteParticipant
from .streams import DEFAULT_RECIPIENTS_WITHIN_S, StreamingRoom

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping, Sequence

    from ._sansio.encryption.complaints import DecryptionFailureReason
    from ._sansio.signal.messages import DataTrackSchema, FrameEncoding
    from ._session.credentials import TokenSource
    from ._session.packets import Packets
    from ._session.session import Session, SessionEvent
    from ._session.stats import RoomStats
    from .encryption import Encryption
    from .errors import LiveKitError
    from .rpc import RpcHandler

DEFAULT_EVENT_BUFFER = 256
DEFAULT_PACKET_BUFFER = 256
DEFAULT_CONCURRENT_CALLS = 64
DEFAULT_RECONNECT_POLICY = ReconnectPolicy()


class ConnectionState(enum.Enum):
    """How a room stands: ``CONNECTED`` and ``RECONNECTING`` alternate, and ``DISCONNECTED`` is the end."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"


class SimulateScenario(enum.Enum):
    """A fault to be acted out; see ``Room.simulate``. The first two are acted out here, the rest by the server."""

    SIGNAL_RECONNECT = "signal_reconnect"  # the signal connection is lost
    FULL_RECONNECT = "full_reconnect"  # the session is given up for another one
    NODE_FAILURE = "node_failure"  # the server forgets the session, without a word
    MIGRATION = "migration"  # the same, and expects the client elsewhere
    SERVER_LEAVE = "server_leave"  # the server sends the client away: the room is lost for good
    SPEAKER_UPDATE = "speaker_update"  # value: seconds for which this participant is said to speak
    SWITCH_CANDIDATE_PROTOCOL = "switch_candidate_protocol"  # value: 0 UDP, 1 TCP, 2 TLS
    SUBSCRIBER_BANDWIDTH = "subscriber_bandwidth"  # value: bits per second, for media alone
    DISCONNECT_SIGNAL_ON_RESUME = "disconnect_signal_on_resume"  # the next resumed signal connection is lost again
    DISCONNECT_SIGNAL_ON_RESUME_NO_MESSAGES = "disconnect_signal_on_resume_no_messages"  # the next ones, unanswered
    LEAVE_REQUEST_FULL_RECONNECT = "leave_request_full_reconnect"  # of the embedded server; LiveKit's ignores it


@asynccontextmanager
async def connect(
    url: str,
    token: str | TokenSource,
    *,
    join_timeout: float = 15.0,
    auto_subscribe: bool = True,
    metadata: str = "",
    attributes: Mapping[str, str] | None = None,
    paths: Paths = Paths.ANY,
    reconnect: ReconnectPolicy | None = DEFAULT_RECONNECT_POLICY,
    ssl_context: ssl.SSLContext | None = None,
    encryption: Encryption | None = None,
) -> AsyncIterator[Room]:
    """Join the room that ``token`` names, for as long as the block lasts.

    The block is entered when data can flow both ways. Leaving it, for whatever reason, leaves the room. A connection
    that is lost is taken up again under the block, with everything that is published and subscribed in it. Losing the
    room for good cancels the block, and comes out as ``RoomDisconnected``.

    Args:
        url: the server, ``wss://host[:port]`` (also ``ws``, ``https``, ``http``).
        token: an access token, from ``access_token`` or your backend; or an async function without arguments that
            gets one. It is called again when the server does not accept the last one any more: servers renew the
            tokens of those who are connected, but not of those who were away for too long.
        join_timeout: seconds that joining may take; a ``trio.fail_after`` around the block would bound the whole visit.
        paths: which ways to the server may be used: any, TCP and relays, or relays alone.
        reconnect: for how long, and at which pace, a lost connection is taken up again; ``None`` for not at all.
        metadata: the participant's metadata from the start, instead of the token's; needs can_update_own_metadata.
        attributes: attributes from the start, added to the token's; they need that grant as well.
        auto_subscribe: whether the server sends the media tracks of others; data tracks are always subscribed by hand.
        ssl_context: for ``wss``, instead of the system's.
        encryption: the keys, for a room with end-to-end encryption.

    Raises:
        ConnectError: the room could not be joined; its ``reason`` says why.
        RoomDisconnected: the room was lost for good inside the block; its ``reason`` says why.
    """
    room = Room()
    profile = Profile(metadata, dict(attributes or {}))
    if encryption is not None:
        await encryption._prepare()
    sealing = None if encryption is None else encryption._options
    options = SessionOptions(join_timeout, auto_subscribe, reconnect, ssl_context, profile, sealing, paths)
    async with open_session(url, token, options=options, listener=room._on_session_event) as session:
        room._enter(session)
        try:
            yield room
        finally:
            room._leave(session.end)


class RoomEvents(trio.abc.ReceiveChannel[ev.RoomEvent]):
    """The events of a room since this was opened, in order. Comes from ``room.events()``."""

    def __init__(self, buffer_size: int) -> None:
        self._mailbox: Mailbox[ev.RoomEvent] = Mailbox(buffer_size)
        self._reported = 0

    async def receive(self) -> ev.RoomEvent:
        """The next event. When the buffer overflowed, ``EventsMissed`` comes first.

        Raises ``trio.EndOfChannel`` when the room was left, ``RoomDisconnected`` when it was lost, and
        ``trio.ClosedResourceError`` after ``aclose``.
        """
        if self._mailbox.displaced > self._reported:
            await trio.lowlevel.checkpoint()
            missed, self._reported = self._mailbox.displaced - self._reported, self._mailbox.displaced
            return ev.EventsMissed(missed)
        return await self._mailbox.get()

    async def aclose(self) -> None:
        """Stop listening before the block ends."""
        self._reported = self._mailbox.displaced
        self._mailbox.close()
        await trio.lowlevel.checkpoint()


class Room(StreamingRoom):
    """A room that this client is in. Comes from ``connect``.

    Attributes:
        local_participant: this client.
    """

    local_participant: LocalParticipant

    def __init__(self) -> None:
        self._session: Session
        self._info = m.RoomInfo()
        self._participants: dict[str, RemoteParticipant] = {}
        self._tracks: dict[object, RemoteDataTrack] = {}
        self._speakers: dict[str, float] = {}
        self._readers: set[RoomEvents] = set()
        self._changed = trio.Event()
        self._entered = False
        self._state = ConnectionState.CONNECTED
        self._over: Exception | None = None

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """How the room stands right now."""
        return self._state

    async def wait_connected(self) -> None:
        """Wait until the room is connected, which it may be already.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost.
        """
        await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if self._state is ConnectionState.CONNECTED:
                return
            await self._changed.wait()

    @property
    def name(self) -> str:
        """The room's name, from the token."""
        return self._info.name

    @property
    def sid(self) -> str:
        """The server's name for the room; may stay empty for a moment after joining, see ``wait_sid``."""
        return self._info.sid

    async def wait_sid(self) -> str:
        """The server's name for the room, as soon as it has one.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost.
        """
        await trio.lowlevel.checkpoint()
        while not self._info.sid:
            self._check_open()
            await self._changed.wait()
        return self._info.sid

    @property
    def metadata(self) -> str:
        """The room's metadata."""
        return self._info.metadata

    @property
    def info(self) -> m.RoomInfo:
        """All that the server said of the room, as a snapshot."""
        return self._info

    @property
    def num_participants(self) -> int:
        """How many are in the room, this client included, by the server's count: it lags by some seconds."""
        return self._info.num_participants

    @property
    def num_publishers(self) -> int:
        """How many of them publish something."""
        return self._info.num_publishers

    @property
    def is_recording(self) -> bool:
        """Whether the room is being recorded."""
        return self._info.active_recording

    @property
    def created_at(self) -> float:
        """When the room was made, in seconds since the Unix epoch, by the server's clock."""
        return self._info.creation_time_ms / 1000

    @property
    def disconnect_reason(self) -> m.DisconnectReason | None:
        """Why the room was lost; ``None`` while it is not, and when it was left."""
        reason = self._over.reason if isinstance(self._over, RoomDisconnected) else None
        return reason if isinstance(reason, m.DisconnectReason) else None

    @property
    def server_version(self) -> str:
        """The version the server gave when the room was joined."""
        return self._session.server.version

    @property
    def server_info(self) -> m.ServerInfo:
        """What the server said of itself when the room was joined: version, region, node."""
        return self._session.server

    @property
    def participants(self) -> Mapping[str, RemoteParticipant]:
        """The other participants, by identity: a live, read-only view."""
        return MappingProxyType(self._participants)

    @property
    def active_speakers(self) -> tuple[tuple[str, float], ...]:
        """Who speaks, loudest first: identity and level, 0 to 1."""
        return tuple(sorted(self._speakers.items(), key=lambda speaker: -speaker[1]))

    async def wait_for_participant(self, identity: str, *, active: bool = False) -> RemoteParticipant:
        """The participant with this identity, as soon as it is there; bound the wait with a cancel scope.

        With ``active`` it also has its peer connection up, so that what is sent to it arrives. A server tells of a
        participant that publishes nothing up to 3 seconds after it joined.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost.
        """
        await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            participant = self._participants.get(identity)
            if participant is not None and (participant.is_active or not active):
                return participant
            await self._changed.wait()

    @asynccontextmanager
    async def events(self, *, buffer_size: int = DEFAULT_EVENT_BUFFER) -> AsyncIterator[RoomEvents]:
        """Listen to what happens, from now until the block ends.

        Every listener has a buffer of ``buffer_size`` events of its own; when it overflows, the oldest are dropped and
        an ``EventsMissed`` says how many.
        """
        if buffer_size < 1:
            raise ValueError("buffer_size is a number of events, at least 1")
        self._check_open()
        await trio.lowlevel.checkpoint()
        reader = RoomEvents(buffer_size)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            reader._mailbox.close()

    # --- data tracks --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def publish_data_track(
        self,
        name: str,
        *,
        frame_encoding: FrameEncoding | str | None = None,
        schema: DataTrackSchema | None = None,
    ) -> AsyncIterator[LocalDataTrack]:
        """Publish a data track for as long as the block lasts.

        ``name`` is 1 to 256 bytes of UTF-8, unique among this participant's tracks. Leaving the block normally first
        sends what was accepted; leaving it by an exception or by cancellation drops that. Either way it unpublishes.
        ``frame_encoding`` and ``schema`` tell subscribers how to read the frames; an encoding that is not among the
        well-known ones is a name of 1 to 32 bytes.

        Raises ``PublishError``: the two do not go together, or the server refused, with its reason; or, from inside the
        block, it ended the track.
        """
        self._check_open()
        check_schema(frame_encoding, schema)
        async with self._session.publishing.publish(name, frame_encoding, schema) as publication:
            yield LocalDataTrack(publication)

    # --- data packets -------------------------------------------------------------------------------------------------

    @overload
    async def publish_data(
        self,
        payload: bytes | bytearray | memoryview | str,
        *,
        reliable: Literal[True] = True,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
        on_full_reconnect: OnFullReconnect = "resend",
    ) -> Receipt: ...

    @overload
    async def publish_data(
        self,
        payload: bytes | bytearray | memoryview | str,
        *,
        reliable: bool,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
        on_full_reconnect: OnFullReconnect = "resend",
    ) -> Receipt | None: ...

    async def publish_data(
        self,
        payload: bytes | bytearray | memoryview | str,
        *,
        reliable: bool = True,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
        on_full_reconnect: OnFullReconnect = "resend",
    ) -> Receipt | None:
        """Send a data packet to those named, or to everyone else in the room.

        A reliable packet waits while the network does not take it, or while the room is reconnecting, and leaves in
        the order of the calls; the receipt says what becomes of it. A lossy one never waits: what cannot leave at once
        is dropped 0.3 s later, and there is no receipt. A call that is cancelled has sent nothing.

        Args:
            payload: up to about 63,900 bytes; text is sent as UTF-8.
            reliable: whether it is to arrive, or to be fresh.
            topic: what the packet is about, for readers to choose by.
            destination_identities: for whom it is; nobody named is everybody.
            recipients_within: seconds to wait for those named in a reliable packet who are not in the room, for the
                server tells of some 3 seconds after they joined; ``None`` to send to whoever of them is there, and to
                hidden participants.
            on_full_reconnect: what becomes of a packet that the server may or may not have when the connection is lost
                and another session takes its place: ``"resend"`` it there, once those it was for are back or after 5
                seconds, or have the receipt ``"fail"``. A repeat is known by its nonce: servers drop it while they have
                not seen a hundred others in the room, and clients of this package for a minute.

        Raises:
            PublishDataError: nothing was sent; its ``reason`` says why. ``PayloadTooLarge`` and ``RecipientNotFound``
                are kinds of it.
            MissingKey: nothing was sent, as the room has end-to-end encryption and there is no key to encrypt with.
        """
        if isinstance(destination_identities, (str, bytes)):
            raise TypeError("destination_identities is a sequence of identities, not a single one")
        packets = self._packets()
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        if not reliable:
            packets.send_lossy(p.UserPacket(data, topic), destination_identities)
            await trio.lowlevel.checkpoint()
            return None
        if destination_identities and recipients_within is not None:
            await packets.wait_present(destination_identities, recipients_within)
        return await packets.send_reliable(
            p.UserPacket(data, topic, os.urandom(NONCE_BYTES)),
            destination_identities,
            on_full_reconnect=on_full_reconnect,
        )

    @asynccontextmanager
    async def data_packets(
        self,
        topic: str | None = None,
        *,
        sender_identity: str | None = None,
        buffer_size: int = DEFAULT_PACKET_BUFFER,
    ) -> AsyncIterator[DataPackets]:
        """Read the data packets of others, from now until the block ends; within a second of joining, from the join on.

        ``topic`` and ``sender_identity`` choose which. Of lossy packets that wait to be read the newest ``buffer_size``
        are kept, and the others counted. Reliable ones are all kept: when some 4 MB wait, in all scopes together, the
        server is held up, and with it everything else that it sends here. So read them, or leave the block.
        """
        if buffer_size < 1:
            raise ValueError("buffer_size is a number of packets, at least 1")
        self._check_open()
        user_packets = self._session.user_packets

        def wants(packet: p.DataPacket) -> bool:
            value = packet.value
            assert isinstance(value, p.UserPacket)
            return (topic is None or value.topic == topic) and sender_identity in (None, packet.participant_identity)

        reader = PacketReader(buffer_size, wants, self._data_packet)
        user_packets.open(reader)
        try:
            await trio.lowlevel.checkpoint()
            yield DataPackets(reader)
        finally:
            user_packets.close(reader)

    async def publish_dtmf(self, code: int, digit: str, destination_identities: Sequence[str] = ()) -> Receipt:
        """Press a key of a telephone, for a participant that is one: 0 to 9 are themselves, 10 to 15 are ``*#ABCD``.

        Waits and raises as ``publish_data`` does, and ``ValueError`` where code and digit are no key.
        """
        if DTMF_CODES.get(digit) != code:
            raise ValueError(f"no key has the code {code} and the digit {digit!r}")
        return await self._packets().send_reliable(p.SipDtmf(code, digit), destination_identities)

    async def publish_transcription(self, transcription: p.Transcription) -> Receipt:
        """Send speech as text to everyone else. A server passes it on where this participant is an agent."""
        return await self._packets().send_reliable(transcription)

    async def send_chat_message(self, text: str, destination_identities: Sequence[str] = ()) -> p.ChatMessage:
        """Say something in the chat. Returns it as the others get it; waits and raises as ``publish_data`` does."""
        message = p.ChatMessage(str(uuid4()), now_ms(), text)
        await self._packets().send_reliable(message, destination_identities, on_full_reconnect="resend")
        return message

    async def edit_chat_message(
        self, original: p.ChatMessage, text: str, destination_identities: Sequence[str] = ()
    ) -> p.ChatMessage:
        """Say it differently. Returns the edited message; waits and raises as ``publish_data`` does."""
        message = replace(original, message=text, edit_timestamp=now_ms())
        await self._packets().send_reliable(message, destination_identities, on_full_reconnect="resend")
        return message

    def packet_statistics(self) -> PacketStatistics:
        """A snapshot: data packets of every kind that were sent, received, repeated and dropped."""
        return self._session.packets.statistics()

    def _packets(self) -> Packets:
        self._check_open()
        return self._session.packets

    def _data_packet(self, packet: p.DataPacket, is_reliable: bool) -> DataPacket:
        value, identity = packet.value, packet.participant_identity
        assert isinstance(value, p.UserPacket)
        sender = self._participants.get(identity)
        return DataPacket(value.payload, value.topic, identity, sender, is_reliable, packet.is_encrypted)

    def _on_packet(self, packet: p.DataPacket) -> None:
        """One of the kinds of packet that come as events."""
        identity = packet.participant_identity
        sender = self._participants.get(identity)
        match packet.value:
            case p.ChatMessage() as message:
                self._emit(ev.ChatMessageReceived(message, identity, sender))
            case p.SipDtmf(code, digit):
                self._emit(ev.DtmfReceived(code, digit, identity, sender))
            case p.Transcription() as transcription:
                self._emit(ev.TranscriptionReceived(transcription, identity, sender))

    # --- looking ------------------------------------------------------------------------------------------------------

    def stats(self) -> RoomStats:
        """A snapshot of everything that is counted: connections, channels, tracks, what was dropped and why.

        It costs nothing until it is asked for. A room that was left or lost shows how it ended.
        """
        return self._session.stats()

    # --- for tests ----------------------------------------------------------------------------------------------------

    async def simulate(self, scenario: SimulateScenario, value: int = 1) -> None:
        """Have a fault acted out on this connection, to see what an application makes of it; any client may.

        Returns when it has been asked for. Raises what ``wait_connected`` raises: a room that is reconnecting has its
        fault already, and this waits for it to be over.
        """
        await self.wait_connected()
        match scenario:
            case SimulateScenario.SIGNAL_RECONNECT:
                self._session.drop_signal()
            case SimulateScenario.FULL_RECONNECT:
                self._session.drop_session()
            case _:
                self._session.simulate(scenario.value, value)

    # --- end-to-end encryption ----------------------------------------------------------------------------------------

    @property
    def decryption_failures(self) -> Mapping[DecryptionFailureReason, int]:
        """How much was dropped because it could not be decrypted, or was not encrypted, by reason."""
        sealing = self._session.sealing
        return {} if sealing is None else dict(sealing.failures)

    # --- remote procedure calls ---------------------------------------------------------------------------------------

    async def perform_rpc(
        self, *, destination_identity: str, method: str, payload: str, response_timeout: float = 15.0
    ) -> str:
        """Call a method that another participant serves, and return its result.

        ``response_timeout`` is in seconds, for everything together. The method runs once at most. A request that may
        have left is not sent again; one that has not waits for a connection, if there is none. A call goes on while
        the session is resumed. If the session is replaced by another, or the recipient leaves, it fails at once.

        Cancelling it gives the call up here; the other side is not told, and goes on.

        Raises:
            RpcError: the call failed. Its ``code`` says how, and ``executed`` whether the method may have run.
            RoomDisconnected: the room was lost. ``trio.ClosedResourceError``: it was left.
        """
        _check_method(method)
        if not isinstance(payload, str):
            raise TypeError(f"a payload is a str, not {type(payload).__name__}")
        if not response_timeout > 0:
            raise ValueError("response_timeout is a number of seconds, more than 0")
        return await self._session.rpc.perform(destination_identity, method, payload, response_timeout)

    @asynccontextmanager
    async def register_rpc_method(
        self, method: str, handler: RpcHandler, *, max_concurrent_calls: int = DEFAULT_CONCURRENT_CALLS
    ) -> AsyncIterator[None]:
        """Serve a method for as long as the block lasts: each call of it runs ``handler(invocation)``.

        Handlers run at the same time, each in a task of the room's, ``max_concurrent_calls`` of this method at most;
        a call more is refused. What a handler returns goes to the caller, and so does an ``RpcError`` that it raises.
        Any other exception is logged here, and the caller learns only that there was one: it never gets out of the
        room. A handler has no deadline unless it makes one of ``invocation.response_timeout``.

        Leaving the block cancels the handlers that are running, whose callers are told, and waits for them to end. If
        the room is lost or left first, they are cancelled as well, and the block ends with ``RoomDisconnected`` or
        ``trio.ClosedResourceError``.

        Raises ``ValueError``: the name is not 1 to 64 bytes of UTF-8, or served already.
        """
        _check_method(method)
        if max_concurrent_calls < 1:
            raise ValueError("max_concurrent_calls is a number of calls, at least 1")
        self._check_open()
        async with self._session.rpc.serving.register(method, handler, max_concurrent_calls):
            yield

    # --- what the session tells ---------------------------------------------------------------------------------------

    def _enter(self, session: Session) -> None:
        self._session = session
        self._info = session.room
        self.local_participant = LocalParticipant(session.roster.local, session.updating)
        self._entered = True

    def _leave(self, lost: LiveKitError | None) -> None:
        self._over = lost or trio.ClosedResourceError("the room was left")
        self._state = ConnectionState.DISCONNECTED
        for reader in self._readers:
            reader._mailbox.end(lost)
        for participant in self._participants.values():
            participant.data_tracks._finish(self._over)
        self._notify()

    def _check_open(self) -> None:
        if self._over is not None:
            raise copy(self._over)

    def _on_session_event(self, event: SessionEvent) -> None:
        match event:
            case Interrupted():
                self._state = ConnectionState.RECONNECTING
                self._emit(ev.Reconnecting())
            case Regained(resumed):
                self._state = ConnectionState.CONNECTED
                self._emit(ev.Reconnected(resumed))
                self._notify()
            case Joined(info):
                participant = self._participants[info.identity] = RemoteParticipant(info)
                self._emit(ev.ParticipantConnected(participant))
                self._notify()
            case Left(info, reason):
                gone = self._participants.pop(info.identity)
                gone.data_tracks._finish()
                self._emit(ev.ParticipantDisconnected(gone, reason))
                if self._speakers.pop(info.identity, None) is not None:
                    self._emit(ev.ActiveSpeakersChanged(self.active_speakers))
            case Changed(old, new):
                participant = self._participants[new.identity]
                participant._info = new
                if new.state == m.ParticipantState.ACTIVE != old.state:
                    self._emit(ev.ParticipantActive(participant))
                    self._notify()
                self._emit_changes(participant, old, new)
            case SelfChanged(old, new):
                if self._entered:
                    self.local_participant._info = new
                    self._emit_changes(self.local_participant, old, new)
            case TrackPublished(track):
                remote = self._tracks[track] = RemoteDataTrack(track)
                self._participants[track.publisher_identity].data_tracks._add(remote)
                self._emit(ev.DataTrackPublished(remote))
            case TrackReassigned(track):  # its publisher came back as another participant of the same identity
                self._participants[track.publisher_identity].data_tracks._add(self._tracks[track])
            case TrackUnpublished(track):
                remote = self._tracks.pop(track)
                publisher = self._participants.get(track.publisher_identity)
                if publisher is not None:
                    publisher.data_tracks._remove(remote)
                self._emit(ev.DataTrackUnpublished(remote))
            case p.DataPacket():
                self._on_packet(event)
            case ContinuityLost(identity, missed):
                self._emit(ev.ContinuityLost(identity, self._participants.get(identity), missed))
            case Complaint(identity, reason, count):
                self._emit(ev.DecryptionFailed(identity, self._participants.get(identity), reason, count))
            case m.RoomUpdate(room):
                self._on_room_update(room)
            case m.RoomMoved(room):
                old_name = self.name
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

    def _on_room_update(self, room: m.RoomInfo) -> None:
        old, self._info = self._info, room
        if room.metadata != old.metadata:
            self._emit(ev.RoomMetadataChanged(old.metadata, room.metadata))
        if room.active_recording != old.active_recording:
            self._emit(ev.RecordingStatusChanged(room.active_recording))
        if room != replace(old, metadata=room.metadata):
            self._emit(ev.RoomInfoChanged(room))
        if room.sid != old.sid:
            self._notify()

    def _on_subscription_permission(self, track_sid: str, allowed: bool) -> None:
        """A server says so before each first subscription too: what counts is what changes."""
        track = next((track for track in self._tracks.values() if track.sid == track_sid), None)
        if track is not None and track.is_allowed != allowed:
            track._allowed = allowed
            self._emit(ev.SubscriptionPermissionChanged(track, allowed))

    def _on_speakers(self, speakers: tuple[m.Speaker, ...]) -> None:
        """The message names only who changed."""
        for speaker in speakers:
            participant = self._by_sid(speaker.sid)
            if participant is None:
                continue
            if speaker.active:
                self._speakers[participant.identity] = speaker.level
            else:
                self._speakers.pop(participant.identity, None)
        self._emit(ev.ActiveSpeakersChanged(self.active_speakers))

    def _on_quality(self, updates: tuple[tuple[str, m.ConnectionQuality], ...]) -> None:
        for sid, quality in updates:
            participant = self._by_sid(sid)
            if participant is not None and participant.connection_quality != quality:
                participant._quality = quality
                self._emit(ev.ConnectionQualityChanged(participant, quality))

    def _by_sid(self, sid: str) -> LocalParticipant | RemoteParticipant | None:
        if self._entered and sid == self.local_participant.sid:
            return self.local_participant
        return next((p for p in self._participants.values() if p.sid == sid), None)

    def _emit(self, event: ev.RoomEvent) -> None:
        for reader in self._readers:
            reader._mailbox.put(event)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _check_method(method: str) -> None:
    if not 0 < len(method.encode()) <= MAX_METHOD_BYTES:
        raise ValueError(f"the name of a method is 1 to {MAX_METHOD_BYTES} bytes of UTF-8")

"""``connect`` and ``Room``: what one ``async with`` gives you."""

from __future__ import annotations

__all__ = ["ConnectionState", "Paths", "Room", "RoomEvents", "SimulateScenario", "connect"]

import enum
import operator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import trio

from ._listeners import RoomEvents
from ._room_view import ConnectionState
from ._sansio.rpc.faults import MAX_METHOD_BYTES
from ._sansio.signal import messages as m
from ._sansio.tracks.schema import check_schema
from ._session.parameters import Profile
from ._session.paths import Paths
from ._session.reconnect import ReconnectPolicy
from ._session.session import SessionOptions, open_session
from .data_tracks import LocalDataTrack
from .errors import RoomDisconnected
from .messages import MessagingRoom
from .participants import LocalParticipant, check_attributes
from .streams import StreamingRoom

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from ._sansio.encryption.complaints import DecryptionFailureReason
    from ._sansio.signal.messages import DataTrackSchema, FrameEncoding
    from ._session.credentials import TokenSource
    from ._session.session import Session
    from ._session.stats import RoomStats
    from .encryption import Encryption
    from .errors import LiveKitError
    from .participants import RemoteParticipant
    from .rpc import RpcHandler

DEFAULT_EVENT_BUFFER = 256
DEFAULT_CONCURRENT_CALLS = 64
DEFAULT_RECONNECT_POLICY = ReconnectPolicy()


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
    max_signal_message_bytes: int = 1 << 20,
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
        max_signal_message_bytes: the longest signalling message that is accepted. All participants of a room come in
            one, with their metadata and attributes: rooms of thousands need more than the default, one mebibyte.

    Raises:
        ConnectError: the room could not be joined; its ``reason`` says why.
        RoomDisconnected: the room was lost for good inside the block; its ``reason`` says why.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError("trio_livekit runs under trio, as in trio.run(main); asyncio cannot run it")
    if not isinstance(reconnect, ReconnectPolicy | None):  # it would show when the connection is lost, and not before
        raise TypeError(f"reconnect is a ReconnectPolicy, or None for not at all, not {type(reconnect).__name__}")
    if not isinstance(paths, Paths):  # anything else would be taken for all of them
        raise TypeError(f"paths is one of Paths, such as Paths.RELAY, not {type(paths).__name__}")
    if operator.index(max_signal_message_bytes) < 1:
        raise ValueError("max_signal_message_bytes is a number of bytes, at least 1")
    room = Room()
    profile = _profile(metadata, attributes)
    if encryption is not None:
        await _prepare(encryption)
    sealing = None if encryption is None else encryption._options
    options = SessionOptions(
        join_timeout, auto_subscribe, reconnect, ssl_context, profile, sealing, paths, max_signal_message_bytes
    )
    async with open_session(url, token, options=options, listener=room._view.on_session_event) as session:
        room._enter(session)
        try:
            yield room
        finally:
            room._leave(session.end)


def _profile(metadata: str, attributes: Mapping[str, str] | None) -> Profile:
    """What is said from the start. Raises ``TypeError`` for what is no text."""
    if not isinstance(metadata, str):
        raise TypeError(f"metadata is text, not {type(metadata).__name__}")
    said = dict(attributes or {})
    check_attributes(said, removable=False)
    return Profile(metadata, said)


async def _prepare(encryption: Encryption) -> None:
    from .encryption import Encryption

    if not isinstance(encryption, Encryption):
        raise TypeError(f"encryption is an Encryption, which holds the keys, not {type(encryption).__name__}")
    await encryption._prepare()


class Room(StreamingRoom, MessagingRoom):
    """A room that this client is in. Comes from ``connect``.

    What it can do with data packets and with streams is in ``messages`` and ``streams``.

    Attributes:
        local_participant: this client.
    """

    # --- state --------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        others = len(self.participants)
        return f"<Room {self.name!r} as {self.local_participant.identity!r}, {self.state.value}, {others} others>"

    @property
    def state(self) -> ConnectionState:
        """How the room stands right now."""
        return self._view.state

    async def wait_connected(self) -> None:
        """Wait until the room is connected, which it may be already.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost.
        """
        await self._view.wait_until(lambda: self.state is ConnectionState.CONNECTED)

    @property
    def name(self) -> str:
        """The room's name, from the token."""
        return self._view.info.name

    @property
    def sid(self) -> str:
        """The server's name for the room; may stay empty for a moment after joining, see ``wait_sid``."""
        return self._view.info.sid

    async def wait_sid(self) -> str:
        """The server's name for the room, as soon as it has one.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost.
        """
        if self.sid:
            await trio.lowlevel.checkpoint()
        else:
            await self._view.wait_until(lambda: bool(self.sid))
        return self.sid

    @property
    def metadata(self) -> str:
        """The room's metadata."""
        return self._view.info.metadata

    @property
    def info(self) -> m.RoomInfo:
        """All that the server said of the room, as a snapshot."""
        return self._view.info

    @property
    def num_participants(self) -> int:
        """How many are in the room, this client included, by the server's count: it lags by some seconds."""
        return self._view.info.num_participants

    @property
    def num_publishers(self) -> int:
        """How many of them publish something."""
        return self._view.info.num_publishers

    @property
    def is_recording(self) -> bool:
        """Whether the room is being recorded."""
        return self._view.info.active_recording

    @property
    def created_at(self) -> float:
        """When the room was made, in seconds since the Unix epoch, by the server's clock."""
        return self._view.info.creation_time_ms / 1000

    @property
    def disconnect_reason(self) -> m.DisconnectReason | None:
        """Why the room was lost; ``None`` while it is not, and when it was left."""
        over = self._view.over
        reason = over.reason if isinstance(over, RoomDisconnected) else None
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
        return MappingProxyType(self._view.participants)

    @property
    def active_speakers(self) -> tuple[tuple[str, float], ...]:
        """Who speaks, loudest first: identity and level, 0 to 1."""
        return self._view.active_speakers

    async def wait_for_participant(self, identity: str, *, active: bool = False) -> RemoteParticipant:
        """The participant with this identity, as soon as it is there; bound the wait with a cancel scope.

        With ``active`` it also has its peer connection up, so that what is sent to it arrives. A server tells of a
        participant that publishes nothing up to 3 seconds after it joined.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost;
        ``ValueError``: it is this client's own identity, for which it would wait forever.
        """
        if identity == self.local_participant.identity:
            raise ValueError(f"{identity!r} is this client itself: room.local_participant")
        others = self._view.participants
        await self._view.wait_until(lambda: identity in others and (others[identity].is_active or not active))
        return others[identity]

    @asynccontextmanager
    async def events(self, *, buffer_size: int = DEFAULT_EVENT_BUFFER) -> AsyncIterator[RoomEvents]:
        """Listen to what happens, from now until the block ends.

        Every listener has a buffer of ``buffer_size`` events of its own; when it overflows, the oldest are dropped and
        an ``EventsMissed`` says how many.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost;
        ``ValueError`` for a buffer of no events.
        """
        if operator.index(buffer_size) < 1:
            raise ValueError("buffer_size is a number of events, at least 1")
        await trio.lowlevel.checkpoint()
        self._check_open()
        with self._view.listeners.listen(buffer_size) as events:
            yield events

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

        Raises:
            PublishError: the two do not go together, or the server refused, with its reason; or, from inside the block,
                the server ended the track, or the room is over (``DISCONNECTED``).
            RoomDisconnected: the room was lost before. ``trio.ClosedResourceError``: it was left.
        """
        self._check_open()
        if not isinstance(name, str):
            raise TypeError(f"a track's name is a str, not {type(name).__name__}")
        check_schema(frame_encoding, schema)
        async with self._session.publishing.publish(name, frame_encoding, schema) as publication:
            yield LocalDataTrack(publication)

    async def define_schema(self, schema: DataTrackSchema, definition: str) -> None:
        """Let those who subscribe to this participant's tracks get the definition of a schema.

        The server keeps it as long as this participant is in the room, reconnections included: define before you
        publish, so that whoever sees a track can get its schema. A default server keeps 64,000 bytes for a participant,
        names included. Defining a schema again replaces its definition, for which there has to be room beside the old
        one. A schema that is defined need not be used, nor the other way round. When this is cancelled, the schema may
        be defined or not.

        Raises ``SchemaError``, ``RoomDisconnected`` when the room is lost, ``trio.ClosedResourceError`` when it was
        left. Waits for a room that is reconnecting.
        """
        _check_schema_type(schema)
        if not isinstance(definition, str):
            raise TypeError(f"the definition of a schema is a str, not {type(definition).__name__}")
        await self._session.schemas.define(schema, definition)

    async def get_schema(self, schema: DataTrackSchema, publisher_identity: str) -> str:
        """The definition that a participant gave for a schema: ``get_schema(track.schema, track.publisher_identity)``.

        Raises ``SchemaError``, ``RoomDisconnected`` when the room is lost, ``trio.ClosedResourceError`` when it was
        left. Waits for a room that is reconnecting.
        """
        _check_schema_type(schema)
        return await self._session.schemas.get(schema, publisher_identity)

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
        if not isinstance(scenario, SimulateScenario):
            raise TypeError(f"a scenario is a SimulateScenario, not {type(scenario).__name__}")
        await self.wait_connected()
        match scenario:
            case SimulateScenario.SIGNAL_RECONNECT:
                self._session.drop_signal()
            case SimulateScenario.FULL_RECONNECT:
                self._session.drop_session()
            case _:
                await self._session.simulate(scenario.value, value)

    # --- end-to-end encryption ----------------------------------------------------------------------------------------

    @property
    def decryption_failures(self) -> Mapping[DecryptionFailureReason, int]:
        """How much was dropped because it could not be decrypted, or was not encrypted, by reason."""
        sealing = self._session.sealing
        return {} if sealing is None else dict(sealing.failures)

    # --- remote procedure calls ---------------------------------------------------------------------------------------

    async def perform_rpc(
        self, *, destination_identity: str, method: str, payload: str = "", response_timeout: float = 15.0
    ) -> str:
        """Call a method that another participant serves, and return its result.

        ``response_timeout`` is in seconds, for everything together. The method runs once at most. A request that may
        have left is not sent again; one that has not waits for a connection, if there is none. A call goes on while
        the session is resumed. If the session is replaced by another, or the recipient leaves, it fails at once.

        Cancelling it gives the call up here; the other side is not told, and goes on.

        Raises:
            RpcError: the call failed. Its ``code`` says how, and ``executed`` whether the method may have run.
            MissingKey: the room has end-to-end encryption, and there is no key to encrypt with. Nothing was sent.
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
        Any other exception is logged here, as an error, and the caller learns only that there was one: it never gets
        out of the room. A handler has no deadline unless it makes one of ``invocation.response_timeout``.

        Leaving the block cancels the handlers that are running, whose callers are told, and waits for them to end. If
        the room is lost or left first, they are cancelled as well, and the block ends with ``RoomDisconnected`` or
        ``trio.ClosedResourceError``.

        Raises ``ValueError``: the name is not 1 to 64 bytes of UTF-8, or served already; ``TypeError``: the handler
        cannot be called, or yields.
        """
        _check_method(method)
        if max_concurrent_calls < 1:
            raise ValueError("max_concurrent_calls is a number of calls, at least 1")
        self._check_open()
        async with self._session.rpc.serving.register(method, handler, max_concurrent_calls):
            yield

    # --- entering and leaving -----------------------------------------------------------------------------------------

    def _enter(self, session: Session) -> None:
        self._session = session
        self._view.info = session.room
        self._view.local = self.local_participant = LocalParticipant(session.roster.local, session.updating)

    def _leave(self, lost: LiveKitError | None) -> None:
        self._view.end(lost)


def _check_schema_type(schema: DataTrackSchema) -> None:
    if not isinstance(schema, m.DataTrackSchema):
        raise TypeError(f"a schema is a DataTrackSchema, not {type(schema).__name__}")


def _check_method(method: str) -> None:
    if not isinstance(method, str):
        raise TypeError(f"the name of a method is a str, not {type(method).__name__}")
    if not 0 < len(method.encode()) <= MAX_METHOD_BYTES:
        raise ValueError(f"the name of a method is 1 to {MAX_METHOD_BYTES} bytes of UTF-8")

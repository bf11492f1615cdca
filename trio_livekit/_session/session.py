"""One joined room, for as long as its block lasts, whatever becomes of the connections on the way.

The session owns the room's only nursery, and has all that outlives connections from ``features``.

Connections come and go below it. A task keeps one up: it resumes the session over another websocket where the server
still has it, and joins anew where it has not. Publications and subscriptions stay, and are asked for again.
"""

from __future__ import annotations

__all__ = ["Session", "SessionOptions", "open_session"]

import logging
import secrets
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import field, replace
from typing import TYPE_CHECKING

import trio

from .._sansio.records import dataclass
from .._sansio.signal import messages as m
from .._sansio.signal.roster import Roster
from .._transport.websocket import MAX_MESSAGE_BYTES
from ..errors import ConnectError, ConnectErrorReason, RoomDisconnected
from .connection import Connection, Endpoint
from .credentials import Credentials
from .features import Features
from .joining import signal_base_url
from .losses import Loss, Remedy, after, disconnected
from .nursery import lasting_nursery
from .parameters import Profile
from .paths import Paths
from .reconnect import Backoff, Interrupted, Lost, ReconnectPolicy, Regained
from .regions import Regions
from .stats import RoomStats

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from .credentials import TokenSource
    from .features import SessionEvent
    from .sealing import EncryptionOptions
    from .upstream import KeptRequest

logger = logging.getLogger(__name__)

_JOIN_TRIES = 3
"""Joins until a peer connection comes up: a packet that is damaged during its handshake can end it, at the server's
end if not at ours, and another handshake takes another peer connection."""

_PATH_TIMEOUT_S = 15.0
"""How long finding a path may take. A livekit-server gives a client up that it has not heard for 20 seconds."""

_RESUME_TIMEOUT_S = 5.0
"""How long one attempt to resume may take. It is short because a handshake that was lost is repeated slowly."""


_FAREWELL_S = 0.5
"""How long leaving may take to open another websocket for the goodbye, if the last one was lost."""

_FLUSH_S = 1.0
"""How long a block that ends normally waits for the server to take in what was sent reliably."""

_HASTY_FLUSH_S = 0.5
"""The same for a block that fails or is cancelled, and only if something was sent just now or is not acknowledged. Part
of it may be the word to the readers of a stream that the rest of it will not come."""

_LAST_CALLS_S = 0.5
"""How long leaving waits for handlers of calls that a borrower of the room serves, so that their callers hear of it."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a caller of ``connect`` may choose."""

    join_timeout_s: float = 15.0
    auto_subscribe: bool = True
    reconnect: ReconnectPolicy | None = None
    ssl_context: ssl.SSLContext | None = None
    profile: Profile = field(default_factory=Profile)
    encryption: EncryptionOptions | None = None
    paths: Paths = Paths.ANY
    max_signal_message_bytes: int = MAX_MESSAGE_BYTES


@asynccontextmanager
async def open_session(
    url: str, token: str | TokenSource, *, options: SessionOptions, listener: Callable[[SessionEvent], None]
) -> AsyncIterator[Session]:
    """Join a room for as long as the block lasts.

    Raises ``ConnectError`` where it cannot be joined, and ``RoomDisconnected`` where it is lost for good inside the
    block. Cancelling while joining or inside the block leaves the room, and leaves nothing behind.
    """
    regions = Regions(signal_base_url(url), options.ssl_context)
    endpoint = Endpoint(
        regions, options.auto_subscribe, options.ssl_context, options.paths, options.max_signal_message_bytes
    )
    async with lasting_nursery("the room") as (nursery, background):
        session = Session(nursery, background, endpoint, Credentials(token), options, listener)
        in_haste = True
        try:
            with trio.move_on_after(options.join_timeout_s) as bound:
                await session.join()
            if bound.cancelled_caught:
                raise ConnectError(ConnectErrorReason.TIMEOUT, f"joining took longer than {options.join_timeout_s:g} s")
            yield session
            in_haste = False
        finally:
            await session.leave(in_haste=in_haste)


class Session(Features):
    """A room joined, or being joined: its features, and the connection under them."""

    def __init__(
        self,
        nursery: trio.Nursery,
        background: trio.Nursery,
        endpoint: Endpoint,
        credentials: Credentials,
        options: SessionOptions,
        listener: Callable[[SessionEvent], None],
    ) -> None:
        self._nursery = nursery  # of the block: cancelling it ends the block
        self._background = background  # of everything that runs until the room has been left
        self._endpoint = endpoint
        self._credentials = credentials
        self._options = options
        self._leaving = False
        self._resumes = self._restarts = self._failed_attempts = 0
        self._is_heard = True  # by the server: whether there is signalling
        self._end: RoomDisconnected | None = None
        self._ended = trio.Event()
        self._keeping = trio.CancelScope()
        self._kept = trio.Event()
        self._kept.set()
        self._connection = self._new_connection()
        super().__init__(background, self._connection.links, self, options.encryption, listener)

    @property
    def end(self) -> RoomDisconnected | None:
        """What ended the room from outside, if anything did."""
        return self._end

    # --- joining and leaving ------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """From nothing to a room in which data flows. Raises ``ConnectError``."""
        for tries_left in reversed(range(_JOIN_TRIES)):
            join = await self._connection.join(await self._credentials.token(), self._options.profile)
            if not self._has_joined:  # else those who left between two attempts are seen to be missing
                self.roster = Roster(join.participant)
            self.on_join(join)
            try:
                await self._establish()
                break
            except ConnectError as error:
                if error.reason is not ConnectErrorReason.TRANSPORT or not tries_left:
                    raise
                logger.info("room %r: joining once more: %s", self.room.name, error.reason.name)
                logger.debug("room %r: %s", self.room.name, error)
            await self._connection.leave()
            self._connection = self._new_connection()
            self.publishing.on_connected(self._connection.links)
            self.packets.on_session_replaced(self._connection.links)
            self.packets.on_connected(self._connection.links)
        self.user_packets.on_joined()
        logger.info("room %r: joined as %r (%s)", self.room.name, self.roster.local.identity, self.roster.local.sid)
        self.streams.on_joined()
        self._kept = trio.Event()
        self._background.start_soon(self._keep_connected, name="room: connection")
        self._background.start_soon(self.keep_time, name="room: timers")
        self._background.start_soon(self.publishing.keep_pace, name="room: pace")
        self._nursery.start_soon(self._raise_end, name="room: end")

    async def _establish(self) -> None:
        """Connect the peer connections. Where that fails, the next attempt is made in another region, if there is one.

        Raises ``ConnectError``.
        """
        regions = self._endpoint.regions
        try:
            with trio.move_on_after(regions.media_patience_s) as bound:
                await self._connection.establish()
            if bound.cancelled_caught:
                text = f"no peer connection to {regions.url} within {regions.media_patience_s:g} s"
                raise ConnectError(ConnectErrorReason.TRANSPORT, text)
        except ConnectError as error:
            if error.reason is ConnectErrorReason.TRANSPORT:
                await regions.advance(await self._credentials.token())
            raise
        regions.settle()

    async def leave(self, *, in_haste: bool) -> None:
        """Leave, in a bounded time and whatever the state; nothing of the session works afterwards.

        ``in_haste`` is for a block that fails or is cancelled.
        """
        self._leaving = True
        self.rpc.close(self._end)
        if self._end is None:
            with trio.move_on_after(_LAST_CALLS_S, shield=True):
                await self.rpc.serving.wait_idle()
            await self._flush(in_haste=in_haste)
        self.close(self._end)
        self._keeping.cancel("the room is being left")
        with trio.CancelScope(shield=True):
            await self._kept.wait()  # so that there is one connection, in one state, to be left
            if self._end is None and not await self._connection.say_goodbye():
                await self._find_words()
            await self._connection.leave()

    async def _flush(self, *, in_haste: bool) -> None:
        """Wait for the server to take in what was sent reliably, for a short time."""
        packets = self.packets
        if packets.is_unsettled(trio.current_time()) if in_haste else packets.has_sent_reliably:
            with trio.move_on_after(_HASTY_FLUSH_S if in_haste else _FLUSH_S, shield=True):
                await packets.drain()

    async def _find_words(self) -> None:
        """A goodbye needs a websocket. Without it the others would see us in the room for a while."""
        with trio.move_on_after(_FAREWELL_S):
            try:
                await self._connection.resume(await self._credentials.token(), self.roster.local.sid, m.SyncState())
            except ConnectError:
                pass

    def _new_connection(self) -> Connection:
        return Connection(
            self._background,
            self._endpoint,
            on_response=self._on_response,
            on_message=self.on_message,
            on_progress=self.on_progress,
            on_links_lost=self.on_links_lost,
            on_room=self.on_room,
        )

    def _on_response(self, response: m.Response) -> None:
        if isinstance(response, (m.RefreshToken, m.RoomMoved)):
            self._credentials.refresh(response.token)
        self.on_response(response)

    # --- losing and regaining the connection --------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        """Take the connection up again whenever it is lost, until it is lost for good."""
        policy = self._options.reconnect
        backoff = Backoff(policy or ReconnectPolicy(), secrets.SystemRandom().random)
        try:
            with self._keeping:
                end: RoomDisconnected | None = None
                while end is None:
                    loss = await self._connection.wait_lost()
                    if loss.remedy is Remedy.NONE or (policy is None and loss.remedy is not Remedy.PATH):
                        end = disconnected(loss)
                    else:
                        backoff.on_lost(trio.current_time())
                        end = await self._regain(loss, backoff)
                self._finish(end)
        finally:
            self._kept.set()

    async def _regain(self, loss: Loss, backoff: Backoff) -> RoomDisconnected | None:
        """Try until the connection is back, or it is time to give up: the result then says why."""
        logger.info("room %r: the connection is lost (%s): %s", self.room.name, loss.remedy.name, loss.reason.name)
        logger.debug("room %r: %s", self.room.name, loss.text)
        self._listener(Interrupted())
        failure: ConnectError | None = None
        is_same_session = True
        while loss.remedy is not Remedy.NONE and (self._options.reconnect is not None or loss.remedy is Remedy.PATH):
            if loss.remedy is not Remedy.PATH:  # else the search is what takes its time
                delay_s = backoff.next_delay_s(trio.current_time())
                if delay_s is None:
                    break
                await trio.sleep(delay_s)
                loss = self._connection.loss or loss  # what else was lost meanwhile
                if loss.remedy is Remedy.NONE:
                    break
            if loss.remedy is not Remedy.PATH:
                self._on_signal_lost()
            is_same_session = is_same_session and loss.remedy is not Remedy.RESTART
            try:
                await self._take_up(loss.remedy)
            except ConnectError as error:
                self._failed_attempts += 1
                backoff.on_failed(was_answered=self._connection.was_answered)
                logger.info("room %r is not regained yet: %s", self.room.name, error.reason.name)
                logger.debug("room %r: %s", self.room.name, error)
                failure, tried = error, loss.remedy
                if error.reason is ConnectErrorReason.NOT_ALLOWED and self._credentials.renew():
                    backoff.hurry()
                    continue
                loss = after(error, self._connection.loss or loss)
                if loss.remedy is not tried:
                    backoff.hurry()
            else:
                if loss.remedy is not Remedy.PATH:
                    self._credentials.accepted()
                if self._connection.loss is None:
                    backoff.on_regained(trio.current_time())
                    self._on_regained(is_same_session)
                    return None
                loss = self._connection.loss
                backoff.hurry()
        return disconnected(loss, failure)

    def _on_regained(self, is_same_session: bool) -> None:
        self._resumes += is_same_session
        self._restarts += not is_same_session
        how = "in the same session" if is_same_session else "in a new session"
        logger.info("room %r: back %s", self.room.name, how)
        self._listener(Regained(is_same_session))

    def _on_signal_lost(self) -> None:
        """Until further notice, requests are not heard. Where that is known already, nothing happens."""
        if self._is_heard:
            self._is_heard = False
            self.on_signal_lost()

    async def _take_up(self, remedy: Remedy) -> None:
        """One attempt, bounded in time. Raises ``ConnectError``."""
        limit_s = {Remedy.PATH: _PATH_TIMEOUT_S, Remedy.RESUME: _RESUME_TIMEOUT_S}.get(
            remedy, self._options.join_timeout_s
        )
        with trio.move_on_after(limit_s) as bound:
            if remedy is Remedy.PATH:
                await self._connection.find_path()
            else:
                await (self._resume() if remedy is Remedy.RESUME else self._restart())
        if bound.cancelled_caught:
            if remedy is Remedy.PATH:
                self._connection.give_up_path()
            raise ConnectError(ConnectErrorReason.TIMEOUT, f"reconnecting took longer than {limit_s:g} s")

    async def _resume(self) -> None:
        """The same session over another websocket; the peer connections know nothing of it."""
        state = self._connection.links.describe(self.publishing.published())
        state = replace(state, received=self.packets.incoming.last_received())
        sid = self.roster.local.sid
        participants = (await self._connection.resume(await self._credentials.token(), sid, state)).participants
        self.on_present(participants)
        own = next((info for info in participants if info.sid == sid), self.roster.local)
        self._connection.resumed()
        self._is_heard = True
        self.on_resumed(own)

    async def _restart(self) -> None:
        """Another session, which begins as the first one did."""
        self.on_session_lost()
        await self._connection.leave()
        self._connection = self._new_connection()
        token = await self._credentials.token()
        profile = self._profile() if self._credentials.is_ours else Profile()
        join = await self._connection.join(token, profile, again=True)
        self.packets.on_session_replaced(self._connection.links)
        self.on_join(join)
        await self._establish()
        self._is_heard = True
        self.on_connected(self._connection.links)

    def _profile(self) -> Profile:
        """What a token from the application does not say: how this client has changed itself meanwhile."""
        me = self.roster.local
        if me.permission is None or not me.permission.can_update_metadata:
            return Profile()
        return Profile(me.metadata, dict(me.attributes))

    def _finish(self, end: RoomDisconnected) -> None:
        if self._leaving:
            return
        self._end = end
        logger.info("room %r: lost for good: %s", self.room.name, getattr(end.reason, "name", end.reason))
        self._ended.set()
        # The block goes first, so that of all the errors it could end with it is this one that comes out of it. Blocks
        # of tracks elsewhere, in tasks that only borrowed the room, hear of it from their tracks.
        self._nursery.cancel_scope.cancel(str(end))
        self.rpc.close(end)
        self.close(end)
        self._listener(Lost(end))

    async def _raise_end(self) -> None:
        """The end of the room from outside comes out of the room's block from here."""
        if not self._ended.is_set():  # a checkpoint would only say that the block is cancelled, which it is by then
            await self._ended.wait()
        assert self._end is not None
        raise copy(self._end) from self._end.__cause__  # what we keep must not keep the frames of the application

    def stats(self) -> RoomStats:
        """A snapshot of everything that is counted."""
        connection = self._connection
        return RoomStats(
            signal=connection.signal_stats(),
            transports=connection.links.transport_stats(),
            channels=connection.links.channel_stats(),
            packets=self.packets.statistics(),
            published=self.publishing.stats(),
            subscribed=self.subscribing.stats(),
            resumes=self._resumes,
            restarts=self._restarts,
            failed_attempts=self._failed_attempts,
            bad_track_packets=self.subscribing.bad_packets,
            unknown_track_packets=self.subscribing.unknown_packets,
        )

    # --- faults on purpose --------------------------------------------------------------------------------------------

    def drop_signal(self) -> None:
        """Lose the signal connection."""
        self._connection.drop_signal()

    def drop_session(self) -> None:
        """Give this session up for another one."""
        self._connection.drop_session()

    async def simulate(self, scenario: str, value: int) -> None:
        """Have the server act out a fault."""
        while not self.has_room:
            await self.wait_room()
        self.send_request(m.Simulate(scenario, value))

    # --- what goes out ------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether what may wait may be sent now."""
        return self._connection.has_room

    def send_request(self, request: m.Request | KeptRequest) -> None:
        """Send a request on the websocket there is; it is lost with it."""
        self._connection.send_request(request)

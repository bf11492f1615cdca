"""One joined room: joining, running, leaving.

The session owns the room's only nursery. Its parts share no tasks and no locks: signalling messages and packets come
in on the step of whoever reads them, and are routed, synchronously, to the feature that owns them. What the room looks
like is told upwards through one ``listener``, a synchronous function as well.
"""

from __future__ import annotations

__all__ = ["Session", "SessionEvent", "SessionOptions", "open_session"]

import ipaddress
import logging
import math
import platform
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from .._sansio.signal import messages as m
from .._sansio.signal.roster import Changed, Joined, Left, Roster, SelfChanged
from .._transport.websocket import WebsocketClosed
from .._version import __version__
from .._wire.signal import encode_join_request
from ..errors import ConnectError, ConnectErrorReason, DecodeError, LiveKitError, RoomDisconnected, TransportError
from .joining import NoSuchEndpoint, SignalRequest, signal_base_url
from .labels import DATA_TRACK
from .links import Links
from .nursery import lasting_nursery
from .publishing import Publishing
from .signalling import Signalling, SignalLost
from .subscribing import Subscribing, TrackPublished, TrackReassigned, TrackUnpublished

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

logger = logging.getLogger(__name__)

_FIRST_MESSAGE_TIMEOUT_S = 5.0

_LAST_WORD_S = 0.5
"""How long an answer of the server's is waited for when all that remains is to leave."""

_CLIENT_INFO = m.ClientInfo(
    sdk=9,  # PYTHON: servers negotiate SCTP without checksums with SDKs they know
    version=__version__,
    protocol=17,
    client_protocol=2,
    os=platform.system().lower(),
)

SessionEvent = (
    Joined
    | Left
    | Changed
    | SelfChanged
    | TrackPublished
    | TrackReassigned
    | TrackUnpublished
    | m.RoomUpdate
    | m.SpeakersChanged
    | m.ConnectionQualityUpdate
)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a caller of ``connect`` may choose."""

    auto_subscribe: bool = True
    ssl_context: ssl.SSLContext | None = None


@asynccontextmanager
async def open_session(
    url: str, token: str, *, join_timeout_s: float, options: SessionOptions, listener: Callable[[SessionEvent], None]
) -> AsyncIterator[Session]:
    """Join a room for as long as the block lasts.

    Raises ``ConnectError`` where it cannot be joined, and ``RoomDisconnected`` where it is lost inside the block.
    Cancelling while joining or inside the block leaves the room, and leaves nothing behind.
    """
    base_url = signal_base_url(url)
    async with lasting_nursery("the room") as (nursery, background):
        session = Session(nursery, background, base_url, token, options, listener)
        try:
            with trio.move_on_after(join_timeout_s) as bound:
                await session.join()
            if bound.cancelled_caught:
                raise ConnectError(ConnectErrorReason.TIMEOUT, f"joining took longer than {join_timeout_s:g} s")
            yield session
        finally:
            await session.leave()


class Session:
    """A room joined, or being joined."""

    def __init__(
        self,
        nursery: trio.Nursery,
        background: trio.Nursery,
        base_url: str,
        token: str,
        options: SessionOptions,
        listener: Callable[[SessionEvent], None],
    ) -> None:
        self._nursery = nursery  # of the block: cancelling it ends the block
        self._background = background  # of everything that runs until the room has been left
        self._base_url = base_url
        self._token = token
        self._options = options
        self._listener = listener
        self._request: SignalRequest | None = None
        self._signalling: Signalling | None = None
        self._joined = self._leaving = self._links_lost = False
        self._end: LiveKitError | None = None
        self._ended = trio.Event()
        self._sleep = trio.CancelScope()
        self._links = Links(
            include_loopback=_is_this_machine(base_url),
            ssl_context=options.ssl_context,
            on_message=self._on_message,
            on_lost=self._on_links_lost,
            on_progress=self._on_progress,
        )
        self.publishing = Publishing(self._send_request, self._links, self._reschedule)
        self.subscribing = Subscribing(self._send_request, self._announce, self._reschedule)
        self.roster: Roster
        self.room = m.RoomInfo()
        self.server_version = ""

    @property
    def end(self) -> LiveKitError | None:
        """What ended the room from outside, if anything did."""
        return self._end

    # --- joining and leaving ------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """From nothing to a room in which data flows. Raises ``ConnectError``."""
        try:
            offer = await self._links.prepare()
            join = await self._open_signalling(offer)
            self._on_join(join)
            await self._background.start(self._links.run, name="room: peer connections")
            self._background.start_soon(self._run_signalling, join, name="room: signalling")
            self._background.start_soon(self._keep_time, name="room: timers")
            self._nursery.start_soon(self._raise_end, name="room: end")
            await self._links.ready.wait()
        except TransportError as exc:
            raise ConnectError(ConnectErrorReason.TRANSPORT, str(exc)) from exc
        self._joined = True

    async def leave(self) -> None:
        """Leave, in a bounded time and whatever the state; nothing of the session works afterwards.

        A server that misses the peer connection before it has read the goodbye would wait for us to come back.
        """
        self._leaving = True
        self.publishing.close()
        self.subscribing.close(self._end)
        if self._signalling is None:
            await self._await_admission()
        if self._signalling is not None:
            await self._signalling.leave()
        self._links.close()

    async def _await_admission(self) -> None:
        """The server may be letting us in while we give up: then it has to be told, or others would see us there."""
        request = self._request
        if request is not None and request.is_sent:
            with trio.move_on_after(_LAST_WORD_S, shield=True):
                await request.done.wait()
            if request.websocket is not None:
                self._signalling = Signalling(request.websocket, self._on_response)

    async def _open_signalling(self, offer: m.Offer) -> m.Join:
        """Connect with one peer connection where the server can, with two where it cannot, and read its first word."""
        try:
            await self._connect_signalling("/rtc/v1", self._join_parameters(offer))
        except NoSuchEndpoint:
            try:
                await self._connect_signalling("/rtc", self._legacy_join_parameters())
            except NoSuchEndpoint as exc:
                text = f"{self._base_url} has no LiveKit signalling endpoint: is this a LiveKit server?"
                raise ConnectError(ConnectErrorReason.UNREACHABLE, text, status=404) from exc
            join = await self._receive_join()
            self._send_request(offer)
            if join.subscriber_primary:
                self._links.expect_subscriber()
            return join
        return await self._receive_join()

    async def _connect_signalling(self, path: str, parameters: dict[str, str]) -> None:
        self._request = SignalRequest(self._base_url, path, parameters, self._token)
        websocket = await self._request.make(self._background, self._options.ssl_context)
        self._signalling = Signalling(websocket, self._on_response)

    async def _receive_join(self) -> m.Join:
        assert self._signalling is not None
        try:
            with trio.fail_after(_FIRST_MESSAGE_TIMEOUT_S):
                first = await self._signalling.receive_first()
        except (WebsocketClosed, trio.TooSlowError) as exc:
            text = "the server accepted the websocket, and then did not say anything"
            raise ConnectError(ConnectErrorReason.SERVER_ERROR, text) from exc
        if isinstance(first, m.Leave):
            text = f"the server sent us away: {first.reason.name}"
            raise ConnectError(ConnectErrorReason.REFUSED, text, disconnect_reason=first.reason)
        if not isinstance(first, m.Join):
            text = f"the server began with {type(first).__name__} instead of a join response"
            raise ConnectError(ConnectErrorReason.SERVER_ERROR, text)
        return first

    def _join_parameters(self, offer: m.Offer) -> dict[str, str]:
        request = m.JoinRequest(
            _CLIENT_INFO,
            auto_subscribe=self._options.auto_subscribe,
            auto_subscribe_data_track=False,
            publisher_offer=offer,
        )
        return {"join_request": encode_join_request(request)}

    def _legacy_join_parameters(self) -> dict[str, str]:
        return {
            "auto_subscribe": str(int(self._options.auto_subscribe)),
            "protocol": str(_CLIENT_INFO.protocol),
            "client_protocol": str(_CLIENT_INFO.client_protocol),
            "sdk": "python",
            "version": _CLIENT_INFO.version,
            "os": _CLIENT_INFO.os,
        }

    # --- tasks --------------------------------------------------------------------------------------------------------

    async def _run_signalling(self, join: m.Join) -> None:
        assert self._signalling is not None
        try:
            await self._signalling.run(join.ping_interval_s, join.ping_timeout_s)
        except SignalLost as exc:
            self._finish(m.DisconnectReason.SIGNAL_CLOSE, str(exc))

    async def _keep_time(self) -> None:
        """The one timer of the session's features."""
        while True:
            now = trio.current_time()
            self.publishing.handle_timeout(now)
            self.subscribing.handle_timeout(now)
            with trio.CancelScope(deadline=self._next_timeout()) as self._sleep:
                await trio.sleep_forever()

    async def _raise_end(self) -> None:
        """The end of the room from outside comes out of the room's block from here."""
        await self._ended.wait()
        assert self._end is not None
        raise copy(self._end)  # what we keep must not keep the frames of the application

    def _finish(self, reason: m.DisconnectReason, text: str) -> None:
        if self._end is not None or self._leaving:
            return
        if self._joined:
            self._end = RoomDisconnected(reason, f"disconnected from the room ({reason.name}): {text}")
        else:
            error = ConnectErrorReason.TRANSPORT if reason is _TRANSPORT else ConnectErrorReason.REFUSED
            self._end = ConnectError(error, text, disconnect_reason=reason)
        self._ended.set()
        # The block goes first, so that of all the errors it could end with it is this one that comes out of it. Blocks
        # of tracks elsewhere, in tasks that only borrowed the room, hear of it from their tracks.
        self._nursery.cancel_scope.cancel(str(self._end))
        self.publishing.close()
        self.subscribing.close(self._end)

    def _next_timeout(self) -> float:
        deadlines = (self.publishing.next_timeout(), self.subscribing.next_timeout())
        return min((deadline for deadline in deadlines if deadline is not None), default=math.inf)

    def _reschedule(self) -> None:
        deadline = self._next_timeout()
        if deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    # --- what comes in ------------------------------------------------------------------------------------------------

    def _on_message(self, label: str, data: bytes) -> None:
        if label == DATA_TRACK:
            self.subscribing.on_packet(data)

    def _on_progress(self) -> None:
        self.publishing.on_progress()

    def _on_links_lost(self, reason: str) -> None:
        if not self._links_lost:
            self._links_lost = True
            self.publishing.on_links_lost()
            self._background.start_soon(self._await_last_word, reason, name="room: last word")

    async def _await_last_word(self, reason: str) -> None:
        """A server that ends a session says why, and closes the connections: which is seen first is chance."""
        await trio.sleep(_LAST_WORD_S)
        self._finish(_TRANSPORT, reason)

    def _on_join(self, join: m.Join) -> None:
        self.room = join.room
        self.server_version = join.server_version
        self._links.use_ice_servers(join.ice_servers, relay_only=join.force_relay)
        self.roster = Roster(join.participant, join.other_participants)
        for info in self.roster:
            self._listener(Joined(info))
            self.subscribing.on_participant(info)

    def _on_response(self, response: m.Response) -> None:
        match response:
            case m.ParticipantUpdate(participants):
                self._on_update(participants)
            case m.SubscriberHandles(handles):
                self.subscribing.on_handles(handles)
            case m.DataTrackPublished() | m.DataTrackUnpublished() | m.RequestResponse():
                self.publishing.on_response(response)
            case m.Answer():
                self._links.on_answer(response)
            case m.Offer():
                self._background.start_soon(self._answer, response, name="room: answer an offer")
            case m.Trickle():
                self._links.on_trickle(response)
            case m.Leave():
                self._finish(response.reason, f"the server ended the session: {response.reason.name}")
            case m.RoomUpdate(room):
                self._listener(response)
                self.room = room
            case m.RefreshToken(token):
                self._token = token
            case m.SpeakersChanged() | m.ConnectionQualityUpdate():
                self._listener(response)

    def _on_update(self, participants: tuple[m.ParticipantInfo, ...]) -> None:
        events = self.roster.apply(participants)
        back = {event.info.identity for event in events if isinstance(event, Joined)}
        for event in events:
            match event:
                case Joined(info):
                    self._listener(event)
                    self.subscribing.on_participant(info)
                case Left(info):
                    if info.identity not in back:  # else its next list says which of its tracks go on
                        self.subscribing.on_participant_left(info)
                    self._listener(event)
                case Changed(_, new):
                    self._listener(event)
                    self.subscribing.on_participant(new)
                case SelfChanged(_, new):
                    self._listener(event)
                    self.publishing.on_own_tracks(new.data_tracks)

    async def _answer(self, offer: m.Offer) -> None:
        try:
            self._send_request(await self._links.on_offer(offer))
        except (DecodeError, TransportError, OSError) as exc:
            self._finish(_TRANSPORT, f"the server's offer cannot be answered: {exc}")

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _send_request(self, request: m.Request) -> None:
        assert self._signalling is not None
        self._signalling.send_nowait(request)

    def _announce(self, event: TrackPublished | TrackReassigned | TrackUnpublished) -> None:
        self._listener(event)


_TRANSPORT = m.DisconnectReason.CONNECTION_TIMEOUT


def _is_this_machine(url: str) -> bool:
    """Whether the server is reached over a loopback address, so that candidates there are worth having."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

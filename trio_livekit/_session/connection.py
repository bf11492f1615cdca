"""One connection to a room: a signal websocket, which may be replaced by another, and the peer connections it set up.

The two fail apart. When the websocket is lost the peer connections are left alone: data flows on, and ``resume`` brings
another websocket to the same session. When the peer connections are lost, or the server knows of no such session any
more, all of it is given up, and the room is joined anew with another ``Connection``.
"""

from __future__ import annotations

__all__ = ["Connection", "Endpoint"]

import ipaddress
import math
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from .._sansio.records import dataclass
from .._sansio.signal import messages as m
from .._transport.websocket import MAX_MESSAGE_BYTES, TOO_LARGE, WebsocketClosed
from ..errors import ConnectError, ConnectErrorReason, DecodeError, TransportError
from .joining import NoSuchEndpoint, SignalRequest
from .links import Links
from .losses import Loss, Remedy, joining_failed, path_lost, sent_away, transport_lost
from .parameters import (
    LEGACY_PATH,
    PATH,
    Profile,
    join_parameters,
    legacy_join_parameters,
    legacy_resume_parameters,
    resume_parameters,
)
from .paths import Paths
from .signalling import SignalCounters, Signalling, SignalLost
from .stats import SignalStats

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from .regions import Regions
    from .upstream import KeptRequest

_FIRST_MESSAGE_TIMEOUT_S = 5.0
"""How long a server that has accepted a websocket may take to say something on it."""

_DIAL_AGAIN_TIMEOUT_S = 3.0
"""How long a TCP connection may take where another attempt follows at once."""

_GIVEN_UP_S = 7.0
"""After so much silence, beyond the 5 s that it takes to notice it, the server may have given the path up. It does so
when it has heard nothing for 15 s; if it was the server's process that had stopped, that can be in the very moment in
which both sides hear each other again."""

_PATH_GRACE_S = 0.7
"""How long after the server was heard a path may take to prove that it works: it is checked every half second."""

_LAST_WORD_S = 0.5
"""How long the server may take to say why it ended the peer connection; and, when joining is given up, how long we wait
for an answer that may have let us in."""

_PLAIN = Profile()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server, and how its rooms are to be joined."""

    regions: Regions
    auto_subscribe: bool = True
    ssl_context: ssl.SSLContext | None = None
    paths: Paths = Paths.ANY
    max_signal_message_bytes: int = MAX_MESSAGE_BYTES

    @property
    def url(self) -> str:
        """Its base URL, or that of the region of it that is used."""
        return self.regions.url


_PERHAPS_ELSEWHERE = frozenset(
    {
        ConnectErrorReason.UNREACHABLE,
        ConnectErrorReason.SERVER_ERROR,
        ConnectErrorReason.ROOM_REFUSED,
        ConnectErrorReason.TIMEOUT,
    }
)
"""Failures that another region of the same cloud may not have."""


class Connection:
    """From ``join`` to ``leave``; its tasks run in ``nursery``.

    What the server says that is not about the connection itself goes to ``on_response``. ``on_message`` and
    ``on_progress`` are those of ``Links``. ``on_links_lost()`` is called as soon as nothing can be sent any more; what
    that means is known a moment later, when ``loss`` is set. ``on_room()`` is called when there is room for requests,
    after there was none.

    Attributes:
        links: the peer connections.
        loss: the worst that was lost and is not mended yet.
        was_answered: the last attempt to join or to resume got as far as to the server, or to what stands before it.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        endpoint: Endpoint,
        *,
        on_response: Callable[[m.Response], None],
        on_message: Callable[[str, bytes], None],
        on_progress: Callable[[str], None],
        on_links_lost: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        self._nursery = nursery
        self._endpoint = endpoint
        self._on_response = on_response
        self._on_links_lost = on_links_lost
        self._on_room = on_room
        self._request: SignalRequest | None = None
        self._signalling: Signalling | None = None
        self._counters = SignalCounters()
        self._is_speaking = False  # the signal websocket is open, as far as anybody knows
        self._path = PATH
        self._ping_interval_s = self._ping_timeout_s = 0.0
        self._may_resume = True
        self.loss: Loss | None = None
        self.was_answered = False
        self._dial_timeout_s = math.inf
        self._are_links_lost = self._is_ready = self._left = False
        self._must_restart_ice = False  # as the server has given the path up, even if it looks well from here
        self._silent_since = math.inf  # since when there was no path; a restart of ICE begins anew
        self._changed = trio.lowlevel.ParkingLot()
        self.links = Links(
            include_loopback=_is_this_machine(endpoint.url),
            paths=endpoint.paths,
            ssl_context=endpoint.ssl_context,
            on_message=on_message,
            on_lost=self._lost_links,
            on_ready=self._on_ready,
            on_path=self._on_path,
            on_candidate=self.send_request,
            on_progress=on_progress,
        )

    # --- joining ------------------------------------------------------------------------------------------------------

    async def join(self, token: str, profile: Profile = _PLAIN, *, again: bool = False) -> m.Join:
        """Join the room; nothing is read after the server's first word until ``establish``. Raises ``ConnectError``.

        ``again``: it was joined before, and there will be further attempts, so that this one need not wait for long
        where nobody answers.
        """
        self._dial_timeout_s = _DIAL_AGAIN_TIMEOUT_S if again else math.inf
        try:
            offer = await self.links.prepare()
        except (TransportError, OSError) as exc:
            raise ConnectError(ConnectErrorReason.TRANSPORT, str(exc)) from exc
        join = await self._open_session(offer, token, profile)
        self.links.use_ice_servers(join.ice_servers, relay_only=join.force_relay)
        self._ping_interval_s, self._ping_timeout_s = join.ping_interval_s, join.ping_timeout_s
        self._may_resume = join.may_resume
        return join

    async def establish(self) -> None:
        """Connect the peer connections, until data can flow. Raises ``ConnectError``."""
        await self._nursery.start(self.links.run, name="room: peer connections")
        self._start_speaking()
        while not self._is_ready:
            if self.loss is not None:
                raise joining_failed(self.loss)
            await self._changed.park()

    async def _open_session(self, offer: m.Offer, token: str, profile: Profile) -> m.Join:
        """In the region there is, or in another one where that does not work."""
        regions = self._endpoint.regions
        while True:
            try:
                with trio.move_on_after(regions.patience_s) as bound:
                    join = await self._open_session_here(offer, token, profile)
                if bound.cancelled_caught:
                    text = f"joining at {regions.url} took longer than {regions.patience_s:g} s"
                    raise ConnectError(ConnectErrorReason.TIMEOUT, text)
            except ConnectError as error:
                if error.reason not in _PERHAPS_ELSEWHERE:
                    raise
                await self._hang_up()
                if not await regions.advance(token):
                    raise
            else:
                return join

    async def _open_session_here(self, offer: m.Offer, token: str, profile: Profile) -> m.Join:
        """With one peer connection where the server can do that, with two where it cannot."""
        auto_subscribe = self._endpoint.auto_subscribe
        self._path = PATH
        try:
            await self._open_signalling(join_parameters(offer, profile, auto_subscribe=auto_subscribe), token)
            return await self._receive_join()
        except NoSuchEndpoint:
            self._path = LEGACY_PATH
        try:
            await self._open_signalling(legacy_join_parameters(auto_subscribe=auto_subscribe), token)
        except NoSuchEndpoint as exc:
            text = f"{self._endpoint.url} has no LiveKit signalling endpoint: is this a LiveKit server?"
            raise ConnectError(ConnectErrorReason.UNREACHABLE, text, status=404) from exc
        join = await self._receive_join()
        self._introduce(profile, join.participant)
        self.send_request(offer)
        if join.subscriber_primary:
            self.links.expect_subscriber()
        return join

    def _introduce(self, profile: Profile, me: m.ParticipantInfo) -> None:
        """Two peer connections come with a query that has no place for this. Raises ``ConnectError``."""
        if profile == _PLAIN:
            return
        if me.permission is not None and not me.permission.can_update_metadata:
            text = "the token does not grant can_update_own_metadata, and so no metadata or attributes of one's own"
            raise ConnectError(ConnectErrorReason.NOT_ALLOWED, text)
        self.send_request(m.UpdateMetadata(0, metadata=profile.metadata, attributes=profile.attributes))

    async def _open_signalling(self, parameters: dict[str, str], token: str) -> None:
        endpoint = self._endpoint
        request = SignalRequest(endpoint.url, self._path, parameters, token, endpoint.max_signal_message_bytes)
        self._request = request
        try:
            websocket = await request.make(self._nursery, endpoint.ssl_context, dial_timeout_s=self._dial_timeout_s)
        finally:
            self.was_answered = self.was_answered or request.is_answered
        self._signalling = Signalling(websocket, self._receive, self._counters, self._on_room)

    async def _receive_join(self) -> m.Join:
        first = await self._receive_first()
        if not isinstance(first, m.Join):
            text = f"the server began with {type(first).__name__} instead of a join response"
            raise ConnectError(ConnectErrorReason.SERVER_ERROR, text)
        return first

    async def _receive_first(self) -> m.Response:
        """What comes before all else; if that is ``leave``, or nothing in time, this raises ``ConnectError``."""
        assert self._signalling is not None
        try:
            with trio.fail_after(_FIRST_MESSAGE_TIMEOUT_S):
                response = await self._signalling.receive_first()
        except (WebsocketClosed, trio.TooSlowError) as exc:
            text = "the server accepted the websocket, and then did not say anything"
            if isinstance(exc, WebsocketClosed) and exc.code == TOO_LARGE:
                limit = self._endpoint.max_signal_message_bytes
                text = f"the server's signalling is longer than max_signal_message_bytes allows: {limit} bytes"
            raise ConnectError(ConnectErrorReason.SERVER_ERROR, text) from exc
        if isinstance(response, m.Leave):
            self._on_leave(response)
            text = f"the server sent us away: {response.reason.name}"
            raise ConnectError(ConnectErrorReason.REFUSED, text, disconnect_reason=response.reason)
        return response

    # --- losing, and resuming -----------------------------------------------------------------------------------------

    @property
    def is_mute(self) -> bool:
        """Whether it is signalling alone that is lost: the server goes on with the session as if we were there."""
        return self.loss is not None and self.loss.remedy is Remedy.RESUME

    def signal_stats(self) -> SignalStats:
        """How signalling is doing."""
        rtt_s = None if self._signalling is None else self._signalling.rtt_s
        return SignalStats(rtt_s, self._counters.sent, self._counters.received, self._counters.malformed)

    async def wait_lost(self) -> Loss:
        """Wait until the websocket, the peer connections or the whole session are lost, and it is known which."""
        while self.loss is None:
            await self._changed.park()
        return self.loss

    async def resume(self, token: str, participant_sid: str, state: m.SyncState) -> m.ParticipantUpdate:
        """Go on with the session over another websocket. Raises ``ConnectError``.

        Returns the participants as they are by now, all of them. Nothing that was said later is read until
        ``resumed``. Where the server does not know the session any more, ``loss`` says what is to be done instead.
        """
        await self._hang_up()
        self.was_answered = False
        self._dial_timeout_s = _DIAL_AGAIN_TIMEOUT_S
        await self._open_resumed(token, participant_sid)
        assert self._signalling is not None
        response = await self._receive_first()
        try:
            await self._signalling.send_first(state)
        except WebsocketClosed as exc:
            raise ConnectError(ConnectErrorReason.SERVER_ERROR, "the server hung up at once") from exc
        while not _is_complete(response, participant_sid):
            self._receive(response)
            response = await self._receive_first()
        assert isinstance(response, m.ParticipantUpdate)
        return response

    def resumed(self) -> None:
        """There is signalling again; ``loss`` says what else was lost meanwhile."""
        self.loss = None
        self._start_speaking()
        if self._are_links_lost:
            self._lose(transport_lost("the peer connection was lost"))
        elif self._must_restart_ice or self.links.is_silent or self.links.is_restarting:
            self._lose(path_lost())

    async def find_path(self) -> None:
        """Wait until there is a path again, for which ICE is restarted if the server can be heard.

        Raises ``ConnectError`` when something else is lost.
        """
        await trio.lowlevel.checkpoint()
        if not self.links.is_restarting:
            await self._await_sign_of_life()
        if self._must_restart_ice or self.links.is_silent or self.links.is_restarting:
            self.send_request(self.links.restart())
            self._silent_since = math.inf
        while self.links.is_silent or (self._must_restart_ice and self.links.is_restarting):
            self._raise_worse_than_silence()
            await self._changed.park()
        self._raise_worse_than_silence()
        self._must_restart_ice = False
        self.loss = None

    async def _await_sign_of_life(self) -> None:
        """Until a path works again, or the server is heard over signalling and still none does.

        A restart has the server forget the path there is. Where nothing is heard over signalling either, it is not the
        path that is bad, but the network or the server that is away, and when that is back the path is as good as ever.
        """
        signalling = self._signalling
        if signalling is None or not self._ping_interval_s:
            return
        question = signalling.ask()
        while self._is_path_awaited and not signalling.is_answered(question):
            self._raise_worse_than_silence()
            await self._changed.park()
        with trio.move_on_after(_PATH_GRACE_S):
            while self._is_path_awaited:
                self._raise_worse_than_silence()
                await self._changed.park()

    @property
    def _is_path_awaited(self) -> bool:
        """Whether there is no path, and may be one without a restart."""
        return self.links.is_silent and not self._must_restart_ice

    def _raise_worse_than_silence(self) -> None:
        if self.loss is not None and self.loss.remedy is not Remedy.PATH:
            raise ConnectError(ConnectErrorReason.TRANSPORT, self.loss.text)

    def give_up_path(self) -> None:
        """No path was found in time."""
        self._lose(path_lost(Remedy.RESTART))

    def _on_path(self) -> None:
        """A path went silent, works again or was changed. While the room is being joined, that is part of it."""
        now = trio.current_time()
        if self.links.is_silent:
            self._silent_since = min(self._silent_since, now)
        else:
            self._must_restart_ice |= self._is_ready and now - self._silent_since >= _GIVEN_UP_S
            self._silent_since = math.inf
        if self._is_ready and self.links.is_silent and not self._are_links_lost:
            # The server restarts ICE on the connection that it offers only for a client that resumes.
            self._lose(path_lost(Remedy.RESUME if self.links.is_subscriber_silent else Remedy.PATH))
        self._changed.unpark_all()

    async def _open_resumed(self, token: str, participant_sid: str) -> None:
        auto_subscribe = self._endpoint.auto_subscribe
        if self._path == PATH:
            parameters = resume_parameters(participant_sid, auto_subscribe=auto_subscribe)
        else:
            parameters = legacy_resume_parameters(participant_sid, auto_subscribe=auto_subscribe)
        try:
            await self._open_signalling(parameters, token)
        except NoSuchEndpoint as exc:
            self._lose(Loss(Remedy.RESTART, m.DisconnectReason.STATE_MISMATCH, str(exc)))
            raise ConnectError(ConnectErrorReason.UNREACHABLE, str(exc), status=404) from exc

    async def _hang_up(self) -> None:
        """Close the websocket there is, without a word: the session is to go on."""
        self._is_speaking = False
        signalling, self._signalling = self._signalling, None
        request, self._request = self._request, None
        if signalling is not None:
            await signalling.aclose()
        elif request is not None:  # an attempt that took too long
            await request.abandon()

    def _start_speaking(self) -> None:
        assert self._signalling is not None
        self._is_speaking = True
        self._nursery.start_soon(self._speak, self._signalling, name="room: signalling")

    async def _speak(self, signalling: Signalling) -> None:
        try:
            await signalling.run(self._ping_interval_s, self._ping_timeout_s)
        except SignalLost as exc:
            if signalling is self._signalling:
                self._is_speaking = False
                self._lose(Loss(Remedy.RESUME, m.DisconnectReason.SIGNAL_CLOSE, str(exc)))

    def drop_signal(self) -> None:
        """Lose the websocket as a network would, for tests of what follows."""
        if self._signalling is not None:
            self._nursery.start_soon(self._signalling.aclose, name="room: losing signalling on purpose")

    def drop_session(self) -> None:
        """Give the session up, for tests of what follows."""
        self._lose(Loss(Remedy.RESTART, m.DisconnectReason.UNKNOWN_REASON, "given up on purpose"))

    def _on_leave(self, leave: m.Leave) -> None:
        if leave.action is m.LeaveAction.RECONNECT:
            self._endpoint.regions.replace(leave.regions)
        loss = sent_away(leave)
        if loss.remedy is Remedy.RESUME and loss.reason is m.DisconnectReason.CONNECTION_TIMEOUT:
            self._must_restart_ice = True  # it is the path that the server lost
        self._lose(loss)

    def _lost_links(self, text: str, is_error: bool) -> None:
        """A server that ends a session says why, and closes the connections: which is seen first is chance.

        Where there was an error nothing is waited for. A stranger can provoke one in a livekit-server with forged
        records, whose fatal alert is genuine; and until we are back, what others send us is lost.
        """
        if self._are_links_lost or self._left:
            return
        self._are_links_lost = True
        self._on_links_lost()
        loss = transport_lost(text)
        if self._is_speaking and not is_error:
            self._nursery.start_soon(self._await_last_word, loss, name="room: last word")
        else:
            self._lose(loss)

    async def _await_last_word(self, loss: Loss) -> None:
        await trio.sleep(_LAST_WORD_S)
        self._lose(loss)

    def _lose(self, loss: Loss) -> None:
        """Something was lost. Of several losses, the one that takes the most to mend counts."""
        if loss.remedy is Remedy.RESUME and not self._can_resume:
            loss = loss._replace(remedy=Remedy.RESTART)
        if not self._left and (self.loss is None or self.loss.remedy < loss.remedy):
            self.loss = loss
            self._changed.unpark_all()

    @property
    def _can_resume(self) -> bool:
        return self._is_ready and not self._are_links_lost and self._may_resume

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def say_goodbye(self) -> bool:
        """Tell the server that we leave. ``False``: it cannot hear that, unless ``resume`` brings another websocket."""
        if self.is_mute:
            return False
        self._left = True
        if self._signalling is None:  # perhaps there is a request for one
            return True
        return await self._signalling.leave() or not self._can_resume

    async def leave(self) -> None:
        """Say goodbye as far as that is possible, and close everything. Bounded, also when cancelled.

        A server that misses the peer connection before it has read the goodbye would wait for us to come back.
        """
        self._left = True
        with trio.CancelScope(shield=True):
            if self._signalling is None:
                await self._await_admission()
            if self._signalling is not None:
                await self._signalling.leave()
        self.links.close()

    async def _await_admission(self) -> None:
        """The server may be letting us in while we give up: then it has to be told, or others would see us there."""
        request = self._request
        if request is not None and request.is_sent:
            with trio.move_on_after(_LAST_WORD_S):
                await request.done.wait()
            if request.websocket is not None:
                self._signalling = Signalling(request.websocket, self._receive, self._counters)
            else:
                await request.abandon()

    # --- what comes in, and what goes out -----------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether what may wait may be sent now. What is lost has room for everything."""
        return self._signalling is None or not self._is_speaking or self._signalling.has_room

    def send_request(self, request: m.Request | KeptRequest) -> None:
        """Send a request on the websocket there is; it is lost with it."""
        if self._signalling is not None:
            self._signalling.send_nowait(request)

    def _receive(self, response: m.Response) -> None:
        match response:
            case m.Answer():
                self.links.on_answer(response)
            case m.Offer() if self.links.has_subscriber:
                self._answer_restart(response)
            case m.Offer():
                self._nursery.start_soon(self._answer, response, name="room: answer an offer")
            case m.Trickle():
                self.links.on_trickle(response)
            case m.Leave():
                self._on_leave(response)
            case m.Pong():
                self._changed.unpark_all()
            case m.DataTrackPublished():
                self._on_response(response)
                self.links.use_data_tracks(to_send=True)
            case m.SubscriberHandles(handles) if handles:
                self._on_response(response)
                self.links.use_data_tracks(to_send=False)
            case _:
                self._on_response(response)

    def _answer_restart(self, offer: m.Offer) -> None:
        try:
            self.send_request(self.links.on_restart_offer(offer))
        except DecodeError as exc:
            self._lose(transport_lost(f"the server's offer cannot be answered: {exc}"))

    async def _answer(self, offer: m.Offer) -> None:
        try:
            self.send_request(await self.links.on_offer(offer))
        except (DecodeError, TransportError, OSError) as exc:
            self._lose(transport_lost(f"the server's offer cannot be answered: {exc}"))

    def _on_ready(self) -> None:
        self._is_ready = True
        self._changed.unpark_all()


def _is_complete(response: m.Response, own_sid: str) -> bool:
    """Whether this names everybody. A livekit-server first tells of some who left, in a message without ourselves."""
    return isinstance(response, m.ParticipantUpdate) and any(info.sid == own_sid for info in response.participants)


def _is_this_machine(url: str) -> bool:
    """Whether the server is reached over a loopback address, so that candidates there are worth having."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

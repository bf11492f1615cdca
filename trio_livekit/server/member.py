"""One client: its participant, its signal connection (which may go and come back), and its peer connections.

With one peer connection (``/rtc/v1``) the client offers it and opens the channels, which carry both directions. With
two (``/rtc``) the client offers the publisher connection, on which it sends, and the server the subscriber connection,
on which it opens channels of its own to send to the client.
"""

from __future__ import annotations

__all__ = ["Member", "PeerSettings"]

import logging
import math
import secrets
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._sansio.peer import PATIENT_SCTP
from .._sansio.sdp import SessionDescription, Setup
from .._sansio.signal import messages as m
from .._transport.peer import PeerConfig
from .._wire.signal import encode_response
from ..errors import DecodeError, TransportError
from .forwarding import Downlink
from .peering import PeerLink
from .requests import handle_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.dtls import LocalCertificate
    from .hub import Hub
    from .participant import Participant
    from .room import Room
    from .signal import SignalConnection

logger = logging.getLogger(__name__)

_SCTP = replace(PATIENT_SCTP, manual_window=True)
"""A client whose reliable packets somebody is too slow for is held up, as long as these occupy its window."""

_TOKEN_INTERVAL_S = 300.0
"""How often a client is given a fresh token, as on LiveKit servers."""

_SABOTAGE_S = 5.0
"""For how long a client may ask for its resumed connections to be cut, as on LiveKit servers."""

_MAX_SPEAKING_S = 60

_EARLY_CANDIDATES = 64
"""Candidates kept until there is an offer to go with them."""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What all peer connections of a server have in common."""

    hosts: tuple[str, ...] | None
    """Local addresses to be reached at; ``None`` for all there are, loopback included."""

    certificate: LocalCertificate


@dataclass(frozen=True, slots=True)
class Sabotage:
    """The next ``count`` signal connections that resume the session are cut, after the server's words or before."""

    count: int
    with_words: bool
    until: float


class Member:
    """The session of one participant, from its join until it is gone."""

    def __init__(
        self, hub: Hub, room: Room, participant: Participant, settings: PeerSettings, *, two_peers: bool
    ) -> None:
        self.participant = participant
        self._hub = hub
        self._room = room
        self._settings = settings
        self._signal: SignalConnection | None = None
        self._nursery: trio.Nursery | None = None
        self._publisher: PeerLink | None = None
        self._subscriber: PeerLink | None = None
        self._server_offers = two_peers and participant.permission.can_subscribe
        self._early: list[str] = []
        self._sabotage: Sabotage | None = None
        self._ended = False
        self._connected = False
        self._overdue = m.DisconnectReason.JOIN_FAILURE
        self._patience = trio.CancelScope()
        self._downlink = Downlink(hub.limits)
        participant.downlink = self._downlink
        hub.add(self)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until the participant is gone, or fails to connect in time."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._refresh_tokens)
                self._patience.deadline = trio.current_time() + self._hub.limits.connect_timeout_s
                task_status.started()
                with self._patience:
                    await trio.sleep_forever()
                self._hub.deliver(self._room.remove(self.participant, self._overdue))
                nursery.cancel_scope.cancel("the participant is gone")
        finally:
            self.end()
            if self._signal is None:
                self._hub.discard(self)

    async def _refresh_tokens(self) -> None:
        while True:
            await trio.sleep(_TOKEN_INTERVAL_S)
            out: list[tuple[Participant, m.Response]] = []
            self._room.refresh_token(out, self.participant)
            self._hub.deliver(out)

    # --- what the hub does with it ------------------------------------------------------------------------------------

    def tell(self, message: bytes) -> None:
        """Send an encoded response, if the client is there to hear it."""
        if self._signal is not None:
            self._signal.send(message)

    def end(self) -> None:
        """Nothing follows: close the signal connection once it is flushed, and the peer connections at once."""
        if self._ended:
            return
        self._ended = True
        if self._signal is not None:
            self._signal.end()
        self._close_peers()
        self._patience.cancel("the session ended")

    # --- signal connections come and go -------------------------------------------------------------------------------

    def attach(self, signal: SignalConnection) -> None:
        """Speak through this connection from now on, and close the one before without a word."""
        if self._signal is not None:
            self._signal.end()
        self._signal = signal

    def detach(self, signal: SignalConnection) -> None:
        """A signal connection is closed."""
        if self._signal is not signal:
            return
        self._signal = None
        if self._ended:
            self._hub.discard(self)
        elif self._connected:
            self._room.signal_lost(self.participant)
        else:
            self._hub.deliver(self._room.leave(self.participant, m.DisconnectReason.SIGNAL_CLOSE))
            self.end()

    def drop_signal(self) -> None:
        """Cut the signal connection, as a broken network would."""
        if self._signal is not None:
            self._signal.drop()

    def drop_peers(self) -> None:
        """Lose the peer connections, as a broken network would make it."""
        self._close_peers()
        self._on_peers_lost()

    def _close_peers(self) -> None:
        self._downlink.detach()
        for link in (self._publisher, self._subscriber):
            if link is not None:
                link.close()

    async def converse(self, signal: SignalConnection, offer: m.Offer | None, answer_after_s: float) -> None:
        """Say what opens a session, then act on the requests of the client, one after the other."""
        if self._server_offers and (self._subscriber is None or self._subscriber.closed):
            await self._offer_subscriber()
        if offer is not None:
            await trio.sleep(answer_after_s)
            await self._on_offer(offer)
        while (request := await signal.receive()) is not None:
            await self._handle(request)

    async def _handle(self, request: m.Request) -> None:
        match request:
            case m.Ping(timestamp_ms, legacy=True):
                self._say(m.Pong(timestamp_ms, legacy=True))
            case m.Ping(timestamp_ms):
                self._say(m.Pong(timestamp_ms, _now_ms()))
            case m.Trickle(candidate, target):
                self._add_candidate(candidate, target)
            case m.Offer():
                await self._on_offer(request)
            case m.Answer():
                self._on_answer(request)
            case m.Simulate(scenario, value):
                self._simulate(scenario, value)
            case _:
                self._hub.deliver(handle_request(self._room, self.participant, request))

    def _simulate(self, scenario: str, value: int) -> None:
        """Act out a fault that the client asks for; scenarios of media and of candidates are ignored."""
        room, me = self._room, self.participant
        match scenario:
            case "speaker_update" if self._nursery is not None:
                self._nursery.start_soon(self._speak, value)
            case "disconnect_signal_on_resume":
                self._sabotage = Sabotage(1, with_words=True, until=trio.current_time() + _SABOTAGE_S)
            case "disconnect_signal_on_resume_no_messages":
                self._sabotage = Sabotage(3, with_words=False, until=trio.current_time() + _SABOTAGE_S)
            case "node_failure" | "migration":  # the session is gone without a word
                self._hub.deliver(room.leave(me, m.DisconnectReason.MIGRATION))
                self.end()
            case "server_leave":
                self._hub.deliver(room.remove(me, m.DisconnectReason.SERVER_SHUTDOWN))
            case "leave_request_full_reconnect":
                self._hub.deliver(room.remove(me, m.DisconnectReason.UNKNOWN_REASON, m.LeaveAction.RECONNECT))

    async def _speak(self, seconds: int) -> None:
        """Say that it speaks, and after some time that it does not any more."""
        self._say(m.SpeakersChanged((m.Speaker(self.participant.sid, 0.9, True),)))
        await trio.sleep(min(seconds, _MAX_SPEAKING_S))
        self._say(m.SpeakersChanged((m.Speaker(self.participant.sid, 0.0, False),)))

    def sabotage(self) -> Sabotage | None:
        """What is to happen to the signal connection that resumes the session now, if anything."""
        planned = self._sabotage
        if planned is None or not planned.count or trio.current_time() > planned.until:
            return None
        self._sabotage = replace(planned, count=planned.count - 1)
        return planned

    def _say(self, message: m.Response) -> None:
        self.tell(encode_response(message))

    # --- descriptions and candidates ----------------------------------------------------------------------------------

    async def _offer_subscriber(self) -> None:
        """With two peer connections: offer the one that the server sends on."""
        self._subscriber = await self._new_link(offering=True)
        if self._subscriber is not None:
            self._say(m.Offer(self._subscriber.peer.create_offer(), 1 + secrets.randbelow(256)))

    async def _on_offer(self, offer: m.Offer) -> None:
        """A first offer, one for a connection that the client made anew, or one more for the connection there is."""
        link = self._publisher
        try:
            fingerprints = SessionDescription.parse(offer.sdp).fingerprints
            if link is None or link.fingerprints != fingerprints:
                link = await self._new_link(offering=False)
                if link is None:
                    return
                self._replace_publisher(link)
            answer = link.accept_offer(offer.sdp)
        except DecodeError:
            self._mismatch()
        else:
            self._say(m.Answer(answer, offer.id))

    def _replace_publisher(self, publisher: PeerLink) -> None:
        if self._publisher is not None:
            self._publisher.close()
            if not self._server_offers:
                self._downlink.detach()
        self._publisher = publisher
        self.participant.uplink = publisher.uplink
        early, self._early = self._early, []
        for line in early:
            publisher.add_candidate(line)

    async def _new_link(self, *, offering: bool) -> PeerLink | None:
        """A connection with its sockets bound, or ``None``: then the participant is gone."""
        role = "subscriber" if offering else "publisher"
        config = PeerConfig(
            controlling=offering,
            answer_setup=Setup.ACTIVE,  # a LiveKit server is DTLS client unless the offer says otherwise
            include_loopback=True,
            hosts=self._settings.hosts,
            sctp=_SCTP,
            certificate=self._settings.certificate,
            name=f"server: {role} connection of {self.participant.identity}",
        )
        link = PeerLink(self, config)
        try:
            await link.gather()
        except (TransportError, OSError) as exc:
            logger.warning("%s: no sockets: %s", config.name, exc)
            self._hub.deliver(self._room.remove(self.participant, m.DisconnectReason.MEDIA_FAILURE))
        if self._ended or self._nursery is None:
            link.close()
            return None
        self._nursery.start_soon(link.peer.run, name=config.name)
        return link

    def _on_answer(self, answer: m.Answer) -> None:
        if self._subscriber is None:
            return
        try:
            self._subscriber.apply_answer(answer.sdp)
        except DecodeError:
            self._mismatch()

    def _mismatch(self) -> None:
        """Descriptions that make no sense: the client has to start over."""
        out = self._room.remove(self.participant, m.DisconnectReason.STATE_MISMATCH, m.LeaveAction.RECONNECT)
        self._hub.deliver(out)

    def _add_candidate(self, candidate: str, target: m.Target) -> None:
        link = self._subscriber if target is m.Target.SUBSCRIBER else self._publisher
        if link is not None:
            link.add_candidate(candidate)
        elif target is m.Target.PUBLISHER and len(self._early) < _EARLY_CANDIDATES:
            self._early.append(candidate)

    # --- what the peer connections say --------------------------------------------------------------------------------

    def receiver(self, label: str) -> Callable[[bytes], None]:
        """What is to be done with the messages of a channel."""
        forwarder, room, participant = self._hub.forwarder, self._room, self.participant
        if label == "_data_track":
            return partial(forwarder.track_packet, participant)
        if label in ("_reliable", "_lossy"):
            return partial(forwarder.user_packet, room, participant, reliable=label == "_reliable")
        return partial(forwarder.raw_message, room, participant)

    def _is_primary(self, link: PeerLink) -> bool:
        return link is (self._subscriber if self._server_offers else self._publisher)

    def on_channel_opened(self, link: PeerLink, label: str, channel_id: int) -> None:
        if self._is_primary(link):
            self._downlink.channel_opened(link.peer, label, channel_id)

    def on_channel_closed(self, link: PeerLink, channel_id: int) -> None:
        if self._is_primary(link):
            self._downlink.channel_closed(channel_id)

    def on_channel_drained(self, link: PeerLink, channel_id: int) -> None:
        if self._is_primary(link):
            self._downlink.channel_drained(channel_id)

    def on_connected(self, link: PeerLink) -> None:
        if self._is_primary(link):
            self._connected = True
            self._hub.deliver(self._room.activate(self.participant))
        links = (self._publisher, self._subscriber)
        if self._connected and not any(other is not None and other.closed for other in links):
            self._patience.deadline = math.inf

    def on_failed(self, link: PeerLink) -> None:
        if self._is_primary(link):
            self._downlink.detach()
        self._on_peers_lost()

    def _on_peers_lost(self) -> None:
        """The client may resume its session with a new connection for a while."""
        self._overdue = m.DisconnectReason.CONNECTION_TIMEOUT
        self._patience.deadline = trio.current_time() + self._hub.limits.departure_timeout_s
        if self._signal is not None and self._connected:
            self._say(m.Leave(m.DisconnectReason.CONNECTION_TIMEOUT, m.LeaveAction.RESUME))
            self._signal.end()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

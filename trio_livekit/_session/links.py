"""The peer connections of a session and the data channels on them.

Current servers use one peer connection for both directions. Older ones use two: ours, on which we send, and theirs,
which they offer and on which they send. Either way there are three channels, known by their labels.
"""

from __future__ import annotations

__all__ = ["Links"]

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from .._sansio.channels import BufferedAmountLow, ChannelClosed, ChannelOpened, MessageReceived
from .._sansio.peer import (
    PATIENT_SCTP,
    Connected,
    Disconnected,
    Failed,
    LocalCandidate,
    PathChanged,
    Reconnected,
)
from .._sansio.signal.messages import Answer, Offer, SyncState, Target, Trickle
from .._transport.peer import PeerConfig, PeerConnection
from ..errors import DecodeError, TransportError
from .labels import DATA_TRACK, LOSSY, MAX_PACKET_BYTES, RELIABLE
from .paths import Paths
from .stats import ChannelStats, transport_stats

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from .._sansio.peer import PeerEvent
    from .._sansio.sctp.tx.send_queue import OutboundStream
    from .._sansio.signal.messages import DataTrackInfo, IceServer
    from .stats import TransportStats

logger = logging.getLogger(__name__)

_SCTP = replace(PATIENT_SCTP, manual_window=True)
"""A reader that does not keep up with reliable packets holds up the server, and does not fill the memory here."""

_REQUIRED = frozenset((RELIABLE, LOSSY))
"""The server withholds data, silently, until both of these are open."""

_NEVER = 1 << 62
"""As a low-water mark: nothing falls to it from above."""


class _Traffic:
    """What went through one channel, both ways."""

    __slots__ = ("bytes_received", "bytes_sent", "label", "messages_received", "messages_sent")

    def __init__(self, label: str) -> None:
        self.label = label
        self.messages_sent = self.bytes_sent = self.messages_received = self.bytes_received = 0


class Links:
    """One peer connection that we offer, and on older servers a second one that the server offers.

    ``on_message(label, data)`` and ``on_lost(reason, is_error)`` are called from the receiving step, ``on_ready()``
    when all that the server wants open is open, ``on_path()`` when a path went silent, works again or was changed, and
    ``on_candidate(trickle)`` for an address of ours that the server does not know of. ``on_progress(label)`` is called,
    while it is asked for, whenever there may be room for more on a channel. Messages of the reliable channel occupy the
    receive window until they are consumed. None of them is called after ``close``.
    """

    def __init__(
        self,
        *,
        include_loopback: bool,
        paths: Paths,
        ssl_context: ssl.SSLContext | None,
        on_message: Callable[[str, bytes], None],
        on_lost: Callable[[str, bool], None],
        on_ready: Callable[[], None],
        on_path: Callable[[], None],
        on_candidate: Callable[[Trickle], None],
        on_progress: Callable[[str], None],
    ) -> None:
        self._include_loopback = include_loopback
        self._paths = paths
        self._ssl_context = ssl_context
        self._ice_servers: tuple[IceServer, ...] = ()
        self._relay_only = paths is Paths.RELAY
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_ready = on_ready
        self._on_path = on_path
        self._on_candidate = on_candidate
        self._on_progress = on_progress
        self._watched: tuple[str, ...] = ()  # the channels of which progress is to be told
        self._nursery: trio.Nursery | None = None
        self._publisher = self._peer("publisher", controlling=True)
        self._subscriber: PeerConnection | None = None
        self._channels: dict[str, OutboundStream] = {}  # those that are sent on
        self._traffic = {label: _Traffic(label) for label in (RELIABLE, LOSSY, DATA_TRACK)}
        self._missing = set(_REQUIRED)
        self._used = {(which, label) for which in ("publisher", "subscriber") for label in _REQUIRED}
        self._ended: set[tuple[str, str]] = set()
        self._early: list[Trickle] = []
        self._offer = Offer("")
        self._closed = False
        self._drained: trio.Event | None = None
        self._answer: Answer | None = None
        self._is_restart_offered = False
        self._silent: set[str] = set()

    # --- descriptions -------------------------------------------------------------------------------------------------

    async def prepare(self) -> Offer:
        """Gather local addresses and make the offer. Raises ``TransportError`` or ``OSError``."""
        await self._publisher.gather()
        self._offer = Offer(self._publisher.create_offer(), id=1)
        return self._offer

    def use_ice_servers(self, servers: tuple[IceServer, ...], *, relay_only: bool) -> None:
        """The relays that the server has for us: for where nothing else works, or for everything."""
        self._ice_servers, self._relay_only = servers, relay_only or self._relay_only
        self._publisher.use_ice_servers(servers, relay_only=self._relay_only)

    def expect_subscriber(self) -> None:
        """The server will offer a second peer connection, and it counts: nothing arrives before it is up."""
        self._missing |= {f"subscriber {label}" for label in _REQUIRED}

    def on_answer(self, answer: Answer) -> None:
        """The server's answer to our offer: the channels can be opened, or paths be looked for anew."""
        is_first = self._answer is None
        if answer.id not in (0, self._offer.id) or not (is_first or self._is_restart_offered):
            return
        try:
            if is_first:
                self._publisher.apply_answer(answer.sdp)
            else:
                self._publisher.apply_restart(answer.sdp)
        except DecodeError as exc:
            self._on_lost(f"the server's answer is malformed: {exc}", True)
            return
        self._answer = answer
        self._is_restart_offered = False
        if is_first and (limit := self._publisher.max_message_size) < MAX_PACKET_BYTES:
            # What is longer than its limit could only fail later, one message at a time.
            text = f"the server takes messages of {limit} bytes at most, and LiveKit's may have {MAX_PACKET_BYTES}"
            self._on_lost(f"{text}: the a=max-message-size of its answer", True)
        elif is_first:
            self._open_channels()

    def _open_channels(self) -> None:
        publisher, channels = self._publisher, self._channels
        channels[RELIABLE] = publisher.outbound(publisher.open_channel(RELIABLE))
        for label in (LOSSY, DATA_TRACK):
            channels[label] = publisher.outbound(publisher.open_channel(label, ordered=False, max_retransmits=0))
        for label in _REQUIRED:
            publisher.set_low_water(channels[label].id, 0)  # tells that the server has the request for it
        self._replay(Target.PUBLISHER)

    async def on_offer(self, offer: Offer) -> Answer:
        """The server offers its peer connection: take it. Raises ``DecodeError``, ``TransportError`` or ``OSError``."""
        if self._nursery is None:
            raise TransportError("the server offered its peer connection too early")
        subscriber = self._subscriber = self._peer("subscriber", controlling=False)
        await subscriber.gather()
        if self._closed:
            subscriber.close()
            raise TransportError("the room is being left")
        answer = subscriber.accept_offer(offer.sdp)
        self._nursery.start_soon(subscriber.run, name="subscriber connection")
        self._replay(Target.SUBSCRIBER)
        return Answer(answer, offer.id)

    @property
    def has_subscriber(self) -> bool:
        """Whether the server has offered its peer connection."""
        return self._subscriber is not None

    def on_restart_offer(self, offer: Offer) -> Answer:
        """The server offers its peer connection again, to restart ICE as after a resume. Raises ``DecodeError``.

        Not async: the candidates that follow the offer are for after the restart.
        """
        assert self._subscriber is not None
        return Answer(self._subscriber.accept_restart(offer.sdp), offer.id)

    def restart(self) -> Offer:
        """An offer that restarts ICE on the peer connection that we offer. What flows on it flows on."""
        self._offer = Offer(self._publisher.create_restart(), id=self._offer.id + 1)
        self._is_restart_offered = True
        return self._offer

    @property
    def is_silent(self) -> bool:
        """Whether a peer connection has no path that works."""
        return bool(self._silent)

    @property
    def is_subscriber_silent(self) -> bool:
        """Whether it is the one that the server offers."""
        return "subscriber" in self._silent

    @property
    def is_restarting(self) -> bool:
        """Whether an ICE restart of ours is under way."""
        return self._publisher.is_restarting

    def on_trickle(self, trickle: Trickle) -> None:
        """A candidate of the server's; kept until the description it belongs to is there."""
        if trickle.target == Target.SUBSCRIBER:
            peer = self._subscriber
        else:
            peer = self._publisher if self._channels else None
        if peer is None:
            if len(self._early) < 64:
                self._early.append(trickle)
            return
        if trickle.candidate:
            peer.add_remote_candidate(trickle.candidate)
        if trickle.final:
            peer.add_remote_candidate("")

    def use_data_tracks(self, *, to_send: bool) -> None:
        """The server has granted a track of ours, or one to us: so the channel for them has to be there.

        A server that is set to have no data tracks closes it as soon as it is open, and everything else works on.
        """
        which = "publisher" if to_send or self._subscriber is None else "subscriber"
        if (which, DATA_TRACK) not in self._used:
            self._used.add((which, DATA_TRACK))
            self._check_used(which, DATA_TRACK)

    # --- data ---------------------------------------------------------------------------------------------------------

    def send(self, label: str, messages: list[bytes], now: float) -> None:
        """Send messages on one of the three channels, in the caller's step as far as the network takes them.

        On a channel that is closed they are lost, as they are with a connection.
        """
        channel = self._channels.get(label)
        if channel is not None:
            self._count_sent(label, len(messages), sum(map(len, messages)))
            try:
                self._publisher.send_all(channel.id, messages, now)
            except TransportError:  # the server is closing it, which will be told in a moment
                if label == RELIABLE:
                    raise

    def send_until(self, label: str, messages: list[tuple[float, bytes]], now: float) -> None:
        """Send messages that may be lost, each of which is given up if nothing of it has left by its time."""
        channel = self._channels.get(label)
        if channel is not None:
            self._count_sent(label, len(messages), sum(len(message) for _, message in messages))
            with suppress(TransportError):  # the server is closing it, which will be told in a moment
                self._publisher.send_all_until(channel.id, messages, now)

    def send_together(self, label: str, messages: list[bytes], now: float, *, more: bool) -> None:
        """Send messages that may be lost and belong together; with ``more`` that will follow."""
        channel = self._channels.get(label)
        if channel is not None:
            self._count_sent(label, len(messages), sum(map(len, messages)))
            with suppress(TransportError):  # as in ``send_until``
                self._publisher.send_together(channel.id, messages, now, more=more)

    def withdraw(self, label: str) -> list[bytes]:
        """Take back the messages of a channel of which nothing has been sent, in order."""
        channel = self._channels.get(label)
        if channel is None:
            return []
        messages = self._publisher.withdraw(channel.id)
        self._count_sent(label, -len(messages), -sum(map(len, messages)))
        return messages

    def _count_sent(self, label: str, messages: int, size: int) -> None:
        traffic = self._traffic[label]
        traffic.messages_sent += messages
        traffic.bytes_sent += size

    def expired_count(self, label: str) -> int:
        """Messages of a channel that were given up for their age before anything of them was sent."""
        channel = self._channels.get(label)
        return 0 if channel is None else channel.expired

    def buffered_amount(self, label: str) -> int:
        """Bytes of a channel that the server has not acknowledged."""
        channel = self._channels.get(label)
        return 0 if channel is None else channel.buffered

    def unsent_amount(self, label: str) -> int:
        """Bytes of a channel's messages of which nothing has been sent yet."""
        channel = self._channels.get(label)
        return 0 if channel is None else channel.unsent

    @property
    def polite_amount(self) -> int:
        """Bytes on the way beyond which what may be lost would build a queue there: few where the network is slow."""
        return self._publisher.polite_amount

    @property
    def prompt_amount(self) -> int:
        """Bytes that leave in about 10 ms, as things are: of what may wait elsewhere, no more need wait there."""
        return self._publisher.prompt_amount

    def watch_progress(self, label: str, watch: bool) -> None:
        """Call ``on_progress`` whenever there may be room for more on a channel, or do not."""
        if watch is (label in self._watched):
            return
        self._watched = (*self._watched, label) if watch else tuple(each for each in self._watched if each != label)
        self._publisher.watch_progress(self._tell_progress if self._watched else None)

    def consume(self, size: int) -> None:
        """The application is done with reliable messages of ``size`` bytes: the server may send as many more."""
        if not self._closed:
            (self._subscriber or self._publisher).consume(size)

    def describe(self, data_tracks: Iterable[DataTrackInfo]) -> SyncState:
        """What a resumed session tells the server: the connection as it stands, and the tracks published on it."""
        channels = tuple((label, channel.id, Target.PUBLISHER) for label, channel in self._channels.items())
        return SyncState(self._offer, self._answer, tuple(data_tracks), channels)

    def transport_stats(self) -> tuple[TransportStats, ...]:
        """How the peer connections are doing."""
        if self._subscriber is None:
            return (transport_stats("both", *self._publisher.statistics()),)
        return (
            transport_stats("send", *self._publisher.statistics()),
            transport_stats("receive", *self._subscriber.statistics()),
        )

    def channel_stats(self) -> dict[str, ChannelStats]:
        """How the channels are doing, by label."""
        return {
            label: ChannelStats(
                messages_sent=traffic.messages_sent,
                bytes_sent=traffic.bytes_sent,
                messages_received=traffic.messages_received,
                bytes_received=traffic.bytes_received,
                buffered=self.buffered_amount(label),
                unsent=self.unsent_amount(label),
            )
            for label, traffic in self._traffic.items()
        }

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive the peer connections until ``close`` or cancelled."""
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                self._nursery = nursery
                await nursery.start(self._publisher.run, name="publisher connection")
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.close()

    async def drain(self) -> None:
        """Close the reliable channel, and wait until the server has done so: then it has read all that came before.

        An acknowledgement says less: the message is in the server, which may not have looked at it yet, and does not
        do so any more once it has let a participant go.
        """
        channel = self._channels.get(RELIABLE)
        if channel is not None:
            self._drained = trio.Event()
            self._publisher.close_channel(channel.id)
            await self._drained.wait()

    def close(self) -> None:
        """Say goodbye to the peers and close the sockets."""
        self._closed = True
        self._channels.clear()
        self._publisher.close()
        if self._subscriber is not None:
            self._subscriber.close()
        self._watched = ()
        self._publisher.watch_progress(None)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel("the peer connections are closed")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _peer(self, which: str, *, controlling: bool) -> PeerConnection:
        config = PeerConfig(
            controlling=controlling,
            include_loopback=self._include_loopback,
            udp=self._paths is not Paths.TCP,
            ice_servers=self._ice_servers,
            relay_only=self._relay_only,
            ssl_context=self._ssl_context,
            sctp=_SCTP,
            name=f"{which} connection",
        )
        channels: dict[int, _Traffic] = {}
        unheeded: set[int] = set()  # reliable channels that are none of ours

        def receive(event: PeerEvent) -> None:
            if self._closed:
                return
            if type(event) is MessageReceived:
                traffic = channels.get(event.channel_id)
                if traffic is not None:
                    traffic.messages_received += 1
                    traffic.bytes_received += len(event.data)
                    self._on_message(traffic.label, event.data)
                if unheeded and event.channel_id in unheeded:
                    peer.consume(len(event.data))
            else:
                if type(event) is ChannelOpened and event.label != RELIABLE and _is_reliable(event):
                    unheeded.add(event.channel_id)
                self._on_peer_event(which, event, channels)

        peer = PeerConnection(config, receive)
        return peer

    def _on_peer_event(self, which: str, event: PeerEvent, channels: dict[int, _Traffic]) -> None:
        if isinstance(event, ChannelOpened):
            if event.label in self._traffic:  # others are not listened to
                channels[event.channel_id] = self._traffic[event.label]
            self._on_there(event.label if which == "publisher" else f"subscriber {event.label}")
        elif isinstance(event, BufferedAmountLow) and which == "publisher":
            # So it has the channel. Its answer may be lost, and comes again after 1, 3, 7 and 15 seconds (RFC 9260).
            self._on_there(self._label(event.channel_id))
        elif isinstance(event, ChannelClosed):
            self._on_closed(which, event.channel_id, channels.pop(event.channel_id, None))
        elif isinstance(event, Connected):
            for stats in self.transport_stats():
                logger.info(
                    "%s connection: up over %s (%s to %s)", which, stats.protocol, stats.local_kind, stats.remote_kind
                )
        elif isinstance(event, LocalCandidate):
            target = Target.PUBLISHER if which == "publisher" else Target.SUBSCRIBER
            self._on_candidate(Trickle(event.line, target))
        elif isinstance(event, Disconnected):
            self._silent.add(which)
            self._on_path()
        elif isinstance(event, Reconnected):
            self._silent.discard(which)
            self._on_path()
        elif isinstance(event, PathChanged):
            self._on_path()
        elif isinstance(event, Failed):
            self._on_lost(event.reason, event.is_error)

    def _label(self, channel_id: int) -> str:
        """Of a channel that we send on."""
        return next((label for label, channel in self._channels.items() if channel.id == channel_id), "")

    def _on_closed(self, which: str, channel_id: int, traffic: _Traffic | None) -> None:
        """A channel is closed, perhaps before it was open, and so before it had ``traffic``."""
        if which == "publisher":
            label = self._label(channel_id)
            if not label:
                return  # not one that is sent on: the server may open more
            del self._channels[label]
        else:
            label = "" if traffic is None else traffic.label
        self._ended.add((which, label))
        if label == RELIABLE and self._drained is not None:
            self._drained.set()
        else:
            self._check_used(which, label)

    def _check_used(self, which: str, label: str) -> None:
        """Whether a channel that is closed is in use: then the session is of no use without it."""
        if (which, label) in self._used & self._ended:
            self._on_lost(f"the server closed the {label} channel", False)

    def _on_there(self, what: str) -> None:
        """A channel is there, perhaps one of those that are needed."""
        if what in self._missing and what in self._channels:
            self._publisher.set_low_water(self._channels[what].id, _NEVER)
        self._missing.discard(what)
        if not self._missing:
            self._on_ready()

    def _tell_progress(self) -> None:
        for label in self._watched:
            self._on_progress(label)

    def _replay(self, target: Target) -> None:
        early, self._early = self._early, []
        for trickle in early:
            if trickle.target == target:
                self.on_trickle(trickle)
            else:
                self._early.append(trickle)


def _is_reliable(channel: ChannelOpened) -> bool:
    return channel.max_retransmits is None and channel.lifetime_ms is None

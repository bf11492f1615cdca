"""ICE, DTLS, SCTP and data channels of one peer connection, as one object with one deadline.

The layers meet here and nowhere else: a STUN datagram goes to the ICE agent; a DTLS record, if it came over a path that
an authenticated check vouches for, goes to the DTLS connection; what that decrypts goes to the association; what the
association completes comes out as channel events. Downwards the same way. Each layer starts the moment the one below
allows it: DTLS on the first selected path, SCTP with our last handshake flight.
"""

from __future__ import annotations

__all__ = [
    "PATIENT_SCTP",
    "Connected",
    "Disconnected",
    "Failed",
    "LocalCandidate",
    "PathChanged",
    "Peer",
    "PeerEvent",
    "PeerStatistics",
    "Reconnected",
    "RemoteDescription",
    "Suspected",
]

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import TransportError
from .channels import (
    AssociationLost,
    AssociationUp,
    BufferedAmountLow,
    ChannelClosed,
    ChannelOpened,
    DataChannels,
    MessageReceived,
)
from .dtls import Config as DtlsConfig
from .dtls import Connection as DtlsConnection
from .dtls import ConnectionClosed, ConnectionFailed, ConnectionState, HandshakeCompleted, Role
from .ice.agent import Agent
from .ice.events import Path, PathRecovered, PathSelected, PathSuspected, State, StateChanged, TcpConnectNeeded
from .records import dataclass
from .sctp import Association
from .sctp import Config as SctpConfig
from .sctp.tx.congestion import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dtls import Fingerprint, LocalCertificate
    from .dtls.events import Statistics as DtlsStatistics
    from .ice.counters import Statistics as IceStatistics
    from .sctp import Statistics as SctpStatistics
    from .sctp.tx.send_queue import OutboundStream
    from .types import Address, RandomBytes

_PATIENT_DTLS = {
    Role.CLIENT: DtlsConfig(max_timeout_s=1.0),
    Role.SERVER: DtlsConfig(max_timeout_s=1.0, suspicion_s=1.0),
}
"""Flights are repeated every second at least, not every 3.2: of a handshake at 50 % loss, each try is one in four. What
was damaged on the way to a server is mended within a second, or it is not at all: as client, pion never begins anew."""

PATIENT_SCTP = SctpConfig(handshake_retries=40)
"""The peer may be held up in its half of the DTLS handshake. It is ICE that says when there is no point in waiting."""

_EARLY_DATAGRAMS = 8
"""DTLS datagrams kept until the descriptions are exchanged: the peer may be quicker than its answer."""


class Connected(NamedTuple):
    """DTLS and SCTP are up: channels work."""


class Suspected(NamedTuple):
    """The path does not answer; others are tried. This may pass without anybody having to know."""


class Disconnected(NamedTuple):
    """The path went silent; it may come back, and everything above it stays as it is."""


class Reconnected(NamedTuple):
    """The path, or another one, works again."""


class PathChanged(NamedTuple):
    """Data takes another path, or the same one after an ICE restart."""


class Failed(NamedTuple):
    """The connection is lost for good, or never came up."""

    reason: str
    is_error: bool = False
    """Whether one of the two found something wrong with DTLS, so that neither of them meant it to end."""


class LocalCandidate(NamedTuple):
    """A candidate of ours, found after the description was made: to be trickled. The driver adds these."""

    line: str


PeerEvent = (
    Connected
    | Suspected
    | Disconnected
    | Reconnected
    | PathChanged
    | Failed
    | LocalCandidate
    | ChannelOpened
    | ChannelClosed
    | MessageReceived
    | BufferedAmountLow
    | TcpConnectNeeded
)


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """What the remote description says that the layers need."""

    ufrag: str
    password: str
    fingerprints: tuple[Fingerprint, ...]
    lite: bool = False
    max_message_size: int = 65536


class PeerStatistics(NamedTuple):
    """A snapshot of the layers; those that have not begun yet are ``None``."""

    ice: IceStatistics
    dtls: DtlsStatistics | None
    sctp: SctpStatistics | None


class Peer:
    """One peer connection, without its sockets. Only STUN is answered until ``start`` settles the roles.

    Attributes:
        ice: the agent. The driver tells it about candidates and TCP connections.
        blocked: to be set by the driver while the socket of the selected path takes nothing. Only checks leave then.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        certificate: LocalCertificate,
        random_bytes: RandomBytes,
        dtls_config: DtlsConfig | None = None,
        sctp_config: SctpConfig | None = None,
        key_log: Callable[[str], None] | None = None,
    ) -> None:
        self.ice = Agent(controlling=controlling, random_bytes=random_bytes)
        self.blocked = False
        self._certificate = certificate
        self._random_bytes = random_bytes
        self._dtls_config = dtls_config
        self._sctp_config = sctp_config
        self._key_log = key_log
        self._dtls: DtlsConnection | None = None
        self._channels: DataChannels | None = None
        self._early: list[bytes] = []
        self._events: list[PeerEvent] = []
        self._had_path = self._secure = self._silent = False
        self._is_heard = False  # the other end is connected as well: its data comes, or it was connected before us
        self._first_word: tuple[bytes, bytes] | None = None  # what was said before that, and the record of it
        self._flight: list[bytes] = []  # before that, the last one of a DTLS server
        self._over = self._said_goodbye = False
        self._dtls_due = True

    # --- commands -----------------------------------------------------------------------------------------------------

    def start(self, role: Role, remote: RemoteDescription, now: float) -> None:
        """The descriptions are exchanged: who is DTLS client, and what the other side is like. Once only."""
        if self._dtls is not None:
            raise RuntimeError("the roles of this peer connection are settled already")
        config = self._sctp_config or PATIENT_SCTP
        self.ice.set_remote_parameters(remote.ufrag, remote.password, lite=remote.lite, now=now)
        association = Association(
            random_bytes=self._random_bytes, config=replace(config, max_message_size=remote.max_message_size)
        )
        self._channels = DataChannels(association, dtls_role=role)
        self._dtls = DtlsConnection(
            role,
            certificate=self._certificate,
            random_bytes=self._random_bytes,
            remote_fingerprints=remote.fingerprints,
            config=self._dtls_config or _PATIENT_DTLS[role],
            key_log=self._key_log,
        )
        if self._had_path:
            self._dtls.start(now, self.ice.statistics().rtt_s)
        early, self._early = self._early, []
        if early:
            self._receive_dtls(early, now)

    def open_channel(self, label: str, *, ordered: bool = True, max_retransmits: int | None = None, now: float) -> int:
        """Open a data channel; returns its id, on which messages may be sent at once. Needs ``start`` first.

        Raises ``TransportError`` when the connection is over.
        """
        return self._started().open(label, ordered=ordered, max_retransmits=max_retransmits, now=now)

    def send(
        self, channel_id: int, data: bytes, now: float, *, text: bool = False, lifetime_s: float | None = None,
        more: bool = False,
    ) -> None:  # fmt: skip
        """Queue one message. Raises ``TransportError`` when the channel is not open, or the connection is over.

        `lifetime_s` and `more` are those of ``Association.send``.
        """
        channels = self._channels
        if channels is None or self._over:
            channels = self._started()
        channels.send(channel_id, data, text=text, now=now, lifetime_s=lifetime_s, more=more)

    def withdraw(self, channel_id: int) -> list[bytes]:
        """Take back the messages of a channel of which nothing has been sent, in order."""
        return [] if self._channels is None else self._channels.withdraw(channel_id)

    def close_channel(self, channel_id: int, now: float) -> None:
        """Close a channel once what is queued on it has been sent."""
        self._started().close(channel_id, now)

    def consume(self, size: int) -> None:
        """Reliable messages of ``size`` bytes were used: reopens the window where the SCTP config says ``manual``."""
        if self._channels is not None:
            self._channels.consume(size)

    def outbound(self, channel_id: int) -> OutboundStream:
        """How much of what goes out on a channel waits here, and how much is on the way: to be looked at."""
        return self._started().association.outbound(channel_id)

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes of a channel that the peer has not acknowledged, and that were not given up."""
        return 0 if self._channels is None else self._channels.buffered_amount(channel_id)

    @property
    def polite_amount(self) -> int:
        """Bytes in flight beyond which messages that may be lost would build a queue on the way."""
        return UNLIMITED if self._channels is None else self._channels.association.polite_amount

    @property
    def prompt_amount(self) -> int:
        """Bytes that leave in about 10 ms, as things are."""
        return UNLIMITED if self._channels is None else self._channels.association.prompt_amount

    def statistics(self) -> PeerStatistics:
        """A snapshot of all layers."""
        dtls, channels = self._dtls, self._channels
        return PeerStatistics(
            self.ice.statistics(),
            None if dtls is None else dtls.statistics(),
            None if channels is None else channels.statistics(),
        )

    def set_low_water(self, channel_id: int, size: int) -> None:
        """Report ``BufferedAmountLow`` when the channel's buffered amount falls to ``size``."""
        if self._channels is not None:
            self._channels.set_low_water(channel_id, size)

    def close(self, now: float) -> None:
        """Say goodbye on every layer; what is to be sent for it is in the next ``datagrams_to_send``."""
        self._over = True

    # --- the doors of a core ------------------------------------------------------------------------------------------

    def receive_datagrams(
        self, received: list[tuple[bytes, Address]], local: Address, protocol: str, now: float
    ) -> None:
        """What one socket had to read, in order, each datagram with its source."""
        if self._over:
            return
        ice = self.ice
        trusted: Address | None = None  # the source that the last authenticated path of this batch had
        heard: Address | None = None  # who sent something that can only be the peer's
        records: list[bytes] = []  # from there, to be opened together
        for data, remote in received:
            first = data[0] if data else 255
            if 20 <= first <= 63:  # RFC 7983: DTLS
                if remote != trusted:
                    if not ice.is_authenticated(Path(local, remote, protocol)):
                        continue
                    if records and self._receive_dtls(records, now):
                        heard = trusted
                    trusted, records = remote, []
                records.append(data)
            elif first <= 3:
                ice.receive_datagram(data, Path(local, remote, protocol), now)
                self._settle_ice(now)
        if records and self._receive_dtls(records, now):
            heard = trusted
        if heard is not None and ice.selected_path == (local, heard, protocol):
            ice.note_activity(now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        if self._over:
            return
        self.ice.handle_timeout(now)
        self._settle_ice(now)
        dtls, channels = self._dtls, self._channels
        if dtls is not None and channels is not None and self._may_send:
            dtls.handle_timeout(now)
            self._settle_dtls(now)
            if self._secure:
                channels.handle_timeout(now)

    def datagrams_to_send(self, now: float) -> list[tuple[Path, list[bytes]]]:
        """Datagrams by the path they take, in the order to send them."""
        out: list[tuple[Path, list[bytes]]] = []
        if self._over:
            return self._goodbye(now)
        ice = self.ice.session
        if ice.selection.events:  # whoever spoke to the agent directly need not tell us
            self._settle_ice(now)
        if ice.outbox:
            out += [(check_path, [check]) for check_path, check in self.ice.datagrams_to_send(now)]
        path = ice.selection.path  # None as well where the peer's consent ran out (RFC 7675)
        dtls, channels = self._dtls, self._channels
        if path is None or self.blocked or dtls is None or channels is None:
            return out
        if self._dtls_due:
            self._dtls_due = False
            if flight := dtls.datagrams_to_send(now):
                out.append((path, flight))
                if dtls.role is Role.SERVER and not self._is_heard:
                    self._flight = flight
        if self._secure and (packets := channels.datagrams_to_send(now)):
            out.append((path, dtls.seal_many(packets) if self._is_heard else self._say_first(dtls, packets[0])))
        return out

    def _say_first(self, dtls: DtlsConnection, packet: bytes) -> list[bytes]:
        """What is said to a client that may not be connected yet: the same INIT, in the same record, until it is heard.

        As a client, pion keeps one record of data that comes before the server's Finished, and stops reading for good
        at the second; its server gives up 10 s later. One that it has had already it drops, as every client does. With
        it, the Finished is repeated, which a client asks for at growing intervals only.
        """
        if self._first_word is None or self._first_word[0] != packet:
            self._first_word = packet, dtls.seal(packet)
            return [self._first_word[1]]
        return [*self._flight, self._first_word[1]]

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` is due, whatever else happens."""
        if self._over:
            return None
        deadline = self.ice.next_timeout()
        dtls, channels = self._dtls, self._channels
        # Without a way to send, the layers above could only find out again and again that they are late.
        if (
            dtls is not None
            and channels is not None
            and self.ice.session.selection.path is not None
            and not self.blocked
        ):
            due = channels.next_timeout() if self._secure else dtls.next_timeout()
            if due is not None and (deadline is None or due < deadline):
                deadline = due
        return deadline

    @property
    def has_events(self) -> bool:
        """Whether ``poll_events`` has something to tell that was found out while sending."""
        return bool(self._events)

    def poll_events(self) -> list[PeerEvent]:
        """What happened since the last call, in order; ``Failed`` is the last of all."""
        self._take_channel_events()
        events, self._events = self._events, []
        return events

    # --- how one layer starts the next --------------------------------------------------------------------------------

    @property
    def _may_send(self) -> bool:
        return self.ice.selected_path is not None and not self.blocked

    def _receive_dtls(self, datagrams: list[bytes], now: float) -> bool:
        """Returns whether any of it can only have come from the peer."""
        dtls, channels = self._dtls, self._channels
        if dtls is None or channels is None:
            self._early += datagrams[: _EARLY_DATAGRAMS - len(self._early)]
            return False
        if not self._secure and len(datagrams) > 1:  # what follows a handshake needs its outcome
            heard = [self._receive_dtls([data], now) for data in datagrams]
            return any(heard)
        packets = dtls.receive_datagrams(datagrams, now)
        if packets:
            if not self._is_heard:
                self._on_heard()
            channels.receive_datagrams(packets, now)
        if dtls.has_news:
            self._settle_dtls(now)
        return bool(packets)

    def _on_heard(self) -> None:
        """The other end is connected: nothing of the handshake is repeated any more."""
        self._is_heard = True
        self._first_word = None
        self._flight = []

    def _settle_ice(self, now: float) -> None:
        for event in self.ice.poll_events():
            match event:
                case PathSelected():
                    self._on_path_selected(now)
                case PathRecovered():
                    self._on_path_recovered(now)
                case PathSuspected():
                    self._events.append(Suspected())
                case StateChanged(State.DISCONNECTED):
                    self._silent = True
                    self._events.append(Disconnected())
                case StateChanged(State.CONNECTED) if self._silent:
                    self._silent = False
                    self._events.append(Reconnected())
                case StateChanged(State.FAILED):
                    self._fail("no network path to the peer works")
                case TcpConnectNeeded():
                    self._events.append(event)

    def _on_path_selected(self, now: float) -> None:
        if self._had_path:
            self._on_path_recovered(now)
            self._events.append(PathChanged())
        elif self._dtls is not None:
            self._dtls.start(now, self.ice.statistics().rtt_s)
        self._had_path = self._dtls_due = True

    def _on_path_recovered(self, now: float) -> None:
        if self._secure and self._channels is not None:
            self._channels.on_path_recovered(now, round_trip_s=self.ice.statistics().rtt_s)

    def _settle_dtls(self, now: float) -> None:
        if self._dtls is None or self._channels is None:
            return
        self._dtls_due = True
        for event in self._dtls.poll_events():
            match event:
                case HandshakeCompleted():
                    self._secure = True
                    if self._dtls.role is Role.CLIENT:
                        self._on_heard()
                    self._channels.connect(now, round_trip_s=self.ice.statistics().rtt_s)
                case ConnectionFailed():
                    self._fail(f"DTLS failed: {event.reason}", is_error=True)
                case ConnectionClosed():
                    self._fail("the peer closed the connection")

    def _take_channel_events(self) -> None:
        if self._channels is None or self._over:
            return
        events = self._events
        for event in self._channels.poll_events():
            if event.__class__ is MessageReceived:
                events.append(event)
            elif isinstance(event, AssociationUp):
                events.append(Connected())
            elif isinstance(event, AssociationLost):
                self._fail(f"the SCTP association was lost: {event.reason}")
            else:
                events.append(event)

    def _started(self) -> DataChannels:
        if self._over:
            raise TransportError("the peer connection is over")
        if self._channels is None:
            raise RuntimeError("the descriptions have not been exchanged yet")
        return self._channels

    def _fail(self, reason: str, *, is_error: bool = False) -> None:
        if not self._over:
            self._take_channel_events()  # what arrived before
        if not self._over:  # and was not itself the end
            self._over = True
            self._events.append(Failed(reason, is_error))

    def _goodbye(self, now: float) -> list[tuple[Path, list[bytes]]]:
        """The last words, once: an alert with what is wrong, or an ABORT and close_notify."""
        path, dtls, channels = self.ice.selected_path, self._dtls, self._channels
        if self._said_goodbye:
            return []
        self._said_goodbye = True
        words: list[bytes] = []
        if dtls is not None and channels is not None:
            channels.abort(now)
            if dtls.state is ConnectionState.CONNECTED:
                words += dtls.seal_many(channels.datagrams_to_send(now))
            dtls.close(now)
            words += dtls.datagrams_to_send(now)
        self.ice.close()
        return [(path, words)] if path is not None and words else []

"""ICE, DTLS, SCTP and data channels of one peer connection, as one object with one deadline.

The layers meet here and nowhere else: a STUN datagram goes to the ICE agent; a DTLS record, if it came over a path that
an authenticated check vouches for, goes to the DTLS connection; what that decrypts goes to the association; what the
association completes comes out as channel events. Downwards the same way. Each layer starts the moment the one below
allows it: DTLS on the first selected path, SCTP with our last handshake flight.
"""

from __future__ import annotations

__all__ = ["Connected", "Disconnected", "Failed", "Peer", "PeerEvent", "Reconnected", "RemoteDescription"]

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

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
from .dtls import ConnectionClosed, ConnectionFailed, HandshakeCompleted, Role
from .ice.agent import Agent
from .ice.events import Path, PathRecovered, PathSelected, State, StateChanged, TcpConnectNeeded
from .sctp import Association
from .sctp import Config as SctpConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dtls import Fingerprint, LocalCertificate
    from .types import Address, RandomBytes

_APPLICATION_DATA = 23  # the DTLS record type

_EARLY_DATAGRAMS = 8
"""DTLS datagrams kept until the descriptions are exchanged: the peer may be quicker than its answer."""


class Connected(NamedTuple):
    """DTLS and SCTP are up: channels work."""


class Disconnected(NamedTuple):
    """The path went silent; it may come back, and everything above it stays as it is."""


class Reconnected(NamedTuple):
    """The path, or another one, works again."""


class Failed(NamedTuple):
    """The connection is lost for good, or never came up."""

    reason: str


PeerEvent = (
    Connected
    | Disconnected
    | Reconnected
    | Failed
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


class Peer:
    """One peer connection, without its sockets. Only STUN is answered until ``start`` settles the roles."""

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
        self._certificate = certificate
        self._random_bytes = random_bytes
        self._dtls_config = dtls_config
        self._sctp_config = sctp_config
        self._key_log = key_log
        self._dtls: DtlsConnection | None = None
        self._channels: DataChannels | None = None
        self._early: list[bytes] = []
        self._events: list[PeerEvent] = []
        self._path: Path | None = None
        self._secure = self._silent = self._over = False
        self._goodbye: list[bytes] = []
        self._dtls_due = True

    # --- commands -----------------------------------------------------------------------------------------------------

    def start(self, role: Role, remote: RemoteDescription, now: float) -> None:
        """The descriptions are exchanged: who is DTLS client, and what the other side is like. Once only."""
        if self._dtls is not None:
            raise RuntimeError("the roles of this peer connection are settled already")
        config = self._sctp_config or SctpConfig()
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
            config=self._dtls_config or DtlsConfig(),
            key_log=self._key_log,
        )
        if self._path is not None:
            self._dtls.start(now)
        early, self._early = self._early, []
        for data in early:
            self._receive_dtls(data, now)

    def open_channel(self, label: str, *, ordered: bool = True, max_retransmits: int | None = None, now: float) -> int:
        """Open a data channel; returns its id, on which messages may be sent at once. Needs ``start`` first."""
        return self._started().open(label, ordered=ordered, max_retransmits=max_retransmits, now=now)

    def send(self, channel_id: int, data: bytes, now: float) -> None:
        """Queue one binary message."""
        self._started().send(channel_id, data, now=now)

    def close_channel(self, channel_id: int, now: float) -> None:
        """Close a channel once what is queued on it has been sent."""
        self._started().close(channel_id, now)

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes queued on a channel and not yet sent."""
        return self._started().buffered_amount(channel_id)

    def set_low_water(self, channel_id: int, size: int) -> None:
        """Report ``BufferedAmountLow`` when the channel's buffered amount falls to ``size``."""
        self._started().set_low_water(channel_id, size)

    def close(self, now: float) -> None:
        """Say goodbye on every layer; what is to be sent for it is in the next ``datagrams_to_send``."""
        if self._over:
            return
        self._over = True
        if self._secure and self._channels is not None and self._dtls is not None:
            self._channels.association.abort(now)
            self._goodbye = self._dtls.seal_many(self._channels.datagrams_to_send(now))
            self._dtls.close(now)
            self._goodbye += self._dtls.datagrams_to_send(now)

    # --- the doors of a core ------------------------------------------------------------------------------------------

    def receive_datagrams(
        self, received: list[tuple[bytes, Address]], local: Address, protocol: str, now: float
    ) -> None:
        """What one socket had to read, in order, each datagram with its source."""
        if self._over:
            return
        ice = self.ice
        dtls = self._dtls
        trusted: Address | None = None  # the source that the last authenticated path of this batch had
        for data, remote in received:
            first = data[0] if data else 255
            if 20 <= first <= 63:  # RFC 7983: DTLS
                if remote != trusted:
                    if not ice.is_authenticated(Path(local, remote, protocol)):
                        continue
                    trusted = remote
                if dtls is not None:
                    self._receive_dtls(data, now)
                elif len(self._early) < _EARLY_DATAGRAMS:
                    self._early.append(data)
            elif first <= 3:
                ice.receive_datagram(data, Path(local, remote, protocol), now)
                self._settle_ice(now)
        if trusted is not None:
            ice.note_activity(now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        if self._over:
            return
        self.ice.handle_timeout(now)
        self._settle_ice(now)
        if self._dtls is not None and self._channels is not None:
            self._dtls.handle_timeout(now)
            self._settle_dtls(now)
            if self._secure:
                self._channels.handle_timeout(now)

    def datagrams_to_send(self, now: float) -> list[tuple[Path, list[bytes]]]:
        """Datagrams by the path they take, in the order to send them."""
        out: list[tuple[Path, list[bytes]]] = []
        if self._over:
            if self._goodbye and self._path is not None:
                out.append((self._path, self._goodbye))
                self._goodbye = []
            return out
        self._settle_ice(now)  # whoever spoke to the agent directly need not tell us
        for check_path, check in self.ice.datagrams_to_send(now):
            out.append((check_path, [check]))
        path = self._path
        dtls, channels = self._dtls, self._channels
        if path is None or dtls is None or channels is None:
            return out
        if self._dtls_due:
            self._dtls_due = False
            if flight := dtls.datagrams_to_send(now):
                out.append((path, flight))
        if self._secure and (packets := channels.datagrams_to_send(now)):
            out.append((path, dtls.seal_many(packets)))
        return out

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` is due, whatever else happens."""
        if self._over:
            return None
        deadlines = [self.ice.next_timeout()]
        if self._dtls is not None:
            deadlines.append(self._dtls.next_timeout())
        if self._secure and self._channels is not None:
            deadlines.append(self._channels.next_timeout())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def poll_events(self) -> list[PeerEvent]:
        """What happened since the last call, in order."""
        if self._channels is not None:
            for event in self._channels.poll_events():
                if isinstance(event, AssociationUp):
                    self._events.append(Connected())
                elif isinstance(event, AssociationLost):
                    self._fail(f"the SCTP association was lost: {event.reason}")
                else:
                    self._events.append(event)
        events, self._events = self._events, []
        return events

    # --- how one layer starts the next --------------------------------------------------------------------------------

    def _receive_dtls(self, data: bytes, now: float) -> None:
        dtls, channels = self._dtls, self._channels
        if dtls is None or channels is None:
            return
        for packet in dtls.receive_datagram(data, now):
            channels.receive_datagram(packet, now)
        if not self._secure or data[0] != _APPLICATION_DATA:
            self._settle_dtls(now)

    def _settle_ice(self, now: float) -> None:
        for event in self.ice.poll_events():
            match event:
                case PathSelected(path):
                    self._on_path_selected(path, now)
                case PathRecovered():
                    self._on_path_recovered(now)
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

    def _on_path_selected(self, path: Path, now: float) -> None:
        first = self._path is None
        self._path = path
        if not first:
            self._on_path_recovered(now)
        elif self._dtls is not None:
            self._dtls.start(now)
            self._dtls_due = True

    def _on_path_recovered(self, now: float) -> None:
        if self._secure and self._channels is not None:
            self._channels.association.on_path_recovered(now)

    def _settle_dtls(self, now: float) -> None:
        if self._dtls is None or self._channels is None:
            return
        self._dtls_due = True
        for event in self._dtls.poll_events():
            match event:
                case HandshakeCompleted():
                    self._secure = True
                    self._channels.connect(now)
                case ConnectionFailed():
                    self._fail(f"DTLS failed: {event.reason}")
                case ConnectionClosed():
                    self._fail("the peer closed the connection")

    def _started(self) -> DataChannels:
        if self._channels is None:
            raise RuntimeError("the descriptions have not been exchanged yet")
        return self._channels

    def _fail(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._events.append(Failed(reason))

"""One DTLS 1.2 connection (RFC 6347): records in, handshake or application data out.

Records are told apart here: those of epoch 0 are unauthenticated, are only listened to during the handshake, and can
only carry its messages (``negotiation.py`` says whom it believes) and alerts; a malformed, forged or replayed record of
any epoch is dropped without an answer.

ChangeCipherSpec is sent, since peers insist, and ignored on receipt: the epoch in every record says the same, and keys
exist here only when they were agreed, so there is nothing an early one could do (CVE-2014-0224).
"""

from __future__ import annotations

__all__ = ["Connection"]

from typing import TYPE_CHECKING

from ...errors import LiveKitError, TransportError
from .alerts import FATAL, WARNING, Alert, HandshakeError, alert_name, encode_alert
from .certificate import Fingerprint, LocalCertificate, PeerIdentity
from .config import Config
from .early import EarlyRecords
from .events import ConnectionClosed, ConnectionFailed, ConnectionState, Event, HandshakeCompleted, Statistics
from .negotiation import Negotiation
from .protection import Protection
from .record import ALERT, APPLICATION_DATA, DTLS_1_0, DTLS_1_2, HANDSHAKE, HEADER, HEADER_BYTES, Record, split_records
from .roles import Role, Setup, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..types import RandomBytes
    from .keys import MasterSecret

_unpack_header = HEADER.unpack_from


class Connection:
    """A DTLS 1.2 endpoint, either role, without I/O.

    Args:
        role: client or server.
        certificate: ours, with its key.
        random_bytes: source of secrets.
        remote_fingerprints: what signalling announced for the peer, if it is known yet. Until it is, a handshake runs
            to its end but does not count as completed, and application data waits.
        config: settings.
        key_log: called with the line an SSLKEYLOGFILE would get. It gives the session away.

    Attributes:
        role: as given.
        srtp_profile: the protection profile that use_srtp negotiated, once the handshake is done.
    """

    def __init__(
        self,
        role: Role,
        *,
        certificate: LocalCertificate,
        random_bytes: RandomBytes,
        remote_fingerprints: Sequence[Fingerprint] = (),
        config: Config | None = None,
        key_log: Callable[[str], None] | None = None,
    ) -> None:
        self.role = role
        self.srtp_profile: int | None = None
        self._config = config or Config()
        self._key_log = key_log
        self._identity = PeerIdentity(remote_fingerprints)
        self._negotiation = Negotiation(role, Setup(self._config, certificate, random_bytes, self._identity))
        self._protection = Protection()
        self._early = EarlyRecords()
        self._master: MasterSecret | None = None

        self._state = ConnectionState.HANDSHAKING
        self._events: list[Event] = []
        self._outgoing: list[bytes] = []
        self._records_dropped = 0
        self._flights_sent = 0

        # The short path: bound to the record layer while connected, so that neither direction asks for the state.
        self._seal: Callable[[bytes], bytes] = self._refuse
        self.seal_many: Callable[[list[bytes]], list[bytes]] = self._refuse_many
        """``seal`` for a burst, in order."""
        self._open: Callable[[int, int, bytes], bytes | None] | None = None

    # What the owner may ask

    @property
    def state(self) -> ConnectionState:
        return self._state

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, once it proved to own it; see ``state`` for whether it is the right one."""
        return self._identity.certificate

    @property
    def _is_over(self) -> bool:
        return self._state in (ConnectionState.CLOSED, ConnectionState.FAILED)

    def statistics(self) -> Statistics:
        return Statistics(self._records_dropped, self._flights_sent)

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        """Keys for another protocol, such as SRTP's ``EXTRACTOR-dtls_srtp`` (RFC 5705, RFC 5764 section 4.2).

        Raises:
            TransportError: not connected.
        """
        if self._master is None or self._state is not ConnectionState.CONNECTED:
            raise self._not_connected()
        return self._master.export(label, length)

    def poll_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Handshake flights and alerts that are to leave now. Application data does not come this way: see ``seal``."""
        datagrams, self._outgoing = self._outgoing, []
        return datagrams

    # Commands

    def start(self, now: float, round_trip_s: float | None = None) -> None:
        """Begin: the client speaks, either side starts to count time.

        ``round_trip_s`` is that of the path, if it is known. Then a server does not wait to the end of its patience for
        a client that repeats itself whatever it is answered.
        """
        if self._state is ConnectionState.HANDSHAKING:
            step = self._negotiation.start(now, round_trip_s)
            if step is not None:
                self._take_step(step)

    def set_remote_fingerprints(self, fingerprints: Iterable[Fingerprint], now: float) -> list[bytes]:
        """Say who the peer must be. Returns application data that had to wait for this, in order."""
        if self._state is not ConnectionState.HANDSHAKING:
            return []
        try:
            self._identity.announce(fingerprints)
        except HandshakeError as error:
            self._fail(error)
            return []
        self._connect_if_verified()
        return self._replay_early(now)

    def seal(self, plaintext: bytes) -> bytes:
        """Protect application data: one record, which is one datagram.

        Args:
            plaintext: at most 2**14 bytes.

        Raises:
            TransportError: not connected, or the session's 2**48 records are used up.
        """
        return self._seal(plaintext)

    def close(self, now: float) -> None:
        """Say goodbye: close_notify is queued, once, and everything else ends."""
        if self._is_over:
            return
        if self._negotiation.is_heard:
            self._send_alert(WARNING, Alert.CLOSE_NOTIFY)
        self._end(ConnectionState.CLOSED)

    # Time

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` wants to be called."""
        return self._negotiation.next_timeout() if self._state is ConnectionState.HANDSHAKING else None

    def handle_timeout(self, now: float) -> None:
        if self._state is not ConnectionState.HANDSHAKING:
            return
        try:
            step = self._negotiation.handle_timeout(now)
        except LiveKitError as error:
            self._fail(error)
        else:
            if step is not None:
                self._take_step(step)

    # Receiving

    def receive_datagram(self, data: bytes, now: float) -> list[bytes]:
        """Take a datagram; returns the application data it brought, in order. Never raises."""
        return self.receive_datagrams([data], now)

    def receive_datagrams(self, datagrams: list[bytes], now: float) -> list[bytes]:
        """Take datagrams that arrived together; returns the application data they brought, in order. Never raises."""
        received: list[bytes] = []
        for data in datagrams:
            open_record = self._open
            if open_record is not None and len(data) > HEADER_BYTES:
                # Connected, and nearly always: one record of application data. The constants are spelled out for speed.
                kind, version, number, length = _unpack_header(data)
                if kind == 23 and version == 0xFEFD and number >> 48 == 1 and length == len(data) - 13:
                    plaintext = open_record(23, number, data)
                    if plaintext:
                        received.append(plaintext)
                    else:
                        self._records_dropped += plaintext is None
                    continue
            for record in split_records(data):
                self._on_record(record, now, received)
            received += self._replay_early(now)
        return received

    @property
    def has_news(self) -> bool:
        """Whether ``poll_events`` or ``datagrams_to_send`` has something."""
        return bool(self._events or self._outgoing)

    def _on_record(self, record: Record, now: float, received: list[bytes]) -> None:
        epoch = record.number >> 48
        if self._is_over:
            pass
        elif epoch == 1 and record.version == DTLS_1_2:
            self._on_protected_record(record, now, received)
        elif epoch == 0 and record.version in (DTLS_1_0, DTLS_1_2) and not self._negotiation.complete:
            self._on_plain_record(record.kind, record.data[HEADER_BYTES:], now)
        else:
            self._records_dropped += 1

    def _on_plain_record(self, kind: int, payload: bytes, now: float) -> None:
        if kind == HANDSHAKE:
            self._on_handshake(payload, protected=False, now=now)
        elif kind == ALERT and len(payload) == 2:
            level, description = payload
            if level == FATAL or description == Alert.CLOSE_NOTIFY:
                # The peer may be telling us why it stops. Or it is not the peer: then the handshake will go on.
                self._negotiation.suspect(
                    TransportError(f"the peer ended the handshake with {alert_name(description)}"), now
                )
        elif kind == APPLICATION_DATA:
            self._records_dropped += 1

    def _on_protected_record(self, record: Record, now: float, received: list[bytes]) -> None:
        opener = self._protection.opener
        if self._is_over:
            return
        if opener is None or (record.kind == APPLICATION_DATA and self._state is not ConnectionState.CONNECTED):
            self._records_dropped += not self._early.keep(record)
            return
        plaintext = opener.open(record.kind, record.number, record.data)
        if plaintext is None:
            self._records_dropped += 1
        elif record.kind == APPLICATION_DATA and plaintext:
            received.append(plaintext)
        elif record.kind == HANDSHAKE:
            self._on_handshake(plaintext, protected=True, now=now)
        elif record.kind == ALERT and len(plaintext) == 2:
            self._on_protected_alert(*plaintext)

    def _on_handshake(self, payload: bytes, *, protected: bool, now: float) -> None:
        try:
            steps = self._negotiation.receive(payload, protected=protected, now=now)
        except HandshakeError as error:
            self._fail(error)
            return
        for step in steps:
            self._take_step(step)

    def _on_protected_alert(self, level: int, description: int) -> None:
        if description == Alert.CLOSE_NOTIFY:
            self._send_alert(WARNING, Alert.CLOSE_NOTIFY)  # RFC 5246 section 7.2.1
            self._end(ConnectionState.CLOSED)
            self._events.append(ConnectionClosed())
        elif level == FATAL:
            self._fail(TransportError(f"the peer ended the connection with {alert_name(description)}"))

    def _replay_early(self, now: float) -> list[bytes]:
        """Give records that came too early another chance; those that still are go back to waiting."""
        received: list[bytes] = []
        if self._protection.opener is not None:
            for record in self._early.take():
                self._on_protected_record(record, now, received)
        return received

    # What comes of it

    def _take_step(self, step: Step) -> None:
        if step.master is not None:
            self._master = step.master
            self._protection.install_keys(step.master, self.role, self._config.replay_window)
            if self._key_log is not None:
                self._key_log(step.master.key_log_line())
        if step.flight is not None:
            self._flights_sent += 1
            self._outgoing += self._protection.seal_flight(step.flight, self._config.mtu)
        if step.complete:
            self.srtp_profile = step.srtp_profile
            self._connect_if_verified()

    def _connect_if_verified(self) -> None:
        """The connection is up when the handshake is done *and* the peer is who signalling says it is."""
        sealer, opener = self._protection.sealer, self._protection.opener
        if not (self._negotiation.complete and self._identity.verified and sealer and opener):
            return
        self._state = ConnectionState.CONNECTED
        self._seal, self.seal_many, self._open = sealer.seal, sealer.seal_many, opener.open
        self._events.append(HandshakeCompleted(self.srtp_profile))

    def _send_alert(self, level: int, description: int) -> None:
        self._outgoing += self._protection.seal_alert(encode_alert(level, description))

    def _fail(self, error: LiveKitError) -> None:
        if isinstance(error, HandshakeError):
            self._send_alert(FATAL, error.alert)
        self._end(ConnectionState.FAILED)
        self._events.append(ConnectionFailed(str(error), error))

    def _end(self, state: ConnectionState) -> None:
        self._state = state
        self._negotiation.stop()
        self._protection.forget_keys()
        self._early.take()
        self._master = self._open = None
        self._seal, self.seal_many = self._refuse, self._refuse_many

    def _refuse(self, plaintext: bytes) -> bytes:
        raise self._not_connected()

    def _refuse_many(self, plaintexts: list[bytes]) -> list[bytes]:
        raise self._not_connected()

    def _not_connected(self) -> TransportError:
        return TransportError(f"the DTLS connection is {self._state.value}")

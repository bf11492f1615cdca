"""One DTLS 1.2 connection: records in, handshake or application data out, and the timers between.

RFC 6347. The handshake itself is in ``client.py`` and ``server.py``; here is what surrounds it: which records are let
through to it, when its flights are sent again, whom to believe, and the short path of application data.

Whom to believe. Records of epoch 0 are unauthenticated. A malformed one is dropped. A handshake message that cannot be
accepted, or a fatal alert, may be the peer's or anybody's: it is remembered as a suspicion, the peer's flight is
awaited again, and only when nothing better arrives within ``Config.suspicion_s`` does the connection fail for that
reason. Errors that only somebody who sees our messages can cause (``HandshakeError.proven``) end it at once, and after
the handshake epoch 0 is not listened to at all.

ChangeCipherSpec is sent, since peers insist, and ignored on receipt: the epoch in every record says the same, and keys
exist here only when they were agreed, so there is nothing an early one could do (CVE-2014-0224).
"""

from __future__ import annotations

__all__ = ["Connection"]


from typing import TYPE_CHECKING

from ...errors import DecodeError, LiveKitError, TransportError
from .alerts import FATAL, WARNING, Alert, HandshakeError, alert_name, encode_alert
from .certificate import Fingerprint, LocalCertificate, PeerIdentity
from .client import ClientHandshake
from .config import Config
from .early import EarlyRecords
from .events import ConnectionClosed, ConnectionFailed, ConnectionState, Event, HandshakeCompleted, Statistics
from .flight import Retransmitter, packetize
from .handshake import FINISHED, HELLO_REQUEST, HELLO_VERIFY_REQUEST, Fragment, Message, split_fragments
from .reassembly import Reassembler
from .record import (
    ALERT,
    APPLICATION_DATA,
    DTLS_1_0,
    DTLS_1_2,
    HANDSHAKE,
    HEADER,
    HEADER_BYTES,
    Opener,
    PlainSealer,
    Record,
    Sealer,
    make_opener,
    make_sealer,
    split_records,
)
from .replay import ReplayWindow
from .roles import Role, Setup, Step
from .server import ServerHandshake

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
        key_log: called once with the line an SSLKEYLOGFILE would get. It gives the session away.

    Attributes:
        srtp_profile: the protection profile that use_srtp negotiated, once connected.
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
        setup = Setup(self._config, certificate, random_bytes, self._identity)
        self._client = ClientHandshake(setup) if role is Role.CLIENT else None
        self._handshake = self._client or ServerHandshake(setup)

        self._state = ConnectionState.HANDSHAKING
        self._handshake_complete = False
        self._master: MasterSecret | None = None
        self._events: list[Event] = []
        self._outgoing: list[bytes] = []
        self._records_dropped = 0
        self._flights_repeated = 0

        self._plain_sealer = PlainSealer()
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._sends_protected = False  # whether our ChangeCipherSpec has left
        self._reassembler = Reassembler()
        self._early = EarlyRecords()

        self._retransmitter = Retransmitter(self._config)
        self._deadline: float | None = None
        self._suspicion: LiveKitError | None = None
        self._suspicion_deadline: float | None = None

        # The short path: bound to the record layer while connected, so that neither direction asks for the state.
        self._seal: Callable[[bytes], bytes] = self._refuse_seal
        self._seal_many: Callable[[list[bytes]], list[bytes]] = self._refuse_seal_many
        self._open: Callable[[int, int, bytes], bytes | None] | None = None

    # What the owner asks

    @property
    def state(self) -> ConnectionState:
        return self._state

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, once it proved to own it; see ``state`` for whether it is the right one."""
        return self._identity.certificate

    def statistics(self) -> Statistics:
        return Statistics(self._records_dropped, self._flights_repeated)

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        """Keys for another protocol, such as SRTP's ``EXTRACTOR-dtls_srtp`` (RFC 5705, RFC 5764 section 4.2).

        Raises:
            TransportError: not connected.
        """
        if self._master is None or self._state is not ConnectionState.CONNECTED:
            raise self._not_connected()
        return self._master.export(label, length)

    def poll_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Handshake flights and alerts that are to leave now. Application data does not come this way: see ``seal``."""
        datagrams, self._outgoing = self._outgoing, []
        return datagrams

    # Commands

    def start(self, now: float) -> None:
        """Begin: the client speaks, either side starts to count time."""
        if self._deadline is not None or self._state is not ConnectionState.HANDSHAKING:
            return
        self._deadline = now + self._config.handshake_timeout_s
        if self._client is not None:
            self._take_step(self._client.start(), now)

    def set_remote_fingerprints(self, fingerprints: Iterable[Fingerprint], now: float) -> list[bytes]:
        """Say who the peer must be. Returns application data that had to wait for this, in order."""
        if self._state is not ConnectionState.HANDSHAKING:
            return []
        try:
            self._identity.announce(fingerprints)
        except HandshakeError as error:
            self._fail(error, now)
            return []
        return self._complete_if_verified(now)

    def seal(self, plaintext: bytes) -> bytes:
        """Protect application data: one record, which is one datagram.

        Args:
            plaintext: at most 2**14 bytes.

        Raises:
            TransportError: not connected, or the session's 2**48 records are used up.
        """
        return self._seal(plaintext)

    def seal_many(self, plaintexts: list[bytes]) -> list[bytes]:
        """``seal`` for a burst, in order."""
        return self._seal_many(plaintexts)

    def close(self, now: float) -> None:
        """Say goodbye: close_notify is queued, once, and everything else ends."""
        if self._state in (ConnectionState.CLOSED, ConnectionState.FAILED):
            return
        if self._retransmitter.flight is not None:
            self._send_alert(WARNING, Alert.CLOSE_NOTIFY)
        self._end(ConnectionState.CLOSED)

    # Time

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` wants to be called."""
        if self._state is not ConnectionState.HANDSHAKING:
            return None
        timers = (self._deadline, self._suspicion_deadline, self._retransmitter.deadline)
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        if self._state is not ConnectionState.HANDSHAKING:
            return
        if self._suspicion is not None and self._suspicion_deadline is not None and now >= self._suspicion_deadline:
            self._fail(self._suspicion, now)
        elif self._deadline is not None and now >= self._deadline:
            self._fail(self._timeout_error(), now)
        elif self._retransmitter.deadline is not None and now >= self._retransmitter.deadline:
            self._retransmitter.back_off(now)
            self._repeat_flight()

    def _timeout_error(self) -> TransportError:
        if self._handshake_complete:
            return TransportError("no fingerprint to verify the peer's certificate with has arrived")
        return TransportError(f"DTLS handshake timed out waiting for {self._handshake.awaits}")

    # Receiving

    def receive_datagram(self, data: bytes, now: float) -> list[bytes]:
        """Take a datagram; returns the application data it brought, in order. Never raises."""
        open_record = self._open
        if open_record is not None and len(data) > HEADER_BYTES:
            kind, version, number, length = _unpack_header(data)
            if kind == 23 and version == 0xFEFD and number >> 48 == 1 and length == len(data) - 13:
                plaintext = open_record(kind, number, data)
                if plaintext:
                    return [plaintext]
                self._records_dropped += plaintext is None
                return []
        return self._receive_records(data, now)

    def _receive_records(self, datagram: bytes, now: float) -> list[bytes]:
        if self._state in (ConnectionState.CLOSED, ConnectionState.FAILED):
            return []
        received: list[bytes] = []
        for record in split_records(datagram):
            self._on_record(record, now, received)
        received += self._replay_early(now)
        return received

    def _on_record(self, record: Record, now: float, received: list[bytes]) -> None:
        epoch = record.number >> 48
        if epoch == 0 and not self._handshake_complete and record.version in (DTLS_1_0, DTLS_1_2):
            self._on_plain_record(record.kind, record.data[HEADER_BYTES:], now)
        elif epoch == 1 and record.version == DTLS_1_2:
            self._on_protected_record(record, now, received)
        else:
            self._records_dropped += 1

    def _on_plain_record(self, kind: int, payload: bytes, now: float) -> None:
        if kind == HANDSHAKE:
            self._on_fragments(payload, 0, now)
        elif kind == ALERT:
            self._on_plain_alert(payload, now)
        elif kind == APPLICATION_DATA:
            self._records_dropped += 1

    def _on_protected_record(self, record: Record, now: float, received: list[bytes]) -> None:
        opener = self._opener
        connected = self._state is ConnectionState.CONNECTED
        if opener is None or (record.kind == APPLICATION_DATA and not connected):
            if not self._early.keep(record):
                self._records_dropped += 1
            return
        plaintext = opener.open(record.kind, record.number, record.data)
        if plaintext is None:
            self._records_dropped += 1
        elif record.kind == APPLICATION_DATA:
            if plaintext:
                received.append(plaintext)
        elif record.kind == HANDSHAKE:
            self._on_fragments(plaintext, 1, now)
        elif record.kind == ALERT:
            self._on_protected_alert(plaintext, now)

    def _replay_early(self, now: float) -> list[bytes]:
        """Give records that came too early another chance; those that still are go back to waiting."""
        received: list[bytes] = []
        if self._opener is not None:
            for record in self._early.take():
                self._on_protected_record(record, now, received)
        return received

    # Handshake messages

    def _on_fragments(self, payload: bytes, epoch: int, now: float) -> None:
        try:
            for fragment in split_fragments(payload):
                # Finished is the one protected message; in the clear it is forged, and nothing else is ever protected.
                if (fragment.type == FINISHED) == (epoch == 1) and fragment.type != HELLO_REQUEST:
                    self._on_fragment(fragment, now)
        except DecodeError:
            self._records_dropped += 1

    def _on_fragment(self, fragment: Fragment, now: float) -> None:
        if self._retransmitter.is_due_to_repeat(fragment, now):
            self._repeat_flight()
        if self._handshake_complete:
            return
        if fragment.type == HELLO_VERIFY_REQUEST:
            # Servers that keep no state number it as they like, so it does not take part in the order.
            if len(fragment.data) == fragment.length:
                self._on_message(Message(fragment.type, fragment.sequence, fragment.data), now)
            return
        if fragment.type == self._handshake.hello_type:
            self._reassembler.next_sequence = fragment.sequence
        self._reassembler.add(fragment)
        while self._state is ConnectionState.HANDSHAKING and (message := self._reassembler.pop()) is not None:
            self._on_message(message, now)

    def _on_message(self, message: Message, now: float) -> None:
        handshake = self._handshake
        try:
            if message.type == HELLO_VERIFY_REQUEST:
                step = handshake.on_hello_verify(message)
            else:
                step = handshake.on_message(message)
        except DecodeError as error:
            self._suspect(HandshakeError(Alert.DECODE_ERROR, f"malformed handshake message: {error}"), now)
        except HandshakeError as error:
            if error.proven:
                self._fail(error, now)
            else:
                self._suspect(error, now)
        else:
            if step is not None:
                self._take_step(step, now)

    def _take_step(self, step: Step, now: float) -> None:
        self._trust()
        if step.master is not None:
            self._install_keys(step.master)
        if step.flight is not None:
            self._retransmitter.start(step.flight, now)
            self._send_flight()
        if step.complete:
            self._retransmitter.stop_timer()
            self._handshake_complete = True
            self.srtp_profile = step.srtp_profile
            self._deadline = now + self._config.fingerprint_timeout_s
            self._complete_if_verified(now)

    def _install_keys(self, master: MasterSecret) -> None:
        if self._key_log is not None:
            self._key_log(master.key_log_line())
        keys = master.traffic_keys()
        suite = keys.suite
        client, server = (keys.client_key, keys.client_iv), (keys.server_key, keys.server_iv)
        ours, theirs = (client, server) if self.role is Role.CLIENT else (server, client)
        self._master = master
        self._sealer = make_sealer(suite, *ours)
        self._opener = make_opener(suite, *theirs, ReplayWindow(self._config.replay_window))

    def _complete_if_verified(self, now: float) -> list[bytes]:
        """Report the connection as up when both the handshake is done and the peer's identity is known."""
        if not self._handshake_complete or not self._identity.verified:
            return []
        assert self._sealer is not None
        assert self._opener is not None
        self._state = ConnectionState.CONNECTED
        self._seal, self._seal_many, self._open = self._sealer.seal, self._sealer.seal_many, self._opener.open
        self._events.append(HandshakeCompleted(self.srtp_profile))
        return self._replay_early(now)

    # Doubt

    def _suspect(self, error: LiveKitError, now: float) -> None:
        """Something is wrong that anybody could have forged: wait for the genuine flight once more, for a while."""
        self._reassembler.restart(self._handshake.forget_flight())
        if self._suspicion is None:
            self._suspicion = error
            self._suspicion_deadline = now + self._config.suspicion_s

    def _trust(self) -> None:
        """The handshake went a step on: whatever was suspicious was not the peer's."""
        self._suspicion = None
        self._suspicion_deadline = None

    # Alerts

    def _on_plain_alert(self, payload: bytes, now: float) -> None:
        """The peer may be telling us why it stopped. Or it is not the peer: then it will go on all the same."""
        if len(payload) != 2:
            self._records_dropped += 1
            return
        level, description = payload
        if level == FATAL or description == Alert.CLOSE_NOTIFY:
            self._suspect(TransportError(f"the peer ended the handshake with {alert_name(description)}"), now)

    def _on_protected_alert(self, payload: bytes, now: float) -> None:
        if len(payload) != 2:
            self._records_dropped += 1
            return
        level, description = payload
        if description == Alert.CLOSE_NOTIFY:
            self._send_alert(WARNING, Alert.CLOSE_NOTIFY)  # RFC 5246 section 7.2.1
            self._end(ConnectionState.CLOSED)
            self._events.append(ConnectionClosed())
        elif level == FATAL:
            self._fail(TransportError(f"the peer ended the connection with {alert_name(description)}"), now)

    def _send_alert(self, level: int, description: int) -> None:
        alert = encode_alert(level, description)
        if self._sends_protected and self._sealer is not None:
            self._outgoing.append(self._sealer.seal(alert, ALERT))
        else:
            self._outgoing.append(self._plain_sealer.seal(alert, ALERT))

    # Sending flights, and the end

    def _send_flight(self) -> None:
        flight = self._retransmitter.flight
        if flight is None:
            return
        sealers = (self._plain_sealer,) if self._sealer is None else (self._plain_sealer, self._sealer)
        self._outgoing += packetize(flight, sealers, self._config.mtu)
        self._sends_protected = self._sends_protected or any(item.epoch for item in flight.items)

    def _repeat_flight(self) -> None:
        self._flights_repeated += 1
        self._send_flight()

    def _fail(self, error: LiveKitError, now: float) -> None:
        alert = error.alert if isinstance(error, HandshakeError) else None
        if alert is not None:
            self._send_alert(FATAL, alert)
        self._end(ConnectionState.FAILED)
        self._events.append(ConnectionFailed(str(error), error))

    def _end(self, state: ConnectionState) -> None:
        self._state = state
        self._retransmitter.stop()
        self._trust()
        self._early.take()
        self._reassembler.restart(0)
        self._master = self._sealer = self._opener = self._open = None
        self._seal, self._seal_many = self._refuse_seal, self._refuse_seal_many

    def _refuse_seal(self, plaintext: bytes) -> bytes:
        raise self._not_connected()

    def _refuse_seal_many(self, plaintexts: list[bytes]) -> list[bytes]:
        raise self._not_connected()

    def _not_connected(self) -> TransportError:
        return TransportError(f"the DTLS connection is {self._state.value}")

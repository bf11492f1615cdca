"""The server's side of the handshake (the flights are drawn in ``client.py``).

A certificate is always demanded of the client: without it there is nothing to compare with the fingerprint.
"""

from __future__ import annotations

__all__ = ["ServerHandshake"]

import hmac
from dataclasses import dataclass, field, replace

from .alerts import Alert, HandshakeError
from .certificate import load_public_key
from .flight import Flight, FlightBuilder, FlightItem
from .handshake import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE,
    FINISHED,
    HELLO_VERIFY_REQUEST,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    SERVER_KEY_EXCHANGE,
    Fragment,
    Message,
    ServerKeyExchange,
    decode_certificate,
    decode_certificate_verify,
    decode_client_key_exchange,
    encode_certificate,
    encode_certificate_request,
    transcript_of,
)
from .hello import (
    EXTENDED_MASTER_SECRET,
    RENEGOTIATION_INFO,
    ClientHello,
    ServerHello,
    decode_renegotiation_info,
    encode_hello_verify,
    server_extensions,
)
from .key_exchange import KeyShare
from .keys import Agreement, MasterSecret
from .record import DTLS_1_2
from .roles import Setup, Step, collect
from .signatures import SIGNATURE_SCHEMES, sign, signature_scheme, verify
from .suites import SUITES, Authentication, CipherSuite

COOKIE_HASH = "sha256"
MAX_HELLO_SEQUENCE = 3  # a client gives up on a server that sends more HelloVerifyRequests than that
STALE_AFTER = 1  # repetitions of flight 4 without an answer: 0.1 seconds by default

CLIENT_FLIGHT_ORDER: dict[int | None, tuple[int, ...]] = {
    None: (CERTIFICATE,),
    CERTIFICATE: (CLIENT_KEY_EXCHANGE,),
    CLIENT_KEY_EXCHANGE: (CERTIFICATE_VERIFY,),
}


@dataclass(frozen=True, slots=True)
class AwaitClientHello:
    """Nothing is known of the client."""


@dataclass(slots=True)
class AwaitClientFlight:
    """Flight 4 was sent; the first half of flight 5, in epoch 0, is being collected."""

    hello: Message
    agreement: Agreement
    share: KeyShare
    transcript: bytes = field(repr=False)
    next_own_sequence: int
    srtp_profile: int | None
    collected: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AwaitClientFinished:
    """The client has shown its certificate and key share, and the keys are known."""

    master: MasterSecret
    transcript: bytes = field(repr=False)
    sequence: int
    next_own_sequence: int
    srtp_profile: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more is expected."""


def leaf_certificate(message: Message) -> bytes:
    der = decode_certificate(message.body)
    if der is None:
        raise HandshakeError(Alert.HANDSHAKE_FAILURE, "the client sent no certificate")
    return der


class ServerHandshake:
    """Flights 2, 4 and 6. Implements ``roles.Handshake``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._cookie_secret = setup.random_bytes(32)
        self._hello: Message | None = None  # that flight 4 answers
        self._unanswered = 0  # repetitions of flight 4
        self._state: AwaitClientHello | AwaitClientFlight | AwaitClientFinished | Done = AwaitClientHello()

    def is_awaited_hello(self, fragment: Fragment) -> bool:
        if fragment.type != CLIENT_HELLO or fragment.sequence > MAX_HELLO_SEQUENCE:
            return False
        match self._state:
            case AwaitClientHello():
                return True
            case AwaitClientFlight() | AwaitClientFinished() if self._unanswered >= STALE_AFTER:
                # Nobody answers flight 4: perhaps the hello was forged, or its client began anew. Another may come.
                return True
        return False

    @property
    def awaits(self) -> str:
        match self._state:
            case AwaitClientHello():
                return "ClientHello"
            case AwaitClientFlight():
                return "the client's certificate and key exchange"
            case AwaitClientFinished():
                return "the client's Finished"
        return "nothing"

    def on_hello_verify(self, message: Message) -> Step | None:
        """Nothing that a server receives."""
        return None

    def on_unanswered(self) -> None:
        self._unanswered += 1

    def on_message(self, message: Message) -> Step | None:
        match self._state:
            case AwaitClientHello():
                return self._on_client_hello(message)
            case AwaitClientFlight() | AwaitClientFinished() if message.type == CLIENT_HELLO:
                is_another = message != self._hello and self._unanswered >= STALE_AFTER
                return self._on_client_hello(message) if is_another else None
            case AwaitClientFlight(collected=collected) as state:
                collect(collected, message, CLIENT_FLIGHT_ORDER)
                if message.type == CERTIFICATE:
                    leaf_certificate(message)  # a client without one would never send what completes the flight
                return self._on_client_flight(state) if message.type == CERTIFICATE_VERIFY else None
            case AwaitClientFinished() as state:
                return self._on_client_finished(message, state)
        return None

    def forget_flight(self) -> int:
        match self._state:
            case AwaitClientFlight(hello=hello, collected=collected):
                collected.clear()
                return hello.sequence + 1
            case AwaitClientFinished(sequence=sequence):
                return sequence
        return 0

    # ClientHello -> flight 2 or 4

    def _on_client_hello(self, message: Message) -> Step:
        if message.type != CLIENT_HELLO:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE, "another message where ClientHello was expected")
        hello = ClientHello.decode(message.body)
        if self._setup.config.verify_hello and not self._is_cookie_valid(hello):
            request = Message(HELLO_VERIFY_REQUEST, 0, encode_hello_verify(self._cookie(hello)))
            return Step(flight=Flight((FlightItem.handshake(request),), answers=None, timed=False))
        return self._server_flight(message, hello)

    def _cookie(self, hello: ClientHello) -> bytes:
        """Bound to all the client said, so that nobody else can spend it (RFC 6347 section 4.2.1)."""
        said = replace(hello, cookie=b"")
        return hmac.digest(self._cookie_secret, said.encode(), COOKIE_HASH)

    def _is_cookie_valid(self, hello: ClientHello) -> bool:
        return hmac.compare_digest(hello.cookie, self._cookie(hello))

    def _server_flight(self, message: Message, hello: ClientHello) -> Step:
        setup = self._setup
        key = setup.certificate.private_key
        suite, group, srtp_profile = self._choose(hello)
        share = KeyShare.generate(group, setup.random_bytes)
        agreement = Agreement(suite, hello.random, setup.random_bytes(32), EXTENDED_MASTER_SECRET in hello.extensions)
        answer = ServerHello(
            DTLS_1_2, agreement.server_random, b"", suite.code, 0, server_extensions(hello, srtp_profile)
        )
        unsigned = ServerKeyExchange(group, share.public, signature_scheme(key), b"")
        signature = sign(key, agreement.client_random + agreement.server_random + unsigned.parameters)

        builder = FlightBuilder(message.encode(), message.sequence)
        builder.add(SERVER_HELLO, answer.encode())
        builder.add(CERTIFICATE, encode_certificate(setup.certificate.der))
        builder.add(SERVER_KEY_EXCHANGE, unsigned._replace(signature=signature).encode())
        builder.add(CERTIFICATE_REQUEST, encode_certificate_request())
        builder.add(SERVER_HELLO_DONE, b"")
        self._hello, self._unanswered = message, 0
        self._state = AwaitClientFlight(
            message, agreement, share, builder.transcript, builder.next_sequence, srtp_profile
        )
        return Step(flight=builder.build(answers=message, timed=True))

    def _choose(self, hello: ClientHello) -> tuple[CipherSuite, int, int | None]:
        """Cipher suite, group and SRTP profile: the first of ours that the client has."""
        config = self._setup.config
        if not 0xFE00 <= hello.version <= DTLS_1_2:  # versions count down from 1.0 = 0xFEFF
            raise HandshakeError(Alert.PROTOCOL_VERSION, f"the client speaks only version {hello.version:#06x}")
        if 0 not in hello.compression_methods:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, "the client insists on compression")
        if config.require_extended_master_secret and EXTENDED_MASTER_SECRET not in hello.extensions:
            raise HandshakeError(Alert.INSUFFICIENT_SECURITY, "the client has no extended master secret")
        if RENEGOTIATION_INFO in hello.extensions:
            decode_renegotiation_info(hello.extensions[RENEGOTIATION_INFO])
        if signature_scheme(self._setup.certificate.private_key) not in hello.signature_schemes:
            raise HandshakeError(Alert.HANDSHAKE_FAILURE, "the client does not verify our signature scheme")
        suites = [SUITES[code] for code in config.cipher_suites if code in hello.cipher_suites]
        suite = next((suite for suite in suites if suite.authentication is Authentication.ECDSA), None)
        if suite is None:
            raise HandshakeError(Alert.HANDSHAKE_FAILURE, "no cipher suite in common with the client")
        offered = hello.groups
        group = next((group for group in config.groups if offered is None or group in offered), None)
        if group is None:
            raise HandshakeError(Alert.HANDSHAKE_FAILURE, "no key agreement group in common with the client")
        profiles = hello.srtp_profiles
        return suite, group, next((profile for profile in config.srtp_profiles if profile in profiles), None)

    # Flight 5, first its part in the clear, then Finished

    def _on_client_flight(self, state: AwaitClientFlight) -> Step:
        certificate, key_exchange, verification = state.collected
        der = leaf_certificate(certificate)
        scheme, signature = decode_certificate_verify(verification.body)
        if scheme not in SIGNATURE_SCHEMES:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, f"signature scheme {scheme:#06x} was not offered")
        premaster = state.share.agree(decode_client_key_exchange(key_exchange.body))
        signed = state.transcript + transcript_of((certificate, key_exchange))
        verify(load_public_key(der), scheme, signature, signed)
        # The client has proved to own its certificate and to have seen our random: from here on errors are its own.
        self._setup.identity.present(der)

        master = state.agreement.master_secret(premaster, signed)
        self._state = AwaitClientFinished(
            master,
            signed + verification.encode(),
            verification.sequence + 1,
            state.next_own_sequence,
            state.srtp_profile,
        )
        return Step(master=master)

    def _on_client_finished(self, message: Message, state: AwaitClientFinished) -> Step:
        if message.type != FINISHED:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE, "another message where the client's Finished was expected")
        if not hmac.compare_digest(message.body, state.master.client_verify_data(state.transcript)):
            raise HandshakeError(Alert.DECRYPT_ERROR, "the client's Finished is wrong", proven=True)
        builder = FlightBuilder(state.transcript + message.encode(), state.next_own_sequence)
        builder.change_cipher_spec()
        builder.add(FINISHED, state.master.server_verify_data(builder.transcript), epoch=1)
        self._state = Done()
        # Nobody answers this flight, so no timer repeats it; the client repeats its Finished if it was lost.
        return Step(flight=builder.build(answers=message, timed=False), complete=True, srtp_profile=state.srtp_profile)

"""The client's side of the handshake (RFC 6347 section 4.2, RFC 8422 section 2).

-> ClientHello                                                        flight 1
<- HelloVerifyRequest                                                 (flight 2, if the server wants it)
-> ClientHello with the cookie                                        (flight 3)
<- ServerHello Certificate ServerKeyExchange CertificateRequest ServerHelloDone          flight 4
-> Certificate ClientKeyExchange CertificateVerify [ChangeCipherSpec] Finished           flight 5
<- [ChangeCipherSpec] Finished                                                           flight 6
"""

from __future__ import annotations

__all__ = ["ClientHandshake"]

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

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
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    SERVER_KEY_EXCHANGE,
    Fragment,
    Message,
    ServerKeyExchange,
    decode_certificate,
    decode_certificate_request,
    decode_empty,
    encode_certificate,
    encode_certificate_verify,
    encode_client_key_exchange,
    transcript_of,
)
from .hello import (
    EXTENDED_MASTER_SECRET,
    RENEGOTIATION_INFO,
    USE_SRTP,
    ClientHello,
    ServerHello,
    client_extensions,
    decode_hello_verify,
    decode_renegotiation_info,
    decode_use_srtp,
)
from .key_exchange import KeyShare
from .keys import Agreement
from .record import DTLS_1_2
from .roles import Setup, Step, collect
from .signatures import sign, signature_scheme, verify
from .suites import SUITES, Authentication

MAX_HELLOS = 4  # the first, and three more for as many HelloVerifyRequests

HOPELESS_AFTER = 2
"""So often the server repeats the flight that we have answered, then it cannot accept our answer: what one of us said
before did not arrive as it was sent. The handshake begins anew, with another hello."""

REPEAT_SPACING_S = 0.08
"""Copies that come closer together are one repetition, which the network multiplied. Those that come sooner after our
answer than this and two round trips were sent before it arrived."""

SERVER_FLIGHT_ORDER: dict[int | None, tuple[int, ...]] = {
    None: (SERVER_HELLO,),
    SERVER_HELLO: (CERTIFICATE,),
    CERTIFICATE: (SERVER_KEY_EXCHANGE,),
    SERVER_KEY_EXCHANGE: (CERTIFICATE_REQUEST, SERVER_HELLO_DONE),
    CERTIFICATE_REQUEST: (SERVER_HELLO_DONE,),
}


@dataclass(slots=True)
class AwaitServerFlight:
    """A hello was sent; flight 4 is being collected.

    ``doubted`` is the handshake before, if the server seemed to accept nothing of it: it may yet turn out that it does.
    """

    collected: list[Message] = field(default_factory=list)
    doubted: AwaitServerFinished | None = None


@dataclass(frozen=True, slots=True)
class AwaitServerFinished:
    """Flight 5 was sent."""

    verify_data: bytes = field(repr=False)
    sequence: int
    srtp_profile: int | None
    answered: list[Message]  # flight 4, as it arrived
    flight: Flight


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more is expected."""


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """What the ServerHello settled."""

    agreement: Agreement
    srtp_profile: int | None


class ClientHandshake:
    """Flights 1, 3 and 5. Implements ``roles.Handshake``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._random = setup.random_bytes(32)
        self._hellos: list[Message] = []  # by message number
        self._cookie = b""
        self._refused: bytes | None = None  # a certificate that is not the one announced
        self._repeated: list[Message] = []  # of flight 4, as it is arriving again
        self._repeats = 0
        self._repeated_at = 0.0
        self._state: AwaitServerFlight | AwaitServerFinished | Done = AwaitServerFlight()

    def is_awaited_hello(self, fragment: Fragment) -> bool:
        match self._state:
            case AwaitServerFlight(collected=[]):
                return fragment.type == SERVER_HELLO and fragment.sequence < len(self._hellos)
        return False

    @property
    def awaits(self) -> str:
        match self._state:
            case AwaitServerFlight():
                return "the server's answer to ClientHello"
            case AwaitServerFinished():
                return "the server's Finished"
        return "nothing"

    def start(self) -> Step:
        """Flight 1."""
        return Step(flight=self._hello_flight())

    def on_hello_verify(self, message: Message) -> Step | None:
        """Repeat the hello with the server's cookie, the same in all else (RFC 6347 section 4.2.1)."""
        cookie = decode_hello_verify(message.body)
        is_in_time = isinstance(self._state, AwaitServerFlight)
        if not is_in_time or cookie == self._cookie or len(self._hellos) >= MAX_HELLOS:
            return None
        self._cookie = cookie
        self.forget_flight()
        return Step(flight=self._hello_flight())

    def on_unanswered(self) -> None:
        """Nothing to conclude from that."""

    def on_message(self, message: Message) -> Step | None:
        match self._state:
            case AwaitServerFlight(doubted=doubted) if doubted is not None and message.type == FINISHED:
                is_right = hmac.compare_digest(message.body, doubted.verify_data)
                return self._on_server_finished(message, doubted) if is_right else None
            case AwaitServerFlight(collected):
                collect(collected, message, SERVER_FLIGHT_ORDER)
                return self._on_server_flight(collected) if message.type == SERVER_HELLO_DONE else None
            case AwaitServerFinished() as state:
                return self._on_server_finished(message, state)
        return None

    @property
    def repeats_from(self) -> int | None:
        """Number of the first message of flight 4, if that was answered and may come again."""
        match self._state:
            case AwaitServerFinished(answered=answered):
                return answered[0].sequence
        return None

    def on_repeated(self, message: Message, now: float, *, may_be_hopeless: bool) -> Step | None:
        """Flight 4 comes again, message by message: the server has not got our answer, or cannot accept it.

        ``may_be_hopeless``: whether it had the time to get it.

        Nothing has vouched for all of what we answered yet. If it was damaged on the way, this is where the true flight
        comes from; if it was not, and the server still does not accept the answer, there is no use in repeating it.
        Forging a flight that differs takes the server's key, since it signs our random.
        """
        answered = self._state.answered if isinstance(self._state, AwaitServerFinished) else []
        try:
            if message.type == SERVER_HELLO:
                self._repeated = []
            collect(self._repeated, message, SERVER_FLIGHT_ORDER)
        except HandshakeError:
            return None
        if message.type != SERVER_HELLO_DONE:
            return None
        flight, self._repeated = self._repeated, []
        if flight != answered:
            self._repeats = 0
            return self._on_server_flight(flight)
        if may_be_hopeless and now - self._repeated_at >= REPEAT_SPACING_S:
            self._repeated_at = now
            self._repeats += 1
        if self._repeats < HOPELESS_AFTER or not isinstance(self._state, AwaitServerFinished):
            return None
        return self._begin_anew(self._state)

    def _begin_anew(self, doubted: AwaitServerFinished) -> Step:
        """A new hello, behind the answer that the server would not take: if it takes that after all, it is done."""
        self._random = self._setup.random_bytes(32)
        self._hellos.clear()
        self._cookie = b""
        self._repeats = 0
        self._state = AwaitServerFlight(doubted=doubted)
        hello = self._hello_flight()
        return Step(flight=Flight(doubted.flight.items + hello.items, answers=None, timed=True), begins_anew=True)

    @property
    def awaited_finished(self) -> int | None:
        """Number of the server's Finished, where another handshake was begun behind the one that it would end."""
        match self._state:
            case AwaitServerFlight(doubted=doubted) if doubted is not None:
                return doubted.sequence
        return None

    def forget_flight(self) -> int:
        match self._state:
            case AwaitServerFlight(doubted=doubted):
                self._state = AwaitServerFlight(doubted=doubted)
                return 0
            case AwaitServerFinished(sequence=sequence):
                return sequence
        return 0

    def _hello_flight(self) -> Flight:
        config = self._setup.config
        hello = ClientHello(
            version=DTLS_1_2,
            random=self._random,
            session_id=b"",
            cookie=self._cookie,
            cipher_suites=list(config.cipher_suites),
            compression_methods=b"\x00",
            extensions=client_extensions(config),
        )
        message = Message(CLIENT_HELLO, len(self._hellos), hello.encode())
        self._hellos.append(message)
        return Flight((FlightItem.handshake(message),), answers=None, timed=True)

    def _on_server_flight(self, flight: list[Message]) -> Step:
        # The server numbers its hello like the ClientHello it answers: after HelloVerifyRequests, the last one. Looking
        # it up, rather than taking the last, keeps a forged HelloVerifyRequest from spoiling the transcript.
        hello = self._hellos[min(flight[0].sequence, len(self._hellos) - 1)]
        choice = self._check_server_hello(ServerHello.decode(flight[0].body))
        exchange = ServerKeyExchange.decode(flight[2].body)
        der = self._check_server_key(flight[1].body, exchange, choice)
        decode_empty(flight[-1].body)
        authenticate = flight[3].type == CERTIFICATE_REQUEST and self._can_sign(flight[3].body)
        share = KeyShare.generate(exchange.group, self._setup.random_bytes)
        premaster = share.agree(exchange.public)
        self._present(der)

        builder = FlightBuilder(transcript_of((hello, *flight)), hello.sequence + 1)
        if authenticate:
            builder.add(CERTIFICATE, encode_certificate(self._setup.certificate.der))
        builder.add(CLIENT_KEY_EXCHANGE, encode_client_key_exchange(share.public))
        master = choice.agreement.master_secret(premaster, builder.transcript)
        if authenticate:
            key = self._setup.certificate.private_key
            signature = sign(key, builder.transcript)
            builder.add(CERTIFICATE_VERIFY, encode_certificate_verify(signature_scheme(key), signature))
        builder.change_cipher_spec()
        builder.add(FINISHED, master.client_verify_data(builder.transcript), epoch=1)
        answer = builder.build(answers=flight[-1], timed=True)
        verify_data = master.server_verify_data(builder.transcript)
        self._state = AwaitServerFinished(
            verify_data, flight[-1].sequence + 1, choice.srtp_profile, list(flight), answer
        )
        return Step(master=master, flight=answer)

    def _present(self, der: bytes) -> None:
        """Hold the certificate against what signalling announced.

        The server has proved to own the key in it, and to have seen our random. Nothing vouches for the rest of it yet:
        a certificate that is not the one announced may have been damaged on the way, until it comes again the same.
        """
        identity = self._setup.identity
        before = identity.certificate
        try:
            identity.present(der)
        except HandshakeError as error:
            if der == self._refused:
                raise
            self._refused = der
            identity.certificate = before
            raise HandshakeError(error.alert, str(error)) from error

    def _on_server_finished(self, message: Message, state: AwaitServerFinished) -> Step:
        if message.type != FINISHED:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE, "another message where the server's Finished was expected")
        if not hmac.compare_digest(message.body, state.verify_data):
            raise HandshakeError(Alert.DECRYPT_ERROR, "the server's Finished is wrong", proven=True)
        self._state = Done()
        return Step(complete=True, srtp_profile=state.srtp_profile)

    def _check_server_hello(self, hello: ServerHello) -> ServerChoice:
        """Only what we offered may come back."""
        config = self._setup.config
        if hello.version != DTLS_1_2:
            raise HandshakeError(Alert.PROTOCOL_VERSION, f"the server chose version {hello.version:#06x}")
        if hello.cipher_suite not in config.cipher_suites:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, f"the server chose cipher suite {hello.cipher_suite:#06x}")
        if hello.compression_method != 0:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, "the server chose compression")
        unasked = hello.extensions.keys() - client_extensions(config).keys()
        if unasked:
            raise HandshakeError(Alert.UNSUPPORTED_EXTENSION, f"the server sent extension {min(unasked)} unasked")
        if RENEGOTIATION_INFO in hello.extensions:
            decode_renegotiation_info(hello.extensions[RENEGOTIATION_INFO])
        extended = EXTENDED_MASTER_SECRET in hello.extensions
        if config.require_extended_master_secret and not extended:
            raise HandshakeError(Alert.INSUFFICIENT_SECURITY, "the server has no extended master secret")
        agreement = Agreement(SUITES[hello.cipher_suite], self._random, hello.random, extended)
        return ServerChoice(agreement, self._check_srtp(hello.extensions.get(USE_SRTP)))

    def _check_srtp(self, value: bytes | None) -> int | None:
        if value is None:
            return None
        profiles, mki = decode_use_srtp(value)
        if len(profiles) != 1 or profiles[0] not in self._setup.config.srtp_profiles or mki:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, "the server chose an SRTP profile that was not offered")
        return profiles[0]

    def _check_server_key(self, body: bytes, exchange: ServerKeyExchange, choice: ServerChoice) -> bytes:
        """The certificate, once its owner is seen to have signed this key share for this handshake."""
        der = decode_certificate(body)
        if der is None:
            raise HandshakeError(Alert.HANDSHAKE_FAILURE, "the server sent no certificate")
        if exchange.group not in self._setup.config.groups:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, f"the server chose group {exchange.group:#06x}")
        key = load_public_key(der)
        agreement = choice.agreement
        if isinstance(key, rsa.RSAPublicKey) != (agreement.suite.authentication is Authentication.RSA):
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, "the server's certificate does not fit its cipher suite")
        signed = agreement.client_random + agreement.server_random + exchange.parameters
        verify(key, exchange.scheme, exchange.signature, signed)
        return der

    def _can_sign(self, request: bytes) -> bool:
        """Whether the server understands our signature; without it, there is no point in going on."""
        scheme = signature_scheme(self._setup.certificate.private_key)
        if scheme not in decode_certificate_request(request):
            raise HandshakeError(Alert.HANDSHAKE_FAILURE, "the server does not accept ECDSA client certificates")
        return True

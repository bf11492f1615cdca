"""Handshake messages: framing, and the bodies that are not hellos (RFC 6347 section 4.2.2, RFC 5246 section 7.4).

type u8 | length u24 | message_seq u16 | fragment_offset u24 | fragment_length u24 | fragment
"""

from __future__ import annotations

__all__ = [
    "CERTIFICATE",
    "CERTIFICATE_REQUEST",
    "CERTIFICATE_VERIFY",
    "CLIENT_HELLO",
    "CLIENT_KEY_EXCHANGE",
    "FINISHED",
    "FRAGMENT_HEADER_BYTES",
    "HELLO_REQUEST",
    "HELLO_VERIFY_REQUEST",
    "MAX_MESSAGE_BYTES",
    "MESSAGE_NAMES",
    "SERVER_HELLO",
    "SERVER_HELLO_DONE",
    "SERVER_KEY_EXCHANGE",
    "Fragment",
    "Message",
    "ServerKeyExchange",
    "decode_certificate",
    "decode_certificate_request",
    "decode_certificate_verify",
    "decode_client_key_exchange",
    "decode_empty",
    "encode_certificate",
    "encode_certificate_request",
    "encode_certificate_verify",
    "encode_client_key_exchange",
    "encode_fragment",
    "split_fragments",
    "transcript_of",
]

from typing import TYPE_CHECKING, NamedTuple

from ...errors import DecodeError
from .reader import Reader, split_uint16, vector8, vector16, vector24
from .signatures import SIGNATURE_SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HELLO_REQUEST = 0
CLIENT_HELLO = 1
SERVER_HELLO = 2
HELLO_VERIFY_REQUEST = 3
CERTIFICATE = 11
SERVER_KEY_EXCHANGE = 12
CERTIFICATE_REQUEST = 13
SERVER_HELLO_DONE = 14
CERTIFICATE_VERIFY = 15
CLIENT_KEY_EXCHANGE = 16
FINISHED = 20

MESSAGE_NAMES = {
    HELLO_REQUEST: "HelloRequest",
    CLIENT_HELLO: "ClientHello",
    SERVER_HELLO: "ServerHello",
    HELLO_VERIFY_REQUEST: "HelloVerifyRequest",
    CERTIFICATE: "Certificate",
    SERVER_KEY_EXCHANGE: "ServerKeyExchange",
    CERTIFICATE_REQUEST: "CertificateRequest",
    SERVER_HELLO_DONE: "ServerHelloDone",
    CERTIFICATE_VERIFY: "CertificateVerify",
    CLIENT_KEY_EXCHANGE: "ClientKeyExchange",
    FINISHED: "Finished",
}

FRAGMENT_HEADER_BYTES = 12
MAX_MESSAGE_BYTES = 32 * 1024  # a chain of certificates is the only large message there is

NAMED_CURVE = 3
CERTIFICATE_TYPES = bytes((64, 1))  # ecdsa_sign, rsa_sign


class Fragment(NamedTuple):
    """A piece of a message; often all of it."""

    type: int
    length: int  # of the whole message
    sequence: int
    offset: int
    data: bytes

    @property
    def is_last(self) -> bool:
        return self.offset + len(self.data) == self.length


class Message(NamedTuple):
    """A whole handshake message."""

    type: int
    sequence: int
    body: bytes

    def encode(self) -> bytes:
        """As one fragment, which is also the form the transcript is made of."""
        return encode_fragment(self.type, len(self.body), self.sequence, 0, self.body)


def encode_fragment(message_type: int, length: int, sequence: int, offset: int, data: bytes) -> bytes:
    return b"".join(
        (
            message_type.to_bytes(1, "big"),
            length.to_bytes(3, "big"),
            sequence.to_bytes(2, "big"),
            offset.to_bytes(3, "big"),
            vector24(data),
        )
    )


def split_fragments(payload: bytes) -> Iterator[Fragment]:
    """The fragments in one record, up to the first that is malformed: that one raises ``DecodeError``."""
    reader = Reader(payload)
    while reader.remaining:
        message_type = reader.uint(1)
        length = reader.uint(3)
        sequence = reader.uint(2)
        offset = reader.uint(3)
        data = reader.vector(3)
        if offset + len(data) > length:
            raise DecodeError("a fragment ends after its message")
        if length > MAX_MESSAGE_BYTES:
            raise DecodeError(f"a handshake message of {length} bytes")
        if not data and length:
            raise DecodeError("an empty fragment of a message that is not empty")
        yield Fragment(message_type, length, sequence, offset, data)


def transcript_of(messages: Iterable[Message]) -> bytes:
    return b"".join([message.encode() for message in messages])


# Certificate: a list of DER certificates, leaf first. Only the leaf matters here.


def encode_certificate(der: bytes) -> bytes:
    return vector24(vector24(der))


def decode_certificate(body: bytes) -> bytes | None:
    """The leaf certificate; ``None`` when the list is empty."""
    reader = Reader(body)
    chain = Reader(reader.vector(3))
    reader.finish()
    certificates = []
    while chain.remaining:
        certificates.append(chain.vector(3))
    return certificates[0] if certificates else None


class ServerKeyExchange(NamedTuple):
    """The server's key share, signed together with both randoms (RFC 8422 section 5.4)."""

    group: int
    public: bytes
    scheme: int
    signature: bytes

    @property
    def parameters(self) -> bytes:
        """The part the signature covers, after the randoms."""
        return NAMED_CURVE.to_bytes(1, "big") + self.group.to_bytes(2, "big") + vector8(self.public)

    def encode(self) -> bytes:
        return self.parameters + self.scheme.to_bytes(2, "big") + vector16(self.signature)

    @classmethod
    def decode(cls, body: bytes) -> ServerKeyExchange:
        reader = Reader(body)
        if reader.uint(1) != NAMED_CURVE:
            raise DecodeError("a ServerKeyExchange without a named curve")
        exchange = cls(reader.uint(2), reader.vector(1), reader.uint(2), reader.vector(2))
        reader.finish()
        return exchange


def encode_certificate_request() -> bytes:
    schemes = b"".join([scheme.to_bytes(2, "big") for scheme in SIGNATURE_SCHEMES])
    return vector8(CERTIFICATE_TYPES) + vector16(schemes) + vector16(b"")


def decode_certificate_request(body: bytes) -> list[int]:
    """The signature schemes the server verifies. Any certificate types and authorities are accepted, and ignored."""
    reader = Reader(body)
    reader.vector(1)
    schemes = split_uint16(reader.vector(2))
    reader.vector(2)
    reader.finish()
    return schemes


def encode_certificate_verify(scheme: int, signature: bytes) -> bytes:
    return scheme.to_bytes(2, "big") + vector16(signature)


def decode_certificate_verify(body: bytes) -> tuple[int, bytes]:
    """Signature scheme and signature."""
    reader = Reader(body)
    scheme, signature = reader.uint(2), reader.vector(2)
    reader.finish()
    return scheme, signature


def encode_client_key_exchange(public: bytes) -> bytes:
    return vector8(public)


def decode_client_key_exchange(body: bytes) -> bytes:
    reader = Reader(body)
    public = reader.vector(1)
    reader.finish()
    return public


def decode_empty(body: bytes) -> None:
    """ServerHelloDone has no body."""
    Reader(body).finish()

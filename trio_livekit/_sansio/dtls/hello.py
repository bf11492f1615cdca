"""ClientHello, ServerHello and HelloVerifyRequest, with the extensions we speak.

RFC 5246 section 7.4.1 and RFC 6347 section 4.2.1. Extensions: supported_groups and ec_point_formats (RFC 8422 section
5.1), signature_algorithms (RFC 5246 section 7.4.1.4.1), use_srtp (RFC 5764 section 4.1.1), extended_master_secret
(RFC 7627), renegotiation_info (RFC 5746). Others are ignored in a ClientHello and refused in a ServerHello, where they
cannot be an answer to anything.
"""

from __future__ import annotations

__all__ = [
    "EXTENDED_MASTER_SECRET",
    "RENEGOTIATION_INFO",
    "USE_SRTP",
    "ClientHello",
    "Extensions",
    "ServerHello",
    "client_extensions",
    "decode_hello_verify",
    "decode_renegotiation_info",
    "decode_uint16_extension",
    "decode_use_srtp",
    "encode_hello_verify",
    "encode_use_srtp",
    "server_extensions",
]

from typing import TYPE_CHECKING

from ...errors import DecodeError
from ..records import dataclass
from .reader import Reader, split_uint16, vector8, vector16
from .record import DTLS_1_0, DTLS_1_2
from .signatures import SIGNATURE_SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .config import Config

SUPPORTED_GROUPS = 10
EC_POINT_FORMATS = 11
SIGNATURE_ALGORITHMS = 13
USE_SRTP = 14
EXTENDED_MASTER_SECRET = 23
RENEGOTIATION_INFO = 0xFF01

RENEGOTIATION_SCSV = 0x00FF  # a cipher suite that stands for an empty renegotiation_info (RFC 5746 section 3.3)
RANDOM_BYTES = 32
MAX_SESSION_ID_BYTES = 32
_UNCOMPRESSED_POINTS = bytes((1, 0))
_EMPTY_RENEGOTIATION_INFO = b"\x00"

Extensions = dict[int, bytes]


def encode_uint16s(codes: Iterable[int]) -> bytes:
    return b"".join([code.to_bytes(2, "big") for code in codes])


def encode_extensions(extensions: Extensions) -> bytes:
    return vector16(b"".join([code.to_bytes(2, "big") + vector16(value) for code, value in extensions.items()]))


def decode_extensions(reader: Reader) -> Extensions:
    """The rest of a hello. The block as a whole may be missing; an extension must not come twice."""
    extensions: Extensions = {}
    if not reader.remaining:
        return extensions
    block = Reader(reader.vector(2))
    reader.finish()
    while block.remaining:
        code = block.uint(2)
        if code in extensions:
            raise DecodeError(f"extension {code} comes twice")
        extensions[code] = block.vector(2)
    return extensions


def decode_uint16_extension(value: bytes) -> list[int]:
    """The value of supported_groups and of signature_algorithms."""
    reader = Reader(value)
    codes = reader.uint16_list(2)
    reader.finish()
    return codes


def encode_use_srtp(profiles: Iterable[int]) -> bytes:
    return vector16(encode_uint16s(profiles)) + vector8(b"")  # no MKI


def decode_use_srtp(value: bytes) -> tuple[list[int], bytes]:
    """Protection profiles and MKI."""
    reader = Reader(value)
    profiles, mki = reader.uint16_list(2), reader.vector(1)
    reader.finish()
    return profiles, mki


def decode_renegotiation_info(value: bytes) -> None:
    """Raise unless it is the one of an initial handshake."""
    if value != _EMPTY_RENEGOTIATION_INFO:
        raise DecodeError("renegotiation_info of another handshake")


def client_extensions(config: Config) -> Extensions:
    extensions = {
        EXTENDED_MASTER_SECRET: b"",
        RENEGOTIATION_INFO: _EMPTY_RENEGOTIATION_INFO,
        SUPPORTED_GROUPS: vector16(encode_uint16s(config.groups)),
        EC_POINT_FORMATS: _UNCOMPRESSED_POINTS,
        SIGNATURE_ALGORITHMS: vector16(encode_uint16s(SIGNATURE_SCHEMES)),
    }
    if config.srtp_profiles:
        extensions[USE_SRTP] = encode_use_srtp(config.srtp_profiles)
    return extensions


def server_extensions(hello: ClientHello, srtp_profile: int | None) -> Extensions:
    """Answers to what the client offered, and nothing else."""
    extensions: Extensions = {}
    if EXTENDED_MASTER_SECRET in hello.extensions:
        extensions[EXTENDED_MASTER_SECRET] = b""
    if RENEGOTIATION_INFO in hello.extensions or RENEGOTIATION_SCSV in hello.cipher_suites:
        extensions[RENEGOTIATION_INFO] = _EMPTY_RENEGOTIATION_INFO
    if EC_POINT_FORMATS in hello.extensions:
        extensions[EC_POINT_FORMATS] = _UNCOMPRESSED_POINTS
    if srtp_profile is not None:
        extensions[USE_SRTP] = encode_use_srtp((srtp_profile,))
    return extensions


@dataclass(frozen=True, slots=True)
class ClientHello:
    version: int
    random: bytes
    session_id: bytes
    cookie: bytes
    cipher_suites: list[int]
    compression_methods: bytes
    extensions: Extensions

    def encode(self) -> bytes:
        return b"".join(
            (
                self.version.to_bytes(2, "big"),
                self.random,
                vector8(self.session_id),
                vector8(self.cookie),
                vector16(encode_uint16s(self.cipher_suites)),
                vector8(self.compression_methods),
                encode_extensions(self.extensions),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> ClientHello:
        reader = Reader(body)
        version, random, session_id = reader.uint(2), reader.take(RANDOM_BYTES), reader.vector(1)
        if len(session_id) > MAX_SESSION_ID_BYTES:
            raise DecodeError("a session id over 32 bytes")
        cookie, suites, compression = reader.vector(1), split_uint16(reader.vector(2)), reader.vector(1)
        return cls(version, random, session_id, cookie, suites, compression, decode_extensions(reader))

    @property
    def groups(self) -> list[int] | None:
        """``None`` when the client did not say, and so accepts any."""
        value = self.extensions.get(SUPPORTED_GROUPS)
        return None if value is None else decode_uint16_extension(value)

    @property
    def signature_schemes(self) -> list[int]:
        """Empty when the client did not say: the default is SHA-1 then, which we do not speak."""
        value = self.extensions.get(SIGNATURE_ALGORITHMS)
        return [] if value is None else decode_uint16_extension(value)

    @property
    def srtp_profiles(self) -> list[int]:
        value = self.extensions.get(USE_SRTP)
        return [] if value is None else decode_use_srtp(value)[0]


@dataclass(frozen=True, slots=True)
class ServerHello:
    version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression_method: int
    extensions: Extensions

    def encode(self) -> bytes:
        return b"".join(
            (
                self.version.to_bytes(2, "big"),
                self.random,
                vector8(self.session_id),
                self.cipher_suite.to_bytes(2, "big"),
                self.compression_method.to_bytes(1, "big"),
                encode_extensions(self.extensions),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> ServerHello:
        reader = Reader(body)
        version, random, session_id = reader.uint(2), reader.take(RANDOM_BYTES), reader.vector(1)
        if len(session_id) > MAX_SESSION_ID_BYTES:
            raise DecodeError("a session id over 32 bytes")
        suite, compression = reader.uint(2), reader.uint(1)
        return cls(version, random, session_id, suite, compression, decode_extensions(reader))


def encode_hello_verify(cookie: bytes) -> bytes:
    # RFC 6347 section 4.2.1: a server should call this DTLS 1.0 whatever it will negotiate.
    return DTLS_1_0.to_bytes(2, "big") + vector8(cookie)


def decode_hello_verify(body: bytes) -> bytes:
    """The cookie. The version says nothing about what will be negotiated."""
    reader = Reader(body)
    if reader.uint(2) not in (DTLS_1_0, DTLS_1_2):
        raise DecodeError("a HelloVerifyRequest of an unknown version")
    cookie = reader.vector(1)
    reader.finish()
    return cookie

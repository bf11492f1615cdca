"""As much of DER (X.690 section 10) as certificates take: writing a small one, and finding the key in another's.

Of a certificate (RFC 5280 section 4.1) only the key is read. The digest that signalling announced covers all the rest,
and of that nothing means anything in WebRTC: not the names, the dates, the extensions, nor who signed it.

    Certificate     SEQUENCE { TBSCertificate, AlgorithmIdentifier, BIT STRING }
    TBSCertificate  SEQUENCE { [0] version, absent for v1
                               INTEGER serial number
                               AlgorithmIdentifier, Name issuer, Validity, Name subject
                               SEQUENCE { AlgorithmIdentifier, BIT STRING }           the key
                               ... }
    element         tag u8, length u8 below 128 or (128 + n, n bytes), content
"""

from __future__ import annotations

__all__ = ["element", "integer", "read", "read_integer", "read_public_key"]

from ...errors import DecodeError
from .reader import Reader

INTEGER, BIT_STRING, NULL, OBJECT, UTF8_STRING, UTC_TIME, GENERALIZED_TIME = 0x02, 0x03, 0x05, 0x06, 0x0C, 0x17, 0x18
SEQUENCE, SET, VERSION = 0x30, 0x31, 0xA0

# Object identifiers, as they are encoded.
COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3
ECDSA_WITH_SHA256 = bytes.fromhex("2a8648ce3d040302")  # 1.2.840.10045.4.3.2
EC_KEY = bytes.fromhex("2a8648ce3d0201")  # 1.2.840.10045.2.1
P256 = bytes.fromhex("2a8648ce3d030107")  # 1.2.840.10045.3.1.7
P384 = bytes.fromhex("2b81040022")  # 1.3.132.0.34
RSA_KEY = bytes.fromhex("2a864886f70d010101")  # 1.2.840.113549.1.1.1
ED25519_KEY = bytes.fromhex("2b6570")  # 1.3.101.112

_LONG = 0x80  # the length has bytes of its own, as many as the lower bits say
_LENGTH_BYTES = (1, 2)  # what they may be: certificates are shorter than 64 KiB


def element(tag: int, *content: bytes) -> bytes:
    """One element around ``content``, which is below 64 KiB."""
    body = b"".join(content)
    size = len(body)
    if size < _LONG:
        return bytes((tag, size)) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(octets))) + octets + body


def integer(value: int) -> bytes:
    """An INTEGER that is not negative: its first bit is the sign."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def read(reader: Reader, tag: int) -> bytes:
    """The content of the next element. Raises ``DecodeError`` unless it has this tag and a length as DER wants it."""
    found = reader.uint(1)
    if found != tag:
        raise DecodeError(f"an element with tag {found}, not {tag}")
    size = reader.uint(1)
    if size >= _LONG:
        octets = size - _LONG
        if octets not in _LENGTH_BYTES:
            raise DecodeError(f"a length of {octets} bytes")
        size = reader.uint(octets)
        if size < (_LONG if octets == 1 else 1 << 8):
            raise DecodeError("a length that is not written in the shortest way")
    return reader.take(size)


def read_integer(reader: Reader) -> int:
    """An INTEGER above zero. Raises ``DecodeError``."""
    content = read(reader, INTEGER)
    value = int.from_bytes(content, "big", signed=True)
    if value <= 0 or len(content) != value.bit_length() // 8 + 1:
        raise DecodeError("an integer that is not positive, or not written in the shortest way")
    return value


def read_public_key(certificate: bytes) -> tuple[bytes, bytes, bytes]:
    """The key of a certificate: its kind, parameters as they are encoded, and bits. Raises ``DecodeError``."""
    outer = Reader(certificate)
    whole = Reader(read(outer, SEQUENCE))
    outer.finish()
    signed = Reader(read(whole, SEQUENCE))
    for tag in (SEQUENCE, BIT_STRING):  # who signed it is not asked
        read(whole, tag)
    whole.finish()
    if signed.peek() == VERSION:
        read(signed, VERSION)
    for tag in (INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE):  # serial number, algorithm, issuer, validity, subject
        read(signed, tag)
    key = Reader(read(signed, SEQUENCE))
    algorithm = Reader(read(key, SEQUENCE))
    kind = read(algorithm, OBJECT)
    bits = read(key, BIT_STRING)
    key.finish()
    if bits[:1] != b"\x00":  # how many bits of the last byte are not used
        raise DecodeError("a key that is no whole number of bytes")
    return kind, algorithm.take(algorithm.remaining), bits[1:]

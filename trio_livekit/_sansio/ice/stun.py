"""STUN messages (RFC 8489): one codec for connectivity checks, server probes and TURN.

This is the only module that touches the ``aioice`` package. Only two modules of it are imported, because the package
as a whole imports a DNS library and much else. Taken from it are the attribute codecs and the candidate foundation
and priority formulas, whose signatures are the same in 0.10 and 0.13. Its ``parse_message`` and ``Message`` are not
used: the parser stops at the first attribute it cannot read, does not tell which comprehension-required attributes it
skipped, lets the last duplicate win, and verified integrity inside the parser, against a key the caller cannot know
yet, until 0.13 took that argument away. So the walk over the attributes, the length checks, MESSAGE-INTEGRITY and
FINGERPRINT are ours, over the bytes as they arrived.

     0                   1                   2                   3
    |0 0|     message type (14)     |         message length        |
    |                     magic cookie 0x2112A442                   |
    |                     transaction id (96 bits)                  |
    then attributes: type u16, length u16, value, zero padding to 4 (not counted in the length)

FINGERPRINT is checked whenever it is there, and must then be the last attribute. It may be absent: STUN and TURN
servers leave it out, and in ICE the integrity check proves more.
"""

from __future__ import annotations

__all__ = ["StunMessage", "candidate_foundation", "candidate_priority", "decode", "encode", "is_stun"]

import hashlib
import hmac
import zlib
from struct import Struct
from typing import TYPE_CHECKING, Any

from ..._parts import import_part
from ...errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..types import Address

COOKIE = 0x2112A442
HEADER_BYTES = 20
MAX_ATTRIBUTES = 128

# Classes, as they lie in the message type (RFC 8489 section 5).
REQUEST = 0x000
INDICATION = 0x010
SUCCESS = 0x100
ERROR = 0x110
_CLASS_MASK = 0x110

# Methods (RFC 8489 section 18.2, RFC 8656 section 17).
BINDING = 0x001
ALLOCATE = 0x003
REFRESH = 0x004
SEND = 0x006
DATA_INDICATION = 0x007
CREATE_PERMISSION = 0x008
CHANNEL_BIND = 0x009

# Attributes (RFC 8489 section 14, RFC 8656 section 18, RFC 8445 section 16.1).
MAPPED_ADDRESS = 0x0001
USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
CHANNEL_NUMBER = 0x000C
LIFETIME = 0x000D
XOR_PEER_ADDRESS = 0x0012
DATA = 0x0013
REALM = 0x0014
NONCE = 0x0015
XOR_RELAYED_ADDRESS = 0x0016
REQUESTED_TRANSPORT = 0x0019
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
SOFTWARE = 0x8022
ALTERNATE_SERVER = 0x8023
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029
ICE_CONTROLLING = 0x802A
NOMINATION = 0xC001  # libwebrtc's renomination: 32 bits, the highest value wins

_COMPREHENSION_OPTIONAL = 0x8000
_FINGERPRINT_XOR = 0x5354554E
_INTEGRITY_BYTES = 24  # of the whole attribute

_HEADER = Struct("!HHI12s")
_ATTRIBUTE = Struct("!HH")
_U16 = Struct("!H")
_U32 = Struct("!I")


class StunMessage:
    """A message that parsed. Whether it is authentic depends on a key: ask ``is_authentic``.

    Attributes:
        method, message_class, transaction_id: the header.
        attributes: number to decoded value; the first of duplicates, and nothing that follows MESSAGE-INTEGRITY.
        unknown_required: comprehension-required attributes nobody here understands (RFC 8489 section 6.3.1).
    """

    __slots__ = (
        "_data",
        "_integrity_at",
        "attributes",
        "message_class",
        "method",
        "transaction_id",
        "unknown_required",
    )

    def __init__(self, kind: int, transaction_id: bytes, data: bytes) -> None:
        self.method = kind & ~_CLASS_MASK
        self.message_class = kind & _CLASS_MASK
        self.transaction_id = transaction_id
        self.attributes: dict[int, object] = {}
        self.unknown_required: list[int] = []
        self._data = data
        self._integrity_at: int | None = None

    def is_authentic(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and was made with ``key``, compared in constant time."""
        at = self._integrity_at
        if at is None:
            return False
        given = self._data[at + 4 : at + _INTEGRITY_BYTES]
        return hmac.compare_digest(given, _integrity(self._data[:at], key))

    def has(self, attribute: int) -> bool:
        return attribute in self.attributes

    def text(self, attribute: int) -> str | None:
        value = self.attributes.get(attribute)
        return value if isinstance(value, str) else None

    def number(self, attribute: int) -> int | None:
        value = self.attributes.get(attribute)
        return value if isinstance(value, int) else None

    def opaque(self, attribute: int) -> bytes | None:
        value = self.attributes.get(attribute)
        return value if isinstance(value, bytes) else None

    def address(self, attribute: int) -> Address | None:
        value = self.attributes.get(attribute)
        return (str(value[0]), int(value[1])) if isinstance(value, tuple) else None

    def error(self) -> tuple[int, str]:
        """The number and reason of ERROR-CODE; ``(0, "")`` where there is none."""
        value = self.attributes.get(ERROR_CODE)
        return (int(value[0]), str(value[1])) if isinstance(value, tuple) else (0, "")


def is_stun(data: bytes) -> bool:
    """A cheap look that tells STUN from the other protocols on the same port (RFC 7983)."""
    return len(data) >= HEADER_BYTES and data[0] < 4 and data[4:8] == b"\x21\x12\xa4\x42"


def decode(data: bytes) -> StunMessage:
    """Parse one whole STUN message.

    Raises:
        DecodeError: it is not STUN, is cut short, has a false FINGERPRINT, or a required attribute that is malformed.
    """
    size = len(data)
    if size < HEADER_BYTES:
        raise DecodeError("STUN message shorter than its header")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if kind & 0xC000 or cookie != COOKIE:
        raise DecodeError("not a STUN message")
    if length & 3 or size != HEADER_BYTES + length:
        raise DecodeError("STUN message length does not match")
    message = StunMessage(kind, transaction_id, bytes(data))
    for attribute, value in _walk(message, data, size).items():
        _decode_attribute(message, attribute, value)
    return message


def _walk(message: StunMessage, data: bytes, size: int) -> dict[int, bytes]:
    """The raw attributes that count; notes where MESSAGE-INTEGRITY begins and checks FINGERPRINT."""
    raw: dict[int, bytes] = {}
    at = HEADER_BYTES
    for _ in range(MAX_ATTRIBUTES):
        if at >= size:
            return raw
        attribute, length = _ATTRIBUTE.unpack_from(data, at)  # `at` and `size` are multiples of 4: it fits
        end = at + 4 + length
        if end > size:
            raise DecodeError("STUN attribute runs past the end of the message")
        if attribute == FINGERPRINT:
            _check_fingerprint(data, at, end, size)
        elif message._integrity_at is not None:
            pass  # not covered by the integrity check, so it says nothing (RFC 8489 section 14.5)
        elif attribute == MESSAGE_INTEGRITY:
            if length != _INTEGRITY_BYTES - 4:
                raise DecodeError("STUN MESSAGE-INTEGRITY has the wrong length")
            message._integrity_at = at
        else:
            raw.setdefault(attribute, data[at + 4 : end])
        at = end + (-length & 3)
    raise DecodeError("STUN message has too many attributes")


def _check_fingerprint(data: bytes, at: int, end: int, size: int) -> None:
    if end - at != 8 or end != size:
        raise DecodeError("STUN FINGERPRINT is malformed or not last")
    if _U32.unpack_from(data, at + 4)[0] != zlib.crc32(data[:at]) ^ _FINGERPRINT_XOR:
        raise DecodeError("STUN FINGERPRINT does not match")


def _decode_attribute(message: StunMessage, attribute: int, value: bytes) -> None:
    codec = _CODECS.get(attribute)
    if codec is None:
        if attribute < _COMPREHENSION_OPTIONAL:
            message.unknown_required.append(attribute)
        return
    _, unpack, xored = codec
    try:
        decoded = unpack(value, message.transaction_id) if xored else unpack(value)
    except Exception as exc:  # aioice's codecs raise ValueError, struct.error, IndexError, ...
        if attribute < _COMPREHENSION_OPTIONAL:
            raise DecodeError(f"STUN attribute {attribute:#06x} is malformed") from exc
        return
    message.attributes[attribute] = decoded


def encode(
    method: int,
    message_class: int,
    transaction_id: bytes,
    attributes: Sequence[tuple[int, object]] = (),
    *,
    key: bytes | None = None,
    fingerprint: bool = True,
) -> bytes:
    """Build a message; with a ``key`` it gets MESSAGE-INTEGRITY, and then, unless told otherwise, FINGERPRINT."""
    codecs = _CODECS
    parts: list[bytes] = []
    for attribute, value in attributes:
        pack, _, xored = codecs[attribute]
        packed = pack(value, transaction_id) if xored else pack(value)
        parts += (_ATTRIBUTE.pack(attribute, len(packed)), packed, bytes(-len(packed) & 3))
    body = b"".join(parts)
    data = _HEADER.pack(method | message_class, len(body), COOKIE, transaction_id) + body
    if key is not None:
        data = _with_length(data, _INTEGRITY_BYTES) + _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20) + _integrity(data, key)
    if fingerprint:
        data = _with_length(data, 8)
        data += _ATTRIBUTE.pack(FINGERPRINT, 4) + _U32.pack(zlib.crc32(data) ^ _FINGERPRINT_XOR)
    return data


def _with_length(data: bytes, more: int) -> bytes:
    """``data`` with the header's length set as if ``more`` bytes followed."""
    return data[:2] + _U16.pack(len(data) - HEADER_BYTES + more) + data[4:]


def _integrity(data: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _with_length(data, _INTEGRITY_BYTES), "sha1")


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """The integrity key of the long-term credential mechanism (RFC 8489 section 9.2.2)."""
    return hashlib.md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).digest()


# What follows leans on aioice.

_Codec = tuple["Callable[..., bytes]", "Callable[..., object]", bool]


def _codecs(aioice_stun: Any) -> dict[int, _Codec]:  # noqa: ANN401  its types came late in the supported range
    """Attribute number to (pack, unpack, whether the transaction id takes part)."""
    table: dict[int, _Codec] = {
        number: (pack, unpack, pack is aioice_stun.pack_xor_address)
        for number, _, pack, unpack in aioice_stun.ATTRIBUTES
    }
    # Not known to every version in our range, or to none.
    table[DATA] = (bytes, bytes, False)
    table[UNKNOWN_ATTRIBUTES] = (_pack_numbers, bytes, False)
    table[ALTERNATE_SERVER] = (aioice_stun.pack_address, aioice_stun.unpack_address, False)
    table[NOMINATION] = (aioice_stun.pack_unsigned, aioice_stun.unpack_unsigned, False)
    return table


def _pack_numbers(numbers: Sequence[int]) -> bytes:
    return b"".join(map(_U16.pack, numbers))


_CODECS = _codecs(import_part("aioice", "stun", unused=("asyncio",)))  # its codecs make no asyncio call
_candidates = import_part("aioice", "candidate")


def candidate_foundation(kind: str, protocol: str, base_ip: str, server: str = "") -> str:
    """The same text for candidates of the same type, protocol, base and server (RFC 8445 section 5.1.1.3)."""
    return str(_candidates.candidate_foundation(kind, protocol, f"{base_ip}|{server}" if server else base_ip))


def candidate_priority(kind: str, local_preference: int, component: int = 1) -> int:
    """``type preference << 24 | local preference << 8 | 256 - component`` (RFC 8445 section 5.1.2.1)."""
    return int(_candidates.candidate_priority(component, kind, local_preference))

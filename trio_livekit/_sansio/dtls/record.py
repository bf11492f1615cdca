"""Records: the wire format, and their protection (RFC 6347 section 4.1, RFC 5288, RFC 7905).

    type u8 | version u16 | epoch u16 | sequence u48 | length u16 | fragment

Epoch and sequence are handled as one 64-bit number everywhere: it is what the additional data and the nonces are made
of. Additional data of a protected record: that number, type, version, and the length of the *plaintext*.

    AES-GCM   fragment = explicit nonce (8) | ciphertext | tag (16)      nonce = iv (4) | explicit (8)
    ChaCha20  fragment = ciphertext | tag (16)                           nonce = iv (12) XOR (0 (4) | epoch | sequence)

The explicit nonce we send is the record's own number. It cannot repeat, which a random one could.
"""

from __future__ import annotations

__all__ = [
    "ALERT",
    "APPLICATION_DATA",
    "CHANGE_CIPHER_SPEC",
    "DTLS_1_0",
    "DTLS_1_2",
    "HANDSHAKE",
    "HEADER",
    "HEADER_BYTES",
    "MAX_PLAINTEXT_BYTES",
    "ChaChaOpener",
    "ChaChaSealer",
    "GcmOpener",
    "GcmSealer",
    "Opener",
    "PlainSealer",
    "Record",
    "Sealer",
    "make_opener",
    "make_sealer",
    "split_records",
]

import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ...errors import TransportError
from .suites import Aead, CipherSuite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .replay import ReplayWindow

CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23

DTLS_1_0 = 0xFEFF
DTLS_1_2 = 0xFEFD

HEADER = struct.Struct(">BHQH")
HEADER_BYTES = 13
MAX_PLAINTEXT_BYTES = 2**14
MAX_FRAGMENT_BYTES = MAX_PLAINTEXT_BYTES + 256

EPOCH_SHIFT = 48
_EPOCH_1 = 1 << EPOCH_SHIFT
_LAST_NUMBER = (2 << EPOCH_SHIFT) - 1  # of epoch 1, never sent: DTLS 1.2 has no key update, so the session ends there
_TAG_BYTES = 16
_EXPLICIT_BYTES = 8

_GCM_HEADER = struct.Struct(">BHQHQ")  # header and explicit nonce in one go
_GCM_NONCE = struct.Struct(">4sQ")
_ADDITIONAL_DATA = struct.Struct(">QBHH")
_GCM_CIPHERTEXT = HEADER_BYTES + _EXPLICIT_BYTES
_GCM_OVERHEAD = _GCM_CIPHERTEXT + _TAG_BYTES
_CHACHA_OVERHEAD = HEADER_BYTES + _TAG_BYTES


class Record(NamedTuple):
    """One record of a datagram: its header, and all of its bytes."""

    kind: int
    version: int
    number: int  # epoch << 48 | sequence
    data: bytes  # header included


def split_records(datagram: bytes) -> Iterator[Record]:
    """The well-formed records of a datagram, up to the first that is not (RFC 6347 section 4.1.2.7: drop silently)."""
    offset, size = 0, len(datagram)
    while offset + HEADER_BYTES <= size:
        kind, version, number, length = HEADER.unpack_from(datagram, offset)
        end = offset + HEADER_BYTES + length
        if end > size or length > MAX_FRAGMENT_BYTES:
            return
        yield Record(kind, version, number, datagram[offset:end])
        offset = end


class Sealer(Protocol):
    """Turns plaintext into records of one epoch, numbering them."""

    overhead: int

    def seal(self, plaintext: bytes, kind: int = APPLICATION_DATA) -> bytes: ...
    def seal_many(self, plaintexts: list[bytes]) -> list[bytes]: ...


class Opener(Protocol):
    """Turns records of one epoch back into plaintext; ``None`` for replays and forgeries."""

    def open(self, kind: int, number: int, data: bytes) -> bytes | None: ...


class PlainSealer:
    """Epoch 0: no protection. Its records are only ever handshake messages, ChangeCipherSpec and alerts."""

    __slots__ = ("_number",)
    overhead = HEADER_BYTES

    def __init__(self) -> None:
        self._number = 0

    def seal(self, plaintext: bytes, kind: int) -> bytes:
        number = self._number
        self._number = number + 1
        return HEADER.pack(kind, DTLS_1_2, number, len(plaintext)) + plaintext


class GcmSealer:
    """AES-GCM in epoch 1."""

    __slots__ = ("_encrypt", "_iv", "_number")
    overhead = _GCM_OVERHEAD

    def __init__(self, key: bytes, iv: bytes, *, first_sequence: int = 0) -> None:
        self._encrypt = AESGCM(key).encrypt
        self._iv = iv
        self._number = _EPOCH_1 + first_sequence

    def seal(self, plaintext: bytes, kind: int = APPLICATION_DATA) -> bytes:
        number = self._number
        if number >= _LAST_NUMBER:
            raise _exhausted()
        self._number = number + 1  # before encrypting: whatever happens next, this nonce is spent
        length = len(plaintext)
        return _GCM_HEADER.pack(kind, DTLS_1_2, number, length + 24, number) + self._encrypt(
            _GCM_NONCE.pack(self._iv, number), plaintext, _ADDITIONAL_DATA.pack(number, kind, DTLS_1_2, length)
        )

    def seal_many(self, plaintexts: list[bytes]) -> list[bytes]:
        first = self._number
        if first + len(plaintexts) > _LAST_NUMBER:
            raise _exhausted()
        self._number = first + len(plaintexts)
        encrypt, iv = self._encrypt, self._iv
        pack_header, pack_nonce, pack_additional = _GCM_HEADER.pack, _GCM_NONCE.pack, _ADDITIONAL_DATA.pack
        records = []
        for number, plaintext in enumerate(plaintexts, first):
            length = len(plaintext)
            records.append(
                pack_header(APPLICATION_DATA, DTLS_1_2, number, length + 24, number)
                + encrypt(
                    pack_nonce(iv, number), plaintext, pack_additional(number, APPLICATION_DATA, DTLS_1_2, length)
                )
            )
        return records


class GcmOpener:
    """AES-GCM in epoch 1."""

    __slots__ = ("_decrypt", "_iv", "_window")

    def __init__(self, key: bytes, iv: bytes, window: ReplayWindow) -> None:
        self._decrypt = AESGCM(key).decrypt
        self._iv = iv
        self._window = window

    def open(self, kind: int, number: int, data: bytes) -> bytes | None:
        window = self._window
        length = len(data) - _GCM_OVERHEAD
        if length < 0 or (number <= window.newest and not window.is_fresh(number)):
            return None
        try:
            # The nonce is the peer's to choose, so it is read from the record and not assumed to be the number.
            plaintext = self._decrypt(
                self._iv + data[HEADER_BYTES:_GCM_CIPHERTEXT],
                data[_GCM_CIPHERTEXT:],
                _ADDITIONAL_DATA.pack(number, kind, DTLS_1_2, length),
            )
        except InvalidTag:
            return None
        if number == window.newest + 1 and not window.holes:  # nothing is lost or out of order: no need for the call
            window.newest = number
        else:
            window.record(number)
        return plaintext


class ChaChaSealer:
    """ChaCha20-Poly1305 in epoch 1."""

    __slots__ = ("_encrypt", "_iv", "_number")
    overhead = _CHACHA_OVERHEAD

    def __init__(self, key: bytes, iv: bytes, *, first_sequence: int = 0) -> None:
        self._encrypt = ChaCha20Poly1305(key).encrypt
        self._iv = int.from_bytes(iv, "big")
        self._number = _EPOCH_1 + first_sequence

    def seal(self, plaintext: bytes, kind: int = APPLICATION_DATA) -> bytes:
        number = self._number
        if number >= _LAST_NUMBER:
            raise _exhausted()
        self._number = number + 1
        length = len(plaintext)
        return HEADER.pack(kind, DTLS_1_2, number, length + _TAG_BYTES) + self._encrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            plaintext,
            _ADDITIONAL_DATA.pack(number, kind, DTLS_1_2, length),
        )

    def seal_many(self, plaintexts: list[bytes]) -> list[bytes]:
        if self._number + len(plaintexts) > _LAST_NUMBER:
            raise _exhausted()
        seal = self.seal
        return [seal(plaintext) for plaintext in plaintexts]


class ChaChaOpener:
    """ChaCha20-Poly1305 in epoch 1."""

    __slots__ = ("_decrypt", "_iv", "_window")

    def __init__(self, key: bytes, iv: bytes, window: ReplayWindow) -> None:
        self._decrypt = ChaCha20Poly1305(key).decrypt
        self._iv = int.from_bytes(iv, "big")
        self._window = window

    def open(self, kind: int, number: int, data: bytes) -> bytes | None:
        window = self._window
        length = len(data) - _CHACHA_OVERHEAD
        if length < 0 or (number <= window.newest and not window.is_fresh(number)):
            return None
        try:
            plaintext = self._decrypt(
                (self._iv ^ number).to_bytes(12, "big"),
                data[HEADER_BYTES:],
                _ADDITIONAL_DATA.pack(number, kind, DTLS_1_2, length),
            )
        except InvalidTag:
            return None
        window.record(number)
        return plaintext


def make_sealer(suite: CipherSuite, key: bytes, iv: bytes) -> GcmSealer | ChaChaSealer:
    return GcmSealer(key, iv) if suite.aead is Aead.AES_GCM else ChaChaSealer(key, iv)


def make_opener(suite: CipherSuite, key: bytes, iv: bytes, window: ReplayWindow) -> GcmOpener | ChaChaOpener:
    return GcmOpener(key, iv, window) if suite.aead is Aead.AES_GCM else ChaChaOpener(key, iv, window)


def _exhausted() -> TransportError:
    return TransportError("the record numbers of this DTLS session are used up")

"""End-to-end encryption of frames: AES-128-GCM over the whole payload, with keys derived as all LiveKit SDKs do.

A frame is encrypted once, before it is cut into packets; the 16-byte tag is at the end of its last packet. Headers and
user timestamps are neither encrypted nor authenticated. The packet says which key index and initialisation vector
(``EncryptionInfo``).
"""

from __future__ import annotations

__all__ = ["FrameCipher", "KeyDerivation", "derive_key", "ratchet"]

import enum
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from ...errors import DecodeError
from .packet import EncryptionInfo

if TYPE_CHECKING:
    from ..types import RandomBytes

SALT = b"LKFrameEncryptionKey"
PBKDF2_ITERATIONS = 100_000
HKDF_INFO = bytes(128)
KEY_BYTES = 16
RATCHETED_BYTES = 32
IV_BYTES = 12


class KeyDerivation(enum.Enum):
    """How key material becomes a key. The SDKs take PBKDF2 unless told; the one for JavaScript takes HKDF for bytes."""

    PBKDF2 = "pbkdf2"
    HKDF = "hkdf"


def derive_key(material: bytes, method: KeyDerivation = KeyDerivation.PBKDF2, *, salt: bytes = SALT) -> bytes:
    """The AES key for some key material, such as a password. PBKDF2 takes some 20 ms on purpose."""
    return _derive(material, method, salt, KEY_BYTES)


def ratchet(material: bytes, method: KeyDerivation = KeyDerivation.PBKDF2, *, salt: bytes = SALT) -> bytes:
    """The key material that follows on ``material``; who has only the new cannot find the old."""
    return _derive(material, method, salt, RATCHETED_BYTES)


def _derive(material: bytes, method: KeyDerivation, salt: bytes, length: int) -> bytes:
    if method is KeyDerivation.PBKDF2:
        return PBKDF2HMAC(SHA256(), length, salt, PBKDF2_ITERATIONS).derive(material)
    return HKDF(SHA256(), length, salt, HKDF_INFO).derive(material)


class FrameCipher:
    """One key, under the index by which packets name it.

    Initialisation vectors count up from a random start of their full 96 bits, so that one key may be used by several
    publishers, and after a restart, without using a vector twice.
    """

    __slots__ = ("_aead", "_counter", "_key_index")

    def __init__(self, key: bytes, key_index: int, random_bytes: RandomBytes) -> None:
        self._aead = AESGCM(key)
        self._key_index = key_index
        self._counter = int.from_bytes(random_bytes(IV_BYTES), "big")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of key {self._key_index}>"

    def encrypt(self, payload: bytes) -> tuple[bytes, EncryptionInfo]:
        """The ciphertext of a frame, and what its packets have to say of it."""
        self._counter = (self._counter + 1) % (1 << 8 * IV_BYTES)
        iv = self._counter.to_bytes(IV_BYTES, "big")
        return self._aead.encrypt(iv, payload, None), EncryptionInfo(self._key_index, iv)

    def decrypt(self, payload: bytes, iv: bytes) -> bytes:
        """The plaintext of a frame.

        Raises:
            DecodeError: it was encrypted with another key, or changed on the way.
        """
        try:
            return self._aead.decrypt(iv, payload, None)
        except (InvalidTag, ValueError):
            raise DecodeError("the frame does not decrypt") from None

"""One key: derived from key material as all LiveKit SDKs do, and ratcheted.

material   ->  AES key            16 bytes, by PBKDF2-HMAC-SHA256 (100,000 rounds) or HKDF-SHA256 (info of 128 zeros)
material   ->  next material      32 bytes, the same way: a ratchet, which cannot be turned back

Deriving by PBKDF2 takes some 25 ms on purpose, so it is the caller's to choose the thread. No key material appears in
a ``repr``, and keys refuse to be pickled or copied.
"""

from __future__ import annotations

__all__ = ["IV_BYTES", "SALT", "TAG_BYTES", "Key", "KeyDerivation"]

import enum
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

SALT = b"LKFrameEncryptionKey"
IV_BYTES = 12
TAG_BYTES = 16

_PBKDF2_ITERATIONS = 100_000
_HKDF_INFO = bytes(128)
_KEY_BYTES = 16
_RATCHETED_BYTES = 32


class KeyDerivation(enum.Enum):
    """How key material becomes a key. The SDKs take PBKDF2 unless told; the one for JavaScript takes HKDF for bytes."""

    PBKDF2 = "pbkdf2"
    HKDF = "hkdf"


class Key:
    """Key material, and the AES key that follows from it once it is derived.

    ``successor`` is what ratcheting makes of it, as far as anybody has worked that out.
    """

    __slots__ = ("_aead", "_material", "_method", "_salt", "successor")

    def __init__(self, material: bytes, method: KeyDerivation = KeyDerivation.PBKDF2, *, salt: bytes = SALT) -> None:
        self._material = material
        self._method = method
        self._salt = salt
        self._aead: AESGCM | None = None
        self.successor: Key | None = None

    @property
    def material(self) -> bytes:
        """What the key is derived from: give it to nobody but those who are to have the key."""
        return self._material

    @property
    def aead(self) -> AESGCM:
        """The cipher. The key has to be derived."""
        assert self._aead is not None
        return self._aead

    @property
    def is_derived(self) -> bool:
        """Whether ``derive`` has been done."""
        return self._aead is not None

    def derive(self) -> None:
        """Work the AES key out. Takes its time; may be called in any thread, and more than once."""
        if self._aead is None:
            self._aead = AESGCM(self._stretch(_KEY_BYTES))

    def ratcheted(self) -> Key:
        """The key that follows on this one, derived; who has only that cannot find this. Takes twice the time."""
        successor = Key(self._stretch(_RATCHETED_BYTES), self._method, salt=self._salt)
        successor.derive()
        return successor

    def link(self, successor: Key) -> Key:
        """Remember the successor; if there is one already, that one holds."""
        if self.successor is None:
            self.successor = successor
        return self.successor

    def open(self, sealed: bytes, iv: bytes) -> bytes | None:
        """The plaintext; ``None`` if it was sealed with another key, or changed on the way."""
        try:
            return self.aead.decrypt(iv, sealed, None)
        except (InvalidTag, ValueError):
            return None

    def _stretch(self, length: int) -> bytes:
        if self._method is KeyDerivation.PBKDF2:
            return PBKDF2HMAC(SHA256(), length, self._salt, _PBKDF2_ITERATIONS).derive(self._material)
        return HKDF(SHA256(), length, self._salt, _HKDF_INFO).derive(self._material)

    def __repr__(self) -> str:
        return f"<Key {'derived' if self.is_derived else 'not derived yet'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not to be copied or pickled")

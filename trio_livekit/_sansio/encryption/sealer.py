"""What is sent, sealed with one key.

GCM is lost as soon as one initialisation vector is used twice under one key. Vectors count up from a random start of
their full 96 bits, drawn for every session and every key, so that one key may be used by several senders, and after a
restart: for two of N sessions of M messages each to meet takes about N * N * M = 2 ** 96, where vectors drawn at random
one by one would meet at N * N * M * M.
"""

from __future__ import annotations

__all__ = ["Sealer"]

from typing import TYPE_CHECKING

from .key import IV_BYTES

if TYPE_CHECKING:
    from ..types import RandomBytes
    from .key import Key

_VECTORS = 1 << 8 * IV_BYTES


class Sealer:
    """Seals with ``key``, which others know under ``key_index``."""

    __slots__ = ("_counter", "_encrypt", "key", "key_index")

    def __init__(self, key: Key, key_index: int, random_bytes: RandomBytes) -> None:
        self.key = key
        self.key_index = key_index
        self._encrypt = key.aead.encrypt
        self._counter = int.from_bytes(random_bytes(IV_BYTES), "big")

    def seal(self, plaintext: bytes) -> tuple[bytes, bytes]:
        """The ciphertext with its tag of 16 bytes, and the initialisation vector."""
        # Counted before encrypting: whatever happens next, this vector is spent.
        self._counter = counter = (self._counter + 1) % _VECTORS
        iv = counter.to_bytes(IV_BYTES, "big")
        return self._encrypt(iv, plaintext, None), iv

    def __repr__(self) -> str:
        return f"<Sealer of key {self.key_index}>"

"""What one participant sends, opened with the keys it is known to use.

A sender may ratchet its key without a word. What does not open is therefore tried with the keys that follow, up to the
ratchet window; the one that opens it is the sender's key from then on. Working those keys out takes long (two times
100,000 rounds each), so it is not done here: ``open`` then returns ``Failure.SEARCHING``, and the caller derives them
elsewhere, link by link from ``frontier``. That is done once for a key, whoever sends under it and however much does not
open.
"""

from __future__ import annotations

__all__ = ["Failure", "Opener"]

import enum
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag

from .key import IV_BYTES, TAG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from .key import Key
    from .keys import Keys, Slot

_PATIENCE = 16
"""After so many failures in a row only every so-maniest message is tried with the keys that follow: whoever sends
garbage is not to cost us a window's worth of decryptions with each."""


class Failure(enum.Enum):
    """Why something could not be opened."""

    MISSING_KEY = enum.auto()
    UNDECRYPTABLE = enum.auto()
    SEARCHING = enum.auto()  # not known yet: keys have to be derived before it can be


class _Position:
    """How far a sender has ratcheted the key in one place of its ring."""

    __slots__ = ("decrypt", "failures", "key", "previous", "slot")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.key = slot.key
        self.previous = slot.previous
        self.decrypt: Callable[[bytes, bytes, None], bytes] = slot.key.aead.decrypt
        self.failures = 0

    def move_to(self, key: Key) -> None:
        self.previous, self.key, self.decrypt = self.key, key, key.aead.decrypt


class Opener:
    """Opens what the participant ``identity`` sealed.

    ``failure_tolerance`` is how many failures in a row are borne before nothing under that index is tried any more,
    until a key is set; ``None`` for any number.
    """

    __slots__ = ("_identity", "_keys", "_positions", "_tolerance", "_version", "_window")

    def __init__(self, keys: Keys, identity: str, *, ratchet_window: int, failure_tolerance: int | None = None) -> None:
        self._keys = keys
        self._identity = identity
        self._window = ratchet_window
        self._tolerance = failure_tolerance
        self._positions: dict[int, _Position] = {}
        self._version = keys.version

    def open(self, sealed: bytes, key_index: int, iv: bytes) -> bytes | Failure:
        """The plaintext, or why there is none."""
        if self._version != self._keys.version:
            self._refresh()
        position = self._positions.get(key_index) or self._position(key_index)
        if position is None:
            return Failure.MISSING_KEY
        try:
            plaintext = position.decrypt(iv, sealed, None)
        except (InvalidTag, ValueError):
            return self._open_otherwise(position, sealed, iv)
        position.failures = 0
        return plaintext

    def frontier(self, key_index: int) -> Key | None:
        """The last key of the window that is known; its successor is wanted. ``None`` if the window is complete."""
        if self._version != self._keys.version:
            self._refresh()
        position = self._position(key_index)
        key = None if position is None else position.key
        for _ in range(self._window):
            if key is None or key.successor is None:
                return key
            key = key.successor
        return None

    def reset(self) -> None:
        """The sender begins anew: what it has ratcheted so far does not count."""
        self._positions.clear()

    def _refresh(self) -> None:
        """Keys have changed: those in the places that did are as they were set."""
        self._version = self._keys.version
        for index, position in list(self._positions.items()):
            if self._keys.find(self._identity, index) is not position.slot:
                del self._positions[index]

    def _position(self, key_index: int) -> _Position | None:
        position = self._positions.get(key_index)
        if position is None:
            slot = self._keys.find(self._identity, key_index)
            if slot is not None:
                position = self._positions[key_index] = _Position(slot)
        return position

    def _open_otherwise(self, position: _Position, sealed: bytes, iv: bytes) -> bytes | Failure:
        """With the key before, and with those that follow."""
        if len(iv) != IV_BYTES or len(sealed) < TAG_BYTES:
            return self._failed(position)
        if self._tolerance is not None and position.failures > self._tolerance:
            position.decrypt = _decrypt_nothing
            return self._failed(position)
        if position.previous is not None:
            plaintext = position.previous.open(sealed, iv)
            if plaintext is not None:
                return plaintext
        if position.failures >= _PATIENCE and position.failures % _PATIENCE:
            return self._failed(position)
        key = position.key
        for _ in range(self._window):
            if key.successor is None:
                return Failure.SEARCHING
            key = key.successor
            plaintext = key.open(sealed, iv)
            if plaintext is not None:
                position.move_to(key)
                position.failures = 0
                return plaintext
        return self._failed(position)

    def _failed(self, position: _Position) -> Failure:
        position.failures += 1
        return Failure.UNDECRYPTABLE

    def __repr__(self) -> str:
        return f"<Opener of {self._identity!r}>"


def _decrypt_nothing(_iv: bytes, _sealed: bytes, _aad: None) -> bytes:
    """Instead of a key that has failed too often."""
    raise InvalidTag

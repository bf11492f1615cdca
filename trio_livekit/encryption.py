"""End-to-end encryption: the keys of a room, which only its participants have.

>>> encryption = lk.Encryption(shared_key="correct horse battery staple")
>>> async with lk.connect(url, token, encryption=encryption) as room:
...     ...

What a server sees of data tracks and data packets is then who sends what amount to whom and when, the names of tracks,
and user timestamps. It works together with LiveKit's own SDKs: the cipher is AES-128-GCM, keys come from passphrases by
PBKDF2, a key has one of 16 indexes. How participants come by their keys is the application's business.
"""

from __future__ import annotations

__all__ = ["Encryption", "KeyDerivation"]

import operator
from typing import TYPE_CHECKING

import trio

from ._sansio.encryption.key import SALT, Key, KeyDerivation
from ._sansio.encryption.keys import Keys, check_index
from ._session.sealing import EncryptionOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DEFAULT_RATCHET_WINDOW = 16


class Encryption:
    """The keys with which a client encrypts and decrypts, and how strict it is; for ``connect(encryption=...)``.

    Keys may be shared by all participants, or a participant's own: those of its own go first. Each is under an index,
    0 to 15, which travels with what is encrypted, so that a new key can come into use while the old one still opens
    what is under way. Keys are passphrases, or bytes; deriving one takes a worker thread some 25 ms. They can be
    changed at any time, in rooms that are joined as well.

    Args:
        shared_key: the key of all participants, under index 0.
        participant_keys: keys of participants of their own by identity, under index 0; among them, perhaps, ours.
        derivation: how a key follows from a passphrase; all participants need the same. JavaScript clients that are
            given bytes instead of a passphrase use ``HKDF``.
        ratchet_window: a sender that ratchets its key without a word is followed up to so many steps at once.
        ratchet_salt: the salt of all derivations; all participants need the same.
        failure_tolerance: after so many failures in a row, nothing is tried any more that a sender encrypts under that
            index, until a key is set; ``None`` for any number.
        plaintext_from: the identities of participants that need not encrypt; ``""`` is the server itself. What others
            send in the clear is dropped, and counted.
    """

    def __init__(
        self,
        *,
        shared_key: str | bytes | None = None,
        participant_keys: Mapping[str, str | bytes] | None = None,
        derivation: KeyDerivation = KeyDerivation.PBKDF2,
        ratchet_window: int = DEFAULT_RATCHET_WINDOW,
        ratchet_salt: str | bytes = SALT,
        failure_tolerance: int | None = None,
        plaintext_from: Collection[str] = (),
    ) -> None:
        if operator.index(ratchet_window) < 0 or (
            failure_tolerance is not None and operator.index(failure_tolerance) < 0
        ):
            raise ValueError("ratchet_window and failure_tolerance are numbers, and not negative")
        if not isinstance(derivation, KeyDerivation):  # anything else would be taken for HKDF
            raise TypeError(f"derivation is a KeyDerivation, not {type(derivation).__name__}")
        if isinstance(plaintext_from, str):
            raise TypeError("plaintext_from is a collection of identities, not one of them")
        self._derivation = derivation
        self._salt = _as_bytes(ratchet_salt, "a salt")
        self._keys = Keys()
        self._options = EncryptionOptions(self._keys, ratchet_window, failure_tolerance, frozenset(plaintext_from))
        self._lock = trio.Lock()  # so that keys come into use in the order in which they were set
        if shared_key is not None:
            self._keys.set(None, self._key(shared_key), 0, send=True)
        for identity, key in (participant_keys or {}).items():
            self._keys.set(identity, self._key(key), 0, send=True)

    # --- the shared key -----------------------------------------------------------------------------------------------

    async def set_shared_key(self, key: str | bytes, index: int = 0, *, send: bool = True) -> None:
        """Set the key of all participants under ``index``, in place of one that is there.

        With ``send=False`` it is only received with, until ``select_shared_key`` says otherwise: so a new key can be
        given to everybody before anybody uses it. If cancelled, nothing was set.

        Raises ``ValueError`` for an index that is not 0 to 15, or an empty key; ``TypeError`` for what is no key.
        """
        await self._set(None, key, index, send)

    def select_shared_key(self, index: int) -> None:
        """Encrypt with the shared key under ``index`` from now on. Raises ``MissingKey``."""
        self._keys.select(None, index)

    async def ratchet_shared_key(self, index: int | None = None) -> bytes:
        """Replace the shared key by one that follows from it, and return that; by default, the one in use.

        Others need not be told, if they follow (Python and native SDKs do, JavaScript does not). Who is given the new
        key cannot decrypt what was sent before. Raises ``MissingKey``. If cancelled, nothing has changed.
        """
        return await self._ratchet(None, index)

    def export_shared_key(self, index: int | None = None) -> bytes:
        """The key as it was set, or as ratcheting left it; by default, the one in use. Raises ``MissingKey``."""
        return self._keys.get(None, index).material

    # --- the keys of participants -------------------------------------------------------------------------------------

    async def set_key(self, identity: str, key: str | bytes, index: int = 0, *, send: bool = True) -> None:
        """Set a key of one participant's own, which may be us, under ``index``. See ``set_shared_key``."""
        await self._set(identity, key, index, send)

    def select_key(self, identity: str, index: int) -> None:
        """If this is our identity, encrypt with its key under ``index`` from now on. Raises ``MissingKey``."""
        self._keys.select(identity, index)

    async def ratchet_key(self, identity: str, index: int | None = None) -> bytes:
        """Replace a key of a participant's own by the one that follows from it. See ``ratchet_shared_key``."""
        return await self._ratchet(identity, index)

    def export_key(self, identity: str, index: int | None = None) -> bytes:
        """A key of a participant's own. See ``export_shared_key``."""
        return self._keys.get(identity, index).material

    def remove_keys(self, identity: str) -> None:
        """Forget all keys of a participant's own. Quiet if there are none."""
        self._keys.remove(identity)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _key(self, key: str | bytes) -> Key:
        return Key(_as_bytes(key, "a key"), self._derivation, salt=self._salt)

    async def _set(self, identity: str | None, key: str | bytes, index: int, send: bool) -> None:
        check_index(index)
        made = self._key(key)
        async with self._lock:
            await trio.to_thread.run_sync(made.derive)
            self._keys.set(identity, made, index, send=send)

    async def _ratchet(self, identity: str | None, index: int | None) -> bytes:
        async with self._lock:
            old = self._keys.get(identity, index)
            successor = old.link(await trio.to_thread.run_sync(old.ratcheted))
            self._keys.ratchet(identity, index, old, successor)
        return self._keys.get(identity, index).material

    async def _prepare(self) -> None:
        """Derive the keys that ``__init__`` was given."""
        async with self._lock:
            for key in list(self._keys.not_derived()):
                await trio.to_thread.run_sync(key.derive)

    def __repr__(self) -> str:
        return "<Encryption>"


def _as_bytes(value: str | bytes, what: str) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"{what} is str or bytes, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{what} is not empty")
    return value.encode() if isinstance(value, str) else value

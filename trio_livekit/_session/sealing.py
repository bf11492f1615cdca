"""A room's end-to-end encryption: what we send is sealed, what the others send is opened, in the order it came in.

Opening is done at once where the keys for it are there. Where a sender may have ratcheted its key, the keys to try have
to be derived first, which takes a worker thread some 50 ms each: what comes from that sender meanwhile is held, so that
nothing is overtaken, up to a bound. See ``_sansio.encryption``.
"""

from __future__ import annotations

__all__ = ["EncryptionOptions", "Opening", "Sealing", "Verdict"]

import enum
import secrets
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from .._sansio.encryption.complaints import Complaints, DecryptionFailureReason
from .._sansio.encryption.opener import Failure, Opener
from .._sansio.encryption.sealer import Sealer
from .._sansio.records import dataclass
from .._sansio.tracks.packet import EncryptionInfo
from ..errors import MissingKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._sansio.encryption.complaints import Complaint
    from .._sansio.encryption.key import Key
    from .._sansio.encryption.keys import Keys

T = TypeVar("T")

_MAX_HELD = 256
_MAX_HELD_BYTES = 4 << 20
"""What of one track, or of one sender's lossy packets, is held while keys are derived. Whatever comes then is dropped:
it is the newest that has to go, where the order is to stay."""

_REASONS = {
    Failure.MISSING_KEY: DecryptionFailureReason.MISSING_KEY,
    Failure.UNDECRYPTABLE: DecryptionFailureReason.UNDECRYPTABLE,
}

_MAX_SENDERS = 1024
"""Senders remembered with how far they have ratcheted. Who is forgotten is followed again from the key that was set."""


@dataclass(frozen=True, slots=True)
class EncryptionOptions:
    """What a caller of ``connect`` may choose of a room's encryption."""

    keys: Keys
    ratchet_window: int
    failure_tolerance: int | None
    plaintext_from: frozenset[str]


class Verdict(enum.Enum):
    """What became of something sealed that is not opened."""

    DROPPED = enum.auto()
    HELD = enum.auto()


class Opening(Generic[T]):
    """Things of one sender, each with a part that is sealed, to be handed on in order with that part opened.

    ``resume`` gets those that were held, when they are opened, or with ``None`` if they cannot be. ``dropped`` counts
    all that could not be opened.
    """

    __slots__ = ("_bounded", "_held", "_held_bytes", "_resume", "_sender", "dropped")

    def __init__(self, sender: _Sender, resume: Callable[[T, bytes | None], None], bounded: bool) -> None:
        self._sender = sender
        self._resume = resume
        self._bounded = bounded
        self._held: deque[tuple[T, bytes, int, bytes]] = deque()
        self._held_bytes = 0
        self.dropped = 0

    def open(self, item: T, sealed: bytes, key_index: int, iv: bytes) -> bytes | Verdict:
        """Open one, or hold it for as long as that cannot be said to fail."""
        if self._held:
            return self._hold((item, sealed, key_index, iv))
        opened = self._sender.opener.open(sealed, key_index, iv)
        if isinstance(opened, bytes):
            return opened
        if opened is Failure.SEARCHING:
            verdict = self._hold((item, sealed, key_index, iv))
            self._sender.search(key_index, sealed, iv, self)
            return verdict
        return self.drop(_REASONS[opened])

    def drop(self, reason: DecryptionFailureReason) -> Verdict:
        """Count and report one that is not to be had."""
        self.dropped += 1
        self._sender.complain(reason)
        return Verdict.DROPPED

    def on_searched(self) -> None:
        """More keys are there: go on with what is held."""
        held, self._held, self._held_bytes = self._held, deque(), 0
        while held and not self._held:
            waiting = held.popleft()
            opened = self.open(*waiting)
            if opened is not Verdict.HELD:
                self._resume(waiting[0], opened if isinstance(opened, bytes) else None)
        for waiting in held:  # behind one that has to wait again
            self._hold(waiting)

    def _hold(self, waiting: tuple[T, bytes, int, bytes]) -> Verdict:
        size = len(waiting[1])
        is_full = len(self._held) >= _MAX_HELD or self._held_bytes + size > _MAX_HELD_BYTES
        if self._bounded and self._held and is_full:
            return self.drop(DecryptionFailureReason.OVERFLOW)
        self._held.append(waiting)
        self._held_bytes += size
        return Verdict.HELD


class _Sender:
    """Another participant, as far as opening what it sealed goes."""

    __slots__ = ("_owner", "_searches", "identity", "opener")

    def __init__(self, owner: Sealing, identity: str, opener: Opener) -> None:
        self._owner = owner
        self.identity = identity
        self.opener = opener
        self._searches: dict[int, list[Opening[object]]] = {}

    def search(self, key_index: int, sealed: bytes, iv: bytes, opening: Opening[T]) -> None:
        """Have keys derived until one opens this, or the window is complete; ``opening`` then resumes."""
        waiting = self._searches.get(key_index)
        if waiting is not None:
            waiting.append(opening)  # type: ignore[arg-type] # what it carries does not matter here
            return
        self._searches[key_index] = [opening]  # type: ignore[list-item]
        self._owner._search(_Search(self, key_index, sealed, iv))

    def searched(self, key_index: int) -> None:
        """Whatever waits for this search goes on."""
        for opening in self._searches.pop(key_index):
            opening.on_searched()

    def complain(self, reason: DecryptionFailureReason) -> None:
        self._owner.complain(self.identity, reason)


@dataclass(frozen=True, slots=True)
class _Search:
    sender: _Sender
    key_index: int
    sealed: bytes
    iv: bytes


class Sealing:
    """Seals what the local participant sends, and opens what the others do."""

    def __init__(
        self, options: EncryptionOptions, background: trio.Nursery, announce: Callable[[Complaint], None]
    ) -> None:
        self._options = options
        self._keys = options.keys
        self._background = background
        self._announce = announce
        self._identity = ""
        self._version = -1
        self._sealer: Sealer | None = None
        self._senders: dict[str, _Sender] = {}
        self._complaints = Complaints()
        self._searches: deque[_Search] = deque()
        self._is_searching = False

    @property
    def failures(self) -> Mapping[DecryptionFailureReason, int]:
        """What was dropped, by reason."""
        return self._complaints.totals

    # --- what goes out ------------------------------------------------------------------------------------------------

    def seal(self, plaintext: bytes) -> tuple[bytes, EncryptionInfo]:
        """The ciphertext, and what has to be said of it. Raises ``MissingKey``."""
        if self._version != self._keys.version:
            self._refresh()
        sealer = self._sealer
        if sealer is None:
            text = f"there is nothing to encrypt with: neither a shared key nor one of {self._identity!r} was set"
            raise MissingKey(self._identity, message=text)
        sealed, iv = sealer.seal(plaintext)
        return sealed, EncryptionInfo(sealer.key_index, iv)

    def on_joined(self, identity: str) -> None:
        """Under which identity we send."""
        self._identity = identity
        self._version = -1

    def _refresh(self) -> None:
        self._version = self._keys.version
        found = self._keys.sending(self._identity)
        if found is None:
            self._sealer = None
            return
        index, slot = found
        if self._sealer is None or self._sealer.key is not slot.key or self._sealer.key_index != index:
            self._sealer = Sealer(slot.key, index, secrets.token_bytes)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def opening(self, identity: str, resume: Callable[[T, bytes | None], None], *, bounded: bool = True) -> Opening[T]:
        """For one track, or one channel's packets, of the participant ``identity``.

        ``bounded=False`` is for what a bound holds up elsewhere.
        """
        sender = self._senders.get(identity)
        if sender is None:
            if len(self._senders) >= _MAX_SENDERS:
                del self._senders[next(iter(self._senders))]
            options = self._options
            opener = Opener(
                self._keys,
                identity,
                ratchet_window=options.ratchet_window,
                failure_tolerance=options.failure_tolerance,
            )
            sender = self._senders[identity] = _Sender(self, identity, opener)
        return Opening(sender, resume, bounded)

    def admits_plaintext(self, identity: str) -> bool:
        """Whether what this participant sends in the clear is to be taken."""
        return identity in self._options.plaintext_from

    def complain(self, identity: str, reason: DecryptionFailureReason) -> None:
        """Something of this participant's was dropped: count it, and tell of it if that has not just been done."""
        complaint = self._complaints.add(identity, reason, trio.current_time())
        if complaint is not None:
            self._announce(complaint)

    def on_participant_left(self, identity: str) -> None:
        """Should it come back, it is with the key that was set for it."""
        sender = self._senders.get(identity)
        if sender is not None:
            sender.opener.reset()

    # --- looking for keys ---------------------------------------------------------------------------------------------

    def _search(self, search: _Search) -> None:
        self._searches.append(search)
        if not self._is_searching:
            self._is_searching = True
            self._background.start_soon(self._work, name="room: key derivation")

    async def _work(self) -> None:
        """One search after the other, one thread at a time."""
        while self._searches:
            search = self._searches.popleft()
            await self._derive(search)
            search.sender.searched(search.key_index)
        self._is_searching = False

    async def _derive(self, search: _Search) -> None:
        opener, key_index = search.sender.opener, search.key_index
        while (last := opener.frontier(key_index)) is not None:
            successor: Key = last.link(await trio.to_thread.run_sync(last.ratcheted))
            if successor.open(search.sealed, search.iv) is not None:
                return

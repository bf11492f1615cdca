"""Every key that a client has: shared by all participants, or a participant's own, in rings of 16 places.

A sender says with each message under which index of its ring the key is. Whoever has no key of its own under an index
uses the shared one. Setting a key replaces the one in its place for good; ratcheting keeps the one before it for
opening, so that what is under way while everybody ratchets is not lost.
"""

from __future__ import annotations

__all__ = ["RING_SIZE", "Keys", "Slot"]

from typing import TYPE_CHECKING

from ...errors import MissingKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .key import Key

RING_SIZE = 16
"""Places of a ring: what the other SDKs have."""


class Slot:
    """A key in its place. There is a new one whenever a key is set or ratcheted."""

    __slots__ = ("key", "previous")

    def __init__(self, key: Key, previous: Key | None = None) -> None:
        self.key = key
        self.previous = previous

    def __repr__(self) -> str:
        return "<Slot>"


class _Ring:
    __slots__ = ("send_index", "slots")

    def __init__(self) -> None:
        self.slots: list[Slot | None] = [None] * RING_SIZE
        self.send_index = 0


class Keys:
    """The shared ring, and those of participants. An ``identity`` of ``None`` stands for the shared ring.

    ``version`` changes with every change, so that who keeps what follows from the keys knows when to look again.
    """

    def __init__(self) -> None:
        self._rings: dict[str | None, _Ring] = {}
        self.version = 0

    def set(self, identity: str | None, key: Key, index: int, *, send: bool) -> None:
        """Put a key in its place; with ``send``, it is the one to send with from now on."""
        check_index(index)
        ring = self._rings.get(identity)
        if ring is None:
            ring = self._rings[identity] = _Ring()
            ring.send_index = index
        ring.slots[index] = Slot(key)
        if send:
            ring.send_index = index
        self.version += 1

    def select(self, identity: str | None, index: int) -> None:
        """Send with the key in this place from now on. Raises ``MissingKey``."""
        self._slot(identity, index)
        self._rings[identity].send_index = index
        self.version += 1

    def get(self, identity: str | None, index: int | None) -> Key:
        """The key in a place, by default the one to send with. Raises ``MissingKey``."""
        return self._slot(identity, index).key

    def ratchet(self, identity: str | None, index: int | None, old: Key, successor: Key) -> None:
        """Go on to the successor of ``old``, if that still is the key in this place."""
        slot = self._slot(identity, index)
        if slot.key is old:
            ring = self._rings[identity]
            ring.slots[ring.send_index if index is None else index] = Slot(successor, old)
            self.version += 1

    def remove(self, identity: str | None) -> None:
        """Forget a whole ring. Quiet if there is none."""
        if self._rings.pop(identity, None) is not None:
            self.version += 1

    def find(self, identity: str, index: int) -> Slot | None:
        """Where the key is that a participant uses under an index."""
        if index >= RING_SIZE:
            return None
        own, shared = self._rings.get(identity), self._rings.get(None)
        slot = None if own is None else own.slots[index]
        return slot or (None if shared is None else shared.slots[index])

    def sending(self, identity: str) -> tuple[int, Slot] | None:
        """Index and place of the key that a participant sends with: one of its own if it has any."""
        for ring in (self._rings.get(identity), self._rings.get(None)):
            slot = None if ring is None else ring.slots[ring.send_index]
            if ring is not None and slot is not None:
                return ring.send_index, slot
        return None

    def not_derived(self) -> Iterator[Key]:
        """The keys that nobody has derived yet."""
        for ring in self._rings.values():
            for slot in ring.slots:
                if slot is not None and not slot.key.is_derived:
                    yield slot.key

    def _slot(self, identity: str | None, index: int | None) -> Slot:
        if index is not None:
            check_index(index)
        ring = self._rings.get(identity)
        slot = None if ring is None else ring.slots[ring.send_index if index is None else index]
        if slot is None:
            raise MissingKey(identity, index)
        return slot

    def __repr__(self) -> str:
        return f"<Keys of {len(self._rings)} rings>"


def check_index(index: int) -> None:
    """Raises ``ValueError`` for what is no key index."""
    if not 0 <= index < RING_SIZE:
        raise ValueError(f"a key index is 0 to {RING_SIZE - 1}, not {index}")

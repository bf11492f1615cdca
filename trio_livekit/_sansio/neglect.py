"""Who does not read, while what nobody has read holds up the connection.

What is reliable occupies the receive window until it is read, so that one reader that does not read stops what comes
for all of them. It is named after a while, and given up in the end. Both are found by looking every ``CHECK_S``, while
there is reason to, and cost nothing per packet.
"""

from __future__ import annotations

__all__ = ["CHECK_S", "CROWDED_BYTES", "NEGLECTED_S", "NOT_READ_S", "Neglect"]

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

CROWDED_BYTES = 2 << 20
"""Unread bytes that hold up the connection: half of its window."""

NEGLECTED_S = 5.0
"""After how much of that without a read it is told whose they are."""

NOT_READ_S = 60.0
"""After how much of that a reader is given up, unless it asked for something else."""

CHECK_S = 0.5
"""How often it is looked. Deadlines are kept to within twice this."""


class Reader(Protocol):
    """Somebody who is to read."""

    @property
    def reads(self) -> int:
        """How often it has read so far."""

    @property
    def unread(self) -> int:
        """How much waits for it, in whatever unit."""

    @property
    def patience_s(self) -> float:
        """How long it may go without a read."""


R = TypeVar("R", bound=Reader)


class _Pause:
    """Since when a reader has not read."""

    __slots__ = ("is_told", "reads", "since")

    def __init__(self, reads: int, now: float) -> None:
        self.reads, self.since, self.is_told = reads, now, False


class Neglect(Generic[R]):
    """Looks at readers, and remembers since when they have not read."""

    __slots__ = ("_pauses",)

    def __init__(self) -> None:
        self._pauses: dict[R, _Pause] = {}

    def check(self, readers: Iterable[R], held_bytes: int, now: float) -> tuple[list[R], list[R]]:
        """All who may have something unread, of which there is so much: who is to be told of, and who to be given up.

        In each pause a reader is told of once. A pause begins when it is first seen: with less than ``CROWDED_BYTES``
        nobody is held up, and nobody to blame.
        """
        before, self._pauses = self._pauses, {}
        told: list[R] = []
        given_up: list[R] = []
        if held_bytes < CROWDED_BYTES:
            return told, given_up
        for reader in readers:
            if not reader.unread:
                continue
            pause = before.get(reader)
            if pause is None or pause.reads != reader.reads:
                pause = _Pause(reader.reads, now)
            elif now - pause.since >= reader.patience_s:
                given_up.append(reader)
                continue
            elif now - pause.since >= NEGLECTED_S and not pause.is_told:
                pause.is_told = True
                told.append(reader)
            self._pauses[reader] = pause
        return told, given_up

"""Numbers in front of frames, so that the end that writes them knows exactly which are missing.

A data track numbers its frames too, and ``statistics()`` counts the gaps. But the numbers say nothing of frames lost
before the first that arrived, or after the last. So ``publish --numbered`` puts a number of its own before each frame,
and says at the end how many there were; ``subscribe --numbered`` takes them off, and restores the order.

    frame     u32 number, from 0 | data, 1 byte or more
    end       u32 number of frames, and nothing else; sent several times, since it can be lost like any other
"""

from __future__ import annotations

__all__ = ["Collector", "Numberer"]

import struct

from .exits import CommandError

_NUMBER = struct.Struct(">I")

_WINDOW = 64
"""Frames that are held back while an earlier one is missing. Packets hardly ever overtake each other by more."""


class Numberer:
    """The sending end."""

    def __init__(self) -> None:
        self._next = 0

    def wrap(self, frame: bytes) -> bytes:
        """The frame with its number."""
        number = self._next
        if number == 0xFFFFFFFF:
            raise CommandError("--numbered ends at 2**32 frames")
        self._next += 1
        return _NUMBER.pack(number) + frame

    def end(self) -> bytes:
        """What to send when there are no more."""
        return _NUMBER.pack(self._next)


class Collector:
    """The receiving end.

    Attributes:
        missing: frames that did not come, or came after a later one had to be let through.
        expected: how many there are in all, once that is known.
    """

    def __init__(self) -> None:
        self.missing = 0
        self.expected: int | None = None
        self._next = 0
        self._waiting: dict[int, bytes] = {}

    def push(self, payload: bytes) -> list[bytes]:
        """Take in one frame; returns those that are due, in order."""
        if len(payload) < _NUMBER.size:
            raise CommandError("a frame without a number: publish with --numbered as well")
        number: int = _NUMBER.unpack_from(payload)[0]
        if len(payload) == _NUMBER.size:
            self.expected = number
            return []
        if number >= self._next:
            self._waiting[number] = payload[_NUMBER.size :]
        due = self._take_consecutive()
        while len(self._waiting) > _WINDOW:
            self._skip_to(min(self._waiting))
            due += self._take_consecutive()
        return due

    @property
    def is_complete(self) -> bool:
        """Whether nothing is to be waited for."""
        return self.expected is not None and self._next >= self.expected

    def finish(self) -> list[bytes]:
        """Nothing more will come: what was held back, in order. Counts what is missing at the end, if that is known."""
        due = []
        while self._waiting:
            self._skip_to(min(self._waiting))
            due += self._take_consecutive()
        if self.expected is not None:
            self._skip_to(max(self.expected, self._next))
        return due

    def _take_consecutive(self) -> list[bytes]:
        due = []
        while (frame := self._waiting.pop(self._next, None)) is not None:
            due.append(frame)
            self._next += 1
        return due

    def _skip_to(self, number: int) -> None:
        self.missing += number - self._next
        self._next = number

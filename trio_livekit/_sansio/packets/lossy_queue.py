"""Packets that are not worth waiting for, while the channel takes none: the newest, for a moment."""

from __future__ import annotations

__all__ = ["LossyQueue"]

from collections import deque

MAX_AGE_S = 0.3
"""A packet of which nothing could leave for so long is old news."""

MAX_BYTES = 256 * 1024
"""What JavaScript clients hold at most."""

CHANNEL_BYTES = 8 * 1024
"""What the channel is given in advance: enough to keep it busy. It knows until when each is worth sending."""


class LossyQueue:
    """Messages in order, each with the time at which it is not worth sending any more.

    Attributes:
        dropped: messages that were given up.
    """

    def __init__(self) -> None:
        self._messages: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def push(self, message: bytes, now: float) -> None:
        """Add a message; the oldest make room for it."""
        self._messages.append((now + MAX_AGE_S, message))
        self._bytes += len(message)
        while self._bytes > MAX_BYTES and len(self._messages) > 1:
            self._pop()
            self.dropped += 1

    def messages_to_send(self, unsent: int, now: float) -> list[tuple[float, bytes]]:
        """What the channel should have now, when ``unsent`` bytes of it have not left yet, each with its time."""
        out: list[tuple[float, bytes]] = []
        while self._messages and unsent < CHANNEL_BYTES:
            timed = self._messages[0]
            self._pop()
            if timed[0] <= now:
                self.dropped += 1
            else:
                unsent += len(timed[1])
                out.append(timed)
        return out

    def clear(self) -> None:
        """There is no channel: give everything up."""
        self.dropped += len(self._messages)
        self._messages.clear()
        self._bytes = 0

    def _pop(self) -> None:
        _, message = self._messages.popleft()
        self._bytes -= len(message)

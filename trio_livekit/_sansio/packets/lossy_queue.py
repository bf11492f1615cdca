"""Packets that are not worth waiting for, while the channel takes none: the newest, for a moment."""

from __future__ import annotations

__all__ = ["LossyQueue"]

from collections import deque

MAX_AGE_S = 0.3
"""A packet that could not leave for so long is old news."""

MAX_BYTES = 256 * 1024
"""What JavaScript clients hold at most."""

CHANNEL_BYTES = 8 * 1024
"""What the channel is given in advance: enough to keep it busy, little enough to be fresh."""


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

    def messages_to_send(self, unsent: int, now: float) -> list[bytes]:
        """What the channel should have now, when ``unsent`` bytes of it have not left yet."""
        out: list[bytes] = []
        while self._messages and unsent < CHANNEL_BYTES:
            expires_at, _ = self._messages[0]
            message = self._pop()
            if expires_at <= now:
                self.dropped += 1
            else:
                unsent += len(message)
                out.append(message)
        return out

    def clear(self) -> None:
        """There is no channel: give everything up."""
        self.dropped += len(self._messages)
        self._messages.clear()
        self._bytes = 0

    def _pop(self) -> bytes:
        _, message = self._messages.popleft()
        self._bytes -= len(message)
        return message

"""One request to a server, repeated until it is answered (RFC 8489 section 6.2.1)."""

from __future__ import annotations

__all__ = ["Exchange"]

FIRST_RTO_S = 0.25
MAX_RTO_S = 4.0
TRIES = 7
STREAM_TIMEOUT_S = 10.0


class Exchange:
    """The bytes of a request and when they are due again. A stream repeats for us, so there it is one try."""

    __slots__ = ("_is_stream", "_rto_s", "_tries", "data", "due_at", "transaction_id")

    def __init__(self, transaction_id: bytes, data: bytes, now: float, *, is_stream: bool = False) -> None:
        self.transaction_id = transaction_id
        self.data = data
        self._is_stream = is_stream
        self._tries = 1
        self._rto_s = STREAM_TIMEOUT_S if is_stream else FIRST_RTO_S
        self.due_at = now + self._rto_s

    def repeat(self, now: float) -> bytes | None:
        """Called when due: the bytes to send once more, or None if it is time to give up."""
        if self._is_stream or self._tries >= TRIES:
            return None
        self._tries += 1
        self._rto_s = min(2 * self._rto_s, MAX_RTO_S)
        self.due_at = now + self._rto_s
        return self.data

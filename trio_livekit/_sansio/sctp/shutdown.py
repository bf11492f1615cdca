"""Graceful shutdown: three messages once both sides have nothing left to say (RFC 9260 section 9.2)."""

from __future__ import annotations

__all__ = ["Shutdown"]

import enum

from .chunks import SHUTDOWN, SHUTDOWN_ACK, encode_chunk


class Phase(enum.Enum):
    NONE = 0
    PENDING = 1  # we want to, and have data outstanding
    SENT = 2  # SHUTDOWN is out, SHUTDOWN-ACK is due
    RECEIVED = 3  # the peer wants to, and we have data outstanding
    ACK_SENT = 4  # SHUTDOWN-ACK is out, SHUTDOWN-COMPLETE is due


class Shutdown:
    """Where the shutdown stands, and its timer T2."""

    __slots__ = ("_due", "_retries", "phase", "t2_at")

    def __init__(self) -> None:
        self.phase = Phase.NONE
        self.t2_at: float | None = None
        self._due = False
        self._retries = 0

    @property
    def retries(self) -> int:
        """How often T2 ran out."""
        return self._retries

    def request(self) -> None:
        """The application wants to end the association."""
        if self.phase is Phase.NONE:
            self.phase = Phase.PENDING

    def on_shutdown(self) -> None:
        """The peer wants to."""
        if self.phase in (Phase.NONE, Phase.PENDING):
            self.phase = Phase.RECEIVED
        elif self.phase is Phase.SENT:  # both at once
            self._enter(Phase.ACK_SENT)
        elif self.phase is Phase.ACK_SENT:
            self._due = True

    def on_data(self) -> None:
        """Data came after our SHUTDOWN: say again how far we are."""
        if self.phase is Phase.SENT:
            self._due = True

    def on_timeout(self, now: float) -> None:
        """T2 may have run out."""
        if self.t2_at is not None and now >= self.t2_at:
            self.t2_at = None
            self._retries += 1
            self._due = True

    def chunk(self, now: float, rto_s: float, cumulative_tsn: int, *, idle: bool) -> bytes | None:
        """The chunk to send now, if any. `idle`: nothing of ours is queued or unacknowledged."""
        if idle and self.phase is Phase.PENDING:
            self._enter(Phase.SENT)
        elif idle and self.phase is Phase.RECEIVED:
            self._enter(Phase.ACK_SENT)
        if not self._due:
            return None
        self._due = False
        self.t2_at = now + rto_s * 2 ** min(self._retries, 4)
        if self.phase is Phase.SENT:
            return encode_chunk(SHUTDOWN, 0, cumulative_tsn.to_bytes(4, "big"))
        return encode_chunk(SHUTDOWN_ACK, 0, b"")

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._due = True
        self._retries = 0

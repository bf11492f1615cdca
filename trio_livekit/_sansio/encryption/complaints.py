"""What could not be decrypted, counted in full, and reported now and then."""

from __future__ import annotations

__all__ = ["Complaint", "Complaints", "DecryptionFailureReason"]

import enum
from collections import Counter, OrderedDict

from ..records import dataclass

REPORT_INTERVAL_S = 10.0
"""The least time between two reports about one sender."""

_MAX_SENDERS = 1024
"""Senders remembered. Beyond that the one heard of longest ago is forgotten, and may be reported too soon."""


class DecryptionFailureReason(enum.Enum):
    """Why something that a participant sent was dropped in a room with end-to-end encryption."""

    MISSING_KEY = "missing_key"  # no key is set under the index it was sealed with
    UNDECRYPTABLE = "undecryptable"  # the key does not fit, or it was changed on the way
    PLAINTEXT = "plaintext"  # it was not encrypted, and its sender is not allowed that
    MALFORMED = "malformed"  # it was decrypted, and makes no sense
    OVERFLOW = "overflow"  # too much came while it was being found out how far the sender has ratcheted its key


@dataclass(frozen=True, slots=True)
class Complaint:
    """A report about one sender: what happened last, and how much was dropped since the report before."""

    identity: str
    reason: DecryptionFailureReason
    count: int


class _Sender:
    __slots__ = ("count", "not_before")

    def __init__(self) -> None:
        self.count = 0
        self.not_before = float("-inf")


class Complaints:
    """``totals`` has everything; a sender is reported at once, and then at most every 10 seconds."""

    def __init__(self) -> None:
        self.totals: Counter[DecryptionFailureReason] = Counter()
        self._senders: OrderedDict[str, _Sender] = OrderedDict()

    def add(self, identity: str, reason: DecryptionFailureReason, now: float) -> Complaint | None:
        """Count something; returns a report if one is due."""
        self.totals[reason] += 1
        sender = self._senders.get(identity)
        if sender is None:
            if len(self._senders) >= _MAX_SENDERS:
                self._senders.popitem(last=False)
            sender = self._senders[identity] = _Sender()
        else:
            self._senders.move_to_end(identity)
        sender.count += 1
        if now < sender.not_before:
            return None
        sender.not_before = now + REPORT_INTERVAL_S
        count, sender.count = sender.count, 0
        return Complaint(identity, reason, count)

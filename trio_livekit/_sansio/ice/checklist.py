"""Candidate pairs and the order they are checked in (RFC 8445 sections 6.1.2 and 6.1.4).

There is one data stream with one component, so no pair is ever frozen: freezing only spares checks that another
stream's checks make needless.
"""

from __future__ import annotations

__all__ = ["Checklist", "Pair", "PairState", "pair_priority"]

import enum
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..types import Address
    from .candidate import Candidate
    from .events import Path


class PairState(enum.Enum):
    DORMANT = "dormant"  # TCP, and no connection was asked for yet
    CONNECTING = "connecting"  # TCP, and the driver was asked to connect
    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Pair:
    """A local base, a remote candidate, and how checking the way between them goes."""

    __slots__ = (
        "claimed_ufrag",
        "due_at",
        "is_nominated",
        "local",
        "local_priority",
        "mapped",
        "path",
        "priority",
        "remote",
        "renominations",
        "rto_s",
        "rtt_s",
        "state",
        "tries",
        "triggered_at",
    )

    def __init__(self, local: Candidate, remote: Candidate, path: Path, state: PairState, *, controlling: bool) -> None:
        self.local = local
        self.remote = remote
        self.path = path
        self.state = state
        self.tries = 0
        self.rto_s = 0.0
        self.due_at = 0.0  # when to check again, IN_PROGRESS; not to connect before, DORMANT
        self.rtt_s: float | None = None
        self.triggered_at = float("-inf")
        self.mapped: Address | None = None  # where the peer sees us on it
        self.renominations = 0  # checks still to be sent after that changed
        self.is_nominated = False  # by the peer, when we are controlled
        self.claimed_ufrag: str | None = None  # what an early check called itself, until the real one is known
        self.local_priority = local.priority
        self.priority = 0
        self.rank(controlling=controlling)

    def rank(self, *, controlling: bool) -> None:
        """Compute the priority anew, after a role switch or when a candidate turned out to be another."""
        ours, theirs = self.local_priority, self.remote.priority
        self.priority = pair_priority(ours, theirs) if controlling else pair_priority(theirs, ours)

    def rewind(self) -> None:
        """Make ready to be checked from the start."""
        self.state = PairState.WAITING
        self.tries = 0
        self.rto_s = 0.0

    def __repr__(self) -> str:
        return f"Pair({self.path.local} -> {self.path.remote} {self.path.protocol}, {self.state.value})"


def pair_priority(controlling: int, controlled: int) -> int:
    """``2^32 * min(G, D) + 2 * max(G, D) + (G > D)`` (RFC 8445 section 6.1.2.3)."""
    low, high = (controlled, controlling) if controlling > controlled else (controlling, controlled)
    return (low << 32) + 2 * high + (controlling > controlled)


class Checklist:
    """The pairs of one generation, by path, and the queue of triggered checks."""

    __slots__ = ("_max_pairs", "_pairs", "triggered")

    def __init__(self, max_pairs: int) -> None:
        self._pairs: dict[Path, Pair] = {}
        self._max_pairs = max_pairs
        self.triggered: deque[Pair] = deque()

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs.values())

    def get(self, path: Path) -> Pair | None:
        return self._pairs.get(path)

    def add(self, pair: Pair, *, proven: bool = False) -> bool:
        """Take a pair in, unless the list is full; one the peer has proven to use displaces the least of the others."""
        if len(self._pairs) >= self._max_pairs and not (proven and self._displace()):
            return False
        self._pairs[pair.path] = pair
        return True

    def _displace(self) -> bool:
        idle = [p for p in self._pairs.values() if p.state in (PairState.WAITING, PairState.FAILED, PairState.DORMANT)]
        if not idle:
            return False
        self.remove(min(idle, key=lambda pair: pair.priority))
        return True

    def remove(self, pair: Pair) -> None:
        self._pairs.pop(pair.path, None)
        self.forget_trigger(pair)

    def discard(self, path: Path) -> None:
        pair = self._pairs.get(path)
        if pair is not None:
            self.remove(pair)

    def forget_trigger(self, pair: Pair) -> None:
        if pair in self.triggered:
            self.triggered.remove(pair)

    def rekey(self, pair: Pair, path: Path) -> None:
        """A TCP pair learnt its real local address."""
        self._pairs.pop(pair.path, None)
        pair.path = path
        self._pairs[path] = pair

    def trigger(self, pair: Pair) -> None:
        if pair not in self.triggered:
            self.triggered.append(pair)

    def rank(self, *, controlling: bool) -> None:
        for pair in self._pairs.values():
            pair.rank(controlling=controlling)

    def best_waiting(self, above: int) -> Pair | None:
        """The waiting pair of highest priority, if that is over ``above``."""
        waiting = [p for p in self._pairs.values() if p.state is PairState.WAITING and p.priority > above]
        return max(waiting, key=lambda pair: pair.priority, default=None)

    def first_overdue(self, now: float) -> Pair | None:
        """The pair whose retransmission has waited longest."""
        overdue = [p for p in self._pairs.values() if p.state is PairState.IN_PROGRESS and p.due_at <= now]
        return min(overdue, key=lambda pair: pair.due_at, default=None)

    def next_retransmission(self) -> float | None:
        return min((p.due_at for p in self._pairs.values() if p.state is PairState.IN_PROGRESS), default=None)

    def active_count(self) -> int:
        """Pairs that share the pace (N of RFC 8445 section 14.3)."""
        return sum(p.state in (PairState.WAITING, PairState.IN_PROGRESS) for p in self._pairs.values())

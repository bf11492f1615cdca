"""When to try again: the pace at which a lost connection is taken up, and when it is given up. No I/O happens here."""

from __future__ import annotations

__all__ = ["Backoff", "Interrupted", "Lost", "ReconnectPolicy", "Regained"]

import math
from typing import TYPE_CHECKING, NamedTuple

from .._sansio.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import RoomDisconnected

_STABLE_S = 10.0
"""A connection that lasted as long was a success; one that is lost sooner continues the series of attempts."""


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How a room that was lost is taken up again. The default goes on for a minute.

    A server that refuses or does not finish is given time. Where nobody answers at all, which costs nobody anything,
    the next attempt comes soon: to be back at once when the network is, or the server.

    Attributes:
        delays_s: seconds from the loss to the first attempt, from the begin of that to the second and so on; the last
            one is for all that follow.
        jitter_s: up to so many seconds, chosen at random, are added from the third attempt on, so that the clients of
            a server that was restarted do not all come back at once.
        unanswered_s: the most seconds to the next attempt, of which a share is chosen at random, where nobody accepted
            the connection; less while the loss is young.
        give_up_after_s: no attempt begins later than this after the loss; ``math.inf`` goes on for ever.
        max_attempts: how many attempts at most; ``None`` for any number.
    """

    delays_s: tuple[float, ...] = (0.0, 0.3, 1.2, 2.7, 4.0)
    jitter_s: float = 1.0
    unanswered_s: float = 1.0
    give_up_after_s: float = 60.0
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        if not self.delays_s or not all(0 <= delay < math.inf for delay in self.delays_s):
            raise ValueError("delays_s is at least one number of seconds")
        if not 0 <= self.jitter_s < math.inf or not self.unanswered_s >= 0 or not self.give_up_after_s >= 0:
            raise ValueError("jitter_s, unanswered_s and give_up_after_s are seconds, and not negative")
        if self.max_attempts is not None and self.max_attempts < 0:
            raise ValueError("max_attempts is a number of attempts, or None")


class Interrupted(NamedTuple):
    """The connection was lost, and is being taken up again."""


class Regained(NamedTuple):
    """The connection is back: the same session, or another one."""

    resumed: bool


class Lost(NamedTuple):
    """The connection will not come back: the room is lost for good."""

    error: RoomDisconnected


_JITTER_FROM = 3  # the first attempts are quick: what they are for is short

_UNANSWERED_LEAST_S = 0.25
_UNANSWERED_SHARE = 0.1
"""Of the time since the loss: the wait for the next attempt where nobody answered."""


class Backoff:
    """Counts the attempts of one room, from a loss until its connection has proved to last.

    ``random`` returns numbers from 0 to 1, and ``now`` is on any clock.
    """

    def __init__(self, policy: ReconnectPolicy, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._attempts = 0
        self._in_haste = False
        self._was_answered = True
        self._lost_at = 0.0
        self._began_at = -math.inf
        self._regained_at = -math.inf

    def on_lost(self, now: float) -> None:
        """The connection was lost. If it had just been regained, that counts as an attempt that failed."""
        self._was_answered, self._began_at = True, now
        if now - self._regained_at >= _STABLE_S:
            self._attempts = 0
            self._lost_at = now

    def on_regained(self, now: float) -> None:
        """The connection is back."""
        self._regained_at = now

    def hurry(self) -> None:
        """The last attempt failed in a way that tells how the next one will succeed: that need not wait."""
        self._in_haste = True

    def on_failed(self, *, was_answered: bool) -> None:
        """The last attempt failed, and whether anybody accepted the connection for it."""
        self._was_answered = was_answered

    def next_delay_s(self, now: float) -> float | None:
        """How long to wait before the next attempt; ``None`` when it is time to give up."""
        policy = self._policy
        haste, self._in_haste = self._in_haste, False
        self._attempts += 1
        if policy.max_attempts is not None and self._attempts > policy.max_attempts:
            return None
        delay = 0.0 if haste else self._pace_s(now) - (now - self._began_at)
        delay = max(0.0, delay)
        self._began_at = now + delay
        return delay if self._began_at - self._lost_at <= policy.give_up_after_s else None

    def _pace_s(self, now: float) -> float:
        """From the begin of the last attempt to that of the next."""
        policy = self._policy
        pace = policy.delays_s[min(self._attempts, len(policy.delays_s)) - 1]
        if self._attempts >= _JITTER_FROM:
            pace += self._random() * policy.jitter_s
        if not self._was_answered:
            soon = max(_UNANSWERED_LEAST_S, _UNANSWERED_SHARE * (now - self._lost_at))
            pace = min(pace, min(policy.unanswered_s, soon) * (1 + self._random()) / 2)
        return pace

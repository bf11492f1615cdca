"""Is the selected path alive, and may we still send on it (RFC 7675)?

Two clocks run. *Silence* counts from the last thing of any kind that provably came from the peer on the path; it
decides about suspicion, ``disconnected`` and ``failed``. *Consent* counts from the last authenticated answer to a
check of ours; only such an answer renews it, and when it runs out nothing may be sent, whatever else arrives.
"""

from __future__ import annotations

__all__ = ["PathMonitor"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import Config


class PathMonitor:
    __slots__ = ("_config", "_interval_s", "answered_at", "checked_at", "heard_at", "is_suspect", "rtt_s", "unanswered")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._interval_s = config.consent_interval_s
        self.start(0.0, None)

    def start(self, now: float, rtt_s: float | None) -> None:
        """Watch another path, which just answered."""
        self.heard_at = now
        self.answered_at = now
        self.checked_at = now
        self.unanswered = 0
        self.is_suspect = False
        self.rtt_s = rtt_s

    def on_sent(self, now: float, jitter: float) -> None:
        """A check left on the path; ``jitter`` is in [0, 1) and spreads the next one."""
        self.checked_at = now
        self.unanswered += 1
        self._interval_s = self._config.consent_interval_s * (1 + jitter / 4)

    def on_answer(self, now: float, rtt_s: float) -> bool:
        """An authenticated answer came; True if it ends a suspicion."""
        was_suspect = self.is_suspect
        self.heard_at = self.answered_at = now
        self.unanswered = 0
        self.is_suspect = False
        self.rtt_s = rtt_s if self.rtt_s is None else 0.875 * self.rtt_s + 0.125 * rtt_s
        return was_suspect

    def next_check(self) -> float:
        config = self._config
        if self.unanswered:
            return self.checked_at + config.retry_interval_s + (self.rtt_s or 0.0)
        return min(
            self.checked_at + self._interval_s,
            max(self.heard_at + config.idle_interval_s, self.checked_at + config.retry_interval_s),
        )

    def should_suspect(self, now: float) -> bool:
        config = self._config
        if self.unanswered >= config.suspect_unanswered:
            return True
        return self.unanswered >= 2 and now - self.heard_at >= config.suspect_after_s

    def disconnected_at(self) -> float:
        return self.heard_at + self._config.disconnected_after_s

    def consent_ends_at(self) -> float:
        return min(self.heard_at + self._config.failed_after_s, self.answered_at + self._config.consent_timeout_s)

    def on_clock_gap(self, now: float) -> None:
        """The process slept: that was not the peer's silence, but the path has to prove itself at once."""
        self.heard_at = max(self.heard_at, now - self._config.suspect_after_s)
        self.checked_at = now - self._config.consent_interval_s * 2
        self.is_suspect = True

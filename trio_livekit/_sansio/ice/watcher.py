"""The passing of time: the selected pair is kept alive, suspected, replaced or given up."""

from __future__ import annotations

__all__ = ["Watcher"]

from typing import TYPE_CHECKING

from .events import State

if TYPE_CHECKING:
    from .checker import Checker
    from .chooser import Chooser
    from .session import Session


class Watcher:
    __slots__ = ("_checker", "_chooser", "_session")

    def __init__(self, session: Session, checker: Checker, chooser: Chooser) -> None:
        self._session = session
        self._checker = checker
        self._chooser = chooser

    def on_timeout(self, now: float) -> None:
        session = self._session
        session.retire(now)
        if session.selection.pair is not None:
            self._watch_selected(now)
        elif session.selection.state is State.DISCONNECTED and now >= self._checker.recheck_at:
            self._checker.recheck_others(now)
        if session.fail_at is not None and now >= session.fail_at:
            session.fail_at = None  # a restart that came to nothing leaves the old pair in place
            if session.selection.pair is None:
                self._fail()

    def _watch_selected(self, now: float) -> None:
        selection, monitor = self._session.selection, self._session.selection.monitor
        if now >= monitor.consent_ends_at():
            self._on_consent_lost(now)
            return
        if monitor.is_suspect:
            if now >= self._checker.recheck_at:
                self._checker.recheck_others(now)
        elif monitor.should_suspect(now):
            selection.suspect()
            self._checker.recheck_others(now)
        if now >= monitor.disconnected_at():
            selection.enter(State.DISCONNECTED)
        elif selection.path is not None:
            selection.enter(State.CONNECTED)
        if now >= monitor.next_check():
            self._checker.check_selected(now)
        if now >= self._checker.upgrade_at:
            self._checker.retry_better(now)

    def _on_consent_lost(self, now: float) -> None:
        if self._session.selection.generation is self._session.current and self._session.proposed is None:
            self._fail()
        else:  # a restart is under way, and has time of its own
            self._chooser.lose_selected(now)

    def _fail(self) -> None:
        self._session.silence()
        self._session.selection.enter(State.FAILED)

    def on_clock_gap(self, gap_s: float, now: float) -> None:
        """A timer fired much too late: the process, or the whole machine, slept."""
        session = self._session
        if session.fail_at is not None:
            session.fail_at += gap_s
        if session.selection.pair is not None:
            session.selection.on_clock_gap(now, session.config.consent_timeout_s)
            self._checker.recheck_others(now)

    def next_timeout(self) -> float | None:
        session, recheck_at = self._session, self._checker.recheck_at
        selection, monitor = session.selection, session.selection.monitor
        times = [session.fail_at, *(generation.expires_at for generation in session.old)]
        if selection.pair is not None:
            times += (monitor.next_check(), monitor.consent_ends_at())
            times.append(monitor.disconnected_at() if selection.state is State.CONNECTED else None)
            times.append(recheck_at if monitor.is_suspect else self._checker.next_upgrade())
        elif selection.state is State.DISCONNECTED:
            times.append(recheck_at)
        return min((time for time in times if time is not None), default=None)

"""Which pair is checked when (RFC 8445 sections 6.1.4.2 and 7.2), and when TCP is dialled (RFC 6544)."""

from __future__ import annotations

__all__ = ["Checker"]

from typing import TYPE_CHECKING

from .checklist import Pair, PairState
from .events import TcpConnectNeeded
from .transactions import Transactions

if TYPE_CHECKING:
    from .generation import Generation
    from .session import Session

_MAX_TCP_DIALS = 4
_GIVEN_UP = (
    PairState.FAILED,
    PairState.SUCCEEDED,
)  # above the selected pair: never worked, or worked until another one had to take over


class Checker:
    __slots__ = ("_session", "recheck_at", "transactions", "upgrade_at")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.recheck_at = 0.0  # while the selected pair is suspect: when to go through the others again
        self.upgrade_at = 0.0  # while a better pair than the selected one has failed: when to try it again
        self.transactions = Transactions(session.role, session.random_bytes, session.config)

    def trigger(self, generation: Generation, pair: Pair, now: float) -> None:
        """Check a pair back at once. A pair that works is checked as well until it is the one in use: a peer that
        nominates regularly (pion) does so when our check comes in."""
        session = self._session
        if session.selection.pair is pair and not session.selection.monitor.is_suspect:
            return
        if now - pair.triggered_at < session.config.triggered_spacing_s:
            return
        pair.triggered_at = now
        if pair.state is not PairState.SUCCEEDED:
            pair.rewind()
        generation.checklist.trigger(pair)

    def settle(self) -> None:
        """Make the last nomination the peer sees the one we mean: a lite peer goes by that."""
        session = self._session
        chosen = session.selection.pair
        if not session.role.controlling or chosen is None or session.selection.generation is not session.current:
            return
        if self.transactions.last_nominated is not chosen:
            session.current.checklist.trigger(chosen)

    def send_due(self, now: float) -> None:
        """Send what the pace allows: triggered checks, then new ones, then repeats."""
        generation = self._session.current
        if generation.remote is None:
            return
        checklist, pacer = generation.checklist, self.transactions.pacer
        if generation.checking_since is None and len(checklist):
            generation.checking_since = now
        self._dial(now)
        while checklist.triggered and now >= pacer.triggered_at:
            self._check(checklist.triggered.popleft(), now)
        while now >= pacer.ordinary_at:
            pair = self._next_ordinary(now)
            if pair is None:
                return
            self._check(pair, now)

    def _next_ordinary(self, now: float) -> Pair | None:
        session = self._session
        checklist = session.current.checklist
        overdue = checklist.first_overdue(now)
        while overdue is not None and overdue.tries >= session.config.max_tries:
            overdue.state = PairState.FAILED
            overdue = checklist.first_overdue(now)
        return checklist.best_waiting(session.selection.floor(session.current)) or overdue

    def _check(self, pair: Pair, now: float) -> None:
        session = self._session
        selection, config = session.selection, session.config
        floor = selection.floor(session.current)
        improves = pair is selection.pair or pair.priority > floor
        if self.transactions.renominates and pair is not selection.pair and floor >= 0:
            improves = False  # not while another one works: a lite peer would go over to it, works or not
        nominate = session.role.controlling and improves
        data = self.transactions.begin(pair, session.current, now, nominate=nominate)
        if data is None:
            pair.state = PairState.FAILED
            return
        session.outbox.append((pair.path, data))
        if pair is selection.pair:
            selection.monitor.on_sent(now, self._jitter())
        elif pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
            pair.tries += 1
            pair.rto_s = min(2 * pair.rto_s, config.max_rto_s) if pair.rto_s else self._first_rto()
            pair.due_at = now + pair.rto_s

    def _first_rto(self) -> float:
        """Grows with the number of pairs that share the pace (RFC 8445 section 14.3)."""
        config = self._session.config
        return max(config.initial_rto_s, config.check_interval_s * self._session.current.checklist.active_count())

    def _jitter(self) -> float:
        return self._session.random_bytes(1)[0] / 256

    def check_selected(self, now: float) -> None:
        """A consent check: like any other, but outside the pace, and with the credentials of the pair's generation."""
        session = self._session
        pair, generation = session.selection.pair, session.selection.generation
        if pair is None or generation is None:
            return
        data = self.transactions.begin(pair, generation, now, nominate=session.role.controlling)
        session.selection.monitor.on_sent(now, self._jitter())
        if data is not None:
            session.outbox.append((pair.path, data))

    def recheck_others(self, now: float) -> None:
        """The selected pair may be dead: find out which of the others are alive."""
        session = self._session
        self.recheck_at = now + session.config.recheck_interval_s
        self.transactions.renominates = True
        for pair in session.current.checklist:
            if pair is session.selection.pair:
                continue
            if pair.path.protocol == "tcp" and pair.state is PairState.FAILED:
                pair.state, pair.due_at = PairState.DORMANT, now
            elif pair.state in (PairState.FAILED, PairState.SUCCEEDED):
                pair.rewind()

    def retry_better(self, now: float) -> None:
        """What blocked the pairs above the selected one may be gone."""
        self.upgrade_at = now + self._session.config.upgrade_interval_s
        for pair in self._better_given_up():
            pair.rewind()

    def next_upgrade(self) -> float | None:
        """When ``retry_better`` has something to do."""
        return self.upgrade_at if self._better_given_up() else None

    def _better_given_up(self) -> list[Pair]:
        session = self._session
        floor = session.selection.floor(session.current)
        if floor < 0 or not session.role.controlling:
            return []
        return [
            pair
            for pair in session.current.checklist
            if pair.priority > floor and pair.state in _GIVEN_UP and pair.path.protocol == "udp"
        ]

    def _dial(self, now: float) -> None:
        while (due_at := self.next_dial()) is not None and now >= due_at:
            pair = min(self._dormant(), key=lambda pair: pair.due_at)
            pair.state = PairState.CONNECTING
            self._session.selection.events.append(TcpConnectNeeded(pair.path.remote))

    def _dormant(self) -> list[Pair]:
        return [pair for pair in self._session.current.checklist if pair.state is PairState.DORMANT]

    def next_dial(self) -> float | None:
        """When the next TCP connection is wanted: not while a pair works, and not too many at a time."""
        generation = self._session.current
        starts_at = generation.tcp_starts_at()
        if starts_at is None or self._session.selection.floor(generation) >= 0:
            return None
        dialling = sum(pair.state is PairState.CONNECTING for pair in generation.checklist)
        dormant = self._dormant()
        if not dormant or dialling >= _MAX_TCP_DIALS:
            return None
        return max(starts_at, min(pair.due_at for pair in dormant))

    def next_check(self) -> float | None:
        """When ``send_due`` has something to send."""
        generation, pacer = self._session.current, self.transactions.pacer
        if generation.remote is None:
            return None
        if generation.checklist.triggered:
            return pacer.triggered_at
        if generation.checklist.best_waiting(self._session.selection.floor(generation)) is not None:
            return pacer.ordinary_at
        repeat = generation.checklist.next_retransmission()
        return None if repeat is None else max(repeat, pacer.ordinary_at)

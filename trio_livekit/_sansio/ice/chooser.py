"""What an answer to a check means, and which pair is selected because of it (RFC 8445 sections 7.2.5 and 8)."""

from __future__ import annotations

__all__ = ["Chooser"]

from typing import TYPE_CHECKING

from . import stun
from .checklist import Pair, PairState
from .events import State
from .responses import ROLE_CONFLICT

if TYPE_CHECKING:
    from ..types import Address
    from .checker import Checker
    from .events import Path
    from .generation import Generation
    from .session import Session
    from .transactions import Transaction


class Chooser:
    __slots__ = ("_checker", "_session")

    def __init__(self, session: Session, checker: Checker) -> None:
        self._session = session
        self._checker = checker

    def on_answer(self, message: stun.StunMessage, path: Path, now: float) -> None:
        counters = self._session.counters
        transaction = self._checker.transactions.match(message, path)
        if transaction is None:
            counters.unmatched += 1
            return
        counters.answers_received += 1
        if transaction.generation.checklist.get(path) is not transaction.pair:
            return  # taken away meanwhile
        if message.message_class == stun.ERROR:
            self._on_error(transaction, message.error()[0])
            return
        mapped = message.address(stun.XOR_MAPPED_ADDRESS)
        if mapped is not None:
            self._on_success(transaction, mapped, now)

    def _on_error(self, transaction: Transaction, code: int) -> None:
        session, pair = self._session, transaction.pair
        if code == ROLE_CONFLICT[0]:
            if transaction.was_controlling == session.role.controlling:
                session.role.yield_to_peer()
                self._on_role_switched()
            if transaction.generation is session.current:
                session.current.checklist.trigger(pair)
        elif pair is not session.selection.pair:
            pair.state = PairState.FAILED

    def _on_success(self, transaction: Transaction, mapped: Address, now: float) -> None:
        session, pair, generation = self._session, transaction.pair, transaction.generation
        is_selected = pair is session.selection.pair
        if not is_selected and generation is not session.current:
            return
        pair.rtt_s = now - transaction.sent_at
        pair.state = PairState.SUCCEEDED
        generation.budget.on_heard(pair.path.remote)
        session.authenticated.add(pair.path)
        if is_selected:
            session.selection.on_answer(now, pair.rtt_s)
            self._follow_mapping(pair, mapped, now)
            self._checker.settle()
            return
        pair.mapped = mapped
        self._rank_as_seen(pair, mapped)
        self.consider(pair, now)

    def _follow_mapping(self, pair: Pair, mapped: Address, now: float) -> None:
        """A NAT gave us another address: nominate the pair again, numbered, as to the peer it is a new one."""
        session = self._session
        before, pair.mapped = pair.mapped, mapped
        if not session.role.controlling or session.selection.generation is not session.current:
            return
        if before not in (None, mapped) and now - pair.triggered_at >= session.config.triggered_spacing_s:
            pair.triggered_at = now
            self._checker.transactions.renominates = True
            self._insist(pair)
        self._nominate_again(pair)

    def _insist(self, pair: Pair) -> None:
        """Have the peer go over to a pair, though one of higher priority worked before.

        A full pion takes a numbered nomination for that, and only once its own check of the pair was answered; else it
        goes on sending where nothing arrives. Hence two more: the second comes after that.
        """
        pair.renominations = 2

    def _nominate_again(self, pair: Pair) -> None:
        if pair.renominations:
            pair.renominations -= 1
            self._session.current.checklist.trigger(pair)

    def _rank_as_seen(self, pair: Pair, mapped: Address) -> None:
        """The peer ranks the pair by the address it sees us at; do the same (RFC 8445 section 7.2.5.3.2)."""
        seen_as = self._session.locals.at(mapped, pair.path.protocol)
        pair.local_priority = pair.local.reflexive_priority() if seen_as is None else seen_as.priority
        pair.rank(controlling=self._session.role.controlling)

    def on_nominated(self, generation: Generation, pair: Pair, value: int | None, now: float) -> None:
        """The peer, which controls, wants this pair; with a ``value`` above all before, whatever its priority."""
        if value is not None and value < generation.nomination:
            return  # overtaken by a later one
        pair.is_nominated = True
        if value is not None and value > generation.nomination:
            generation.nomination = value
            for other in generation.checklist:
                other.is_nominated = other is pair
        if pair.state is PairState.SUCCEEDED and generation is self._session.current:
            self.consider(pair, now)

    def consider(self, pair: Pair, now: float) -> None:
        """Select a valid pair if it is better than the one in use."""
        session = self._session
        if not session.selection.prefers(pair, session.current, controlling=session.role.controlling):
            return
        session.selection.choose(pair, session.current, now)
        if session.role.controlling and self._checker.transactions.renominates:
            self._insist(pair)
            self._nominate_again(pair)
        self._checker.upgrade_at = now + session.config.upgrade_interval_s
        session.fail_at = None
        for generation in session.old:
            if generation.expires_at is None:
                generation.expires_at = now + session.config.retire_after_s
        for other in session.current.checklist:
            if other.state is PairState.IN_PROGRESS and other.priority < pair.priority:
                other.state = PairState.WAITING  # kept for the day the selected pair fails
        self._checker.settle()

    def lose(self, pair: Pair, now: float) -> None:
        """A pair cannot be used any more; if it was the selected one, all others are tried at once."""
        self._session.authenticated.discard(pair.path)
        if self._session.selection.pair is pair:
            self.lose_selected(now)

    def lose_selected(self, now: float) -> None:
        session = self._session
        session.selection.drop()
        session.selection.enter(State.DISCONNECTED)
        if session.fail_at is None:
            session.fail_at = now + session.config.failed_after_s
        self._checker.recheck_others(now)

    def switch_role(self) -> None:
        self._session.role.switch()
        self._on_role_switched()

    def _on_role_switched(self) -> None:
        self._session.current.checklist.rank(controlling=self._session.role.controlling)
        self._checker.settle()

"""The server side of connectivity checks (RFC 8445 section 7.3).

Only authentic requests are answered, errors included, so that nobody can make us send to an address of his choice
without knowing a password of ours.
"""

from __future__ import annotations

__all__ = ["Responder"]

from typing import TYPE_CHECKING

from . import stun
from .responses import ROLE_CONFLICT, UNKNOWN_ATTRIBUTE, error_response, success_response
from .role import Verdict

if TYPE_CHECKING:
    from .candidate import Candidate
    from .checker import Checker
    from .chooser import Chooser
    from .events import Path
    from .generation import Generation
    from .session import Session


class Responder:
    __slots__ = ("_checker", "_chooser", "_session")

    def __init__(self, session: Session, checker: Checker, chooser: Chooser) -> None:
        self._session = session
        self._checker = checker
        self._chooser = chooser

    def on_request(self, message: stun.StunMessage, path: Path, now: float) -> None:
        session = self._session
        ours, _, theirs = (message.text(stun.USERNAME) or "").partition(":")
        generation = self._addressee(message, ours, theirs)
        local = session.base_of(path)
        if generation is None or local is None:
            session.counters.unauthentic += 1
            return
        session.counters.requests_answered += 1
        answer = self._refusal(message, generation.local_key)
        if answer is not None:
            session.outbox.append((path, answer))
            return
        session.outbox.append((path, success_response(message, path.remote, generation.local_key)))
        if path == session.selection.path:
            session.selection.monitor.heard_at = now
        if generation is session.current or generation is session.proposed:
            self._on_check(generation, message, path, local, theirs, now)

    def _addressee(self, message: stun.StunMessage, ours: str, theirs: str) -> Generation | None:
        """The generation whose user fragment and password the request was made with."""
        for generation in self._session.generations():
            if generation.local.ufrag == ours and message.is_authentic(generation.local_key):
                remote = generation.remote
                if remote is None or remote.ufrag == theirs:
                    return generation
        return None

    def _refusal(self, message: stun.StunMessage, key: bytes) -> bytes | None:
        """The error an authentic request gets, if any; our role may change instead."""
        if message.unknown_required:
            return error_response(message, UNKNOWN_ATTRIBUTE, key)
        verdict = self._session.role.judge(message)
        if verdict is Verdict.REFUSE:
            return error_response(message, ROLE_CONFLICT, key)
        if verdict is Verdict.SWITCH:
            self._chooser.switch_role()
        return None

    def _on_check(
        self,
        generation: Generation,
        message: stun.StunMessage,
        path: Path,
        local: Candidate,
        theirs: str,
        now: float,
    ) -> None:
        """A check of a generation in use was answered; now do our part (RFC 8445 sections 7.3.1.3 to 7.3.1.5)."""
        session = self._session
        controlling = session.role.controlling
        pair = generation.checklist.get(path)
        if pair is None:
            priority = message.number(stun.PRIORITY) or local.reflexive_priority()
            pair = generation.learn(path, local, priority, controlling=controlling)
            if pair is None:
                return
        session.authenticated.add(path)
        if generation.remote is None:
            pair.claimed_ufrag = theirs
        if message.has(stun.USE_CANDIDATE) and not controlling:
            self._chooser.on_nominated(generation, pair, message.number(stun.NOMINATION), now)
        self._checker.trigger(generation, pair, now)

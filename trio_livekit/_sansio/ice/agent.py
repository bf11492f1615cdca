"""The ICE agent (RFC 8445, trickle as in RFC 8838, consent as in RFC 7675, TCP as in RFC 6544): bytes in, bytes out.

It is a full agent in either role, for a peer that is full or lite. When controlling it nominates as Chromium does,
with USE-CANDIDATE on every check that could improve matters, and keeps to the valid pair of highest priority; data
may start after one round trip. When controlled it sends on the best valid pair until the peer nominates one.

The work is done by four parts over one ``Session``: the ``Responder`` answers checks, the ``Checker`` sends ours, the
``Chooser`` selects a pair by what is answered, and the ``Watcher`` sees to it that it stays alive.
"""

from __future__ import annotations

__all__ = ["Agent"]

from typing import TYPE_CHECKING

from ...errors import DecodeError
from . import stun
from .checker import Checker
from .checklist import PairState
from .chooser import Chooser
from .config import Config
from .counters import Statistics
from .events import Event, Path, State
from .generation import Credentials, new_credentials
from .responder import Responder
from .session import Session
from .watcher import Watcher

if TYPE_CHECKING:
    from ..types import Address, RandomBytes
    from .candidate import Candidate

_REDIAL_AFTER_S = 1.0
_ENDED = (State.FAILED, State.CLOSED)


class Agent:
    """One ICE session with one component. ``now`` is seconds on any steady clock, the same for every call."""

    __slots__ = ("_checker", "_chooser", "_deadline", "_is_stale", "_responder", "_watcher", "session")

    def __init__(self, *, controlling: bool, random_bytes: RandomBytes, config: Config | None = None) -> None:
        self.session = Session(controlling=controlling, random_bytes=random_bytes, config=config or Config())
        """What the parts share. Whoever asks after every datagram whether there is something to do looks here."""
        self._checker = Checker(self.session)
        self._chooser = Chooser(self.session, self._checker)
        self._responder = Responder(self.session, self._checker, self._chooser)
        self._watcher = Watcher(self.session, self._checker, self._chooser)
        self._deadline: float | None = None
        self._is_stale = False  # whether _deadline must be computed anew

    # Facts

    @property
    def ufrag(self) -> str:
        return self._local.ufrag

    @property
    def password(self) -> str:
        return self._local.password

    @property
    def _local(self) -> Credentials:
        return (self.session.proposed or self.session.current).local

    @property
    def is_restarting(self) -> bool:
        """Whether a restart was begun, and no pair of it carries data yet."""
        session = self.session
        chosen = session.selection.generation
        return session.proposed is not None or (chosen is not None and chosen is not session.current)

    @property
    def controlling(self) -> bool:
        return self.session.role.controlling

    @property
    def state(self) -> State:
        return self.session.selection.state

    @property
    def selected_path(self) -> Path | None:
        return self.session.selection.path

    @property
    def is_suspect(self) -> bool:
        """Whether it is doubtful that anything we send arrives."""
        return self.state is not State.CONNECTED or self.session.selection.monitor.is_suspect

    def is_authenticated(self, path: Path) -> bool:
        """Whether the far end of ``path`` proved that it knows our password, or answered to its own."""
        return path in self.session.authenticated

    def statistics(self) -> Statistics:
        current, selection, counters = self.session.current, self.session.selection, self.session.counters
        named, learned = current.candidate_counts()
        return Statistics(
            state=self.state,
            controlling=self.controlling,
            selected_path=self.selected_path,
            rtt_s=None if selection.pair is None else selection.monitor.rtt_s,
            pairs=len(current.checklist),
            remote_candidates=named,
            peer_reflexive=learned,
            checks_sent=self._checker.transactions.sent,
            requests_answered=counters.requests_answered,
            answers_received=counters.answers_received,
            malformed=counters.malformed,
            unauthentic=counters.unauthentic,
            unmatched=counters.unmatched,
            local_kind="" if selection.pair is None else selection.pair.local.type,
            remote_kind="" if selection.pair is None else selection.pair.remote.type,
        )

    # What signalling and gathering tell us

    def set_remote_parameters(self, ufrag: str, password: str, *, lite: bool = False, now: float) -> None:
        """Learn the peer's credentials. After ``restart`` this is what starts the new checks.

        The same credentials again change nothing. Others, without a restart of ours, mean that the peer started over
        (another peer answered, say): then so do we, with our own credentials kept.
        """
        if self.state is State.CLOSED:
            return
        session, remote = self.session, Credentials(ufrag, password)
        if session.proposed is None and session.current.remote == remote:
            return
        if session.current.remote is not None:
            session.succeed(session.current.local)
        if lite and not session.role.controlling:
            self._chooser.switch_role()  # a lite agent never controls a full one (RFC 8445 section 6.1.1)
        for path in session.current.paths_claimed_by_others(ufrag):
            session.authenticated.discard(path)
        early = session.current.set_remote(remote)
        session.fail_at = now + session.config.connect_timeout_s
        if session.selection.pair is None:
            session.selection.enter(State.CHECKING)
        for candidate in early:
            self.add_remote_candidate(candidate, now)
        self._send_due(now)

    def add_local_candidate(self, candidate: Candidate, now: float) -> None:
        """Offer a candidate of ours for pairing. Reflexive ones only help to recognise our own mapped addresses."""
        session = self.session
        if session.locals.add(candidate) and candidate.type in ("host", "relay"):
            session.current.pair_with_local(candidate, controlling=session.role.controlling)
            self._send_due(now)

    def remove_local_candidate(self, address: Address, now: float) -> None:
        """A UDP base went away, with every pair that used it."""
        self.session.locals.remove(address)
        for generation in self.session.generations():
            for pair in [p for p in generation.checklist if p.path.local == address and p.path.protocol == "udp"]:
                generation.checklist.remove(pair)
                self._chooser.lose(pair, now)
        self._send_due(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take a candidate that the peer named; what is useless, stale or too much is ignored."""
        session, current = self.session, self.session.current
        if current.admit(candidate):
            current.pair_with_remote(candidate, session.locals, controlling=session.role.controlling)
        current.checklist.rank(controlling=session.role.controlling)  # a reflexive one may have got its real priority
        self._send_due(now)

    def end_of_candidates(self, now: float) -> None:
        """The peer will name no more candidates."""
        self.session.current.end_of_candidates()
        self._send_due(now)

    def restart(self, now: float) -> tuple[str, str]:
        """Begin an ICE restart: new credentials, which are returned. The selected path carries data meanwhile.

        Signal them, then call ``set_remote_parameters`` with the peer's. Until then everything goes on as it was, other
        pairs taking over included, and checks with the new credentials are answered. Also the way out of FAILED.
        """
        session = self.session
        if self.state is not State.CLOSED:
            session.propose(new_credentials(session.random_bytes))
            if self.state is State.FAILED or session.current.remote is None:
                session.succeed(self._local)
            if self.state is State.FAILED:
                session.selection.enter(State.NEW)
            self._send_due(now)
        return self.ufrag, self.password

    def close(self) -> None:
        """Stop for good, and say nothing more."""
        self.session.silence()
        self.session.selection.enter(State.CLOSED)
        self._is_stale = True

    # TCP (RFC 6544)

    def tcp_connected(self, path: Path, now: float) -> bool:
        """The connection that ``TcpConnectNeeded`` asked for is up. False if nobody wants it: close it."""
        checklist = self.session.current.checklist
        for pair in checklist:
            if pair.state is PairState.CONNECTING and pair.path.remote == path.remote:
                checklist.rekey(pair, path)
                pair.rewind()
                checklist.trigger(pair)
                self._send_due(now)
                return True
        return False

    def tcp_failed(self, remote: Address, now: float) -> None:
        """The connection could not be made."""
        for pair in self.session.current.checklist:
            if pair.state is PairState.CONNECTING and pair.path.remote == remote:
                pair.state = PairState.FAILED
        self._send_due(now)

    def path_lost(self, path: Path, now: float) -> None:
        """A TCP connection ended. If data went there, every other pair is tried at once."""
        for generation in self.session.generations():
            pair = generation.checklist.get(path)
            if pair is not None:
                worked = pair.state is PairState.SUCCEEDED
                pair.state = PairState.DORMANT if worked else PairState.FAILED
                pair.due_at = now + _REDIAL_AFTER_S
                generation.checklist.forget_trigger(pair)
                self._chooser.lose(pair, now)
        self._send_due(now)

    # Datagrams

    def receive_datagram(self, data: bytes, path: Path, now: float) -> None:
        """Feed STUN that arrived on ``path``. Anything may be in it; what is not for us changes nothing."""
        if self.session.selection.state in _ENDED:
            return
        try:
            message = stun.decode(data)
        except DecodeError:
            self.session.counters.malformed += 1
            return
        if message.method != stun.BINDING:
            self.session.counters.malformed += 1
        elif message.message_class == stun.REQUEST:
            self._responder.on_request(message, path, now)
        elif message.message_class != stun.INDICATION:
            self._chooser.on_answer(message, path, now)
        self._send_due(now)

    def datagrams_to_send(self, now: float) -> list[tuple[Path, bytes]]:
        """Drain what is to leave now. Call after every other call."""
        outbox = self.session.outbox
        if outbox:
            self.session.outbox = []
            return outbox
        return []

    def poll_events(self) -> list[Event]:
        events = self.session.selection.events
        if events:
            self.session.selection.events = []
            return events
        return []

    def note_activity(self, now: float) -> None:
        """Something authentic, such as a DTLS record, arrived on the selected path."""
        self.session.selection.monitor.heard_at = now

    # Time

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` has something to do."""
        if self._is_stale:
            self._is_stale = False
            self._deadline = None
            if self.state not in _ENDED:
                times = (self._watcher.next_timeout(), self._checker.next_check(), self._checker.next_dial())
                self._deadline = min((time for time in times if time is not None), default=None)
        return self._deadline

    def handle_timeout(self, now: float) -> None:
        deadline = self.next_timeout()
        if deadline is None or now < deadline:
            return
        if now - deadline >= self.session.config.clock_gap_s:
            self._watcher.on_clock_gap(now - deadline, now)
        self._watcher.on_timeout(now)
        self._send_due(now)

    def _send_due(self, now: float) -> None:
        """Every input may allow checks, and moves the deadline."""
        self._is_stale = True
        if self.state not in _ENDED:
            self._checker.send_due(now)

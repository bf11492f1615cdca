"""The ICE agent (RFC 8445, trickle as in RFC 8838, consent as in RFC 7675, TCP as in RFC 6544): bytes in, bytes out.

It is a full agent in either role, for a peer that is full or lite. When controlling it nominates as Chromium does,
with USE-CANDIDATE on every check that could improve matters, and keeps to the valid pair of highest priority; data
may start after one round trip. When controlled it sends on the best valid pair until the peer nominates one.
"""

from __future__ import annotations

__all__ = ["Agent"]

from typing import TYPE_CHECKING

from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.checklist import Pair, PairState
from trio_livekit._sansio.ice.checks import CheckSender, Transaction
from trio_livekit._sansio.ice.config import Config
from trio_livekit._sansio.ice.counters import Counters, Statistics
from trio_livekit._sansio.ice.events import Event, Path, State, TcpConnectNeeded
from trio_livekit._sansio.ice.generation import Credentials, Generation, LocalCandidates, new_credentials
from trio_livekit._sansio.ice.responses import ROLE_CONFLICT, UNKNOWN_ATTRIBUTE, error_response, success_response
from trio_livekit._sansio.ice.role import Role, Verdict
from trio_livekit._sansio.ice.selection import Selection
from trio_livekit.errors import DecodeError

if TYPE_CHECKING:
    from trio_livekit._sansio.ice.candidate import Candidate
    from trio_livekit._sansio.types import Address, RandomBytes

_MAX_OLD_GENERATIONS = 3
_MAX_TCP_DIALS = 4
_REDIAL_AFTER_S = 1.0
_ENDED = (State.FAILED, State.CLOSED)


class Agent:
    """One ICE session with one component. ``now`` is seconds on any steady clock, the same for every call.

    Attributes:
        selected_path: where data goes now, or None. Look again before every burst, or follow ``PathSelected``.
    """

    __slots__ = (
        "_authenticated",
        "_config",
        "_counters",
        "_current",
        "_deadline",
        "_fail_at",
        "_is_stale",
        "_locals",
        "_nomination",
        "_old",
        "_outbox",
        "_random_bytes",
        "_recheck_at",
        "_role",
        "_selection",
        "_sender",
    )

    def __init__(self, *, controlling: bool, random_bytes: RandomBytes, config: Config | None = None) -> None:
        self._config = config = config or Config()
        self._random_bytes = random_bytes
        self._role = Role(random_bytes, controlling=controlling)
        self._sender = CheckSender(self._role, random_bytes, config)
        self._selection = Selection(config)
        self._locals = LocalCandidates()
        self._current = Generation(new_credentials(random_bytes), config)
        self._old: list[Generation] = []
        self._authenticated: set[Path] = set()
        self._outbox: list[tuple[Path, bytes]] = []
        self._counters = Counters()
        self._nomination = -1  # highest renomination value the peer sent
        self._fail_at: float | None = None  # without a valid pair of the current generation by then: failed
        self._recheck_at = 0.0  # while the selected pair is suspect: when to go through the others again
        self._deadline: float | None = None
        self._is_stale = False  # whether _deadline must be computed anew

    # Facts

    @property
    def ufrag(self) -> str:
        return self._current.local.ufrag

    @property
    def password(self) -> str:
        return self._current.local.password

    @property
    def controlling(self) -> bool:
        return self._role.controlling

    @property
    def state(self) -> State:
        return self._selection.state

    @property
    def selected_path(self) -> Path | None:
        return self._selection.path

    def is_authenticated(self, path: Path) -> bool:
        """Whether the far end of ``path`` proved that it knows our password, or answered to its own."""
        return path in self._authenticated

    def statistics(self) -> Statistics:
        named, learned = self._current.candidate_counts()
        counters = self._counters
        return Statistics(
            state=self.state,
            controlling=self.controlling,
            selected_path=self.selected_path,
            rtt_s=self._selection.monitor.rtt_s if self._selection.pair is not None else None,
            pairs=len(self._current.checklist),
            remote_candidates=named,
            peer_reflexive=learned,
            checks_sent=self._sender.sent,
            requests_answered=counters.requests_answered,
            answers_received=counters.answers_received,
            malformed=counters.malformed,
            unauthentic=counters.unauthentic,
            unmatched=counters.unmatched,
        )

    # What signalling and gathering tell us

    def set_remote_parameters(self, ufrag: str, password: str, *, lite: bool = False, now: float) -> None:
        """Learn the peer's credentials. After ``restart`` this is what starts the new checks.

        The same credentials again change nothing. Others, without a restart of ours, mean that the peer started over
        (another peer answered, say): then so do we, with our own credentials kept.
        """
        if self.state is State.CLOSED:
            return
        remote = Credentials(ufrag, password)
        if self._current.remote == remote:
            return
        if self._current.remote is not None:
            self._succeed(self._current.local)
        if lite and not self._role.controlling:
            self._switch_role()  # a lite agent never controls a full one (RFC 8445 section 6.1.1)
        for path in self._current.paths_claimed_by_others(ufrag):
            self._authenticated.discard(path)
        early = self._current.set_remote(remote, lite=lite)
        self._fail_at = now + self._config.connect_timeout_s
        if self._selection.pair is None:
            self._selection.enter(State.CHECKING)
        for candidate in early:
            self.add_remote_candidate(candidate, now)
        self._send_checks(now)

    def add_local_candidate(self, candidate: Candidate, now: float) -> None:
        """Offer a candidate of ours for pairing. Reflexive ones only help to recognise our own mapped addresses."""
        if self._locals.add(candidate) and candidate.type in ("host", "relay"):
            self._current.pair_with_local(candidate, controlling=self._role.controlling)
            self._send_checks(now)

    def remove_local_candidate(self, address: Address, now: float) -> None:
        """A UDP base went away, with every pair that used it."""
        self._locals.remove(address)
        for generation in (self._current, *self._old):
            for pair in [p for p in generation.checklist if p.path.local == address and p.path.protocol == "udp"]:
                generation.checklist.remove(pair)
                self._on_pair_lost(pair, now)
        self._send_checks(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take a candidate that the peer named; what is useless, stale or too much is ignored."""
        if self._current.admit(candidate):
            self._current.pair_with_remote(candidate, self._locals, controlling=self._role.controlling)
        self._current.checklist.rank(controlling=self._role.controlling)
        self._send_checks(now)

    def end_of_candidates(self, now: float) -> None:
        """The peer will name no more candidates."""
        self._current.end_of_candidates()
        self._send_checks(now)

    def restart(self, now: float) -> tuple[str, str]:
        """Begin an ICE restart: new credentials, which are returned. The selected path carries data meanwhile.

        Signal them, then call ``set_remote_parameters`` with the peer's. Also the way out of FAILED.
        """
        if self.state is not State.CLOSED:
            self._succeed(new_credentials(self._random_bytes))
            if self.state is State.FAILED:
                self._selection.enter(State.NEW)
            self._send_checks(now)
        return self.ufrag, self.password

    def _succeed(self, local: Credentials) -> None:
        """Begin a new generation; the older ones still answer checks."""
        older = self._current
        self._current = Generation(local, self._config)
        self._current.inherit(older)
        self._old = [older, *self._old[: _MAX_OLD_GENERATIONS - 1]]
        self._fail_at = None
        self._nomination = -1

    def close(self) -> None:
        """Stop for good, and say nothing more."""
        self._silence()
        self._selection.enter(State.CLOSED)

    # TCP (RFC 6544)

    def tcp_connected(self, path: Path, now: float) -> bool:
        """The connection that ``TcpConnectNeeded`` asked for is up. False if nobody wants it: close it."""
        for pair in self._current.checklist:
            if pair.state is PairState.CONNECTING and pair.path.remote == path.remote:
                self._current.checklist.rekey(pair, path)
                pair.rewind()
                self._current.checklist.trigger(pair)
                self._send_checks(now)
                return True
        return False

    def tcp_failed(self, remote: Address, now: float) -> None:
        """The connection could not be made."""
        for pair in self._current.checklist:
            if pair.state is PairState.CONNECTING and pair.path.remote == remote:
                pair.state = PairState.FAILED
        self._send_checks(now)

    def path_lost(self, path: Path, now: float) -> None:
        """A TCP connection ended. If data went there, every other pair is tried at once."""
        for generation in (self._current, *self._old):
            pair = generation.checklist.get(path)
            if pair is not None:
                worked = pair.state is PairState.SUCCEEDED
                pair.state = PairState.DORMANT if worked else PairState.FAILED
                pair.due_at = now + _REDIAL_AFTER_S
                generation.checklist.forget_trigger(pair)
                self._on_pair_lost(pair, now)
        self._send_checks(now)

    def _on_pair_lost(self, pair: Pair, now: float) -> None:
        self._authenticated.discard(pair.path)
        if self._selection.pair is pair:
            self._lose_selected(now)

    # Datagrams

    def receive_datagram(self, data: bytes, path: Path, now: float) -> None:
        """Feed STUN that arrived on ``path``. Anything may be in it; what is not for us changes nothing."""
        if self._selection.state in _ENDED:
            return
        try:
            message = stun.decode(data)
        except DecodeError:
            self._counters.malformed += 1
            return
        if message.method != stun.BINDING:
            self._counters.malformed += 1
        elif message.message_class == stun.REQUEST:
            self._on_request(message, path, now)
        elif message.message_class != stun.INDICATION:
            self._on_answer(message, path, now)
        self._send_checks(now)

    def datagrams_to_send(self, now: float) -> list[tuple[Path, bytes]]:
        """Drain what is to leave now. Call after every other call."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def poll_events(self) -> list[Event]:
        events, self._selection.events = self._selection.events, []
        return events

    def note_activity(self, now: float) -> None:
        """Something authentic, such as a DTLS record, arrived on the selected path."""
        self._selection.monitor.heard_at = now

    # The server side of checks

    def _on_request(self, message: stun.StunMessage, path: Path, now: float) -> None:
        generation = self._addressee(message)
        local = self._base_of(path)
        if generation is None or local is None:
            self._counters.unauthentic += 1
            return
        self._counters.requests_answered += 1
        key = generation.local_key
        if message.unknown_required:
            self._outbox.append((path, error_response(message, UNKNOWN_ATTRIBUTE, key)))
            return
        verdict = self._role.judge(message)
        if verdict is Verdict.REFUSE:
            self._outbox.append((path, error_response(message, ROLE_CONFLICT, key)))
            return
        if verdict is Verdict.SWITCH:
            self._switch_role()
        self._outbox.append((path, success_response(message, path.remote, key)))
        if path == self._selection.path:
            self._selection.monitor.heard_at = now
        if generation is self._current:
            self._on_check(message, path, local, now)

    def _addressee(self, message: stun.StunMessage) -> Generation | None:
        """The generation whose user fragment and password the request was made with."""
        ours, _, theirs = (message.text(stun.USERNAME) or "").partition(":")
        for generation in (self._current, *self._old):
            if generation.local.ufrag == ours and message.is_authentic(generation.local_key):
                remote = generation.remote
                if remote is None or remote.ufrag == theirs:
                    return generation
        return None

    def _base_of(self, path: Path) -> Candidate | None:
        if path.protocol == "udp":
            return self._locals.base(path.local)
        for generation in (self._current, *self._old):
            pair = generation.checklist.get(path)
            if pair is not None:
                return pair.local
        return None

    def _on_check(self, message: stun.StunMessage, path: Path, local: Candidate, now: float) -> None:
        """A check of the current generation was answered; now do our part (RFC 8445 sections 7.3.1.3 to 7.3.1.5)."""
        generation = self._current
        pair = generation.checklist.get(path)
        if pair is None:
            priority = message.number(stun.PRIORITY) or local.reflexive_priority()
            pair = generation.learn(path, local, priority, controlling=self._role.controlling)
            if pair is None:
                return
        self._authenticated.add(path)
        if generation.remote is None:
            pair.claimed_ufrag = (message.text(stun.USERNAME) or "").partition(":")[2]
        if message.has(stun.USE_CANDIDATE) and not self._role.controlling:
            self._on_nominated(pair, message.number(stun.NOMINATION), now)
        self._trigger(pair, now)

    def _on_nominated(self, pair: Pair, value: int | None, now: float) -> None:
        pair.is_nominated = True
        if value is not None and value > self._nomination:
            self._nomination = value
            for other in self._current.checklist:
                other.is_nominated = other is pair
        if pair.state is PairState.SUCCEEDED:
            self._consider(pair, now)

    def _trigger(self, pair: Pair, now: float) -> None:
        """Check a pair back at once. A pair that works is checked as well until it is the one in use: a peer that
        nominates regularly does so when our check comes in."""
        if self._selection.pair is pair and not self._selection.monitor.is_suspect:
            return
        if now - pair.triggered_at < self._config.triggered_spacing_s:
            return
        pair.triggered_at = now
        if pair.state is not PairState.SUCCEEDED:
            pair.rewind()
        self._current.checklist.trigger(pair)

    # The client side of checks

    def _on_answer(self, message: stun.StunMessage, path: Path, now: float) -> None:
        transaction = self._sender.match(message, path)
        if transaction is None:
            self._counters.unmatched += 1
            return
        self._counters.answers_received += 1
        if message.message_class == stun.ERROR:
            self._on_error(transaction, message.error()[0])
            return
        mapped = message.address(stun.XOR_MAPPED_ADDRESS)
        if mapped is not None:
            self._on_success(transaction, mapped, now)

    def _on_error(self, transaction: Transaction, code: int) -> None:
        pair = transaction.pair
        if code == ROLE_CONFLICT[0]:
            if transaction.was_controlling == self._role.controlling:
                self._role.yield_to_peer()
                self._on_role_switched()
            if transaction.generation is self._current:
                self._current.checklist.trigger(pair)
        elif pair is not self._selection.pair:
            pair.state = PairState.FAILED

    def _on_success(self, transaction: Transaction, mapped: Address, now: float) -> None:
        pair, generation = transaction.pair, transaction.generation
        pair.rtt_s = now - transaction.sent_at
        if generation.checklist.get(transaction.path) is not pair:
            return  # taken away meanwhile
        if pair is not self._selection.pair and generation is not self._current:
            return
        generation.budget.on_heard(pair.path.remote)
        self._authenticated.add(pair.path)
        pair.state = PairState.SUCCEEDED
        if pair is self._selection.pair:
            self._selection.on_answer(now, pair.rtt_s)
            self._settle()
            return
        seen_as = self._locals.at(mapped, pair.path.protocol)
        pair.local_priority = pair.local.reflexive_priority() if seen_as is None else seen_as.priority
        pair.rank(controlling=self._role.controlling)
        self._consider(pair, now)

    def _check(self, pair: Pair, now: float) -> None:
        selection = self._selection
        nominate = self._role.controlling and (pair is selection.pair or pair.priority > selection.floor(self._current))
        data = self._sender.send(pair, self._current, now, nominate=nominate)
        if data is None:
            pair.state = PairState.FAILED
            return
        self._outbox.append((pair.path, data))
        if pair is selection.pair:
            selection.monitor.on_sent(now, self._jitter())
        elif pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
            pair.tries += 1
            pair.rto_s = min(2 * pair.rto_s, self._config.max_rto_s) if pair.rto_s else self._first_rto()
            pair.due_at = now + pair.rto_s

    def _first_rto(self) -> float:
        """Grows with the number of pairs that share the pace (RFC 8445 section 14.3)."""
        config = self._config
        return max(config.initial_rto_s, config.check_interval_s * self._current.checklist.active_count())

    def _jitter(self) -> float:
        return self._random_bytes(1)[0] / 256

    def _send_checks(self, now: float) -> None:
        """Send what the pace allows: triggered checks, then new ones, then repeats."""
        self._is_stale = True
        generation = self._current
        if generation.remote is None or self._selection.state in _ENDED:
            return
        checklist, pacer = generation.checklist, self._sender.pacer
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
        checklist = self._current.checklist
        overdue = checklist.first_overdue(now)
        while overdue is not None and overdue.tries >= self._config.max_tries:
            overdue.state = PairState.FAILED
            overdue = checklist.first_overdue(now)
        return checklist.best_waiting(self._selection.floor(self._current)) or overdue

    def _dial(self, now: float) -> None:
        while (due_at := self._next_dial()) is not None and now >= due_at:
            pair = min(self._dormant(), key=lambda pair: pair.due_at)
            pair.state = PairState.CONNECTING
            self._selection.events.append(TcpConnectNeeded(pair.path.remote))

    def _dormant(self) -> list[Pair]:
        return [pair for pair in self._current.checklist if pair.state is PairState.DORMANT]

    def _next_dial(self) -> float | None:
        """When the next TCP connection is wanted: not while a pair works, and not too many at a time."""
        starts_at = self._current.tcp_starts_at()
        if starts_at is None or self._selection.floor(self._current) >= 0:
            return None
        dialling = sum(pair.state is PairState.CONNECTING for pair in self._current.checklist)
        dormant = self._dormant()
        if not dormant or dialling >= _MAX_TCP_DIALS:
            return None
        return max(starts_at, min(pair.due_at for pair in dormant))

    # Choosing

    def _consider(self, pair: Pair, now: float) -> None:
        if self._selection.prefers(pair, self._current, controlling=self._role.controlling):
            self._select(pair, now)

    def _select(self, pair: Pair, now: float) -> None:
        self._selection.choose(pair, self._current, now)
        self._fail_at = None
        for generation in self._old:
            if generation.expires_at is None:
                generation.expires_at = now + self._config.retire_after_s
        for other in self._current.checklist:
            if other.state is PairState.IN_PROGRESS and other.priority < pair.priority:
                other.state = PairState.WAITING  # kept for the day the selected pair fails
        self._settle()

    def _settle(self) -> None:
        """Make the last nomination the peer sees the one we mean: a lite peer goes by that."""
        chosen = self._selection.pair
        if not self._role.controlling or chosen is None or self._selection.generation is not self._current:
            return
        if self._sender.last_nominated is not chosen:
            self._current.checklist.trigger(chosen)

    def _switch_role(self) -> None:
        self._role.switch()
        self._on_role_switched()

    def _on_role_switched(self) -> None:
        self._current.checklist.rank(controlling=self._role.controlling)
        self._settle()

    # Time

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` has something to do."""
        if self._is_stale:
            self._deadline = self._next_deadline()
            self._is_stale = False
        return self._deadline

    def _next_deadline(self) -> float | None:
        if self._selection.state in _ENDED:
            return None
        times = [self._fail_at, self._next_check_at(), self._next_dial(), *(g.expires_at for g in self._old)]
        if self._selection.pair is not None:
            times.append(self._next_watch())
        return min((time for time in times if time is not None), default=None)

    def _next_check_at(self) -> float | None:
        generation, pacer = self._current, self._sender.pacer
        if generation.remote is None:
            return None
        if generation.checklist.triggered:
            return pacer.triggered_at
        if generation.checklist.best_waiting(self._selection.floor(generation)) is not None:
            return pacer.ordinary_at
        repeat = generation.checklist.next_retransmission()
        return None if repeat is None else max(repeat, pacer.ordinary_at)

    def _next_watch(self) -> float:
        monitor = self._selection.monitor
        times = [monitor.next_check(), monitor.consent_ends_at()]
        if self.state is State.CONNECTED:
            times.append(monitor.disconnected_at())
        if monitor.is_suspect:
            times.append(self._recheck_at)
        return min(times)

    def handle_timeout(self, now: float) -> None:
        deadline = self.next_timeout()
        if deadline is None or now < deadline:
            return
        if now - deadline >= self._config.clock_gap_s:
            self._on_clock_gap(now - deadline, now)
        if any(g.expires_at is not None and now >= g.expires_at for g in self._old):
            self._retire(now)
        if self._selection.pair is not None:
            self._watch(now)
        if self._fail_at is not None and now >= self._fail_at:
            self._fail_at = None  # a restart that came to nothing leaves the old pair in place
            if self._selection.pair is None:
                self._fail()
        self._send_checks(now)

    def _retire(self, now: float) -> None:
        """Stop answering for credentials from before a restart."""
        self._old = [g for g in self._old if g.expires_at is None or now < g.expires_at]
        known = (self._current, *self._old)
        self._authenticated = {p for p in self._authenticated if any(g.checklist.get(p) is not None for g in known)}

    def _watch(self, now: float) -> None:
        selection, monitor = self._selection, self._selection.monitor
        if now >= monitor.consent_ends_at():
            self._on_consent_lost(now)
            return
        if monitor.is_suspect:
            if now >= self._recheck_at:
                self._recheck_others(now)
        elif monitor.should_suspect(now):
            monitor.is_suspect = True
            self._recheck_others(now)
        if now >= monitor.disconnected_at():
            selection.enter(State.DISCONNECTED)
        elif selection.path is not None:
            selection.enter(State.CONNECTED)
        if now >= monitor.next_check():
            self._check_selected(now)

    def _check_selected(self, now: float) -> None:
        """A consent check: like any other, but outside the pace, and with the credentials of the pair's generation."""
        pair, generation = self._selection.pair, self._selection.generation
        assert pair is not None
        assert generation is not None
        if generation.remote is None:
            return
        data = self._sender.send(pair, generation, now, nominate=self._role.controlling)
        self._selection.monitor.on_sent(now, self._jitter())
        if data is not None:
            self._outbox.append((pair.path, data))

    def _recheck_others(self, now: float) -> None:
        """The selected pair may be dead: find out which of the others are alive."""
        self._recheck_at = now + self._config.recheck_interval_s
        for pair in self._current.checklist:
            if pair is self._selection.pair:
                continue
            if pair.path.protocol == "tcp" and pair.state is PairState.FAILED:
                pair.state, pair.due_at = PairState.DORMANT, now
            elif pair.state in (PairState.FAILED, PairState.SUCCEEDED):
                pair.rewind()

    def _on_consent_lost(self, now: float) -> None:
        if self._selection.generation is self._current:
            self._fail()
        else:  # a restart is under way, and has time of its own
            self._lose_selected(now)

    def _lose_selected(self, now: float) -> None:
        self._selection.drop()
        self._selection.enter(State.DISCONNECTED)
        if self._fail_at is None:
            self._fail_at = now + self._config.failed_after_s
        self._recheck_others(now)

    def _on_clock_gap(self, gap_s: float, now: float) -> None:
        if self._fail_at is not None:
            self._fail_at += gap_s
        if self._selection.pair is not None:
            self._selection.on_clock_gap(now, self._config.consent_timeout_s)
            self._recheck_others(now)

    def _fail(self) -> None:
        self._silence()
        self._selection.enter(State.FAILED)

    def _silence(self) -> None:
        self._selection.drop()
        self._sender.clear()
        self._authenticated.clear()
        self._outbox.clear()
        self._old.clear()
        self._fail_at = None
        self._is_stale = True

"""A handshake over an unreliable, unauthenticated network: between records and the two sides of the handshake.

Puts messages together, hands them to ``ClientHandshake`` or ``ServerHandshake``, repeats flights, and decides whom to
believe. A handshake message that cannot be accepted, or a fatal alert, may be the peer's or anybody's as long as
nothing is authenticated. It is remembered as a suspicion and the peer's flight is awaited again; only when nothing
better arrives within ``Config.suspicion_s`` does the handshake fail for that reason. Errors that only somebody who sees
our messages can cause (``HandshakeError.proven``) end it at once.
"""

from __future__ import annotations

__all__ = ["Negotiation"]

from typing import TYPE_CHECKING

from ...errors import DecodeError, LiveKitError, TransportError
from .alerts import Alert, HandshakeError
from .client import REPEAT_SPACING_S, ClientHandshake
from .flight import Retransmitter
from .handshake import FINISHED, HELLO_REQUEST, HELLO_VERIFY_REQUEST, Message, split_fragments
from .reassembly import Reassembler
from .roles import Role, Step
from .server import ServerHandshake

if TYPE_CHECKING:
    from .handshake import Fragment
    from .roles import Handshake, Setup

REJECTED_HOLDOFF_S = 0.09  # between two repetitions of our flight because of answers that do not fit
IGNORED_REPETITIONS = 3
"""Repetitions of a flight that we have answered, each with time for an answer to come before it, till it is suspicious.
By then our answer was sent five times or more. A peer that kept a damaged copy of it never looks at another."""

MAX_REASONS = 16  # remembered of suspicions that were withdrawn
PATIENCE_INTERVALS = 8  # initial timeouts until a suspicion is believed, at the least: three repetitions of a flight


class Negotiation:
    """One handshake, in either role.

    Its methods return steps for the connection to take, and raise what the connection is to fail with.

    Attributes:
        complete: whether the peer's Finished was verified.
    """

    __slots__ = (
        "_client",
        "_config",
        "_deadline",
        "_flight_at",
        "_handshake",
        "_hellos",
        "_ignored",
        "_messages",
        "_path_round_trip_s",
        "_repeated",
        "_retransmitter",
        "_round_trip_s",
        "_suspicion",
        "_suspicion_deadline",
        "_withdrawn",
        "complete",
    )

    def __init__(self, role: Role, setup: Setup) -> None:
        self._config = setup.config
        self._client = ClientHandshake(setup) if role is Role.CLIENT else None
        self._handshake: Handshake = self._client or ServerHandshake(setup)
        self._hellos = Reassembler()
        self._messages = Reassembler()
        self._repeated = Reassembler()
        self._retransmitter = Retransmitter(setup.config)
        self._deadline: float | None = None
        self._suspicion: LiveKitError | None = None
        self._suspicion_deadline: float | None = None
        self._flight_at = 0.0  # when our flight left first
        self._round_trip_s = 0.0  # at most: from a flight to the next one
        self._path_round_trip_s: float | None = None
        self._ignored = 0  # repetitions of what our flight answers
        self._withdrawn: dict[str, float] = {}  # reasons, and when they would have been believed
        self.complete = False

    @property
    def is_heard(self) -> bool:
        """Whether the peer has heard anything of us."""
        return self._retransmitter.flight is not None

    def start(self, now: float, round_trip_s: float | None) -> Step | None:
        """The client speaks first; either side begins to count time."""
        if self._deadline is not None:
            return None
        self._path_round_trip_s = round_trip_s
        self._deadline = now + self._config.handshake_timeout_s
        self._flight_at = now
        return self._advance(self._client.start(), now) if self._client is not None else None

    # Time

    def next_timeout(self) -> float | None:
        timers = (self._deadline, self._suspicion_deadline, self._retransmitter.deadline)
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timeout(self, now: float) -> Step | None:
        """Repeat the flight if it is time to, or raise if it is time to give up."""
        if self._suspicion is not None and self._suspicion_deadline is not None and now >= self._suspicion_deadline:
            raise self._suspicion
        if self._deadline is not None and now >= self._deadline:
            if self.complete:
                raise TransportError("no fingerprint to verify the peer's certificate with has arrived")
            raise TransportError(f"DTLS handshake timed out waiting for {self._handshake.awaits}")
        if self._retransmitter.deadline is None or now < self._retransmitter.deadline:
            return None
        self._retransmitter.back_off(now)
        self._handshake.on_unanswered()
        return Step(flight=self._retransmitter.flight)

    # What arrives

    def receive(self, payload: bytes, *, protected: bool, now: float) -> list[Step]:
        """Take the content of a handshake record. Raises ``HandshakeError`` when the handshake is lost."""
        steps: list[Step] = []
        if self._client is not None and not self.is_heard:
            return steps  # a client that has not spoken cannot be answered
        try:
            for fragment in split_fragments(payload):
                # Finished is the one protected message; in the clear it is forged, and nothing else is ever protected.
                if (fragment.type == FINISHED) == protected and fragment.type != HELLO_REQUEST:
                    self._on_fragment(fragment, protected, now, steps)
        except DecodeError:
            pass  # the rest of the record is as good as lost
        return steps

    def suspect(self, error: LiveKitError, now: float) -> None:
        """Something is wrong that anybody could have forged: see for a while whether the handshake goes on."""
        if self._suspicion is None:
            self._suspicion = error
            patience_s = max(self._config.suspicion_s, PATIENCE_INTERVALS * self._config.initial_timeout_s)
            known = self._withdrawn.get(str(error))  # a peer that begins anew does not win time by that
            self._suspicion_deadline = now + patience_s if known is None else max(now, known)

    def _withdraw_suspicion(self) -> None:
        """The handshake went on: whatever was suspicious was not the peer's. Unless it comes again."""
        if self._suspicion is not None and self._suspicion_deadline is not None and len(self._withdrawn) < MAX_REASONS:
            self._withdrawn.setdefault(str(self._suspicion), self._suspicion_deadline)
        self._suspicion = self._suspicion_deadline = None

    def _on_fragment(self, fragment: Fragment, protected: bool, now: float, steps: list[Step]) -> None:
        if self._retransmitter.is_due_to_repeat(fragment, now):
            steps.append(Step(flight=self._retransmitter.flight))
            self._on_repetition(now)
        if self.complete:
            return
        if fragment.type == HELLO_VERIFY_REQUEST:
            # Servers that keep no state number it as they like, so it does not take part in the order.
            if len(fragment.data) == fragment.length:
                self._on_message(Message(fragment.type, fragment.sequence, fragment.data), now, steps)
        elif protected and self._client is not None and fragment.sequence == self._client.awaited_finished:
            if len(fragment.data) == fragment.length:
                self._on_message(Message(fragment.type, fragment.sequence, fragment.data), now, steps)
        elif self._handshake.is_awaited_hello(fragment):
            self._on_hello_fragment(fragment, now, steps)
        elif fragment.sequence < self._messages.next_sequence:
            self._on_old_fragment(fragment, now, steps)
        else:
            self._messages.add(fragment)
            self._process_messages(now, steps)

    def _on_repetition(self, now: float) -> None:
        """The peer says again what we have answered: our flight was lost, or there is something wrong with its copy."""
        round_trip_s = self._path_round_trip_s
        if self._client is not None or self.complete or round_trip_s is None:
            return
        if now - self._flight_at > 2 * round_trip_s + REPEAT_SPACING_S:
            self._ignored += 1
            if self._ignored >= IGNORED_REPETITIONS:
                self.suspect(TransportError("the client does not take the server's part of the handshake"), now)

    def _on_hello_fragment(self, fragment: Fragment, now: float, steps: list[Step]) -> None:
        """Hellos are put together apart from the rest, since they decide where the numbering begins."""
        self._hellos.next_sequence = fragment.sequence
        self._hellos.add(fragment)
        hello = self._hellos.pop()
        if hello is not None:
            self._messages.continue_at(hello.sequence + 1)
            self._on_message(hello, now, steps)
            self._process_messages(now, steps)

    def _on_old_fragment(self, fragment: Fragment, now: float, steps: list[Step]) -> None:
        """Of a flight that was answered. A client looks at it again while nothing vouches for what it answered."""
        client = self._client
        first = None if client is None else client.repeats_from
        if client is None or first is None:
            return
        if fragment.sequence == first or not first <= self._repeated.next_sequence < self._messages.next_sequence:
            self._repeated.restart(first)
        self._repeated.add(fragment)
        while (message := self._repeated.pop()) is not None:
            try:
                had_time = now - self._flight_at > 2 * self._round_trip_s + REPEAT_SPACING_S
                step = client.on_repeated(message, now, may_be_hopeless=had_time)
            except (DecodeError, HandshakeError) as error:
                if isinstance(error, HandshakeError) and error.proven:
                    raise
                continue  # this copy is the damaged one
            if step is not None:
                self._repeated.restart(0)
                if step.begins_anew:
                    self._messages.restart(0)
                steps.append(self._advance(step, now))
                return

    def _process_messages(self, now: float, steps: list[Step]) -> None:
        while (message := self._messages.pop()) is not None:
            self._on_message(message, now, steps)

    def _on_message(self, message: Message, now: float, steps: list[Step]) -> None:
        handshake = self._handshake
        is_hello_verify = message.type == HELLO_VERIFY_REQUEST
        try:
            step = handshake.on_hello_verify(message) if is_hello_verify else handshake.on_message(message)
        except DecodeError as error:
            self._reject(HandshakeError(Alert.DECODE_ERROR, f"malformed handshake message: {error}"), now, steps)
        except HandshakeError as error:
            self._reject(error, now, steps)
        else:
            if is_hello_verify and step is not None:
                self._messages.restart(0)  # what had come of the server's flight answered another hello
            if step is not None:
                steps.append(self._advance(step, now))

    def _reject(self, error: HandshakeError, now: float, steps: list[Step]) -> None:
        """The peer's flight is no good: wait for it once more, unless it is certain that it came from the peer.

        It may be ours that was damaged on the way, and that the peer's cannot fit. A client of this implementation
        notices, when ours comes again.
        """
        if error.proven:
            raise error
        self._messages.restart(self._handshake.forget_flight())
        self.suspect(error, now)
        if self._client is None and self._retransmitter.may_repeat(now, REJECTED_HOLDOFF_S):
            steps.append(Step(flight=self._retransmitter.flight))

    def _advance(self, step: Step, now: float) -> Step:
        flight_begins = step.flight is not None and step.flight.is_repeated
        if flight_begins:
            self._round_trip_s, self._flight_at = max(self._round_trip_s, now - self._flight_at), now
            self._ignored = 0
        if step.flight is not None and flight_begins:
            self._retransmitter.start(step.flight, now)
        if flight_begins or step.master is not None:
            self._withdraw_suspicion()
        if step.complete:
            self._retransmitter.stop_timer()
            self._suspicion = self._suspicion_deadline = None
            self._deadline = now + self._config.fingerprint_timeout_s
            self.complete = True
        return step

    def stop(self) -> None:
        """Forget everything; nothing will come of it any more."""
        self._hellos.restart(0)
        self._messages.restart(0)
        self._repeated.restart(0)
        self._retransmitter.stop()
        self._deadline = self._suspicion = self._suspicion_deadline = None

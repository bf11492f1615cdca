"""The calls we make: from the wish to call to exactly one outcome.

A call is ``WAITING -> LEAVING -> SENT -> ACKED`` and ends in any of these. While it is waiting its end has not left,
so that a callee cannot have run it: a session that is lost then costs it nothing but time. Later the loss of either
session ends it, for nobody knows what became of it. A request that is one packet is never leaving: it is sent at once.

An ack or a response counts only if the participant called has sent it; it counts in every state, for both may be here
before whoever sends the request knows that it has left.
"""

from __future__ import annotations

__all__ = ["ACK_TIMEOUT_S", "MIN_HANDLER_TIMEOUT_S", "Call", "Calls", "Failed", "Returned", "handler_timeout_ms"]

import enum
from typing import TYPE_CHECKING

from ...errors import RpcErrorCode
from ..records import dataclass
from .faults import fault, was_executed

if TYPE_CHECKING:
    from ..packets.messages import RpcFault, RpcResponse

ACK_TIMEOUT_S = 7.0
"""From sending to the ack, in seconds; "max round trip latency" in all SDKs."""

UNKNOWN_ACK_TIMEOUT_S = 4.0
"""The same for a participant that nobody has told us of; a server tells of one up to 3 seconds after it joined."""

MIN_HANDLER_TIMEOUT_S = 1.0
"""A callee is told no less than this, in seconds; Rust's and Python's figure."""

_MAX_UINT32 = 0xFFFF_FFFF


def handler_timeout_ms(remaining_s: float) -> int:
    """What a callee is told of how long it may take, in milliseconds: the way there and back is taken off."""
    handler_s = max(remaining_s - ACK_TIMEOUT_S, MIN_HANDLER_TIMEOUT_S)
    return int(min(handler_s * 1000, _MAX_UINT32))


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler's result."""

    payload: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The call failed. ``executed`` is whether a handler ran, ``None`` where that is not known."""

    fault: RpcFault
    executed: bool | None


class _State(enum.Enum):
    WAITING = enum.auto()
    LEAVING = enum.auto()
    SENT = enum.auto()
    ACKED = enum.auto()


class Call:
    """One call. ``outcome`` is set once, and nothing changes after that."""

    __slots__ = (
        "_ack_timer_from",
        "_is_acked",
        "_state",
        "callee",
        "deadline",
        "is_callee_known",
        "outcome",
        "request_id",
    )

    def __init__(self, request_id: str, callee: str, deadline: float, *, is_callee_known: bool) -> None:
        self.request_id = request_id
        self.callee = callee
        self.deadline = deadline
        self.is_callee_known = is_callee_known
        self.outcome: Returned | Failed | None = None
        self._state = _State.WAITING
        self._is_acked = False
        self._ack_timer_from = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether the callee cannot have run it yet."""
        return self._state is _State.WAITING and self.outcome is None

    def on_leaving(self) -> None:
        """The end of a request in several packets is about to leave; when it has will only be known later."""
        if self._state is _State.WAITING:
            self._state = _State.LEAVING

    def on_sent(self, now: float) -> None:
        """All of the request has left."""
        if self._state in (_State.WAITING, _State.LEAVING):
            self._state = _State.ACKED if self._is_acked else _State.SENT
            self._ack_timer_from = now

    def on_ack(self) -> None:
        """The request has arrived, or has begun to."""
        self._is_acked = True
        if self._state is _State.SENT:
            self._state = _State.ACKED

    def end(self, outcome: Returned | Failed) -> None:
        """The first outcome is the one that counts."""
        if self.outcome is None:
            self.outcome = outcome

    def fail(self, code: RpcErrorCode, *, executed: bool | None) -> None:
        """End with a built-in fault."""
        self.end(Failed(fault(code), executed))

    def next_timeout(self) -> float:
        """When there will be an outcome in any case."""
        if self._state is not _State.SENT:
            return self.deadline
        patience_s = ACK_TIMEOUT_S if self.is_callee_known else UNKNOWN_ACK_TIMEOUT_S
        return min(self.deadline, self._ack_timer_from + patience_s)

    def handle_timeout(self, now: float) -> None:
        """End the call if its time is over."""
        if now < self.next_timeout():
            return
        if self._state in (_State.WAITING, _State.LEAVING):
            self.fail(RpcErrorCode.SEND_FAILED, executed=False if self.is_waiting else None)
        elif now >= self.deadline or self._state is _State.ACKED:
            self.fail(RpcErrorCode.RESPONSE_TIMEOUT, executed=None)
        elif self.is_callee_known:
            self.fail(RpcErrorCode.CONNECTION_TIMEOUT, executed=None)
        else:
            self.fail(RpcErrorCode.RECIPIENT_NOT_FOUND, executed=None)


class Calls:
    """All calls under way. Time is each call's own business; what comes from outside comes through here."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._ended: list[Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, request_id: str, callee: str, deadline: float, *, is_callee_known: bool) -> Call:
        """A call to ``callee`` that is to be over at ``deadline``."""
        call = self._calls[request_id] = Call(request_id, callee, deadline, is_callee_known=is_callee_known)
        return call

    def forget(self, call: Call) -> None:
        """The caller has its outcome, or wants none any more: what still comes for the call is nobody's."""
        del self._calls[call.request_id]

    def _find(self, request_id: str, sender: str) -> Call | None:
        """The call that ``sender`` may say something about under this name."""
        call = self._calls.get(request_id)
        return call if call is not None and call.callee == sender else None

    def on_ack(self, request_id: str, sender: str) -> Call | None:
        """An ``RpcAck`` came; returns the call that it is for."""
        call = self._find(request_id, sender)
        if call is not None:
            call.on_ack()
        return call

    def on_response(self, response: RpcResponse, sender: str) -> None:
        """An ``RpcResponse`` came, or a text stream that stands for one."""
        call = self._find(response.request_id, sender)
        if call is None or call.outcome is not None:
            return
        said = response.fault
        call.end(Returned(response.payload) if said is None else Failed(said, was_executed(said.code)))
        self._ended.append(call)

    def on_joined(self, identity: str) -> None:
        """A participant is there."""
        for call in self._to(identity):
            call.is_callee_known = True

    def on_left(self, identity: str) -> None:
        """A participant is gone, or its session is."""
        for call in self._to(identity):
            if not call.is_waiting:
                self._fail(call)

    def on_session_lost(self) -> None:
        """Our session is gone, and with it what was to come in it."""
        for call in self._calls.values():
            if not call.is_waiting:
                self._fail(call)

    def poll_ended(self) -> list[Call]:
        """The calls that ended since this was asked last, other than in time."""
        ended, self._ended = self._ended, []
        return ended

    def _to(self, identity: str) -> list[Call]:
        return [call for call in self._calls.values() if call.callee == identity]

    def _fail(self, call: Call) -> None:
        if call.outcome is None:
            call.fail(RpcErrorCode.RECIPIENT_DISCONNECTED, executed=None)
            self._ended.append(call)

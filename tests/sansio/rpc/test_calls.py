"""The calls we make: every input in every state, and random histories against what may and must come of a call."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trio_livekit._sansio.packets.messages import RpcFault, RpcResponse
from trio_livekit._sansio.rpc.calls import Call, Calls, Failed, Returned, handler_timeout_ms
from trio_livekit._sansio.rpc.faults import fault
from trio_livekit.errors import RpcErrorCode as Code

STATES = ("waiting", "leaving", "sent", "acked")


def begun(state: str = "waiting", *, known: bool = True, timeout: float = 15.0) -> tuple[Calls, Call]:
    """A call to bob that began at 0, and has come so far."""
    calls = Calls()
    call = calls.begin("id", "bob", timeout, is_callee_known=known)
    if state == "leaving":
        call.on_leaving()
    elif state != "waiting":
        call.on_sent(0.0)
    if state == "acked":
        calls.on_ack("id", "bob")
    return calls, call


def failed(code: Code, *, executed: bool | None) -> Failed:
    return Failed(fault(code), executed)


@pytest.mark.parametrize("state", STATES)
def test_a_response_counts_in_every_state(state: str) -> None:
    calls, call = begun(state)
    calls.on_response(RpcResponse("id", "result"), "bob")
    assert call.outcome == Returned("result")
    assert calls.poll_ended() == [call]
    assert calls.poll_ended() == []


@pytest.mark.parametrize("state", STATES)
def test_a_response_of_another_participant_does_not_count(state: str) -> None:
    calls, call = begun(state)
    for sender in ("mallory", ""):
        calls.on_response(RpcResponse("id", "result"), sender)
        calls.on_response(RpcResponse("id", fault=RpcFault(1500)), sender)
    assert call.outcome is None
    assert calls.poll_ended() == []


def test_an_ack_of_another_participant_does_not_count() -> None:
    calls, call = begun("sent")
    calls.on_ack("id", "mallory")
    assert call.next_timeout() == 7.0


def test_only_the_first_response_counts() -> None:
    calls, call = begun("acked")
    calls.on_response(RpcResponse("id", "first"), "bob")
    calls.on_response(RpcResponse("id", "second"), "bob")
    calls.on_left("bob")
    calls.on_session_lost()
    call.handle_timeout(100.0)
    assert call.outcome == Returned("first")
    assert calls.poll_ended() == [call]


def test_what_comes_for_an_unknown_call_is_ignored() -> None:
    calls, call = begun("sent")
    calls.forget(call)
    calls.on_ack("id", "bob")
    calls.on_response(RpcResponse("id", "result"), "bob")
    calls.on_left("bob")
    assert calls.poll_ended() == []
    assert len(calls) == 0


@pytest.mark.parametrize(
    ("code", "executed"),
    [
        (1400, False),
        (1402, False),
        (1404, False),
        (1429, False),
        (1500, True),
        (1504, True),
        (1401, None),
        (1502, None),
        (1999, None),
        (0, True),
        (1000, True),
        (2000, True),
    ],
)
def test_a_fault_says_whether_the_handler_ran(code: int, executed: bool | None) -> None:
    calls, call = begun("acked")
    said = RpcFault(code, "message", "data")
    calls.on_response(RpcResponse("id", fault=said), "bob")
    assert call.outcome == Failed(said, executed)


@pytest.mark.parametrize(
    ("state", "known", "timeout", "at", "expected"),
    [
        ("waiting", True, 15.0, 15.0, failed(Code.SEND_FAILED, executed=False)),
        ("leaving", True, 15.0, 15.0, failed(Code.SEND_FAILED, executed=None)),
        ("sent", True, 15.0, 7.0, failed(Code.CONNECTION_TIMEOUT, executed=None)),
        ("sent", False, 15.0, 4.0, failed(Code.RECIPIENT_NOT_FOUND, executed=None)),
        ("sent", True, 3.0, 3.0, failed(Code.RESPONSE_TIMEOUT, executed=None)),
        ("sent", False, 3.0, 3.0, failed(Code.RESPONSE_TIMEOUT, executed=None)),
        ("acked", True, 15.0, 15.0, failed(Code.RESPONSE_TIMEOUT, executed=None)),
        ("acked", False, 15.0, 15.0, failed(Code.RESPONSE_TIMEOUT, executed=None)),
    ],
)
def test_time(state: str, known: bool, timeout: float, at: float, expected: Failed) -> None:
    _, call = begun(state, known=known, timeout=timeout)
    assert call.next_timeout() == at
    call.handle_timeout(at - 0.001)
    assert call.outcome is None
    call.handle_timeout(at)
    assert call.outcome == expected


def test_a_participant_that_is_announced_late_has_more_time() -> None:
    calls, call = begun("sent", known=False)
    calls.on_joined("bob")
    assert call.next_timeout() == 7.0


@pytest.mark.parametrize("state", ["leaving", "sent", "acked"])
@pytest.mark.parametrize("loss", ["left", "session"])
def test_a_loss_ends_what_has_left(state: str, loss: str) -> None:
    calls, call = begun(state)
    if loss == "left":
        calls.on_left("bob")
    else:
        calls.on_session_lost()
    assert call.outcome == failed(Code.RECIPIENT_DISCONNECTED, executed=None)
    assert calls.poll_ended() == [call]


def test_a_loss_does_not_end_what_is_still_here() -> None:
    calls, call = begun("waiting")
    calls.on_session_lost()
    calls.on_left("bob")
    assert call.outcome is None
    assert call.is_waiting
    calls.on_left("somebody else")
    call.on_sent(3.0)
    assert not call.is_waiting
    assert call.next_timeout() == 10.0


def test_an_ack_may_come_before_the_sender_knows() -> None:
    calls, call = begun("waiting")
    calls.on_ack("id", "bob")
    call.on_sent(1.0)
    assert call.next_timeout() == 15.0
    assert not call.is_waiting


@pytest.mark.parametrize(
    ("remaining_s", "told_ms"), [(15.0, 8000), (3.0, 1000), (8.0, 1000), (9.5, 2500), (1e9, 0xFFFF_FFFF)]
)
def test_the_callee_is_told_of_less_time(remaining_s: float, told_ms: int) -> None:
    assert handler_timeout_ms(remaining_s) == told_ms


PEERS = ("bob", "carol")


class Histories(RuleBasedStateMachine):
    """Whatever happens, a call has one outcome, in time, and it is one that its callee or its loss accounts for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls()
        self.now = 0.0
        self.count = 0
        self.open: dict[str, Call] = {}
        self.said: dict[str, list[tuple[str, str]]] = {}  # of each call: who said what of it
        self.ended: dict[str, object] = {}

    @rule(callee=st.sampled_from(PEERS), timeout=st.floats(0.1, 30.0), known=st.booleans())
    def begin(self, callee: str, timeout: float, known: bool) -> None:
        self.count += 1
        name = f"call {self.count}"
        self.open[name] = self.calls.begin(name, callee, self.now + timeout, is_callee_known=known)
        self.said[name] = []

    def one(self, data: st.DataObject) -> Call | None:
        return self.open[data.draw(st.sampled_from(sorted(self.open)))] if self.open else None

    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        if call := self.one(data):
            call.on_sent(self.now)

    @rule(data=st.data())
    def begin_to_send(self, data: st.DataObject) -> None:
        if call := self.one(data):
            call.on_leaving()

    @rule(data=st.data(), sender=st.sampled_from(PEERS))
    def ack(self, data: st.DataObject, sender: str) -> None:
        if call := self.one(data):
            self.calls.on_ack(call.request_id, sender)

    @rule(data=st.data(), sender=st.sampled_from(PEERS), text=st.text(max_size=3))
    def respond(self, data: st.DataObject, sender: str, text: str) -> None:
        if call := self.one(data):
            self.said[call.request_id].append((sender, text))
            self.calls.on_response(RpcResponse(call.request_id, text), sender)

    @rule(identity=st.sampled_from(PEERS), joins=st.booleans())
    def come_or_go(self, identity: str, joins: bool) -> None:
        (self.calls.on_joined if joins else self.calls.on_left)(identity)

    @rule()
    def lose(self) -> None:
        self.calls.on_session_lost()
        assert all(call.is_waiting or call.outcome is not None for call in self.open.values())

    @rule(step=st.floats(0.0, 10.0))
    def wait(self, step: float) -> None:
        self.now += step
        for call in self.open.values():
            call.handle_timeout(self.now)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        if call := self.one(data):
            del self.open[call.request_id]
            self.calls.forget(call)

    @invariant()
    def outcomes_are_right(self) -> None:
        for call in self.calls.poll_ended():
            assert call.outcome is not None
        for name, call in self.open.items():
            if call.outcome is None:
                assert self.now <= call.next_timeout() <= call.deadline
                continue
            assert self.ended.setdefault(name, call.outcome) is call.outcome
            if isinstance(call.outcome, Returned):
                assert (call.callee, call.outcome.payload) in self.said[name]
        assert len(self.calls) == len(self.open)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

"""The calls made to us: refusals, repetitions, bounds; and random histories in which nothing runs twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trio_livekit._sansio.packets.messages import RpcRequest
from trio_livekit._sansio.rpc.faults import fault
from trio_livekit._sansio.rpc.invocations import (
    MAX_ID_BYTES,
    VERSION_PACKET,
    VERSION_STREAM,
    Invocations,
    Method,
    Refusal,
    Repetition,
    Run,
)
from trio_livekit.errors import RpcErrorCode as Code


def request(name: str = "id", method: str = "echo", payload: str = "", version: int = VERSION_PACKET) -> RpcRequest:
    return RpcRequest(name, method, payload, 8000, version)


def asked(core: Invocations, *args: Any, caller: str = "alice", form: int = VERSION_PACKET, **kwargs: Any) -> object:
    return core.on_request(request(*args, **kwargs), caller, 0.0, version=form)


def test_a_method_that_is_served_is_run() -> None:
    core = Invocations()
    method = core.register("echo", 1)
    assert asked(core) == Run(method)
    assert method.running == 1


def test_a_method_that_is_not_served_is_refused() -> None:
    core = Invocations()
    method = core.register("echo", 1)
    assert asked(core, "1", "other") == Refusal(fault(Code.UNSUPPORTED_METHOD))
    core.unregister(method)
    assert asked(core, "2") == Refusal(fault(Code.UNSUPPORTED_METHOD))


def test_a_method_is_served_once() -> None:
    core = Invocations()
    method = core.register("echo", 1)
    with pytest.raises(ValueError, match="'echo' is being served already"):
        core.register("echo", 1)
    core.unregister(method)
    core.register("echo", 1)


@pytest.mark.parametrize(("form", "version"), [(1, 2), (1, 0), (2, 1), (2, 3)])
def test_a_version_that_is_not_known_is_refused(form: int, version: int) -> None:
    core = Invocations()
    core.register("echo", 1)
    assert asked(core, version=version, form=form) == Refusal(fault(Code.UNSUPPORTED_VERSION))


def test_a_packet_has_a_limit_and_a_stream_has_none() -> None:
    core = Invocations()
    method = core.register("echo", 3)
    assert asked(core, "1", payload="ü" * 7680) == Run(method)
    assert asked(core, "2", payload="ü" * 7680 + ".") == Refusal(fault(Code.REQUEST_PAYLOAD_TOO_LARGE))
    assert asked(core, "3", payload="ü" * 50_000, version=VERSION_STREAM, form=VERSION_STREAM) == Run(method)


def test_calls_at_once_are_bounded() -> None:
    core = Invocations()
    method = core.register("echo", 2)
    assert [asked(core, str(number)) for number in range(3)] == [
        Run(method),
        Run(method),
        Refusal(fault(Code.TOO_MANY_CALLS)),
    ]
    core.on_finished(method)
    assert asked(core, "4") == Run(method)


def test_a_repeated_request_is_not_run_again() -> None:
    core = Invocations()
    method = core.register("echo", 9)
    assert asked(core) == Run(method)
    assert asked(core) == Repetition()
    core.on_finished(method)
    assert asked(core) == Repetition()
    assert asked(core, caller="bob") == Run(method)  # to whom the name means something else


def test_requests_are_remembered_for_a_while() -> None:
    core = Invocations(memory_s=300.0)
    method = core.register("echo", 9)
    for now, decision in ((0.0, Run(method)), (299.9, Repetition()), (300.0, Run(method)), (301.0, Repetition())):
        assert core.on_request(request(), "alice", now, version=VERSION_PACKET) == decision


def test_what_is_remembered_is_bounded() -> None:
    core = Invocations(memory_ids=2)
    method = core.register("echo", 9)
    assert [asked(core, name) for name in "abca"] == [Run(method)] * 4
    assert asked(core, "c") == Repetition()


def test_a_request_without_a_usable_name_cannot_be_answered() -> None:
    core = Invocations()
    core.register("echo", 9)
    assert asked(core, "") is None
    assert asked(core, "x" * (MAX_ID_BYTES + 1)) is None
    assert asked(core, "x" * MAX_ID_BYTES) is not None


class Histories(RuleBasedStateMachine):
    """Nothing runs twice, nor more often at once than it may, and nothing is refused without a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Invocations(memory_ids=50, memory_s=20.0)
        self.now = 0.0
        self.methods: dict[str, Method] = {}
        self.running: list[Method] = []
        self.decided: dict[tuple[str, str], float] = {}

    @rule(name=st.sampled_from("ab"), limit=st.integers(1, 3))
    def register(self, name: str, limit: int) -> None:
        if name in self.methods:
            with pytest.raises(ValueError, match="already"):
                self.core.register(name, limit)
        else:
            self.methods[name] = self.core.register(name, limit)

    @rule(name=st.sampled_from("ab"))
    def unregister(self, name: str) -> None:
        if method := self.methods.pop(name, None):
            self.core.unregister(method)

    @rule(number=st.integers(0, 30), method=st.sampled_from("abc"), caller=st.sampled_from("xy"))
    def ask(self, number: int, method: str, caller: str) -> None:
        decision = self.core.on_request(request(f"{number}", method), caller, self.now, version=VERSION_PACKET)
        key = (caller, f"{number}")
        fresh = self.now - self.decided.get(key, -100.0) >= 20.0
        assert isinstance(decision, Repetition) is not fresh
        if fresh:
            self.decided[key] = self.now
        if isinstance(decision, Run):
            assert decision.method is self.methods[method]
            self.running.append(decision.method)
        elif isinstance(decision, Refusal):
            served = self.methods.get(method)
            busy = served is not None and self.running.count(served) == served.limit
            assert decision.fault.code == (Code.TOO_MANY_CALLS if busy else Code.UNSUPPORTED_METHOD)
            assert served is None or busy

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if self.running:
            index = data.draw(st.integers(0, len(self.running) - 1))
            self.core.on_finished(self.running.pop(index))

    @rule(step=st.floats(0.0, 15.0))
    def wait(self, step: float) -> None:
        self.now += step

    @invariant()
    def bounds_hold(self) -> None:
        for method in self.running:
            assert method.running == self.running.count(method) <= method.limit


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""Our calls in virtual time: what a caller gets when nobody answers, and when connections come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_livekit._sansio.packets.messages import RpcFault, RpcResponse
from trio_livekit._sansio.signal.messages import DisconnectReason
from trio_livekit._session.calling import WINDOW, Calling
from trio_livekit.errors import PublishDataError, PublishDataErrorReason, RoomDisconnected, RpcError
from trio_livekit.errors import RpcErrorCode as Code

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_livekit._sansio.rpc.calls import Call


class Bench:
    """Calls to bob, with the network and the session played by the test."""

    def __init__(self) -> None:
        self.present = {"bob"}
        self.sent: list[Call] = []
        self.room = trio.Event()
        self.room.set()
        self.error: Exception | None = None
        self.calling = Calling(self.send, self.present.__contains__)

    async def send(self, call: Call, method: str, payload: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        if not self.room.is_set():
            await self.room.wait()
        self.sent.append(call)

    async def call(self, timeout: float = 15.0, *, to: str = "bob") -> str | RpcError:
        try:
            return await self.calling.call(to, "method", "payload", timeout)
        except RpcError as error:
            return error
        finally:
            assert not self.calling._callers.keys() & set(self.calling._calls._ended)

    def answer(self, call: Call, payload: str = "result") -> None:
        self.calling.on_ack(call.request_id, "bob")
        self.calling.on_response(RpcResponse(call.request_id, payload), "bob")

    def lose_session(self) -> None:
        self.calling.on_links_lost()
        self.calling.on_session_lost()


class Outcomes(list[object]):
    """Of calls that run in a nursery."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def of(self, *args: float) -> None:
        self.append(await self.bench.call(*args))

    def codes(self) -> list[tuple[int, bool | None]]:
        return [(error.code, error.executed) for error in self if isinstance(error, RpcError)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_nobody_acknowledges(bench: Bench, autojump_clock: MockClock) -> None:
    outcome = await bench.call()
    assert isinstance(outcome, RpcError)
    assert (outcome.code, outcome.executed, trio.current_time()) == (Code.CONNECTION_TIMEOUT, None, 7.0)
    assert bench.calling.in_flight == 0


async def test_there_is_no_such_participant(bench: Bench, autojump_clock: MockClock) -> None:
    outcome = await bench.call(to="nobody")
    assert isinstance(outcome, RpcError)
    assert (outcome.code, outcome.executed, trio.current_time()) == (Code.RECIPIENT_NOT_FOUND, None, 4.0)


async def test_nobody_responds(bench: Bench, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    outcomes = Outcomes(bench)
    nursery.start_soon(outcomes.of)
    await wait_all_tasks_blocked()
    bench.calling.on_ack(bench.sent[0].request_id, "bob")
    await trio.sleep(15.1)
    assert outcomes.codes() == [(Code.RESPONSE_TIMEOUT, None)]


async def test_every_failure_comes_in_time(bench: Bench, autojump_clock: MockClock) -> None:
    for timeout in (0.1, 1.0, 6.9, 7.1, 60.0):
        start = trio.current_time()
        await bench.call(timeout)
        assert trio.current_time() - start <= min(timeout, 7.0) + 0.001


async def test_a_cancelled_call_is_forgotten(bench: Bench, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1.0):
        await bench.call()
    assert bench.calling.in_flight == 0
    bench.answer(bench.sent[0])  # which is late


async def test_the_network_takes_nothing(bench: Bench, autojump_clock: MockClock) -> None:
    bench.room = trio.Event()
    outcome = await bench.call(3.0)
    assert isinstance(outcome, RpcError)
    assert (outcome.code, outcome.executed, trio.current_time()) == (Code.SEND_FAILED, False, 3.0)


async def test_sending_is_not_allowed(bench: Bench) -> None:
    bench.error = PublishDataError(PublishDataErrorReason.NOT_ALLOWED, "not allowed")
    outcome = await bench.call()
    assert isinstance(outcome, RpcError)
    assert (outcome.code, outcome.executed) == (Code.SEND_FAILED, False)
    assert outcome.data == str(outcome.__cause__) != ""
    assert outcome.__cause__ is bench.error


async def test_what_has_left_ends_with_the_session(bench: Bench, nursery: trio.Nursery) -> None:
    outcomes = Outcomes(bench)
    nursery.start_soon(outcomes.of)
    await wait_all_tasks_blocked()
    bench.lose_session()
    await wait_all_tasks_blocked()
    assert outcomes.codes() == [(Code.RECIPIENT_DISCONNECTED, None)]


async def test_what_has_not_left_goes_to_the_next_session(
    bench: Bench, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outcomes = Outcomes(bench)
    bench.room = trio.Event()  # the first waits for room, the second for a connection
    nursery.start_soon(outcomes.of)
    await wait_all_tasks_blocked()
    bench.lose_session()
    nursery.start_soon(outcomes.of)
    await trio.sleep(2.0)
    bench.present.discard("bob")
    bench.calling.on_left("bob")
    bench.calling.on_connected()
    bench.room.set()
    await trio.sleep(2.0)
    assert bench.sent == []  # bob is not back yet
    bench.present.add("bob")
    bench.calling.on_joined("bob")
    await wait_all_tasks_blocked()
    assert len(bench.sent) == 2
    for call in bench.sent:
        bench.answer(call)
    await wait_all_tasks_blocked()
    assert outcomes == ["result", "result"]


async def test_a_callee_that_does_not_come_back(bench: Bench, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    outcomes = Outcomes(bench)
    bench.lose_session()
    nursery.start_soon(outcomes.of)
    await wait_all_tasks_blocked()
    bench.present.clear()
    bench.calling.on_connected()
    await trio.sleep(15.1)
    assert outcomes.codes() == [(Code.RECIPIENT_NOT_FOUND, False)]


async def test_a_request_that_leaves_as_the_session_ends(bench: Bench, nursery: trio.Nursery) -> None:
    """It has been sent, and before its task hears of that the session is gone: it is not sent again."""
    outcomes = Outcomes(bench)
    bench.room = trio.Event()
    nursery.start_soon(outcomes.of)
    await wait_all_tasks_blocked()
    bench.room.set()
    bench.lose_session()
    bench.calling.on_connected()
    await wait_all_tasks_blocked()
    assert len(bench.sent) == 1
    assert outcomes.codes() == [(Code.RECIPIENT_DISCONNECTED, None)]


async def test_unacknowledged_requests_are_bounded(bench: Bench, nursery: trio.Nursery) -> None:
    outcomes = Outcomes(bench)
    for _ in range(WINDOW + 3):
        nursery.start_soon(outcomes.of)
    await wait_all_tasks_blocked()
    assert len(bench.sent) == WINDOW
    bench.calling.on_ack(bench.sent[0].request_id, "bob")
    bench.calling.on_response(RpcResponse(bench.sent[1].request_id, fault=RpcFault(1)), "bob")
    await wait_all_tasks_blocked()
    assert len(bench.sent) == WINDOW + 2
    bench.calling.on_ack(bench.sent[0].request_id, "bob")  # again, for which there is no place to give
    await wait_all_tasks_blocked()
    assert len(bench.sent) == WINDOW + 2
    bench.calling.on_left("bob")
    await wait_all_tasks_blocked()
    assert len(bench.sent) == WINDOW + 3
    bench.calling.on_left("bob")
    await wait_all_tasks_blocked()
    assert bench.calling._lanes == {}
    assert len(outcomes) == WINDOW + 3


@pytest.mark.parametrize("waiting", [True, False])
async def test_the_room_is_lost(bench: Bench, waiting: bool) -> None:
    if waiting:
        bench.calling.on_links_lost()
    over = RoomDisconnected(DisconnectReason.ROOM_DELETED)
    raised: list[RoomDisconnected] = []

    async def call() -> None:
        with pytest.raises(RoomDisconnected) as caught:
            await bench.call()
        raised.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        bench.calling.close(over)
    await call()
    assert len({id(error) for error in (over, *raised)}) == 4  # each caller has its own

"""The signal connection: order, pings, losses and goodbyes, on a websocket with a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.session.fakes import FakeWebsocket
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.signalling import SignalCounters, Signalling, SignalLost

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.fixture
def websocket() -> FakeWebsocket:
    return FakeWebsocket()


@pytest.fixture
def delivered() -> list[m.Response]:
    return []


@pytest.fixture
async def signalling(websocket: FakeWebsocket, delivered: list[m.Response]) -> Signalling:
    return Signalling(websocket, delivered.append, SignalCounters())  # type: ignore[arg-type]


async def test_requests_leave_in_order(signalling: Signalling, websocket: FakeWebsocket, nursery: trio.Nursery) -> None:
    for handle in range(1, 20):
        signalling.send_nowait(m.UnpublishDataTrack(handle))
    nursery.start_soon(signalling.run, 0, 0)
    await wait_all_tasks_blocked()
    signalling.send_nowait(m.UnpublishDataTrack(20))
    await wait_all_tasks_blocked()
    assert websocket.heard == [m.UnpublishDataTrack(handle) for handle in range(1, 21)]


async def test_responses_are_delivered_in_order_and_nonsense_is_passed_over(
    signalling: Signalling, websocket: FakeWebsocket, delivered: list[m.Response], nursery: trio.Nursery
) -> None:
    websocket.say(b"\xff\xff\xff")
    websocket.say(b"")
    websocket.say(m.RefreshToken("one"))
    assert await signalling.receive_first() == m.RefreshToken("one")
    nursery.start_soon(signalling.run, 0, 0)
    for response in (m.RefreshToken("two"), b"\x0a\xff", m.RefreshToken("three")):
        websocket.say(response)
    await wait_all_tasks_blocked()
    assert delivered == [m.RefreshToken("two"), m.RefreshToken("three")]


async def test_requests_that_may_wait_are_called_for_when_half_have_left(
    websocket: FakeWebsocket, delivered: list[m.Response], nursery: trio.Nursery
) -> None:
    def on_room() -> None:
        assert signalling.has_room
        sent_by_then.append(len(websocket.heard))

    sent_by_then: list[int] = []
    signalling = Signalling(websocket, delivered.append, SignalCounters(), on_room)  # type: ignore[arg-type]
    asked = 0
    while signalling.has_room:
        asked += 1
        signalling.send_nowait(m.UnpublishDataTrack(asked))
    assert asked == 128
    signalling.send_nowait(m.Trickle("candidate"))  # which does not wait
    nursery.start_soon(signalling.run, 0, 0)
    await wait_all_tasks_blocked()
    assert sent_by_then == [64]
    assert len(websocket.heard) == 129


@pytest.mark.parametrize("running", [True, False])
async def test_a_network_that_takes_no_requests_is_lost(
    signalling: Signalling, websocket: FakeWebsocket, nursery: trio.Nursery, running: bool
) -> None:
    async def flood() -> None:
        for handle in range(1000):
            signalling.send_nowait(m.UnpublishDataTrack(handle))

    websocket.stuck = True
    if running:
        nursery.start_soon(flood)
    else:
        await flood()
    with trio.fail_after(5), pytest.raises(SignalLost, match="256 requests are waiting"):
        await signalling.run(0, 0)


async def test_pings_measure_the_round_trip(
    signalling: Signalling,
    websocket: FakeWebsocket,
    delivered: list[m.Response],
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(signalling.run, 5, 15)
    await trio.sleep(0.1)
    (ping,) = websocket.heard
    assert isinstance(ping, m.Ping)
    websocket.say(m.Pong(ping.timestamp_ms, 0))
    await trio.sleep(0.01)
    assert signalling.rtt_s == pytest.approx(0.1, abs=0.01)
    await trio.sleep(5)
    assert len(websocket.heard) == 2
    assert delivered == [m.Pong(ping.timestamp_ms, 0)]


async def test_asking_whether_the_server_is_there(
    signalling: Signalling, websocket: FakeWebsocket, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The answer to an earlier ping says nothing of now."""
    nursery.start_soon(signalling.run, 5, 15)
    await trio.sleep(0.1)
    question = signalling.ask()
    await trio.sleep(0.1)
    earlier, asked = websocket.heard
    assert isinstance(earlier, m.Ping)
    assert isinstance(asked, m.Ping)
    for ping, is_answered in ((earlier, False), (asked, True)):
        websocket.say(m.Pong(ping.timestamp_ms, 0))
        await trio.sleep(0.01)
        assert signalling.is_answered(question) is is_answered


async def test_an_answer_that_comes_within_a_fraction_of_a_millisecond(
    signalling: Signalling, websocket: FakeWebsocket, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(signalling.run, 0, 0)
    await trio.sleep(0.0006)
    question = signalling.ask()
    await trio.sleep(0.0001)
    (ping,) = websocket.heard
    assert isinstance(ping, m.Ping)
    websocket.say(m.Pong(ping.timestamp_ms, 0))
    await trio.sleep(0.0001)
    assert signalling.is_answered(question)


async def test_a_server_that_answers_no_pings_is_lost(
    signalling: Signalling, websocket: FakeWebsocket, autojump_clock: MockClock
) -> None:
    with pytest.raises(SignalLost, match="no pong"):
        await signalling.run(5, 15)
    assert 15 < autojump_clock.current_time() <= 25
    assert all(isinstance(request, m.Ping) for request in websocket.heard)


async def test_a_network_that_takes_no_pings_is_lost(
    signalling: Signalling, websocket: FakeWebsocket, autojump_clock: MockClock
) -> None:
    websocket.stuck = True
    with trio.fail_after(100), pytest.raises(SignalLost, match="took no ping"):
        await signalling.run(5, 15)


async def test_pings_can_be_switched_off(
    signalling: Signalling, websocket: FakeWebsocket, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(1000):
        await signalling.run(0, 15)
    assert websocket.heard == []


@pytest.mark.parametrize("sending", [False, True])
async def test_a_websocket_that_closes_is_a_lost_signal(
    signalling: Signalling, websocket: FakeWebsocket, nursery: trio.Nursery, sending: bool
) -> None:
    async def hang_up() -> None:
        await wait_all_tasks_blocked()
        if sending:
            websocket.closed = True
            signalling.send_nowait(m.UnpublishDataTrack(1))
        else:
            websocket.hang_up()

    nursery.start_soon(hang_up)
    with pytest.raises(SignalLost, match="1006"):
        await signalling.run(0, 0)


async def test_a_bug_in_whoever_listens_is_not_swallowed(websocket: FakeWebsocket) -> None:
    def listener(_response: m.Response) -> None:
        raise ZeroDivisionError

    websocket.say(m.RefreshToken("x"))
    with pytest.RaisesGroup(ZeroDivisionError):
        await Signalling(websocket, listener, SignalCounters()).run(0, 0)  # type: ignore[arg-type]


async def test_leaving_says_goodbye_and_closes(signalling: Signalling, websocket: FakeWebsocket) -> None:
    await signalling.leave()
    assert websocket.heard == [m.Leave(m.DisconnectReason.CLIENT_INITIATED, m.LeaveAction.DISCONNECT)]
    assert websocket.closed
    signalling.send_nowait(m.UnpublishDataTrack(1))  # too late, and quiet
    await signalling.leave()


async def test_a_goodbye_on_a_websocket_that_broke_is_not_known_to_be_heard(
    signalling: Signalling, websocket: FakeWebsocket
) -> None:
    assert await signalling.leave()
    websocket.is_broken = True
    assert not await signalling.leave()


async def test_leaving_works_when_cancelled(signalling: Signalling, websocket: FakeWebsocket) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await signalling.leave()
    assert not scope.cancelled_caught
    assert isinstance(websocket.heard[0], m.Leave)
    assert websocket.closed


async def test_leaving_does_not_wait_for_a_stuck_network(
    signalling: Signalling, websocket: FakeWebsocket, autojump_clock: MockClock
) -> None:
    websocket.stuck = True
    with trio.CancelScope() as scope:
        scope.cancel()
        await signalling.leave()
    assert websocket.closed
    assert autojump_clock.current_time() <= 1

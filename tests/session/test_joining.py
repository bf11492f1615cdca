"""From URL and token to a signal connection, on servers with a script; and what is left of a join that is given up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trio_livekit as lk
from tests.support.heads import read_head
from tests.support.leaks import nothing_left_behind
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.joining import SignalRequest, signal_base_url
from trio_livekit._session.probing import knock, place_of
from trio_livekit._transport.websocket import Websocket, WebsocketClosed, accept_websocket, dial
from trio_livekit._wire.signal import decode_request, encode_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("ws://host", "ws://host"),
        ("wss://host/", "wss://host"),
        ("http://host:7880", "ws://host:7880"),
        ("HTTPS://Host", "wss://host"),
        ("ws://host/prefix/", "ws://host/prefix"),
        ("ws://[::1]:7880", "ws://[::1]:7880"),
        ("ws://127.0.0.1:7880//", "ws://127.0.0.1:7880"),
        ("ws://bücher.example", "ws://bücher.example"),
    ],
)
def test_urls(url: str, base: str) -> None:
    assert signal_base_url(url) == base


@asynccontextmanager
async def signal_server(
    converse: Callable[[Websocket], Awaitable[None]], *, hold: trio.Event | None = None
) -> AsyncIterator[tuple[str, trio.Event]]:
    """A server that reads a request, waits for ``hold``, accepts, and then follows the script."""
    requested = trio.Event()

    async def handle(stream: trio.SocketStream) -> None:
        head = await read_head(stream)
        requested.set()
        if hold is not None:
            await hold.wait()
        async with trio.open_nursery() as nursery:
            websocket = await accept_websocket(nursery, stream, head, name="scripted server")
            try:
                await converse(websocket)
            except WebsocketClosed:
                pass
            finally:
                await websocket.aclose()
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}", requested
        nursery.cancel_scope.cancel()


async def read_on(websocket: Websocket) -> None:
    """Until the client closes."""
    while True:
        await websocket.receive()


async def refusal(url: str) -> lk.ConnectError:
    async with nothing_left_behind():
        with pytest.raises(lk.ConnectError) as error:
            async with lk.connect(url, "token"):
                pytest.fail("connected")
        await wait_all_tasks_blocked()
    return error.value


async def test_a_server_that_sends_us_away() -> None:
    async def leave(websocket: Websocket) -> None:
        await websocket.send(encode_response(m.Leave(m.DisconnectReason.JOIN_FAILURE)))
        await read_on(websocket)

    async with signal_server(leave) as (url, _):
        error = await refusal(url)
    assert error.reason is lk.ConnectErrorReason.REFUSED
    assert error.disconnect_reason is lk.DisconnectReason.JOIN_FAILURE


async def test_a_server_that_hangs_up_before_the_first_word() -> None:
    async def hang_up(_websocket: Websocket) -> None:
        pass

    async with signal_server(hang_up) as (url, _):
        error = await refusal(url)
    assert error.reason is lk.ConnectErrorReason.SERVER_ERROR


async def test_a_server_that_begins_with_something_else() -> None:
    async def chat(websocket: Websocket) -> None:
        await websocket.send(b"\xff\xff")  # nonsense is passed over
        await websocket.send(encode_response(m.RefreshToken("x")))
        await read_on(websocket)

    async with signal_server(chat) as (url, _):
        error = await refusal(url)
    assert error.reason is lk.ConnectErrorReason.SERVER_ERROR
    assert "RefreshToken" in str(error)


async def test_a_server_whose_answer_makes_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_livekit._session.connection._LAST_WORD_S", 0.01)

    async def answer(websocket: Websocket) -> None:
        join = m.Join(m.RoomInfo("RM_1", "room"), m.ParticipantInfo("PA_1", "me"))
        await websocket.send(encode_response(join))
        await websocket.send(encode_response(m.Answer("v=0\r\nnonsense", 1)))
        await read_on(websocket)

    async with signal_server(answer) as (url, _):
        error = await refusal(url)
    assert error.reason is lk.ConnectErrorReason.TRANSPORT


async def test_a_join_given_up_while_the_server_lets_us_in_is_taken_back() -> None:
    """The server has the request and accepts it after the caller is cancelled: it is told that we left."""
    heard: list[m.Request | None] = []
    accept, left = trio.Event(), trio.Event()

    async def listen(websocket: Websocket) -> None:
        try:
            heard.append(decode_request(await websocket.receive()))
        finally:
            left.set()

    async with signal_server(listen, hold=accept) as (url, requested), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def join() -> None:
            with scope:
                async with lk.connect(url, "token"):
                    pytest.fail("connected")

        nursery.start_soon(join)
        await requested.wait()
        scope.cancel()
        await wait_all_tasks_blocked()
        accept.set()
        with trio.fail_after(2):
            await left.wait()
    assert heard == [m.Leave(m.DisconnectReason.CLIENT_INITIATED, m.LeaveAction.DISCONNECT)]
    assert scope.cancelled_caught


async def test_a_join_given_up_before_the_server_answers_at_all() -> None:
    async def nothing(_websocket: Websocket) -> None:
        pytest.fail("accepted")

    async with signal_server(nothing, hold=trio.Event()) as (url, requested):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def join() -> None:
                with scope:
                    async with lk.connect(url, "token"):
                        pytest.fail("connected")

            nursery.start_soon(join)
            await requested.wait()
            scope.cancel()
    assert scope.cancelled_caught  # and is not waited for any longer


async def test_a_probe_given_up_before_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_livekit._session.connection._LAST_WORD_S", 0.01)
    requested = trio.Event()

    async def say_nothing(stream: trio.SocketStream) -> None:
        await read_head(stream)
        requested.set()
        async for _ in stream:
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, say_nothing, 0, host="127.0.0.1"))
        place = place_of(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}")
        async with nothing_left_behind(), trio.open_nursery() as probing:
            probing.start_soon(knock, place, "token", None)
            await requested.wait()
            probing.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


# --- dialling ---------------------------------------------------------------------------------------------------------


class DeadNetwork:
    """Takes the place of ``trio.open_tcp_stream``: nobody answers until some try, which is answered at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, answered: int | None) -> None:
        self.tries_at: list[float] = []
        self._answered = answered
        self._began = trio.current_time()
        monkeypatch.setattr(trio, "open_tcp_stream", self._open)

    async def _open(self, host: str, port: int) -> tuple[str, int]:
        self.tries_at.append(trio.current_time() - self._began)
        if len(self.tries_at) == self._answered:
            await trio.lowlevel.checkpoint()
            return host, port
        await trio.sleep_forever()
        raise AssertionError


async def test_a_connection_that_nobody_answers_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """More and more patiently, as a name may be resolved slowly."""
    network = DeadNetwork(monkeypatch, answered=4)
    assert await dial("wss://server/rtc") == ("server", 443)  # type: ignore[comparison-overlap]
    assert network.tries_at == pytest.approx([0, 1, 3, 7])


async def test_an_attempt_to_come_back_does_not_wait_long_for_nobody(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    network = DeadNetwork(monkeypatch, answered=None)
    request = SignalRequest("ws://server", "/rtc", {}, "token")
    async with trio.open_nursery() as nursery:
        with pytest.raises(lk.ConnectError, match="nobody accepted a connection in 3 s") as caught:
            await request.make(nursery, None, dial_timeout_s=3)
    assert caught.value.reason is lk.ConnectErrorReason.UNREACHABLE
    assert not request.is_answered
    assert not request.is_sent
    assert network.tries_at == pytest.approx([0, 1])

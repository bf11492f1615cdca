"""Remote procedure calls between clients of ours, by way of both servers."""

from __future__ import annotations

import contextvars
import logging
import os
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.support import room_service, secrecy
from trio_livekit import RpcErrorCode as Code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.servers import EmbeddedServer, RealServer, ServerUnderTest

    Handler = Callable[[lk.RpcInvocation], Awaitable[str]]

IN_FLIGHT = int(os.environ.get("TRIO_LIVEKIT_CALLS", "1000"))
"""On request, ten thousand."""

ANSWER_S = 20.0
"""However busy the machine is."""


async def call(room: lk.Room, method: str = "echo", payload: str = "", *, to: str = "bob", timeout: float = 15) -> str:
    with trio.fail_after(ANSWER_S):
        return await room.perform_rpc(destination_identity=to, method=method, payload=payload, response_timeout=timeout)


async def failure(room: lk.Room, method: str = "echo", payload: str = "", *, to: str = "bob") -> lk.RpcError:
    with pytest.raises(lk.RpcError) as caught:
        await call(room, method, payload, to=to)
    return caught.value


async def echo(invocation: lk.RpcInvocation) -> str:
    return invocation.payload


@asynccontextmanager
async def hanging(room: lk.Room, method: str = "hang") -> AsyncIterator[trio.MemoryReceiveChannel[str]]:
    """Serve a method that never ends by itself; says what it is called with, and when it was cancelled."""
    send, receive = trio.open_memory_channel[str](100)

    async def hang(invocation: lk.RpcInvocation) -> str:
        send.send_nowait(invocation.payload)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.02)
            send.send_nowait("cancelled")
            raise

    async with room.register_rpc_method(method, hang):
        yield receive


# --- results and failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["", "text", "ü" * 7680, "\0 機器 🤖"], ids=["empty", "short", "long", "odd"])
async def test_a_result_comes_back(pair: tuple[lk.Room, lk.Room], payload: str) -> None:
    alice, bob = pair
    async with bob.register_rpc_method("echo", echo):
        assert await call(alice, payload=payload) == payload


async def test_both_call_each_other_from_within_handlers(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair

    async def ask_back(invocation: lk.RpcInvocation) -> str:
        return "bob says " + await call(bob, to=invocation.caller_identity, payload=invocation.payload)

    async with alice.register_rpc_method("echo", echo), bob.register_rpc_method("ask", ask_back):
        assert await call(alice, "ask", "hello") == "bob says hello"


async def test_a_handler_is_told_of_its_call(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    seen: list[lk.RpcInvocation] = []

    async def look(invocation: lk.RpcInvocation) -> str:
        seen.append(invocation)
        return ""

    async with bob.register_rpc_method("look", look):
        await call(alice, "look", "payload", timeout=12.0)
        await call(alice, "look", "payload")
    first, second = seen
    assert (first.caller_identity, first.method, first.payload) == ("alice", "look", "payload")
    assert first.request_id != second.request_id
    assert 4.0 < first.response_timeout <= 5.0  # 7 seconds are for the way there and back
    assert "payload=" not in repr(first)


async def test_a_method_that_is_not_served(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    error = await failure(alice)
    assert (error.code, error.message, error.executed) == (1400, "Method not supported at destination", False)
    async with bob.register_rpc_method("echo", echo):
        await call(alice)
    assert (await failure(alice)).code == Code.UNSUPPORTED_METHOD


async def test_an_error_of_the_application_arrives_as_it_is(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair

    async def refuse(invocation: lk.RpcInvocation) -> str:
        raise lk.RpcError(101, "the gripper is jammed", '{"force": 12}')

    async with bob.register_rpc_method("grip", refuse):
        error = await failure(alice, "grip")
    assert (error.code, error.message, error.data) == (101, "the gripper is jammed", '{"force": 12}')
    assert error.executed is True
    assert str(error) == "the gripper is jammed (101)"


@pytest.mark.parametrize("how", ["exception", "group", "not text", "no unicode"])
async def test_other_exceptions_stay_here(
    pair: tuple[lk.Room, lk.Room], caplog: pytest.LogCaptureFixture, how: str
) -> None:
    alice, bob = pair

    async def fail(invocation: lk.RpcInvocation) -> str:
        if how == "exception":
            raise KeyError("a secret")
        if how == "group":
            async with trio.open_nursery():
                raise lk.RpcError(101, "a secret")
        return "a secret \udc80" if how == "no unicode" else b"a secret"  # type: ignore[return-value]

    async with bob.register_rpc_method("fail", fail), bob.register_rpc_method("echo", echo):
        error = await failure(alice, "fail")
        assert (error.code, error.message, error.data) == (1500, "Application error in method handler", "")
        assert error.executed is True
        assert await call(alice, payload="still here") == "still here"
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.getMessage() == "the handler of the method 'fail' failed"
    assert record.exc_info
    handlers = [one for one in logging.getLogger("trio_livekit").handlers if not isinstance(one, secrecy.Watch)]
    assert not handlers  # so that Python shows it where no logging is configured


@pytest.mark.parametrize(
    "error",
    [
        lk.RpcError(101, "too heavy", {"kg": 20}),  # type: ignore[arg-type]
        lk.RpcError(101, None),  # type: ignore[arg-type]
        lk.RpcError("101", "too heavy"),  # type: ignore[arg-type]
    ],
)
async def test_an_error_that_cannot_be_sent(
    pair: tuple[lk.Room, lk.Room], caplog: pytest.LogCaptureFixture, error: lk.RpcError
) -> None:
    """It ends its call, and nothing else."""

    async def fail(_invocation: lk.RpcInvocation) -> str:
        raise error

    alice, bob = pair
    async with bob.register_rpc_method("fail", fail), bob.register_rpc_method("echo", echo):
        assert (await failure(alice, "fail")).code == Code.APPLICATION_ERROR
        assert await call(alice, payload="still here") == "still here"
    assert "an RpcError that cannot be sent" in caplog.text


async def test_a_handler_that_is_not_async(pair: tuple[lk.Room, lk.Room], caplog: pytest.LogCaptureFixture) -> None:
    """A plain function may return what can be awaited; that it does not shows when it is called."""
    alice, bob = pair

    async def yields(invocation: lk.RpcInvocation) -> AsyncIterator[str]:
        yield invocation.payload

    for wrong, words in (("echo", "not str"), (yields, "yields")):
        with pytest.raises(TypeError, match=words):
            async with bob.register_rpc_method("wrong", wrong):  # type: ignore[arg-type]
                pass
    async with (
        bob.register_rpc_method("plain", lambda call: call.payload),  # type: ignore[arg-type,return-value]
        bob.register_rpc_method("echo", lambda call: echo(call)),
    ):
        assert (await failure(alice, "plain")).message == "Application error in method handler"
        assert await call(alice, payload="awaited") == "awaited"
    assert "the handler returned str, which cannot be awaited: make it an async def" in caplog.text


async def test_that_some_other_handler_did_not_run_is_not_passed_on(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair

    async def ask_back(invocation: lk.RpcInvocation) -> str:
        return await call(bob, "not served", to="alice")

    async with bob.register_rpc_method("ask", ask_back):
        error = await failure(alice, "ask")
    assert (error.code, error.executed) == (Code.APPLICATION_ERROR, True)


async def test_nobody_calls_himself(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, _ = pair
    async with alice.register_rpc_method("echo", echo):
        error = await failure(alice, to="alice")
    assert (error.code, error.executed) == (Code.RECIPIENT_NOT_FOUND, False)


async def test_arguments_are_checked(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, _ = pair
    for method in ("", "x" * 65, "ü" * 33):
        with pytest.raises(ValueError, match="64 bytes"):
            await call(alice, method)
        with pytest.raises(ValueError, match="64 bytes"):
            async with alice.register_rpc_method(method, echo):
                pass
    with pytest.raises(ValueError, match="seconds"):
        await call(alice, timeout=0)
    with pytest.raises(TypeError, match="bytes"):
        await call(alice, payload=b"x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        async with alice.register_rpc_method("echo", echo, max_concurrent_calls=0):
            pass
    async with alice.register_rpc_method("echo", echo):
        with pytest.raises(ValueError, match="already"):
            async with alice.register_rpc_method("echo", echo):
                pass


# --- the two forms ----------------------------------------------------------------------------------------------------


async def acquaint(alice: lk.Room, bob: lk.Room) -> None:
    """Let each know what the other can do; a livekit-server takes up to 3 seconds to tell."""
    with trio.fail_after(10):
        await alice.wait_for_participant("bob")
        await bob.wait_for_participant("alice")


async def test_payloads_of_any_size(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    await acquaint(alice, bob)
    noise = "".join(random.choices("abcdefghijklmnopqrstuvwxyzäöü機🤖", k=200_000))  # not to be compressed to nothing
    async with bob.register_rpc_method("echo", echo):
        assert await call(alice, payload=noise) == noise
        assert await call(alice, payload="short") == "short"


async def test_errors_of_calls_that_are_streams(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    await acquaint(alice, bob)

    async def refuse(invocation: lk.RpcInvocation) -> str:
        raise lk.RpcError(101, "no", "data")

    error = await failure(alice)
    assert (error.code, error.executed) == (Code.UNSUPPORTED_METHOD, False)
    async with bob.register_rpc_method("echo", refuse):
        error = await failure(alice, payload="x" * 100_000)
    assert (error.code, error.message, error.data, error.executed) == (101, "no", "data", True)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that take no text streams as calls."""
    from trio_livekit._session import parameters

    monkeypatch.setattr(parameters, "_CLIENT_INFO", replace(parameters._CLIENT_INFO, client_protocol=0))


@pytest.mark.usefixtures("plain")
async def test_packets_have_a_limit(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    await acquaint(alice, bob)

    async def repeat(invocation: lk.RpcInvocation) -> str:
        return "x" * int(invocation.payload)

    async with bob.register_rpc_method("echo", echo), bob.register_rpc_method("repeat", repeat):
        assert await call(alice, payload="x" * 15_360) == "x" * 15_360
        error = await failure(alice, payload="x" * 15_361)
        assert (error.code, error.executed) == (Code.REQUEST_PAYLOAD_TOO_LARGE, False)
        assert await call(alice, "repeat", "15360") == "x" * 15_360
        error = await failure(alice, "repeat", "15361")
        assert (error.code, error.executed) == (Code.RESPONSE_PAYLOAD_TOO_LARGE, True)


async def test_a_backend_calls_through_the_api_of_the_server(real_server: RealServer, room_name: str) -> None:
    """Its calls are packets from somebody who is not in the room."""
    server = real_server
    seen: list[lk.RpcInvocation] = []

    async def greet(invocation: lk.RpcInvocation) -> str:
        seen.append(invocation)
        return f"hello {invocation.payload}"

    async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.register_rpc_method("greet", greet):
        with trio.fail_after(ANSWER_S):
            said = await room_service.call(
                server.process,
                "PerformRpc",
                room=room_name,
                destination_identity="bob",
                method="greet",
                payload="bob",
                response_timeout_ms=15_000,
            )
        assert said["payload"] == "hello bob"
        assert seen[0].caller_identity not in bob.participants


# --- many at once -----------------------------------------------------------------------------------------------------


async def in_flight_together(alice: lk.Room, bob: lk.Room, count: int) -> None:
    """All calls are being handled at the same time, and none gets the result of another."""
    all_there, waiting = trio.Event(), 0
    finished: list[str] = []

    async def serve(invocation: lk.RpcInvocation) -> str:
        nonlocal waiting
        waiting += 1
        if waiting == count:
            all_there.set()
        await all_there.wait()
        for _ in range(random.randrange(5)):
            await trio.lowlevel.checkpoint()
        finished.append(invocation.payload)
        return f"result of {invocation.payload}"

    async def one(number: int) -> None:
        result = await alice.perform_rpc(
            destination_identity="bob", method="serve", payload=f"{number}", response_timeout=300
        )
        assert result == f"result of {number}"

    async with bob.register_rpc_method("serve", serve, max_concurrent_calls=count):
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(one, number)
    assert len(finished) == count
    assert finished != sorted(finished, key=int)


async def test_calls_in_flight_are_not_mixed_up(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
    ):
        await in_flight_together(alice, bob, IN_FLIGHT)


async def test_calls_in_flight_are_not_mixed_up_by_either_server(pair: tuple[lk.Room, lk.Room]) -> None:
    await in_flight_together(*pair, 300)


async def test_calls_at_once_are_bounded(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    free = trio.Event()

    async def wait(invocation: lk.RpcInvocation) -> str:
        await free.wait()
        return invocation.payload

    outcomes: list[str | int] = []

    async def one(number: int) -> None:
        try:
            outcomes.append(await call(alice, "wait", f"{number}"))
        except lk.RpcError as error:
            outcomes.append(error.code if error.executed is False else "wrong")
            free.set()

    async with bob.register_rpc_method("wait", wait, max_concurrent_calls=3), trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(one, number)
            await trio.lowlevel.checkpoint()
    assert outcomes[0] == Code.TOO_MANY_CALLS
    assert len(outcomes[1:]) == 3
    assert all(isinstance(outcome, str) for outcome in outcomes[1:])


# --- scopes -----------------------------------------------------------------------------------------------------------


async def test_leaving_the_block_ends_its_handlers(pair: tuple[lk.Room, lk.Room]) -> None:
    """The caller is told, and the block waits for what a handler does when it is cancelled."""
    alice, bob = pair
    errors: list[lk.RpcError] = []

    async def hang() -> None:
        errors.append(await failure(alice, "hang"))

    async with trio.open_nursery() as nursery:
        async with hanging(bob) as log:
            nursery.start_soon(hang)
            nursery.start_soon(hang)
            await log.receive()
            await log.receive()
        assert log.receive_nowait() == log.receive_nowait() == "cancelled"
    assert [(error.code, error.executed) for error in errors] == [(Code.APPLICATION_ERROR, True)] * 2


async def test_cancelling_the_block_ends_its_handlers(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failure, alice, "hang")
        with trio.CancelScope() as scope:
            async with hanging(bob) as log:
                await log.receive()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert log.receive_nowait() == "cancelled"


async def test_an_error_in_the_block_comes_out_as_it_is(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    mine = KeyError("mine")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failure, alice, "hang")
        with pytest.raises(KeyError) as caught:
            async with hanging(bob) as log:
                await log.receive()
                raise mine
        assert caught.value is mine


async def test_a_handler_may_end_the_block_that_serves_it(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    enough = trio.Event()

    async def stop(invocation: lk.RpcInvocation) -> str:
        enough.set()
        return "stopped"

    async def serve() -> None:
        async with bob.register_rpc_method("stop", stop):
            await enough.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        assert await call(alice, "stop") == "stopped"


async def test_handlers_have_the_context_of_their_registration(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    async def say(invocation: lk.RpcInvocation) -> str:
        before = who.get()
        who.set(invocation.payload)
        return before

    who.set("the one who registered")
    async with bob.register_rpc_method("say", say):
        assert await call(alice, "say", "somebody else") == "the one who registered"
        assert await call(alice, "say") == "the one who registered"


async def test_a_caller_that_gives_up_leaves_nothing(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    async with hanging(bob) as log, bob.register_rpc_method("echo", echo):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, alice, "hang")
                await log.receive()
                scope.cancel()
        assert alice._session.rpc.calling.in_flight == 0
        assert await call(alice, payload="and on") == "and on"


# --- the ends of rooms ------------------------------------------------------------------------------------------------


async def test_a_recipient_that_leaves(server: ServerUnderTest, room_name: str) -> None:
    """Its callers are told, by it or by the server, at once."""
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        errors: list[lk.RpcError] = []

        async def hang() -> None:
            errors.append(await failure(alice, "hang"))

        async with trio.open_nursery() as nursery:
            async with lk.connect(server.url, server.token("bob", room_name)) as bob:
                async with hanging(bob) as log:
                    await bob.wait_for_participant("alice")
                    nursery.start_soon(hang)
                    await log.receive()
        (error,) = errors
        assert error.code in (Code.APPLICATION_ERROR, Code.RECIPIENT_DISCONNECTED)
        assert error.executed is not False


async def test_a_recipient_that_is_taken_away(server: ServerUnderTest, room_name: str) -> None:
    errors: list[lk.RpcError] = []

    async def hang(alice: lk.Room) -> None:
        errors.append(await failure(alice, "hang"))

    async with lk.connect(server.url, server.token("alice", room_name)) as alice, trio.open_nursery() as nursery:
        with pytest.raises(lk.RoomDisconnected):
            async with lk.connect(server.url, server.token("bob", room_name)) as bob, hanging(bob) as log:
                nursery.start_soon(hang, alice)
                await log.receive()
                await alice.wait_for_participant("bob")  # a participant nobody knew of is not seen to leave
                await server.remove_participant(room_name, "bob")
                await trio.sleep_forever()
        assert log.receive_nowait() == "cancelled"
    assert [(error.code, error.executed) for error in errors] == [(Code.RECIPIENT_DISCONNECTED, None)]


async def test_a_borrower_hears_that_the_room_was_left(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        served, called = trio.Event(), trio.Event()

        async def serve(room: lk.Room, entered: trio.Event) -> None:
            with pytest.raises(trio.ClosedResourceError, match="the room was left"):
                async with hanging(room):
                    entered.set()
                    await trio.sleep_forever()
            served.set()

        async def hang(room: lk.Room) -> None:
            with pytest.raises(trio.ClosedResourceError, match="the room was left"):
                await call(room, "hang", to="alice")
            called.set()

        async with trio.open_nursery() as nursery, hanging(alice) as log:
            async with lk.connect(server.url, server.token("bob", room_name)) as bob:
                entered = trio.Event()
                nursery.start_soon(serve, bob, entered)
                nursery.start_soon(hang, bob)
                await entered.wait()
                await log.receive()
            with trio.fail_after(ANSWER_S):
                await served.wait()
                await called.wait()
        with pytest.raises(trio.ClosedResourceError):
            await call(bob, to="alice")
        with pytest.raises(trio.ClosedResourceError):
            async with bob.register_rpc_method("echo", echo):
                pass


async def test_an_interrupt_in_a_handler_ends_the_program(embedded_server: EmbeddedServer, room_name: str) -> None:
    """And nothing else that a handler raises ends more than its call."""
    server = embedded_server

    async def interrupt(invocation: lk.RpcInvocation) -> str:
        raise KeyboardInterrupt

    async with lk.connect(server.url, server.token("alice", room_name)) as alice, trio.open_nursery() as nursery:
        with pytest.raises(KeyboardInterrupt):
            async with lk.connect(server.url, server.token("bob", room_name)) as bob:
                async with bob.register_rpc_method("interrupt", interrupt):
                    nursery.start_soon(failure, alice, "interrupt")
                    await trio.sleep_forever()


async def test_a_cancellation_from_elsewhere_is_a_failure(
    embedded_server: EmbeddedServer, room_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that raises the ``Cancelled`` of some other scope does not confuse the room."""
    server = embedded_server
    stolen: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            stolen.append(cancelled)
            raise

    async def misuse(invocation: lk.RpcInvocation) -> str:
        raise stolen[0]

    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        bob.register_rpc_method("misuse", misuse),
        bob.register_rpc_method("echo", echo),
    ):
        assert (await failure(alice, "misuse")).code == Code.APPLICATION_ERROR
        assert await call(alice, payload="all is well") == "all is well"
    stolen.clear()
    assert "the handler of the method 'misuse' failed" in caplog.text

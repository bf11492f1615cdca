"""Somebody in the room who answers for others, answers too much, or asks too often (S28)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.support.waiting import wait_until
from trio_livekit._sansio.packets.messages import (
    DataPacket,
    RpcAck,
    RpcFault,
    RpcRequest,
    RpcResponse,
    StreamHeader,
    TextHeader,
)
from trio_livekit._sansio.rpc.attributes import REQUEST_TOPIC, RESPONSE_TOPIC, request_attributes, response_attributes
from trio_livekit._sansio.rpc.faults import MAX_MESSAGE_BYTES, MAX_PACKET_PAYLOAD_BYTES, clipped
from trio_livekit.room import DEFAULT_CONCURRENT_CALLS
from trio_livekit.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Rooms = tuple[lk.Room, lk.Room, lk.Room]


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    """Alice calls bob, and mallory is there as well."""
    async with (
        serve() as server,
        lk.connect(server.url, server.token("alice", "room")) as alice,
        lk.connect(server.url, server.token("bob", "room")) as bob,
        lk.connect(server.url, server.token("mallory", "room")) as mallory,
    ):
        yield alice, bob, mallory


async def test_only_who_was_called_can_answer(rooms: Rooms) -> None:
    """Even to somebody who knows the name of the call."""
    alice, bob, mallory = rooms
    packets, streams = mallory._session.packets, mallory._session.streams

    async def answer(invocation: lk.RpcInvocation) -> str:
        name = invocation.request_id
        await packets.send_reliable(RpcAck(name), ("alice",))
        await packets.send_reliable(RpcResponse(name, "forged"), ("alice",))
        await packets.send_reliable(RpcResponse(name, fault=RpcFault(1, "forged")), ("alice",))
        header = StreamHeader("s", 0, RESPONSE_TOPIC, "text/plain", 6, response_attributes(name), TextHeader())
        await streams.send(header, b"forged", ("alice",))
        receipt = await packets.send_reliable(RpcAck("the last word"), ("alice",))
        await receipt.wait_acked()
        return "genuine"

    async with bob.register_rpc_method("ask", answer):
        with trio.fail_after(10):
            assert await alice.perform_rpc(destination_identity="bob", method="ask", payload="") == "genuine"


async def test_a_flood_of_requests_runs_no_more_than_is_allowed(rooms: Rooms) -> None:
    _, bob, mallory = rooms
    most = running = 0
    asked = 300
    codes: list[int] = []
    all_answered = trio.Event()

    def count(packet: object, _size: int) -> bool:
        codes.append(packet.value.fault.code)  # type: ignore[attr-defined]
        if len(codes) == asked - 5:
            all_answered.set()
        return True

    async def hang(invocation: lk.RpcInvocation) -> str:
        nonlocal most, running
        running += 1
        most = max(most, running)
        try:
            await trio.sleep_forever()
        finally:
            running -= 1

    mallory._session.packets.incoming.route((RpcResponse,), count)  # type: ignore[arg-type]
    async with bob.register_rpc_method("hang", hang, max_concurrent_calls=5):
        for number in range(asked):
            await mallory._session.packets.send_reliable(RpcRequest(f"{number}", "hang", "", 1000), ("bob",))
        with trio.fail_after(10):
            await all_answered.wait()
        assert most == running == 5
        assert set(codes) == {lk.RpcErrorCode.TOO_MANY_CALLS}
    assert running == 0


def test_the_limits_are_what_they_are_said_to_be() -> None:
    assert DEFAULT_CONCURRENT_CALLS == 64
    assert MAX_PACKET_PAYLOAD_BYTES == 15 << 10
    assert MAX_MESSAGE_BYTES == 256
    assert len(clipped(1, "é" * 200, "").message.encode()) == 256


async def test_one_request_runs_once_however_often_it_comes(rooms: Rooms) -> None:
    _, bob, mallory = rooms
    ran: list[str] = []

    async def note(invocation: lk.RpcInvocation) -> str:
        ran.append(invocation.request_id)
        return ""

    async with bob.register_rpc_method("note", note):
        for name in ("same", "same", "same", "", "x" * 300, "last"):
            await mallory._session.packets.send_reliable(RpcRequest(name, "note", "", 1000), ("bob",))
        await wait_until(lambda: "last" in ran)
    assert ran == ["same", "last"]


async def test_a_long_request_is_acknowledged_when_it_begins(rooms: Rooms) -> None:
    """And run when it is complete; one that never is, or is too long, is not run."""
    _, bob, mallory = rooms
    got: list[object] = []
    acked, answered = trio.Event(), trio.Event()

    def look(packet: DataPacket, _size: int) -> bool:
        got.append(packet.value)
        (acked if isinstance(packet.value, RpcAck) else answered).set()
        return True

    async def size(invocation: lk.RpcInvocation) -> str:
        raise lk.RpcError(1, f"{len(invocation.payload)}")

    def header(name: str) -> StreamHeader:
        attributes = request_attributes(RpcRequest(name, "size", "", 1000, 2))
        return StreamHeader(name, 0, REQUEST_TOPIC, "text/plain", None, attributes, TextHeader())

    mallory._session.packets.incoming.route((RpcResponse, RpcAck), look)
    async with bob.register_rpc_method("size", size):
        with trio.fail_after(10):
            async with mallory._session.streams.open(header("whole"), ("bob",)) as writer:
                await acked.wait()
                await writer.write(b"x" * 20_000)
            await answered.wait()
            with pytest.raises(KeyError):
                async with mallory._session.streams.open(header("broken"), ("bob",)) as writer:
                    await writer.write(b"x" * 20_000)
                    raise KeyError
            answered = trio.Event()
            await mallory._session.packets.send_reliable(RpcRequest("last", "size", "", 1000), ("bob",))
            await answered.wait()
    broken = RpcAck("broken")
    assert [value for value in got if value != broken] == [
        RpcAck("whole"),
        RpcResponse("whole", fault=RpcFault(1, "20000")),
        RpcAck("last"),
        RpcResponse("last", fault=RpcFault(1, "0")),
    ]
    assert bob._session.rpc._acked == set()

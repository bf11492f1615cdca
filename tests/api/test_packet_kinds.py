"""Data packets of every kind through both servers, below the public API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trio_livekit._sansio.packets import messages as p

if TYPE_CHECKING:
    import trio_livekit as lk

VALUES: list[p.Value] = [
    p.UserPacket(b"payload", "topic", bytes(range(16))),
    p.ChatMessage("id", 1, "hello"),
    p.SipDtmf(11, "#"),
    p.RpcRequest("id", "method", "payload", 8000),
    p.RpcAck("id"),
    p.RpcResponse("id", "payload"),
    p.StreamHeader("id", 1, "topic", "text/plain", text=p.TextHeader()),
    p.StreamChunk("id", 0, b"content"),
    p.StreamTrailer("id"),
]


async def test_every_kind_arrives(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    send_packet, packets = trio.open_memory_channel[p.DataPacket](100)
    bob._session.packets.incoming.route(
        tuple(map(type, VALUES)), lambda packet, _: send_packet.send_nowait(packet) is None
    )
    receipts = [await alice._session.packets.send_reliable(value) for value in VALUES]
    receipts.append(alice._session.packets.send_reliable_nowait(VALUES[-1], ["bob", "nobody"]))
    with trio.fail_after(5):
        got = [await packets.receive() for _ in receipts]
        for receipt in receipts:
            await receipt.wait_acked()
    assert [packet.value for packet in got] == [*VALUES, VALUES[-1]]
    sid = alice.local_participant.sid
    assert {(packet.participant_identity, packet.participant_sid) for packet in got} == {("alice", sid)}
    assert [packet.sequence for packet in got] == list(range(1, len(got) + 1))


async def test_lossy_packets_arrive(pair: tuple[lk.Room, lk.Room]) -> None:
    alice, bob = pair
    send_packet, packets = trio.open_memory_channel[p.DataPacket](1000)
    bob._session.packets.incoming.route((p.UserPacket,), lambda packet, _: send_packet.send_nowait(packet) is None)
    with trio.fail_after(5):
        while not packets.statistics().current_buffer_used:
            alice._session.packets.send_lossy(p.UserPacket(b"x"))
            await trio.sleep(0.01)
    packet = await packets.receive()
    assert packet == p.DataPacket(p.UserPacket(b"x"), "alice", alice.local_participant.sid)


@pytest.mark.parametrize("size", [1, 15_000, 63_000])
async def test_many_arrive_in_order(pair: tuple[lk.Room, lk.Room], size: int) -> None:
    """More than the receiver's window, which its reader holds up for a while."""
    alice, bob = pair
    count = min(300, 5_000_000 // size)
    held: list[tuple[bytes, int]] = []
    arrived = trio.Event()

    def hold(packet: p.DataPacket, size: int) -> bool:
        assert isinstance(packet.value, p.StreamChunk)
        held.append((packet.value.content, size))
        arrived.set()
        return False

    bob._session.packets.incoming.route((p.StreamChunk,), hold)
    numbers: list[int] = []

    async def read() -> None:
        nonlocal arrived
        await trio.sleep(0.2)
        while len(numbers) < count:
            await arrived.wait()
            arrived = trio.Event()
            while held:
                content, size = held.pop(0)
                numbers.append(int.from_bytes(content[:4], "big"))
                bob._session.packets.incoming.consume(size)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for number in range(count):
                content = number.to_bytes(4, "big").ljust(size)
                receipt = await alice._session.packets.send_reliable(p.StreamChunk("id", number, content))
            await receipt.wait_acked()
    assert numbers == list(range(count))

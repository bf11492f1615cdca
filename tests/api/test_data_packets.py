"""Data packets between participants, on both servers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.leaks import nothing_left_behind
from tests.support.old_server import without_v1
from tests.support.rooms import next_event
from tests.support.waiting import wait_until
from trio_livekit import events as ev
from trio_livekit._sansio import neglect
from trio_livekit._session import user_packets

if TYPE_CHECKING:
    from tests.support.servers import EmbeddedServer, RealServer, ServerUnderTest

Pair = tuple[lk.Room, lk.Room]


async def take(packets: lk.DataPackets, count: int) -> list[bytes]:
    with trio.fail_after(10):
        return [(await packets.receive()).payload for _ in range(count)]


# --- reliable ---------------------------------------------------------------------------------------------------------


async def test_bytes_and_text(pair: Pair) -> None:
    alice, bob = pair
    async with bob.data_packets() as packets:
        for payload in (b"bytes", bytearray(b"array"), memoryview(b"view"), "text \N{PILE OF POO}", b""):
            receipt = await alice.publish_data(payload, topic="things")
        with trio.fail_after(5):
            await receipt.wait_acked()
            first = await packets.receive()
        assert first == lk.DataPacket(b"bytes", "things", "alice", bob.participants.get("alice"))
        assert await take(packets, 3) == [b"array", b"view", "text \N{PILE OF POO}".encode()]
        with trio.fail_after(5):
            assert (await packets.receive()).text() == ""
    assert receipt.is_acked
    assert receipt.recipients_left == ()


async def test_a_sender_is_told_with_its_participant(pair: Pair) -> None:
    alice, bob = pair  # bob joined later, and was told of alice
    async with alice.data_packets() as to_alice, bob.data_packets() as to_bob:
        await bob.publish_data(b"x")
        await alice.publish_data(b"y")
        with trio.fail_after(5):
            first, second = await to_alice.receive(), await to_bob.receive()
        assert first.sender_identity == "bob"
        assert first.participant is alice.participants.get("bob")  # on a livekit-server nobody, for now
        assert second.participant is bob.participants["alice"]


async def test_readers_choose(pair: Pair) -> None:
    alice, bob = pair
    async with (
        bob.data_packets() as everything,
        bob.data_packets("b") as of_topic_b,
        bob.data_packets(sender_identity="nobody") as of_nobody,
        bob.data_packets("a", sender_identity="alice") as of_alice,
    ):
        for topic in ("a", "b", "a", ""):
            await alice.publish_data(topic, topic=topic)
        assert await take(everything, 4) == [b"a", b"b", b"a", b""]
        assert await take(of_topic_b, 1) == [b"b"]
        assert await take(of_alice, 2) == [b"a", b"a"]
        for packets in (of_topic_b, of_nobody, of_alice):
            with pytest.raises(trio.WouldBlock):
                packets.receive_nowait()


async def test_to_some(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("ann", room_name)) as ann,
        lk.connect(server.url, server.token("ben", room_name)) as ben,
        lk.connect(server.url, server.token("cyd", room_name)) as cyd,
        ann.data_packets() as to_ann,
        ben.data_packets() as to_ben,
        cyd.data_packets() as to_cyd,
    ):
        await cyd.publish_data("to ann", destination_identities=["ann"])
        await cyd.publish_data("to both", destination_identities=("ann", "ben", "ann"))
        await cyd.publish_data("to all")
        assert await take(to_ann, 3) == [b"to ann", b"to both", b"to all"]
        assert await take(to_ben, 2) == [b"to both", b"to all"]
        with pytest.raises(trio.WouldBlock):
            to_cyd.receive_nowait()


async def test_right_after_joining(server: ServerUnderTest, room_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent as soon as somebody is in the room is not lost, though its reader begins a little later."""
    monkeypatch.setattr("trio_livekit._session.user_packets._EARLY_S", 60.0)
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        async with trio.open_nursery() as nursery:

            async def publish() -> None:
                for number in range(50):
                    await alice.publish_data(str(number))
                    await trio.sleep(0.002)

            async with lk.connect(server.url, server.token("bob", room_name)) as bob:
                nursery.start_soon(publish)
                await trio.sleep(0.05)
                async with bob.data_packets() as packets:
                    assert await take(packets, 50) == [str(number).encode() for number in range(50)]
                async with bob.data_packets() as packets:
                    await trio.testing.wait_all_tasks_blocked()
                    assert len([packets.receive_nowait() for _ in range(50)]) == 50  # it is still early


async def test_the_last_word_arrives(server: ServerUnderTest, room_name: str) -> None:
    """A block that ends normally waits for the acknowledgement of what was sent in it."""
    async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.data_packets() as packets:
        for _ in range(3):
            async with lk.connect(server.url, server.token("alice", room_name)) as alice:
                receipt = await alice.publish_data(bytes(60_000))
                last = await alice.publish_data("goodbye")
            assert receipt.is_acked
            assert last.is_acked
            await last.wait_acked()
            assert await take(packets, 2) == [bytes(60_000), b"goodbye"]


async def test_a_slow_reader_holds_up_the_server(pair: Pair) -> None:
    """More than its window is not in its memory, and nothing is lost."""
    alice, bob = pair
    count, size = 100, 60_000
    async with bob.data_packets("large") as packets, bob.data_packets("large") as others:
        async with trio.open_nursery() as nursery:

            async def publish() -> None:
                for number in range(count):
                    await alice.publish_data(number.to_bytes(2, "big").ljust(size), topic="large")

            nursery.start_soon(publish)
            await wait_until(lambda: packets.statistics().buffered * size >= 4_000_000)
            await trio.sleep(0.2)
            assert packets.statistics().buffered * size < 4.5 * 2**20
            with trio.fail_after(30):
                for number in range(count):
                    for reader in (packets, others):
                        assert (await reader.receive()).payload[:2] == number.to_bytes(2, "big")


async def test_two_peer_connections(server: ServerUnderTest, room_name: str) -> None:
    """What comes on the second one is acknowledged there."""
    count, size = 30, 60_000
    async with (
        without_v1(server.url) as old_url,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(old_url, server.token("alice", room_name)) as alice,
        bob.data_packets() as to_bob,
        alice.data_packets() as to_alice,
    ):
        async with trio.open_nursery() as nursery:

            async def publish(room: lk.Room) -> None:
                for number in range(count):
                    receipt = await room.publish_data(number.to_bytes(2, "big").ljust(size))
                await receipt.wait_acked()

            with trio.fail_after(30):
                nursery.start_soon(publish, alice)
                nursery.start_soon(publish, bob)
                for packets in (to_bob, to_alice):
                    for number in range(count):
                        assert (await packets.receive()).payload[:2] == number.to_bytes(2, "big")


async def test_a_closed_reader_holds_nothing_up(pair: Pair) -> None:
    alice, bob = pair
    async with bob.data_packets("small") as small:
        async with bob.data_packets("large") as closed, bob.data_packets("large"):
            for number in range(100):
                await alice.publish_data(bytes(60_000), topic="large")
                await alice.publish_data(str(number), topic="small")
                if number == 20:
                    await closed.aclose()
                    with pytest.raises(trio.ClosedResourceError):
                        await closed.receive()
        assert await take(small, 100) == [str(number).encode() for number in range(100)]


async def test_the_end_of_a_reader(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        async with lk.connect(server.url, server.token("bob", room_name)) as bob:
            async with bob.data_packets() as packets:
                await alice.publish_data("x")
                await wait_until(lambda: packets.statistics().buffered)
                manager = bob.data_packets()
                late = await manager.__aenter__()
                assert late.statistics().received == 1
                await packets.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await packets.receive()
        assert await take(late, 1) == [b"x"]
        with pytest.raises(trio.EndOfChannel):
            await late.receive()
        await manager.__aexit__(None, None, None)
        with pytest.raises(trio.ClosedResourceError):
            await bob.publish_data("x")
        with pytest.raises(trio.ClosedResourceError):
            async with bob.data_packets():
                pytest.fail("entered")


# --- lossy ------------------------------------------------------------------------------------------------------------


async def test_lossy_packets(pair: Pair) -> None:
    alice, bob = pair
    async with bob.data_packets(buffer_size=3) as packets:
        with trio.fail_after(10):
            number = 0
            while packets.statistics().displaced < 5:
                assert await alice.publish_data(str(number), reliable=False, topic="x") is None
                number += 1
                await trio.sleep(0.002)
            statistics = packets.statistics()
            assert statistics.buffered == 3
            assert statistics.received == 3 + statistics.displaced
            packet = await packets.receive()
        assert packet == replace(packet, topic="x", sender_identity="alice", is_reliable=False)
        assert alice.packet_statistics().lossy_sent == number


@pytest.mark.parametrize("reliable", [True, False])
async def test_a_call_that_is_cancelled_has_sent_nothing(pair: Pair, reliable: bool) -> None:
    alice, _ = pair
    with trio.CancelScope() as scope:
        scope.cancel()
        await alice.publish_data("x", reliable=reliable)
    assert scope.cancelled_caught
    statistics = alice.packet_statistics()
    assert not statistics.lossy_sent + statistics.lossy_dropped + statistics.reliable_sent + statistics.reliable_waiting


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_too_large(pair: Pair) -> None:
    alice, bob = pair
    async with bob.data_packets() as packets:
        await alice.publish_data(bytes(63_900))
        for reliable in (True, False):
            with pytest.raises(lk.PayloadTooLarge) as error:
                await alice.publish_data(bytes(64_000), reliable=reliable)
            assert error.value.reason is lk.PublishDataErrorReason.TOO_LARGE
        await alice.publish_data(b"after")
        assert await take(packets, 2) == [bytes(63_900), b"after"]


async def test_not_permitted(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("mute", room_name, can_publish_data=False)) as mute:
        for reliable in (True, False):
            with pytest.raises(lk.PublishDataError) as error:
                await mute.publish_data(b"x", reliable=reliable)
            assert error.value.reason is lk.PublishDataErrorReason.NOT_ALLOWED


async def test_permission_that_is_revoked(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        await alice.publish_data(b"x")
        await server.revoke_publishing(room_name, "alice")
        with trio.fail_after(5), pytest.raises(lk.PublishDataError):
            while True:
                await alice.publish_data(b"x")
                await trio.sleep(0.01)


@pytest.mark.parametrize("arguments", [{"destination_identities": "bob"}, {"destination_identities": b"bob"}])
async def test_nonsense(pair: Pair, arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        await pair[0].publish_data(b"x", **arguments)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        await pair[0].send_chat_message("x", **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        async with pair[0].data_packets(buffer_size=0):
            pytest.fail("entered")


# --- other kinds ------------------------------------------------------------------------------------------------------


async def test_dtmf(pair: Pair) -> None:
    alice, bob = pair
    async with alice.events() as events:
        await bob.publish_dtmf(11, "#")
        await bob.publish_dtmf(3, "3", ["alice"])
        for code, digit in ((11, "#"), (3, "3")):
            event = await next_event(events, ev.DtmfReceived)
            assert event == ev.DtmfReceived(code, digit, "bob", alice.participants.get("bob"))
    for code, digit in ((1, "2"), (16, "E")):
        with pytest.raises(ValueError, match="no key"):
            await bob.publish_dtmf(code, digit)


async def test_chat(pair: Pair) -> None:
    alice, bob = pair
    async with alice.events() as events:
        said = await bob.send_chat_message("hello")
        edited = await bob.edit_chat_message(said, "hullo")
        assert (edited.id, edited.timestamp, edited.message) == (said.id, said.timestamp, "hullo")
        for message in (said, edited):
            event = await next_event(events, ev.ChatMessageReceived)
            assert event == ev.ChatMessageReceived(message, "bob", alice.participants.get("bob"))


SPOKEN = lk.Transcription("alice", "TR_x", (lk.TranscriptionSegment("id", "hello", 1, 2, True, "en"),))


async def test_transcriptions_of_agents(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("scribe", room_name, kind="agent", agent=True)) as scribe,
        alice.events() as events,
    ):
        await scribe.publish_transcription(SPOKEN)
        event = await next_event(events, ev.TranscriptionReceived)
        assert event == ev.TranscriptionReceived(SPOKEN, "scribe", alice.participants.get("scribe"))


async def test_transcriptions_of_others(pair: Pair) -> None:
    """They are not passed on; the server says nothing."""
    alice, bob = pair
    async with alice.events() as events:
        await bob.publish_transcription(SPOKEN)
        await bob.publish_dtmf(1, "1")
        while not isinstance(event := await events.receive(), ev.DtmfReceived):
            assert not isinstance(event, ev.TranscriptionReceived)


async def test_packets_of_the_server_itself(embedded_server: EmbeddedServer) -> None:
    server = embedded_server.server
    async with lk.connect(server.url, server.token("alice", "room")) as alice, alice.data_packets() as packets:
        server.send_data("room", b"x", topic="news")
        with trio.fail_after(5):
            assert await packets.receive() == lk.DataPacket(b"x", "news")


# --- leaving nothing --------------------------------------------------------------------------------------------------


async def test_nothing_is_left(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server.server
    async with nothing_left_behind():
        async with lk.connect(server.url, server.token("alice", room_name)) as alice:
            async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.data_packets() as packets:
                await alice.publish_data(b"x")
                await take(packets, 1)


async def test_checkpoints(pair: Pair) -> None:
    alice, bob = pair
    async with alice.data_packets() as packets:
        for reliable in (True, False):
            with trio.testing.assert_checkpoints():
                await bob.publish_data(b"x", reliable=reliable)
        receipt = await bob.publish_data(b"x")
        await receipt.wait_acked()
        with trio.testing.assert_checkpoints():
            await receipt.wait_acked()
        with trio.testing.assert_checkpoints():
            await packets.receive()
        with trio.testing.assert_checkpoints():
            await packets.aclose()


async def test_what_a_livekit_server_sends_itself(real_server: RealServer, room_name: str) -> None:
    """Its API takes data for a room; such packets have no sender."""
    from base64 import b64encode

    from tests.support import room_service

    async with (
        lk.connect(real_server.url, real_server.token("alice", room_name)) as alice,
        alice.data_packets() as packets,
    ):
        await room_service.call(
            real_server.process,
            "SendData",
            room=room_name,
            data=b64encode(b"x").decode(),
            topic="news",
            kind="RELIABLE",
            nonce=b64encode(bytes(range(16))).decode(),
        )
        with trio.fail_after(5):
            assert await packets.receive() == lk.DataPacket(b"x", "news")


# --- a reader that has stopped ----------------------------------------------------------------------------------------


async def test_a_reader_that_has_stopped_does_not_stop_the_others_for_ever(
    pair: tuple[lk.Room, lk.Room], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, ended with an error of its own, and what was held up goes on."""
    alice, bob = pair
    monkeypatch.setattr(neglect, "NEGLECTED_S", 0.2)
    monkeypatch.setattr(user_packets, "CHECK_S", 0.05)
    async with (
        bob.data_packets("big", unread_timeout=1.0) as stopped,
        bob.data_packets("small", sender_identity="alice", unread_timeout=0.3) as active,
    ):
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    assert [(await active.receive()).payload for _ in range(2)] == [b"before", b"after"]

                nursery.start_soon(read)
                await alice.publish_data("before", topic="small")
                for _ in range(150):  # twice as much as the window, and what is on the way to it
                    await alice.publish_data(bytes(60_000), topic="big")
                await alice.publish_data("after", topic="small")
        with pytest.raises(lk.NotRead) as error:
            await stopped.receive()
        with pytest.raises(lk.NotRead):
            stopped.receive_nowait()
        assert error.value.dropped * 60_000 >= 2 << 20
        assert bob.stats().packets.unread_bytes == 0
    [warning] = [record.getMessage() for record in caplog.records if "nobody has read" in record.getMessage()]
    assert "data packets of topic 'big'" in warning


async def test_a_slow_reader_is_waited_for(embedded_server: EmbeddedServer, room_name: str) -> None:
    """It slows down whoever sends, and gets everything."""
    server = embedded_server
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        bob.data_packets("big", unread_timeout=1.0) as packets,
        trio.open_nursery() as nursery,
    ):

        async def send() -> None:
            for number in range(80):
                await alice.publish_data(bytes([number]) * 60_000, topic="big")

        nursery.start_soon(send)
        with trio.fail_after(30):
            for number in range(80):
                await trio.sleep(0.01)
                assert (await packets.receive()).payload[:1] == bytes([number])

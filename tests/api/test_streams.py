"""Text and byte streams between two clients, through both kinds of server."""

from __future__ import annotations

import functools
import hashlib
import math
import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from trio.testing import assert_checkpoints

import trio_livekit as lk
from tests.support.servers import EmbeddedServer
from trio_livekit.server import Limits, serve

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import ServerUnderTest

pytestmark = pytest.mark.timeout(60)

Reason = lk.StreamErrorReason
Pair = tuple[lk.Room, lk.Room]


@pytest.fixture
async def friends(pair: Pair) -> Pair:
    """Alice and bob, who know of each other."""
    alice, bob = pair
    with trio.fail_after(10):
        async with bob.publish_data_track("here"):  # else livekit-server tells of bob when it pleases
            await alice.wait_for_participant("bob")
    return pair


async def expect_error(reader: lk.TextStreamReader | lk.ByteStreamReader) -> lk.StreamError:
    with pytest.raises(lk.StreamError) as error:
        async for _ in reader:
            pass
    return error.value


# --- what arrives -----------------------------------------------------------------------------------------------------


async def test_text_piece_by_piece(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.text_streams("chat") as streams:
            async with alice.open_text_stream("chat", attributes={"k": "v"}, is_generated=True) as writer:
                await writer.write("hel")
                reader = await streams.receive()
                assert await reader.receive() == "hel"
                await writer.send("lo €")
                assert await reader.receive() == "lo €"
                await writer.aclose({"more": "so"})
            assert [piece async for piece in reader] == []
            info = reader.info
            assert (info.sender_identity, info.topic, info.is_generated) == ("alice", "chat", True)
            assert info.attributes == {"k": "v", "more": "so"}
            assert info.stream_id == writer.info.stream_id
            assert writer.sent_bytes == reader.received_bytes == 9


@pytest.mark.parametrize("size", [0, 10, 14_000, 15_001, 300_000])
@pytest.mark.parametrize("compress", [True, False])
async def test_texts(friends: Pair, size: int, compress: bool) -> None:
    alice, bob = friends
    text = ("é" * size)[: size - 3] + "end" if size else ""
    with trio.fail_after(20):
        async with bob.text_streams("chat") as streams:
            sent = await alice.send_text(text, topic="chat", destination_identities=["bob"], compress=compress)
            reader = await streams.receive()
            assert await reader.read_all() == text
            assert (reader.info.stream_id, reader.info.total_bytes) == (sent.stream_id, len(text.encode()))


@pytest.mark.parametrize("size", [0, 15_000, 400_000])
async def test_bytes(friends: Pair, size: int) -> None:
    alice, bob = friends
    data = os.urandom(size)
    with trio.fail_after(20):
        async with bob.byte_streams("files") as streams:
            await alice.send_bytes(data, name="noise", topic="files", mime_type="audio/x-noise")
            reader = await streams.receive()
            assert await reader.read_all() == data
            assert (reader.info.name, reader.info.mime_type, reader.info.total_bytes) == (
                "noise",
                "audio/x-noise",
                size,
            )


async def test_bytes_part_by_part(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.byte_streams("") as streams:
            async with alice.open_byte_stream(total_bytes=40_000) as writer:
                await writer.wait_send_all_might_not_block()
                await writer.send_all(bytearray(b"a" * 20_000))
                await writer.send_all(memoryview(b"b" * 20_000))
            reader = await streams.receive()
            assert reader.info.name == "unknown"
            assert await reader.receive_some(5) == b"a" * 5
            parts = [part async for part in reader]
            assert b"".join(parts) == b"a" * 19_995 + b"b" * 20_000
            with assert_checkpoints():
                assert await reader.receive_some() == b""


async def test_a_file(friends: Pair, tmp_path: Path) -> None:
    alice, bob = friends
    path = tmp_path / "picture.png"
    path.write_bytes(os.urandom(3_000_000))
    progress, seen = lk.StreamProgress(), []
    digest = hashlib.sha256()

    async def send() -> None:
        info = await alice.send_file(path, topic="files", progress=progress)
        assert (info.name, info.mime_type, info.total_bytes) == ("picture.png", "image/png", 3_000_000)

    async def watch() -> None:
        seen.extend([sent async for sent in progress])

    with trio.fail_after(30):
        async with bob.byte_streams("files") as streams, trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(watch)
            reader = await streams.receive()
            async for part in reader:
                digest.update(part)
    assert digest.digest() == hashlib.sha256(path.read_bytes()).digest()
    assert seen == sorted(set(seen))
    assert seen[-1] == progress.sent_bytes == progress.total_bytes == 3_000_000
    assert (progress.fraction, progress.is_over) == (1.0, True)
    assert [sent async for sent in progress] == [3_000_000]


async def test_a_file_that_is_not_there(friends: Pair, tmp_path: Path) -> None:
    alice, _ = friends
    progress = lk.StreamProgress()
    with pytest.raises(FileNotFoundError):
        await alice.send_file(tmp_path / "none", progress=progress)
    assert (progress.is_over, progress.fraction, [sent async for sent in progress]) == (True, 0.0, [])


async def test_answers_replacements_and_attachments(friends: Pair, tmp_path: Path) -> None:
    alice, bob = friends
    paths = [tmp_path / "a.txt", tmp_path / "b.bin"]
    for path in paths:
        path.write_bytes(path.name.encode())
    with trio.fail_after(20):
        async with bob.text_streams("chat") as texts, bob.byte_streams("chat") as files:
            first = await alice.send_text("helo", topic="chat")
            second = await alice.send_text("hello", topic="chat", replaces=first)
            third = await alice.send_text("two files", topic="chat", reply_to=second, attachments=paths)
            infos = []
            for text in ("helo", "hello", "two files"):
                reader = await texts.receive()
                assert await reader.read_all() == text
                infos.append(reader.info)
            assert [(info.operation.name, info.version) for info in infos] == [
                ("CREATE", 0),
                ("UPDATE", 1),
                ("CREATE", 0),
            ]
            assert infos[0].stream_id == infos[1].stream_id == infos[2].reply_to
            for path, stream_id in zip(paths, infos[2].attached_stream_ids, strict=True):
                attachment = await files.receive()
                assert (attachment.info.stream_id, attachment.info.name) == (stream_id, path.name)
                assert await attachment.read_all() == path.name.encode()
            assert third.attached_stream_ids == infos[2].attached_stream_ids


async def test_many_at_once(friends: Pair) -> None:
    """Chunks of several streams come mixed; each reader gets its own."""
    alice, bob = friends
    contents = {str(number): os.urandom(1000).hex() * 50 for number in range(5)}
    got: dict[str, str] = {}

    async def send(number: str) -> None:
        async with alice.open_text_stream("many", attributes={"number": number}) as writer:
            for start in range(0, 100_000, 7000):
                await writer.write(contents[number][start : start + 7000])

    async def read(reader: lk.TextStreamReader) -> None:
        got[reader.info.attributes["number"]] = await reader.read_all()

    with trio.fail_after(30):
        async with bob.text_streams("many") as streams, trio.open_nursery() as nursery:
            for number in contents:
                nursery.start_soon(send, number)
            for _ in contents:
                nursery.start_soon(read, await streams.receive())
    assert got == contents


async def test_streams_that_the_server_cannot_read(server: ServerUnderTest, room_name: str) -> None:
    """With end-to-end encryption, in every form. Somebody without the key gets nothing."""
    keys = lk.Encryption(shared_key="secret")
    texts = ["short", "the same " * 5000, os.urandom(20_000).hex()]
    with trio.fail_after(30):
        async with (
            lk.connect(server.url, server.token("alice", room_name), encryption=keys) as alice,
            lk.connect(server.url, server.token("bob", room_name), encryption=keys) as bob,
            lk.connect(server.url, server.token("eve", room_name)) as eve,
            bob.text_streams("chat") as streams,
            eve.text_streams("chat") as overheard,
        ):
            for text in texts:
                await alice.send_text(text, topic="chat")
                reader = await streams.receive()
                assert await reader.read_all() == text
                assert reader.info.is_encrypted
            async with alice.open_text_stream("chat") as writer:
                await writer.write(texts[2])
            assert await (await streams.receive()).read_all() == texts[2]
            await eve.send_text("in the clear", topic="chat")
            with trio.move_on_after(0.2):
                raise AssertionError(await overheard.receive(), await streams.receive())


async def test_streams_sent_just_after_joining(server: ServerUnderTest, room_name: str) -> None:
    """What comes before the first listener, soon after joining, is kept for it."""
    with trio.fail_after(30):
        async with lk.connect(server.url, server.token("alice", room_name)) as alice, trio.open_nursery() as nursery:

            async def greet() -> None:
                await alice.wait_for_participant("bob", active=True)
                await alice.send_text("welcome", topic="chat", destination_identities=["bob"])

            nursery.start_soon(greet)
            async with lk.connect(server.url, server.token("bob", room_name)) as bob:
                await trio.sleep(0.3)
                async with bob.text_streams("chat") as streams:
                    reader = await streams.receive()
                    assert await reader.read_all() == "welcome"


# --- what ends badly --------------------------------------------------------------------------------------------------


async def test_a_writer_that_fails(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.text_streams("chat") as streams:
            with pytest.raises(ZeroDivisionError):
                async with alice.open_text_stream("chat") as writer:
                    await writer.write("half of ")
                    raise ZeroDivisionError
            reader = await streams.receive()
            assert await reader.receive() == "half of "
            error = await expect_error(reader)
            assert (error.reason, error.sender_reason) == (Reason.ABORTED, "the sender failed")


async def test_a_writer_that_is_cancelled(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.byte_streams("files") as streams:
            with trio.CancelScope() as scope:
                async with alice.open_byte_stream(topic="files") as writer:
                    await writer.send_all(b"x")
                    scope.cancel()
                    await trio.sleep_forever()
            error = await expect_error(await streams.receive())
            assert (error.reason, error.sender_reason) == (Reason.ABORTED, "the sender was cancelled")


async def test_a_writer_that_gives_up(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.text_streams("chat") as streams:
            async with alice.open_text_stream("chat") as writer:
                await writer.abort("out of paper")
                await writer.abort("again")
                with pytest.raises(trio.ClosedResourceError):
                    await writer.write("more")
            error = await expect_error(await streams.receive())
            assert (error.reason, error.sender_reason) == (Reason.ABORTED, "out of paper")


async def test_a_write_that_is_cancelled_halfway(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.byte_streams("files") as streams:
            with pytest.raises(lk.StreamError, match="cancelled halfway") as error:
                async with alice.open_byte_stream(topic="files") as writer:
                    with trio.CancelScope() as scope:
                        scope.cancel()
                        await writer.send_all(b"not sent")
                    await writer.send_all(b"sent")
                    while (writer.sent_bytes - 4) % 5_000_000 == 0:
                        with trio.move_on_after(0.05):
                            await writer.send_all(bytes(5_000_000))
            assert error.value.reason is Reason.WRITE_CANCELLED
            reader = await streams.receive()
            assert (await reader.receive_some(4)) == b"sent"
            assert (await expect_error(reader)).reason is Reason.ABORTED


async def test_content_that_is_not_what_was_announced(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.text_streams("chat") as streams:
            with pytest.raises(lk.StreamError) as error:
                async with alice.open_text_stream("chat", total_bytes=3) as writer:
                    await writer.write("ab")
            assert error.value.reason is Reason.INCOMPLETE
            assert (await expect_error(await streams.receive())).reason is Reason.ABORTED
            with pytest.raises(lk.StreamError) as error:
                async with alice.open_text_stream("chat", total_bytes=3) as writer:
                    await writer.write("abcd")
            assert error.value.reason is Reason.TOO_LONG


async def test_a_sender_that_leaves(server: ServerUnderTest, room_name: str) -> None:
    with trio.fail_after(30):
        async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.text_streams("chat") as streams:
            with trio.CancelScope() as scope:
                async with (
                    lk.connect(server.url, server.token("alice", room_name)) as alice,
                    alice.publish_data_track("here"),  # of who publishes the others are told at once
                ):
                    await bob.wait_for_participant("alice")
                    async with alice.open_text_stream("chat") as writer:
                        await writer.write("x")
                        reader = await streams.receive()
                        scope.cancel()
                        await trio.sleep_forever()
            error = await expect_error(reader)
            assert error.reason in (Reason.ABORTED, Reason.SENDER_LEFT)


async def test_the_last_recipient_leaves(server: ServerUnderTest, room_name: str) -> None:
    leave = trio.Event()

    async def visit() -> None:
        async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.publish_data_track("here"):
            await leave.wait()

    with trio.fail_after(30):
        async with lk.connect(server.url, server.token("alice", room_name)) as alice, trio.open_nursery() as nursery:
            nursery.start_soon(visit)
            await alice.wait_for_participant("bob")
            with pytest.raises(lk.StreamError) as error:
                async with alice.open_text_stream("chat", destination_identities=["bob"]) as writer:
                    await writer.write("x")
                    leave.set()
                    await trio.sleep_forever()
            assert error.value.reason is Reason.RECIPIENT_LEFT


async def test_nobody_of_that_name(friends: Pair) -> None:
    alice, _ = friends
    with pytest.raises(lk.RecipientNotFound) as error:
        await alice.send_text("x", destination_identities=["bob", "nobody"], recipients_within=0)
    assert error.value.identities == ("nobody",)


async def test_a_header_that_is_too_large(friends: Pair) -> None:
    alice, _ = friends
    with pytest.raises(lk.StreamError) as error:
        async with alice.open_byte_stream(attributes={"k": "v" * 15_000}):
            raise AssertionError
    assert error.value.reason is Reason.HEADER_TOO_LARGE


# --- readers and listeners --------------------------------------------------------------------------------------------


async def test_one_listener_for_each_kind_and_topic(friends: Pair) -> None:
    _, bob = friends
    async with bob.text_streams("chat"), bob.byte_streams("chat"), bob.text_streams("other"):
        with pytest.raises(lk.StreamError) as error:
            async with bob.text_streams("chat"):
                raise AssertionError
        assert error.value.reason is Reason.TOPIC_TAKEN
    async with bob.text_streams("chat"):
        pass


async def test_a_block_bounds_its_readers(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with alice.open_text_stream("chat") as writer:
            async with bob.text_streams("chat") as streams:
                await writer.write("x")
                reader = await streams.receive()
                first = await reader.receive()
            assert first == "x"
            with pytest.raises(trio.ClosedResourceError):
                await reader.receive()
            with pytest.raises(trio.ClosedResourceError):
                await streams.receive()


async def test_a_reader_that_is_closed(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.byte_streams("files") as streams, alice.open_byte_stream(topic="files") as writer:
            await writer.send_all(b"x")
            async with await streams.receive() as reader:
                assert await reader.receive_some() == b"x"
            await writer.send_all(b"y")
            with pytest.raises(trio.ClosedResourceError):
                await reader.receive_some()


async def test_more_than_is_read_at_once(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.text_streams("chat") as streams:
            await alice.send_text("x" * 100_000, topic="chat")
            with pytest.raises(lk.StreamError) as error:
                await (await streams.receive()).read_all(99_999)
            assert error.value.reason is Reason.TOO_LARGE


async def test_a_compressed_text_that_becomes_too_much(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.text_streams("chat", max_inflated_bytes=10_000, idle_timeout=math.inf) as streams:
            await alice.send_text("x" * 10_001, topic="chat")
            assert (await expect_error(await streams.receive())).reason is Reason.TOO_LARGE


async def test_everything_checkpoints(friends: Pair) -> None:
    alice, bob = friends
    with trio.fail_after(20):
        async with bob.text_streams("chat") as texts, bob.byte_streams("chat") as files:
            with assert_checkpoints():
                await alice.send_text("x", topic="chat")
            with assert_checkpoints():
                await alice.send_bytes(b"x", topic="chat")
            with assert_checkpoints():
                text = await texts.receive()
            with assert_checkpoints():
                await text.receive()
            with assert_checkpoints(), pytest.raises(trio.EndOfChannel):
                await text.receive()
            with assert_checkpoints():
                await text.aclose()
            with assert_checkpoints():
                data = await files.receive()
            with assert_checkpoints():
                await data.read_all()
            async with alice.open_text_stream("chat") as writer:
                for operation in (writer.write("x"), writer.write(""), writer.aclose(), writer.aclose()):
                    with assert_checkpoints():
                        await operation
            async with alice.open_byte_stream() as stream:
                for operation in (stream.send_all(b""), stream.wait_send_all_might_not_block(), stream.abort("")):
                    with assert_checkpoints():
                        await operation


# --- connections that are lost ----------------------------------------------------------------------------------------


async def test_a_resume_under_a_stream(friends: Pair) -> None:
    """Signalling is lost on both sides while a stream flows: it is complete."""
    alice, bob = friends
    data = os.urandom(300_000)
    with trio.fail_after(30):
        async with bob.byte_streams("files") as streams, alice.open_byte_stream(topic="files") as writer:
            for start in range(0, len(data), 10_000):
                await writer.send_all(data[start : start + 10_000])
                if start == 100_000:
                    await alice.simulate(lk.SimulateScenario.SIGNAL_RECONNECT)
                if start == 200_000:
                    await bob.simulate(lk.SimulateScenario.SIGNAL_RECONNECT)
            await alice.wait_connected()
            await writer.aclose()
            assert await (await streams.receive()).read_all() == data


@pytest.mark.parametrize("whose", ["the sender's", "the reader's"])
async def test_a_restart_under_a_stream(friends: Pair, whose: str) -> None:
    """Both sides are told, and soon; what is sent afterwards arrives."""
    alice, bob = friends
    ends: dict[str, lk.StreamError] = {}

    async def write() -> None:
        try:
            async with alice.open_text_stream("chat", destination_identities=["bob"]) as writer:
                while True:
                    await writer.write("x")
                    await trio.sleep(0.02)
        except lk.StreamError as error:
            ends["writer"] = error

    async def read(reader: lk.TextStreamReader) -> None:
        ends["reader"] = await expect_error(reader)

    with trio.fail_after(30):
        async with bob.text_streams("chat") as streams:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                reader = await streams.receive()
                await reader.receive()
                nursery.start_soon(read, reader)
                lost = alice if whose == "the sender's" else bob
                await lost.simulate(lk.SimulateScenario.FULL_RECONNECT)
            if whose == "the sender's":
                assert ends["writer"].reason is Reason.SESSION_LOST
                assert ends["reader"].reason is Reason.SENDER_LEFT
            else:
                assert ends["writer"].reason is Reason.RECIPIENT_LEFT
                assert ends["reader"].reason is Reason.SESSION_LOST
            await lost.wait_connected()
            await alice.send_text("again", topic="chat", destination_identities=["bob"], recipients_within=10)
            while True:
                reader = await streams.receive()
                if await reader.read_all() == "again":
                    break


async def test_a_room_that_is_lost_under_a_reader(friends: Pair) -> None:
    alice, bob = friends
    done = trio.Event()

    async def read(reader: lk.TextStreamReader) -> None:
        try:
            await reader.read_all()
        finally:
            done.set()

    with trio.fail_after(20):
        with pytest.RaisesGroup(lk.RoomDisconnected):
            async with trio.open_nursery() as outside:
                async with bob.text_streams("chat") as streams, alice.open_text_stream("chat") as writer:
                    await writer.write("x")
                    outside.start_soon(read, await streams.receive())
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    bob._session.packets.close(lk.RoomDisconnected(lk.DisconnectReason.ROOM_DELETED))
                    with trio.CancelScope(shield=True):
                        await done.wait()


# --- readers that do not keep up --------------------------------------------------------------------------------------


async def test_a_reader_that_waits(friends: Pair) -> None:
    """What it has not read stays in the connection's window, and on the server; none of it is lost."""
    alice, bob = friends
    digest, sent = hashlib.sha256(), hashlib.sha256()
    size = 6_000_000
    held = 0

    async def write() -> None:
        async with alice.open_byte_stream(topic="files", total_bytes=size) as writer:
            for _ in range(size // 100_000):
                part = os.urandom(100_000)
                sent.update(part)
                await writer.send_all(part)

    with trio.fail_after(50):
        async with bob.byte_streams("files") as streams, trio.open_nursery() as nursery:
            nursery.start_soon(write)
            reader = await streams.receive()
            for _ in range(100):  # until the window is full, or everything is there
                await trio.sleep(0.05)
                before, held = held, reader.received_bytes
                if before == held > 3_000_000:
                    break
            assert held < 5_000_000, "more than the window was taken in"
            async for part in reader:
                digest.update(part)
    assert digest.digest() == sent.digest()


async def test_a_reader_that_begins_late_gets_everything_from_the_embedded_server(room_name: str) -> None:
    """It is 8 MB behind, of which its window takes 4 MiB and the server 256 KiB: the rest waits at the sender."""
    content = os.urandom(8_000_000)
    async with serve(limits=Limits(reliable_bytes=256 << 10)) as embedded:
        server = EmbeddedServer(embedded)
        async with (
            lk.connect(server.url, server.token("alice", room_name)) as alice,
            lk.connect(server.url, server.token("bob", room_name)) as bob,
            bob.byte_streams("late") as streams,
            trio.open_nursery() as nursery,
        ):
            with trio.fail_after(50):
                nursery.start_soon(functools.partial(alice.send_bytes, content, topic="late", compress=False))
                reader = await streams.receive()
                await trio.sleep(1)
                assert reader.received_bytes < 5 << 20
                assert await reader.read_all() == content
                assert not embedded.statistics().user_packets_dropped

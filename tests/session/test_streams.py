"""Streams on links that remember: forms, order, back-pressure, and every way in which one can end."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.session.fakes import PacketLinks
from trio_livekit._sansio.neglect import CROWDED_BYTES, NOT_READ_S
from trio_livekit._sansio.packets import messages as p
from trio_livekit._sansio.signal.messages import Capability, ParticipantInfo
from trio_livekit._sansio.signal.roster import Roster
from trio_livekit._sansio.streams.chunking import split_bytes
from trio_livekit._sansio.streams.deflate import deflate
from trio_livekit._sansio.streams.incoming import MAX_OPEN_PER_SENDER
from trio_livekit._sansio.streams.incoming_stream import Limits
from trio_livekit._session import stream_readers
from trio_livekit._session.packets import Packets
from trio_livekit._session.streams import Streams
from trio_livekit._wire.data import decode_packet, encode_packet
from trio_livekit.errors import PublishDataError, RecipientNotFound, StreamError, StreamErrorReason

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_livekit._sansio.streams.info import TextStreamInfo

Reason = StreamErrorReason

TEXT = p.StreamHeader("id", 0, "chat", "text/plain", text=p.TextHeader())
BYTES = p.StreamHeader("id", 0, "files", "application/octet-stream")
ABLE = (2, (Capability.COMPRESSION_DEFLATE_RAW,))


class Bench:
    """Streams, with the session, the server and ann played by the test."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.links = PacketLinks()
        self.roster = Roster(ParticipantInfo("PA_me", "me"))
        self.packets = Packets(self.links, lambda _: None, lambda _event: None)  # type: ignore[arg-type]
        self.streams = Streams(self.packets, lambda: self.roster, nursery.start_soon, lambda _: None)
        self.taken: list[tuple[TextStreamInfo, str | StreamError]] = []
        self.held = 0

    def join(self, identity: str, protocol: int = 2, capabilities: tuple[int, ...] = ABLE[1]) -> None:
        info = ParticipantInfo(f"PA_{identity}", identity, client_protocol=protocol, capabilities=capabilities)
        self.roster.apply([info])
        self.packets.on_participant(info, is_new=True)

    def leave(self, identity: str) -> None:
        info = self.roster.get(identity)
        assert info is not None
        self.packets.on_participant_left(info)

    def take(self, info: TextStreamInfo, text: str | StreamError) -> None:
        self.taken.append((info, text))

    def deliver(self, *values: p.Value, sender: str = "ann") -> int:
        """Messages arrive; returns their size."""
        size = 0
        for value in values:
            data = encode_packet(p.DataPacket(value, sender, f"PA_{sender}"))
            self.packets.incoming.on_message("_reliable", data)
            size += len(data)
        return size

    def sent(self) -> list[p.Value]:
        """What was sent since the last call; the server acknowledges it."""
        packets = [decode_packet(data) for data in self.links.sent.pop("_reliable", [])]
        self.links.buffered.clear()
        self.links.unsent.clear()
        self.packets.on_progress()
        return [packet.value for packet in packets if packet is not None]

    async def serve(self) -> None:
        """Acknowledge all that is sent from now on."""
        while True:
            await trio.sleep(0.01)
            self.links.buffered.clear()
            self.packets.on_progress()

    def lose_session(self) -> None:
        self.packets.on_session_lost()
        self.links = PacketLinks()
        self.packets.on_session_replaced(self.links)  # type: ignore[arg-type]
        self.packets.on_connected(self.links)  # type: ignore[arg-type]


@pytest.fixture
async def bench(nursery: trio.Nursery) -> Bench:
    return Bench(nursery)


@pytest.fixture
async def served(bench: Bench, nursery: trio.Nursery) -> Bench:
    """What is sent is acknowledged."""
    nursery.start_soon(bench.serve)
    return bench


def values(bench: Bench) -> list[p.Value]:
    packets = [decode_packet(data) for data in bench.links.sent["_reliable"]]
    return [packet.value for packet in packets if packet is not None]


# --- forms ------------------------------------------------------------------------------------------------------------


async def test_short_content_is_in_the_header(served: Bench) -> None:
    served.join("ann", 2, ())
    await served.streams.send(TEXT, b"hello", ["ann"])
    assert values(served) == [replace(TEXT, inline_content=b"hello")]


async def test_content_is_compressed_where_that_is_shorter(served: Bench) -> None:
    served.join("ann")
    content = b"all the same " * 3000
    await served.streams.send(TEXT, content)
    await served.streams.send(TEXT, b"short")
    await served.streams.send(TEXT, content, compress=False)
    deflated = b"".join(deflate(content))
    first, second, *rest = values(served)
    assert first == replace(TEXT, inline_content=deflated, compression=p.Compression.DEFLATE_RAW)
    assert second == replace(TEXT, inline_content=b"short")
    assert [type(value) for value in rest] == [p.StreamHeader, *[p.StreamChunk] * 3, p.StreamTrailer]


async def test_much_compressed_content_is_in_chunks(served: Bench) -> None:
    served.join("ann")
    content = os.urandom(50_000).hex().encode()
    await served.streams.send(BYTES, content)
    header, *chunks, trailer = values(served)
    assert header == replace(BYTES, compression=p.Compression.DEFLATE_RAW)
    assert b"".join(chunk.content for chunk in chunks) == b"".join(deflate(content))
    assert trailer == p.StreamTrailer("id")


@pytest.mark.parametrize("somebody", ["nobody", "old", "unknown"])
async def test_the_form_that_everybody_understands(served: Bench, somebody: str) -> None:
    recipients = []
    if somebody == "old":
        served.join("ann")
        served.join("bob", 1)
    elif somebody == "unknown":
        recipients = ["hidden"]
    await served.streams.send(BYTES, b"content", recipients)
    assert values(served) == [BYTES, p.StreamChunk("id", 0, b"content"), p.StreamTrailer("id")]


async def test_those_named_have_to_be_there(bench: Bench, autojump_clock: MockClock) -> None:
    for open_it in (
        lambda: bench.streams.send(TEXT, b"", ["ann"], within_s=3),
        lambda: bench.streams.open(TEXT, ["ann"], within_s=3).__aenter__(),
    ):
        with pytest.raises(RecipientNotFound):
            await open_it()
    assert values(bench) == []


async def test_a_header_that_is_too_large(bench: Bench) -> None:
    with pytest.raises(StreamError) as error:
        await bench.streams.send(replace(BYTES, attributes={"k": "v" * 15_000}), b"")
    assert error.value.reason is Reason.HEADER_TOO_LARGE
    assert values(bench) == []


# --- texts for the library --------------------------------------------------------------------------------------------


async def test_texts_for_the_library(bench: Bench) -> None:
    bench.streams.take_text("chat", bench.take, limit_bytes=200_000)
    whole = replace(TEXT, inline_content="é".encode(), attributes={"k": "v"})
    bench.deliver(whole, sender="bob")
    ((info, text),) = bench.taken
    assert (info.sender_identity, info.attributes, text) == ("bob", {"k": "v"}, "é")

    long = b"x" * 60_000
    deflated = b"".join(deflate(long))
    bench.deliver(replace(TEXT, inline_content=deflated, compression=p.Compression.DEFLATE_RAW))
    assert bench.taken[1][1] == long.decode(), "still in the step that received it"

    bench.deliver(TEXT, p.StreamChunk("id", 0, b"a"), p.StreamChunk("id", 1, b"b"))
    await wait_all_tasks_blocked()
    assert len(bench.taken) == 2
    bench.deliver(p.StreamTrailer("id", attributes={"more": "so"}))
    await wait_all_tasks_blocked()
    info, text = bench.taken[2]
    assert (info.attributes, text) == ({"more": "so"}, "ab")
    assert bench.packets.incoming._held == 0

    with pytest.raises(StreamError) as error, bench.streams.listen("chat", Limits(), text=True):
        pass
    assert error.value.reason is Reason.TOPIC_TAKEN
    bench.deliver(replace(BYTES, topic="chat", inline_content=b"not a text"))
    assert len(bench.taken) == 3


@pytest.mark.parametrize("size", [999, 1001, 10**5])
@pytest.mark.parametrize("form", ["inline", "compressed", "chunks"])
async def test_texts_for_the_library_have_a_limit(bench: Bench, size: int, form: str) -> None:
    bench.streams.take_text("chat", bench.take, limit_bytes=1000)
    content = b"x" * size
    if form == "chunks":
        chunks = [p.StreamChunk("id", n, piece) for n, piece in enumerate(split_bytes(content, 100))]
        bench.deliver(TEXT, *chunks, p.StreamTrailer("id"))
    elif form == "inline":
        bench.deliver(replace(TEXT, inline_content=content))
    else:
        kind = p.Compression.DEFLATE_RAW
        bench.deliver(replace(TEXT, inline_content=b"".join(deflate(content)), compression=kind))
    await wait_all_tasks_blocked()
    ((_, text),) = bench.taken
    if size < 1000:
        assert text == content.decode()
    else:
        assert isinstance(text, StreamError)
        assert text.reason is Reason.TOO_LARGE
    assert bench.packets.incoming._held == 0


async def test_texts_for_the_library_that_go_wrong(bench: Bench) -> None:
    bench.streams.take_text("chat", bench.take, limit_bytes=1000)
    bench.deliver(replace(TEXT, inline_content=b"\xff"))
    bench.deliver(TEXT, p.StreamTrailer("id", "no"))
    await wait_all_tasks_blocked()
    reasons = [error.reason for _, error in bench.taken if isinstance(error, StreamError)]
    assert reasons == [Reason.DECODE_FAILED, Reason.ABORTED]


# --- listeners and readers --------------------------------------------------------------------------------------------


async def test_what_nobody_reads_is_given_up_and_its_window_is_opened(bench: Bench, autojump_clock: MockClock) -> None:
    with bench.streams.listen("files", Limits(), text=False) as listener:
        bench.deliver(BYTES)
        reader = await listener.accept()
        number = 0
        while bench.packets.incoming._held < CROWDED_BYTES:
            bench.deliver(p.StreamChunk("id", number, bytes(15_000)))
            number += 1
        for _ in range(int(NOT_READ_S) + 2):
            await trio.sleep(1)
            bench.streams.handle_timeout(trio.current_time())
        with pytest.raises(StreamError) as error:
            await reader.read()
        assert error.value.reason is Reason.NOT_READ
        assert bench.packets.incoming._held == 0
        assert bench.links.consumed >= CROWDED_BYTES - 256 * 1024


async def test_streams_that_nobody_accepts_are_refused_in_the_end(bench: Bench) -> None:
    limit = stream_readers._MAX_WAITING
    with bench.streams.listen("chat", Limits(), text=True) as listener:
        for _ in range(limit + 5):
            bench.deliver(replace(TEXT, inline_content=b"x"))
        assert listener.refused == 5
        for _ in range(limit):
            assert await (await listener.accept()).read_all_text(1) == "x"
    assert bench.packets.incoming._held == 0


async def test_thousands_of_streams_of_one_sender(bench: Bench) -> None:
    with bench.streams.listen("files", Limits(), text=False):
        for number in range(5000):
            bench.deliver(replace(BYTES, stream_id=str(number)))
        assert bench.streams._incoming.open_count == MAX_OPEN_PER_SENDER
        bench.deliver(BYTES, sender="bob")
        assert bench.streams._incoming.open_count == MAX_OPEN_PER_SENDER + 1
    assert bench.streams._incoming.open_count == 0


async def test_nobody_listens(bench: Bench, autojump_clock: MockClock) -> None:
    bench.streams.on_joined()
    bench.deliver(replace(BYTES, inline_content=b"early"), replace(TEXT, inline_content=b"late"))
    with bench.streams.listen("files", Limits(), text=False) as listener:
        assert await (await listener.accept()).read_all(10) == b"early"
    await trio.sleep(2)
    bench.streams.handle_timeout(trio.current_time())
    bench.deliver(replace(TEXT, stream_id="2", inline_content=b"too late"))
    assert bench.packets.incoming._held == 0
    with bench.streams.listen("chat", Limits(), text=True) as listener, trio.move_on_after(1) as scope:
        await listener.accept()
    assert scope.cancelled_caught


async def test_a_bomb_leaves_the_loop_to_others(bench: Bench, nursery: trio.Nursery) -> None:
    """Inflating goes on in steps, between which others run."""
    bomb = b"".join(deflate(bytes(60 << 20)))
    kind = p.Compression.DEFLATE_RAW
    steps = 0

    async def others() -> None:
        nonlocal steps
        while True:
            await trio.lowlevel.checkpoint()
            steps += 1

    with bench.streams.listen("chat", Limits(), text=True) as listener:
        header = replace(TEXT, total_length=60 << 20, compression=kind)
        chunks = [p.StreamChunk("id", number, piece) for number, piece in enumerate(split_bytes(bomb))]
        bench.deliver(header, *chunks, p.StreamTrailer("id"))
        reader = await listener.accept()
        nursery.start_soon(others)
        with pytest.raises(StreamError) as error:
            await reader.read_all_text(1 << 30)
    assert error.value.reason is Reason.TOO_LARGE
    assert steps >= Limits().inflated_bytes // (64 << 10) - 1
    assert bench.packets.incoming._held == 0


# --- writers ----------------------------------------------------------------------------------------------------------


async def test_a_writer_waits_for_the_network(bench: Bench, autojump_clock: MockClock) -> None:
    bench.links.stuck = True
    limit = bench.packets._high_water.limit
    content = bytes(20 * limit)
    with trio.move_on_after(1) as scope:
        async with bench.streams.open(BYTES) as writer:
            await writer.write(content)
    assert scope.cancelled_caught
    assert writer.sent_bytes < 3 * limit
    while (sent := bench.sent())[-1:] and not isinstance(sent[-1], p.StreamTrailer):
        pass
    assert sent[-1] == p.StreamTrailer("id", "the sender was cancelled")


async def test_two_tasks_may_not_write_at_once(bench: Bench) -> None:
    bench.links.stuck = True
    size = 20 * bench.packets._high_water.limit
    with pytest.raises(StreamError, match="cancelled halfway"):
        async with bench.streams.open(BYTES) as writer, trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, bytes(size))
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await writer.write(b"x")
            with pytest.raises(trio.BusyResourceError):
                await writer.finish({})
            nursery.cancel_scope.cancel()


async def test_a_session_that_is_lost_under_a_writer(bench: Bench) -> None:
    with pytest.raises(StreamError) as error:
        async with bench.streams.open(BYTES):
            bench.lose_session()
            await trio.sleep_forever()
    assert error.value.reason is Reason.SESSION_LOST
    assert bench.sent() == [], "the new session hears nothing of it"


async def test_a_session_lost_before_the_end_is_acknowledged(
    bench: Bench, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def lose() -> None:
        await trio.sleep(1)
        bench.lose_session()

    nursery.start_soon(lose)
    with pytest.raises(StreamError) as error:
        async with bench.streams.open(BYTES) as writer:
            await writer.write(b"x")
    assert error.value.reason is Reason.SESSION_LOST


async def test_an_end_never_acknowledged(bench: Bench, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async def pass_time() -> None:
        await trio.sleep(61)
        bench.packets.handle_timeout(trio.current_time())

    nursery.start_soon(pass_time)
    with pytest.raises(StreamError) as error:
        async with bench.streams.open(BYTES) as writer:
            await writer.write(b"x")
    assert error.value.reason is Reason.NOT_ACKNOWLEDGED


async def test_a_room_that_is_over_under_a_writer(bench: Bench) -> None:
    with pytest.raises(trio.ClosedResourceError):
        async with bench.streams.open(BYTES):
            bench.packets.close(None)
            await trio.sleep_forever()
    with pytest.raises(trio.ClosedResourceError):
        await bench.streams.send(BYTES, b"")
    with pytest.raises(trio.ClosedResourceError), bench.streams.listen("x", Limits(), text=True):
        pass


async def test_a_room_that_is_over_while_a_writer_says_that_it_failed(bench: Bench, nursery: trio.Nursery) -> None:
    """What the block fails with comes out of it, and not what became of saying so."""

    async def close() -> None:
        await wait_all_tasks_blocked()
        bench.packets.close(None)

    with pytest.raises(ZeroDivisionError):
        async with bench.streams.open(BYTES):
            bench.links.unsent["_reliable"] = 1 << 30
            with pytest.raises(PublishDataError):
                while True:
                    bench.packets.send_reliable_nowait(p.RpcAck("id"))
            nursery.start_soon(close)
            raise ZeroDivisionError


async def test_recipients_that_leave(served: Bench) -> None:
    for name in ("ann", "bob"):
        served.join(name)
    with pytest.raises(StreamError) as error:
        async with served.streams.open(BYTES, ["ann", "bob"]) as writer:
            served.leave("bob")
            await writer.write(b"x")
            served.leave("ann")
            await trio.sleep_forever()
    assert error.value.reason is Reason.RECIPIENT_LEFT
    packets = [decode_packet(data) for data in served.links.sent["_reliable"]]
    assert [packet.destination_identities for packet in packets if packet] == [("ann", "bob"), ("ann",)]

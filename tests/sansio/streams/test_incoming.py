"""Streams of others: complete, or an error, whatever is lost, repeated, forged, withheld or blown up on the way."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_livekit._sansio.neglect import CHECK_S, CROWDED_BYTES, NEGLECTED_S, NOT_READ_S
from trio_livekit._sansio.packets.messages import Compression, StreamChunk, StreamHeader, StreamTrailer, TextHeader
from trio_livekit._sansio.streams.chunking import split_bytes
from trio_livekit._sansio.streams.deflate import deflate
from trio_livekit._sansio.streams.incoming import LEFT_GRACE_S, MAX_OPEN_PER_SENDER, Incoming
from trio_livekit._sansio.streams.incoming_stream import IDLE_S, IncomingStream, Limits
from trio_livekit.errors import StreamError, StreamErrorReason

Reason = StreamErrorReason

HEADER = StreamHeader("id", 0, "topic", "mime")
LIMITS = Limits()
SLACK_S = 2 * CHECK_S


class Bench:
    """An ``Incoming``, the time, and one sender that is called when nothing else is said."""

    def __init__(self) -> None:
        self.core = Incoming()
        self.now = 100.0

    def header(
        self, header: StreamHeader = HEADER, *, sender: str = "ann", sid: str = "PA_1", limits: Limits = LIMITS, **kw
    ) -> IncomingStream | None:
        return self.core.on_header(header, sender, sid, 100, limits, self.now, **kw)

    def chunk(
        self, index: int, content: bytes = b"x", *, version: int = 0, size: int = 0, sender: str = "ann",
        sid: str = "PA_1", stream_id: str = "id", **kw,
    ) -> bool:  # fmt: skip
        chunk = StreamChunk(stream_id, index, content, version)
        return self.core.on_chunk(chunk, sender, sid, size or len(content), self.now, **kw)

    def trailer(self, reason: str = "", *, sender: str = "ann", sid: str = "PA_1", attributes=None, **kw) -> None:
        self.core.on_trailer(StreamTrailer("id", reason, attributes or {}), sender, sid, self.now, **kw)

    def sleep(self, seconds: float) -> None:
        """Time passes, and no timer is missed."""
        end = self.now + seconds
        while (due := self.core.next_timeout()) is not None and due <= end:
            self.now = due
            self.core.handle_timeout(due)
        self.now = end

    def drain(self, stream: IncomingStream) -> tuple[bytes, bool]:
        """All there is to read, and whether the good end came after it."""
        content = b""
        while True:
            step = stream.read(self.now)
            if not step:
                return content, step is not None
            content += step

    def error(self, stream: IncomingStream) -> StreamError:
        with pytest.raises(StreamError) as error:
            self.drain(stream)
        assert error.value.stream_id == stream.header.stream_id
        with pytest.raises(StreamError) as again:
            stream.read(self.now)
        assert again.value.reason is error.value.reason
        assert again.value is not error.value
        assert stream.is_over
        return error.value

    def reason(self, stream: IncomingStream) -> StreamErrorReason:
        return self.error(stream).reason

    def inflating(self, *parts: bytes, total: int | None, limits: Limits = LIMITS, inline: bool = False):
        header = replace(HEADER, total_length=total, compression=Compression.DEFLATE_RAW)
        if inline:
            return self.header(replace(header, inline_content=b"".join(parts)), limits=limits)
        stream = self.header(header, limits=limits)
        for index, part in enumerate(parts):
            self.chunk(index, part)
        self.trailer()
        return stream


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- what is right ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [5, None])
def test_chunks_and_a_trailer(bench: Bench, total: int | None) -> None:
    stream = bench.header(replace(HEADER, total_length=total))
    assert stream.read(bench.now) is None
    assert bench.chunk(0, b"abc", size=10)
    assert bench.chunk(1, b"")
    assert bench.chunk(2, b"de", size=7)
    assert (stream.content_bytes, bench.core.held_bytes) == (5, 17)
    assert bench.drain(stream) == (b"abcde", False)
    assert (bench.core.held_bytes, stream.take_released(), stream.take_released()) == (0, 17, 0)
    assert bench.core.open_count == 1
    bench.trailer(attributes={"k": "v"})
    assert bench.drain(stream) == (b"", True)
    assert stream.trailer_attributes == {"k": "v"}
    assert bench.core.open_count == 0


def test_its_reader_is_woken_by_all_that_matters(bench: Bench) -> None:
    woken = []
    for end in (bench.trailer, bench.core.on_session_lost, lambda: bench.chunk(5)):
        stream = bench.header()
        stream.wake = lambda: woken.append(1)
        bench.chunk(0)
        assert len(woken) == 1
        end()
        assert len(woken) == 2
        woken.clear()


def test_everything_in_the_header(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, total_length=3, inline_content=b"abc"))
    assert (stream.is_over, bench.core.open_count, bench.core.held_bytes) == (True, 0, 100)
    assert bench.drain(stream) == (b"abc", True)
    assert (bench.core.held_bytes, stream.take_released()) == (0, 100)


def test_nothing_in_the_header(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, total_length=0, inline_content=b""))
    assert bench.drain(stream) == (b"", True)
    assert bench.core.held_bytes == 0


@pytest.mark.parametrize("inline", [True, False])
def test_compressed(bench: Bench, inline: bool) -> None:
    content = b"all the same " * 20_000
    parts = list(split_bytes(b"".join(deflate(content)), 100))
    stream = bench.inflating(*parts, total=len(content), inline=inline)
    assert bench.drain(stream) == (content, True)
    assert stream.content_bytes == len(content)
    assert bench.core.held_bytes == 0


def test_text_may_be_cut_anywhere(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, text=TextHeader()))
    for index, byte in enumerate("aé🦀".encode()):
        bench.chunk(index, bytes([byte]))
    bench.trailer()
    assert [stream.read_text(bench.now) for _ in range(4)] == ["a", "é", "🦀", ""]


def test_text_that_has_not_all_come(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, text=TextHeader()))
    bench.chunk(0, "é".encode()[:1])
    assert stream.read_text(bench.now) is None
    bench.trailer()
    with pytest.raises(StreamError, match="not UTF-8") as error:
        stream.read_text(bench.now)
    assert error.value.reason is Reason.DECODE_FAILED


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_a_chunk_that_is_missing(bench: Bench) -> None:
    stream = bench.header()
    bench.chunk(0, b"a")
    assert not bench.chunk(2, b"c")
    assert stream.read(bench.now) == b"a", "what came before is good"
    assert "chunk 1 is missing" in str(bench.error(stream))
    assert not bench.chunk(1, b"b")
    assert bench.reason(stream) is Reason.CHUNK_MISSING


def test_chunks_that_come_twice(bench: Bench) -> None:
    stream = bench.header()
    assert [bench.chunk(index, b"%d" % index) for index in (0, 1, 1, 0)] == [True, True, False, False]
    assert bench.core.ignored == 2
    bench.trailer()
    assert bench.drain(stream) == (b"01", True)


def test_chunks_that_replace_others(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, total_length=6))
    bench.chunk(0, b"aa", size=10)
    bench.chunk(1, b"bb", size=10)
    assert bench.chunk(1, b"BBBB", version=2, size=10)
    assert not bench.chunk(1, b"old", version=1, size=10)
    assert stream.read(bench.now) == b"aa"
    assert not bench.chunk(0, b"read already", version=3)
    bench.trailer()
    assert bench.drain(stream) == (b"BBBB", True)
    assert (stream.take_released(), bench.core.held_bytes) == (30, 0)


def test_less_than_announced(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, total_length=3))
    bench.chunk(0, b"ab")
    bench.trailer()
    assert stream.read(bench.now) == b"ab"
    assert "after 2 of 3 bytes" in str(bench.error(stream))
    assert bench.reason(stream) is Reason.INCOMPLETE


def test_more_than_announced(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, total_length=3))
    bench.chunk(0, b"ab")
    assert not bench.chunk(1, b"cd")
    assert bench.reason(stream) is Reason.TOO_LONG


@pytest.mark.parametrize(("content", "reason"), [(b"ab", Reason.INCOMPLETE), (b"abcd", Reason.TOO_LONG)])
def test_not_what_was_announced_in_the_header(bench: Bench, content: bytes, reason: Reason) -> None:
    stream = bench.header(replace(HEADER, total_length=3, inline_content=content))
    assert bench.reason(stream) is reason


def test_an_absurd_announcement_costs_nothing(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, total_length=2**63))
    bench.chunk(0, b"ab")
    bench.trailer()
    assert bench.reason(stream) is Reason.INCOMPLETE


def test_given_up_by_its_sender(bench: Bench) -> None:
    stream = bench.header()
    bench.chunk(0, b"ab")
    bench.trailer("out of paper")
    assert stream.read(bench.now) == b"ab"
    error = bench.error(stream)
    assert (error.reason, error.sender_reason) == (Reason.ABORTED, "out of paper")


@pytest.mark.parametrize("encrypted", [True, False])
def test_encrypted_in_part(bench: Bench, encrypted: bool) -> None:
    for packet in (
        lambda: bench.chunk(0, is_encrypted=not encrypted),
        lambda: bench.trailer(is_encrypted=not encrypted),
    ):
        stream = bench.header(is_encrypted=encrypted)
        packet()
        assert bench.reason(stream) is Reason.ENCRYPTION_MISMATCH


def test_two_streams_of_one_id(bench: Bench) -> None:
    stream = bench.header()
    assert bench.header() is None
    assert bench.core.refused == 1
    bench.chunk(0, b"a")
    bench.trailer()
    assert bench.drain(stream) == (b"a", True)
    assert bench.header() is not None, "an id may be used again"


def test_somebody_elses_packets_are_not_of_this_stream(bench: Bench) -> None:
    stream = bench.header()
    assert not bench.chunk(0, sender="eve")
    bench.trailer(sender="eve")
    assert bench.header(sender="eve") is not stream
    assert bench.chunk(0, b"a")
    bench.trailer()
    assert bench.drain(stream) == (b"a", True)


def test_packets_of_no_stream_are_ignored(bench: Bench) -> None:
    assert not bench.chunk(0)
    bench.trailer()
    assert bench.core.ignored == 2


def test_too_many_of_one_sender(bench: Bench) -> None:
    streams = [bench.header(replace(HEADER, stream_id=str(n))) for n in range(100_000 // 100)]
    assert sum(stream is not None for stream in streams) == MAX_OPEN_PER_SENDER
    assert bench.core.open_count == MAX_OPEN_PER_SENDER
    assert bench.header(sender="bob") is not None
    streams[0].discard()
    assert bench.header() is not None


# --- what is compressed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize(
    ("parts", "total", "reason"),
    [
        ([b"".join(deflate(b"abc"))], 2, Reason.TOO_LONG),
        ([b"".join(deflate(b"abc"))], 4, Reason.INCOMPLETE),
        ([b"".join(deflate(b"abc")), b"x"], 3, Reason.DECODE_FAILED),
        ([b"".join(deflate(b"abc"))[:-1]], 3, Reason.INCOMPLETE),
        ([b""], 0, Reason.INCOMPLETE),
        ([b"\xff" * 10], None, Reason.DECODE_FAILED),
        ([b"".join(deflate(bytes(10_001)))], 10_001, Reason.TOO_LARGE),
        ([b"".join(deflate(bytes(10_001)))], None, Reason.TOO_LARGE),
    ],
)
def test_not_what_compression_makes(bench: Bench, inline: bool, parts, total, reason) -> None:
    stream = bench.inflating(*parts, total=total, limits=Limits(inflated_bytes=10_000), inline=inline)
    assert bench.reason(stream) is reason
    assert bench.core.held_bytes == 0


def test_a_gap_in_compressed_data(bench: Bench) -> None:
    stream = bench.header(replace(HEADER, compression=Compression.DEFLATE_RAW))
    data = b"".join(deflate(b"abc" * 100))
    bench.chunk(0, data[:3])
    bench.chunk(2, data[6:])
    assert bench.reason(stream) is Reason.CHUNK_MISSING


def test_a_bomb(bench: Bench) -> None:
    """It goes off in steps, up to the limit, and takes no memory."""
    size = 40 << 20
    stream = bench.inflating(b"".join(deflate(bytes(size))), total=size)
    tracemalloc.start()
    try:
        read = 0
        with pytest.raises(StreamError) as error:
            while step := stream.read(bench.now):
                read += len(step)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert error.value.reason is Reason.TOO_LARGE
    assert read == Limits().inflated_bytes


# --- time, leaving and losing -----------------------------------------------------------------------------------------


def test_nothing_comes(bench: Bench) -> None:
    stream = bench.header()
    for index in range(3):
        bench.sleep(IDLE_S - SLACK_S)
        bench.chunk(index)
        assert bench.drain(stream) == (b"x", False)
    bench.sleep(IDLE_S + SLACK_S)
    assert bench.reason(stream) is Reason.IDLE
    bench.sleep(SLACK_S)
    assert bench.core.next_timeout() is None


def test_how_long_nothing_may_come_is_the_readers_choice(bench: Bench) -> None:
    stream = bench.header(limits=Limits(idle_s=float("inf")))
    bench.sleep(1000)
    assert bench.drain(stream) == (b"", False)


def test_a_sender_that_leaves(bench: Bench) -> None:
    stream = bench.header()
    bench.core.on_sender_left("ann", "PA_0", bench.now)
    bench.core.on_sender_left("bob", "PA_1", bench.now)
    bench.sleep(10)
    bench.core.on_sender_left("ann", "PA_1", bench.now)
    bench.sleep(LEFT_GRACE_S - SLACK_S)
    assert bench.drain(stream) == (b"", False)
    bench.chunk(0, b"late")
    bench.sleep(LEFT_GRACE_S - SLACK_S)
    assert bench.drain(stream) == (b"late", False)
    bench.sleep(LEFT_GRACE_S + SLACK_S)
    assert bench.reason(stream) is Reason.SENDER_LEFT


def test_a_sender_that_left_without_being_seen(bench: Bench) -> None:
    """It is there again, as another: that is how one hears of it."""
    stream = bench.header()
    bench.core.on_sender_joined("ann", "PA_1", bench.now)
    bench.core.on_sender_joined("bob", "PA_2", bench.now)
    bench.sleep(10)
    assert bench.drain(stream) == (b"", False)
    bench.core.on_sender_joined("ann", "PA_2", bench.now)
    bench.sleep(LEFT_GRACE_S + SLACK_S)
    assert bench.reason(stream) is Reason.SENDER_LEFT


def test_the_end_may_come_after_its_sender_has_left(bench: Bench) -> None:
    stream = bench.header()
    bench.core.on_sender_left("ann", "PA_1", bench.now)
    bench.sleep(1)
    bench.trailer()
    bench.sleep(10)
    assert bench.drain(stream) == (b"", True)


@pytest.mark.parametrize("packet", ["header", "chunk", "trailer"])
def test_a_sender_that_comes_back_as_another(bench: Bench, packet: str) -> None:
    """The order of packets is kept: of the old session nothing more can come."""
    stream = bench.header()
    if packet == "header":
        assert bench.header(sid="PA_2") is not stream
    elif packet == "chunk":
        assert not bench.chunk(0, sid="PA_2")
    else:
        bench.trailer(sid="PA_2")
    assert bench.reason(stream) is Reason.SENDER_LEFT


def test_a_session_that_is_lost(bench: Bench) -> None:
    stream = bench.header()
    bench.chunk(0, b"a")
    whole = bench.header(replace(HEADER, stream_id="2", inline_content=b"whole"))
    bench.core.on_session_lost()
    assert bench.core.open_count == 0
    assert stream.read(bench.now) == b"a"
    assert bench.reason(stream) is Reason.SESSION_LOST
    assert bench.drain(whole) == (b"whole", True)
    assert (stream.take_released(), whole.take_released(), bench.core.held_bytes) == (1, 100, 0)


def test_a_room_that_is_lost(bench: Bench) -> None:
    stream = bench.header()
    bench.chunk(0, b"a")
    bench.core.on_over(OSError("the end"))
    assert stream.read(bench.now) == b"a"
    with pytest.raises(OSError, match="the end"):
        stream.read(bench.now)


def test_what_nobody_reads_holds_up_the_connection_for_a_minute(bench: Bench) -> None:
    slow = bench.header()
    bench.chunk(0, size=CROWDED_BYTES)
    complete = bench.header(replace(HEADER, stream_id="2", inline_content=b"x"))
    other = bench.header(replace(HEADER, stream_id="3"))
    bench.sleep(NOT_READ_S + SLACK_S)
    for stream in (slow, complete):
        assert bench.reason(stream) is Reason.NOT_READ
    assert (bench.core.held_bytes, slow.take_released(), complete.take_released()) == (0, CROWDED_BYTES, 100)
    bench.sleep(IDLE_S - 2 * SLACK_S)
    assert bench.drain(other) == (b"", False), "it could not be heard: that is no silence"
    bench.sleep(3 * SLACK_S)
    assert bench.reason(other) is Reason.IDLE


def test_how_long_nobody_may_read_is_the_readers_choice_and_told_in_time(bench: Bench) -> None:
    slow = bench.header(limits=Limits(not_read_s=20.0))
    bench.chunk(0, size=CROWDED_BYTES)
    bench.sleep(NEGLECTED_S + SLACK_S)
    assert bench.core.poll_neglected() == [slow]
    bench.sleep(10)
    assert bench.core.poll_neglected() == []
    assert slow.read(bench.now) == b"x"
    bench.chunk(1, size=CROWDED_BYTES)
    bench.sleep(20 + SLACK_S)
    assert bench.reason(slow) is Reason.NOT_READ


def test_what_nobody_reads_may_stay_where_it_holds_up_nothing(bench: Bench) -> None:
    stream = bench.header()
    bench.chunk(0, size=CROWDED_BYTES - 1)
    bench.sleep(1000)
    assert bench.drain(stream) == (b"x", False)


def test_a_slow_reader_is_not_given_up(bench: Bench) -> None:
    stream = bench.header()
    for index in range(5):
        bench.chunk(index, size=CROWDED_BYTES)
    for _ in range(5):
        bench.sleep(NOT_READ_S - SLACK_S)
        assert stream.read(bench.now) == b"x"


def test_discarding(bench: Bench) -> None:
    stream = bench.header()
    bench.chunk(0, size=50)
    stream.discard()
    assert (bench.core.open_count, bench.core.held_bytes, stream.take_released()) == (0, 0, 50)
    assert not bench.chunk(1)


# --- random histories -------------------------------------------------------------------------------------------------


class Histories(RuleBasedStateMachine):
    """Senders that keep the rules, a network that now and then does not, and readers that read when they like.

    Whatever a reader gets is a prefix of what was sent, the good end comes only after all of it, and no byte of the
    window is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.core = Incoming()
        self.now = 0.0
        self.streams: list[dict] = []
        self.held = 0
        self.begun = 0

    def pick(self, index: int) -> dict:
        return self.streams[index % len(self.streams)]

    @rule(compressed=st.booleans(), announced=st.booleans(), content=st.binary(max_size=60), cut=st.integers(1, 20))
    def begin(self, compressed: bool, announced: bool, content: bytes, cut: int) -> None:
        self.begun += 1
        number = self.begun
        kind = Compression.DEFLATE_RAW if compressed else Compression.NONE
        header = StreamHeader(str(number), 0, "t", "m", len(content) if announced else None, compression=kind)
        sent = b"".join(deflate(content)) if compressed else content
        stream = self.core.on_header(header, "ann", "PA", 10, Limits(), self.now)
        assert stream is not None
        todo = [StreamChunk(str(number), i, piece) for i, piece in enumerate(split_bytes(sent, cut))]
        self.streams.append({"stream": stream, "content": content, "todo": todo, "read": b"", "hurt": False, "end": ""})

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 99), fate=st.sampled_from(["arrive"] * 8 + ["lose", "repeat", "damage"]))
    def send(self, index: int, fate: str) -> None:
        entry = self.pick(index)
        if not entry["todo"]:
            return
        chunk = entry["todo"].pop(0)
        if fate == "lose":
            entry["hurt"] = True
            return
        if fate == "damage" and chunk.content:
            chunk = replace(chunk, content=chunk.content + b"!")
            entry["hurt"] = True
        for _ in range(2 if fate == "repeat" else 1):
            self.held += 7 * self.core.on_chunk(chunk, "ann", "PA", 7, self.now)

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 99), reason=st.sampled_from(["", "", "no"]))
    def end(self, index: int, reason: str) -> None:
        entry = self.pick(index)
        if not entry["end"]:
            entry["end"] = reason or "good"
            entry["hurt"] |= bool(entry["todo"]) or bool(reason)
            entry["todo"] = []
            self.core.on_trailer(StreamTrailer(entry["stream"].header.stream_id, reason), "ann", "PA", self.now)

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 99))
    def read(self, index: int) -> None:
        entry = self.pick(index)
        stream = entry["stream"]
        try:
            step = stream.read(self.now)
        except StreamError as exc:
            reason = exc.reason
            assert entry["hurt"] or reason in (Reason.SESSION_LOST, Reason.IDLE, Reason.SENDER_LEFT)
        else:
            entry["read"] += step or b""
            if step == b"":
                assert entry["end"] == "good"
                assert entry["hurt"] or entry["read"] == entry["content"]
        self.held -= stream.take_released()
        assert entry["hurt"] or entry["content"].startswith(entry["read"])

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 99))
    def discard(self, index: int) -> None:
        entry = self.pick(index)
        entry["stream"].discard()
        self.held -= entry["stream"].take_released()
        self.streams.remove(entry)

    @rule()
    def leave(self) -> None:
        self.core.on_sender_left("ann", "PA", self.now)

    @rule(seconds=st.sampled_from([0.1, 1, 3, 70]))
    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.core.handle_timeout(self.now)

    @rule()
    def lose_session(self) -> None:
        self.core.on_session_lost()

    @invariant()
    def the_window_adds_up(self) -> None:
        assert self.core.held_bytes == self.held
        assert (self.core.next_timeout() is not None) or not self.core.open_count


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.binary(max_size=60), st.lists(st.integers(0, 6), max_size=12), st.booleans())
def test_any_order_of_chunks_is_complete_or_an_error(data: bytes, order: list[int], compressed: bool) -> None:
    bench = Bench()
    sent = b"".join(deflate(data)) if compressed else data
    pieces = list(split_bytes(sent, max(1, -(-len(sent) // 5))))
    kind = Compression.DEFLATE_RAW if compressed else Compression.NONE
    stream = bench.header(replace(HEADER, total_length=len(data), compression=kind))
    for index in order:
        bench.chunk(index, pieces[index] if index < len(pieces) else b"extra")
    bench.trailer()
    try:
        assert bench.drain(stream) == (data, True)
    except StreamError:
        assert [i for n, i in enumerate(order) if i not in order[:n]] != list(range(len(pieces)))

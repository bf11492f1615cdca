"""What we send of a stream."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.packets.messages import Compression, StreamChunk, StreamHeader, StreamTrailer, TextHeader
from trio_livekit._sansio.streams.outgoing import OutgoingStream
from trio_livekit.errors import StreamError, StreamErrorReason


def outgoing(
    total: int | None = None, *, text: bool = False, compression: Compression = Compression.NONE
) -> OutgoingStream:
    header = StreamHeader("id", 0, "topic", "mime", total, text=TextHeader() if text else None, compression=compression)
    return OutgoingStream(header)


def chunks(stream: OutgoingStream, content: bytes | memoryview) -> list[StreamChunk]:
    """The chunks of some more content, sent."""
    sent = []
    for piece in stream.cut(content):
        sent.append(stream.chunk(piece))
        stream.on_sent(sent[-1])
    return sent


def test_chunks_are_numbered_through() -> None:
    stream = outgoing()
    assert chunks(stream, bytes(15_001)) == [StreamChunk("id", 0, bytes(15_000)), StreamChunk("id", 1, b"\0")]
    assert chunks(stream, b"") == []
    assert stream.chunk(b"never sent") == StreamChunk("id", 2, b"never sent")
    assert chunks(stream, memoryview(b"abc")[1:]) == [StreamChunk("id", 2, b"bc")]
    assert stream.content_bytes == 15_003
    assert stream.trailer({"k": "v"}) == StreamTrailer("id", "", {"k": "v"})


def test_text_is_cut_between_characters() -> None:
    first, second = chunks(outgoing(text=True), ("x" + "é" * 7500).encode())
    assert (len(first.content), second.content) == (14_999, "é".encode())


def test_compressed_text_is_bytes() -> None:
    stream = outgoing(10**6, text=True, compression=Compression.DEFLATE_RAW)
    assert [len(chunk.content) for chunk in chunks(stream, b"\xff" + b"\x80" * 15_000)] == [15_000, 1]
    assert stream.trailer({}).reason == ""


def test_content_has_to_be_what_was_announced() -> None:
    stream = outgoing(3)
    assert len(chunks(stream, b"ab")) == 1
    with pytest.raises(StreamError, match="2 more bytes after 2 are over the 3") as error:
        stream.cut(b"cd")
    assert (error.value.reason, error.value.stream_id) == (StreamErrorReason.TOO_LONG, "id")
    with pytest.raises(StreamError, match="only 2 of the 3") as error:
        stream.trailer({})
    assert error.value.reason is StreamErrorReason.INCOMPLETE
    assert [chunk.chunk_index for chunk in chunks(stream, b"c")] == [1]
    assert stream.trailer({}) == StreamTrailer("id")


def test_giving_up_always_has_a_reason() -> None:
    assert outgoing(3).abort("enough") == StreamTrailer("id", "enough")
    assert outgoing(3).abort("").reason

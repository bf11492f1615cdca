"""What we send of a stream."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.packets.messages import Compression, StreamChunk, StreamHeader, StreamTrailer, TextHeader
from trio_livekit._sansio.streams.outgoing import OutgoingStream
from trio_livekit.errors import StreamError, StreamErrorReason


def outgoing(total: int | None = None, *, text: bool = False, compression: Compression = Compression.NONE) -> object:
    header = StreamHeader("id", 0, "topic", "mime", total, text=TextHeader() if text else None, compression=compression)
    return OutgoingStream(header)


def test_chunks_are_numbered_through() -> None:
    stream = outgoing()
    assert list(stream.chunks(bytes(15_001))) == [StreamChunk("id", 0, bytes(15_000)), StreamChunk("id", 1, b"\0")]
    assert list(stream.chunks(b"")) == []
    assert list(stream.chunks(memoryview(b"abc")[1:])) == [StreamChunk("id", 2, b"bc")]
    assert stream.content_bytes == 15_003
    assert stream.trailer({"k": "v"}) == StreamTrailer("id", "", {"k": "v"})


def test_text_is_cut_between_characters() -> None:
    first, second = outgoing(text=True).chunks(("x" + "é" * 7500).encode())
    assert (len(first.content), second.content) == (14_999, "é".encode())


def test_compressed_text_is_bytes() -> None:
    stream = outgoing(10**6, text=True, compression=Compression.DEFLATE_RAW)
    assert [len(chunk.content) for chunk in stream.chunks(b"\xff" + b"\x80" * 15_000)] == [15_000, 1]
    assert stream.trailer({}).reason == ""


def test_content_has_to_be_what_was_announced() -> None:
    stream = outgoing(3)
    assert len(list(stream.chunks(b"ab"))) == 1
    with pytest.raises(StreamError, match="2 more bytes after 2 are over the 3") as error:
        stream.chunks(b"cd")
    assert (error.value.reason, error.value.stream_id) == (StreamErrorReason.TOO_LONG, "id")
    with pytest.raises(StreamError, match="only 2 of the 3") as error:
        stream.trailer({})
    assert error.value.reason is StreamErrorReason.INCOMPLETE
    assert [chunk.chunk_index for chunk in stream.chunks(b"c")] == [1]
    assert stream.trailer({}) == StreamTrailer("id")


def test_giving_up_always_has_a_reason() -> None:
    assert outgoing(3).abort("enough") == StreamTrailer("id", "enough")
    assert outgoing(3).abort("").reason

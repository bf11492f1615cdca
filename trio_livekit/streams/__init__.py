"""Text and byte streams: content of any size or length, in order, to everyone in the room or to some.

A stream is complete, or it is an error: a reader gets every byte that was sent, or ``StreamError`` where one is
missing, never a silent end. Writers and readers are blocks, and each side keeps the other's pace: a reader that is slow
fills the connection's window, and holds up the server.

``async with room.open_text_stream("chat") as writer`` sends text piece by piece, and ``room.open_byte_stream()`` bytes;
``room.send_text``, ``room.send_bytes`` and ``room.send_file`` send what is there already. ``async with
room.text_streams("chat") as streams`` and ``room.byte_streams()`` yield a reader for each stream of a topic.

``room`` has these calls, ``writers`` and ``readers`` are what they yield, ``headers`` says what is announced of a
stream, and ``progress`` is for watching.
"""

from __future__ import annotations

__all__ = [
    "ByteStreamInfo",
    "ByteStreamReader",
    "ByteStreamWriter",
    "ByteStreams",
    "StreamProgress",
    "StreamingRoom",
    "TextOperation",
    "TextStreamInfo",
    "TextStreamReader",
    "TextStreamWriter",
    "TextStreams",
]

from .._sansio.packets.messages import TextOperation
from .._sansio.streams.info import ByteStreamInfo, TextStreamInfo
from .progress import StreamProgress
from .readers import ByteStreamReader, ByteStreams, TextStreamReader, TextStreams
from .room import StreamingRoom
from .writers import ByteStreamWriter, TextStreamWriter

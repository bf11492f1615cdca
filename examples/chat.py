"""A chat with answers, corrections and attachments, on the topic that LiveKit's own components use.

python examples/chat.py            ann and bob talk to each other
python examples/chat.py NAME       be NAME, and type (with LIVEKIT_URL and keys in the environment)
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from arena import Arena, arena

import trio_livekit as lk

TOPIC = "lk.chat"


async def show(room: lk.Room, name: str) -> None:
    """Print what others say, and what they attach. One who writes slowly holds up nobody."""
    async with room.text_streams(TOPIC) as texts, room.byte_streams(TOPIC) as files, trio.open_nursery() as nursery:
        nursery.start_soon(show_files, files, name)
        async for text in texts:
            nursery.start_soon(show_text, text, name)


async def show_text(text: lk.TextStreamReader, name: str) -> None:
    info = text.info
    try:
        words = await text.read_all()
    except lk.StreamError:
        words = "(left in the middle of a sentence)"
    how = "corrects" if info.operation is lk.TextOperation.UPDATE else "answers" if info.reply_to else "says"
    print(f"[{name}] {info.sender_identity} {how}: {words}")


async def show_files(files: lk.ByteStreams, name: str) -> None:
    async for file in files:
        content = await file.read_all()
        print(f"[{name}] {file.info.sender_identity} attaches {file.info.name} ({len(content)} bytes)")


async def ann(room: lk.Room) -> None:
    first = await room.send_text("lunch at one?", topic=TOPIC)
    await trio.sleep(0.3)
    await room.send_text("lunch at half past one?", topic=TOPIC, replaces=first)
    await trio.sleep(0.3)
    async with room.open_text_stream(TOPIC) as writer:  # as it is typed
        for word in ("the ", "usual ", "place"):
            await writer.write(word)
            await trio.sleep(0.1)


async def bob(room: lk.Room) -> None:
    await trio.sleep(0.9)
    with tempfile.TemporaryDirectory() as directory:
        menu = Path(directory) / "menu.txt"
        menu.write_text("soup\n")
        await room.send_text("fine; here is the menu", topic=TOPIC, attachments=[menu])


async def talk(where: Arena, name: str, say: Callable[[lk.Room], Awaitable[None]]) -> None:
    async with lk.connect(where.url, where.token(name, "kitchen")) as room, trio.open_nursery() as nursery:
        nursery.start_soon(show, room, name)
        await room.wait_for_participant("bob" if name == "ann" else "ann", active=True)
        await say(room)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def type_lines(where: Arena, name: str) -> None:
    async with lk.connect(where.url, where.token(name, "kitchen")) as room, trio.open_nursery() as nursery:
        nursery.start_soon(show, room, name)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await room.send_text(line.rstrip("\n"), topic=TOPIC)
        nursery.cancel_scope.cancel()


async def main(name: str | None) -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        if name:
            await type_lines(where, name)
        else:
            nursery.start_soon(talk, where, "ann", ann)
            nursery.start_soon(talk, where, "bob", bob)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)

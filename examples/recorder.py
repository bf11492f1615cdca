"""Records every data track of a room to disk, and plays a recording back.

Each track is recorded by a task of its own, in the nursery of the room's block: a track that ends ends its task, and
leaving the room ends them all. A recording is a file of frames, each with its time and its length before it.
Somebody who comes back under the same identity gets new files, and no name of others leads out of the directory.

    python examples/recorder.py [DIRECTORY]
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trio
from arena import Arena, arena

import trio_livekit as lk

FRAME = struct.Struct("<QI")  # user timestamp in milliseconds (0 for none), bytes that follow


def file_name(track: lk.RemoteDataTrack) -> str:
    """Identity and name are anything that others chose; the SID is the server's, and new for each publication."""
    readable = re.sub(r"[^\w.-]", "_", f"{track.publisher_identity}-{track.name}", flags=re.ASCII)
    return f"{readable[:100]}-{track.sid}.frames"


async def record_track(track: lk.RemoteDataTrack, directory: trio.Path) -> None:
    try:
        async with track.subscribe(buffer_size=256) as frames, await (directory / file_name(track)).open("wb") as file:
            async for frame in frames:
                await file.write(FRAME.pack(frame.user_timestamp or 0, len(frame.payload)) + frame.payload)
    except lk.SubscribeError as error:  # gone already, or not for us: the others are recorded all the same
        print(f"recorder: {track.name} of {track.publisher_identity}: {error}")
        return
    counts = frames.statistics()
    print(
        f"recorder: {track.name}: {counts.frames_received} frames, {counts.frames_lost + counts.frames_displaced} lost"
    )


async def record_room(where: Arena, directory: trio.Path, ready: trio.Event) -> None:
    """Record what is published, from now until everybody has left."""
    async with lk.connect(where.url, where.token("recorder", "lab")) as room, room.events() as events:
        ready.set()
        async with trio.open_nursery() as nursery:
            for participant in room.participants.values():
                for track in participant.data_tracks:
                    nursery.start_soon(record_track, track, directory)
            async for event in events:
                match event:
                    case lk.events.DataTrackPublished(track):
                        nursery.start_soon(record_track, track, directory)
                    case lk.events.ParticipantDisconnected() if not room.participants:
                        break


def play(path: Path) -> Iterator[tuple[int, bytes]]:
    """The times and payloads of a recording."""
    data = path.read_bytes()
    offset = 0
    while offset < len(data):
        timestamp, size = FRAME.unpack_from(data, offset)
        offset += FRAME.size
        yield timestamp, data[offset : offset + size]
        offset += size


async def robot(where: Arena) -> None:
    async with lk.connect(where.url, where.token("robot", "lab")) as room, trio.open_nursery() as nursery:
        for name, rate_hz, size in (("pose", 50, 56), ("scan", 10, 8000)):
            nursery.start_soon(publish, room, name, rate_hz, size)


async def publish(room: lk.Room, name: str, rate_hz: int, size: int) -> None:
    async with room.publish_data_track(name) as track:
        await trio.sleep(0.3)  # for the recorder to subscribe
        for number in range(rate_hz * 2):
            track.try_push(bytes([number % 256]) * size, lk.now_ms())
            await trio.sleep(1 / rate_hz)


async def main(directory: Path) -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        ready = trio.Event()
        nursery.start_soon(record_room, where, trio.Path(directory), ready)
        await ready.wait()
        await robot(where)
    for path in sorted(directory.glob("*.frames")):
        frames = list(play(path))
        seconds = (frames[-1][0] - frames[0][0]) / 1000
        print(f"{path.name}: {len(frames)} frames in {seconds:.1f} s, {sum(len(p) for _, p in frames)} bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(main, Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            trio.run(main, Path(temporary))

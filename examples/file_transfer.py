"""A file from one participant to another, with progress at both ends and a checksum at the end.

A stream is complete or it is an error, so what is on disk afterwards is the file, or nothing at all.

    python examples/file_transfer.py [FILE]
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import trio
from arena import Arena, arena

import trio_livekit as lk


async def show(progress: lk.StreamProgress) -> None:
    async for sent in progress:  # the latest, however slow this loop
        print(f"sender: {sent:,} of {progress.total_bytes:,} bytes ({progress.fraction:.0%})")
        await trio.sleep(0.2)


async def sender(where: Arena, path: Path) -> None:
    async with lk.connect(where.url, where.token("sender", "lab")) as room, trio.open_nursery() as nursery:
        await room.wait_for_participant("receiver", active=True)
        progress = lk.StreamProgress()
        nursery.start_soon(show, progress)
        await room.send_file(path, topic="files", destination_identities=["receiver"], progress=progress)


async def receiver(where: Arena, directory: Path) -> None:
    async with lk.connect(where.url, where.token("receiver", "lab")) as room, room.byte_streams("files") as streams:
        stream = await streams.receive()
        name = stream.info.safe_name  # of what the sender calls it, what can do no harm here
        partial = trio.Path(directory) / f"{name}.part"
        digest = hashlib.sha256()
        try:
            async with await partial.open("wb") as file:
                async for part in stream:
                    digest.update(part)
                    await file.write(part)
        except lk.StreamError as error:
            await partial.unlink()
            print(f"receiver: {name} is not complete: {error}")
            return
        await partial.rename(directory / name)
        print(f"receiver: {name}, {stream.received_bytes:,} bytes, sha256 {digest.hexdigest()[:16]}...")


async def main(path: Path, directory: Path) -> None:
    print(f"sender: {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}...")
    async with arena() as where, trio.open_nursery() as nursery:
        nursery.start_soon(receiver, where, directory)
        nursery.start_soon(sender, where, path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        if len(sys.argv) > 1:
            source = Path(sys.argv[1])
        else:
            source = Path(temporary) / "map.bin"
            source.write_bytes(os.urandom(8_000_000))
        target = Path(temporary) / "received"
        target.mkdir()
        trio.run(main, source, target)

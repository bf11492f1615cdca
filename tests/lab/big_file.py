"""A file as large as you like, from one process to another, through a livekit-server: whole, and in little memory.

    python -m tests.lab.big_file [--megabytes 1000] [--bound 16]

The file is made of random bytes, sent by this process and hashed by another one as it is read. Says at which rate it
came, and by how much the memory of either process grew meanwhile. The exit status is 1 where the hashes differ or the
memory grew by more than ``--bound`` MiB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

import trio_livekit as lk

from ..support.livekit import LiveKitServer, find_server, run_server
from .soak import rss_mib

ROOM, TOPIC = "files", "file"
PART_BYTES = 1_000_000
SAMPLE_S = 0.05
READY = b"ready\n"
START_S = 60.0
"""For the other process to be there, on a machine that is busy."""


@dataclass(frozen=True)
class Outcome:
    """Of one end."""

    size: int
    sha256: str
    seconds: float
    grown_mib: float


class Memory:
    """How much this process grew at most, since it was connected."""

    def __init__(self) -> None:
        self.at_first = self.at_most = rss_mib()

    async def run(self) -> None:
        while True:
            self.at_most = max(self.at_most, rss_mib())
            await trio.sleep(SAMPLE_S)

    @property
    def grown_mib(self) -> float:
        return round(self.at_most - self.at_first, 1)


def make_file(path: Path, size: int, seed: int = 1) -> str:
    """Random bytes; returns their hash."""
    dice, digest = random.Random(seed), hashlib.sha256()
    with path.open("wb") as file:
        while left := size - file.tell():
            part = dice.randbytes(min(left, PART_BYTES))
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


async def send(url: str, token: str, path: Path) -> Outcome:
    """Send a file to whoever there is."""
    async with lk.connect(url, token) as room, trio.open_nursery() as nursery:
        with trio.fail_after(START_S):
            await room.wait_for_participant("receiver")
        memory = Memory()
        nursery.start_soon(memory.run)
        start = trio.current_time()
        info = await room.send_file(path, topic=TOPIC, destination_identities=["receiver"])
        seconds = trio.current_time() - start
        nursery.cancel_scope.cancel("sent")
    return Outcome(info.total_bytes or 0, "", seconds, memory.grown_mib)


async def receive(url: str, token: str) -> Outcome:
    """Read one file, and keep nothing of it but its hash."""
    digest, size = hashlib.sha256(), 0
    async with lk.connect(url, token) as room, room.byte_streams(TOPIC) as streams, trio.open_nursery() as nursery:
        print(READY.decode(), end="", flush=True)
        reader = await streams.receive()
        memory = Memory()
        nursery.start_soon(memory.run)
        start = trio.current_time()
        async for part in reader:
            digest.update(part)
            size += len(part)
        seconds = trio.current_time() - start
        nursery.cancel_scope.cancel("received")
    return Outcome(size, digest.hexdigest(), seconds, memory.grown_mib)


async def transfer(server: LiveKitServer, size: int, directory: Path) -> tuple[str, Outcome, Outcome]:
    """Returns the hash of the file, and what came of it at either end."""
    path = directory / "file.bin"
    sha256 = make_file(path, size)
    command = [sys.executable, "-m", "tests.lab.big_file", "--receive", server.url, server.token("receiver", ROOM)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with process.stdout:
            said = b""
            with trio.fail_after(START_S):
                while READY not in said:
                    part = await process.stdout.receive_some()
                    if not part:
                        raise RuntimeError("the receiver has ended, and said why")
                    said += part
            sent = await send(server.url, server.token("sender", ROOM), path)
            async for part in process.stdout:
                said += part
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
    return sha256, sent, Outcome(**json.loads(said.partition(READY)[2]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.big_file")
    parser.add_argument("--megabytes", type=float, default=1000.0)
    parser.add_argument("--bound", type=float, default=16.0, help="MiB that either process may grow by")
    parser.add_argument("--receive", nargs=2, metavar=("URL", "TOKEN"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.receive:
        print(json.dumps(asdict(trio.run(receive, *arguments.receive))))
        return 0
    binary = find_server()
    if binary is None:
        sys.exit("there is no livekit-server: see tests/support/livekit.py")
    with tempfile.TemporaryDirectory() as name, run_server(binary, Path(name)) as server:
        size = math.ceil(arguments.megabytes * 1e6)
        sha256, sent, received = trio.run(transfer, server, size, Path(name))
    is_whole = (received.size, received.sha256) == (size, sha256)
    print(f"{received.size / 1e6:.0f} of {size / 1e6:.0f} MB, {'the same' if is_whole else 'ANOTHER'} SHA-256")
    print(f"{received.size / 1e6 / sent.seconds:.1f} MB/s")
    print(f"grown by {sent.grown_mib} MiB at the sender, {received.grown_mib} MiB at the receiver")
    return 0 if is_whole and max(sent.grown_mib, received.grown_mib) <= arguments.bound else 1


if __name__ == "__main__":
    sys.exit(main())

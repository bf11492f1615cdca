"""What a room of the embedded server feels of floods from outside and from the room next door (S34).

    python -m tests.lab.floods [--seconds 15] [--bound-ms 100] [--floods half-open strangers tokens data]

The server, the flood and the two clients that are measured are three processes. The clients send each other a hundred
reliable packets a second; every flood lasts as long as the quiet before it:

    half-open   5,000 TCP connections that begin a request and no more, each opened anew 5 seconds after it is dropped
    strangers   10,000 UDP datagrams a second to the ports of the room: checks for other users, handshakes, noise
    tokens      requests with a mebibyte of identity, one after another
    data        a client of another room that publishes as fast as it is let, to somebody who does not read

Says how long packets took, how much of a processor the server used, for what share of the time it waited for one (on a
busy machine that is what is measured), and by how much its memory grew: it keeps 512 connections that have not said who
they are, and drops the oldest for the next. The exit status is 1 where the 99th percentile is over the bound, a packet
is missing, or a half-open connection takes more than 100 KiB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import socket
import subprocess
import sys
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import trio

import trio_livekit as lk
from trio_livekit._sansio.ice import stun
from trio_livekit.server import Limits, serve

from .running import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

KEY, SECRET = "floods", "a secret for one run, on loopback alone"
HALF_OPEN, HALF_OPEN_KIB = 5000, 100
HANDSHAKE_S = Limits().handshake_timeout_s
DATAGRAMS_HZ, BURST = 10_000, 50
PACKETS_HZ, PACKET_BYTES = 100, 200
DRAIN_S = 10.0
FULL = "in full"
"""What the process of a flood says when it is."""


@dataclass(frozen=True)
class Target:
    """What there is to flood."""

    url: str
    udp: tuple[tuple[str, int], ...]

    @property
    def tcp(self) -> tuple[str, int]:
        """Where signalling is."""
        host, _, port = self.url.removeprefix("ws://").rpartition(":")
        return host, int(port)


def token(identity: str, room: str) -> str:
    return lk.access_token(KEY, SECRET, identity=identity, room=room)


# --- the floods, each in a process of its own ----------------------------------------------------------------------


async def half_open(target: Target) -> None:
    """In full when all have been opened once."""
    opened = 0

    async def hold() -> None:
        nonlocal opened
        while True:
            with suppress(OSError), trio.socket.socket() as connection:
                await connection.connect(target.tcp)
                await connection.send(b"GET /rtc?access_token=")
                opened += 1
                if opened == HALF_OPEN:
                    print(FULL, flush=True)
                await connection.recv(1)
            await trio.sleep(HANDSHAKE_S)

    async with trio.open_nursery() as nursery:
        for _ in range(HALF_OPEN):
            nursery.start_soon(hold)


def noise(dice: random.Random) -> bytes:
    """A check for a user whom nobody knows, a ClientHello that is none, or nothing at all."""
    username = f"{dice.randrange(1 << 32):08x}:{dice.randrange(1 << 28):07x}".encode()
    attribute = stun.USERNAME.to_bytes(2, "big") + len(username).to_bytes(2, "big") + username
    check = bytes([0, 1]) + len(attribute).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + dice.randbytes(12) + attribute
    hello = bytes([22, 0xFE, 0xFD]) + bytes(8) + (60).to_bytes(2, "big") + bytes([1]) + dice.randbytes(59)
    return dice.choice((check, hello, dice.randbytes(200)))


async def strangers(target: Target) -> None:
    dice = random.Random(34)
    print(FULL, flush=True)
    made = [noise(dice) for _ in range(DATAGRAMS_HZ)]
    begun = trio.current_time()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in itertools.count():
            with suppress(OSError):
                sender.sendto(made[number % len(made)], target.udp[number % len(target.udp)])
            if number % BURST == 0:
                await trio.sleep_until(begun + number / DATAGRAMS_HZ)


async def tokens(target: Target) -> None:
    print(FULL, flush=True)
    head = f"GET /rtc/v1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token('x' * (1 << 20), 'den')}\r\n\r\n".encode()
    while True:
        with suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream(*target.tcp) as stream:
                await stream.send_all(head)
                await stream.receive_some()


async def data(target: Target) -> None:
    async with lk.connect(target.url, token("loud", "noisy")) as loud, lk.connect(target.url, token("deaf", "noisy")):
        print(FULL, flush=True)
        for number in itertools.count():
            await loud.publish_data(bytes(10_000), reliable=number % 2 == 0)


async def nothing(_: Target) -> None:
    print(FULL, flush=True)
    await trio.sleep_forever()


QUIET = "quiet"
FLOODS: dict[str, Callable[[Target], Awaitable[None]]] = {
    QUIET: nothing,
    "half-open": half_open,
    "strangers": strangers,
    "tokens": tokens,
    "data": data,
}


async def serve_alone() -> None:
    """Serve until stdin is closed, and say where."""
    async with serve(
        api_key=KEY,
        api_secret=SECRET,
    ) as server:
        print(server.url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


# --- what is measured ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """Of one flood: how long packets took, how many did not come, and what the server grew by."""

    flood: str
    p50_ms: float
    p99_ms: float
    packets: int
    missing: int
    server_cpu: float
    server_waited: float
    grown_mib: float

    def is_good(self, bound_ms: float) -> bool:
        """Whether the room next door was left alone."""
        kept = Limits().pending_connections
        per_connection_kib = self.grown_mib * 1024 / kept if self.flood == "half-open" else 0.0
        return self.p99_ms < bound_ms and not self.missing and per_connection_kib <= HALF_OPEN_KIB

    def line(self) -> str:
        """For people."""
        return (
            f"{self.flood:10} p50 {self.p50_ms:7.2f} ms   p99 {self.p99_ms:7.2f} ms   "
            f"{self.packets} packets, {self.missing} missing   server {self.server_cpu:.0%} of a processor, "
            f"waited {self.server_waited:.0%}, {self.grown_mib:+.1f} MiB"
        )


def rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


async def latencies(ann: lk.Room, bob: lk.Room, seconds: float) -> tuple[list[float], int]:
    """How long reliable packets took, in seconds, and how many are missing."""
    took: list[float] = []
    sent = round(seconds * PACKETS_HZ)
    begun = trio.current_time()

    async with bob.data_packets() as packets, trio.open_nursery() as nursery:

        async def send() -> None:
            for number in range(sent):
                await trio.sleep_until(begun + number / PACKETS_HZ)
                at = trio.current_time()
                await ann.publish_data(repr(at).encode().ljust(PACKET_BYTES))

        nursery.start_soon(send)
        with trio.move_on_after(seconds + DRAIN_S):
            while len(took) < sent:
                packet = await packets.receive()
                took.append(trio.current_time() - float(packet.payload))
        nursery.cancel_scope.cancel("measured")
    return took, sent - len(took)


def scheduled_s(pid: int) -> tuple[float, float]:
    """For how long a process has had a processor, and waited for one."""
    with open(f"/proc/{pid}/schedstat") as stat:
        had, waited, _ = stat.read().split()
    return int(had) / 1e9, int(waited) / 1e9


def percentiles_ms(took: list[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    ranked = sorted(took) or [float("inf")]
    return ranked[len(ranked) // 2] * 1e3, ranked[int(0.99 * (len(ranked) - 1))] * 1e3


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """This module in another process, which is ended with the block."""
    command = [sys.executable, "-m", __spec__.name, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def says(process: subprocess.Popen[str]) -> str:
    """The next line of a process."""
    assert process.stdout is not None
    with trio.fail_after(60):
        line = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
    if not line:
        raise RuntimeError("a process of this experiment has ended early")
    return line.strip()


@asynccontextmanager
async def two_clients(url: str) -> AsyncIterator[tuple[lk.Room, lk.Room]]:
    async with lk.connect(url, token("ann", "den")) as ann, lk.connect(url, token("bob", "den")) as bob:
        await ann.wait_for_participant("bob")
        yield ann, bob


def udp_ports(*rooms: lk.Room) -> tuple[tuple[str, int], ...]:
    """Where the server listens for the members of a room: worse for them than any other port."""
    links = [room._session._connection.links for room in rooms]
    paths = [peer._core.ice.selected_path for link in links for peer in (link._publisher, link._subscriber) if peer]
    return tuple(path.remote for path in paths if path is not None)


async def under(floods: list[str], seconds: float) -> AsyncIterator[Outcome]:
    """The outcome of no flood, and of each."""
    with child("--serve") as server:
        url = await says(server)
        async with two_clients(url) as (ann, bob):
            target = Target(url, udp_ports(ann, bob))
            for name in (QUIET, *floods):
                before = rss_mib(server.pid)
                with child("--flood", name, "--target", json.dumps(astuple(target))) as flooding:
                    await says(flooding)
                    begun, (had, waited) = trio.current_time(), scheduled_s(server.pid)
                    took, missing = await latencies(ann, bob, seconds)
                    lasted, (has, waits) = trio.current_time() - begun, scheduled_s(server.pid)
                    shares = (has - had) / lasted, (waits - waited) / lasted
                    yield Outcome(
                        name, *percentiles_ms(took), len(took), missing, *shares, rss_mib(server.pid) - before
                    )


async def measure(floods: list[str], seconds: float, bound_ms: float) -> int:
    """Say it all, and return the exit status."""
    failed = 0
    async with aclosing(under(floods, seconds)) as outcomes:
        async for one in outcomes:
            is_good = one.is_good(bound_ms)
            failed |= not is_good
            print(one.line() + ("" if is_good else "   FAILED"), flush=True)
    return failed


async def flood(name: str, target: str) -> None:
    """Until this process is ended."""
    url, ports = json.loads(target)
    await FLOODS[name](Target(url, tuple((host, port) for host, port in ports)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.floods", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each flood lasts")
    parser.add_argument("--bound-ms", type=float, default=100.0, help="for the 99th percentile")
    parser.add_argument("--floods", nargs="+", choices=FLOODS, default=[name for name in FLOODS if name != QUIET])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--flood", choices=FLOODS, help=argparse.SUPPRESS)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        trio.run(serve_alone)
    elif given.flood:
        trio.run(flood, given.flood, given.target)
    else:
        return run(measure, given.floods, given.seconds, given.bound_ms)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Two rooms, five clients in each, all kinds of data between them, and a fault every minute; then, what came of it.

    python -m tests.lab.soak [--minutes 60] [--load 1.0] [--seed 1] [--ours-only]

Three clients of each room are ours, all of them in this process, behind proxies and sockets that can fail; two are of
LiveKit's own Python SDK, where that is installed. Between them is a livekit-server. At full load each of ours sends 20
numbered reliable packets a second, 50 lossy ones, two tracks of 30 frames of a kilobyte, 2 calls, and a megabyte as a
stream every minute. At the end nothing may be left: no task, no open file, nobody in a room.

What breaks a promise (R1 to R10 of ``tests/api/test_promises.py``) is listed, and makes the exit status 1; the rest is
counted.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import itertools
import os
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

import trio_livekit as lk
from trio_livekit import events as ev
from trio_livekit.testing.faults import BLOCKED, LinkModel

from ..support import official, room_service
from ..support.leaks import open_files
from ..support.livekit import find_server, run_server
from ..support.peers import Unavailable
from ..support.proxy import SignalProxy, signal_proxy
from .running import run
from .sockets import BadSockets, bad_sockets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..support.livekit import LiveKitServer
    from ..support.official import Official

OURS, THEIRS, ROOMS = 3, 2, 2

RELIABLE_HZ, LOSSY_HZ, FRAME_HZ, CALL_HZ, OFFICIAL_HZ = 20.0, 50.0, 30.0, 2.0, 2.0
TRACKS = 2
PACKET_BYTES, FRAME_BYTES, STREAM_BYTES = 200, 1000, 1_000_000
STREAM_EVERY_S, FAULT_EVERY_S, LONGEST_FAULT_S, SAMPLE_EVERY_S = 60.0, 60.0, 10.0, 10.0
CALL_TIMEOUT_S = 15.0
STREAM_TIMEOUT_S = 90.0
"""More than the minute after which a stream of which nothing comes is given up."""

SETTLE_S = 12.0
"""After the last fault: until everything that was sent has arrived, or is known not to."""


class Tally:
    """What happened, by name; what must not happen is ``broken``."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []

    def add(self, what: str, count: int = 1) -> None:
        self.counts[what] += count

    def breaks(self, promise: str, text: str) -> None:
        self.counts[f"{promise} broken"] += 1
        if len(self.broken) < 50:
            self.broken.append(f"{promise}: {text}")


def content(name: str, number: int, size: int) -> bytes:
    """Every byte says what it belongs to."""
    head = b"%s %d " % (name.encode(), number)
    return head + bytes((number + index) & 0xFF for index in range(16)) * (size // 16)


class Ledger:
    """The numbered packets that one receiver has from one sender."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.epochs: tuple[str, int] = ("", 0)  # sessions of the receiver and of the sender, when the last one came

    def on_packet(self, tally: Tally, pair: str, number: int, epochs: tuple[str, int]) -> None:
        tally.add("reliable received")
        if self.last is not None:
            if number <= self.last:
                tally.breaks("R2", f"{pair}: {number} after {self.last}")
            elif number > self.last + 1:
                missed = number - self.last - 1
                if self.epochs[0] != epochs[0]:
                    tally.add("reliable missed, for the receiver had no session", missed)
                elif self.epochs[1] != epochs[1]:
                    tally.add("reliable lost with the sender's session, which the server forgot", missed)
                else:
                    tally.breaks("R1", f"{pair}: {missed} missing before {number}")
        self.last = number if self.last is None else max(self.last, number)
        self.epochs = epochs


class Client:
    """One of ours."""

    def __init__(self, hall: Hall, identity: str, room: lk.Room, proxy: SignalProxy, sockets: BadSockets) -> None:
        self.hall, self.identity, self.room, self.proxy, self.sockets = hall, identity, room, proxy, sockets
        self.tally = hall.tally
        self.forgotten = 0  # sessions lost, by the server without a word
        self.executed: Counter[str] = Counter()
        self.ledgers: dict[str, Ledger] = {}

    # --- what it sends ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """All it does until the traffic is stopped; what is received goes on until this is cancelled."""
        async with trio.open_nursery() as nursery:
            for task in (self._follow, self._read_reliable, self._read_lossy, self._read_streams, self._serve):
                nursery.start_soon(task)
            nursery.start_soon(self._find_tracks, nursery)
            async with trio.open_nursery() as sending:
                for number in range(TRACKS):
                    sending.start_soon(self._publish_track, f"{self.identity}-{number}")
                for task in (self._send_reliable, self._send_lossy, self._call, self._send_streams):
                    sending.start_soon(task)
            self.hall.on_sent()
            await trio.sleep_forever()

    async def _beat(self, hz: float) -> bool:
        """Wait for the next time; whether to go on."""
        with trio.move_on_after(1 / (hz * self.hall.load) * random.uniform(0.8, 1.2)):
            await self.hall.stopping.wait()
        return not self.hall.stopping.is_set()

    async def _send_reliable(self) -> None:
        receipts: list[lk.Receipt] = []
        number = 0
        while await self._beat(RELIABLE_HZ):
            receipts.append(
                await self.room.publish_data(content(self.identity, number, PACKET_BYTES), topic="reliable")
            )
            number += 1
            receipts = [receipt for receipt in receipts if not receipt.is_acked]
            self.tally.add("reliable sent")
        with trio.move_on_after(SETTLE_S) as bound:
            for receipt in receipts:
                with suppress(lk.DeliveryError):
                    await receipt.wait_acked()
        if bound.cancelled_caught:
            self.tally.breaks("R10", f"{self.identity}: {len(receipts)} packets are neither acknowledged nor given up")

    async def _send_lossy(self) -> None:
        number = 0
        while await self._beat(LOSSY_HZ):
            payload = content(self.identity, number, PACKET_BYTES)
            await self.room.publish_data(payload, reliable=False, topic="lossy")
            number += 1
            self.tally.add("lossy sent")

    async def _publish_track(self, name: str) -> None:
        async with self.room.publish_data_track(name) as track:
            number = 0
            while await self._beat(FRAME_HZ):
                try:
                    track.try_push(content(name, number, FRAME_BYTES))
                    self.tally.add("frames pushed")
                except lk.PushError as error:
                    self.tally.add(f"frames refused: {error.reason.name}")
                number += 1
            await trio.sleep(2)  # the last ones are to arrive

    async def _call(self) -> None:
        for number in itertools.count():
            if not await self._beat(CALL_HZ):
                break
            callee = self.hall.next_to(self)
            name = f"{self.identity}-{number}"
            payload = name + " " * (random.random() < 0.2) * 30_000
            start = trio.current_time()
            executed: bool | None = True
            try:
                said = await self.room.perform_rpc(
                    destination_identity=callee.identity,
                    method="desk",
                    payload=payload,
                    response_timeout=CALL_TIMEOUT_S,
                )
                if said != payload:
                    self.tally.breaks("R7", f"{name}: another answer")
                self.tally.add("calls answered")
            except lk.RpcError as error:
                executed = error.executed
                self.tally.add(f"calls failed: {error.code}, executed={executed}")
            if trio.current_time() - start > CALL_TIMEOUT_S + 1:
                self.tally.breaks("R7", f"{name}: took {trio.current_time() - start:.1f} s")
            count = callee.executed.pop(name, 0)
            if count > 1 or (executed is not None and count != executed):
                self.tally.breaks("R7", f"{name}: executed {count} times, the caller was told {executed}")

    async def _send_streams(self) -> None:
        for number in itertools.count():
            if not await self._beat(1 / STREAM_EVERY_S / self.hall.load):
                break
            data = random.randbytes(STREAM_BYTES)
            name = f"{self.identity}-{number} {hashlib.sha256(data).hexdigest()}"
            try:
                await self.room.send_bytes(data, name=name, topic="streams")
                self.tally.add("streams sent")
            except lk.LiveKitError as error:
                self.tally.add(f"streams failed at the sender: {getattr(error, 'reason', error)}")

    # --- what it receives ---------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        async with self.room.events(buffer_size=10_000) as events:
            async for event in events:
                if isinstance(event, ev.Reconnected):
                    self.tally.add("resumed" if event.resumed else "joined anew")
                elif isinstance(event, ev.ContinuityLost):
                    self.tally.add("continuity lost, as told")

    async def _read_reliable(self) -> None:
        async with self.room.data_packets("reliable", buffer_size=10_000) as packets:
            async for packet in packets:
                sender = packet.sender_identity
                number = int(packet.payload.split(b" ", 2)[1])
                if packet.payload != content(sender, number, PACKET_BYTES):
                    self.tally.breaks("R2", f"{sender} to {self.identity}: {number} is damaged")
                ledger = self.ledgers.setdefault(sender, Ledger())
                # Packets of a new session come before the room is told that it has one.
                epochs = self.room.local_participant.sid, self.hall.epoch_of(sender)
                ledger.on_packet(self.tally, f"{sender} to {self.identity}", number, epochs)

    async def _read_lossy(self) -> None:
        async with self.room.data_packets("lossy", buffer_size=10_000) as packets:
            async for packet in packets:
                number = int(packet.payload.split(b" ", 2)[1])
                if packet.payload != content(packet.sender_identity, number, PACKET_BYTES):
                    self.tally.breaks("R8", f"a lossy packet of {packet.sender_identity} is damaged")
                self.tally.add("lossy received")

    async def _read_streams(self) -> None:
        async with self.room.byte_streams("streams") as streams, trio.open_nursery() as nursery:
            async for reader in streams:
                nursery.start_soon(self._read_stream, reader)

    async def _read_stream(self, reader: lk.ByteStreamReader) -> None:
        digest = hashlib.sha256()
        try:
            with trio.fail_after(STREAM_TIMEOUT_S):
                async for part in reader:
                    digest.update(part)
        except lk.StreamError as error:
            self.tally.add(f"streams failed at the reader: {error.reason.name}")
        except trio.TooSlowError:
            self.tally.breaks("R6", f"{reader.info.name} hangs at {self.identity}")
        else:
            if digest.hexdigest() != (reader.info.name or "").split()[-1]:
                self.tally.breaks("R6", f"{reader.info.name} is damaged at {self.identity}")
            self.tally.add("streams received")

    async def _find_tracks(self, nursery: trio.Nursery) -> None:
        async with self.room.events(buffer_size=10_000) as events:
            for participant in self.room.participants.values():
                for track in participant.data_tracks:
                    nursery.start_soon(self._read_track, track)
            async for event in events:
                if isinstance(event, ev.DataTrackPublished):
                    nursery.start_soon(self._read_track, event.track)

    async def _read_track(self, track: lk.RemoteDataTrack) -> None:
        newest = -1
        while track.is_published:
            try:
                async with track.subscribe(buffer_size=1000) as frames:
                    async for frame in frames:
                        number = int(frame.payload.split(b" ", 2)[1])
                        if frame.payload != content(track.name, number, FRAME_BYTES):
                            self.tally.breaks("R8", f"a frame of {track.name} is damaged")
                        if number <= newest:
                            self.tally.breaks("R8", f"{track.name}: {number} after {newest}")
                        newest = number
                        self.tally.add("frames received")
            except lk.SubscribeError as error:
                self.tally.add(f"subscriptions failed: {error.reason.name}")

    async def _serve(self) -> None:
        async def desk(invocation: lk.RpcInvocation) -> str:
            self.executed[invocation.payload.split(" ")[0]] += 1
            return invocation.payload

        async with self.room.register_rpc_method("desk", desk):
            await trio.sleep_forever()


class Ear(list[Any]):
    """Instead of the events of one of theirs, which would pile up: only the numbers of what it receives are kept."""

    def __init__(self, hall: Hall, identity: str) -> None:
        super().__init__()
        self.hall, self.identity = hall, identity
        self.last: dict[str, int] = {}

    def append(self, event: Any) -> None:
        if event.get("event") != "data" or event.get("topic") != "reliable":
            return
        sender, number = event["identity"], int(event["text"].split(" ", 2)[1])
        self.hall.tally.add("reliable received by theirs")
        if number <= self.last.get(sender, -1):
            self.hall.tally.add("reliable received twice by theirs")
        self.last[sender] = max(number, self.last.get(sender, -1))


class Hall:
    """One room."""

    def __init__(self, name: str, server: LiveKitServer, load: float, tally: Tally) -> None:
        self.name, self.server, self.load, self.tally = name, server, load, tally
        self.clients: list[Client] = []
        self.stopping = trio.Event()
        self.sent = trio.Event()
        self._sending = OURS

    def on_sent(self) -> None:
        """One client has stopped sending."""
        self._sending -= 1
        if not self._sending:
            self.sent.set()

    def next_to(self, client: Client) -> Client:
        return self.clients[(self.clients.index(client) + 1) % len(self.clients)]

    def epoch_of(self, identity: str) -> int:
        return next((client.forgotten for client in self.clients if client.identity == identity), 0)

    async def enter(self, number: int, stack: AsyncExitStack) -> None:
        """One of ours."""
        identity = f"{self.name}-ours-{number}"
        proxy = await stack.enter_async_context(signal_proxy(self.server.url))
        sockets = await stack.enter_async_context(bad_sockets())
        token = self.server.token(identity, self.name)
        room = await stack.enter_async_context(lk.connect(proxy.url, token))
        self.clients.append(Client(self, identity, room, proxy, sockets))

    async def enter_theirs(self, number: int, peer: Official) -> None:
        identity = f"{self.name}-theirs-{number}"
        peer._events = Ear(self, identity)
        await peer.call("connect", url=self.server.url, token=self.server.token(identity, self.name))
        count = 0
        while not self.stopping.is_set():
            text = content(identity, count, PACKET_BYTES).decode("latin-1")[:100]
            await peer.call("publish_data", text=text, topic="theirs")
            count += 1
            self.tally.add("reliable sent by theirs")
            with trio.move_on_after(1 / OFFICIAL_HZ / self.load):
                await self.stopping.wait()


class Faults:
    """One after the other, each for a while."""

    def __init__(self, halls: list[Hall], server: LiveKitServer, dice: random.Random, tally: Tally) -> None:
        self.halls, self.server, self.dice, self.tally = halls, server, dice, tally

    async def run(self) -> None:
        faults = (
            self.signal_cut, self.signal_refused, self.no_udp, self.bad_udp, self.another_port, self.full_reconnect,
            self.node_failure, self.server_frozen,
        )  # fmt: skip
        while True:
            await trio.sleep(FAULT_EVERY_S * self.dice.uniform(0.6, 1.0))
            client = self.dice.choice([client for hall in self.halls for client in hall.clients])
            fault = self.dice.choice(faults)
            seconds = self.dice.uniform(1, LONGEST_FAULT_S)
            print(f"{fault.__name__}: {client.identity}, {seconds:.1f} s", flush=True)
            self.tally.add(f"fault: {fault.__name__}")
            await fault(client, seconds)

    async def signal_cut(self, client: Client, _seconds: float) -> None:
        client.proxy.cut()
        await trio.lowlevel.checkpoint()

    async def signal_refused(self, client: Client, seconds: float) -> None:
        client.proxy.cut(refuse=True)
        await trio.sleep(seconds)
        client.proxy.refuses = False

    async def no_udp(self, client: Client, seconds: float) -> None:
        client.sockets.set_model(BLOCKED)
        await trio.sleep(seconds)
        client.sockets.set_model(LinkModel())

    async def bad_udp(self, client: Client, seconds: float) -> None:
        client.sockets.set_model(LinkModel(loss=0.1, delay_s=0.02, jitter_s=0.01, duplicate=0.05))
        await trio.sleep(seconds)
        client.sockets.set_model(LinkModel())

    async def another_port(self, client: Client, _seconds: float) -> None:
        client.sockets.rebind()
        await trio.lowlevel.checkpoint()

    async def full_reconnect(self, client: Client, _seconds: float) -> None:
        client.forgotten += 1
        await client.room.simulate(lk.SimulateScenario.FULL_RECONNECT)

    async def node_failure(self, client: Client, _seconds: float) -> None:
        client.forgotten += 1
        await client.room.simulate(lk.SimulateScenario.NODE_FAILURE)

    async def server_frozen(self, _client: Client, seconds: float) -> None:
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            await trio.sleep(seconds)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)


class Samples:
    """Of what this process uses."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, int, int]] = []  # minutes, MiB, tasks, files

    async def run(self) -> None:
        start = trio.current_time()
        while True:
            await trio.sleep(SAMPLE_EVERY_S)
            gc.collect()
            minutes = (trio.current_time() - start) / 60
            self.rows.append((minutes, rss_mib(), trio.lowlevel.current_statistics().tasks_living, len(open_files())))

    def report(self) -> Iterable[str]:
        rows = self.rows[len(self.rows) // 4 :]
        if len(rows) > 2:
            first, last = rows[0], rows[-1]
            yield f"RSS {first[1]:.1f} MiB after {first[0]:.0f} min, {last[1]:.1f} MiB after {last[0]:.0f} min"
            yield f"RSS slope {slope([row[0] for row in rows], [row[1] for row in rows]) * 60:+.1f} MiB an hour"
            yield f"tasks {min(row[2] for row in rows)} to {max(row[2] for row in rows)}"
            yield f"files {min(row[3] for row in rows)} to {max(row[3] for row in rows)}"


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def slope(xs: list[float], ys: list[float]) -> float:
    """Of the line that fits best."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


async def soak(server: LiveKitServer, minutes: float, load: float, seed: int, python: Path | None) -> Tally:
    """Everything, for so long; returns what came of it."""
    tally, samples = Tally(), Samples()
    await trio.testing.wait_all_tasks_blocked()
    tasks, files = trio.lowlevel.current_statistics().tasks_living, open_files()
    halls = [Hall(f"soak-{number}", server, load, tally) for number in range(ROOMS)]
    async with AsyncExitStack() as stack:
        peers: list[tuple[Hall, int, Official]] = []
        for hall in halls:
            for number in range(OURS):
                await hall.enter(number, stack)
            for number in range(THEIRS if python else 0):
                log = server.log_path.with_name(f"{hall.name}-{number}.log")
                peer = await stack.enter_async_context(official.open_python(python, log))  # type: ignore[arg-type]
                peers.append((hall, number, peer))
        async with trio.open_nursery() as nursery:
            for hall, number, peer in peers:
                nursery.start_soon(hall.enter_theirs, number, peer)
            for hall in halls:
                for client in hall.clients:
                    nursery.start_soon(client.run)
            nursery.start_soon(samples.run)
            with trio.move_on_after(minutes * 60):
                await Faults(halls, server, random.Random(seed), tally).run()
            for client in itertools.chain.from_iterable(hall.clients for hall in halls):
                client.proxy.refuses = False
                client.sockets.set_model(LinkModel())
            await trio.sleep(SETTLE_S)
            for hall in halls:
                hall.stopping.set()
                with trio.move_on_after(CALL_TIMEOUT_S + SETTLE_S) as bound:
                    await hall.sent.wait()
                if bound.cancelled_caught:
                    tally.breaks("R10", f"somebody in {hall.name} never stops sending")
            await trio.sleep(2)
            for client in itertools.chain.from_iterable(hall.clients for hall in halls):
                statistics = client.room.packet_statistics()
                if statistics.reliable_unacknowledged or statistics.reliable_waiting or statistics.unread_bytes:
                    tally.breaks("R10", f"{client.identity}: {statistics}")
            nursery.cancel_scope.cancel("enough")
    await trio.sleep(1)
    gc.collect()
    await check_nothing_is_left(tally, halls, tasks, files)
    for line in samples.report():
        print(line)
    return tally


async def check_nothing_is_left(tally: Tally, halls: list[Hall], tasks: int, files: dict[int, str]) -> None:
    left = trio.lowlevel.current_statistics().tasks_living - tasks
    if left > 0:
        tally.breaks("R10", f"{left} tasks are left")
    opened = {number: target for number, target in open_files().items() if files.get(number) != target}
    if opened:
        tally.breaks("R10", f"files are left open: {opened}")
    for hall in halls:
        with suppress(room_service.RoomServiceError):  # there is no such room any more
            said = await room_service.call(hall.server, "ListParticipants", room=hall.name)
            ours = [each["identity"] for each in said["participants"] if "ours" in each["identity"]]
            if ours:
                tally.breaks("R10", f"still in the room: {ours}")


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    """What went wrong, without the blocks that it came through."""
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from leaves(exc)
        else:
            yield exc


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--load", type=float, default=1.0, help="of the rates above, a share")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ours-only", action="store_true")
    arguments = parser.parse_args()
    binary = find_server()
    if binary is None:
        sys.exit("there is no livekit-server: see tests/support/livekit.py")
    python: Path | None = None
    if not arguments.ours_only:
        try:
            python = official.install_python()
        except Unavailable as error:
            print(f"without LiveKit's own Python SDK: {error}")
    with tempfile.TemporaryDirectory() as directory, run_server(binary, Path(directory)) as server:
        try:
            tally = run(soak, server, arguments.minutes, arguments.load, arguments.seed, python)
        except BaseExceptionGroup as group:  # of more levels than a traceback shows
            for leaf in leaves(group):
                traceback.print_exception(leaf)
            return 1
    for what, count in sorted(tally.counts.items()):
        print(f"{count:>10}  {what}")
    for text in tally.broken:
        print(text)
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())

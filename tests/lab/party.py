"""One participant of an experiment, in a process of its own: it sends and receives what is counted, and tells events.

    python -m tests.lab.party '{"url": ..., "token": ..., "me": "P", "other": "O"}'

Commands come as JSON, one a line, on the standard input: ``{"do": "stop"}`` ends the sending, ``{"do": "endless"}``
begins a stream that never ends, ``{"do": "report"}`` asks for all that was counted, ``{"do": "leave"}`` leaves the
room. What happens is told, as JSON as well, on the standard output, with the time of the machine's monotonic clock, so
that several processes can be compared.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

import trio_livekit as lk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

now = time.monotonic


@dataclass
class Traffic:
    """What a party sends, in seconds from one to the next, and in bytes. None of a kind: 0 seconds."""

    reliable_s: float = 0.02
    reliable_bytes: int = 200
    lossy_s: float = 0.02
    lossy_bytes: int = 200
    frame_s: float = 0.05
    frame_bytes: int = 1000
    stream_s: float = 1.0
    stream_bytes: int = 20_000
    call_s: float = 0.5


@dataclass
class Flow:
    """One kind, both ways, by number: when it was sent, what became of that, when the other's arrived."""

    sent: dict[int, float] = field(default_factory=dict)
    acked: dict[int, float] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    arrived: dict[int, float] = field(default_factory=dict)
    twice: int = 0

    def take(self, number: int) -> None:
        self.twice += number in self.arrived
        self.arrived.setdefault(number, now())


def tell(what: str, **more: object) -> None:
    """Say what happened, and when."""
    print(json.dumps({"at": now(), "what": what, **more}), flush=True)


def numbered(number: int, size: int) -> bytes:
    return b"%08d" % number + bytes(size - 8)


class Party:
    """Counts for as long as the process lasts, whatever becomes of the room."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.url, self.token = settings["url"], settings["token"]
        self.me, self.other = settings["me"], settings["other"]
        self.traffic = Traffic(**settings.get("traffic", {}))
        self.reads = settings.get("reads", True)
        """Else it asks for everything and takes nothing."""
        self.flows = {kind: Flow() for kind in ("R", "L", "T", "S", "C")}
        self.sending = trio.CancelScope()
        self.visit = trio.CancelScope()
        self.endless = trio.Event()
        self.room: lk.Room | None = None

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.obey)
            with self.visit:
                await self.join()
            self.report()
            nursery.cancel_scope.cancel("over")

    async def join(self) -> None:
        tell("joining")
        try:
            async with lk.connect(self.url, self.token, join_timeout=40) as room:
                self.room = room
                tell("joined", sid=room.local_participant.sid)
                await self.live(room)
        except lk.RoomDisconnected as error:
            tell("ended", reason=getattr(error.reason, "name", str(error.reason)))
        except lk.ConnectError as error:
            tell("not joined", reason=error.reason.name, text=str(error))

    async def live(self, room: lk.Room) -> None:
        async with (
            room.data_packets("R", buffer_size=10_000) as reliable,
            room.data_packets("L", buffer_size=10_000) as lossy,
            room.text_streams("S") as texts,
            room.register_rpc_method("C", self.serve),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.watch, room)
            nursery.start_soon(self.subscribe, room)
            if self.reads:
                nursery.start_soon(self.receive, self.flows["R"], reliable)
                nursery.start_soon(self.receive, self.flows["L"], lossy)
                nursery.start_soon(self.read_streams, texts, nursery)
            try:
                await self.publish(room, nursery)
            except lk.PublishError as error:
                tell("unpublished", reason=error.reason.name)
            await trio.sleep_forever()

    async def publish(self, room: lk.Room, nursery: trio.Nursery) -> None:
        async with room.publish_data_track(f"frames of {self.me}") as track:
            await room.wait_for_participant(self.other)
            tell("ready")
            with self.sending:
                async with trio.open_nursery() as sending:
                    traffic = self.traffic
                    sending.start_soon(self.send_reliable, room, nursery)
                    sending.start_soon(self.send_lossy, room)
                    sending.start_soon(self.push, track)
                    sending.start_soon(self.write_for_ever, room)
                    for interval_s, act in ((traffic.stream_s, self.send_text), (traffic.call_s, self.call)):
                        sending.start_soon(self.every, interval_s, act, room, nursery)
            tell("stopped")
            await trio.sleep_forever()

    # --- sending ------------------------------------------------------------------------------------------------------

    async def send_reliable(self, room: lk.Room, nursery: trio.Nursery) -> None:
        flow, traffic = self.flows["R"], self.traffic
        async for number in paced(traffic.reliable_s):
            try:
                receipt = await room.publish_data(numbered(number, traffic.reliable_bytes), topic="R")
            except lk.LiveKitError as error:
                flow.failed[number] = type(error).__name__
                continue
            flow.sent[number] = now()
            nursery.start_soon(self.await_ack, number, receipt)

    async def await_ack(self, number: int, receipt: lk.Receipt) -> None:
        try:
            await receipt.wait_acked()
        except lk.LiveKitError as error:
            self.flows["R"].failed[number] = type(error).__name__
        else:
            self.flows["R"].acked[number] = now()

    async def send_lossy(self, room: lk.Room) -> None:
        flow, traffic = self.flows["L"], self.traffic
        async for number in paced(traffic.lossy_s):
            flow.sent[number] = now()
            try:
                await room.publish_data(numbered(number, traffic.lossy_bytes), reliable=False, topic="L")
            except lk.LiveKitError as error:
                flow.failed[number] = type(error).__name__

    async def push(self, track: lk.LocalDataTrack) -> None:
        flow, traffic = self.flows["T"], self.traffic
        async for number in paced(traffic.frame_s):
            flow.sent[number] = now()
            try:
                track.try_push(numbered(number, traffic.frame_bytes))
            except lk.PushError as error:
                flow.failed[number] = error.reason.name

    async def every(
        self, interval_s: float, act: Callable[[lk.Room, int], Awaitable[None]], room: lk.Room, nursery: trio.Nursery
    ) -> None:
        async for number in paced(interval_s):
            nursery.start_soon(act, room, number)

    async def send_text(self, room: lk.Room, number: int) -> None:
        flow = self.flows["S"]
        flow.sent[number] = now()
        try:
            await room.send_text(f"{number:08}{'x' * (self.traffic.stream_bytes - 8)}", topic="S")
        except lk.LiveKitError as error:
            flow.failed[number] = type(error).__name__
        else:
            flow.acked[number] = now()

    async def write_for_ever(self, room: lk.Room) -> None:
        await self.endless.wait()
        with suppress(lk.LiveKitError):
            async with room.open_text_stream(topic="S") as writer:
                while True:
                    await writer.write("and so on ")
                    await trio.sleep(0.1)

    async def call(self, room: lk.Room, number: int) -> None:
        flow = self.flows["C"]
        flow.sent[number] = now()
        try:
            await room.perform_rpc(destination_identity=self.other, method="C", payload=f"{number:08}")
        except lk.LiveKitError as error:
            flow.failed[number] = f"{type(error).__name__} {getattr(error, 'code', '')}"
        else:
            flow.acked[number] = now()

    # --- receiving ----------------------------------------------------------------------------------------------------

    async def serve(self, invocation: lk.RpcInvocation) -> str:
        self.flows["C"].take(int(invocation.payload))
        return invocation.payload

    async def receive(self, flow: Flow, arriving: AsyncIterator[Any]) -> None:
        async for item in arriving:
            flow.take(int(item.payload[:8]))

    async def read_streams(self, texts: lk.TextStreams, nursery: trio.Nursery) -> None:
        async for reader in texts:
            nursery.start_soon(self.read_stream, reader)

    async def read_stream(self, reader: lk.TextStreamReader) -> None:
        try:
            self.flows["S"].take(int((await reader.read_all())[:8]))
        except lk.StreamError as error:
            tell("stream", reason=error.reason.name)

    async def subscribe(self, room: lk.Room) -> None:
        while True:
            publisher = await room.wait_for_participant(self.other)
            with suppress(lk.LiveKitError):
                remote = await publisher.data_tracks.wait_for(f"frames of {self.other}")
                async with remote.subscribe(buffer_size=1000 if self.reads else 16) as frames:
                    if not self.reads:
                        await trio.sleep_forever()
                    await self.receive(self.flows["T"], frames)
            await trio.sleep(0.05)

    async def watch(self, room: lk.Room) -> None:
        async with room.events() as events:
            async for event in events:
                match event:
                    case lk.events.Reconnecting():
                        tell("reconnecting")
                    case lk.events.Reconnected(resumed):
                        tell("reconnected", resumed=resumed, sid=room.local_participant.sid)
                    case lk.events.ParticipantConnected(participant):
                        tell("came", who=participant.identity)
                    case lk.events.ParticipantDisconnected(participant):
                        tell("went", who=participant.identity)
                    case lk.events.ContinuityLost():
                        tell("continuity lost")

    # --- commands -----------------------------------------------------------------------------------------------------

    async def obey(self) -> None:
        stdin = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
        rest = b""
        async for chunk in stdin:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self.follow(json.loads(line))
        self.visit.cancel("nobody is there any more")

    def follow(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "stop":
                self.sending.cancel("told to stop")
            case "endless":
                self.endless.set()
            case "leave":
                self.visit.cancel("told to leave")
            case "report":
                self.report()
            case "clock":
                shift_wall_clock(command["seconds"])

    def report(self) -> None:
        stats = None if self.room is None else self.room.stats()
        tell(
            "report",
            flows={kind: asdict(flow) for kind, flow in self.flows.items()},
            transports=[] if stats is None else [[t.protocol, t.local_kind] for t in stats.transports],
            files=len(os.listdir("/proc/self/fd")),
            rss_kb=resident_kb(),
            peak_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )


async def paced(interval_s: float) -> AsyncIterator[int]:
    """Numbers, at their times; none at all for 0. What was held up is not made up for."""
    if not interval_s:
        return
    number, due = 0, trio.current_time()
    while True:
        yield number
        number += 1
        due = max(due + interval_s, trio.current_time())
        await trio.sleep_until(due)


def shift_wall_clock(seconds: float) -> None:
    """What Python says the time is, from now on. Its monotonic clock, and so trio's, go on as they did."""
    time_s, time_ns = time.time, time.time_ns
    time.time = lambda: time_s() + seconds  # type: ignore[assignment]
    time.time_ns = lambda: time_ns() + int(seconds * 1e9)  # type: ignore[assignment]


def resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    trio.run(Party(json.loads(sys.argv[1])).run)

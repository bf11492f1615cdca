"""One end of a pair of data channels, on trio_livekit."""

from __future__ import annotations

import time
from typing import Any

import trio
from lines import serve_trio
from messages import Maker, Tally, batch_size, percentile
from usage import cpu_seconds

from trio_livekit._sansio.channels import BufferedAmountLow, ChannelOpened, MessageReceived
from trio_livekit._sansio.peer import Connected
from trio_livekit._transport.peer import PeerConfig, PeerConnection

BUFFER_BYTES = 1 << 20


class Worker:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.pc: PeerConnection | None = None

    async def reset(self, controlling: bool) -> PeerConnection:
        if self.pc is not None:
            self.pc.close()
        self.ids: dict[str, int] = {}
        self.changed = trio.Event()
        self.is_up = False
        self.tally: Tally | None = None
        self.replies: trio.MemorySendChannel[bytes] | None = None
        self.echoes = False
        config = PeerConfig(controlling=controlling, include_loopback=True, hosts=("127.0.0.1",))
        self.pc = PeerConnection(config, self.on_event)
        await self.pc.gather()
        await self.nursery.start(self.pc.run)
        return self.pc

    def on_event(self, event: object) -> None:
        if type(event) is MessageReceived:
            if self.tally is not None:
                self.tally.take(event.data)
            elif self.echoes:
                self.pc.send(event.channel_id, event.data)
            elif self.replies is not None:
                self.replies.send_nowait(event.data)
            return
        if isinstance(event, ChannelOpened):
            self.ids[event.label] = event.channel_id
        elif isinstance(event, Connected):
            self.is_up = True
        elif not isinstance(event, BufferedAmountLow):
            return
        self.changed.set()
        self.changed = trio.Event()

    async def offer(self) -> dict[str, Any]:
        pc = await self.reset(controlling=True)
        return {"sdp": pc.create_offer()}

    async def answer(self, sdp: str) -> dict[str, Any]:
        pc = await self.reset(controlling=False)
        return {"sdp": pc.accept_offer(sdp)}

    async def accept(self, sdp: str) -> None:
        self.pc.apply_answer(sdp)
        self.pc.open_channel("reliable")
        self.pc.open_channel("lossy", ordered=False, max_retransmits=0)

    async def wait_open(self) -> None:
        while len(self.ids) < 2 or not self.is_up:
            await self.changed.wait()

    async def expect(self, channel: str, size: int) -> None:
        self.tally = Tally(size, ordered=channel == "reliable", keep=channel == "lossy")

    async def send(self, channel: str, size: int, seconds: float) -> dict[str, Any]:
        pc, channel_id, maker = self.pc, self.ids[channel], Maker(size)
        pc.set_low_water(channel_id, BUFFER_BYTES // 2)
        batch, end = batch_size(size), time.monotonic() + seconds
        while time.monotonic() < end:
            while pc.buffered_amount(channel_id) >= BUFFER_BYTES:
                await self.changed.wait()
            for _ in range(batch):
                pc.send(channel_id, maker.next())
            await trio.lowlevel.checkpoint()
        return {"sent": maker.count}

    async def received(self, sent: int, quiet_s: float) -> dict[str, Any]:
        tally = self.tally
        while tally.received < sent and time.monotonic() - tally.last_s < quiet_s:
            await trio.sleep(0.01)
        self.tally = None
        return tally.result()

    async def echo(self) -> None:
        self.echoes = True

    async def ping(self, count: int, size: int) -> dict[str, Any]:
        maker, channel_id = Maker(size), self.ids["reliable"]
        self.replies, replies = trio.open_memory_channel[bytes](16)
        times = []
        for _ in range(count):
            message = maker.next()
            start = time.perf_counter_ns()
            self.pc.send(channel_id, message)
            reply = await replies.receive()
            times.append(time.perf_counter_ns() - start)
            if reply != message:
                raise ValueError("the echo is not what was sent")
        return {"p50_us": percentile(times, 50) / 1000, "p99_us": percentile(times, 99) / 1000}

    async def usage(self) -> dict[str, Any]:
        return {"cpu_s": cpu_seconds()}


async def main() -> None:
    async with trio.open_nursery() as nursery:
        await serve_trio(Worker(nursery))
        nursery.cancel_scope.cancel()


trio.run(main)

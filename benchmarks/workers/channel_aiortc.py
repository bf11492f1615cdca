"""One end of a pair of data channels, on aiortc."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aioice.ice
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from lines import serve_asyncio
from messages import Maker, Tally, batch_size, percentile
from usage import cpu_seconds

BUFFER_BYTES = 1 << 20

aioice.ice.get_host_addresses = lambda *_, **__: ["127.0.0.1"]  # it never offers a loopback address of its own accord


class Worker:
    pc: RTCPeerConnection | None = None

    async def reset(self) -> RTCPeerConnection:
        if self.pc is not None:
            await self.pc.close()
        self.channels: dict[str, RTCDataChannel] = {}
        self.opened: set[str] = set()
        self.all_open = asyncio.Event()
        self.room = asyncio.Event()
        self.tally: Tally | None = None
        self.replies: asyncio.Queue[bytes] | None = None
        self.echoes = False
        self.pc = RTCPeerConnection()
        self.pc.on("datachannel", self.add)
        return self.pc

    def add(self, channel: RTCDataChannel) -> None:
        self.channels[channel.label] = channel
        channel.on("message", lambda message: self.on_message(channel, message))
        channel.on("bufferedamountlow", self.room.set)
        channel.bufferedAmountLowThreshold = BUFFER_BYTES // 2
        if channel.readyState == "open":
            self.on_open(channel)
        else:
            channel.on("open", lambda: self.on_open(channel))

    def on_open(self, channel: RTCDataChannel) -> None:
        self.opened.add(channel.label)
        if len(self.opened) == 2:
            self.all_open.set()

    def on_message(self, channel: RTCDataChannel, message: bytes) -> None:
        if self.tally is not None:
            self.tally.take(message)
        elif self.echoes:
            channel.send(message)
        elif self.replies is not None:
            self.replies.put_nowait(message)

    async def offer(self) -> dict[str, Any]:
        pc = await self.reset()
        self.add(pc.createDataChannel("reliable"))
        self.add(pc.createDataChannel("lossy", ordered=False, maxRetransmits=0))
        await pc.setLocalDescription(await pc.createOffer())
        return {"sdp": pc.localDescription.sdp}

    async def answer(self, sdp: str) -> dict[str, Any]:
        pc = await self.reset()
        await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        return {"sdp": pc.localDescription.sdp}

    async def accept(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def wait_open(self) -> None:
        await self.all_open.wait()

    async def expect(self, channel: str, size: int) -> None:
        self.tally = Tally(size, ordered=channel == "reliable", keep=channel == "lossy")

    async def send(self, channel: str, size: int, seconds: float) -> dict[str, Any]:
        target, maker = self.channels[channel], Maker(size)
        batch, end = batch_size(size), time.monotonic() + seconds
        while time.monotonic() < end:
            while target.bufferedAmount >= BUFFER_BYTES:
                self.room.clear()
                await self.room.wait()
            for _ in range(batch):
                target.send(maker.next())
            await asyncio.sleep(0)
        return {"sent": maker.count}

    async def received(self, sent: int, quiet_s: float) -> dict[str, Any]:
        tally = self.tally
        while tally.received < sent and time.monotonic() - tally.last_s < quiet_s:
            await asyncio.sleep(0.01)
        self.tally = None
        return tally.result()

    async def echo(self) -> None:
        self.echoes = True

    async def ping(self, count: int, size: int) -> dict[str, Any]:
        maker, channel = Maker(size), self.channels["reliable"]
        self.replies = asyncio.Queue()
        times = []
        for _ in range(count):
            message = maker.next()
            start = time.perf_counter_ns()
            channel.send(message)
            reply = await self.replies.get()
            times.append(time.perf_counter_ns() - start)
            if reply != message:
                raise ValueError("the echo is not what was sent")
        return {"p50_us": percentile(times, 50) / 1000, "p99_us": percentile(times, 99) / 1000}

    async def usage(self) -> dict[str, Any]:
        return {"cpu_s": cpu_seconds()}


asyncio.run(serve_asyncio(Worker()))

"""One participant of a room, on trio_livekit: publishes data tracks or subscribes to them."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import Any

import trio
from lines import serve_trio
from messages import Maker, Pace, Tally
from usage import cpu_seconds

import trio_livekit as lk

BUFFER_FRAMES = 1024
PARTIAL_FRAMES = 8


class Worker:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.stack = AsyncExitStack()
        self.tracks: dict[str, lk.LocalDataTrack] = {}
        self.tally: Tally | None = None

    async def connect(self, url: str, token: str) -> dict[str, Any]:
        start = time.monotonic()
        self.room = await self.stack.enter_async_context(lk.connect(url, token))
        return {"seconds": time.monotonic() - start}

    async def publish(self, name: str) -> None:
        self.tracks[name] = await self.stack.enter_async_context(self.room.publish_data_track(name))

    async def subscribe(self, publisher: str, name: str) -> None:
        participant = await self.room.wait_for_participant(publisher)
        track = await participant.data_tracks.wait_for(name)
        subscription = track.subscribe(buffer_size=BUFFER_FRAMES, max_partial_frames=PARTIAL_FRAMES)
        frames = await self.stack.enter_async_context(subscription)
        self.nursery.start_soon(self.read, frames)

    async def read(self, frames: lk.DataTrackSubscription) -> None:
        try:
            async for frame in frames:
                if self.tally is not None:
                    self.tally.take(frame.payload)
        except trio.ClosedResourceError:
            pass  # this end has left

    async def visit(self, url: str, token: str, publisher: str, name: str) -> dict[str, Any]:
        start = time.monotonic()
        async with lk.connect(url, token) as room:
            connected_s = time.monotonic() - start
            track = await (await room.wait_for_participant(publisher)).data_tracks.wait_for(name)
            async with track.subscribe() as frames:
                await frames.receive()
                return {"connected_s": connected_s, "first_frame_s": time.monotonic() - start}

    async def expect(self, size: int, keep: bool = True) -> None:
        self.tally = Tally(size, ordered=False, keep=keep)

    async def push(self, name: str, size: int, rate: float, seconds: float) -> dict[str, Any]:
        track, maker, pace = self.tracks[name], Maker(size), Pace(rate, seconds)
        refused = 0
        while (due := pace.due()) is not None:
            for _ in range(due):
                try:
                    track.try_push(maker.next())
                except lk.PushError:
                    refused += 1
                await trio.lowlevel.checkpoint()
            await trio.sleep(pace.pause_s())
        return {"pushed": maker.count, "refused": refused, "seconds": pace.elapsed_s()}

    async def received(self, sent: int, quiet_s: float) -> dict[str, Any]:
        tally, start = self.tally, time.monotonic()
        while tally.received < sent and time.monotonic() - max(start, tally.last_s) < quiet_s:
            await trio.sleep(0.01)
        self.tally = None
        return tally.result()

    async def usage(self) -> dict[str, Any]:
        return {"cpu_s": cpu_seconds()}

    async def leave(self) -> None:
        await self.stack.aclose()


async def main() -> None:
    async with trio.open_nursery() as nursery:
        worker = Worker(nursery)
        await serve_trio(worker)
        await worker.leave()
        nursery.cancel_scope.cancel()


trio.run(main)

"""One participant of a room, on the official Python SDK: publishes data tracks or subscribes to them."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from lines import serve_asyncio
from livekit import rtc
from messages import Maker, Pace, Tally
from usage import cpu_seconds

BUFFER_FRAMES = 1024
PARTIAL_FRAMES = 8  # its default is 1, with which it loses more


class Tracks:
    """The data tracks that a room has told of."""

    def __init__(self, room: rtc.Room) -> None:
        self._known: dict[tuple[str, str], asyncio.Future[rtc.RemoteDataTrack]] = {}
        room.on("data_track_published", self._add)

    def get(self, publisher: str, name: str) -> asyncio.Future[rtc.RemoteDataTrack]:
        return self._known.setdefault((publisher, name), asyncio.get_running_loop().create_future())

    def _add(self, track: rtc.RemoteDataTrack) -> None:
        future = self.get(track.publisher_identity, track.info.name)
        if not future.done():
            future.set_result(track)


class Worker:
    def __init__(self) -> None:
        self.local: dict[str, rtc.LocalDataTrack] = {}
        self.readers: set[asyncio.Task[None]] = set()
        self.tally: Tally | None = None

    async def connect(self, url: str, token: str) -> dict[str, Any]:
        start = time.monotonic()
        self.room = rtc.Room()
        self.remote = Tracks(self.room)
        await self.room.connect(url, token)
        return {"seconds": time.monotonic() - start}

    async def publish(self, name: str) -> None:
        self.local[name] = await self.room.local_participant.publish_data_track(name=name)

    async def subscribe(self, publisher: str, name: str) -> None:
        track = await self.remote.get(publisher, name)
        track.set_pipeline_options(max_partial_frames=PARTIAL_FRAMES)
        stream = track.subscribe(buffer_size=BUFFER_FRAMES)
        self.readers.add(asyncio.ensure_future(self.read(stream)))

    async def read(self, stream: rtc.DataTrackStream) -> None:
        async for frame in stream:
            if self.tally is not None:
                self.tally.take(frame.payload)

    async def visit(self, url: str, token: str, publisher: str, name: str) -> dict[str, Any]:
        start = time.monotonic()
        room = rtc.Room()
        tracks = Tracks(room)
        await room.connect(url, token)
        connected_s = time.monotonic() - start
        stream = (await tracks.get(publisher, name)).subscribe()
        await anext(stream)
        first_frame_s = time.monotonic() - start
        await stream.aclose()
        await room.disconnect()
        return {"connected_s": connected_s, "first_frame_s": first_frame_s}

    async def expect(self, size: int, keep: bool = True) -> None:
        self.tally = Tally(size, ordered=False, keep=keep)

    async def push(self, name: str, size: int, rate: float, seconds: float) -> dict[str, Any]:
        track, maker, pace = self.local[name], Maker(size), Pace(rate, seconds)
        refused = 0
        while (due := pace.due()) is not None:
            for _ in range(due):
                try:
                    track.try_push(rtc.DataTrackFrame(maker.next()))
                except rtc.PushFrameError:
                    refused += 1
                await asyncio.sleep(0)
            await asyncio.sleep(pace.pause_s())
        return {"pushed": maker.count, "refused": refused, "seconds": pace.elapsed_s()}

    async def received(self, sent: int, quiet_s: float) -> dict[str, Any]:
        tally, start = self.tally, time.monotonic()
        while tally.received < sent and time.monotonic() - max(start, tally.last_s) < quiet_s:
            await asyncio.sleep(0.01)
        self.tally = None
        return tally.result()

    async def usage(self) -> dict[str, Any]:
        return {"cpu_s": cpu_seconds()}

    async def leave(self) -> None:
        await self.room.disconnect()


async def main() -> None:
    worker = Worker()
    await serve_asyncio(worker)
    await worker.leave()
    os._exit(0)  # its native threads take their time


asyncio.run(main())

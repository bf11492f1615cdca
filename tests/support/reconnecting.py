"""Rooms that are lost and come back, and what flows in them all the while."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

import trio_livekit as lk
from tests.support.rooms import remote_track
from trio_livekit import events as ev

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUICK = lk.ReconnectPolicy(delays_s=(0.0, 0.02), jitter_s=0.0, give_up_after_s=60.0)


async def until_reconnected(events: lk.RoomEvents, *, resumed: bool) -> list[ev.RoomEvent]:
    """What happens between ``Reconnecting`` and ``Reconnected``."""
    with trio.fail_after(10):
        while not isinstance(await events.receive(), ev.Reconnecting):
            pass
        between: list[ev.RoomEvent] = []
        while not isinstance(event := await events.receive(), ev.Reconnected):
            between.append(event)
    assert event.resumed is resumed
    return between


class Flow:
    """A track with both of its blocks open."""

    def __init__(self, track: lk.LocalDataTrack, remote: lk.RemoteDataTrack, frames: lk.DataTrackSubscription) -> None:
        self.track = track
        self.remote = remote
        self.frames = frames

    async def flows(self) -> None:
        """A frame that is pushed now arrives."""
        with trio.fail_after(5):
            self.track.try_push(payload := f"{trio.current_time()}".encode())
            while (await self.frames.receive()).payload != payload:
                pass

    async def flows_again(self) -> None:
        """Frames arrive, sooner or later."""
        with trio.fail_after(10):
            while True:
                await self.track.send(payload := f"{trio.current_time()}".encode())
                with trio.move_on_after(0.05):
                    while (await self.frames.receive()).payload != payload:
                        pass
                    return


@asynccontextmanager
async def flowing(publisher: lk.Room, subscriber: lk.Room, name: str = "flow") -> AsyncIterator[Flow]:
    """A track from one room to the other, with both of its blocks open."""
    async with publisher.publish_data_track(name) as track:
        remote = await remote_track(subscriber, publisher.local_participant.identity, name)
        async with remote.subscribe(buffer_size=1000) as frames:
            yield Flow(track, remote, frames)

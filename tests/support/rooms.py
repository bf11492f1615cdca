"""Waiting for what comes about in a room; the test fails if it does not in 10 seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    import trio_livekit as lk

Event = TypeVar("Event")


async def remote_track(room: lk.Room, identity: str, name: str) -> lk.RemoteDataTrack:
    """A track of another participant."""
    with trio.fail_after(30):
        return await (await room.wait_for_participant(identity)).data_tracks.wait_for(name)


async def next_event(events: lk.RoomEvents, kind: type[Event]) -> Event:
    """The next event of a kind."""
    with trio.fail_after(10):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__} came")

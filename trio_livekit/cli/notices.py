"""What the user of a running command should know meanwhile, on standard error."""

from __future__ import annotations

__all__ = ["telling_of_the_connection"]

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ..events import Reconnected, Reconnecting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..room import Room


@asynccontextmanager
async def telling_of_the_connection(room: Room) -> AsyncIterator[None]:
    """Say it when the connection is lost and when it is back: both ends are silent for so long.

    What is raised in the block comes out in a group of one.
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(_tell, room, name="notices of the connection")
        yield
        nursery.cancel_scope.cancel("the command is done with the room")


async def _tell(room: Room, *, task_status: trio.TaskStatus[None]) -> None:
    async with room.events() as events:
        task_status.started()
        async for event in events:
            if isinstance(event, Reconnecting):
                _say("the connection is lost, and looked for")
            elif isinstance(event, Reconnected):
                _say("connected again")


def _say(text: str) -> None:
    print(f"trio-livekit: {text}", file=sys.stderr, flush=True)

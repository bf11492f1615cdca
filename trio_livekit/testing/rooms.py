"""An embedded server and a number of joined rooms, as one ``async with``."""

from __future__ import annotations

__all__ = ["open_rooms"]

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from ..room import connect
from ..server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..room import Room
    from ..server import Server


@asynccontextmanager
async def open_rooms(
    *identities: str, room: str = "test", server: Server | None = None, **grants: bool
) -> AsyncIterator[tuple[Server, *tuple[Room, ...]]]:
    """A server, and one ``Room`` for each identity, all joined to the same room and aware of each other.

        async with open_rooms("robot", "viewer") as (server, robot, viewer):
            ...

    Args:
        identities: who joins.
        room: the name of the room they join.
        server: a server to join instead of one for this block alone.
        grants: fields of ``VideoGrants`` that everyone gets, such as ``can_publish_data=False``.
    """
    async with AsyncExitStack() as stack:
        if server is None:
            server = await stack.enter_async_context(serve())
        tokens = [server.token(identity, room, **cast("dict[str, Any]", grants)) for identity in identities]
        rooms = [await stack.enter_async_context(connect(server.url, token)) for token in tokens]
        for joined, own_identity in zip(rooms, identities, strict=True):
            for identity in identities:
                if identity != own_identity:
                    await joined.wait_for_participant(identity)
        yield (server, *rooms)

"""An embedded server and a number of joined rooms, as one ``async with``."""

from __future__ import annotations

__all__ = ["open_rooms"]

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast, overload

from ..room import connect
from ..server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from ..room import Room
    from ..server import Server


# A type checker does not unpack a tuple of any length into names: the usual numbers of rooms are spelled out.


@overload
def open_rooms(
    identity1: str, /, *, room: str = "test", server: Server | None = None, **grants: bool
) -> AbstractAsyncContextManager[tuple[Server, Room]]: ...


@overload
def open_rooms(
    identity1: str, identity2: str, /, *, room: str = "test", server: Server | None = None, **grants: bool
) -> AbstractAsyncContextManager[tuple[Server, Room, Room]]: ...


@overload
def open_rooms(
    identity1: str,
    identity2: str,
    identity3: str,
    /,
    *,
    room: str = "test",
    server: Server | None = None,
    **grants: bool,
) -> AbstractAsyncContextManager[tuple[Server, Room, Room, Room]]: ...


@overload
def open_rooms(
    identity1: str,
    identity2: str,
    identity3: str,
    identity4: str,
    /,
    *,
    room: str = "test",
    server: Server | None = None,
    **grants: bool,
) -> AbstractAsyncContextManager[tuple[Server, Room, Room, Room, Room]]: ...


@overload
def open_rooms(
    *identities: str, room: str = "test", server: Server | None = None, **grants: bool
) -> AbstractAsyncContextManager[tuple[Server, *tuple[Room, ...]]]: ...


def open_rooms(
    *identities: str, room: str = "test", server: Server | None = None, **grants: bool
) -> AbstractAsyncContextManager[tuple[Any, ...]]:
    """A server, and one ``Room`` for each identity, all joined to the same room and aware of each other.

        async with open_rooms("robot", "viewer") as (server, robot, viewer):
            ...

    Args:
        identities: who joins.
        room: the name of the room they join.
        server: a server to join instead of one for this block alone.
        grants: fields of ``VideoGrants`` that everyone gets, such as ``can_publish_data=False``.
    """
    return _open_rooms(identities, room, server, grants)


@asynccontextmanager
async def _open_rooms(
    identities: tuple[str, ...], room: str, server: Server | None, grants: dict[str, bool]
) -> AsyncIterator[tuple[Any, ...]]:
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

"""The servers that tests of the API run against, the real one and the embedded one, with one face.

Where they differ and a test has to know, it asks ``is_real``: a livekit-server tells of participants that publish
nothing, and takes back what was subscribed, on a tick of 3 seconds; the embedded server does so at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from trio_livekit.server import serve
from trio_livekit.tokens import VideoGrants, access_token

from . import room_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from trio_livekit.server import Server

    from .livekit import LiveKitServer


KINDS = ["livekit-server", "embedded"]


@asynccontextmanager
async def open_server(kind: str, real: Callable[[], LiveKitServer]) -> AsyncIterator[ServerUnderTest]:
    """A server of one of the ``KINDS``; ``real`` gets the livekit-server, where it is that."""
    if kind == "embedded":
        async with serve() as server:
            yield EmbeddedServer(server)
    else:
        yield RealServer(real())


class ServerUnderTest(ABC):
    """A running server, tokens for it, and what an operator may do to it."""

    is_real: bool
    url: str
    api_key: str
    api_secret: str

    def token(
        self,
        identity: str,
        room: str,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        kind: str | None = None,
        **grants: Any,
    ) -> str:
        """A token to join; ``grants`` are fields of ``VideoGrants``."""
        return access_token(
            self.api_key,
            self.api_secret,
            identity=identity,
            room=room,
            name=name,
            metadata=metadata,
            attributes=attributes,
            kind=kind,
            grants=VideoGrants(**grants),
        )

    async def wait_gone(self, room: str, identity: str) -> None:
        """Wait until a participant is not in a room any more; the test fails if that takes over a second."""
        with trio.fail_after(1):
            while identity in await self.participants(room):  # noqa: ASYNC110 - the room service has no events
                await trio.sleep(0.005)

    @abstractmethod
    async def participants(self, room: str) -> set[str]: ...

    @abstractmethod
    async def remove_participant(self, room: str, identity: str) -> None: ...

    @abstractmethod
    async def delete_room(self, room: str) -> None: ...

    @abstractmethod
    async def revoke_publishing(self, room: str, identity: str) -> None:
        """Take the permission to publish data away, and with it what is published."""

    @abstractmethod
    async def update_room_metadata(self, room: str, metadata: str) -> None: ...


class RealServer(ServerUnderTest):
    """A livekit-server process."""

    is_real = True

    def __init__(self, server: LiveKitServer) -> None:
        self.process = server
        self.url = server.url
        self.api_key = server.api_key
        self.api_secret = server.api_secret

    async def participants(self, room: str) -> set[str]:
        said = await room_service.call(self.process, "ListParticipants", room=room)
        return {participant["identity"] for participant in said["participants"]}

    async def remove_participant(self, room: str, identity: str) -> None:
        await room_service.call(self.process, "RemoveParticipant", room=room, identity=identity)

    async def delete_room(self, room: str) -> None:
        await room_service.call(self.process, "DeleteRoom", room=room)

    async def revoke_publishing(self, room: str, identity: str) -> None:
        permission = {"can_subscribe": True, "can_publish": True, "can_publish_data": False}
        await room_service.call(self.process, "UpdateParticipant", room=room, identity=identity, permission=permission)

    async def update_room_metadata(self, room: str, metadata: str) -> None:
        await room_service.call(self.process, "UpdateRoomMetadata", room=room, metadata=metadata)


class EmbeddedServer(ServerUnderTest):
    """``trio_livekit.server``, in this process."""

    is_real = False

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self.api_key = server.api_key
        self.api_secret = server.api_secret

    async def participants(self, room: str) -> set[str]:
        await trio.lowlevel.checkpoint()
        return set(self.server.participants(room))

    async def remove_participant(self, room: str, identity: str) -> None:
        await trio.lowlevel.checkpoint()
        self.server.remove_participant(room, identity)

    async def delete_room(self, room: str) -> None:
        await trio.lowlevel.checkpoint()
        self.server.delete_room(room)

    async def revoke_publishing(self, room: str, identity: str) -> None:
        await trio.lowlevel.checkpoint()
        self.server.update_permission(room, identity, can_publish_data=False)

    async def update_room_metadata(self, room: str, metadata: str) -> None:
        await trio.lowlevel.checkpoint()
        self.server.update_room_metadata(room, metadata)

"""Fixtures of the API's tests: a server of either kind, rooms to themselves, and a pair that is joined already."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

import trio_livekit as lk
from tests.support.servers import KINDS, EmbeddedServer, RealServer, open_server
from trio_livekit.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.livekit import LiveKitServer
    from tests.support.servers import ServerUnderTest

_room_numbers = itertools.count(1)


@pytest.fixture
def room_name() -> str:
    """A room that no other test uses."""
    return f"room-{next(_room_numbers)}"


@pytest.fixture
def real_server(livekit_server: LiveKitServer) -> RealServer:
    return RealServer(livekit_server)


@pytest.fixture
async def embedded_server() -> AsyncIterator[EmbeddedServer]:
    async with serve() as server:
        yield EmbeddedServer(server)


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ServerUnderTest]:
    """Both servers, one after the other."""
    async with open_server(request.param, lambda: request.getfixturevalue("livekit_server")) as server:
        yield server


@pytest.fixture
async def pair(server: ServerUnderTest, room_name: str) -> AsyncIterator[tuple[lk.Room, lk.Room]]:
    """Two clients in one room: ``alice``, who publishes, and ``bob``."""
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
    ):
        yield alice, bob

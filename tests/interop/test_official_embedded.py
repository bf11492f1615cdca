"""LiveKit's own SDKs in the embedded server, which is to stand in for the real one in the tests of applications."""

from __future__ import annotations

import pytest

import trio_livekit as lk

from ..cli import program
from . import official_cases as cases

pytestmark = pytest.mark.official


class Embedded:
    """``trio-livekit server`` as a process, with what the cases ask of a server."""

    def __init__(self, server):
        self.url = server.url
        self._keys = (server.api_key, server.api_secret)

    def token(self, identity, room):
        return lk.access_token(*self._keys, identity=identity, room=room)


@pytest.fixture(scope="module")
def embedded_server():
    with program.serving() as (_, server):
        yield Embedded(server)


@pytest.mark.parametrize(
    "case",
    [
        cases.tracks_come_and_go_here,
        cases.tracks_come_and_go_there,
        cases.a_stream_that_is_given_up_fails_there,
    ],
    ids=lambda case: case.__name__,
)
async def test_python_and_javascript(case, official_peer, embedded_server, room_name):
    await case(official_peer, embedded_server, room_name)


@pytest.mark.parametrize(
    "case",
    [
        cases.packets_arrive_there,
        cases.packets_arrive_here,
        cases.streams_arrive_there,
        cases.streams_arrive_here,
    ],
    ids=lambda case: case.__name__,
)
async def test_all(case, any_peer, embedded_server, room_name):
    await case(any_peer, embedded_server, room_name)


@pytest.mark.parametrize("single", [True, False])
async def test_frames(official_peer, embedded_server, room_name, single):
    await cases.frames_arrive_there(official_peer, embedded_server, room_name, *cases.ENOUGH, single=single)
    await official_peer.call("leave")
    await cases.frames_arrive_here(official_peer, embedded_server, f"{room_name}-2", *cases.ENOUGH, single=single)


async def test_calls(official_peer, embedded_server, room_name):
    await cases.calls_are_answered_there(official_peer, embedded_server, room_name, *cases.STREAM_PAYLOADS)
    await official_peer.call("leave")
    await cases.calls_are_answered_here(official_peer, embedded_server, f"{room_name}-2", *cases.STREAM_PAYLOADS)


async def test_calls_with_go(go_peer, embedded_server, room_name):
    await cases.calls_are_answered_there(go_peer, embedded_server, room_name, *cases.PACKET_PAYLOADS)
    await go_peer.call("leave")
    await cases.calls_are_answered_here(go_peer, embedded_server, f"{room_name}-2", *cases.PACKET_PAYLOADS)

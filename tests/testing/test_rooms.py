"""A server and joined rooms as one context manager."""

from __future__ import annotations

import pytest
import trio

import trio_livekit as lk
from trio_livekit.server import serve
from trio_livekit.testing.rooms import open_rooms

from ..support.leaks import nothing_left_behind


async def test_everyone_is_joined_and_knows_the_others():
    with trio.fail_after(20):
        async with open_rooms("robot", "viewer", "logger", room="lab") as (server, robot, viewer, logger):
            assert set(server.participants("lab")) == {"robot", "viewer", "logger"}
            assert set(robot.participants) == {"viewer", "logger"}
            assert set(viewer.participants) == {"robot", "logger"}
            assert logger.local_participant.identity == "logger"


async def test_a_server_may_be_shared():
    with trio.fail_after(20):
        async with serve() as server, open_rooms("ann", server=server) as (same, _):
            assert same is server
            async with open_rooms("bob", server=server, room="other"):
                assert set(server.rooms) == {"test", "other"}


async def test_grants_are_for_everyone():
    with trio.fail_after(20):
        async with open_rooms("ann", can_publish_data=False) as (_, ann):
            with pytest.raises(lk.PublishError) as caught:
                async with ann.publish_data_track("lidar"):
                    pass
            assert caught.value.reason is lk.PublishErrorReason.NOT_ALLOWED


async def test_nothing_is_left_behind():
    with trio.fail_after(20):
        async with nothing_left_behind():
            async with open_rooms("ann", "bob"):
                pass


async def test_errors_of_the_block_come_out_bare():
    with trio.fail_after(20), pytest.raises(LookupError, match="mine"):
        async with open_rooms("ann"):
            raise LookupError("mine")

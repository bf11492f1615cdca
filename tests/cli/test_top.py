"""A room as the monitor sees it."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.waiting import wait_until
from trio_livekit.cli.tables import table_lines
from trio_livekit.cli.top.view import document, room_table
from trio_livekit.cli.top.watcher import Watcher
from trio_livekit.tokens import VideoGrants, access_token

from . import program

HIDDEN = VideoGrants(hidden=True, can_publish=False, can_publish_data=False)


def token(server: program.Server, identity: str, grants: VideoGrants | None = None) -> str:
    return access_token(server.api_key, server.api_secret, identity=identity, room="watched", grants=grants)


@pytest.mark.parametrize("server", ["embedded", "livekit-server"], indirect=True)
async def test_what_is_seen_of_a_room(server: program.Server) -> None:
    async with (
        lk.connect(server.url, token(server, "first")) as first,
        first.publish_data_track("early") as early,
        lk.connect(server.url, token(server, "top", HIDDEN)) as room,
        trio.open_nursery() as nursery,
    ):
        watcher = Watcher(room)
        nursery.start_soon(watcher.run)
        async with (
            lk.connect(server.url, token(server, "second")) as second,
            second.publish_data_track("late") as late,
        ):
            await wait_until(lambda: len(watcher.meters) == 2 and not any(m.note for m in watcher.meters.values()))
            watcher.tick()
            await wait_until(lambda: _push(early, late) or all(meter.frames > 5 for meter in watcher.meters.values()))
            watcher.tick()
            assert set(first.participants) == {"second"}  # the monitor is not seen

            found = document(watcher, 1.5)
            assert (found["room"], found["seconds"], found["state"]) == ("watched", 1.5, "connected")
            assert [one["identity"] for one in found["participants"]] == ["first", "second"]
            (track,) = found["participants"][0]["tracks"]
            assert (track["name"], track["note"], track["encrypted"]) == ("early", "", False)
            assert track["frames"] > 5
            assert track["frames_per_s"] > 0
            assert track["bytes_per_s"] > 0
            assert track["latency_ms"]["samples"] == track["frames"]
            assert found["transports"][0]["protocol"] == "udp"

            for width in (60, 80, 120):
                lines = table_lines(room_table(watcher, "footer", width=width, ascii_only=True), width)
                assert lines[0].startswith("room watched: 2 participants, udp")
                assert lines[3].split()[:2] == ["first", "early"]
                assert lines[4].split()[:2] == ["second", "late"]
        await wait_until(lambda: len(watcher.meters) == 1)
        nursery.cancel_scope.cancel()


def _push(*tracks: lk.LocalDataTrack) -> None:
    for track in tracks:
        track.try_push(b"x" * 100, user_timestamp=lk.now_ms())


async def test_a_track_that_may_not_be_had(embedded: program.Server) -> None:
    async with (
        lk.connect(embedded.url, token(embedded, "alice")) as alice,
        alice.publish_data_track("secret"),
        lk.connect(embedded.url, token(embedded, "top", VideoGrants(can_subscribe=False))) as room,
        trio.open_nursery() as nursery,
    ):
        watcher = Watcher(room)
        nursery.start_soon(watcher.run)
        await wait_until(lambda: [meter.note for meter in watcher.meters.values()] == ["not allowed"])
        assert "not allowed" in table_lines(room_table(watcher, "", width=120, ascii_only=True), 120)[3]
        nursery.cancel_scope.cancel()


def test_as_a_process(embedded: program.Server) -> None:
    ran = program.run("top", "--room", "lab", "--seconds", "0.2", server=embedded)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.startswith(b"room lab: 0 participants, udp host")
    assert b"frames/s" in ran.stdout


def test_as_a_process_for_programs(embedded: program.Server) -> None:
    ran = program.run("top", "--room", "lab", "--seconds", "0.1", "--json", server=embedded)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout)["room"] == "lab"

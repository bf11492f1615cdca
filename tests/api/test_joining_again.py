"""A handshake that is damaged beyond repair: the room is joined once more, and nobody hears of the first attempt."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.support.leaks import nothing_left_behind
from trio_livekit import events as ev
from trio_livekit._session.connection import Connection
from trio_livekit._session.links import Links

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import EmbeddedServer, ServerUnderTest
    from trio_livekit._sansio.signal.messages import Answer


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Answer]]:
    """``damage(n)``: the next n answers of the server are damaged; returns those that were."""

    def damage(times: int) -> list[Answer]:
        damaged: list[Answer] = []
        genuine = Links.on_answer

        def on_answer(self: Links, answer: Answer) -> None:
            if len(damaged) < times:
                damaged.append(answer)
                answer = replace(answer, sdp=re.sub(r"(a=fingerprint:\S+ )\S\S:\S\S", r"\1AB:CD", answer.sdp))
            genuine(self, answer)

        monkeypatch.setattr(Links, "on_answer", on_answer)
        return damaged

    return damage


@pytest.mark.parametrize("times", [1, 2])
async def test_the_room_is_joined_once_more(
    server: ServerUnderTest, room_name: str, damage: Callable[[int], list[Answer]], times: int
) -> None:
    async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.events() as events:
        damaged = damage(times)
        asked = 0

        async def token() -> str:
            nonlocal asked
            asked += 1
            return server.token("alice", room_name)

        async with (
            lk.connect(server.url, token, join_timeout=30) as alice,
            alice.publish_data_track("track"),
            bob.data_packets() as packets,
        ):
            assert len(damaged) == times
            assert asked >= 1
            with trio.fail_after(10):
                await bob.wait_for_participant("alice")
                await alice.publish_data(b"in the end")
                assert (await packets.receive()).payload == b"in the end"
                await bob.participants["alice"].data_tracks.wait_for("track")
            assert bob.participants["alice"].sid == alice.local_participant.sid
            assert set(bob.participants) == {"alice"}
        with trio.fail_after(10):
            left = 0
            async for event in events:
                left += isinstance(event, ev.ParticipantDisconnected)
                if (
                    isinstance(event, ev.ParticipantDisconnected)
                    and event.participant.sid == alice.local_participant.sid
                ):
                    break
        assert left <= times + 1


async def test_who_leaves_in_between_is_not_there(
    embedded_server: EmbeddedServer,
    room_name: str,
    damage: Callable[[int], list[Answer]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = embedded_server
    leave = Connection.leave

    async def leave_and_let_leave(self: Connection) -> None:
        await leave(self)
        if "bob" in await server.participants(room_name):
            await server.remove_participant(room_name, "bob")

    async def bob(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(lk.RoomDisconnected):
            async with lk.connect(server.url, server.token("bob", room_name)) as room, room.publish_data_track("track"):
                task_status.started()
                await trio.sleep_forever()

    async with lk.connect(server.url, server.token("carol", room_name)), trio.open_nursery() as nursery:
        await nursery.start(bob)
        monkeypatch.setattr(Connection, "leave", leave_and_let_leave)
        damage(1)
        async with lk.connect(server.url, server.token("alice", room_name), join_timeout=30) as alice:
            assert set(alice.participants) == {"carol"}


async def test_not_for_ever(
    embedded_server: ServerUnderTest, room_name: str, damage: Callable[[int], list[Answer]]
) -> None:
    damaged = damage(100)
    async with nothing_left_behind():
        with pytest.raises(lk.ConnectError) as failed:
            async with lk.connect(embedded_server.url, embedded_server.token("alice", room_name), join_timeout=30):
                pytest.fail("connected")
    assert failed.value.reason is lk.ConnectErrorReason.TRANSPORT
    assert len(damaged) == 3


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ("1", "messages of 1 bytes at most"),
        ("63999", "messages of 63999 bytes at most"),
        ("-1", "malformed: the session description has a largest message that is not a number in range"),
    ],
)
async def test_a_server_that_takes_no_messages_of_the_size_of_ours(
    embedded_server: EmbeddedServer, room_name: str, monkeypatch: pytest.MonkeyPatch, limit: str, why: str
) -> None:
    """It is not joined, and says so: the first message that is too long would fail in a task of the room."""
    limited(monkeypatch, limit)
    async with nothing_left_behind():
        with pytest.raises(lk.ConnectError, match=why) as failed:
            async with lk.connect(embedded_server.url, embedded_server.token("alice", room_name)):
                pytest.fail("connected")
    assert failed.value.reason is lk.ConnectErrorReason.TRANSPORT


@pytest.mark.parametrize("limit", ["0", "64000", "18446744073709551615", None])
async def test_a_server_that_takes_messages_of_any_size_or_says_nothing_of_it(
    embedded_server: EmbeddedServer, room_name: str, monkeypatch: pytest.MonkeyPatch, limit: str | None
) -> None:
    """0 means that there is no limit, and nothing 64 KiB (RFC 8841). Packets have LiveKit's own limit in any case."""
    limited(monkeypatch, limit)
    token = embedded_server.token
    async with (
        lk.connect(embedded_server.url, token("alice", room_name)) as alice,
        lk.connect(embedded_server.url, token("bob", room_name)) as bob,
        bob.data_packets() as packets,
    ):
        with trio.fail_after(10):
            await alice.publish_data(bytes(63_900))
            assert len((await packets.receive()).payload) == 63_900
        with pytest.raises(lk.PayloadTooLarge) as refused:
            await alice.publish_data(bytes(64_001))
        assert refused.value.limit == 64_000


def limited(monkeypatch: pytest.MonkeyPatch, limit: str | None) -> None:
    """What answers say of the largest message."""
    genuine = Links.on_answer

    def on_answer(self: Links, answer: Answer) -> None:
        line = "" if limit is None else f"a=max-message-size:{limit}\r\n"
        sdp, lines = re.subn(r"a=max-message-size:.*\r\n", line, answer.sdp)
        assert lines == 1
        genuine(self, replace(answer, sdp=sdp))

    monkeypatch.setattr(Links, "on_answer", on_answer)

"""The network path under a room fails, changes or is given up, and the session goes on: nothing reliable is lost."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.support.old_server import without_v1
from tests.support.proxy import SignalProxy, signal_proxy
from tests.support.reconnecting import QUICK
from tests.support.servers import KINDS, RealServer, open_server
from tests.support.waiting import wait_until
from tests.support.walls import Firewall, impatient_ice
from trio_livekit import events as ev
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session import connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.livekit import LiveKitServer
    from tests.support.servers import ServerUnderTest


@pytest.fixture(params=KINDS)
async def udp_server(
    request: pytest.FixtureRequest, start_livekit_server: Callable[[dict[str, object]], LiveKitServer]
) -> AsyncIterator[ServerUnderTest]:
    """Servers that are reached over UDP or not at all."""
    async with open_server(request.param, lambda: start_livekit_server({"rtc": {"tcp_port": 0}})) as server:
        yield server


class Talk:
    """Two rooms that send each other numbered reliable packets until ``finish``."""

    def __init__(self, alice: lk.Room, bob: lk.Room, wall: Firewall, proxy: SignalProxy) -> None:
        self.alice, self.bob, self.wall, self.proxy = alice, bob, wall, proxy
        self.sid = alice.local_participant.sid
        self._sent: dict[lk.Room, int] = {alice: 0, bob: 0}
        self._received: dict[lk.Room, list[int]] = {alice: [], bob: []}
        self._speaking = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with (
            self.alice.data_packets() as to_alice,
            self.bob.data_packets() as to_bob,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._hear, self.alice, to_alice)
            nursery.start_soon(self._hear, self.bob, to_bob)
            task_status.started()
            with self._speaking:
                while True:
                    for room in self._sent:
                        await room.publish_data(str(self._sent[room]), recipients_within=None)
                        self._sent[room] += 1
                    await trio.sleep(0.005)

    async def _hear(self, room: lk.Room, packets: lk.DataPackets) -> None:
        async for packet in packets:
            self._received[room].append(int(packet.payload))

    async def finish(self) -> None:
        """What was sent, all of it, arrives once and in order, under the same session."""
        self._speaking.cancel()
        with trio.fail_after(15):
            for here, there in ((self.alice, self.bob), (self.bob, self.alice)):
                await self._wait_received(there, self._sent[here])
                last = len(self._received[there]) - self._sent[here]
                assert last <= 1  # it was being sent when the speaking was ended, and may have left
                assert self._received[there] == list(range(self._sent[here] + last))
        assert self.alice.local_participant.sid == self.sid
        assert self.sid == self.bob.participants["alice"].sid

    async def some(self) -> None:
        """A few more packets get through, both ways."""
        for room in self._received:
            await self._wait_received(room, len(self._received[room]) + 3)

    async def _wait_received(self, room: lk.Room, count: int) -> None:
        await wait_until(lambda: len(self._received[room]) >= count)


@asynccontextmanager
async def talking(server: ServerUnderTest, room_name: str, *, old: bool = False) -> AsyncIterator[Talk]:
    """Alice behind a firewall, her signalling behind a proxy; bob beside the server. ``old``: two peer connections."""
    wall = Firewall()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(without_v1(server.url)) if old else server.url
        proxy = await stack.enter_async_context(signal_proxy(url))
        bob = await stack.enter_async_context(lk.connect(server.url, server.token("bob", room_name)))
        with wall.around_rooms(), impatient_ice():
            connecting = lk.connect(proxy.url, server.token("alice", room_name), reconnect=QUICK)
            alice = await stack.enter_async_context(connecting)
        with trio.fail_after(10):
            await bob.wait_for_participant("alice")
        talk = Talk(alice, bob, wall, proxy)
        nursery = await stack.enter_async_context(trio.open_nursery())
        await nursery.start(talk.run)
        await talk.some()
        yield talk
        nursery.cancel_scope.cancel()


def path(room: lk.Room):
    return room._session._connection.links._publisher._core.ice.selected_path


def lose_path(room: lk.Room) -> None:
    """As when the server has given it up, and said so with its last word on the websocket."""
    leave = m.Leave(m.DisconnectReason.CONNECTION_TIMEOUT, m.LeaveAction.RESUME)
    room._session._connection._receive(leave)


async def until(events: lk.RoomEvents, kind: type[ev.RoomEvent]) -> ev.RoomEvent:
    with trio.fail_after(15):
        while not isinstance(event := await events.receive(), kind):
            pass
    return event


@pytest.mark.parametrize("old", [False, True], ids=["one connection", "two connections"])
async def test_a_path_that_is_dead_for_a_while(udp_server: ServerUnderTest, room_name: str, old: bool) -> None:
    async with talking(udp_server, room_name, old=old) as talk, talk.alice.events() as events:
        ice = talk.alice._session._connection.links._publisher._core.ice
        ufrag = ice.ufrag
        talk.wall.up = True
        await until(events, ev.Reconnecting)
        assert talk.alice.state is lk.ConnectionState.RECONNECTING
        await wait_until(lambda: ice.ufrag != ufrag)
        talk.wall.up = False
        assert await until(events, ev.Reconnected) == ev.Reconnected(resumed=True)
        await talk.some()
        await talk.finish()
        assert talk.alice._session._connection.links._publisher._core.ice is ice


@pytest.mark.parametrize("old", [False, True], ids=["one connection", "two connections"])
async def test_a_path_that_the_server_gave_up(server: ServerUnderTest, room_name: str, old: bool) -> None:
    """Signalling is resumed, and ICE is restarted on the connections that there are."""
    async with talking(server, room_name, old=old) as talk, talk.alice.events() as events:
        for _ in range(3):
            lose_path(talk.alice)
            assert await until(events, ev.Reconnected) == ev.Reconnected(resumed=True)
            await talk.some()
            assert not talk.alice._session._connection.links.is_restarting
        await talk.finish()


async def test_signalling_and_path_lost_at_once(udp_server: ServerUnderTest, room_name: str) -> None:
    async with talking(udp_server, room_name) as talk, talk.alice.events() as events:
        talk.wall.up = True
        talk.proxy.cut(refuse=True)
        await until(events, ev.Reconnecting)
        links = talk.alice._session._connection.links
        await wait_until(lambda: links.is_silent)
        talk.proxy.refuses = False
        await trio.sleep(0.2)  # a websocket alone does not make a connection
        assert talk.alice.state is lk.ConnectionState.RECONNECTING
        talk.wall.up = False
        assert await until(events, ev.Reconnected) == ev.Reconnected(resumed=True)
        await talk.finish()


async def test_a_path_that_the_server_may_have_given_up(
    udp_server: ServerUnderTest, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was silent for long, and works again before the server can be asked: ICE is restarted all the same."""
    monkeypatch.setattr(connection, "_GIVEN_UP_S", 0.0)
    async with talking(udp_server, room_name) as talk, talk.alice.events() as events:
        links = talk.alice._session._connection.links
        ufrag = links._publisher._core.ice.ufrag
        talk.wall.up = True
        talk.proxy.cut(refuse=True)
        await until(events, ev.Reconnecting)
        await wait_until(lambda: links.is_silent)
        talk.wall.up = False
        await wait_until(lambda: not links.is_silent)
        talk.proxy.refuses = False
        assert await until(events, ev.Reconnected) == ev.Reconnected(resumed=True)
        assert links._publisher._core.ice.ufrag != ufrag
        await talk.finish()


async def test_a_path_that_stays_dead_means_another_session(
    udp_server: ServerUnderTest, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_livekit._session.session._PATH_TIMEOUT_S", 0.3)
    async with talking(udp_server, room_name) as talk, talk.alice.events() as events:
        talk.wall.up = True
        assert await until(events, ev.Reconnected) == ev.Reconnected(resumed=False)
        assert talk.alice.local_participant.sid != talk.sid


async def test_another_candidate_protocol_from_the_next_restart_on(real_server: RealServer, room_name: str) -> None:
    """The server changes its mind about UDP, and the paths found from then on are over TCP. Nothing is lost."""
    async with talking(real_server, room_name) as talk, talk.alice.events() as events:
        talk.alice._session.send_request(m.Simulate("switch_candidate_protocol", 1))
        await talk.some()
        assert path(talk.alice).protocol == "udp"
        lose_path(talk.alice)
        assert await until(events, ev.Reconnected) == ev.Reconnected(resumed=True)
        assert path(talk.alice).protocol == "tcp"
        await talk.some()
        await talk.finish()


async def test_joining_where_the_server_takes_tcp_only(real_server: RealServer, room_name: str) -> None:
    """A server that has changed its mind about UDP names no other candidates to the client that comes back."""
    token = real_server.token("alice", room_name)
    async with lk.connect(real_server.url, real_server.token("bob", room_name)):
        async with lk.connect(real_server.url, token) as alice:
            alice._session.send_request(m.Simulate("switch_candidate_protocol", 1))
            await alice.publish_data(b"behind it", recipients_within=None)
            await trio.sleep(0.05)
        async with lk.connect(real_server.url, token, join_timeout=4.5) as alice:  # the server gives up after 5 seconds
            assert path(alice).protocol == "tcp"


async def test_leaving_while_the_path_is_dead(udp_server: ServerUnderTest, room_name: str) -> None:
    async with talking(udp_server, room_name) as talk:
        talk.wall.up = True
        async with talk.alice.events() as events:
            await until(events, ev.Reconnecting)
        talk._speaking.cancel()
    await udp_server.wait_gone(room_name, "alice")

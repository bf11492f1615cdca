"""Another region where the nearest one does not work, and a token from a function where the last one does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.cloud import FakeCloud, fake_cloud
from tests.support.leaks import nothing_left_behind
from tests.support.livekit import free_port
from tests.support.proxy import signal_proxy
from tests.support.reconnecting import QUICK
from tests.support.waiting import wait_until
from trio_livekit import events as ev
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.connection import Connection
from trio_livekit.server import serve
from trio_livekit.tokens import access_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import EmbeddedServer, RealServer, ServerUnderTest

Reason = lk.ConnectErrorReason


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCloud]:
    async with fake_cloud(monkeypatch) as cloud:
        yield cloud


def nowhere() -> str:
    return f"ws://127.0.0.1:{free_port()}"


async def refusal(url: str, token: str) -> lk.ConnectError:
    async with nothing_left_behind():
        with pytest.raises(lk.ConnectError) as error:
            async with lk.connect(url, token):
                pytest.fail("connected")
    return error.value


async def test_another_region_is_tried(cloud: FakeCloud, server: ServerUnderTest, room_name: str) -> None:
    cloud.regions = [cloud.url, nowhere(), server.url, nowhere()]
    async with lk.connect(cloud.url, server.token("alice", room_name)) as room:
        assert room.name == room_name
        await server.participants(room_name)
    assert cloud.regions_asked == 1
    await server.wait_gone(room_name, "alice")


async def test_no_region_is_asked_for_where_the_first_one_works(
    cloud: FakeCloud, embedded_server: EmbeddedServer
) -> None:
    async with lk.connect(embedded_server.url, embedded_server.token("alice", "room")):
        pass
    assert cloud.requests == []


async def test_no_region_works(cloud: FakeCloud) -> None:
    cloud.regions = [nowhere(), nowhere()]
    error = await refusal(cloud.url, "token")
    assert error.reason is Reason.UNREACHABLE
    assert cloud.regions[1] in str(error)


async def test_a_refusal_is_not_tried_elsewhere(cloud: FakeCloud, embedded_server: EmbeddedServer) -> None:
    cloud.status = 401
    cloud.regions = [embedded_server.url]
    error = await refusal(cloud.url, embedded_server.token("alice", "room"))
    assert error.reason is Reason.NOT_ALLOWED
    assert cloud.regions_asked == 0


async def test_a_token_that_may_not_know_the_regions(cloud: FakeCloud) -> None:
    cloud.regions_status = 401
    error = await refusal(cloud.url, "token")
    assert (error.reason, error.status) == (Reason.NOT_ALLOWED, 401)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"regions": 1}',
        b'{"regions": [1]}',
        b'{"regions": [{"url": 1}]}',
        b'{"regions": [{"url": "ftp://127.0.0.1"}, {"url": "wss://evil.example"}, {"url": "wss://127.0.0.1"}]}',
        b"[" * 100_000,
        b" " * 100_000,
    ],
)
async def test_what_is_no_list_of_regions(cloud: FakeCloud, body: bytes) -> None:
    """The token goes nowhere else, and the error is that of the first attempt."""
    cloud.body = body
    error = await refusal(cloud.url, "token")
    assert (error.reason, error.status) == (Reason.SERVER_ERROR, 503)


async def test_regions_that_are_not_told_in_time(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_livekit._session.regions._FETCH_TIMEOUT_S", 0.05)
    cloud.hangs = True
    error = await refusal(cloud.url, "token")
    assert (error.reason, error.status) == (Reason.SERVER_ERROR, 503)


async def test_a_region_that_does_not_answer(
    cloud: FakeCloud, embedded_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_livekit._session.regions._ATTEMPT_TIMEOUT_S", 0.2)
    async with signal_proxy(embedded_server.url) as proxy:
        proxy.stalls = True
        cloud.regions = [proxy.url, embedded_server.url]
        async with lk.connect(cloud.url, embedded_server.token("alice", "room")) as room:
            assert room.name == "room"
        assert proxy.accepted == 1


async def test_a_region_that_is_lost(cloud: FakeCloud, server: ServerUnderTest, room_name: str) -> None:
    """The room is joined in another one, under the same blocks; which have been tried before counts no more."""
    async with serve(api_key=server.api_key, api_secret=server.api_secret) as second, signal_proxy(server.url) as first:
        cloud.regions = [first.url, second.url]
        token = server.token("alice", room_name)
        async with (
            lk.connect(cloud.url, token, reconnect=QUICK) as room,
            room.publish_data_track("track") as track,
            room.events() as events,
        ):
            assert second.rooms == {}
            first.refuses = True
            await room.simulate(lk.SimulateScenario.FULL_RECONNECT)
            with trio.fail_after(10):
                while not isinstance(await events.receive(), ev.Reconnected):
                    pass
                await wait_until(lambda: track._publication.is_up)
            assert list(second.participants(room_name)) == ["alice"]


@pytest.mark.parametrize("fault", ["is silent", "fails"])
async def test_a_region_without_a_peer_connection(
    cloud: FakeCloud, server: ServerUnderTest, room_name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signalling lets us in, and that is all: the next attempt is made elsewhere, at first and when reconnecting."""
    monkeypatch.setattr("trio_livekit._session.regions._MEDIA_TIMEOUT_S", 1.0 if fault == "is silent" else 10)
    establish = Connection.establish
    broken = ""

    async def establish_elsewhere(connection: Connection) -> None:
        if connection._endpoint.url != broken:
            return await establish(connection)
        if fault == "is silent":
            await trio.sleep_forever()
        raise lk.ConnectError(Reason.TRANSPORT, "the handshake failed")

    monkeypatch.setattr(Connection, "establish", establish_elsewhere)
    async with serve(api_key=server.api_key, api_secret=server.api_secret) as second:
        cloud.regions = [server.url, second.url]
        broken = server.url
        token = server.token("alice", room_name)
        async with lk.connect(cloud.url, token, reconnect=QUICK) as room, room.events() as events:
            assert list(second.participants(room_name)) == ["alice"]
            await server.wait_gone(room_name, "alice")
            broken = second.url
            await room.simulate(lk.SimulateScenario.FULL_RECONNECT)
            with trio.fail_after(10):
                while not isinstance(await events.receive(), ev.Reconnected):
                    pass
            assert await server.participants(room_name) == {"alice"}
        await server.wait_gone(room_name, "alice")


async def test_a_server_that_names_another_region(cloud: FakeCloud, embedded_server: EmbeddedServer) -> None:
    first = embedded_server.server
    async with serve() as second:
        async with (
            lk.connect(first.url, first.token("alice", "room"), reconnect=QUICK) as room,
            room.events() as events,
        ):
            found, alice = first._find("room", "alice")
            leave = m.Leave(m.DisconnectReason.MIGRATION, m.LeaveAction.RECONNECT, (second.url,))
            first._hub.deliver([(alice, leave), *found.leave(alice, leave.reason)])
            with trio.fail_after(5):
                while not isinstance(await events.receive(), ev.Reconnected):
                    pass
            assert first.rooms == {}
            assert list(second.participants("room")) == ["alice"]
        assert second.rooms == {}


# --- tokens from a function -------------------------------------------------------------------------------------------


async def test_a_function_that_gives_tokens(server: ServerUnderTest, room_name: str) -> None:
    async def token() -> str:
        await trio.lowlevel.checkpoint()
        return server.token("alice", room_name)

    async with lk.connect(server.url, token) as room:
        assert room.local_participant.identity == "alice"


async def test_a_function_that_fails(embedded_server: EmbeddedServer) -> None:
    async def fail() -> str:
        raise RuntimeError("no backend, and this is a secret")

    async def give_nonsense() -> str:
        return 1  # type: ignore[return-value]

    for token in (fail, give_nonsense):
        async with nothing_left_behind():
            with pytest.raises(lk.ConnectError) as error:
                async with lk.connect(embedded_server.url, token):
                    pytest.fail("connected")
        assert error.value.reason is Reason.NO_TOKEN
        assert "secret" not in str(error.value)


async def test_another_token_where_the_last_one_is_not_accepted(server: ServerUnderTest, room_name: str) -> None:
    """It is asked for once; what this client has changed about itself goes with it."""
    async with signal_proxy(server.url) as proxy, serve(api_key="other", api_secret="x" * 40) as second:
        given: list[str] = []

        async def token() -> str:
            await trio.lowlevel.checkpoint()
            given.append("first" if proxy.target == server.url else "second")
            if given[-1] == "first":
                return server.token("alice", room_name, can_update_own_metadata=True)
            return second.token("alice", room_name, can_update_own_metadata=True)

        async with lk.connect(proxy.url, token, reconnect=QUICK) as room, room.events() as events:
            await room.local_participant.set_metadata("changed")
            proxy.target = second.url
            proxy.cut()
            with trio.fail_after(10):
                while not isinstance(await events.receive(), ev.Reconnected):
                    pass
            assert given == ["first", "second"]
            assert second.participants(room_name)["alice"].metadata == "changed"


async def test_tokens_that_are_never_accepted_again(server: ServerUnderTest, room_name: str) -> None:
    async with signal_proxy(server.url) as proxy, serve(api_key="other", api_secret="x" * 40) as second:
        given = 0

        async def token() -> str:
            nonlocal given
            given += 1
            await trio.lowlevel.checkpoint()
            return server.token("alice", room_name)

        with trio.fail_after(10), pytest.raises(lk.RoomDisconnected) as error:
            async with lk.connect(proxy.url, token, reconnect=QUICK):
                proxy.target = second.url
                proxy.cut()
                await trio.sleep_forever()
        assert error.value.reason is lk.DisconnectReason.JOIN_FAILURE
        assert given == 2


async def test_a_token_that_expires_is_replaced_by_the_server(real_server: RealServer, room_name: str) -> None:
    """What the application gave is worth nothing any more; what the server gave is."""
    # A livekit-server accepts tokens for a minute longer than they say.
    expires_at = time.time() - 57
    alice, bob = (
        access_token(
            real_server.api_key,
            real_server.api_secret,
            identity=identity,
            room=room_name,
            now=expires_at - 60,
            ttl_s=60,
        )
        for identity in ("alice", "bob")
    )
    async with lk.connect(real_server.url, alice, reconnect=QUICK) as room, room.events() as events:
        with trio.fail_after(10), pytest.raises(lk.ConnectError) as error:
            while True:
                async with lk.connect(real_server.url, bob):
                    await trio.sleep(0.2)
        assert error.value.reason is Reason.NOT_ALLOWED
        for scenario in (lk.SimulateScenario.SIGNAL_RECONNECT, lk.SimulateScenario.FULL_RECONNECT):
            await room.simulate(scenario)
            with trio.fail_after(10):
                while not isinstance(await events.receive(), ev.Reconnected):
                    pass

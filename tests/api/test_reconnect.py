"""Losing a connection and getting it back, under the same blocks."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.cancel import count_checkpoints, run_cancelled_at
from tests.support.leaks import nothing_left_behind
from tests.support.old_server import without_v1
from tests.support.proxy import SignalProxy, signal_proxy
from tests.support.reconnecting import QUICK, Flow, flowing, until_reconnected
from tests.support.rooms import remote_track
from tests.support.servers import EmbeddedServer, RealServer
from tests.support.waiting import wait_until
from trio_livekit import events as ev
from trio_livekit._sansio.dtls.alerts import FATAL, Alert
from trio_livekit._sansio.signal.messages import Simulate
from trio_livekit._session import session
from trio_livekit._session.connection import Connection
from trio_livekit._session.labels import DATA_TRACK
from trio_livekit._session.signalling import Signalling
from trio_livekit.server import Limits, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.support.livekit import LiveKitServer
    from tests.support.servers import ServerUnderTest

State = lk.ConnectionState


@dataclass
class Stage:
    """Alice, whose signalling passes through a proxy, and bob, whose does not."""

    server: ServerUnderTest
    proxy: SignalProxy
    room_name: str
    alice: lk.Room
    bob: lk.Room
    events: lk.RoomEvents  # of alice's room


@pytest.fixture
async def stage(server: ServerUnderTest, room_name: str) -> AsyncIterator[Stage]:
    async with (
        signal_proxy(server.url) as proxy,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(proxy.url, server.token("alice", room_name), reconnect=QUICK) as alice,
        alice.events() as events,
    ):
        yield Stage(server, proxy, room_name, alice, bob, events)


# --- the signal connection is lost ------------------------------------------------------------------------------------


async def test_frames_flow_while_signalling_is_lost(stage: Stage) -> None:
    sid = stage.alice.local_participant.sid
    async with flowing(stage.alice, stage.bob) as up, flowing(stage.bob, stage.alice) as down:
        assert stage.alice.state is State.CONNECTED
        stage.proxy.cut(refuse=True)
        with trio.fail_after(5):
            while not isinstance(await stage.events.receive(), ev.Reconnecting):
                pass
        assert stage.alice.state is State.RECONNECTING
        assert up.track.is_published
        for number in range(50):
            for flow in (up, down):
                flow.track.try_push(str(number).encode())
            await trio.sleep(0.002)
        stage.proxy.refuses = False
        with trio.fail_after(5):
            await stage.alice.wait_connected()
            assert isinstance(await stage.events.receive(), ev.Reconnected)
        assert stage.alice.state is State.CONNECTED
        for flow in (up, down):
            with trio.fail_after(5):
                assert [int((await flow.frames.receive()).payload) for _ in range(50)] == list(range(50))
            await flow.flows()
        assert stage.alice.local_participant.sid == sid


async def test_what_is_asked_for_meanwhile_waits(stage: Stage) -> None:
    async with flowing(stage.bob, stage.alice, "kept"), stage.bob.publish_data_track("late") as late:
        remote = await remote_track(stage.alice, "bob", "late")
        stage.proxy.cut(refuse=True)
        with trio.fail_after(5):
            while stage.alice.state is State.CONNECTED:
                await stage.events.receive()
        async with trio.open_nursery() as nursery:

            async def publish() -> None:
                async with stage.alice.publish_data_track("meanwhile"):
                    await remote_track(stage.bob, "alice", "meanwhile")

            async def subscribe() -> None:
                async with remote.subscribe() as frames:
                    late.try_push(b"x")
                    assert (await frames.receive()).payload == b"x"

            nursery.start_soon(publish)
            nursery.start_soon(subscribe)
            await trio.testing.wait_all_tasks_blocked()
            stage.proxy.refuses = False


@pytest.mark.parametrize("clue", ["frames", "another track", "a track of one's own"])
async def test_a_list_of_handles_that_is_lost(stage: Stage, clue: str) -> None:
    """A server does not say again which subscriptions it has established: what follows shows it, or is made to."""
    async with AsyncExitStack() as stack:
        track = await stack.enter_async_context(stage.bob.publish_data_track("wanted"))
        if clue != "frames":
            who = stage.bob if clue == "another track" else stage.alice
            await stack.enter_async_context(who.publish_data_track("unwanted"))
        if clue == "another track":
            await remote_track(stage.alice, "bob", "unwanted")
        remote = await remote_track(stage.alice, "bob", "wanted")
        subscribed = trio.Event()

        async def subscribe() -> None:
            async with remote.subscribe() as frames:
                subscribed.set()
                await frames.receive()

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                stage.proxy.is_deaf = True
                nursery.start_soon(subscribe)
                await trio.sleep(0.05)
                assert not subscribed.is_set()
                stage.proxy.is_deaf = False
                stage.proxy.cut()
                while not subscribed.is_set():
                    if clue == "frames":
                        await track.send(b"x")
                    await trio.sleep(0.01)
                await track.send(b"y")
            core = stage.alice._session.subscribing._core
            await wait_until(lambda: not core._subscriptions)


async def test_who_came_and_went_meanwhile(stage: Stage) -> None:
    def connect(identity: str) -> AbstractAsyncContextManager[lk.Room]:
        return lk.connect(stage.server.url, stage.server.token(identity, stage.room_name))

    async with AsyncExitStack() as leaving:
        ghost = await leaving.enter_async_context(connect("ghost"))
        await leaving.enter_async_context(ghost.publish_data_track("boo"))
        track = await remote_track(stage.alice, "ghost", "boo")
        frames = await leaving.enter_async_context(track.subscribe())
        stage.proxy.cut(refuse=True)
        await leaving.aclose()
    with pytest.raises(trio.ClosedResourceError):
        frames.receive_nowait()
    async with connect("newcomer") as newcomer, newcomer.publish_data_track("new"):
        assert "ghost" in stage.alice.participants
        stage.proxy.refuses = False
        between = await until_reconnected(stage.events, resumed=True)
        assert "ghost" not in stage.alice.participants
        assert "new" in stage.alice.participants["newcomer"].data_tracks
    told = [type(event) for event in between if not isinstance(event, ev.RoomInfoChanged)]
    assert told.index(ev.DataTrackUnpublished) < told.index(ev.ParticipantDisconnected)
    assert told.index(ev.ParticipantConnected) < told.index(ev.DataTrackPublished)
    assert not track.is_published


async def test_losing_it_again_and_again(stage: Stage) -> None:
    async with flowing(stage.alice, stage.bob) as up, flowing(stage.bob, stage.alice) as down:
        for _ in range(3):
            stage.proxy.cut()
            await until_reconnected(stage.events, resumed=True)
            await up.flows()
            await down.flows()


async def test_a_connection_that_is_lost_while_it_resumes(stage: Stage) -> None:
    async with flowing(stage.alice, stage.bob) as up, flowing(stage.bob, stage.alice) as down:
        for relayed in (1, 300, 1000, 1500, 2000):
            stage.proxy.bytes_to_relay = relayed
            stage.proxy.cut()
            with trio.fail_after(5):
                while stage.alice.state is State.CONNECTED:
                    await stage.events.receive()
            await trio.sleep(0.05)
            stage.proxy.bytes_to_relay = math.inf
            await stage.alice.wait_connected()
            await up.flows()
            await down.flows()


async def test_two_peer_connections(server: ServerUnderTest, room_name: str) -> None:
    async with (
        without_v1(server.url) as old_url,
        signal_proxy(old_url) as proxy,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(proxy.url, server.token("alice", room_name), reconnect=QUICK) as alice,
        alice.events() as events,
        flowing(alice, bob) as up,
        flowing(bob, alice) as down,
    ):
        for _ in range(2):
            proxy.cut()
            await until_reconnected(events, resumed=True)
            await up.flows()
            await down.flows_again()  # the server restarts ICE on the connection that it sends on
        simulate(alice, "node_failure")
        await until_reconnected(events, resumed=False)
        await down.flows_again()


async def test_an_attempt_that_takes_too_long(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_livekit._session.session._RESUME_TIMEOUT_S", 0.05)
    async with flowing(stage.alice, stage.bob) as flow:
        stage.proxy.stalls = True
        stage.proxy.cut()
        await stage.proxy.wait_accepted(3)
        await flow.flows()
        monkeypatch.undo()
        stage.proxy.stalls = False
        await until_reconnected(stage.events, resumed=True)
        await flow.flows()


async def test_leaving_while_signalling_is_lost(server: ServerUnderTest, room_name: str) -> None:
    patient = lk.ReconnectPolicy(delays_s=(30.0,))
    async with signal_proxy(server.url) as proxy:
        async with lk.connect(proxy.url, server.token("alice", room_name), reconnect=patient) as alice:
            async with alice.events() as events:
                proxy.cut()
                with trio.fail_after(5):
                    while alice.state is State.CONNECTED:
                        await events.receive()
        await server.wait_gone(room_name, "alice")


@pytest.mark.parametrize("old", [False, True])
async def test_another_candidate_protocol(real_server: RealServer, room_name: str, old: bool) -> None:
    """With two peer connections the server restarts ICE for it, with one it only changes its mind."""
    async with without_v1(real_server.url) as old_url:
        async with (
            lk.connect(real_server.url, real_server.token("bob", room_name)) as bob,
            lk.connect(old_url if old else real_server.url, real_server.token("alice", room_name)) as alice,
            flowing(alice, bob) as up,
            flowing(bob, alice) as down,
        ):
            simulate(alice, "switch_candidate_protocol")
            await trio.sleep(0.05)
            await up.flows_again()
            await down.flows_again()
            assert alice.state is State.CONNECTED


# --- the session is lost ----------------------------------------------------------------------------------------------


def simulate(room: lk.Room, scenario: str) -> None:
    """Have the server act out a fault."""
    room._session.send_request(Simulate(scenario, 1))


@pytest.mark.parametrize("scenario", ["node_failure", "migration"])
async def test_another_session_under_the_same_blocks(stage: Stage, scenario: str) -> None:
    sid = stage.alice.local_participant.sid
    async with flowing(stage.alice, stage.bob) as up, flowing(stage.bob, stage.alice) as down:
        track_sid = up.track.sid
        await up.flows()
        await down.flows()
        simulate(stage.alice, scenario)
        await until_reconnected(stage.events, resumed=False)
        assert stage.alice.local_participant.sid not in ("", sid)
        assert up.track.is_published
        await down.flows_again()
        await up.track.send(b"to nobody yet")  # waits until it is published again
        assert up.track.sid != track_sid
        again = await remote_track(stage.bob, "alice", "flow")
        async with again.subscribe() as frames:
            await Flow(up.track, again, frames).flows_again()
        assert "bob" in stage.alice.participants


async def test_another_session_where_only_the_channel_of_tracks_was_closed(stage: Stage) -> None:
    """Frames would go nowhere, though everything else works."""
    links = stage.alice._session._connection.links
    async with flowing(stage.alice, stage.bob) as flow:
        await flow.flows()
        links._publisher.close_channel(links._channels[DATA_TRACK].id)  # a server does the same after a bad message
        await until_reconnected(stage.events, resumed=False)
        await flow.track.send(b"to nobody yet")
        again = await remote_track(stage.bob, "alice", "flow")
        async with again.subscribe() as frames:
            await Flow(flow.track, again, frames).flows_again()


async def test_pushing_while_there_is_no_session(stage: Stage) -> None:
    async with flowing(stage.alice, stage.bob) as flow:
        track = flow.track
        await flow.flows()
        stage.proxy.refuses = True
        simulate(stage.alice, "node_failure")
        with trio.fail_after(30):
            while stage.alice.state is State.CONNECTED:
                await stage.events.receive()
            await wait_until(lambda: not track._publication.is_up)
        assert track.is_published  # all the same: it will be again
        before = track.statistics()
        with pytest.raises(lk.PushError) as error:
            track.try_push(b"x")
        assert error.value.reason is lk.PushErrorReason.NOT_CONNECTED
        after = track.statistics()
        assert (after.frames_pushed, after.frames_refused) == (before.frames_pushed + 1, before.frames_refused + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(track.send, b"waits")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert track.statistics() == after
            stage.proxy.refuses = False
        assert track.statistics().frames_refused == after.frames_refused
        assert track.is_published
        assert stage.alice.state is State.CONNECTED


async def test_losing_the_peer_connection(embedded_server: EmbeddedServer) -> None:
    server = embedded_server.server
    async with (
        lk.connect(server.url, server.token("bob", "room")) as bob,
        lk.connect(server.url, server.token("alice", "room"), reconnect=QUICK) as alice,
        alice.events() as events,
        flowing(bob, alice) as down,
        flowing(alice, bob) as up,
    ):
        server.drop_peers("room", "alice")
        await until_reconnected(events, resumed=False)
        await down.flows_again()
        with trio.fail_after(5):
            await up.remote.wait_unpublished()
        async with (await remote_track(bob, "alice", "flow")).subscribe() as frames:
            await Flow(up.track, up.remote, frames).flows_again()


async def test_a_fatal_alert_in_the_midst_of_sending(
    embedded_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As livekit-server answers some forged records: no reason follows it by signalling, and none is waited for.

    R3: what was under way is sent again. All of it arrives once and in order.
    """
    monkeypatch.setattr("trio_livekit._session.connection._LAST_WORD_S", 3600.0)
    server = embedded_server.server
    sent = [b"%d" % number for number in range(40)]
    async with (
        lk.connect(server.url, server.token("bob", "room")) as bob,
        lk.connect(server.url, server.token("alice", "room"), reconnect=QUICK) as alice,
        alice.events() as events,
        bob.data_packets() as packets,
    ):
        link = server._member("room", "alice")._publisher
        assert link is not None
        core = link.peer._core
        for payload in sent[:20]:
            await alice.publish_data(payload)
        core._dtls._send_alert(FATAL, Alert.UNEXPECTED_MESSAGE)
        core.receive_datagrams = lambda *_: None  # it takes nothing in any more, as one that has sent such an alert
        for payload in sent[20:30]:
            await alice.publish_data(payload)
        with trio.fail_after(10):  # the server would give up the path later
            await until_reconnected(events, resumed=False)
        for payload in sent[30:]:
            await alice.publish_data(payload)
        with trio.fail_after(20):
            assert [(await packets.receive()).payload for _ in sent] == sent


async def move_to_another_server(first: ServerUnderTest, second: ServerUnderTest, room_name: str) -> None:
    """What a server that dies and is started again looks like: nobody there knows of us."""
    async with signal_proxy(first.url) as proxy:
        async with (
            lk.connect(proxy.url, first.token("alice", room_name), reconnect=QUICK) as alice,
            alice.events() as events,
            alice.publish_data_track("track") as track,
        ):
            first_sid = track.sid
            proxy.target = second.url
            proxy.cut()
            await until_reconnected(events, resumed=False)
            async with lk.connect(second.url, second.token("bob", room_name)) as bob:
                remote = await remote_track(bob, "alice", "track")
                async with remote.subscribe() as frames:
                    await Flow(track, remote, frames).flows_again()
            assert track.sid != first_sid


async def test_an_embedded_server_that_restarts(embedded_server: EmbeddedServer, room_name: str) -> None:
    async with serve() as second:
        await move_to_another_server(embedded_server, EmbeddedServer(second), room_name)


async def test_a_livekit_server_that_restarts(
    real_server: RealServer, start_livekit_server: Callable[[dict[str, object]], LiveKitServer], room_name: str
) -> None:
    await move_to_another_server(real_server, RealServer(start_livekit_server({})), room_name)


# --- lost for good ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def losing(server: ServerUnderTest, reason: lk.DisconnectReason) -> AsyncIterator[None]:
    """The room is lost for this reason, and nothing is left of it here. A server may go on waiting for us to return."""
    async with nothing_left_behind() if server.is_real else nullcontext():
        with trio.fail_after(10), pytest.raises(lk.RoomDisconnected) as error:
            yield
    assert error.value.reason is reason


async def test_never_reconnecting(server: ServerUnderTest, room_name: str) -> None:
    async with signal_proxy(server.url) as proxy:
        async with losing(server, lk.DisconnectReason.SIGNAL_CLOSE):
            async with lk.connect(proxy.url, server.token("alice", room_name), reconnect=None) as room:
                proxy.cut()
                await trio.sleep_forever()
        assert room.state is State.DISCONNECTED
        assert proxy.accepted == 1


async def test_giving_up(server: ServerUnderTest, room_name: str) -> None:
    policy = lk.ReconnectPolicy(delays_s=(0.0, 0.01), jitter_s=0.0, max_attempts=3)
    states = []
    async with signal_proxy(server.url) as proxy:
        async with losing(server, lk.DisconnectReason.SIGNAL_CLOSE):
            async with lk.connect(proxy.url, server.token("alice", room_name), reconnect=policy) as room:
                async with room.events() as events:
                    states.append(room.state)
                    proxy.cut(refuse=True)
                    await events.receive()
                    states.append(room.state)
                    await trio.sleep_forever()
        states.append(room.state)
    assert states == [State.CONNECTED, State.RECONNECTING, State.DISCONNECTED]
    with pytest.raises(lk.RoomDisconnected):
        await room.wait_connected()


async def test_a_server_that_does_not_want_us_back(server: ServerUnderTest, room_name: str) -> None:
    async with losing(server, lk.DisconnectReason.SERVER_SHUTDOWN):
        async with lk.connect(server.url, server.token("alice", room_name)) as room:
            simulate(room, "server_leave")
            await trio.sleep_forever()


async def test_a_token_that_does_not_work_any_more(server: ServerUnderTest, room_name: str) -> None:
    async with signal_proxy(server.url) as proxy, serve(api_key="other", api_secret="x" * 40) as second:
        async with losing(server, lk.DisconnectReason.JOIN_FAILURE):
            async with lk.connect(proxy.url, server.token("alice", room_name)):
                proxy.target = second.url
                proxy.cut()
                await trio.sleep_forever()


async def test_sent_away_before_the_next_attempt(
    embedded_server: EmbeddedServer, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt got as far as to signalling, on which the server then says that it does not want us back."""
    server = embedded_server
    establish, attempts = Connection.establish, 0

    async def fail_and_send_away(self: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await establish(self)
        if attempts == 2:
            server.server.remove_participant(room_name, "alice")
            raise lk.ConnectError(lk.ConnectErrorReason.TRANSPORT, "no peer connection")

    monkeypatch.setattr(Connection, "establish", fail_and_send_away)
    policy = lk.ReconnectPolicy(delays_s=(0.0, 1.0), jitter_s=0.0)
    with pytest.raises(lk.RoomDisconnected) as lost, trio.fail_after(30):
        async with lk.connect(server.url, server.token("alice", room_name), reconnect=policy) as alice:
            await alice.simulate(lk.SimulateScenario.FULL_RECONNECT)
            await trio.sleep_forever()
    assert lost.value.reason is lk.DisconnectReason.PARTICIPANT_REMOVED
    assert attempts == 2


async def test_sent_away_while_signalling_was_lost(embedded_server: EmbeddedServer, room_name: str) -> None:
    """The server cannot say so, and a new session is as good as the old one."""
    server = embedded_server.server
    async with signal_proxy(server.url) as proxy:
        async with lk.connect(proxy.url, server.token("alice", room_name), reconnect=QUICK) as room:
            async with room.events() as events:
                proxy.cut(refuse=True)
                while room.state is State.CONNECTED:
                    await events.receive()
                server.remove_participant(room_name, "alice")
                proxy.refuses = False
                with trio.fail_after(5):
                    await room.wait_connected()


async def test_what_could_not_be_said_is_not_said_again(stage: Stage) -> None:
    """Half a character, as the name of a file may have in Python, is no text."""
    no_text = "\udc80"
    me = stage.alice.local_participant
    with pytest.raises(UnicodeEncodeError):
        await me.set_name(no_text)
    with pytest.raises(UnicodeEncodeError):
        me.set_track_subscription_permissions([lk.TrackSubscriptionPermission(no_text)])
    stage.proxy.cut(refuse=True)
    with trio.fail_after(10):
        while stage.alice.state is State.CONNECTED:
            await stage.events.receive()
        with pytest.raises(UnicodeEncodeError):
            await me.set_metadata(no_text)
        with pytest.raises(UnicodeEncodeError):
            async with stage.alice.publish_data_track(no_text):
                pytest.fail("published")
        stage.proxy.refuses = False
        await stage.alice.wait_connected()
        async with flowing(stage.alice, stage.bob) as flow:
            await flow.flows()


# --- leaving while it is lost -----------------------------------------------------------------------------------------


@pytest.fixture
def cut_when_leaving(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have something happen to the network just before a goodbye is given to it, once."""

    def arrange(cut: Callable[[], None]) -> None:
        async def cut_and_leave(self: Signalling) -> bool:
            while cuts:
                cuts.pop()()
            return await genuine(self)

        cuts = [cut]
        genuine = Signalling.leave
        monkeypatch.setattr(session, "_FAREWELL_S", 5.0)  # on a machine that is busy
        monkeypatch.setattr(Signalling, "leave", cut_and_leave)

    return arrange


async def test_signalling_is_cut_in_the_moment_of_leaving(
    server: ServerUnderTest, room_name: str, cut_when_leaving: Callable[[Callable[[], None]], None]
) -> None:
    """The server would keep the participant for 20 seconds. Who can say goodbye needs no other connection for it."""
    async with signal_proxy(server.url) as proxy:
        async with lk.connect(proxy.url, server.token("alice", room_name)):
            assert await server.participants(room_name) == {"alice"}
        await server.wait_gone(room_name, "alice")
        assert proxy.accepted == 1
        cut_when_leaving(proxy.cut)
        async with lk.connect(proxy.url, server.token("alice", room_name)):
            assert await server.participants(room_name) == {"alice"}
        await server.wait_gone(room_name, "alice")
        assert proxy.accepted == 3


async def test_the_server_goes_away_in_the_moment_of_leaving(
    real_server: RealServer, room_name: str, cut_when_leaving: Callable[[Callable[[], None]], None]
) -> None:
    async with signal_proxy(real_server.url) as proxy:
        cut_when_leaving(lambda: proxy.cut(refuse=True))
        with trio.fail_after(5):
            async with lk.connect(proxy.url, real_server.token("alice", room_name)):
                pass


# --- cancelled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["signal", "session"])
async def test_cancelled_at_every_step(scenario: str) -> None:
    """Nothing is left, and nobody stays behind in the room, wherever a reconnection is given up."""
    limits = Limits(departure_timeout_s=0.05)  # of those who cannot say goodbye while they have no websocket
    async with serve(limits=limits) as server, signal_proxy(server.url) as proxy:

        async def lose_and_regain() -> None:
            async with lk.connect(proxy.url, server.token("alice", "room"), reconnect=QUICK) as room:
                async with room.publish_data_track("track"), room.events() as events:
                    if scenario == "signal":
                        proxy.cut()
                    else:
                        simulate(room, "node_failure")
                    await until_reconnected(events, resumed=scenario == "signal")

        async def nobody_is_left() -> None:
            await wait_until(lambda: not server.participants("room"), within_s=1)

        steps = await count_checkpoints(lose_and_regain)
        for step in range(steps // 3, steps, 5):  # before that it has not joined yet
            async with nothing_left_behind():
                await run_cancelled_at(lose_and_regain, step)
                await nobody_is_left()


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_calls_go_on_while_signalling_is_lost(stage: Stage) -> None:
    """Those that are under way, and those that are made meanwhile, in both directions."""
    go_on = trio.Event()
    results: list[str] = []

    async def wait(invocation: lk.RpcInvocation) -> str:
        await go_on.wait()
        return invocation.caller_identity

    async def call(room: lk.Room, to: str) -> None:
        results.append(await room.perform_rpc(destination_identity=to, method="wait", payload=""))

    async with stage.bob.register_rpc_method("wait", wait), stage.alice.register_rpc_method("wait", wait):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, stage.alice, "bob")
                nursery.start_soon(call, stage.bob, "alice")
                await trio.sleep(0.05)
                stage.proxy.cut(refuse=True)
                while not isinstance(await stage.events.receive(), ev.Reconnecting):
                    pass
                nursery.start_soon(call, stage.alice, "bob")
                nursery.start_soon(call, stage.bob, "alice")
                await trio.sleep(0.05)
                stage.proxy.refuses = False
                while not isinstance(await stage.events.receive(), ev.Reconnected):
                    pass
                go_on.set()
    assert sorted(results) == ["alice", "alice", "bob", "bob"]


async def test_calls_when_the_session_is_replaced(stage: Stage) -> None:
    """What was under way fails at once, and what is called meanwhile is called in the new session. Serving goes on."""
    begun = trio.Event()

    async def hang(invocation: lk.RpcInvocation) -> str:
        begun.set()
        await trio.sleep_forever()
        return ""

    async def echo(invocation: lk.RpcInvocation) -> str:
        return invocation.payload

    errors: list[lk.RpcError] = []

    async def call_and_fail() -> None:
        with pytest.raises(lk.RpcError) as caught:
            await stage.alice.perform_rpc(destination_identity="bob", method="hang", payload="")
        errors.append(caught.value)

    async with (
        stage.bob.register_rpc_method("hang", hang),
        stage.bob.register_rpc_method("echo", echo),
        stage.alice.register_rpc_method("echo", echo),
    ):
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call_and_fail)
                await begun.wait()
                nursery.start_soon(stage.alice.simulate, lk.SimulateScenario.FULL_RECONNECT)
                while not isinstance(await stage.events.receive(), ev.Reconnecting):
                    pass
                result = await stage.alice.perform_rpc(destination_identity="bob", method="echo", payload="meanwhile")
                assert result == "meanwhile"
            await stage.bob.wait_for_participant("alice")
            assert await stage.bob.perform_rpc(destination_identity="alice", method="echo", payload="back") == "back"
    assert [(error.code, error.executed) for error in errors] == [(lk.RpcErrorCode.RECIPIENT_DISCONNECTED, None)]

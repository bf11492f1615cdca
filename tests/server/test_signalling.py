"""Sessions as their signal connections see them: joining, requests, goodbyes, resuming, and what the operator does."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from livekit.protocol import rtc

from trio_livekit._sansio.signal import messages as m
from trio_livekit.server import Limits, serve
from trio_livekit.tokens import verify_token

from ..support.leaks import nothing_left_behind
from .clients import http, signal_client

State = m.ParticipantState
RESUME = m.JoinRequest(m.ClientInfo(protocol=17), reconnect=True)


@pytest.fixture
async def server():
    with trio.fail_after(20):
        async with serve() as server:
            yield server


async def test_joining_begins_with_join_and_a_token(server):
    token = server.token("ann", "den", name="Ann", metadata="x", attributes={"k": "v"}, kind="agent", hidden=False)
    async with signal_client(server, token=token) as client:
        join = await client.next()
        assert isinstance(join, m.Join)
        me = join.participant
        assert (me.identity, me.name, me.metadata, me.attributes) == ("ann", "Ann", "x", {"k": "v"})
        assert (me.kind, me.client_protocol, join.server.version) == (m.ParticipantKind.AGENT, 2, "1.13.5")
        assert (join.subscriber_primary, join.room.name) == (False, "den")
        refreshed = await client.next()
        assert isinstance(refreshed, m.RefreshToken)
        again = verify_token(refreshed.token, {server.api_key: server.api_secret}.get)
        assert (again.identity, again.name, again.kind, again.video.room) == ("ann", "Ann", "agent", "den")
        assert server.rooms["den"].num_participants == 1
        assert server.participants("den")["ann"].sid == me.sid


async def test_pings_of_both_kinds_are_answered(server):
    async with signal_client(server) as client:
        await client.send(m.Ping(123, 4))
        pong = await client.expect(m.Pong)
        assert (pong.last_ping_timestamp_ms, pong.legacy) == (123, False)
        assert pong.timestamp_ms > 1_600_000_000_000
        await client.send(m.Ping(456, legacy=True))
        assert await client.expect(m.Pong) == m.Pong(456, legacy=True)


async def test_others_learn_of_everything_at_once(server):
    async with signal_client(server, "ann") as ann:
        await ann.expect(m.RefreshToken)
        async with signal_client(server, "bob", can_update_own_metadata=True) as bob:
            assert [p.identity for p in (await bob.expect(m.Join)).other_participants] == ["ann"]
            await ann.expect_about("bob", State.JOINED)
            await bob.send(m.UpdateMetadata(7, attributes={"k": "v"}))
            assert (await bob.expect(m.RequestResponse)) == m.RequestResponse(7, m.RequestReason.OK)
            assert (await ann.expect_about("bob")).attributes == {"k": "v"}
            await bob.send(m.PublishDataTrack(1, "lidar"))
            info = (await bob.expect(m.DataTrackPublished)).info
            assert (await ann.expect_about("bob")).data_tracks == (info,)
            await ann.send(m.UpdateDataSubscription(((info.sid, True),)))
            assert list((await ann.expect(m.SubscriberHandles)).handles.values()) == [info.sid]
            await bob.send(m.Leave(m.DisconnectReason.CLIENT_INITIATED))
            assert await bob.expect(m.Leave) == m.Leave(m.DisconnectReason.CLIENT_INITIATED)
            assert await bob.closed() == 1000
        gone = await ann.expect_about("bob", State.DISCONNECTED)
        assert gone.disconnect_reason is m.DisconnectReason.CLIENT_INITIATED
        assert (await ann.expect(m.SubscriberHandles)).handles == {}


async def test_what_does_not_parse_is_passed_over(server):
    async with signal_client(server) as client:
        await client.websocket.send(b"\xff\xff\xff")
        await client.websocket.send(b"")
        await client.websocket.send(rtc.SignalRequest(mute={"sid": "TR_x"}).SerializeToString())
        await client.send(m.Ping(1))
        await client.expect(m.Pong)


async def test_too_large_a_message_closes_the_connection():
    async with serve(limits=Limits(signal_message_bytes=1000)) as server, signal_client(server) as client:
        await client.websocket.send(bytes(1001))
        assert await client.closed() == 1009


async def test_a_client_that_never_connects_its_peer_leaves_with_its_signal_connection(server):
    async with signal_client(server, "ann") as ann:
        async with signal_client(server, "bob") as bob:
            await bob.expect(m.Join)
        gone = await ann.expect_about("bob", State.DISCONNECTED)
        assert gone.disconnect_reason is m.DisconnectReason.SIGNAL_CLOSE


async def test_a_client_that_never_connects_its_peer_is_sent_away_in_time():
    async with serve(limits=Limits(connect_timeout_s=0.1)) as server, signal_client(server) as client:
        with trio.fail_after(10):
            assert (await client.expect(m.Leave)).reason is m.DisconnectReason.JOIN_FAILURE
            assert await client.closed() == 1000
        assert server.rooms == {}


async def test_a_newer_session_replaces_the_older(server):
    async with signal_client(server) as old:
        first = (await old.expect(m.Join)).participant.sid
        async with signal_client(server) as new:
            assert (await new.expect(m.Join)).participant.sid != first
            assert await old.expect(m.Leave) == m.Leave(m.DisconnectReason.DUPLICATE_IDENTITY)
            assert await old.closed() == 1000
            await new.send(m.Ping(1))
            await new.expect(m.Pong)
            assert list(server.participants("den")) == ["ann"]


async def test_resuming_what_nobody_knows_means_starting_over(server):
    async with signal_client(server, request=RESUME) as client:
        assert await client.next() == m.Leave(m.DisconnectReason.STATE_MISMATCH, m.LeaveAction.RECONNECT)
        assert await client.closed() == 1000
    async with signal_client(server, query={"reconnect": "1", "sid": "PA_x"}) as client:
        assert await client.next() == m.Leave(m.DisconnectReason.STATE_MISMATCH, m.LeaveAction.RECONNECT)


async def test_resuming_beside_the_old_connection_closes_that_without_a_word(server):
    async with signal_client(server) as old:
        await old.expect(m.RefreshToken)
        async with signal_client(server, request=RESUME) as new:
            assert isinstance(await new.next(), m.Reconnected)
            assert [p.identity for p in (await new.expect(m.ParticipantUpdate)).participants] == ["ann"]
            assert await old.closed() == 1000
            assert not any(isinstance(message, m.Leave) for message in old.heard)
            await new.send(m.SyncState(data_tracks=(m.DataTrackInfo(1, "DTR_x", "t"),)))
            left = await new.expect(m.Leave)
            assert left == m.Leave(m.DisconnectReason.STATE_MISMATCH, m.LeaveAction.RECONNECT)


async def test_a_client_that_does_not_read_loses_its_connection():
    async with serve(limits=Limits(signal_queue_messages=3)) as server, signal_client(server) as client:
        await client.expect(m.RefreshToken)
        for number in range(10):
            server.update_room_metadata("den", str(number))
        await client.closed()
        await trio.testing.wait_all_tasks_blocked()
        assert server.rooms == {}


@pytest.mark.parametrize(
    ("scenario", "left"),
    [
        ("node_failure", None),
        ("migration", None),
        ("server_leave", m.Leave(m.DisconnectReason.SERVER_SHUTDOWN)),
        ("leave_request_full_reconnect", m.Leave(m.DisconnectReason.UNKNOWN_REASON, m.LeaveAction.RECONNECT)),
    ],
)
async def test_faults_that_a_client_asks_for(server, scenario, left):
    async with signal_client(server) as client:
        await client.send(m.Simulate("subscriber_bandwidth", 1000))
        await client.send(m.Simulate(scenario, 1))
        assert await client.closed() == 1000
        assert [message for message in client.heard if isinstance(message, m.Leave)] == ([left] if left else [])
        assert server.rooms == {}


# --- what the operator does -------------------------------------------------------------------------------------------


async def test_removing_somebody(server):
    async with signal_client(server, "ann") as ann, signal_client(server, "bob") as bob:
        await bob.expect(m.RefreshToken)
        server.remove_participant("den", "bob")
        assert await bob.expect(m.Leave) == m.Leave(m.DisconnectReason.PARTICIPANT_REMOVED)
        assert await bob.closed() == 1000
        await ann.expect_about("bob", State.DISCONNECTED)
        with pytest.raises(KeyError):
            server.remove_participant("den", "bob")
        with pytest.raises(KeyError):
            server.delete_room("hall")


async def test_deleting_a_room(server):
    async with signal_client(server, "ann") as ann, signal_client(server, "bob", "hall") as bob:
        await bob.expect(m.RefreshToken)
        server.delete_room("den")
        assert (await ann.expect(m.Leave)).reason is m.DisconnectReason.ROOM_DELETED
        assert set(server.rooms) == {"hall"}


async def test_changing_what_somebody_may_do(server):
    async with signal_client(server, "ann") as ann:
        await ann.send(m.PublishDataTrack(1, "lidar"))
        await ann.expect(m.DataTrackPublished)
        await ann.expect_about("ann")
        server.update_permission("den", "ann", can_publish_data=False)
        info = await ann.expect_about("ann")
        assert (info.data_tracks, info.permission.can_publish_data) == ((), False)
        refreshed = verify_token((await ann.expect(m.RefreshToken)).token, {server.api_key: server.api_secret}.get)
        assert refreshed.video.can_publish_data is False
        await ann.send(m.PublishDataTrack(1, "lidar"))
        assert (await ann.expect(m.RequestResponse)).reason is m.RequestReason.NOT_ALLOWED


async def test_taking_a_track_away(server):
    async with signal_client(server, "ann") as ann:
        await ann.send(m.PublishDataTrack(1, "lidar"))
        await ann.expect(m.DataTrackPublished)
        server.unpublish("den", "ann", "lidar")
        while (await ann.expect_about("ann")).data_tracks:
            pass


async def test_cutting_a_signal_connection(server):
    async with signal_client(server) as client:
        await client.expect(m.RefreshToken)
        server.drop_signal("den", "ann")
        await client.closed()
        assert not any(isinstance(message, m.Leave) for message in client.heard)


async def test_room_metadata(server):
    async with signal_client(server) as client:
        await client.expect(m.RefreshToken)
        server.update_room_metadata("den", "welcome")
        assert (await client.expect(m.RoomUpdate)).room.metadata == "welcome"


# --- the life of the server -------------------------------------------------------------------------------------------


async def test_a_server_that_ends_sends_everyone_away():
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            reasons = []

            async def stay(server, joined):
                async with signal_client(server) as client:
                    await client.expect(m.RefreshToken)
                    joined.set()
                    reasons.append((await client.expect(m.Leave)).reason)
                    reasons.append(await client.closed())

            async with serve() as server:
                joined = trio.Event()
                nursery.start_soon(stay, server, joined)
                await joined.wait()
        assert reasons == [m.DisconnectReason.SERVER_SHUTDOWN, 1000]


async def test_nothing_is_left_behind():
    with trio.fail_after(20):
        async with nothing_left_behind():
            async with serve() as server, signal_client(server) as client:
                await client.expect(m.RefreshToken)
                assert (await http(server, "/"))[0] == 200


async def test_errors_of_the_block_come_out_bare():
    with pytest.raises(KeyError):
        async with serve() as server:
            server.delete_room("den")


async def test_an_address_in_use_is_an_oserror():
    async with serve() as server:
        with pytest.raises(OSError, match=r".*"):
            async with serve(port=int(server.url.rpartition(":")[2])):
                pass

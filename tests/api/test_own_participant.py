"""What a client changes about itself, and what the room tells of itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.old_server import without_v1
from tests.support.proxy import signal_proxy
from tests.support.reconnecting import QUICK
from tests.support.rooms import next_event
from tests.support.waiting import wait_until
from trio_livekit import events as ev

if TYPE_CHECKING:
    from tests.support.servers import EmbeddedServer, ServerUnderTest

Reason = lk.UpdateErrorReason


def own_token(server: ServerUnderTest, room_name: str, identity: str = "alice", **more: Any) -> str:
    return server.token(identity, room_name, can_update_own_metadata=True, **more)


# --- name, metadata, attributes ---------------------------------------------------------------------------------------


async def test_name_metadata_and_attributes(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, own_token(server, room_name, attributes={"kept": "1", "gone": "2"})) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        bob.events() as events,
    ):
        me = alice.local_participant
        await me.set_name("Alice ☂")
        assert me.name == "Alice ☂"
        await me.set_metadata("about alice")
        assert me.metadata == "about alice"
        await me.set_attributes({"new": "3", "gone": None})
        assert dict(me.attributes) == {"kept": "1", "new": "3"}
        await me.set_attributes({"new": "3"})  # nothing changes, and that is no error
        await me.set_attributes({"new": ""})
        assert dict(me.attributes) == {"kept": "1"}
        while bob.participants["alice"].attributes != me.attributes:
            await next_event(events, ev.ParticipantAttributesChanged)
        assert (bob.participants["alice"].name, bob.participants["alice"].metadata) == ("Alice ☂", "about alice")


async def test_many_changes_at_once(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, own_token(server, room_name)) as alice:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(alice.local_participant.set_attributes, {f"key {number}": str(number)})
        assert dict(alice.local_participant.attributes) == {f"key {number}": str(number) for number in range(100)}


async def test_refused_changes(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, own_token(server, room_name)) as alice,
    ):
        with pytest.raises(lk.UpdateError) as error:
            await bob.local_participant.set_name("Robert")
        assert (error.value.reason, error.value.code) == (Reason.NOT_ALLOWED, 2)
        assert "can_update_own_metadata" in str(error.value)
        me = alice.local_participant
        for change in (
            me.set_name("x" * 257),
            me.set_metadata("x" * (512 * 1024 + 1)),
            me.set_attributes({"key": "x" * (64 * 1024)}),
        ):
            with pytest.raises(lk.UpdateError) as error:
                await change
            assert error.value.reason is Reason.LIMIT_EXCEEDED
            assert "exceeds" in error.value.server_message
        assert (me.name, me.metadata, dict(me.attributes)) == ("", "", {})


async def test_what_is_no_change(embedded_server: EmbeddedServer, room_name: str) -> None:
    async with lk.connect(embedded_server.url, own_token(embedded_server, room_name)) as alice:
        me = alice.local_participant
        with pytest.raises(ValueError, match="empt"):
            await me.set_name("")
        with pytest.raises(ValueError, match="empt"):
            await me.set_metadata("")
        with pytest.raises(TypeError):
            await me.set_metadata(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await me.set_attributes({"key": 1})  # type: ignore[dict-item]


async def test_changes_asked_for_while_signalling_is_lost(server: ServerUnderTest, room_name: str) -> None:
    async with signal_proxy(server.url) as proxy:
        async with (
            lk.connect(proxy.url, own_token(server, room_name), reconnect=QUICK) as alice,
            alice.events() as events,
        ):
            proxy.cut(refuse=True)
            await next_event(events, ev.Reconnecting)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(alice.local_participant.set_name, "Alice")
                nursery.start_soon(alice.local_participant.set_attributes, {"key": "value"})
                await trio.testing.wait_all_tasks_blocked(0.01)
                proxy.refuses = False
            me = alice.local_participant
            assert (me.name, dict(me.attributes)) == ("Alice", {"key": "value"})
            assert (await next_event(events, ev.Reconnected)).resumed


async def test_a_change_whose_answer_is_lost(server: ServerUnderTest, room_name: str) -> None:
    """It is asked for again."""
    async with signal_proxy(server.url) as proxy:
        async with lk.connect(proxy.url, own_token(server, room_name), reconnect=QUICK) as alice:
            for number in range(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(alice.local_participant.set_name, f"name {number}")
                    for _ in range(number):
                        await trio.lowlevel.checkpoint()
                    proxy.cut()
                assert alice.local_participant.name == f"name {number}"
                await alice.wait_connected()


async def test_changes_over_a_new_session(embedded_server: EmbeddedServer, room_name: str) -> None:
    async with signal_proxy(embedded_server.url) as proxy:
        async with (
            lk.connect(proxy.url, own_token(embedded_server, room_name), reconnect=QUICK) as alice,
            alice.events() as events,
        ):
            await alice.local_participant.set_metadata("before")
            proxy.refuses = True
            embedded_server.server.drop_peers(room_name, "alice")
            await next_event(events, ev.Reconnecting)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(alice.local_participant.set_name, "Alice")
                await trio.testing.wait_all_tasks_blocked(0.01)
                proxy.refuses = False
            assert (alice.local_participant.name, alice.local_participant.metadata) == ("Alice", "before")


async def test_leaving_ends_what_is_being_asked_for(embedded_server: EmbeddedServer, room_name: str) -> None:
    outcome: list[Exception] = []

    async def change(room: lk.Room) -> None:
        try:
            await room.local_participant.set_name("x")
        except trio.ClosedResourceError as exc:
            outcome.append(exc)

    async with signal_proxy(embedded_server.url) as proxy, trio.open_nursery() as nursery:
        async with lk.connect(proxy.url, own_token(embedded_server, room_name), reconnect=QUICK) as alice:
            proxy.cut(refuse=True)
            nursery.start_soon(change, alice)
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert len(outcome) == 1
    with pytest.raises(trio.ClosedResourceError):
        await alice.local_participant.set_name("y")


async def test_metadata_and_attributes_from_the_start(server: ServerUnderTest, room_name: str) -> None:
    token = own_token(server, room_name, metadata="old", attributes={"from": "token"})
    async with lk.connect(server.url, token, metadata="new", attributes={"more": "x"}) as alice:
        assert alice.local_participant.metadata == "new"
        assert dict(alice.local_participant.attributes) == {"from": "token", "more": "x"}


async def test_metadata_and_attributes_from_the_start_on_an_older_server(
    server: ServerUnderTest, room_name: str
) -> None:
    async with without_v1(server.url) as url:
        async with (
            lk.connect(url, own_token(server, room_name), metadata="new", attributes={"more": "x"}) as alice,
            alice.events() as events,
        ):
            while alice.local_participant.metadata != "new" or not alice.local_participant.attributes:
                with trio.fail_after(5):
                    await events.receive()
        with pytest.raises(lk.ConnectError) as error:
            async with lk.connect(url, server.token("bob", room_name), metadata="x"):
                pytest.fail("connected")
        assert error.value.reason is lk.ConnectErrorReason.NOT_ALLOWED
        await server.wait_gone(room_name, "bob")


async def test_attributes_from_the_start_without_the_grant(server: ServerUnderTest, room_name: str) -> None:
    with pytest.raises(lk.ConnectError, match="can_update_own_metadata") as error:
        async with lk.connect(server.url, server.token("bob", room_name), attributes={"a": "b"}):
            pytest.fail("connected")
    assert (error.value.reason, error.value.status) == (lk.ConnectErrorReason.NOT_ALLOWED, 401)


# --- who may have the tracks ------------------------------------------------------------------------------------------


async def test_who_may_subscribe(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        bob.events() as events,
        alice.publish_data_track("secret") as track,
    ):
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("secret")
        async with remote.subscribe(buffer_size=1000) as frames:
            alice.local_participant.set_track_subscription_permissions([])
            denied = await next_event(events, ev.SubscriptionPermissionChanged)
            assert (denied.track, denied.is_allowed, remote.is_allowed) == (remote, False, False)
            track.try_push(b"for nobody")
            permission = lk.TrackSubscriptionPermission("bob", tracks=("secret",))
            alice.local_participant.set_track_subscription_permissions([permission])
            granted = await next_event(events, ev.SubscriptionPermissionChanged)
            assert (granted.track, granted.is_allowed) == (remote, True)
            with trio.fail_after(10):
                await _flows_again(track, frames)


async def test_who_may_not_have_a_track_any_more_loses_it_and_the_others_read_on(
    server: ServerUnderTest, room_name: str
) -> None:
    """Recorders, which nobody may shut out, are among the others."""
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("carol", room_name)) as carol,
        lk.connect(server.url, server.token("recorder", room_name, kind="egress")) as recorder,
        bob.events() as events,
        alice.publish_data_track("track") as track,
        (await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")).subscribe() as lost,
        (await (await carol.wait_for_participant("alice")).data_tracks.wait_for("track")).subscribe() as kept,
        (await (await recorder.wait_for_participant("alice")).data_tracks.wait_for("track")).subscribe() as recorded,
    ):
        alice.local_participant.set_track_subscription_permissions([lk.TrackSubscriptionPermission("carol")])
        assert not (await next_event(events, ev.SubscriptionPermissionChanged)).is_allowed
        with trio.fail_after(10):
            await _flows_again(track, kept)
            await _flows_again(track, recorded)
        with pytest.raises(trio.WouldBlock):
            lost.receive_nowait()


async def test_a_track_that_is_published_after_it_was_permitted(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
    ):
        permission = lk.TrackSubscriptionPermission("bob", tracks=("later",))
        alice.local_participant.set_track_subscription_permissions([permission])
        async with alice.publish_data_track("later") as track, alice.publish_data_track("never"):
            tracks = (await bob.wait_for_participant("alice")).data_tracks
            async with (await tracks.wait_for("later")).subscribe() as frames:
                with trio.fail_after(10):
                    await _flows_again(track, frames)
            with trio.move_on_after(0.3) as bound:
                async with (await tracks.wait_for("never")).subscribe():
                    pytest.fail("subscribed")
            assert bound.cancelled_caught


async def test_permissions_outlive_the_session(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server.server
    async with (
        lk.connect(server.url, server.token("alice", room_name), reconnect=QUICK) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("carol", room_name)) as carol,
        alice.publish_data_track("track") as track,
    ):
        permission = lk.TrackSubscriptionPermission("bob", tracks=("track",))
        alice.local_participant.set_track_subscription_permissions([permission])
        sid = track.sid
        async with alice.events() as events:
            server.drop_peers(room_name, "alice")
            await next_event(events, ev.Reconnected)
        with trio.fail_after(10):
            await wait_until(lambda: track.sid != sid)
            remote = await bob.participants["alice"].data_tracks.wait_for("track")
            async with remote.subscribe() as frames:
                await _flows_again(track, frames)
            with trio.move_on_after(0.1) as bound:
                async with (await carol.participants["alice"].data_tracks.wait_for("track")).subscribe():
                    pytest.fail("subscribed")
            assert bound.cancelled_caught


async def _flows_again(track: lk.LocalDataTrack, frames: lk.DataTrackSubscription) -> None:
    while True:
        await track.send(payload := f"{trio.current_time()}".encode())
        with trio.move_on_after(0.05):
            while (await frames.receive()).payload != payload:
                pass
            return


async def test_a_client_that_may_not_subscribe(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name, can_subscribe=False)) as bob,
        alice.publish_data_track("track"),
    ):
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        with pytest.raises(lk.SubscribeError) as error:
            async with remote.subscribe():
                pytest.fail("subscribed")
        assert error.value.reason is lk.SubscribeErrorReason.NOT_ALLOWED


async def test_a_client_that_may_not_publish_any_more(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as alice, alice.events() as events:
        with pytest.raises(lk.PublishError) as error:
            async with alice.publish_data_track("track"):
                await server.revoke_publishing(room_name, "alice")
                await trio.sleep_forever()
        assert error.value.reason is lk.PublishErrorReason.UNPUBLISHED
        while alice.local_participant.permission.can_publish_data:  # type: ignore[union-attr]
            await next_event(events, ev.ParticipantPermissionsChanged)
        with pytest.raises(lk.PublishError) as error:
            async with alice.publish_data_track("track"):
                pytest.fail("published")
        assert error.value.reason is lk.PublishErrorReason.NOT_ALLOWED


# --- the room ---------------------------------------------------------------------------------------------------------


async def test_what_a_room_tells_of_itself(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as room:
        with trio.fail_after(5):
            assert (await room.wait_sid()).startswith("RM_")
        assert room.sid == await room.wait_sid()
        assert abs(room.created_at - time.time()) < 60
        assert abs(room.local_participant.joined_at - time.time()) < 60
        assert not room.is_recording
        assert room.server_info.version == room.server_version
        assert room.server_info.protocol >= 15
        assert room.disconnect_reason is None
        token = own_token(server, room_name, identity="bob")
        async with lk.connect(server.url, token) as second:
            await second.local_participant.set_name("Bob")  # which is told at once, as joining is not
            bob = await room.wait_for_participant("bob", active=True)
            assert bob.is_active
            assert not bob.is_publisher
            assert second.num_participants in (0, 1, 2)  # a server counts now and then
            assert second.num_publishers == 0
    assert room.disconnect_reason is None


async def test_a_fresh_token_is_told(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, own_token(server, room_name)) as room, room.events() as events:
        await room.local_participant.set_name("Alice")
        event = await next_event(events, ev.TokenRefreshed)
        assert event.token not in repr(event)
    async with lk.connect(server.url, event.token) as room:
        assert room.local_participant.name == "Alice"


async def test_why_a_room_was_lost(server: ServerUnderTest, room_name: str) -> None:
    with pytest.raises(lk.RoomDisconnected):
        async with lk.connect(server.url, server.token("alice", room_name)) as room:
            await server.delete_room(room_name)
            await trio.sleep_forever()
    assert room.disconnect_reason is lk.DisconnectReason.ROOM_DELETED
    with pytest.raises(lk.RoomDisconnected):
        await room.local_participant.set_name("x")

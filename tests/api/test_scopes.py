"""What comes out of a block: the user's own error, one plain error of ours, or the cancellation of an outer scope."""

from __future__ import annotations

import copy
import pickle
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

import trio_livekit as lk
from tests.support.leaks import nothing_left_behind
from trio_livekit._session.connection import Connection
from trio_livekit._session.losses import Loss, Remedy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import EmbeddedServer

    Pair = tuple[lk.Room, lk.Room]


class UserError(Exception):
    """Not ours."""


@pytest.fixture
async def pair(embedded_server: EmbeddedServer, room_name: str) -> AsyncIterator[Pair]:
    server = embedded_server
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
    ):
        yield alice, bob


@asynccontextmanager
async def everything(server: EmbeddedServer, room_name: str) -> AsyncIterator[tuple[lk.Room, lk.DataTrackSubscription]]:
    """All blocks within one another: bob's room, events, a track of its own, and alice's track with a subscription."""
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        bob.events(),
        bob.publish_data_track("own"),
    ):
        alice = await bob.wait_for_participant("alice")
        remote = await alice.data_tracks.wait_for("track")
        async with remote.subscribe() as frames:
            yield bob, frames


@asynccontextmanager
async def alice_publishes(server: EmbeddedServer, room_name: str) -> AsyncIterator[lk.LocalDataTrack]:
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        alice.publish_data_track("track") as track,
    ):
        yield track


# --- the user's own errors --------------------------------------------------------------------------------------------


async def test_an_error_of_the_users_comes_out_as_it_is(embedded_server: EmbeddedServer, room_name: str) -> None:
    error = UserError("mine")
    context = KeyError("context")
    async with alice_publishes(embedded_server, room_name):
        with pytest.raises(UserError) as caught:
            async with everything(embedded_server, room_name):
                try:
                    raise context
                except KeyError:
                    raise error  # noqa: B904 - the context is the point
    assert caught.value is error
    assert error.__context__ is context
    assert error.__cause__ is None
    assert not hasattr(error, "__notes__")


async def test_a_group_of_the_users_keeps_its_errors(embedded_server: EmbeddedServer, room_name: str) -> None:
    one, two = UserError("one"), UserError("two")

    async def fail(error: Exception) -> None:
        raise error

    async with alice_publishes(embedded_server, room_name):
        with pytest.RaisesGroup(UserError, UserError) as caught:
            async with everything(embedded_server, room_name), trio.open_nursery() as nursery:
                nursery.start_soon(fail, one)
                nursery.start_soon(fail, two)
    assert set(caught.value.exceptions) == {one, two}


async def test_an_interrupt_comes_out_bare(embedded_server: EmbeddedServer, room_name: str) -> None:
    async with alice_publishes(embedded_server, room_name):
        with pytest.raises(KeyboardInterrupt):
            async with everything(embedded_server, room_name):
                raise KeyboardInterrupt


async def test_the_users_error_survives_an_outer_cancellation(embedded_server: EmbeddedServer, room_name: str) -> None:
    server, error = embedded_server, UserError("mine")
    with trio.CancelScope() as scope:
        with pytest.raises(UserError) as caught:
            async with lk.connect(server.url, server.token("alice", room_name)) as room:
                async with room.publish_data_track("track"):
                    scope.cancel()
                    raise error
        assert caught.value is error


# --- errors of ours ---------------------------------------------------------------------------------------------------


async def test_a_lost_room_comes_out_bare_from_the_innermost_block(
    embedded_server: EmbeddedServer, room_name: str
) -> None:
    async with alice_publishes(embedded_server, room_name):
        with pytest.raises(lk.RoomDisconnected) as caught:
            async with everything(embedded_server, room_name) as (_, frames):
                await embedded_server.remove_participant(room_name, "bob")
                async for _frame in frames:
                    pass
        assert caught.value.reason is lk.DisconnectReason.PARTICIPANT_REMOVED
        assert caught.value.__cause__ is None


async def test_a_lost_room_comes_out_bare_of_a_block_that_never_rests(
    embedded_server: EmbeddedServer, room_name: str
) -> None:
    """Whatever the block is at when it learns of the loss, the loss is what it ends with."""
    for attempt in range(10):
        with pytest.raises(lk.RoomDisconnected):
            async with (
                lk.connect(embedded_server.url, embedded_server.token("bob", room_name)) as room,
                room.publish_data_track("track") as track,
            ):
                await embedded_server.remove_participant(room_name, "bob")
                while True:
                    track.try_push(b"x" * 1000)
                    if attempt % 2:
                        await trio.lowlevel.checkpoint()
                    else:
                        await track.send(b"x" * 1000)


async def test_a_lost_room_comes_out_bare_of_the_tasks_in_its_block(
    embedded_server: EmbeddedServer, room_name: str
) -> None:
    """A nursery in the block makes groups of what its tasks raise, so none of them raises: the block does."""

    async def send_packets() -> None:
        while True:
            await (await room.publish_data(bytes(100))).wait_acked()

    async def write() -> None:
        async with room.open_text_stream("topic") as writer:
            while True:
                await writer.write("word")

    async def send_texts() -> None:
        while True:
            await room.send_text("x" * 30_000, topic="topic")

    async def read_texts() -> None:
        async with room.text_streams("other") as texts:
            async for text in texts:
                await text.read_all()

    async def read_packets() -> None:
        async with room.data_packets() as packets:
            async for _ in packets:
                pass

    async def push() -> None:
        async with room.publish_data_track("own") as track:
            while True:
                await track.send(bytes(100))

    async def subscribe() -> None:
        while True:
            async with room.participants["alice"].data_tracks["track"].subscribe() as frames:
                with trio.move_on_after(0.001):
                    await frames.receive()

    async def call() -> None:
        while True:
            with pytest.raises(lk.RpcError):
                await room.perform_rpc(destination_identity="alice", method="nothing")

    async def answer(invocation: lk.RpcInvocation) -> str:
        return invocation.payload

    async def serve() -> None:
        async with room.register_rpc_method("method", answer):
            await trio.sleep_forever()

    async def wait() -> None:
        await room.wait_for_participant("nobody")

    tasks = (send_packets, write, send_texts, read_texts, read_packets, push, subscribe, call, serve, wait)
    async with alice_publishes(embedded_server, room_name):
        for attempt in range(4):
            with pytest.raises(lk.RoomDisconnected):
                async with (
                    lk.connect(embedded_server.url, embedded_server.token("bob", room_name)) as room,
                    trio.open_nursery() as nursery,
                ):
                    await (await room.wait_for_participant("alice")).data_tracks.wait_for("track")
                    for task in tasks:
                        nursery.start_soon(task)
                    await trio.sleep(0.01 * attempt)
                    await embedded_server.remove_participant(room_name, "bob")


async def test_a_room_that_is_lost_in_the_moment_of_joining(
    embedded_server: EmbeddedServer, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of the tasks of a room runs first is up to chance, so this is tried more than once."""
    establish = Connection.establish

    async def and_lose(self: Connection) -> None:
        await establish(self)
        self._lose(Loss(Remedy.NONE, lk.DisconnectReason.DUPLICATE_IDENTITY, "somebody else joined"))

    monkeypatch.setattr(Connection, "establish", and_lose)
    for _ in range(8):
        with pytest.raises(lk.RoomDisconnected):
            async with lk.connect(embedded_server.url, embedded_server.token("bob", room_name)):
                await trio.sleep_forever()


async def test_a_lost_room_is_over_before_its_block_is(embedded_server: EmbeddedServer, room_name: str) -> None:
    """Whoever borrowed it need not wait for what its block has to clean up."""
    server = embedded_server
    async with alice_publishes(server, room_name):
        with pytest.raises(lk.RoomDisconnected):
            async with lk.connect(server.url, server.token("bob", room_name)) as room:
                alice = await room.wait_for_participant("alice")
                try:
                    await server.remove_participant(room_name, "bob")
                    await trio.sleep_forever()
                finally:
                    with trio.fail_after(5, shield=True):
                        assert room.state is lk.ConnectionState.DISCONNECTED
                        for use in (room.data_packets(), room.events(), room.text_streams("x")):
                            with pytest.raises(lk.RoomDisconnected):
                                async with use as reader:
                                    await reader.receive()
                        for wait in (room.wait_connected(), alice.data_tracks.wait_for("x")):
                            with pytest.raises(lk.RoomDisconnected):
                                await wait


async def test_a_room_lost_while_a_track_is_being_published(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    with pytest.raises(lk.RoomDisconnected):
        async with lk.connect(server.url, server.token("bob", room_name)) as room:
            await server.remove_participant(room_name, "bob")
            async with room.publish_data_track("too late"):
                await trio.sleep_forever()


async def test_blocks_in_tasks_that_only_borrow_the_room_end_with_it(
    embedded_server: EmbeddedServer, room_name: str
) -> None:
    server = embedded_server
    ended: dict[str, Exception] = {}
    room: lk.Room

    async def publish(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(lk.PublishError) as error:
            async with room.publish_data_track("borrowed"):
                task_status.started()
                await trio.sleep_forever()
        ended["publish"] = error.value

    async def read(task_status: trio.TaskStatus[None]) -> None:
        async with room.participants["alice"].data_tracks["track"].subscribe() as frames:
            task_status.started()
            with pytest.raises(lk.RoomDisconnected) as error:
                await frames.receive()
        ended["read"] = error.value

    async def wait(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with pytest.raises(lk.RoomDisconnected) as error:
            await room.wait_for_participant("nobody")
        ended["wait"] = error.value

    async def wait_for_track(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with pytest.raises(lk.RoomDisconnected) as error:
            await room.participants["alice"].data_tracks.wait_for("nothing")
        ended["wait for track"] = error.value

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        async with room.events() as events:
            task_status.started()
            with pytest.raises(lk.RoomDisconnected) as error:
                async for _ in events:
                    pass
        ended["listen"] = error.value

    async with alice_publishes(server, room_name), trio.open_nursery() as borrowers:
        with pytest.raises(lk.RoomDisconnected) as caught:
            async with lk.connect(server.url, server.token("bob", room_name)) as room:
                await (await room.wait_for_participant("alice")).data_tracks.wait_for("track")
                for borrower in (publish, read, wait, wait_for_track, listen):
                    await borrowers.start(borrower)
                await wait_all_tasks_blocked()
                await server.remove_participant(room_name, "bob")
                await trio.sleep_forever()
    assert ended.keys() == {"publish", "read", "wait", "wait for track", "listen"}
    assert isinstance(ended["publish"], lk.PublishError)
    assert ended["publish"].reason is lk.PublishErrorReason.DISCONNECTED
    for error in ended.values():
        assert error is not caught.value  # each task has a traceback of its own


async def test_using_a_room_that_was_left(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    async with alice_publishes(server, room_name):
        async with lk.connect(server.url, server.token("bob", room_name)) as room:
            remote = await (await room.wait_for_participant("alice")).data_tracks.wait_for("track")
        for use in (room.publish_data_track("x"), room.events(), remote.subscribe()):
            with pytest.raises(trio.ClosedResourceError):
                async with use:
                    pass
        for wait in (room.wait_for_participant("nobody"), room.participants["alice"].data_tracks.wait_for("x")):
            with pytest.raises(trio.ClosedResourceError):
                await wait


async def test_a_refusal_inside_a_room_leaves_the_room_usable(pair: Pair) -> None:
    alice, _ = pair
    with pytest.raises(lk.PublishError):
        async with alice.publish_data_track(""):
            pass
    async with alice.publish_data_track("fine"):
        pass


def _errors() -> list[lk.LiveKitError]:
    return [
        lk.ConnectError(lk.ConnectErrorReason.NOT_ALLOWED, "no", status=401),
        lk.RoomDisconnected(lk.DisconnectReason.ROOM_DELETED, "gone"),
        lk.RoomDisconnected(lk.DisconnectReason.ROOM_DELETED),
        lk.PublishError(lk.PublishErrorReason.UNKNOWN, "what", code=99, server_message="words"),
        lk.PushError(lk.PushErrorReason.QUEUE_FULL, "full"),
        lk.FrameTooLarge(3, 2),
        lk.SubscribeError(lk.SubscribeErrorReason.TIMEOUT, "late"),
        lk.InternalError("oops"),
    ]


@pytest.mark.parametrize("error", _errors(), ids=lambda error: type(error).__name__)
def test_errors_can_be_copied_and_pickled(error: lk.LiveKitError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))


# --- cancellation -----------------------------------------------------------------------------------------------------


async def test_an_outer_cancellation_says_goodbye_everywhere(embedded_server: EmbeddedServer, room_name: str) -> None:
    """Publisher and subscriber are cancelled at once, from outside of their rooms; others see both go."""
    server = embedded_server
    async with lk.connect(server.url, server.token("carol", room_name)) as carol:
        async with nothing_left_behind():
            with trio.CancelScope() as scope:
                async with alice_publishes(server, room_name), everything(server, room_name):
                    own = await (await carol.wait_for_participant("bob")).data_tracks.wait_for("own")
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            with trio.fail_after(1):
                await own.wait_unpublished()
            assert await server.participants(room_name) == {"carol"}


async def test_a_cancelled_room_still_hears_that_its_track_is_unpublished(
    embedded_server: EmbeddedServer, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The goodbye of an inner block works while an outer cancellation unwinds the room, and so does not time out."""
    monkeypatch.setattr("trio_livekit._session.publishing._UNPUBLISH_TIMEOUT_S", 3600)
    server = embedded_server
    with trio.fail_after(5), trio.CancelScope() as scope:
        async with lk.connect(server.url, server.token("alice", room_name)) as room, room.publish_data_track("track"):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_deadline_around_everything(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(0.2):
            async with lk.connect(server.url, server.token("alice", room_name)) as room:
                async with room.publish_data_track("track"):
                    await trio.sleep_forever()
    assert await server.participants(room_name) == set()


async def test_a_cancelled_scope_connects_nowhere(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    with trio.CancelScope() as scope:
        scope.cancel()
        async with lk.connect(server.url, server.token("alice", room_name)):
            pytest.fail("connected")
    assert scope.cancelled_caught


# --- checkpoints ------------------------------------------------------------------------------------------------------


async def test_pushing_and_looking_are_no_checkpoints(pair: Pair) -> None:
    alice, bob = pair
    async with alice.publish_data_track("track") as track:
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        async with remote.subscribe() as frames:
            with assert_no_checkpoints():
                track.try_push(b"x")
                track.try_push(lk.DataTrackFrame(bytes(100_000), 1))
                track.statistics()
                frames.statistics()
                bob.participants["alice"].data_tracks.get("track")
                with pytest.raises(trio.WouldBlock):
                    frames.receive_nowait()


async def test_everything_asynchronous_is_a_checkpoint(pair: Pair) -> None:
    alice, bob = pair
    async with bob.events() as events, alice.publish_data_track("track") as track:
        with assert_checkpoints():
            participant = await bob.wait_for_participant("alice")
        with assert_checkpoints():
            remote = await participant.data_tracks.wait_for("track")
        first, second = remote.subscribe(), remote.subscribe()
        with assert_checkpoints():
            frames = await first.__aenter__()
        with assert_checkpoints():
            await second.__aenter__()
        track.try_push(b"1")
        with assert_checkpoints():
            await frames.receive()  # which waits
        track.try_push(b"2")
        track.try_push(b"3")
        await frames.receive()
        with assert_checkpoints():
            await frames.receive()  # which does not
        with assert_checkpoints():
            await track.send(b"4")
        with assert_checkpoints():
            await track.flush()
        with assert_checkpoints():
            await track.flush()
        with assert_checkpoints():
            await frames.aclose()
        with assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await frames.receive()
        await second.__aexit__(None, None, None)
        await first.__aexit__(None, None, None)
        with assert_checkpoints():
            await events.receive()
        with assert_checkpoints():
            await events.aclose()
        with assert_checkpoints():
            await track.aclose()
        with assert_checkpoints():
            await track.aclose()
        with assert_checkpoints():
            await remote.wait_unpublished()
        with assert_checkpoints():
            await remote.wait_unpublished()
        listening = bob.events()
        with assert_checkpoints():
            await listening.__aenter__()
        await listening.__aexit__(None, None, None)

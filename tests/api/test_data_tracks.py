"""Data tracks between two rooms: publishing, subscribing, and every way in which either ends."""

from __future__ import annotations

import functools
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trio_livekit as lk
from tests.support.rooms import remote_track
from tests.support.servers import EmbeddedServer
from tests.support.waiting import wait_until
from trio_livekit import events as ev
from trio_livekit._sansio.signal import messages as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import ServerUnderTest

    Pair = tuple[lk.Room, lk.Room]

MAX_TIMESTAMP = 2**64 - 1


@asynccontextmanager
async def published(pair: Pair, name: str = "track") -> AsyncIterator[tuple[lk.LocalDataTrack, lk.RemoteDataTrack]]:
    """A track of alice's, and the same as bob sees it."""
    alice, bob = pair
    async with alice.publish_data_track(name) as track:
        yield track, await remote_track(bob, "alice", name)


async def push_until_received(track: lk.LocalDataTrack, frames: lk.DataTrackSubscription, payload: bytes) -> bytes:
    """Large frames may get lost on a livekit-server that has been idle; the next one arrives."""
    for _ in range(5):
        track.try_push(payload)
        with trio.move_on_after(1):
            return (await frames.receive()).payload
    raise AssertionError(f"none of 5 frames of {len(payload)} bytes arrived")


# --- frames -----------------------------------------------------------------------------------------------------------


async def test_frames_of_all_sizes_arrive_whole(pair: Pair) -> None:
    async with published(pair) as (track, remote), remote.subscribe() as frames:
        for size in (1, 2, 1024, 15_988, 15_989, 16_000, 65_536, 262_144):
            payload = bytes(i * 7 & 0xFF for i in range(251)) * (size // 251 + 1)
            assert await push_until_received(track, frames, payload[:size]) == payload[:size]


@pytest.mark.parametrize("timestamp", [None, 0, 1, MAX_TIMESTAMP])
async def test_user_timestamps_arrive_as_they_are(pair: Pair, timestamp: int | None) -> None:
    async with published(pair) as (track, remote), remote.subscribe() as frames:
        track.try_push(b"bytes", timestamp)
        track.try_push(lk.DataTrackFrame(b"frame", timestamp))
        await track.send(lk.DataTrackFrame(b"sent", timestamp))
        for payload in (b"bytes", b"frame", b"sent"):
            assert await frames.receive() == lk.DataTrackFrame(payload, timestamp)


@pytest.mark.parametrize("size", [8192, 196_608])
async def test_a_frame_without_a_timestamp_and_what_is_known_of_its_track(pair: Pair, size: int) -> None:
    async with pair[1].events() as happened, published(pair, "known") as (track, remote), remote.subscribe() as frames:
        assert (remote.name, remote.publisher_identity, remote.uses_e2ee) == ("known", "alice", False)
        async for event in happened:
            if isinstance(event, ev.DataTrackPublished):
                break
        assert event.track is remote
        assert event.track.sid == track.sid
        payload = bytes(range(256)) * (size // 256)
        for _ in range(5):
            track.try_push(payload)
            with trio.move_on_after(1):
                assert await frames.receive() == lk.DataTrackFrame(payload, None)
                return
        pytest.fail("none of 5 frames arrived")


async def test_a_stamped_frame_tells_its_age(pair: Pair) -> None:
    async with published(pair) as (track, remote), remote.subscribe() as frames:
        track.try_push(lk.DataTrackFrame(b"now").with_user_timestamp_now())
        age = (await frames.receive()).duration_since_timestamp()
        assert age is not None
        assert 0 <= age < 60


async def test_frames_that_cannot_be_sent_are_refused_and_counted(pair: Pair) -> None:
    async with published(pair) as (track, remote), remote.subscribe() as frames:
        with pytest.raises(lk.PushError) as empty:
            track.try_push(b"")
        assert empty.value.reason is lk.PushErrorReason.EMPTY
        with pytest.raises(lk.FrameTooLarge) as too_large:
            track.try_push(bytes(128 * 15_988 + 1))
        assert (too_large.value.size, too_large.value.limit) == (128 * 15_988 + 1, 128 * 15_988)
        with pytest.raises(lk.PushError):
            await track.send(b"")
        for timestamp in (-1, MAX_TIMESTAMP + 1):
            with pytest.raises(ValueError, match="timestamp"):
                track.try_push(b"x", timestamp)
        with pytest.raises(TypeError, match="not str"):
            track.try_push("text")  # type: ignore[arg-type]
        assert track.statistics().frames_refused == 3

        track.try_push(b"and then one that can")
        assert (await frames.receive()).payload == b"and then one that can"
        assert track.statistics().frames_pushed == 4
        assert track.statistics().frames_sent == 1


async def test_a_full_queue_refuses_the_newest_and_send_waits_for_room(pair: Pair) -> None:
    async with published(pair) as (track, remote), remote.subscribe(buffer_size=1000) as frames:
        with pytest.raises(lk.PushError) as full:
            for _ in range(1000):
                track.try_push(bytes(8000))
        assert full.value.reason is lk.PushErrorReason.QUEUE_FULL
        assert track.statistics().frames_queued > 0

        await track.send(b"last")  # which takes a turn of the network, as the queue is full
        await track.flush()
        assert track.statistics().frames_queued == 0
        statistics = track.statistics()
        assert statistics.frames_refused == 1
        assert statistics.frames_sent + statistics.frames_dropped == statistics.frames_pushed - 1

        async def send_again() -> None:  # a frame may be lost
            while True:
                await trio.sleep(0.1)
                await track.send(b"last")

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_again)
                while (await frames.receive()).payload != b"last":
                    pass
                nursery.cancel_scope.cancel()


async def test_flushing_waits_until_all_has_left(pair: Pair) -> None:
    alice, _ = pair
    async with alice.publish_data_track("track") as track:
        for size in (1, 65_536, 20_000, 1):
            track.try_push(bytes(size))
        assert track.statistics().frames_queued > 0
        await track.flush()
        statistics = track.statistics()
        assert (statistics.frames_sent, statistics.frames_queued) == (4, 0)
        channel = alice.stats().channels["_data_track"]
        assert (channel.messages_sent, channel.buffered, channel.unsent) == (1 + 5 + 2 + 1, 0, 0)
        await track.flush()


async def test_a_cancelled_send_has_sent_nothing(pair: Pair) -> None:
    async with published(pair) as (track, remote), remote.subscribe() as frames:
        with trio.CancelScope() as scope:
            scope.cancel()
            await track.send(b"never")
        assert scope.cancelled_caught
        track.try_push(b"next")
        assert (await frames.receive()).payload == b"next"
        assert track.statistics().frames_pushed == 1


async def test_leaving_the_block_sends_what_was_accepted_first(server: ServerUnderTest, pair: Pair) -> None:
    alice, bob = pair
    async with AsyncExitStack() as stack:
        async with alice.publish_data_track("burst") as track:
            remote = await remote_track(bob, "alice", "burst")
            frames = await stack.enter_async_context(remote.subscribe())
            for number in range(10):
                track.try_push(bytes([number]) * 5000)
        arrived = [frame.payload[0] async for frame in frames]
        # livekit-server has acknowledged all of them before the track goes, and may yet drop some on the way to Bob.
        assert arrived == (list(range(10)) if isinstance(server, EmbeddedServer) else sorted(set(arrived)))
        assert arrived[0] == 0


# --- readers ----------------------------------------------------------------------------------------------------------


async def test_several_readers_all_get_every_frame(pair: Pair) -> None:
    async with published(pair) as (track, remote):
        async with remote.subscribe() as one, remote.subscribe() as two, remote.subscribe() as three:
            for number in range(5):
                track.try_push(bytes([number]))
            for frames in (one, two, three):
                assert [(await frames.receive()).payload[0] for _ in range(5)] == list(range(5))


async def test_readers_come_and_go_while_another_reads_on(pair: Pair) -> None:
    async with published(pair) as (track, remote), remote.subscribe() as steady:
        for number in range(5):
            async with remote.subscribe() as passing:
                track.try_push(bytes([number]))
                assert (await passing.receive()).payload == bytes([number])
        assert [(await steady.receive()).payload[0] for _ in range(5)] == list(range(5))


async def test_a_late_reader_gets_what_comes_after_it(pair: Pair) -> None:
    async with published(pair) as (track, remote):
        for _ in range(3):
            track.try_push(b"before anybody listened")
        await track.flush()
        async with remote.subscribe() as early:
            track.try_push(b"one")
            assert (await early.receive()).payload == b"one"
            async with remote.subscribe() as late:
                track.try_push(b"two")
                assert (await late.receive()).payload == b"two"
                with pytest.raises(trio.WouldBlock):
                    late.receive_nowait()


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(pair: Pair) -> None:
    async with published(pair) as (track, remote):
        async with remote.subscribe(buffer_size=3) as slow, remote.subscribe() as fast:
            for number in range(10):
                track.try_push(bytes([number]))
            for _ in range(10):
                await fast.receive()
            assert [slow.receive_nowait().payload[0] for _ in range(3)] == [7, 8, 9]
            statistics = slow.statistics()
            assert (statistics.frames_received, statistics.frames_displaced, statistics.frames_buffered) == (10, 7, 0)
            assert fast.statistics().frames_displaced == 0


async def test_subscribing_again_and_again(pair: Pair) -> None:
    async with published(pair) as (track, remote):
        for number in range(10):
            async with remote.subscribe() as frames:
                track.try_push(bytes([number]))
                assert (await frames.receive()).payload == bytes([number])


async def test_a_closed_subscription_says_so(pair: Pair) -> None:
    async with published(pair) as (track, remote):
        async with remote.subscribe() as frames:
            await frames.aclose()
            await frames.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await frames.receive()
        with pytest.raises(trio.ClosedResourceError):
            frames.receive_nowait()
        async with remote.subscribe() as frames:
            track.try_push(b"new")
            assert (await frames.receive()).payload == b"new"


@pytest.mark.parametrize("sizes", [{"buffer_size": 0}, {"max_partial_frames": 0}])
async def test_buffers_have_at_least_one_place(pair: Pair, sizes: dict[str, int]) -> None:
    async with published(pair) as (_, remote):
        with pytest.raises(ValueError, match="at least 1"):
            async with remote.subscribe(**sizes):
                pass


async def test_a_cancelled_subscribe_is_forgotten_and_can_be_repeated(pair: Pair) -> None:
    async with published(pair) as (track, remote):
        for _ in range(3):
            with trio.CancelScope() as scope:
                scope.cancel()
                async with remote.subscribe():
                    pass
            assert scope.cancelled_caught
        async with remote.subscribe() as frames:
            track.try_push(b"x")
            assert (await frames.receive()).payload == b"x"


# --- the end of a track -----------------------------------------------------------------------------------------------


async def test_unpublishing_ends_the_reader_normally(pair: Pair) -> None:
    alice, bob = pair
    async with AsyncExitStack() as stack:
        async with alice.publish_data_track("brief") as track:
            remote = await remote_track(bob, "alice", "brief")
            assert remote.is_published
            frames = await stack.enter_async_context(remote.subscribe())
            track.try_push(b"only")
        assert not track.is_published
        assert [frame.payload async for frame in frames] == [b"only"]
        await remote.wait_unpublished()
        assert not remote.is_published
        with pytest.raises(lk.SubscribeError) as error:
            async with remote.subscribe():
                pass
        assert error.value.reason is lk.SubscribeErrorReason.UNPUBLISHED
        with pytest.raises(lk.PushError) as push_error:
            track.try_push(b"too late")
        assert push_error.value.reason is lk.PushErrorReason.UNPUBLISHED


async def test_whoever_waits_for_the_end_of_a_track_hears_of_it(pair: Pair) -> None:
    heard: list[bool] = []

    async def wait(remote: lk.RemoteDataTrack) -> None:
        await remote.wait_unpublished()
        heard.append(remote.is_published)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with published(pair) as (track, remote), remote.subscribe() as frames:
                for _ in range(2):
                    nursery.start_soon(wait, remote)
                track.try_push(b"still there")
                await frames.receive()
                assert heard == []
    assert heard == [False, False]


async def test_unpublishing_before_the_block_ends_is_quiet_also_twice(pair: Pair) -> None:
    async with published(pair) as (track, remote):
        await track.aclose()
        await track.aclose()
        assert not track.is_published
        await remote.wait_unpublished()
        with pytest.raises(lk.PushError) as error:
            await track.send(b"too late")
        assert error.value.reason is lk.PushErrorReason.UNPUBLISHED


async def test_a_name_is_free_again_at_once(pair: Pair) -> None:
    alice, bob = pair
    sids = set()
    for _ in range(5):
        async with alice.publish_data_track("again") as track:
            sids.add(track.sid)
    assert len(sids) == 5
    async with published((alice, bob), "again") as (track, remote):
        while remote.sid != track.sid:  # one of those before, that bob has yet to hear the end of
            await remote.wait_unpublished()
            remote = await remote_track(bob, "alice", "again")
        async with remote.subscribe() as frames:
            track.try_push(b"x")
            assert (await frames.receive()).payload == b"x"


async def test_a_publisher_that_leaves_ends_its_readers_normally(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("bob", room_name)) as bob, AsyncExitStack() as stack:
        async with lk.connect(server.url, server.token("alice", room_name)) as alice:
            async with alice.publish_data_track("track"):
                remote = await remote_track(bob, "alice", "track")
                frames = await stack.enter_async_context(remote.subscribe())
                participant = bob.participants["alice"]
        assert [frame async for frame in frames] == []
        with pytest.raises(lk.SubscribeError) as error:
            await participant.data_tracks.wait_for("another")
        assert error.value.reason is lk.SubscribeErrorReason.UNPUBLISHED
        assert participant.data_tracks.get("track") is None


async def test_a_publisher_that_leaves_and_joins_again_brings_its_track_again(
    server: ServerUnderTest, room_name: str
) -> None:
    sids = []
    async with lk.connect(server.url, server.token("bob", room_name)) as bob:
        for _ in range(2):
            async with (
                lk.connect(server.url, server.token("alice", room_name)) as alice,
                published((alice, bob)) as (track, remote),
                remote.subscribe() as frames,
            ):
                sids.append(remote.sid)
                track.try_push(b"here")
                assert (await frames.receive()).payload == b"here"
            await remote.wait_unpublished()
    assert len(set(sids)) == 2


async def test_a_publisher_that_is_cancelled_unpublishes(pair: Pair) -> None:
    alice, bob = pair
    with trio.CancelScope() as scope:
        async with alice.publish_data_track("cut"):
            remote = await remote_track(bob, "alice", "cut")
            scope.cancel()
            await trio.sleep_forever()
    await remote.wait_unpublished()


async def test_a_track_that_the_server_takes_away_cancels_its_block(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        alice.events() as happened,
    ):
        with pytest.raises(lk.PublishError) as error:
            async with published((alice, bob)) as (track, remote), remote.subscribe() as frames:
                await server.revoke_publishing(room_name, "alice")
                while True:
                    track.try_push(b"x")  # which never raises: the block's own error is the one to see
                    await trio.lowlevel.checkpoint()
        assert error.value.reason is lk.PublishErrorReason.UNPUBLISHED
        assert [frame.payload async for frame in _until_closed(frames)] == []
        await remote.wait_unpublished()

        async for event in happened:
            if isinstance(event, ev.ParticipantPermissionsChanged):
                break
        assert alice.local_participant.permission is not None
        assert not alice.local_participant.permission.can_publish_data
        with pytest.raises(lk.PublishError) as refused:
            async with alice.publish_data_track("another"):
                pass
        assert refused.value.reason is lk.PublishErrorReason.NOT_ALLOWED


async def _until_closed(frames: lk.DataTrackSubscription) -> AsyncIterator[lk.DataTrackFrame]:
    with pytest.raises(trio.ClosedResourceError):
        while True:
            yield await frames.receive()


async def test_sending_into_a_track_that_is_taken_away_ends_with_the_blocks_error(
    server: ServerUnderTest, room_name: str
) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        with pytest.raises(lk.PublishError):
            async with alice.publish_data_track("track") as track:
                await server.revoke_publishing(room_name, "alice")
                while True:
                    await track.send(bytes(8000))


# --- refusals ---------------------------------------------------------------------------------------------------------


async def refusal(room: lk.Room, name: str) -> lk.PublishError:
    with pytest.raises(lk.PublishError) as error:
        async with room.publish_data_track(name):
            pytest.fail("the block of a refused track was entered")
    return error.value


async def test_publishing_without_the_grant_is_refused(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("mute", room_name, can_publish_data=False)) as room:
        error = await refusal(room, "track")
        assert error.reason is lk.PublishErrorReason.NOT_ALLOWED
        assert error.code == 2
        assert error.server_message


async def test_a_name_that_is_taken_is_refused_and_the_first_track_lives_on(pair: Pair) -> None:
    alice, _ = pair
    async with published(pair, "taken") as (track, remote), remote.subscribe() as frames:
        assert (await refusal(alice, "taken")).reason is lk.PublishErrorReason.DUPLICATE_NAME
        track.try_push(b"still here")
        assert (await frames.receive()).payload == b"still here"


@pytest.mark.parametrize("name", ["", "x" * 257, "é" * 129])
async def test_names_are_1_to_256_bytes_of_utf8(pair: Pair, name: str) -> None:
    assert (await refusal(pair[0], name)).reason is lk.PublishErrorReason.INVALID_NAME


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128, "a b\n/\0🙂"])
async def test_names_may_be_long_and_strange(pair: Pair, name: str) -> None:
    async with published(pair, name) as (track, remote):
        assert track.name == remote.name == name
        assert track.sid == remote.sid
        assert remote.publisher_identity == "alice"
        assert not remote.uses_e2ee


# --- finding tracks ---------------------------------------------------------------------------------------------------


async def test_tracks_of_a_participant_by_name(pair: Pair) -> None:
    alice, bob = pair
    async with published(pair, "one") as (_, one), published(pair, "two") as (_, two):
        tracks = bob.participants["alice"].data_tracks
        assert tracks.get("one") is one
        assert tracks["two"] is two
        assert "one" in tracks
        assert "three" not in tracks
        assert tracks.get("three") is None
        assert set(tracks) == {one, two}
        assert len(tracks) == 2
    assert alice.participants.keys() <= {"bob"}


async def test_tracks_that_are_there_already_are_seen_on_joining(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        async with alice.publish_data_track("one"), alice.publish_data_track("two") as track:
            async with lk.connect(server.url, server.token("bob", room_name)) as bob:
                tracks = bob.participants["alice"].data_tracks
                assert {remote.name for remote in tracks} == {"one", "two"}
                async with tracks["two"].subscribe() as frames:
                    track.try_push(b"x")
                    assert (await frames.receive()).payload == b"x"


async def test_a_cancelled_wait_leaves_nothing(pair: Pair) -> None:
    alice, bob = pair
    async with published(pair, "here"):
        tracks = bob.participants["alice"].data_tracks
        with trio.move_on_after(0.01) as scope:
            await tracks.wait_for("not here")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tracks.wait_for, "later")
            await wait_all_tasks_blocked()
            async with alice.publish_data_track("later"):
                await tracks.wait_for("later")


async def test_frames_with_timestamps_from_the_announcement_to_the_end(pair: Pair) -> None:
    alice, bob = pair
    async with bob.events() as events:
        async with alice.publish_data_track("track") as track:
            async for event in events:
                if isinstance(event, ev.DataTrackPublished):
                    break
            remote = event.track
            assert (remote.sid, remote.publisher_identity) == (track.sid, "alice")
            async with remote.subscribe() as frames:
                sent = [lk.DataTrackFrame(bytes([number]) * 64, 1000 + number) for number in range(5)]
                for frame in sent:
                    track.try_push(frame)
                await track.flush()
                assert [await frames.receive() for _ in sent] == sent
                await track.aclose()
                assert [frame async for frame in frames] == []
        async for event in events:
            if isinstance(event, ev.DataTrackUnpublished):
                break
        assert event.track is remote
        assert event.track.sid == track.sid


async def test_a_server_that_subscribes_by_itself(
    server: ServerUnderTest, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does for clients that ask for it when they join. Then there is nothing to ask for, and no answer comes."""

    def token(identity: str) -> str:
        return server.token(identity, room_name)

    @asynccontextmanager
    async def two_tracks() -> AsyncIterator[list[lk.LocalDataTrack]]:
        async with (
            lk.connect(server.url, token("alice")) as alice,
            alice.publish_data_track("one") as one,
            alice.publish_data_track("two") as two,
        ):
            yield [one, two]

    async def check(room: lk.Room, tracks: list[lk.LocalDataTrack]) -> None:
        requests: list[m.UpdateDataSubscription] = []
        monkeypatch.setattr(room._session, "send_request", requests.append)
        remotes = [await remote_track(room, "alice", track.name) for track in tracks]
        handles = room._session.subscribing._core._handles
        await wait_until(lambda: all(remote.sid in handles for remote in remotes))
        for track, remote in zip(tracks, remotes, strict=True):
            async with remote.subscribe() as frames:
                assert await push_until_received(track, frames, track.name.encode()) == track.name.encode()
        assert not any(subscribe for request in requests for _, subscribe in request.updates)

    asking = functools.partial(m.JoinRequest, auto_subscribe_data_track=True)
    monkeypatch.setattr("trio_livekit._session.parameters.JoinRequest", asking)
    with trio.fail_after(30):
        async with lk.connect(server.url, token("bob")) as bob:
            async with two_tracks() as tracks:
                await check(bob, tracks)
                async with lk.connect(server.url, token("carol")) as carol:
                    await check(carol, tracks)
            await wait_until(lambda: "alice" not in bob.participants)
            async with two_tracks() as tracks:
                await check(bob, tracks)


async def test_each_track_is_announced_once_and_ended_once(pair: Pair) -> None:
    alice, bob = pair
    seen: list[tuple[str, str]] = []
    async with bob.events() as happened:
        async with published(pair, "one"):
            async with published(pair, "two"):
                pass
        async with alice.publish_data_track("end"):
            async for event in happened:
                if isinstance(event, ev.DataTrackPublished | ev.DataTrackUnpublished):
                    seen.append((type(event).__name__, event.track.name))
                    if event.track.name == "end":
                        break
    assert seen == [
        ("DataTrackPublished", "one"),
        ("DataTrackPublished", "two"),
        ("DataTrackUnpublished", "two"),
        ("DataTrackUnpublished", "one"),
        ("DataTrackPublished", "end"),
    ]


async def test_64_tracks_at_once(pair: Pair) -> None:
    alice, bob = pair
    names = [f"track {number}" for number in range(64)]
    received: dict[str, bytes] = {}

    async def publish(name: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with alice.publish_data_track(name) as track:
            task_status.started()
            while name not in received:
                track.try_push(name.encode())
                await trio.sleep(0.1)

    async def subscribe(name: str) -> None:
        remote = await remote_track(bob, "alice", name)
        async with remote.subscribe() as frames:
            received[name] = (await frames.receive()).payload

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(publish, name)
                nursery.start_soon(subscribe, name)
    assert received == {name: name.encode() for name in names}


async def test_256_tracks(pair: Pair) -> None:
    """Published one after the other: all of them stay, all take a large frame, and such frames arrive."""
    alice, bob = pair
    names = [f"track {number}" for number in range(256)]

    async def publish(name: str, task_status: trio.TaskStatus[lk.LocalDataTrack]) -> None:
        async with alice.publish_data_track(name) as track:
            task_status.started(track)
            await trio.sleep_forever()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            tracks = [await nursery.start(publish, name) for name in names]
            assert len({track.sid for track in tracks}) == 256
            participant = await bob.wait_for_participant("alice")
            await participant.data_tracks.wait_for(names[-1])
            assert {track.name for track in participant.data_tracks} == set(names)
            for track in (tracks[0], tracks[128], tracks[255]):
                async with participant.data_tracks[track.name].subscribe() as frames:
                    payload = track.name.encode().ljust(196_608, b".")
                    assert await push_until_received(track, frames, payload) == payload
            for track in tracks:
                track.try_push(bytes(196_608))
            nursery.cancel_scope.cancel()

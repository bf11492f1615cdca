"""More than the link carries, and more than the reader reads: bounded, counted, fresh, and harmless to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import trio_livekit as lk
from trio_livekit.testing.faults import LinkModel

from ..lab.sockets import bad_sockets

if TYPE_CHECKING:
    from tests.support.servers import ServerUnderTest

NARROW = LinkModel(rate_bps=4e6, queue_bytes=64 * 1024, delay_s=0.005)
"""Half a megabyte a second: what the flood offers in an eighth of a second."""

FLOOD_FRAMES = 1000
FLOOD_BYTES = 4000
QUEUED_AT_MOST = 64
SECONDS = 1.0


async def test_a_publisher_faster_than_the_link(server: ServerUnderTest, room_name: str) -> None:
    """Beside the flood, another track of the same participant gets its frames through, and reliable packets arrive."""
    async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.data_packets() as packets:
        async with bad_sockets(NARROW), lk.connect(server.url, server.token("alice", room_name)) as alice:
            async with alice.publish_data_track("flood") as flood, alice.publish_data_track("calm") as calm:
                publisher = await bob.wait_for_participant("alice")
                remotes = [await publisher.data_tracks.wait_for(name) for name in ("flood", "calm")]
                async with remotes[0].subscribe() as flooded, remotes[1].subscribe() as calmed:
                    refused, most_queued = await offer_too_much(flood, calm)
                    await alice.publish_data(b"reliable")
                    with trio.fail_after(20):
                        assert (await anext(packets)).payload == b"reliable"
                        await calm.flush()
                        await flood.flush()
                    await until_it_arrives(calm, calmed, b"the last one")
                    await until_it_arrives(flood, flooded, b"the last one")
                    statistics, quiet = flood.statistics(), calm.statistics()
    assert refused > 0
    assert statistics.frames_refused == refused
    assert statistics.frames_sent <= statistics.frames_pushed
    assert most_queued <= QUEUED_AT_MOST
    assert quiet.frames_refused == 0
    assert calmed.statistics().frames_received > 5  # of 50; fewer the less of the machine we get


async def offer_too_much(flood: lk.LocalDataTrack, calm: lk.LocalDataTrack) -> tuple[int, int]:
    """Eight times what the link carries, for a second, and now and then a small frame; what was refused, and queued."""
    refused = most_queued = 0
    began = trio.current_time()
    for number in range(FLOOD_FRAMES):
        try:
            flood.try_push(number.to_bytes(4, "big") + bytes(FLOOD_BYTES - 4))
        except lk.PushError as error:
            refused += error.reason is lk.PushErrorReason.QUEUE_FULL
        most_queued = max(most_queued, flood.statistics().frames_queued)
        if number % 20 == 0:
            calm.try_push(number.to_bytes(4, "big") + bytes(96))
        await trio.sleep_until(began + number * SECONDS / FLOOD_FRAMES)
    return refused, most_queued


async def until_it_arrives(track: lk.LocalDataTrack, frames: lk.DataTrackSubscription, payload: bytes) -> None:
    """Frames may get lost on the way; they are repeated until one is through."""
    with trio.fail_after(20):
        while True:
            track.try_push(payload)
            with trio.move_on_after(0.5):
                async for frame in frames:
                    if frame.payload == payload:
                        return


async def test_a_subscriber_slower_than_the_stream(server: ServerUnderTest, room_name: str) -> None:
    """It gets the newest, and is told how many it missed; a quick one beside it misses nothing."""
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        alice.publish_data_track("stream") as stream,
    ):
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("stream")
        async with remote.subscribe(buffer_size=4) as slow, remote.subscribe(buffer_size=2000) as quick:
            for number in range(500):
                stream.try_push(number.to_bytes(4, "big"))
                if number % 100 == 99:
                    await until_number(quick, number)
            kept = [int.from_bytes(slow.receive_nowait().payload, "big") for _ in range(4)]
            statistics = slow.statistics()
    assert kept == sorted(kept)
    assert kept[0] > 400
    assert statistics.frames_displaced == statistics.frames_received - 4
    assert statistics.frames_received == quick.statistics().frames_received
    assert quick.statistics().frames_displaced == 0


async def until_number(frames: lk.DataTrackSubscription, number: int) -> None:
    """Read until a frame with at least this number; a lost one is not waited for."""
    with trio.move_on_after(2):
        while int.from_bytes((await frames.receive()).payload, "big") < number:
            pass


async def test_more_is_asked_of_the_server_in_one_step_than_may_wait(server: ServerUnderTest, room_name: str) -> None:
    """What has an answer waits its turn, also if most of it is given up at once; of permissions the last one counts."""

    async def name(number: int) -> None:
        await me.set_name(f"alice {number}")
        named.append(number)

    async def publish(number: int) -> None:
        async with alice.publish_data_track(f"track {number}"):
            published.append(number)
            await trio.sleep_forever()

    named: list[int] = []
    published: list[int] = []
    token = server.token("alice", room_name, can_update_own_metadata=True)
    async with (
        lk.connect(server.url, token) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        alice.publish_data_track("track"),
    ):
        me = alice.local_participant
        with trio.fail_after(30):
            for number in range(150):
                me.set_track_subscription_permissions([lk.TrackSubscriptionPermission(f"nobody {number}")])
            me.set_track_subscription_permissions([lk.TrackSubscriptionPermission("bob")])
            async with trio.open_nursery() as nursery:
                for number in range(150):
                    nursery.start_soon(name, number)
                    nursery.start_soon(publish, number)
                for _ in range(3):  # by then all have been asked for
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await me.set_name("in the end")
            publisher = await bob.wait_for_participant("alice")
            async with (await publisher.data_tracks.wait_for("track")).subscribe():
                pass
            assert alice.state is lk.ConnectionState.CONNECTED
    assert len(named) < 150
    assert len(published) < 150

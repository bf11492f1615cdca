"""What a publisher says of its frames, as subscribers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk

if TYPE_CHECKING:
    Pair = tuple[lk.Room, lk.Room]

PROTOBUF = lk.DataTrackSchema("sensors.Scan", lk.SchemaEncoding.PROTOBUF)
OWN = lk.DataTrackSchema("scan", "my language")


@pytest.mark.parametrize(
    ("frame_encoding", "schema"),
    [
        (None, None),
        (lk.FrameEncoding.JSON, None),
        (lk.FrameEncoding.PROTOBUF, PROTOBUF),
        (lk.FrameEncoding.CDR, lk.DataTrackSchema("Scan", lk.SchemaEncoding.ROS2_IDL)),
        ("my frames", None),
        ("my frames", OWN),
    ],
)
async def test_both_ends_see_it(
    pair: Pair, frame_encoding: lk.FrameEncoding | str | None, schema: lk.DataTrackSchema | None
) -> None:
    alice, bob = pair
    async with alice.publish_data_track("track", frame_encoding=frame_encoding, schema=schema) as track:
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        for end in (track, remote):
            assert (end.frame_encoding, end.schema) == (frame_encoding, schema)
            assert type(end.frame_encoding) is type(frame_encoding)


async def test_it_outlives_a_session(pair: Pair) -> None:
    alice, bob = pair
    async with alice.publish_data_track("track", frame_encoding=lk.FrameEncoding.PROTOBUF, schema=PROTOBUF) as track:
        first = track.sid
        await alice.simulate(lk.SimulateScenario.FULL_RECONNECT)
        with trio.fail_after(20):
            while track.sid == first:  # noqa: ASYNC110 - publications have no events of their own
                await trio.sleep(0.01)
            while (remote := find(bob, track.sid)) is None:  # noqa: ASYNC110 - it may be seen to go before it comes
                await trio.sleep(0.01)
        assert (remote.frame_encoding, remote.schema) == (lk.FrameEncoding.PROTOBUF, PROTOBUF)


def find(room: lk.Room, sid: str) -> lk.RemoteDataTrack | None:
    tracks = (track for participant in room.participants.values() for track in participant.data_tracks)
    return next((track for track in tracks if track.sid == sid), None)


@pytest.mark.parametrize(
    ("frame_encoding", "schema", "text"),
    [
        (None, PROTOBUF, "how frames that follow the schema"),
        (lk.FrameEncoding.PROTOBUF, None, "they need a schema"),
        (lk.FrameEncoding.JSON, PROTOBUF, "a schema in PROTOBUF does not describe frames in JSON"),
    ],
)
async def test_what_does_not_go_together_is_refused_before_the_server_is_asked(
    pair: Pair, frame_encoding: lk.FrameEncoding | None, schema: lk.DataTrackSchema | None, text: str
) -> None:
    with pytest.raises(lk.PublishError, match=text) as refused:
        async with pair[0].publish_data_track("track", frame_encoding=frame_encoding, schema=schema):
            pytest.fail("published")
    assert refused.value.reason is lk.PublishErrorReason.INVALID_SCHEMA
    assert refused.value.code is None


@pytest.mark.parametrize("name", ["", "x" * 33])
async def test_encodings_of_ones_own_have_1_to_32_bytes(pair: Pair, name: str) -> None:
    with pytest.raises(lk.PublishError) as refused:
        async with pair[0].publish_data_track("track", frame_encoding=name):
            pytest.fail("published")
    assert refused.value.server_message == "encoding identifier is empty or exceeds the maximum length"

"""What a publisher says of its frames, as subscribers see it, and the definitions that go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_livekit as lk
from tests.support.waiting import wait_until
from trio_livekit.server import Limits, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.livekit import LiveKitServer
    from tests.support.servers import ServerUnderTest

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
        await wait_until(lambda: track.sid != first)
        remote = await wait_until(lambda: find(bob, track.sid))  # it may be seen to go before it comes
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


# --- definitions ------------------------------------------------------------------------------------------------------

DEFINITION = "a" * 60_000
JSON = lk.DataTrackSchema("some_schema", lk.SchemaEncoding.JSON_SCHEMA)


@pytest.mark.parametrize("encoding", [lk.SchemaEncoding.JSON_SCHEMA, lk.SchemaEncoding.PROTOBUF, "a"], ids=str)
async def test_a_definition_of_60000_bytes(pair: Pair, encoding: lk.SchemaEncoding | str) -> None:
    alice, bob = pair
    schema = lk.DataTrackSchema("some_schema", encoding)
    await alice.define_schema(schema, DEFINITION)
    assert await bob.get_schema(schema, "alice") == DEFINITION
    assert await alice.get_schema(schema, "alice") == DEFINITION


async def test_a_subscriber_gets_the_schema_of_a_track(pair: Pair) -> None:
    alice, bob = pair
    other = lk.DataTrackSchema(PROTOBUF.name, lk.SchemaEncoding.JSON_SCHEMA)
    await alice.define_schema(other, "{}")
    await alice.define_schema(PROTOBUF, 'syntax = "proto3"; // ü')
    async with alice.publish_data_track("scan", frame_encoding=lk.FrameEncoding.PROTOBUF, schema=PROTOBUF):
        track = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("scan")
        assert track.schema is not None
        assert await bob.get_schema(track.schema, track.publisher_identity) == 'syntax = "proto3"; // ü'
        assert await bob.get_schema(other, "alice") == "{}"


async def test_definitions_that_are_refused(pair: Pair) -> None:
    room = pair[0]
    reasons = lk.SchemaErrorReason
    for name, encoding, definition, reason, words in (
        ("some_schema", lk.SchemaEncoding.JSON_SCHEMA, 2 * DEFINITION, reasons.LIMIT_EXCEEDED, "exceeds limit"),
        ("some_schema", lk.SchemaEncoding.JSON_SCHEMA, "", reasons.INVALID, "data blob is empty"),
        ("x" * 257, lk.SchemaEncoding.JSON_SCHEMA, "{}", reasons.INVALID, "data blob is invalid"),
        ("some_schema", "x" * 33, "{}", reasons.INVALID, "encoding identifier is empty or exceeds"),
    ):
        with pytest.raises(lk.SchemaError, match=words) as refused:
            await room.define_schema(lk.DataTrackSchema(name, encoding), definition)
        assert (refused.value.reason, refused.value.code) == (reason, 3 if reason is reasons.LIMIT_EXCEEDED else 11)
        assert words in refused.value.server_message


async def test_defining_again_replaces_where_there_is_room_for_both(pair: Pair) -> None:
    alice, bob = pair
    await alice.define_schema(JSON, "{}")
    await alice.define_schema(JSON, "[]")
    assert await bob.get_schema(JSON, "alice") == "[]"
    await alice.define_schema(JSON, DEFINITION)
    with pytest.raises(lk.SchemaError) as refused:
        await alice.define_schema(JSON, DEFINITION)
    assert refused.value.reason is lk.SchemaErrorReason.LIMIT_EXCEEDED
    assert await bob.get_schema(JSON, "alice") == DEFINITION


async def test_what_nobody_defined_is_not_found(pair: Pair) -> None:
    room = pair[0]
    for schema, identity in (
        (lk.DataTrackSchema("undefined", lk.SchemaEncoding.JSON_SCHEMA), "alice"),
        (JSON, "bob"),
        (JSON, "nobody"),
    ):
        with pytest.raises(lk.SchemaError, match="not found") as refused:
            await room.get_schema(schema, identity)
        assert refused.value.reason is lk.SchemaErrorReason.NOT_FOUND


async def test_a_server_that_keeps_no_definitions(
    start_livekit_server: Callable[[dict[str, Any]], LiveKitServer], room_name: str
) -> None:
    async def refused(url: str, token: str) -> lk.SchemaError:
        async with lk.connect(url, token) as room:
            with pytest.raises(lk.SchemaError) as error:
                await room.define_schema(JSON, "{}")
        return error.value

    real = start_livekit_server({"enable_participant_data_blob": False})
    async with serve(limits=Limits(data_blobs_bytes=0)) as embedded:
        errors = [
            await refused(real.url, real.token("alice", room_name)),
            await refused(embedded.url, embedded.token("alice", room_name)),
        ]
    for error in errors:
        assert error.reason is lk.SchemaErrorReason.NOT_ALLOWED
        assert (error.code, error.server_message) == (2, "data blob not enabled")
        assert "enable_participant_data_blob" in str(error)


async def test_definitions_outlive_a_session(pair: Pair) -> None:
    alice, bob = pair
    await alice.define_schema(JSON, DEFINITION)
    await alice.define_schema(PROTOBUF, "message Scan {}")
    async with alice.publish_data_track("scan", frame_encoding=lk.FrameEncoding.PROTOBUF, schema=PROTOBUF) as track:
        first = track.sid
        await alice.simulate(lk.SimulateScenario.FULL_RECONNECT)
        await wait_until(lambda: track.sid != first and find(bob, track.sid))
        # Whoever sees the track of the new session finds its schema there already.
        assert await bob.get_schema(PROTOBUF, "alice") == "message Scan {}"
        assert await bob.get_schema(JSON, "alice") == DEFINITION


async def test_definitions_end_with_their_participant(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("bob", room_name)) as bob:
        async with lk.connect(server.url, server.token("alice", room_name)) as alice:
            await alice.define_schema(JSON, "{}")
        await server.wait_gone(room_name, "alice")
        with pytest.raises(lk.SchemaError, match="participant not found"):
            await bob.get_schema(JSON, "alice")
    with pytest.raises(trio.ClosedResourceError):
        await bob.get_schema(JSON, "alice")
    with pytest.raises(trio.ClosedResourceError):
        await bob.define_schema(JSON, "{}")


async def test_a_definition_is_text(pair: Pair) -> None:
    with pytest.raises(TypeError, match="is a str, not bytes"):
        await pair[0].define_schema(JSON, b"{}")  # type: ignore[arg-type]

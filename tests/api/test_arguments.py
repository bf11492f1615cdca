"""Arguments that cannot be meant are refused in words, and public objects say what they are."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack

import pytest

import trio_livekit as lk
from trio_livekit.testing.rooms import open_rooms


async def test_what_cannot_be_a_frame_or_a_timestamp():
    async with open_rooms("robot") as (_, room), room.publish_data_track("lidar") as track:
        for frame in ("text", 5, None, lk.DataTrackFrame("text")):
            with pytest.raises(TypeError, match="a frame is a DataTrackFrame or bytes, not"):
                track.try_push(frame)
            with pytest.raises(TypeError, match="a frame is a DataTrackFrame or bytes, not"):
                await track.send(frame)
        with pytest.raises(TypeError, match="an int, as now_ms\\(\\) makes it, not float"):
            track.try_push(b"scan", user_timestamp=1.5)
        for number in (-1, 1 << 64):
            with pytest.raises(ValueError, match="0 to 2\\*\\*64 - 1"):
                track.try_push(b"scan", user_timestamp=number)
        track.try_push(lk.DataTrackFrame(bytearray(b"scan"), user_timestamp=True))
        counts = track.statistics()
        assert counts.frames_pushed == counts.frames_sent + counts.frames_queued + counts.frames_refused


async def test_other_arguments_of_the_wrong_kind():
    async with open_rooms("robot", "operator") as (server, robot, operator), AsyncExitStack() as stack:
        with pytest.raises(TypeError, match="a track's name is a str, not int"):
            await stack.enter_async_context(robot.publish_data_track(5))
        await stack.enter_async_context(robot.publish_data_track("lidar"))
        lidar = await operator.participants["robot"].data_tracks.wait_for("lidar")
        for size in (1.5, math.inf):
            with pytest.raises(TypeError):
                await stack.enter_async_context(lidar.subscribe(buffer_size=size))
        for payload in (5, None, {"a": 1}, [1, 2]):
            with pytest.raises(TypeError, match="a payload is a str or bytes, not"):
                await robot.publish_data(payload)
        with pytest.raises(TypeError, match="a text is a str, not bytes"):
            await robot.send_text(b"text", topic="chat")
        for data in (5, "text", [1, 2]):  # of which bytes() takes the first and the last
            with pytest.raises(TypeError, match="the data of a stream are bytes, not"):
                await robot.send_bytes(data)
        with pytest.raises(ValueError, match="on_full_reconnect is 'resend' or 'fail', not 'again'"):
            await robot.publish_data(b"x", on_full_reconnect="again")
        with pytest.raises(TypeError, match="a schema is a DataTrackSchema, not str"):
            await robot.define_schema("schema", "definition")
        with pytest.raises(TypeError, match="a schema is a DataTrackSchema, not NoneType"):
            await robot.get_schema(lidar.schema, "robot")
        with pytest.raises(TypeError, match="the name of a method is a str, not int"):
            await stack.enter_async_context(robot.register_rpc_method(5, print))
        with pytest.raises(TypeError, match="a scenario is a SimulateScenario, not str"):
            await robot.simulate("node_failure")
        writer = await stack.enter_async_context(robot.open_text_stream("chat"))
        with pytest.raises(TypeError, match="a text is a str, not bytes"):
            await writer.write(b"text")
        for token in (None, b"token", 5):
            with pytest.raises(lk.ConnectError, match="a token is a str, or an async function") as caught:
                await stack.enter_async_context(lk.connect(server.url, token))
            assert caught.value.reason is lk.ConnectErrorReason.NO_TOKEN
        for url in (None, b"ws://host", 5):
            with pytest.raises(lk.ConnectError, match="a URL is a str, not") as caught:
                await stack.enter_async_context(lk.connect(url, "token"))
            assert caught.value.reason is lk.ConnectErrorReason.INVALID_URL
        for wrong, words in (
            ({"reconnect": 60}, "reconnect is a ReconnectPolicy, or None for not at all, not int"),
            ({"reconnect": False}, "not bool"),
            ({"encryption": "key"}, "encryption is an Encryption, which holds the keys, not str"),
            ({"metadata": {}}, "metadata is text, not dict"),
            ({"paths": "relay"}, "paths is one of Paths, such as Paths\\.RELAY, not str"),
            ({"max_signal_message_bytes": 1e6}, "float"),
            ({"attributes": {"volts": 5}}, "attributes are text by text, not 'volts': int"),
            ({"attributes": {"volts": None}}, "attributes are text by text, not 'volts': NoneType"),
        ):
            with pytest.raises(TypeError, match=words):
                await stack.enter_async_context(lk.connect(server.url, "token", **wrong))
        for reliable in (True, False):
            with pytest.raises(TypeError, match="a topic is a str, not int"):
                await robot.publish_data("stop", topic=5, reliable=reliable)
        with pytest.raises(ValueError, match="'robot' is this client itself"):
            await robot.wait_for_participant("robot")


async def test_what_is_no_limit():
    """It would be found by a task of the room, and end the room then."""
    async with open_rooms("robot") as (_, room), AsyncExitStack() as stack:
        for listen in (room.text_streams, room.byte_streams):
            for wrong in ({"idle_timeout": None}, {"unread_timeout": "60"}, {"max_inflated_bytes": None}):
                with pytest.raises(TypeError):
                    await stack.enter_async_context(listen("topic", **wrong))
            for wrong in ({"idle_timeout": 0}, {"unread_timeout": math.nan}):
                with pytest.raises(ValueError, match="a number of seconds, more than 0"):
                    await stack.enter_async_context(listen("topic", **wrong))
        for listen in (room.events, room.data_packets):
            with pytest.raises(TypeError):
                await stack.enter_async_context(listen(buffer_size=math.nan))
        with pytest.raises(TypeError, match="math\\.inf for no limit, not NoneType"):
            await stack.enter_async_context(room.data_packets(unread_timeout=None))


def test_what_is_no_encryption():
    for wrong in ({"derivation": "pbkdf2"}, {"ratchet_window": 1.5}, {"failure_tolerance": "5"}):
        with pytest.raises(TypeError):
            lk.Encryption(shared_key="key", **wrong)


def test_not_under_asyncio():
    async def main():
        async with lk.connect("ws://127.0.0.1:1", "token"):
            pass

    with pytest.raises(RuntimeError, match="trio_livekit runs under trio"):
        asyncio.run(main())


async def test_public_objects_say_what_they_are():
    async with open_rooms("robot", "operator") as (_, robot, operator), AsyncExitStack() as stack:
        tracks = operator.participants["robot"].data_tracks
        assert repr(tracks) == "<RemoteDataTracks of 'robot': none>"
        track = await stack.enter_async_context(robot.publish_data_track("lidar"))
        lidar = await tracks.wait_for("lidar")
        assert repr(tracks) == "<RemoteDataTracks of 'robot': 'lidar'>"
        assert repr(operator) == "<Room 'test' as 'operator', connected, 1 others>"
        frames = await stack.enter_async_context(lidar.subscribe())
        track.try_push(bytes(1000), 5)
        frame = await frames.receive()
        assert repr(frames) == "<DataTrackSubscription to 'lidar', 0 frames buffered>"
        assert repr(frame) == f"DataTrackFrame({bytes(32)!r}... of 1000 bytes, user_timestamp=5)"
        assert repr(lk.DataTrackFrame(b"short")) == "DataTrackFrame(b'short')"
        packets = await stack.enter_async_context(operator.data_packets())
        receipt = await robot.publish_data("stop", topic="command")
        assert repr(await packets.receive()) == "<DataPacket 'command' from 'robot', reliable: b'stop'>"
        await receipt.wait_acked()
        assert repr(receipt) == "<Receipt acknowledged>"
        texts = await stack.enter_async_context(operator.text_streams("chat"))
        writer = await stack.enter_async_context(robot.open_text_stream("chat"))
        await writer.write("word")
        assert repr(writer) == "<TextStreamWriter on 'chat', 4 bytes sent>"
        assert repr(await texts.receive()) == "<TextStreamReader on 'chat' from 'robot'>"
        files = await stack.enter_async_context(operator.byte_streams("files"))
        await stack.enter_async_context(robot.open_byte_stream("a.bin", topic="files"))
        assert repr(await files.receive()) == "<ByteStreamReader on 'files' from 'robot': 'a.bin'>"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("operator", "a permission is a TrackSubscriptionPermission, not str"),
        (lk.TrackSubscriptionPermission("operator", "lidar"), "a tuple of names, not 'lidar'"),
        (lk.TrackSubscriptionPermission("operator", (5,)), "a tuple of names, not \\(5,\\)"),
        (lk.TrackSubscriptionPermission(5), "the identity in a permission is a str, not int"),
    ],
)
async def test_what_is_no_permission_is_not_kept(wrong, words):
    """It would be said again with each track and in each session, and end the room then."""
    async with open_rooms("robot") as (_, room):
        with pytest.raises(TypeError, match=words):
            room.local_participant.set_track_subscription_permissions([wrong])
        async with room.publish_data_track("lidar"):
            pass
        assert room.state is lk.ConnectionState.CONNECTED

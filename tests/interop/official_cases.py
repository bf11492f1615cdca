"""What our client and a participant with one of LiveKit's own SDKs do with each other, whatever the SDK.

Frames go one by one, the next when the last has arrived: how fast the other SDK is on a busy machine is not the point.
All the same, of frames that are several messages a few may be lost there: an SCTP stack that is kept waiting for longer
than its retransmission timeout gives up the messages of an unreliable channel that it has not sent whole. Such a loss
has to be counted where it is missed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

import trio_livekit as lk
from trio_livekit._session import parameters, rpc

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import pytest

    from ..support.livekit import LiveKitServer
    from ..support.official import Official

FRAMES = 20
ENOUGH = {1: 20, 1200: 20, 64 * 1024: 18, 256 * 1024: 18}  # how many have to arrive, by size
PACKET_PAYLOADS = ("", "hello ü 🤖", "x" * 15_000)
STREAM_PAYLOADS = (*PACKET_PAYLOADS, "".join(f"{number} " for number in range(20_000)))
ODD_NAME = 'a/b "ü" 機器 🤖\\'

_PATTERN = bytes(index % 251 for index in range(512 * 1024))
_ARRIVAL_S = 3.0
_CASE_S = 50.0


def content(timestamp: int, size: int) -> bytes:
    """The payload that goes with a user timestamp, as the peers have it."""
    start = timestamp % 251
    return _PATTERN[start : start + size]


def enter(server: LiveKitServer, room_name: str, *, identity: str = "ours") -> AbstractAsyncContextManager[lk.Room]:
    return lk.connect(server.url, server.token(identity, room_name))


async def join(peer: Official, server: LiveKitServer, room_name: str, **options: object) -> None:
    await peer.call("connect", url=server.url, token=server.token("theirs", room_name), **options)


async def remote_track(room: lk.Room, name: str) -> lk.RemoteDataTrack:
    participant = await room.wait_for_participant("theirs")
    return await participant.data_tracks.wait_for(name)


async def frames_arrive_there(peer: Official, server: LiveKitServer, room_name: str, *sizes: int, **mode: bool) -> None:
    """We publish, they subscribe."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room, room.publish_data_track("frames") as track:
            await join(peer, server, room_name, **mode)
            await peer.wait_event("data_track_published", name="frames", identity="ours", e2ee=False)
            await peer.call("subscribe", name="frames")
            await _wait_flowing(peer, track)
            for size in sizes:
                intact = 0
                for _ in range(FRAMES):
                    timestamp = lk.now_ms() * 1000
                    track.try_push(content(timestamp, size), timestamp)
                    intact += [frame[::2] for frame in await peer.report("frames", 1, _ARRIVAL_S)] == [[size, True]]
                assert intact >= ENOUGH[size], size
            assert track.statistics().frames_sent == track.statistics().frames_pushed


async def frames_arrive_here(peer: Official, server: LiveKitServer, room_name: str, *sizes: int, **mode: bool) -> None:
    """They publish, we subscribe; what does not arrive is counted."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room:
            await join(peer, server, room_name, **mode)
            await peer.call("publish", name="frames")
            async with (await remote_track(room, "frames")).subscribe() as frames:
                for size in sizes:
                    arrived = 0
                    for _ in range(FRAMES):
                        assert (await peer.call("push", name="frames", size=size, count=1, hz=1))["refused"] == 0
                        with trio.move_on_after(_ARRIVAL_S):
                            frame = await frames.receive()
                            assert frame.payload == content(frame.user_timestamp, size)
                            arrived += 1
                    assert arrived >= ENOUGH[size], size
                await peer.call("push", name="frames", size=1, count=1, hz=1)  # after this, no loss is at the end
                while len((await frames.receive()).payload) > 1:
                    pass
                counts = frames.statistics()
                assert counts.frames_received + counts.frames_lost == FRAMES * len(sizes) + 1


async def tracks_come_and_go_here(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """We publish several tracks, one of an odd name: they see them, subscribe, unsubscribe, and see them end."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room:
            await join(peer, server, room_name)
            async with room.publish_data_track(ODD_NAME) as odd, room.publish_data_track("second") as second:
                for track in (odd, second):
                    seen = await peer.wait_event("data_track_published", name=track.name)
                    assert (seen["identity"], seen["sid"]) == ("ours", track.sid)
                    await peer.call("subscribe", name=track.name)
                for track in (odd, second):
                    await _wait_flowing(peer, track)
                await peer.call("unsubscribe", name="second")
            await peer.wait_event("stream_ended", name=ODD_NAME, error=None)
            for track in (odd, second):
                await peer.wait_event("data_track_unpublished", sid=track.sid)
        await peer.wait_event("participant_disconnected", identity="ours")


async def tracks_come_and_go_there(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """They publish several tracks: we see them, subscribe and unsubscribe, and see them end when they leave."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room:
            await join(peer, server, room_name)
            for name in (ODD_NAME, "second", "x" * 256):
                sid = (await peer.call("publish", name=name))["sid"]
                assert (await remote_track(room, name)).sid == sid
            theirs = room.participants["theirs"]
            odd, second = theirs.data_tracks[ODD_NAME], theirs.data_tracks["second"]
            for _ in range(3):
                async with odd.subscribe() as odd_frames, second.subscribe() as second_frames:
                    for name, frames in ((ODD_NAME, odd_frames), ("second", second_frames)):
                        for _ in range(3):
                            await peer.call("push", name=name, size=100, count=1, hz=1)
                            frame = await frames.receive()
                            assert frame.payload == content(frame.user_timestamp, 100)
            async with odd.subscribe() as frames:
                await peer.call("unpublish", name=ODD_NAME)
                assert [frame async for frame in frames] == []
            assert [track.name for track in theirs.data_tracks] == ["second", "x" * 256]
            assert second.is_published
            async with second.subscribe() as frames:
                await peer.call("leave")
                assert [frame async for frame in frames] == []
            assert "theirs" not in room.participants
            assert not len(theirs.data_tracks)


async def packets_arrive_there(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """We send data packets, reliable and lossy, to all and to them, and press a key."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room:
            await join(peer, server, room_name)
            await room.wait_for_participant("theirs", active=True)
            for number in range(50):
                to = ["theirs"] if number % 2 else []
                await room.publish_data(f"{number} {ODD_NAME}", topic="numbers", destination_identities=to)
            for number in range(50):
                seen = await peer.wait_event("data", topic="numbers")
                assert seen["text"] == f"{number} {ODD_NAME}"
                assert seen["reliable"] in (True, None)  # the Go SDK does not say
                assert seen["identity"] in ("ours", "")  # not known to everyone at once
            await room.publish_dtmf(11, "#")
            await peer.wait_event("dtmf", code=11, digit="#")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_repeat_lossy, room)
                seen = await peer.wait_event("data", topic="lossy", text="fresh")
                assert seen["reliable"] in (False, None)
                nursery.cancel_scope.cancel()


async def _repeat_lossy(room: lk.Room) -> None:
    while True:
        await room.publish_data("fresh", topic="lossy", reliable=False)
        await trio.sleep(0.05)


async def packets_arrive_here(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """They send data packets, and press a key."""
    with trio.fail_after(_CASE_S):
        async with (
            enter(server, room_name) as room,
            room.data_packets("numbers") as numbers,
            room.data_packets("lossy") as lossy,
            room.events() as events,
        ):
            await join(peer, server, room_name)
            for number in range(50):
                to = ["ours"] if number % 2 else []
                await peer.call("publish_data", text=f"{number} {ODD_NAME}", topic="numbers", to=to)
            for number in range(50):
                packet = await numbers.receive()
                assert (packet.text(), packet.sender_identity) == (f"{number} {ODD_NAME}", "theirs")
                assert packet.is_reliable
            await peer.call("publish_dtmf", code=11, digit="#")
            while not isinstance(event := await events.receive(), lk.events.DtmfReceived):
                pass
            assert (event.code, event.digit, event.sender_identity) == (11, "#", "theirs")
            while True:
                await peer.call("publish_data", text="fresh", topic="lossy", reliable=False)
                with trio.move_on_after(0.2):
                    assert not (await lossy.receive()).is_reliable
                    break


async def chat_goes_both_ways(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """With the SDKs that have a chat."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room, room.events() as events:
            await join(peer, server, room_name)
            await room.wait_for_participant("theirs", active=True)
            said = await room.send_chat_message("hello")
            await room.edit_chat_message(said, "hullo")
            await peer.wait_event("chat", text="hello", edited=False)
            await peer.wait_event("chat", text="hullo", edited=True)
            await peer.call("chat", text="good day", edit="good night")
            messages: list[lk.ChatMessage] = []
            while len(messages) < 2:
                event = await events.receive()
                if isinstance(event, lk.events.ChatMessageReceived):
                    messages.append(event.message)
            assert [message.message for message in messages] == ["good day", "good night"]
            assert messages[0].id == messages[1].id
            assert messages[0].edit_timestamp is None
            assert messages[1].edit_timestamp is not None


TEXTS = {
    "short": "hello " + ODD_NAME,
    "long and regular": "é" * 40_000,
    "long and irregular": "".join(chr(0x100 + (index * index * 7919) % 0x3000) for index in range(60_000)),
    "empty": "",
}


async def streams_arrive_there(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """In every form: in the header, compressed, both, and in chunks."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room:
            await join(peer, server, room_name)
            await peer.call("listen", topic="ours")
            await room.wait_for_participant("theirs", active=True)
            for text in TEXTS.values():
                for compress in (True, False):
                    await room.send_text(text, topic="ours", attributes={"k": "v"}, compress=compress)
                    seen = await peer.wait_event("text", text=text)
                    assert (seen["topic"], seen["identity"], seen["attributes"]) == ("ours", "ours", {"k": "v"})
                async with room.open_text_stream("ours") as writer:
                    for start in range(0, len(text), 20_000):
                        await writer.write(text[start : start + 20_000])
                await peer.wait_event("text", text=text)
            for size in (0, 100, 100_000):
                data = _PATTERN[:size]
                await room.send_bytes(data, name="bytes.bin", topic="ours")
                await room.send_bytes(data, name="bytes.bin", topic="ours", compress=False)
                async with room.open_byte_stream("bytes.bin", topic="ours", total_bytes=size) as stream:
                    await stream.send_all(data)
                for _ in range(3):
                    await peer.wait_event("bytes", size=size, intact=True, name="bytes.bin", identity="ours")


async def a_stream_that_is_given_up_fails_there(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """With the SDKs that tell such a stream from one that is whole: the Go SDK does not."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room:
            await join(peer, server, room_name)
            await peer.call("listen", topic="ours")
            await room.wait_for_participant("theirs", active=True)
            with trio.CancelScope() as scope:
                async with room.open_text_stream("ours") as writer:
                    await writer.write("half of")
                    scope.cancel()
                    await trio.sleep_forever()
            await peer.wait_event("stream_failed", stream_id=writer.info.stream_id)


async def streams_arrive_here(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """In whatever form they choose for us; whole, and in pieces."""
    with trio.fail_after(_CASE_S):
        async with (
            enter(server, room_name) as room,
            room.text_streams("theirs") as texts,
            room.byte_streams("theirs") as files,
        ):
            await join(peer, server, room_name)
            await room.wait_for_participant("theirs", active=True)
            for text in TEXTS.values():
                for pieces in (0, 3):
                    if pieces and not text:
                        continue
                    reply = await peer.call("send_text", text=text, topic="theirs", pieces=pieces, reply_to="before")
                    reader = await texts.receive()
                    assert await reader.read_all() == text
                    info = reader.info
                    assert (info.sender_identity, info.stream_id) == ("theirs", reply["stream_id"])
                    assert info.attributes == {"k": "v"}
                    assert info.reply_to == "before" or not pieces  # the JavaScript SDK forgets it in a whole text
            for size in (1, 100_000):
                for pieces in (0, 7):
                    await peer.call("send_bytes", size=size, topic="theirs", pieces=pieces)
                    stream = await files.receive()
                    assert await stream.read_all() == _PATTERN[:size]
                    assert (stream.info.name, stream.info.total_bytes) == ("bytes.bin", size)


async def _wait_flowing(peer: Official, track: lk.LocalDataTrack) -> None:
    """Push small frames until one arrives: an official SDK does not say when a subscription is established."""
    while True:
        timestamp = lk.now_ms() * 1000
        track.try_push(content(timestamp, 10), timestamp)
        await trio.sleep(0.05)
        if (await peer.call("report", name=track.name))["frames"]:
            break
    await trio.sleep(0.1)  # what is still on its way
    await peer.call("report", name=track.name)


def call_with_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a client that neither makes nor takes calls as text streams."""
    monkeypatch.setattr(parameters, "_CLIENT_INFO", replace(parameters._CLIENT_INFO, client_protocol=0))
    monkeypatch.setattr(rpc, "_STREAM_PROTOCOL", 99)


async def calls_are_answered_there(peer: Official, server: LiveKitServer, room_name: str, *payloads: str) -> None:
    """We call, they serve."""
    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room:
            await join(peer, server, room_name)
            await room.wait_for_participant("theirs")
            await peer.call("serve", method="repeat")

            async def call(method: str, payload: str) -> str | tuple[int, str]:
                try:
                    return await room.perform_rpc(destination_identity="theirs", method=method, payload=payload)
                except lk.RpcError as error:
                    return error.code, error.message

            for payload in payloads:
                assert await call("repeat", payload) == f"ours: {payload}"
            assert await call("repeat", "refuse") == (101, "refused")
            assert await call("repeat", "break") == (1500, "Application error in method handler")
            assert await call("nothing", "") == (1400, "Method not supported at destination")


async def calls_are_answered_here(peer: Official, server: LiveKitServer, room_name: str, *payloads: str) -> None:
    """They call, we serve."""

    async def repeat(invocation: lk.RpcInvocation) -> str:
        if invocation.payload == "refuse":
            raise lk.RpcError(101, "refused", "data")
        if invocation.payload == "break":
            raise KeyError("secret")
        return f"{invocation.caller_identity}: {invocation.payload}"

    with trio.fail_after(_CASE_S):
        async with enter(server, room_name) as room, room.register_rpc_method("repeat", repeat):
            await join(peer, server, room_name)
            await room.wait_for_participant("theirs")

            async def call(method: str, payload: str) -> dict[str, object]:
                said = await peer.call("perform", to="ours", method=method, payload=payload)
                del said["id"]
                return said

            for payload in payloads:
                assert await call("repeat", payload) == {"result": f"theirs: {payload}"}
            assert await call("repeat", "refuse") == {"code": 101, "message": "refused", "data": "data"}
            broken = {"code": 1500, "message": "Application error in method handler", "data": ""}
            assert await call("repeat", "break") == broken
            assert (await call("nothing", ""))["code"] == 1400

"""What is to be tried with LiveKit's Go SDK alone: calls, as it makes them, encryption, and that it has no data tracks.

Its packets and streams are in ``test_official_sdks``. It is an implementation of its own, on pion; the SDKs for Python
and Node share the one in Rust.
"""

from __future__ import annotations

import pytest
import trio

import trio_livekit as lk

from . import official_cases as cases

pytestmark = [pytest.mark.livekit_server, pytest.mark.official]

SECRET = "correct horse battery staple"


async def test_our_calls_are_answered(go_peer, patient_server, room_name):
    await cases.calls_are_answered_there(go_peer, patient_server, room_name, *cases.PACKET_PAYLOADS)


async def test_their_calls_are_answered(go_peer, patient_server, room_name):
    await cases.calls_are_answered_here(go_peer, patient_server, room_name, *cases.PACKET_PAYLOADS)


async def test_a_call_that_is_too_long_for_them(go_peer, patient_server, room_name):
    with trio.fail_after(50):
        async with cases.enter(patient_server, room_name) as room:
            await cases.join(go_peer, patient_server, room_name)
            await room.wait_for_participant("theirs", active=True)
            await go_peer.call("serve", method="repeat")
            with pytest.raises(lk.RpcError) as caught:
                await room.perform_rpc(destination_identity="theirs", method="repeat", payload="x" * 15_361)
            assert caught.value.code == lk.RpcErrorCode.REQUEST_PAYLOAD_TOO_LARGE
            assert not caught.value.executed


async def test_over_two_peer_connections_with_a_data_track_beside_them(go_peer, patient_server, room_name):
    """They know nothing of the track, and nothing comes of it."""
    with trio.fail_after(50):
        async with cases.enter(patient_server, room_name) as room, room.publish_data_track("lidar") as track:
            await cases.join(go_peer, patient_server, room_name, single=False)
            await room.wait_for_participant("theirs", active=True)
            await go_peer.call("listen", topic="ours")
            for number in range(10):
                track.try_push(b"scan")
                await room.send_text(f"text {number}", topic="ours")
                await go_peer.wait_event("text", text=f"text {number}")
            async with room.data_packets("theirs") as packets:
                await go_peer.call("publish_data", text="hello", topic="theirs")
                assert (await packets.receive()).text() == "hello"
        await go_peer.wait_event("participant_disconnected", identity="ours")


async def test_what_they_say_of_themselves(go_peer, patient_server, room_name):
    with trio.fail_after(50):
        async with cases.enter(patient_server, room_name) as room, room.events() as events:
            token = patient_server.token("theirs", room_name, canUpdateOwnMetadata=True)
            await go_peer.call("connect", url=patient_server.url, token=token)
            theirs = await room.wait_for_participant("theirs", active=True)
            await go_peer.call("set_attributes", text="v")
            while theirs.attributes.get("k") != "v":
                await events.receive()
            await go_peer.call("leave")
            while "theirs" in room.participants:
                await events.receive()


async def test_encrypted_both_ways(go_peer, patient_server, room_name):
    async def repeat(invocation: lk.RpcInvocation) -> str:
        return f"{invocation.caller_identity}: {invocation.payload}"

    encryption = lk.Encryption(shared_key=SECRET)
    token = patient_server.token("ours", room_name)
    with trio.fail_after(50):
        async with (
            lk.connect(patient_server.url, token, encryption=encryption) as room,
            room.data_packets("theirs") as packets,
            room.text_streams("theirs") as texts,
            room.register_rpc_method("repeat", repeat),
        ):
            await cases.join(go_peer, patient_server, room_name, key=SECRET)
            await room.wait_for_participant("theirs", active=True)
            await go_peer.call("listen", topic="ours")
            await go_peer.call("serve", method="repeat")
            await room.publish_data("secret", topic="ours")
            assert (await go_peer.wait_event("data", topic="ours"))["text"] == "secret"
            await go_peer.call("publish_data", text="also secret", topic="theirs")
            packet = await packets.receive()
            assert (packet.text(), packet.is_encrypted) == ("also secret", True)
            assert await room.perform_rpc(destination_identity="theirs", method="repeat", payload="x") == "ours: x"
            said = await go_peer.call("perform", to="ours", method="repeat", payload="y")
            assert said["result"] == "theirs: y"
            for text in cases.TEXTS.values():
                await room.send_text(text, topic="ours")
                await go_peer.wait_event("text", text=text, identity="ours")
                await go_peer.call("send_text", text=text, topic="theirs", pieces=0)
                reader = await texts.receive()
                assert (await reader.read_all(), reader.info.is_encrypted) == (text, True)
            assert room.decryption_failures == {}
            assert room.packet_statistics().plaintext_refused == 0

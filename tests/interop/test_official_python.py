"""Data tracks between our client and LiveKit's own Python SDK, through the real server."""

from __future__ import annotations

import pytest
import trio

import trio_livekit as lk

from . import official_cases as cases

pytestmark = [pytest.mark.livekit_server, pytest.mark.official]


async def test_our_frames_arrive_there(python_peer, patient_server, room_name):
    await cases.frames_arrive_there(python_peer, patient_server, room_name, *cases.ENOUGH)


async def test_their_frames_arrive_here(python_peer, patient_server, room_name):
    await cases.frames_arrive_here(python_peer, patient_server, room_name, *cases.ENOUGH)


async def test_our_frames_arrive_over_two_peer_connections(python_peer, patient_server, room_name):
    await cases.frames_arrive_there(python_peer, patient_server, room_name, 1200, single=False)


async def test_their_frames_arrive_over_two_peer_connections(python_peer, patient_server, room_name):
    await cases.frames_arrive_here(python_peer, patient_server, room_name, 1200, single=False)


async def test_our_tracks_come_and_go(python_peer, patient_server, room_name):
    await cases.tracks_come_and_go_here(python_peer, patient_server, room_name)


async def test_their_tracks_come_and_go(python_peer, patient_server, room_name):
    await cases.tracks_come_and_go_there(python_peer, patient_server, room_name)


async def test_an_encrypted_track_is_known_as_such_and_refused(python_peer, patient_server, room_name):
    with trio.fail_after(20):
        async with cases.enter(patient_server, room_name) as room:
            await cases.join(python_peer, patient_server, room_name, key="a shared secret")
            await python_peer.call("publish", name="secret")
            track = await cases.remote_track(room, "secret")
            assert track.uses_e2ee
            with pytest.raises(lk.SubscribeError) as caught:
                async with track.subscribe():
                    raise AssertionError("subscribed to what it cannot read")
            assert caught.value.reason is lk.SubscribeErrorReason.ENCRYPTED


async def test_our_packets_arrive_there(python_peer, patient_server, room_name):
    await cases.packets_arrive_there(python_peer, patient_server, room_name)


async def test_their_packets_arrive_here(python_peer, patient_server, room_name):
    await cases.packets_arrive_here(python_peer, patient_server, room_name)


async def test_our_streams_arrive(python_peer, patient_server, room_name):
    await cases.streams_arrive_there(python_peer, patient_server, room_name)


async def test_their_streams_arrive(python_peer, patient_server, room_name):
    await cases.streams_arrive_here(python_peer, patient_server, room_name)


@pytest.mark.parametrize("packets", [False, True], ids=["streams", "packets"])
async def test_our_calls_are_answered(python_peer, patient_server, room_name, packets, monkeypatch):
    if packets:
        cases.call_with_packets(monkeypatch)
    payloads = cases.PACKET_PAYLOADS if packets else cases.STREAM_PAYLOADS
    await cases.calls_are_answered_there(python_peer, patient_server, room_name, *payloads)


@pytest.mark.parametrize("packets", [False, True], ids=["streams", "packets"])
async def test_their_calls_are_answered(python_peer, patient_server, room_name, packets, monkeypatch):
    if packets:
        cases.call_with_packets(monkeypatch)
    payloads = cases.PACKET_PAYLOADS if packets else cases.STREAM_PAYLOADS
    await cases.calls_are_answered_here(python_peer, patient_server, room_name, *payloads)

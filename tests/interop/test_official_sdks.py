"""Data tracks, packets, streams and calls between our client and LiveKit's own SDKs, through the real server."""

from __future__ import annotations

import pytest
import trio

import trio_livekit as lk

from . import official_cases as cases

pytestmark = [pytest.mark.livekit_server, pytest.mark.official]


@pytest.fixture(params=["streams", "packets"])
def payloads(request, monkeypatch):
    """What calls are tried with: as text streams, and as packets, as clients make them that know no others."""
    if request.param == "streams":
        return cases.STREAM_PAYLOADS
    cases.call_with_packets(monkeypatch)
    return cases.PACKET_PAYLOADS


async def test_our_frames_arrive_there(official_peer, patient_server, room_name):
    await cases.frames_arrive_there(official_peer, patient_server, room_name, *cases.ENOUGH)


async def test_their_frames_arrive_here(official_peer, patient_server, room_name):
    await cases.frames_arrive_here(official_peer, patient_server, room_name, *cases.ENOUGH)


async def test_our_frames_arrive_over_two_peer_connections(official_peer, patient_server, room_name):
    await cases.frames_arrive_there(official_peer, patient_server, room_name, 1200, single=False)


async def test_their_frames_arrive_over_two_peer_connections(official_peer, patient_server, room_name):
    await cases.frames_arrive_here(official_peer, patient_server, room_name, 1200, single=False)


async def test_our_tracks_come_and_go(official_peer, patient_server, room_name):
    await cases.tracks_come_and_go_here(official_peer, patient_server, room_name)


async def test_their_tracks_come_and_go(official_peer, patient_server, room_name):
    await cases.tracks_come_and_go_there(official_peer, patient_server, room_name)


async def test_our_packets_arrive_there(any_peer, patient_server, room_name):
    await cases.packets_arrive_there(any_peer, patient_server, room_name)


async def test_their_packets_arrive_here(any_peer, patient_server, room_name):
    await cases.packets_arrive_here(any_peer, patient_server, room_name)


async def test_our_streams_arrive(any_peer, patient_server, room_name):
    await cases.streams_arrive_there(any_peer, patient_server, room_name)


async def test_a_stream_that_is_given_up_fails(official_peer, patient_server, room_name):
    await cases.a_stream_that_is_given_up_fails_there(official_peer, patient_server, room_name)


async def test_their_streams_arrive(any_peer, patient_server, room_name):
    await cases.streams_arrive_here(any_peer, patient_server, room_name)


async def test_our_calls_are_answered(official_peer, patient_server, room_name, payloads):
    await cases.calls_are_answered_there(official_peer, patient_server, room_name, *payloads)


async def test_their_calls_are_answered(official_peer, patient_server, room_name, payloads):
    await cases.calls_are_answered_here(official_peer, patient_server, room_name, *payloads)


# --- with one of them alone -------------------------------------------------------------------------------------------


async def test_chat_goes_both_ways(javascript_peer, patient_server, room_name):
    await cases.chat_goes_both_ways(javascript_peer, patient_server, room_name)


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

"""Data tracks between our client and LiveKit's own JavaScript SDK, through the real server."""

from __future__ import annotations

import pytest

from . import official_cases as cases

pytestmark = [pytest.mark.livekit_server, pytest.mark.official]


async def test_our_frames_arrive_there(javascript_peer, patient_server, room_name):
    await cases.frames_arrive_there(javascript_peer, patient_server, room_name, *cases.ENOUGH)


async def test_their_frames_arrive_here(javascript_peer, patient_server, room_name):
    await cases.frames_arrive_here(javascript_peer, patient_server, room_name, *cases.ENOUGH)


async def test_our_frames_arrive_over_two_peer_connections(javascript_peer, patient_server, room_name):
    await cases.frames_arrive_there(javascript_peer, patient_server, room_name, 1200, single=False)


async def test_their_frames_arrive_over_two_peer_connections(javascript_peer, patient_server, room_name):
    await cases.frames_arrive_here(javascript_peer, patient_server, room_name, 1200, single=False)


async def test_our_tracks_come_and_go(javascript_peer, patient_server, room_name):
    await cases.tracks_come_and_go_here(javascript_peer, patient_server, room_name)


async def test_their_tracks_come_and_go(javascript_peer, patient_server, room_name):
    await cases.tracks_come_and_go_there(javascript_peer, patient_server, room_name)


async def test_our_packets_arrive_there(javascript_peer, patient_server, room_name):
    await cases.packets_arrive_there(javascript_peer, patient_server, room_name)


async def test_their_packets_arrive_here(javascript_peer, patient_server, room_name):
    await cases.packets_arrive_here(javascript_peer, patient_server, room_name)


async def test_chat_goes_both_ways(javascript_peer, patient_server, room_name):
    await cases.chat_goes_both_ways(javascript_peer, patient_server, room_name)


async def test_our_streams_arrive(javascript_peer, patient_server, room_name):
    await cases.streams_arrive_there(javascript_peer, patient_server, room_name)


async def test_their_streams_arrive(javascript_peer, patient_server, room_name):
    await cases.streams_arrive_here(javascript_peer, patient_server, room_name)


@pytest.mark.parametrize("packets", [False, True], ids=["streams", "packets"])
async def test_our_calls_are_answered(javascript_peer, patient_server, room_name, packets, monkeypatch):
    if packets:
        cases.call_with_packets(monkeypatch)
    payloads = cases.PACKET_PAYLOADS if packets else cases.STREAM_PAYLOADS
    await cases.calls_are_answered_there(javascript_peer, patient_server, room_name, *payloads)


@pytest.mark.parametrize("packets", [False, True], ids=["streams", "packets"])
async def test_their_calls_are_answered(javascript_peer, patient_server, room_name, packets, monkeypatch):
    if packets:
        cases.call_with_packets(monkeypatch)
    payloads = cases.PACKET_PAYLOADS if packets else cases.STREAM_PAYLOADS
    await cases.calls_are_answered_here(javascript_peer, patient_server, room_name, *payloads)

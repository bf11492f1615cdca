"""Every signalling message survives its trip through protobuf, and no bytes do harm."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.signal import messages as m
from trio_livekit._wire.signal import (
    decode_join_request,
    decode_request,
    decode_response,
    encode_join_request,
    encode_request,
    encode_response,
)
from trio_livekit.errors import DecodeError

TRACKS = [
    m.DataTrackInfo(1, "DTR_a", "plain"),
    m.DataTrackInfo(2, "DTR_b", "known", m.EncryptionType.GCM, 3, m.DataTrackSchema("point", 1)),
    m.DataTrackInfo(3, "DTR_c", "custom", m.EncryptionType.CUSTOM, "my frames", m.DataTrackSchema("s", "my schema")),
]
ANN = m.ParticipantInfo(
    "PA_a", "ann", "Ann", m.ParticipantState.ACTIVE, "meta", {"k": "v"}, 7, m.Permission(hidden=True),
    m.ParticipantKind.AGENT, True, 1_700_000_000_123, m.DisconnectReason.ROOM_CLOSED, 2, (2, 1), tuple(TRACKS),
)  # fmt: skip
ROOM = m.RoomInfo("RM_a", "den", "meta", 3, 2, 10, True, 1_700_000_000_123)
ICE = (m.IceServer(("turn:a", "turn:b"), "user", "secret"),)

REQUESTS: list[m.Request] = [
    m.Offer("v=0", 3),
    m.Answer("v=0", 4),
    m.Trickle("candidate:1", m.Target.SUBSCRIBER, True),
    m.Leave(m.DisconnectReason.USER_REJECTED, m.LeaveAction.RECONNECT, ("wss://a.livekit.cloud",)),
    m.Ping(123, 4),
    m.Ping(123, legacy=True),
    m.UpdateMetadata(5, "name", "meta", {"k": ""}),
    *(m.PublishDataTrack(t.pub_handle, t.name, t.encryption, t.frame_encoding, t.schema) for t in TRACKS),
    m.UnpublishDataTrack(9),
    m.UpdateDataSubscription((("DTR_a", True), ("DTR_b", False))),
    m.SubscriptionPermission(),
    m.SubscriptionPermission(False, (m.TrackPermission("PA_a", "ann", True, ("TR_a",)), m.TrackPermission())),
    m.StoreDataBlob(6, m.DataTrackSchema("point", m.SchemaEncoding.PROTOBUF), b"message Point {}"),
    m.StoreDataBlob(7, m.DataTrackSchema("s", "my schema"), b""),
    m.GetDataBlob(8, "ann", m.DataTrackSchema("point", m.SchemaEncoding.PROTOBUF)),
    m.GetDataBlob(9, "ann", "any text"),
    m.Simulate("node_failure", 1),
    m.Simulate("subscriber_bandwidth", 5_000_000),
    m.SyncState(
        m.Offer("v=0", 1), m.Answer("v=0", 2), tuple(TRACKS), (("_lossy", 3, m.Target.PUBLISHER),), (("PA_a", 7),)
    ),
]

RESPONSES: list[m.Response] = [
    m.Join(ROOM, ANN, (ANN,), m.ServerInfo("1.13.5", "eu", "ND_a", 17), ICE, True, 5, 15, True, False),
    m.Reconnected(ICE, last_message_seq=9),
    m.Answer("v=0", 4),
    m.Offer("v=0", 3),
    m.Trickle("candidate:1"),
    m.ParticipantUpdate((ANN,)),
    m.Leave(m.DisconnectReason(99), m.LeaveAction.RESUME),
    m.SpeakersChanged((m.Speaker("PA_a", 0.5, True),)),
    m.RoomUpdate(ROOM),
    m.ConnectionQualityUpdate((("PA_a", m.ConnectionQuality.EXCELLENT),)),
    m.SubscriptionPermissionUpdate("PA_a", "DTR_a", True),
    m.RefreshToken("token"),
    m.Pong(1, 2),
    m.Pong(1, legacy=True),
    m.RequestResponse(1, m.RequestReason.NOT_ALLOWED, "no", publish_handle=3),
    m.RequestResponse(0, m.RequestReason.NOT_FOUND, unpublish_handle=3),
    *(m.DataTrackPublished(track) for track in TRACKS),
    m.DataTrackUnpublished(TRACKS[0]),
    m.DataBlobStored(6, m.DataTrackSchema("point", m.SchemaEncoding.PROTOBUF)),
    m.DataBlobFetched(8, m.DataTrackSchema("s", "my schema"), bytes(range(256))),
    m.DataBlobFetched(9, "any text", b"x"),
    m.SubscriberHandles({1: "DTR_a", 65535: "DTR_b"}),
    m.RoomMoved(ROOM, "token", ANN, (ANN,)),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda message: type(message).__name__)
def test_requests(request_):
    assert decode_request(encode_request(request_)) == request_


@pytest.mark.parametrize("response", RESPONSES, ids=lambda message: type(message).__name__)
def test_responses(response):
    assert decode_response(encode_response(response)) == response


def test_no_kind_is_forgotten():
    assert {type(message) for message in REQUESTS} == set(typing.get_args(m.Request))
    assert {type(message) for message in RESPONSES} == set(typing.get_args(m.Response))


def test_join_requests():
    request = m.JoinRequest(
        m.ClientInfo(9, "1.0", 17, 2, "linux", (2, 1)),
        False,
        True,
        m.Offer("v=0", 1),
        True,
        2,
        "PA_a",
        "meta",
        {"k": "v"},
    )
    assert decode_join_request(encode_join_request(request)) == request


@given(st.binary(max_size=200))
@pytest.mark.parametrize("decode", [decode_request, decode_response])
def test_any_bytes_decode_or_raise_one_error(decode, data):
    try:
        decode(data)
    except DecodeError as exc:
        assert str(exc)  # noqa: PT017 (nothing else may be raised)


@given(st.sampled_from(REQUESTS + RESPONSES), st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_message_decodes_or_raises_one_error(message, position, byte):
    encode, decode = (encode_request, decode_request) if message in REQUESTS else (encode_response, decode_response)
    data = bytearray(encode(message))
    data[position % len(data)] = byte
    try:
        decode(bytes(data))
    except DecodeError as exc:
        assert str(exc)  # noqa: PT017 (nothing else may be raised)

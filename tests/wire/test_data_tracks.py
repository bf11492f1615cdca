"""What signalling says of data tracks, field by field, against messages made with the vendor's own classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from livekit.protocol import models, rtc

from trio_livekit._sansio.signal import messages as m
from trio_livekit._wire.signal import decode_request, decode_response, encode_request, encode_response

if TYPE_CHECKING:
    from enum import IntEnum

F, S = m.FrameEncoding, m.SchemaEncoding

FRAME_ENCODING = models.DataTrackFrameEncoding
SCHEMA_ENCODING = models.DataTrackSchemaEncoding
GCM, NONE = models.Encryption.GCM, models.Encryption.NONE

VENDORS = models.DataTrackInfo(
    pub_handle=4,
    sid="DTR_x",
    name="lidar",
    encryption=GCM,
    frame_encoding=FRAME_ENCODING(well_known=7),
    schema=models.DataTrackSchemaId(name="point", encoding=SCHEMA_ENCODING(well_known=7)),
)
OURS = m.DataTrackInfo(4, "DTR_x", "lidar", m.EncryptionType.GCM, F.JSON, m.DataTrackSchema("point", S.JSON_SCHEMA))
PLAIN = models.DataTrackInfo(pub_handle=5, sid="DTR_y", name="pose", encryption=NONE)
OUR_PLAIN = m.DataTrackInfo(5, "DTR_y", "pose")


def response(**fields: object) -> m.Response | None:
    return decode_response(rtc.SignalResponse(**fields).SerializeToString())


@pytest.mark.parametrize(
    ("ours", "vendors", "prefix"),
    [
        (F, FRAME_ENCODING, "WELL_KNOWN_FRAME_ENCODING_"),
        (S, SCHEMA_ENCODING, "WELL_KNOWN_SCHEMA_ENCODING_"),
        (m.RequestReason, rtc.RequestResponse, ""),
    ],
)
def test_numbers_have_the_vendor_s_names(ours: type[IntEnum], vendors: type, prefix: str) -> None:
    field = "reason" if vendors is rtc.RequestResponse else "well_known"
    values = vendors.DESCRIPTOR.fields_by_name[field].enum_type.values  # type: ignore[attr-defined]
    named = {value.name.removeprefix(prefix): value.number for value in values}
    assert {member.name: member.value for member in ours} == named


def test_publishing() -> None:
    request = m.PublishDataTrack(OURS.pub_handle, OURS.name, OURS.encryption, OURS.frame_encoding, OURS.schema)
    message = rtc.SignalRequest.FromString(encode_request(request))
    assert message.publish_data_track_request == rtc.PublishDataTrackRequest(
        pub_handle=4,
        name="lidar",
        encryption=GCM,
        frame_encoding=VENDORS.frame_encoding,
        schema=VENDORS.schema,
    )
    assert decode_request(message.SerializeToString()) == request
    plain = rtc.SignalRequest.FromString(encode_request(m.PublishDataTrack(5, "pose"))).publish_data_track_request
    assert plain == rtc.PublishDataTrackRequest(pub_handle=5, name="pose", encryption=NONE)
    assert not plain.HasField("frame_encoding")
    assert not plain.HasField("schema")


def test_unpublishing() -> None:
    message = rtc.SignalRequest.FromString(encode_request(m.UnpublishDataTrack(9)))
    assert message == rtc.SignalRequest(unpublish_data_track_request=rtc.UnpublishDataTrackRequest(pub_handle=9))


def test_what_the_server_answers() -> None:
    assert response(publish_data_track_response=rtc.PublishDataTrackResponse(info=VENDORS)) == m.DataTrackPublished(
        OURS
    )
    unpublished = response(unpublish_data_track_response=rtc.UnpublishDataTrackResponse(info=PLAIN))
    assert unpublished == m.DataTrackUnpublished(OUR_PLAIN)


@pytest.mark.parametrize(
    ("frame_encoding", "schema_encoding", "ours", "our_schema"),
    [
        (None, None, None, S.UNSPECIFIED),
        (FRAME_ENCODING(), SCHEMA_ENCODING(), F.UNSPECIFIED, S.UNSPECIFIED),
        (FRAME_ENCODING(well_known=99), SCHEMA_ENCODING(well_known=99), F(99), S(99)),
        (FRAME_ENCODING(custom="mine"), SCHEMA_ENCODING(custom="also mine"), "mine", "also mine"),
        (FRAME_ENCODING(custom=""), SCHEMA_ENCODING(custom=""), "", ""),
    ],
)
def test_encodings_that_are_missing_new_or_one_s_own(
    frame_encoding: models.DataTrackFrameEncoding | None,
    schema_encoding: models.DataTrackSchemaEncoding | None,
    ours: F | str | None,
    our_schema: S | str,
) -> None:
    schema = models.DataTrackSchemaId(name="point", encoding=schema_encoding)
    info = models.DataTrackInfo(pub_handle=1, sid="DTR_x", name="x", frame_encoding=frame_encoding, schema=schema)
    published = response(publish_data_track_response=rtc.PublishDataTrackResponse(info=info))
    assert isinstance(published, m.DataTrackPublished)
    assert (published.info.frame_encoding, published.info.schema) == (ours, m.DataTrackSchema("point", our_schema))
    assert type(published.info.frame_encoding) is type(ours)


def test_a_refusal_names_its_handle() -> None:
    refused = rtc.RequestResponse(
        reason=rtc.RequestResponse.NOT_ALLOWED,
        message="no",
        publish_data_track=rtc.PublishDataTrackRequest(pub_handle=4, name="lidar"),
    )
    assert response(request_response=refused) == m.RequestResponse(0, m.RequestReason.NOT_ALLOWED, "no", 4, None)
    refused = rtc.RequestResponse(
        reason=rtc.RequestResponse.NOT_FOUND, unpublish_data_track=rtc.UnpublishDataTrackRequest(pub_handle=9)
    )
    assert response(request_response=refused) == m.RequestResponse(0, m.RequestReason.NOT_FOUND, "", None, 9)
    other = rtc.RequestResponse(request_id=3, reason=rtc.RequestResponse.LIMIT_EXCEEDED)
    assert response(request_response=other) == m.RequestResponse(3, m.RequestReason.LIMIT_EXCEEDED)


def test_what_a_resumed_session_lists() -> None:
    state = m.SyncState(data_tracks=(OURS, OUR_PLAIN))
    message = rtc.SignalRequest.FromString(encode_request(state))
    assert [track.info for track in message.sync_state.publish_data_tracks] == [VENDORS, PLAIN]


def test_handles_of_a_subscriber() -> None:
    published = rtc.DataTrackSubscriberHandles.PublishedDataTrack
    handles = rtc.DataTrackSubscriberHandles(
        sub_handles={
            7: published(publisher_identity="ann", publisher_sid="PA_a", track_sid="DTR_x"),
            65_536: published(track_sid="DTR_y"),
        }
    )
    assert response(data_track_subscriber_handles=handles) == m.SubscriberHandles({7: "DTR_x", 65_536: "DTR_y"})


def test_subscribing() -> None:
    message = rtc.SignalRequest.FromString(
        encode_request(m.UpdateDataSubscription((("DTR_x", True), ("DTR_y", False))))
    )
    update = rtc.UpdateDataSubscription.Update
    assert list(message.update_data_subscription.updates) == [
        update(track_sid="DTR_x", subscribe=True),
        update(track_sid="DTR_y", subscribe=False),
    ]


def test_the_tracks_of_participants() -> None:
    ann = models.ParticipantInfo(sid="PA_a", identity="ann", data_tracks=[VENDORS, PLAIN])
    bob = models.ParticipantInfo(sid="PA_b", identity="bob")
    told = response(update=rtc.ParticipantUpdate(participants=[ann, bob]))
    assert isinstance(told, m.ParticipantUpdate)
    assert [(p.identity, p.data_tracks) for p in told.participants] == [("ann", (OURS, OUR_PLAIN)), ("bob", ())]


def test_definitions_of_schemas() -> None:
    key = models.DataBlobKey(schema_id=VENDORS.schema)
    schema = OURS.schema
    assert schema is not None
    store = rtc.SignalRequest.FromString(encode_request(m.StoreDataBlob(3, schema, b"{}")))
    blob = models.DataBlob(key=key, contents=b"{}")
    assert store.store_data_blob_request == rtc.StoreDataBlobRequest(request_id=3, blob=blob)
    get = rtc.SignalRequest.FromString(encode_request(m.GetDataBlob(4, "ann", schema)))
    assert get.get_data_blob_request == rtc.GetDataBlobRequest(request_id=4, participant_identity="ann", key=key)
    stored = response(store_data_blob_response=rtc.StoreDataBlobResponse(request_id=3, key=key))
    assert stored == m.DataBlobStored(3, schema)
    fetched = response(get_data_blob_response=rtc.GetDataBlobResponse(request_id=4, blob=blob))
    assert fetched == m.DataBlobFetched(4, schema, b"{}")
    answer = rtc.SignalResponse.FromString(encode_response(m.DataBlobFetched(4, "any text", b"x")))
    assert answer.get_data_blob_response.blob == models.DataBlob(
        key=models.DataBlobKey(generic="any text"), contents=b"x"
    )

"""What clients may ask of a room: metadata, tracks, subscriptions, and every refusal."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.signal import messages as m
from trio_livekit.server.requests import handle_request

from .support import enter, heard, kinds, last_handles, make_rooms, publish, subscribe, unsubscribe, updates

Reason = m.RequestReason
EDITOR = m.Permission(can_update_metadata=True)


# --- publishing -------------------------------------------------------------------------------------------------------


def test_publishing_is_answered_and_told():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    out = handle_request(room, ann, m.PublishDataTrack(9, "lidar", m.EncryptionType.GCM))
    assert kinds(heard(out, ann)) == ["DataTrackPublished", "ParticipantUpdate"]
    info = heard(out, ann)[0].info
    assert (info.pub_handle, info.name, info.encryption) == (9, "lidar", m.EncryptionType.GCM)
    assert info.sid.startswith("DTR_")
    (told,) = updates(out, bob)
    assert (told.is_publisher, told.data_tracks) == (True, (info,))
    out = handle_request(room, ann, m.PublishDataTrack(10, "radar"))
    assert kinds(heard(out, ann)) == ["ParticipantUpdate", "DataTrackPublished"]


@pytest.mark.parametrize(
    ("handle", "name", "reason", "text"),
    [
        (0, "n", Reason.INVALID_HANDLE, "handle should be > 0 AND < 65536"),
        (65536, "", Reason.INVALID_HANDLE, "handle should be > 0 AND < 65536"),
        (3, "", Reason.INVALID_NAME, "name should not be empty and should not exceed 256 characters"),
        (1, "é" * 129, Reason.INVALID_NAME, "name should not be empty and should not exceed 256 characters"),
        (1, "taken", Reason.DUPLICATE_HANDLE, "a data track with same handle already exists"),
        (3, "taken", Reason.DUPLICATE_NAME, "a data track with same name already exists"),
    ],
)
def test_refusals_of_a_publication(handle, name, reason, text):
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    publish(room, ann, "taken", handle=1)
    out = handle_request(room, ann, m.PublishDataTrack(handle, name))
    assert out == [(ann, m.RequestResponse(0, reason, text, publish_handle=handle))]


@pytest.mark.parametrize(
    ("frame_encoding", "schema_encoding", "accepted"),
    [
        ("", 1, False),
        ("x" * 33, 1, False),
        (3, "x" * 33, False),
        (3, "", False),
        ("x" * 32, "y", True),
        (None, 1, True),
    ],
)
def test_encodings_of_ones_own_have_names_of_bounded_length(frame_encoding, schema_encoding, accepted):
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    schema = m.DataTrackSchema("point", schema_encoding)
    request = m.PublishDataTrack(1, "t", frame_encoding=frame_encoding, schema=schema)
    answer = heard(handle_request(room, ann, request), ann)[0]
    if accepted:
        assert (answer.info.frame_encoding, answer.info.schema) == (frame_encoding, schema)
    else:
        assert answer.reason is Reason.INVALID_REQUEST


def test_publishing_needs_the_permission_before_anything_else():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann", permission=m.Permission(can_publish_data=False))
    (response,) = heard(handle_request(room, ann, m.PublishDataTrack(0, "")), ann)
    assert (response.reason, response.message) == (Reason.NOT_ALLOWED, "does not have permission to publish data")


def test_names_are_measured_in_bytes_and_are_unique_per_publisher_only():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    publish(room, ann, "é" * 128)
    publish(room, bob, "é" * 128)


def test_there_is_a_limit_of_tracks():
    rooms = make_rooms(data_tracks_per_participant=1)
    room, ann, _ = enter(rooms, "ann")
    publish(room, ann, "a", handle=1)
    (response,) = heard(handle_request(room, ann, m.PublishDataTrack(2, "b")), ann)
    assert response.reason is Reason.LIMIT_EXCEEDED


def test_unpublishing():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    sid, _ = publish(room, ann, "t")
    subscribe(room, bob, sid)
    out = handle_request(room, ann, m.UnpublishDataTrack(1))
    assert kinds(heard(out, ann)) == ["ParticipantUpdate", "DataTrackUnpublished"]
    assert heard(out, ann)[1].info.sid == sid
    assert kinds(heard(out, bob)) == ["ParticipantUpdate", "SubscriberHandles"]
    assert updates(out, bob)[0].data_tracks == ()
    assert last_handles(out, bob) == {}
    again = handle_request(room, ann, m.UnpublishDataTrack(1))
    assert again == [(ann, m.RequestResponse(0, Reason.NOT_FOUND, "", unpublish_handle=1))]
    assert publish(room, ann, "t")[0] != sid


# --- subscribing ------------------------------------------------------------------------------------------------------


def test_subscribing_gives_a_handle_and_repeating_it_gives_silence():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    first, _ = publish(room, ann, "a", handle=1)
    second, _ = publish(room, ann, "b", handle=2)
    out = subscribe(room, bob, first, second)
    assert kinds(heard(out, bob)) == [
        "SubscriptionPermissionUpdate", "SubscriptionPermissionUpdate", "SubscriberHandles",
    ]  # fmt: skip
    assert heard(out, bob)[0] == m.SubscriptionPermissionUpdate(ann.sid, first, allowed=True)
    handles = last_handles(out, bob)
    assert sorted(handles.values()) == sorted([first, second])
    assert subscribe(room, bob, first) == []
    assert bob.handles == handles


def test_unsubscribing_and_subscribing_again_gives_another_handle():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    sid, _ = publish(room, ann, "a")
    (before,) = last_handles(subscribe(room, bob, sid), bob)
    assert last_handles(unsubscribe(room, bob, sid), bob) == {}
    (after,) = last_handles(subscribe(room, bob, sid), bob)
    assert after != before


def test_both_in_one_request_end_as_asked_last():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    sid, _ = publish(room, ann, "a")
    subscribe(room, bob, sid)
    out = handle_request(room, bob, m.UpdateDataSubscription(((sid, False), (sid, True))))
    assert list(last_handles(out, bob).values()) == [sid]
    out = handle_request(room, bob, m.UpdateDataSubscription(((sid, True), (sid, False))))
    assert last_handles(out, bob) == {}
    assert bob.wanted == {}


def test_what_does_not_exist_is_silence_and_may_be_withdrawn():
    rooms = make_rooms()
    room, bob, _ = enter(rooms, "bob")
    assert subscribe(room, bob, "DTR_nowhere") == []
    assert unsubscribe(room, bob, "DTR_nowhere", "DTR_never") == []
    assert subscribe(room, bob, "DTR_" + "x" * 1000) == []
    assert bob.wanted == {}


def test_wishes_are_bounded():
    rooms = make_rooms(subscriptions_per_participant=2)
    room, bob, _ = enter(rooms, "bob")
    subscribe(room, bob, "DTR_1", "DTR_2", "DTR_3")
    assert list(bob.wanted) == ["DTR_1", "DTR_2"]


def test_nobody_hears_itself():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    sid, _ = publish(room, ann, "a")
    assert subscribe(room, ann, sid) == []


def test_subscribing_waits_for_the_permission_and_ends_with_it():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob", permission=m.Permission(can_subscribe=False))
    sid, _ = publish(room, ann, "a")
    assert subscribe(room, bob, sid) == []
    granted = room.update_permission(bob, m.Permission())
    assert list(last_handles(granted, bob).values()) == [sid]
    revoked = room.update_permission(bob, m.Permission(can_subscribe=False))
    assert last_handles(revoked, bob) == {}
    assert m.SubscriptionPermissionUpdate(ann.sid, sid, allowed=False) in heard(revoked, bob)
    again = room.update_permission(bob, m.Permission())
    assert list(last_handles(again, bob).values()) == [sid]


def test_auto_subscription_takes_what_is_there_and_what_comes():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    first, _ = publish(room, ann, "a", handle=1)
    _, bob, out = enter(rooms, "bob", auto_subscribe_data_tracks=True)
    assert list(last_handles(out, bob).values()) == [first]
    second, out = publish(room, ann, "b", handle=2)
    assert list(last_handles(out, bob).values()) == [first, second]
    assert kinds(heard(out, bob)) == ["ParticipantUpdate", "SubscriptionPermissionUpdate", "SubscriberHandles"]


def test_auto_subscription_leaves_hidden_publishers_alone():
    rooms = make_rooms()
    room, spy, _ = enter(rooms, "spy", permission=m.Permission(hidden=True))
    publish(room, spy, "a", handle=1)
    _, bob, out = enter(rooms, "bob", auto_subscribe_data_tracks=True)
    assert last_handles(out, bob) is None
    assert heard(publish(room, spy, "b", handle=2)[1], bob) == []


def test_handles_skip_zero_and_those_in_use():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    sids = [publish(room, ann, str(n), handle=n)[0] for n in (1, 2, 3)]
    bob.next_handle = 0xFFFF
    subscribe(room, bob, sids[0])
    subscribe(room, bob, sids[1])
    assert set(bob.handles) == {0xFFFF, 1}
    bob.next_handle = 0xFFFF
    subscribe(room, bob, sids[2])
    assert set(bob.handles) == {0xFFFF, 1, 2}


def test_a_publisher_says_who_may_subscribe():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    _, cem, _ = enter(rooms, "cem")
    first, _ = publish(room, ann, "a", handle=1)
    second, _ = publish(room, ann, "b", handle=2)
    for member in (bob, cem):
        subscribe(room, member, first, second)
    only_bob = m.SubscriptionPermission(False, (m.TrackPermission(participant_identity="bob", track_sids=(first,)),))
    out = handle_request(room, ann, only_bob)
    assert list(last_handles(out, bob).values()) == [first]
    assert last_handles(out, cem) == {}
    assert heard(out, cem)[:2] == [
        m.SubscriptionPermissionUpdate(ann.sid, first, allowed=False),
        m.SubscriptionPermissionUpdate(ann.sid, second, allowed=False),
    ]
    assert subscribe(room, cem, first) == []
    assert handle_request(room, ann, only_bob) == []
    by_sid = m.SubscriptionPermission(False, (m.TrackPermission(participant_sid=cem.sid, all_tracks=True),))
    out = handle_request(room, ann, by_sid)
    assert (last_handles(out, bob), len(last_handles(out, cem))) == ({}, 2)
    out = handle_request(room, ann, m.SubscriptionPermission())
    assert len(last_handles(out, bob)) == 2
    assert heard(out, bob)[0] == m.SubscriptionPermissionUpdate(ann.sid, first, allowed=True)
    assert handle_request(room, ann, m.SubscriptionPermission(False)) != []
    assert (bob.handles, cem.handles) == ({}, {})


# --- the server takes tracks away -------------------------------------------------------------------------------------


def test_losing_the_permission_to_publish_ends_the_tracks():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    sid, _ = publish(room, ann, "a")
    subscribe(room, bob, sid)
    out = room.update_permission(ann, m.Permission(can_publish_data=False))
    (own,) = updates(out, ann)
    assert own.data_tracks == ()
    assert not own.permission.can_publish_data
    assert "DataTrackUnpublished" not in kinds(heard(out, ann))
    assert "RefreshToken" in kinds(heard(out, ann))
    assert last_handles(out, bob) == {}
    assert room.tracks == {}


def test_the_operator_ends_one_track():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    kept, _ = publish(room, ann, "kept", handle=1)
    publish(room, ann, "gone", handle=2)
    out = room.unpublish(ann, "gone")
    assert [track.sid for track in updates(out, ann)[0].data_tracks] == [kept]
    assert kinds(heard(out, ann)) == ["ParticipantUpdate"]
    assert room.unpublish(ann, "gone") == []


# --- the definitions of schemas ---------------------------------------------------------------------------------------

POINT = m.DataTrackSchema("point", m.SchemaEncoding.PROTOBUF)


def store(room, participant, key, contents, number=1):
    """Store something; the answer."""
    ((receiver, answer),) = handle_request(room, participant, m.StoreDataBlob(number, key, contents))
    assert receiver is participant
    return answer


def test_what_is_stored_can_be_got_by_others():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    for key in (POINT, m.DataTrackSchema("point", "mine"), "any text"):
        assert store(room, ann, key, repr(key).encode(), 7) == m.DataBlobStored(7, key)
    for key in ann.blobs:
        out = handle_request(room, bob, m.GetDataBlob(8, "ann", key))
        assert out == [(bob, m.DataBlobFetched(8, key, repr(key).encode()))]
    for identity, key, text in (("ann", "else", "data blob not found"), ("eve", POINT, "participant not found")):
        out = handle_request(room, bob, m.GetDataBlob(9, identity, key))
        assert out == [(bob, m.RequestResponse(9, Reason.NOT_FOUND, text))]


@pytest.mark.parametrize(
    ("key", "contents", "reason", "text"),
    [
        ("", b"x", Reason.INVALID_REQUEST, "data blob is invalid"),
        ("k" * 257, b"x", Reason.INVALID_REQUEST, "data blob is invalid"),
        (
            m.DataTrackSchema("point", ""),
            b"x",
            Reason.INVALID_REQUEST,
            "encoding identifier is empty or exceeds the maximum length",
        ),
        (POINT, b"", Reason.INVALID_REQUEST, "data blob is empty"),
        (POINT, bytes(64_000), Reason.LIMIT_EXCEEDED, "async attribute definition exceeds limit"),
    ],
)
def test_refusals_of_what_is_to_be_stored(key, contents, reason, text):
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    assert store(room, ann, key, contents, 3) == m.RequestResponse(3, reason, text)
    assert not ann.blobs


def test_what_is_stored_is_bounded_by_participant():
    rooms = make_rooms(data_blobs_bytes=10)
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    assert isinstance(store(room, ann, "k", b"1234"), m.DataBlobStored)
    assert isinstance(store(room, ann, "k", b"5678"), m.DataBlobStored)  # in its place
    assert store(room, ann, "l", b"12345").reason is Reason.LIMIT_EXCEEDED
    assert store(room, ann, "k", b"12345").reason is Reason.LIMIT_EXCEEDED  # what it would replace counts
    assert isinstance(store(room, bob, "k", b"123456789"), m.DataBlobStored)


# --- name, metadata and attributes ------------------------------------------------------------------------------------


def test_updating_everything_makes_three_updates_and_one_answer():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann", permission=EDITOR, attributes={"a": "1", "b": "2"})
    _, bob, _ = enter(rooms, "bob")
    request = m.UpdateMetadata(5, name="Ann", metadata="meta", attributes={"a": "", "c": "3"})
    out = handle_request(room, ann, request)
    assert kinds(heard(out, ann)) == ["ParticipantUpdate", "RefreshToken"] * 3 + ["RequestResponse"]
    assert heard(out, ann)[-1] == m.RequestResponse(5, Reason.OK)
    last = updates(out, bob)[-1]
    assert (last.name, last.metadata, last.attributes) == ("Ann", "meta", {"b": "2", "c": "3"})
    assert handle_request(room, ann, request) == [(ann, m.RequestResponse(5, Reason.OK))]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "n" * 257}, "exceeds name length limit"),
        ({"metadata": "m" * (512 * 1024 + 1)}, "exceeds metadata size limit"),
        ({"attributes": {"k": "v" * (64 * 1024)}}, "exceeds attributes size limit"),
    ],
)
def test_updates_over_the_limit(change, text):
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann", permission=EDITOR)
    out = handle_request(room, ann, m.UpdateMetadata(6, **change))
    assert out == [(ann, m.RequestResponse(6, Reason.LIMIT_EXCEEDED, text))]


def test_attributes_are_measured_after_the_change():
    rooms = make_rooms(attributes_bytes=10)
    room, ann, _ = enter(rooms, "ann", permission=EDITOR, attributes={"k": "12345678"})
    (*_, answer) = heard(handle_request(room, ann, m.UpdateMetadata(1, attributes={"k": "", "l": "12345678"})), ann)
    assert answer.reason is Reason.OK
    (*_, answer) = heard(handle_request(room, ann, m.UpdateMetadata(1, attributes={"k": "12345678"})), ann)
    assert answer.reason is Reason.LIMIT_EXCEEDED


def test_updates_need_the_permission():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    (response,) = heard(handle_request(room, ann, m.UpdateMetadata(7, name="x")), ann)
    assert response.reason is Reason.NOT_ALLOWED
    assert ann.name == ""


def test_requests_that_are_not_the_rooms_business_are_left_alone():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    assert handle_request(room, ann, m.Ping(1)) == []
    assert handle_request(room, ann, m.Trickle("candidate")) == []

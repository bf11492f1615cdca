"""Rooms: who is in them, and what everyone is told."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.signal import messages as m
from trio_livekit.server.requests import handle_request
from trio_livekit.server.rooms import JoinRefused

from .support import enter, heard, kinds, last_handles, make_rooms, publish, subscribe, updates

State = m.ParticipantState


def test_the_first_join_makes_a_room_and_tells_its_member_of_it():
    rooms = make_rooms()
    room, ann, out = enter(rooms, "ann", name="Ann", metadata="x", attributes={"k": "v"})
    join, token = heard(out, ann)
    assert isinstance(join, m.Join)
    assert (join.room.name, join.room.sid, join.room.num_participants) == ("den", room.sid, 1)
    assert room.sid.startswith("RM_")
    assert len(room.sid) == 15
    me = join.participant
    assert (me.identity, me.name, me.metadata, me.attributes) == ("ann", "Ann", "x", {"k": "v"})
    assert me.sid.startswith("PA_")
    assert me.state is State.JOINING
    assert join.other_participants == ()
    assert (join.ping_interval_s, join.ping_timeout_s, join.subscriber_primary) == (5, 15, False)
    assert isinstance(token, m.RefreshToken)


def test_those_present_learn_of_a_newcomer_and_it_of_them():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, out = enter(rooms, "bob")
    assert [p.identity for p in heard(out, bob)[0].other_participants] == ["ann"]
    assert [(p.identity, p.state) for p in updates(out, ann)] == [("bob", State.JOINED)]
    out = room.activate(bob)
    assert [(p.identity, p.state) for p in updates(out, ann)] == [("bob", State.ACTIVE)]
    assert [(p.identity, p.state) for p in updates(out, bob)] == [("bob", State.ACTIVE)]
    assert room.activate(bob) == []


def test_rooms_are_apart():
    rooms = make_rooms()
    _, ann, _ = enter(rooms, "ann", room="one")
    _, _, out = enter(rooms, "ann", room="two")
    assert heard(out, ann) == []
    assert set(rooms.by_name) == {"one", "two"}


def test_versions_only_go_up():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, joined = enter(rooms, "bob")
    seen = updates(joined, ann) + updates(room.activate(bob), ann)
    seen += updates(publish(room, bob, "t")[1], ann)
    seen += updates(room.leave(bob, m.DisconnectReason.CLIENT_INITIATED), ann)
    versions = [info.version for info in seen]
    assert versions == sorted(set(versions))


def test_leaving_is_told_once_and_an_empty_room_is_forgotten():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    sid, _ = publish(room, bob, "t")
    subscribe(room, ann, sid)
    out = room.leave(bob, m.DisconnectReason.SIGNAL_CLOSE)
    (gone,) = updates(out, ann)
    assert (gone.state, gone.disconnect_reason) == (State.DISCONNECTED, m.DisconnectReason.SIGNAL_CLOSE)
    assert gone.data_tracks == ()
    assert last_handles(out, ann) == {}
    assert room.leave(bob, m.DisconnectReason.SIGNAL_CLOSE) == []
    assert heard(room.leave(ann, m.DisconnectReason.CLIENT_INITIATED), ann) == []
    assert rooms.by_name == {}


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (m.DisconnectReason.CLIENT_INITIATED, m.DisconnectReason.CLIENT_INITIATED),
        (m.DisconnectReason.USER_REJECTED, m.DisconnectReason.USER_REJECTED),
        (m.DisconnectReason.ROOM_DELETED, m.DisconnectReason.CLIENT_INITIATED),
    ],
)
def test_a_client_that_says_goodbye_is_answered_in_kind(given, answered):
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    out = handle_request(room, ann, m.Leave(given))
    assert heard(out, ann) == [m.Leave(answered, m.LeaveAction.DISCONNECT)]
    assert [info.disconnect_reason for info in updates(out, bob)] == [answered]


def test_a_newer_session_takes_the_identity():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, old, _ = enter(rooms, "bob")
    sid, _ = publish(room, old, "t")
    subscribe(room, ann, sid)
    _, new, out = enter(rooms, "bob")
    assert heard(out, old) == [m.Leave(m.DisconnectReason.DUPLICATE_IDENTITY)]
    (seen,) = updates(out, ann)
    assert (seen.sid, seen.state, seen.data_tracks) == (new.sid, State.JOINED, ())
    assert last_handles(out, ann) == {}
    assert not room.contains(old)
    assert room.leave(old, m.DisconnectReason.SIGNAL_CLOSE) == []
    assert handle_request(room, old, m.PublishDataTrack(1, "late")) == []
    assert room.contains(new)


def test_a_newer_session_that_is_hidden_makes_the_old_one_leave():
    rooms = make_rooms()
    _, ann, _ = enter(rooms, "ann")
    _, old, _ = enter(rooms, "bob")
    _, _, out = enter(rooms, "bob", permission=m.Permission(hidden=True))
    assert [(info.sid, info.state) for info in updates(out, ann)] == [(old.sid, State.DISCONNECTED)]


def test_hidden_participants_see_and_are_not_seen():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, spy, out = enter(rooms, "spy", permission=m.Permission(hidden=True))
    assert heard(out, ann) == []
    assert [p.identity for p in heard(out, spy)[0].other_participants] == ["ann"]
    _, bob, out = enter(rooms, "bob")
    assert [p.identity for p in heard(out, bob)[0].other_participants] == ["ann"]
    assert [p.identity for p in updates(out, spy)] == ["bob"]
    assert room.info().num_participants == 2
    assert heard(room.leave(spy, m.DisconnectReason.CLIENT_INITIATED), ann) == []


def test_hiding_and_showing_somebody():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    out = room.update_permission(bob, m.Permission(hidden=True))
    assert [info.state for info in updates(out, ann)] == [State.DISCONNECTED]
    assert [info.permission.hidden for info in updates(out, bob)] == [True]
    out = room.update_permission(bob, m.Permission())
    assert [(info.sid, info.state) for info in updates(out, ann)] == [(bob.sid, State.JOINED)]


def test_sending_someone_away_and_closing_the_room():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    _, cem, _ = enter(rooms, "cem")
    out = room.remove(bob, m.DisconnectReason.PARTICIPANT_REMOVED)
    assert heard(out, bob) == [m.Leave(m.DisconnectReason.PARTICIPANT_REMOVED)]
    assert [info.disconnect_reason for info in updates(out, ann)] == [m.DisconnectReason.PARTICIPANT_REMOVED]
    assert room.remove(bob, m.DisconnectReason.PARTICIPANT_REMOVED) == []
    out = room.close(m.DisconnectReason.ROOM_DELETED)
    assert out == [(ann, m.Leave(m.DisconnectReason.ROOM_DELETED)), (cem, m.Leave(m.DisconnectReason.ROOM_DELETED))]
    assert rooms.by_name == {}
    assert not room.contains(ann)


def test_closing_the_server_sends_everyone_away():
    rooms = make_rooms()
    enter(rooms, "ann", room="one")
    enter(rooms, "bob", room="two")
    out = rooms.close(m.DisconnectReason.SERVER_SHUTDOWN)
    assert [(who.identity, message.reason) for who, message in out] == [
        ("ann", m.DisconnectReason.SERVER_SHUTDOWN),
        ("bob", m.DisconnectReason.SERVER_SHUTDOWN),
    ]
    assert rooms.by_name == {}


def test_a_resume_tells_all_that_was_missed():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    _, cem, _ = enter(rooms, "cem")
    sid, _ = publish(room, cem, "t")
    subscribe(room, ann, sid)
    ann.last_sequence = 41
    room.signal_lost(ann)
    room.leave(bob, m.DisconnectReason.CLIENT_INITIATED)
    out = room.resume(ann)
    assert kinds(heard(out, ann)) == [
        "Reconnected", "ParticipantUpdate", "RoomUpdate", "RefreshToken", "SubscriberHandles",
    ]  # fmt: skip
    assert heard(out, ann)[0].last_message_seq == 41
    assert {(info.identity, info.state) for info in updates(out, ann)} == {
        ("ann", State.JOINED), ("cem", State.JOINED), ("bob", State.DISCONNECTED),
    }  # fmt: skip
    assert list(last_handles(out, ann).values()) == [sid]
    room.signal_lost(ann)
    assert {info.identity for info in updates(room.resume(ann), ann)} == {"ann", "cem"}


@pytest.mark.parametrize("track_sid", ["DTR_unknown", ""])
def test_a_resume_that_believes_in_a_lost_track_must_start_over(track_sid):
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    _, bob, _ = enter(rooms, "bob")
    out = handle_request(room, ann, m.SyncState(data_tracks=(m.DataTrackInfo(1, track_sid, "t"),)))
    assert heard(out, ann) == [m.Leave(m.DisconnectReason.STATE_MISMATCH, m.LeaveAction.RECONNECT)]
    assert [info.identity for info in updates(out, bob)] == ["ann"]
    assert not room.contains(ann)


def test_a_resume_that_believes_what_is_so_goes_on():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    sid, _ = publish(room, ann, "t")
    publish(room, ann, "u", handle=2)
    assert handle_request(room, ann, m.SyncState(data_tracks=(m.DataTrackInfo(1, sid, "t"),))) == []
    assert handle_request(room, ann, m.SyncState()) == []
    assert room.contains(ann)


def test_limits_refuse_joins_but_not_a_newer_session():
    rooms = make_rooms(rooms=1, participants_per_room=2)
    enter(rooms, "ann")
    enter(rooms, "bob")
    with pytest.raises(JoinRefused):
        enter(rooms, "cem")
    with pytest.raises(JoinRefused):
        enter(rooms, "cem", room="other")
    enter(rooms, "bob")
    assert set(rooms.by_name["den"].members) == {"ann", "bob"}


def test_room_metadata_and_counters():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    (update,) = heard(room.update_metadata("new"), ann)
    assert update.room.metadata == "new"
    (update,) = heard(rooms.tick(), ann)
    assert (update.room.num_participants, update.room.num_publishers) == (1, 0)
    assert rooms.tick() == []
    publish(room, ann, "t")
    (update,) = heard(rooms.tick(), ann)
    assert update.room.num_publishers == 1


def test_finding_members():
    rooms = make_rooms()
    room, ann, _ = enter(rooms, "ann")
    assert rooms.find("den", "ann") == (room, ann)
    assert rooms.find("den", "bob") is None
    assert rooms.find("hall", "ann") is None

"""Any order of requests leaves a room consistent, and its clients knowing the truth from what they were told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_livekit._sansio.signal import messages as m
from trio_livekit.server.requests import handle_request

from .support import enter, make_rooms

if TYPE_CHECKING:
    from trio_livekit.server.room import Outbox

IDENTITIES = st.sampled_from(["ann", "bob", "cem"])
HANDLES = st.integers(1, 3)
PERMISSIONS = st.builds(m.Permission, can_subscribe=st.booleans(), can_publish_data=st.booleans(), hidden=st.booleans())


class RoomModel(RuleBasedStateMachine):
    """Clients believe what they hear; the invariant compares that with the room."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms = make_rooms()
        self.sids = ["DTR_none"]
        self.believed: dict[object, dict[str, m.ParticipantInfo]] = {}
        self.handles: dict[object, dict[int, str]] = {}
        self.left: set[object] = set()

    @property
    def room(self):
        return self.rooms.by_name.get("den")

    def deliver(self, out: Outbox) -> None:
        for receiver, message in out:
            assert receiver not in self.left, "nothing follows a leave"
            match message:
                case m.Join():
                    self.believed[receiver] = {p.identity: p for p in message.other_participants}
                    self.handles[receiver] = {}
                case m.ParticipantUpdate(participants):
                    for info in participants:
                        self.learn(receiver, info)
                case m.SubscriberHandles(handles):
                    self.handles[receiver] = handles
                case m.DataTrackPublished(info):
                    self.sids.append(info.sid)
                case m.Leave():
                    self.left.add(receiver)

    def learn(self, receiver, info: m.ParticipantInfo) -> None:
        known = self.believed[receiver]
        if info.identity == receiver.identity:
            return
        before = known.get(info.identity)
        if before is not None and before.sid == info.sid:
            assert info.version >= before.version
        if info.state is not m.ParticipantState.DISCONNECTED:
            known[info.identity] = info
        elif before is not None and before.sid == info.sid:
            del known[info.identity]

    def member(self, identity: str):
        return self.room.members.get(identity) if self.room else None

    @rule(identity=IDENTITIES, auto=st.booleans(), permission=PERMISSIONS)
    def join(self, identity: str, auto: bool, permission: m.Permission) -> None:
        self.deliver(enter(self.rooms, identity, auto_subscribe_data_tracks=auto, permission=permission)[2])

    @rule(identity=IDENTITIES)
    def leave(self, identity: str) -> None:
        if member := self.member(identity):
            self.deliver(handle_request(self.room, member, m.Leave()))

    @rule(identity=IDENTITIES, handle=HANDLES, name=st.sampled_from(["x", "y"]))
    def publish(self, identity: str, handle: int, name: str) -> None:
        if member := self.member(identity):
            self.deliver(handle_request(self.room, member, m.PublishDataTrack(handle, name)))

    @rule(identity=IDENTITIES, handle=HANDLES)
    def unpublish(self, identity: str, handle: int) -> None:
        if member := self.member(identity):
            self.deliver(handle_request(self.room, member, m.UnpublishDataTrack(handle)))

    @rule(identity=IDENTITIES, choices=st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=3))
    def update_subscription(self, identity: str, choices: list[tuple[int, bool]]) -> None:
        if member := self.member(identity):
            updates = tuple((self.sids[-1 - index % len(self.sids)], wanted) for index, wanted in choices)
            self.deliver(handle_request(self.room, member, m.UpdateDataSubscription(updates)))

    @rule(identity=IDENTITIES, permission=PERMISSIONS)
    def update_permission(self, identity: str, permission: m.Permission) -> None:
        if member := self.member(identity):
            self.deliver(self.room.update_permission(member, permission))

    @rule(identity=IDENTITIES, everyone=st.booleans(), whom=st.lists(IDENTITIES, max_size=2))
    def update_subscription_permission(self, identity: str, everyone: bool, whom: list[str]) -> None:
        if member := self.member(identity):
            permissions = tuple(m.TrackPermission(participant_identity=name, all_tracks=True) for name in whom)
            self.deliver(handle_request(self.room, member, m.SubscriptionPermission(everyone, permissions)))

    @precondition(lambda self: self.room)
    @rule()
    def delete(self) -> None:
        self.deliver(self.room.close(m.DisconnectReason.ROOM_DELETED))

    @invariant()
    def everyone_knows_who_is_there_and_what_is_published(self) -> None:
        for receiver in self.room.members.values() if self.room else ():
            shown = {
                p.identity: (p.sid, p.info().data_tracks)
                for p in self.room.members.values()
                if p is not receiver and not p.permission.hidden
            }
            believed = {name: (info.sid, info.data_tracks) for name, info in self.believed[receiver].items()}
            assert believed == shown

    @invariant()
    def what_is_forwarded_is_what_subscribers_were_told(self) -> None:
        for receiver in self.room.members.values() if self.room else ():
            assert self.handles[receiver] == receiver.handles
            assert set(receiver.handles.values()) == set(receiver.subscriptions)
            assert 0 not in receiver.handles
            if not receiver.permission.can_subscribe:
                assert not receiver.handles

    @invariant()
    def subscriptions_belong_to_tracks_and_members_of_the_room(self) -> None:
        for track in self.room.tracks.values() if self.room else ():
            assert self.room.contains(track.publisher)
            assert track.publisher.permission.can_publish_data
            assert track.publisher.tracks[track.info.pub_handle] is track
            for subscription in track.subscriptions:
                assert self.room.contains(subscription.subscriber)
                assert subscription.subscriber.subscriptions[track.info.sid] is subscription

    @invariant()
    def those_who_left_hear_nothing(self) -> None:
        for participant in self.left:
            assert not participant.tracks
            assert not participant.subscriptions


RoomModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRoomModel = RoomModel.TestCase

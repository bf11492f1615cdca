"""Publications and subscriptions of data tracks: the part of a room that decides what is forwarded to whom."""

from __future__ import annotations

__all__ = ["add_track", "end_subscriptions", "end_tracks", "may_subscribe", "snapshots", "subscribe"]

from typing import TYPE_CHECKING

from .._sansio.signal import messages as m
from .participant import Subscription, Track

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .participant import Participant
    from .room import Outbox, Room


def snapshots(out: Outbox, participants: Iterable[Participant]) -> None:
    """Send each of them every handle it is subscribed under: always whole, and it may be empty."""
    for participant in dict.fromkeys(participants):
        out.append((participant, m.SubscriberHandles(dict(participant.handles))))


def may_subscribe(participant: Participant, track: Track) -> bool:
    """Whether the publisher lets ``participant`` have the track. Nobody hears itself; recorders hear all others."""
    publisher = track.publisher
    if publisher is participant:
        return False
    if publisher.subscribable is None or participant.kind == m.ParticipantKind.EGRESS:
        return True
    return any(
        (permission.all_tracks or track.info.sid in permission.track_sids)
        # The identity, where one is given, is what counts: it outlives the session.
        and (permission.participant_identity or participant.identity) == participant.identity
        and (permission.participant_identity or permission.participant_sid == participant.sid)
        for permission in publisher.subscribable
    )


def subscribe(out: Outbox, room: Room, participant: Participant, sids: Iterable[str]) -> None:
    """Make subscriptions of those ``sids`` that exist and may be had. There is no answer for the others."""
    if not participant.permission.can_subscribe:
        return
    made = False
    for sid in sids:
        track = room.tracks.get(sid)
        if track is None or sid in participant.subscriptions or not may_subscribe(participant, track):
            continue
        subscription = Subscription(participant, track, participant.take_handle())
        track.subscriptions = (*track.subscriptions, subscription)
        participant.subscriptions[sid] = subscription
        participant.handles[subscription.handle] = sid
        out.append((participant, m.SubscriptionPermissionUpdate(track.publisher.sid, sid, allowed=True)))
        made = True
    if made:
        snapshots(out, (participant,))


def end_subscriptions(subscriptions: Iterable[Subscription]) -> None:
    """Stop forwarding; whoever calls this sends the snapshots."""
    for subscription in list(subscriptions):
        track, subscriber = subscription.track, subscription.subscriber
        track.subscriptions = tuple(s for s in track.subscriptions if s is not subscription)
        del subscriber.subscriptions[track.info.sid]
        del subscriber.handles[subscription.handle]


def add_track(out: Outbox, room: Room, publisher: Participant, info: m.DataTrackInfo) -> None:
    """Publish: answer, tell the room, and subscribe whoever subscribes to everything.

    As on LiveKit servers, the answer to a participant's first publication comes before the update of itself, and the
    answers to later ones after it.
    """
    first = not publisher.has_published
    publisher.has_published = True
    publisher.tracks[info.pub_handle] = room.tracks[info.sid] = Track(publisher, info)
    if first:
        out.append((publisher, m.DataTrackPublished(info)))
    room.announce(out, publisher)
    if not first:
        out.append((publisher, m.DataTrackPublished(info)))
    for member in list(room.members.values()):
        if member.auto_subscribe_data_tracks and member is not publisher and not publisher.permission.hidden:
            member.wanted[info.sid] = None
        if info.sid in member.wanted:
            subscribe(out, room, member, (info.sid,))


def end_tracks(room: Room, tracks: Iterable[Track]) -> list[Participant]:
    """Take tracks out of the room. Returns the subscribers that lost some, to be sent their snapshots afterwards."""
    losers: list[Participant] = []
    for track in list(tracks):
        del room.tracks[track.info.sid]
        del track.publisher.tracks[track.info.pub_handle]
        losers += (subscription.subscriber for subscription in track.subscriptions)
        end_subscriptions(track.subscriptions)
        for member in room.members.values():
            member.wanted.pop(track.info.sid, None)
    return losers

"""Helpers of the server tests: rooms with predictable randomness, and a reader of outboxes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from trio_livekit._sansio.signal import messages as m
from trio_livekit.server.limits import Limits
from trio_livekit.server.participant import Admission, Participant
from trio_livekit.server.requests import handle_request
from trio_livekit.server.rooms import Rooms

if TYPE_CHECKING:
    from trio_livekit.server.room import Outbox, Room

NOW_MS = 1_700_000_000_000


def make_rooms(**limits: int) -> Rooms:
    return Rooms(
        random_bytes=random.Random(7).randbytes,
        mint=lambda room, participant: f"token:{room}:{participant.identity}:{participant.version}",
        limits=Limits(**limits),
    )


def enter(rooms: Rooms, identity: str, room: str = "den", **more: object) -> tuple[Room, Participant, Outbox]:
    """Join, and hand back the outbox as well."""
    return rooms.join(Admission(room=room, identity=identity, **more), NOW_MS)


def publish(room: Room, publisher: Participant, name: str, handle: int = 1) -> tuple[str, Outbox]:
    """Publish a track, which must work; its SID and everything that was said."""
    out = handle_request(room, publisher, m.PublishDataTrack(handle, name))
    (published,) = [msg for msg in heard(out, publisher) if isinstance(msg, m.DataTrackPublished)]
    return published.info.sid, out


def subscribe(room: Room, participant: Participant, *sids: str) -> Outbox:
    return handle_request(room, participant, m.UpdateDataSubscription(tuple((sid, True) for sid in sids)))


def unsubscribe(room: Room, participant: Participant, *sids: str) -> Outbox:
    return handle_request(room, participant, m.UpdateDataSubscription(tuple((sid, False) for sid in sids)))


def heard(out: Outbox, participant: Participant) -> list[m.Response]:
    """What one participant is told, in order."""
    return [message for receiver, message in out if receiver is participant]


def updates(out: Outbox, participant: Participant) -> list[m.ParticipantInfo]:
    """The participants that one participant is told about, in order."""
    return [
        info
        for message in heard(out, participant)
        if isinstance(message, m.ParticipantUpdate)
        for info in message.participants
    ]


def kinds(messages: list[m.Response]) -> list[str]:
    return [type(message).__name__ for message in messages]


def last_handles(out: Outbox, participant: Participant) -> dict[int, str] | None:
    """The last handle snapshot in an outbox, or ``None``."""
    snapshots = [message.handles for message in heard(out, participant) if isinstance(message, m.SubscriberHandles)]
    return snapshots[-1] if snapshots else None

"""One room: who is in it, what they publish, and who may hear whom. No I/O happens here.

Every method decides synchronously and returns a list of ``(participant, message)`` to be delivered in that order. A
``Leave`` is the last message of a participant's session: whoever delivers it closes the session.

This follows livekit-server 1.13.5 as its clients see it, with these differences on purpose: updates are never batched,
a subscription that cannot be had yet may be withdrawn at any time, a subscriber that loses ``can_subscribe`` stops
receiving, and an empty room closes at once.
"""

from __future__ import annotations

__all__ = ["Outbox", "Room", "new_sid"]

from base64 import b32encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._sansio.signal import messages as m
from .participant import Admission, Participant, Track
from .tracks import end_subscriptions, end_tracks, snapshots, subscribe

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.types import RandomBytes
    from .limits import Limits

Outbox = list[tuple[Participant, m.Response]]

SERVER_VERSION = "1.13.5"
"""What clients are told: the LiveKit release whose behaviour this is. They gate features by it."""

PROTOCOL = 17

PING_INTERVAL_S = 5
PING_TIMEOUT_S = 15


_NONCE_BYTES = 16
_NONCES = 100
"""Nonces that a room remembers, as on LiveKit servers."""


def new_sid(prefix: str, random_bytes: RandomBytes) -> str:
    """An identifier as LiveKit makes them: a prefix, and 12 random characters."""
    return prefix + b32encode(random_bytes(8)).decode()[:12]


@dataclass(frozen=True, slots=True)
class House:
    """What the rooms of one server share."""

    random_bytes: RandomBytes
    mint: Callable[[str, Participant], str]
    """``mint(room name, participant)`` makes the token that a client is given for its next reconnect."""

    limits: Limits
    on_empty: Callable[[Room], None]


class RecentNonces:
    """What user packets of a room called themselves, the last hundred of them."""

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}

    def is_repeat(self, nonce: bytes) -> bool:
        """Whether a packet with this nonce was seen lately; else it is from now on."""
        if len(nonce) != _NONCE_BYTES:
            return False
        if nonce in self._seen:
            return True
        if len(self._seen) >= _NONCES:
            del self._seen[next(iter(self._seen))]
        self._seen[nonce] = None
        return False


class Room:
    """One room with at least one participant in it."""

    def __init__(self, name: str, house: House, now_ms: int) -> None:
        self.name = name
        self.house = house
        self.sid = new_sid("RM_", house.random_bytes)
        self.metadata = ""
        self.created_ms = now_ms
        self.members: dict[str, Participant] = {}
        self.tracks: dict[str, Track] = {}
        self.nonces = RecentNonces()
        self._counters = (0, 0)

    def info(self) -> m.RoomInfo:
        """The room as clients are told of it."""
        visible = [p for p in self.members.values() if not p.permission.hidden]
        return m.RoomInfo(
            sid=self.sid,
            name=self.name,
            metadata=self.metadata,
            num_participants=len(visible),
            num_publishers=sum(p.has_published for p in visible),
            max_participants=self.house.limits.participants_per_room,
            creation_time_ms=self.created_ms,
        )

    def contains(self, participant: Participant) -> bool:
        """Whether it is still a member: not when it left, nor when a newer session took its identity."""
        return self.members.get(participant.identity) is participant

    # --- coming and going ---------------------------------------------------------------------------------------------

    def join(self, admission: Admission, now_ms: int) -> tuple[Participant, Outbox]:
        """Let someone in, in place of whoever has the same identity. Called by ``Rooms.join``."""
        out: Outbox = []
        predecessor = self.members.get(admission.identity)
        losers: list[Participant] = []
        if predecessor is not None:
            losers = self._replace(out, predecessor, now_hidden=admission.permission.hidden)
        participant = self._admit(admission, now_ms)
        others = tuple(p.info() for p in self.members.values() if p is not participant and not p.permission.hidden)
        join = m.Join(
            room=self.info(),
            participant=participant.info(),
            other_participants=others,
            server=m.ServerInfo(SERVER_VERSION, protocol=PROTOCOL),
            subscriber_primary=admission.two_peers and admission.permission.can_subscribe,
            ping_interval_s=PING_INTERVAL_S,
            ping_timeout_s=PING_TIMEOUT_S,
        )
        out.append((participant, join))
        self.refresh_token(out, participant)
        participant.state = m.ParticipantState.JOINED
        self.announce(out, participant, to_self=False)
        snapshots(out, losers)
        if participant.auto_subscribe_data_tracks:
            shown = [sid for sid, track in self.tracks.items() if not track.publisher.permission.hidden]
            participant.wanted.update(dict.fromkeys(shown))
            subscribe(out, self, participant, shown)
        return participant, out

    def _admit(self, admission: Admission, now_ms: int) -> Participant:
        participant = Participant(
            sid=new_sid("PA_", self.house.random_bytes),
            identity=admission.identity,
            name=admission.name,
            metadata=admission.metadata,
            attributes=dict(admission.attributes),
            kind=admission.kind,
            permission=admission.permission,
            token_expires_at=admission.token_expires_at,
            client_protocol=admission.client_protocol,
            capabilities=admission.capabilities,
            auto_subscribe_data_tracks=admission.auto_subscribe_data_tracks,
            joined_at_ms=now_ms,
            next_handle=self.house.random_bytes(1)[0],
        )
        self.members[participant.identity] = participant
        return participant

    def _replace(self, out: Outbox, old: Participant, *, now_hidden: bool) -> list[Participant]:
        """End the session that a new one of the same identity takes over.

        Others are not told that the old one left: the next update of that identity carries a new SID, unless the new
        session is one they do not see.
        """
        losers = self._withdraw(old)
        gone = old.departed(m.DisconnectReason.DUPLICATE_IDENTITY)
        out.append((old, m.Leave(m.DisconnectReason.DUPLICATE_IDENTITY)))
        if now_hidden and not old.permission.hidden:
            self._broadcast(out, m.ParticipantUpdate((gone,)), besides=old)
        return losers

    def activate(self, participant: Participant) -> Outbox:
        """Its peer connection is up."""
        out: Outbox = []
        if self.contains(participant) and participant.state is not m.ParticipantState.ACTIVE:
            participant.state = m.ParticipantState.ACTIVE
            self.announce(out, participant)
        return out

    def leave(self, participant: Participant, reason: m.DisconnectReason) -> Outbox:
        """It is gone, whatever its session may still do."""
        out: Outbox = []
        if not self.contains(participant):
            return out
        losers = self._withdraw(participant)
        del self.members[participant.identity]
        gone = participant.departed(reason)
        if not participant.permission.hidden:
            self._broadcast(out, m.ParticipantUpdate((gone,)), besides=participant)
            for member in self.members.values():
                if member.missed is not None and len(member.missed) < self.house.limits.participants_per_room:
                    member.missed[gone.sid] = gone
        snapshots(out, losers)
        if not self.members:
            self.house.on_empty(self)
        return out

    def remove(
        self,
        participant: Participant,
        reason: m.DisconnectReason,
        action: m.LeaveAction = m.LeaveAction.DISCONNECT,
    ) -> Outbox:
        """Send it away."""
        if not self.contains(participant):
            return []
        return [(participant, m.Leave(reason, action)), *self.leave(participant, reason)]

    def close(self, reason: m.DisconnectReason) -> Outbox:
        """Send everyone away."""
        members = list(self.members.values())
        end_tracks(self, self.tracks.values())
        self.members.clear()
        self.house.on_empty(self)
        for member in members:
            member.departed(reason)
        return [(member, m.Leave(reason)) for member in members]

    def _withdraw(self, participant: Participant) -> list[Participant]:
        """End all that it publishes and all that it is subscribed to; returns who lost subscriptions by it."""
        losers = end_tracks(self, participant.tracks.values())
        end_subscriptions(participant.subscriptions.values())
        participant.wanted.clear()
        return losers

    # --- the signal connection may go and come back -------------------------------------------------------------------

    def signal_lost(self, participant: Participant) -> None:
        """Nothing reaches it until ``resume``."""
        if participant.missed is None:
            participant.missed = {}

    def resume(self, participant: Participant) -> Outbox:
        """It is back on a new signal connection: all that it may have missed."""
        missed = participant.missed or {}
        participant.missed = None
        present = tuple(p.info() for p in self.members.values() if p is participant or not p.permission.hidden)
        out: Outbox = [
            (participant, m.Reconnected(last_message_seq=participant.last_sequence)),
            (participant, m.ParticipantUpdate((*present, *missed.values()))),
            (participant, m.RoomUpdate(self.info())),
        ]
        self.refresh_token(out, participant)
        snapshots(out, (participant,))
        return out

    # --- what the operator decides ------------------------------------------------------------------------------------

    def update_permission(self, participant: Participant, permission: m.Permission) -> Outbox:
        """Change what it may do, and end what it no longer may."""
        out: Outbox = []
        before, participant.permission = participant.permission, permission
        losers = [] if permission.can_publish_data else end_tracks(self, participant.tracks.values())
        if permission.hidden and not before.hidden:
            gone = replace(participant.info(), state=m.ParticipantState.DISCONNECTED, data_tracks=())
            self._broadcast(out, m.ParticipantUpdate((gone,)), besides=participant)
        self.announce(out, participant)
        self.refresh_token(out, participant)
        snapshots(out, losers)
        if not permission.can_subscribe:
            self._suspend(out, participant)
        else:
            subscribe(out, self, participant, list(participant.wanted))
        return out

    def _suspend(self, out: Outbox, participant: Participant) -> None:
        """End its subscriptions, and keep its wishes for when it may subscribe again."""
        tracks = [subscription.track for subscription in participant.subscriptions.values()]
        end_subscriptions(participant.subscriptions.values())
        for track in tracks:
            refused = m.SubscriptionPermissionUpdate(track.publisher.sid, track.info.sid, allowed=False)
            out.append((participant, refused))
        if tracks:
            snapshots(out, (participant,))

    def unpublish(self, publisher: Participant, track_name: str) -> Outbox:
        """Take a track from its publisher, which learns of it from the update of its own participant alone."""
        out: Outbox = []
        named = [track for track in publisher.tracks.values() if track.info.name == track_name]
        losers = end_tracks(self, named)
        if named:
            self.announce(out, publisher)
            snapshots(out, losers)
        return out

    def update_metadata(self, metadata: str) -> Outbox:
        """Change the room's metadata."""
        self.metadata = metadata
        out: Outbox = []
        self._broadcast(out, m.RoomUpdate(self.info()))
        return out

    def tick(self) -> Outbox:
        """Tell everyone the counters of the room if they changed since the last tick."""
        info = self.info()
        out: Outbox = []
        counters = (info.num_participants, info.num_publishers)
        if counters != self._counters:
            self._counters = counters
            self._broadcast(out, m.RoomUpdate(info))
        return out

    # --- telling ------------------------------------------------------------------------------------------------------

    def announce(self, out: Outbox, about: Participant, *, to_self: bool = True) -> None:
        """Tell the room of a change to ``about``: its next version, to itself first."""
        about.version += 1
        update = m.ParticipantUpdate((about.info(),))
        if to_self:
            out.append((about, update))
        if not about.permission.hidden:
            self._broadcast(out, update, besides=about)

    def _broadcast(self, out: Outbox, message: m.Response, besides: Participant | None = None) -> None:
        out.extend((member, message) for member in self.members.values() if member is not besides)

    def refresh_token(self, out: Outbox, participant: Participant) -> None:
        """Send it a token that says what it may do now."""
        out.append((participant, m.RefreshToken(self.house.mint(self.name, participant))))

"""Who is in the room: participants as the server last described them, and what each update changed.

The server sends whole ``ParticipantInfo``s, merged and sometimes late. The rules that keep the picture right:

- A version lower than the one known for the same SID is stale and ignored; equal versions do occur and count.
- A new SID for a known identity is a new session: the old one left, a new one joined.
- DISCONNECTED for a SID that is not known is somebody who never made it in: ignored.
"""

from __future__ import annotations

__all__ = ["Changed", "Joined", "Left", "Roster", "RosterEvent", "SelfChanged"]

from typing import TYPE_CHECKING, NamedTuple

from .messages import DisconnectReason, ParticipantInfo, ParticipantState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Joined(NamedTuple):
    """A participant appeared."""

    info: ParticipantInfo


class Left(NamedTuple):
    """A participant went. ``info`` is the last that was known of it while it was here."""

    info: ParticipantInfo
    reason: DisconnectReason


class Changed(NamedTuple):
    """Something about a participant changed."""

    old: ParticipantInfo
    new: ParticipantInfo


class SelfChanged(NamedTuple):
    """Something about the local participant changed."""

    old: ParticipantInfo
    new: ParticipantInfo


RosterEvent = Joined | Left | Changed | SelfChanged


class Roster:
    """The participants of one room, the local one apart from the others."""

    def __init__(self, local: ParticipantInfo, others: Iterable[ParticipantInfo] = ()) -> None:
        self.local = local
        self._others: dict[str, ParticipantInfo] = {
            info.identity: info for info in others if info.state != ParticipantState.DISCONNECTED
        }

    def __iter__(self) -> Iterator[ParticipantInfo]:
        return iter(list(self._others.values()))

    def get(self, identity: str) -> ParticipantInfo | None:
        """The remote participant with this identity, if it is here."""
        return self._others.get(identity)

    def apply(self, update: Iterable[ParticipantInfo]) -> list[RosterEvent]:
        """Take in one ``ParticipantUpdate``; say what it changed, in order."""
        events: list[RosterEvent] = []
        for info in update:
            if info.sid == self.local.sid or (not info.sid and info.identity == self.local.identity):
                events += self._apply_local(info)
            elif info.identity != self.local.identity:
                events += self._apply_remote(info)
        return events

    def replace(self, local: ParticipantInfo, others: Iterable[ParticipantInfo]) -> list[RosterEvent]:
        """Take in a complete list (a new session, a room move): whoever is missing from it has left."""
        events: list[RosterEvent] = [SelfChanged(self.local, local)]
        self.local = local
        present = {info.identity: info for info in others if info.state != ParticipantState.DISCONNECTED}
        present.pop(local.identity, None)  # a session of ours that the server is about to end
        gone = [identity for identity in self._others if identity not in present]
        events += [Left(self._others.pop(identity), DisconnectReason.UNKNOWN_REASON) for identity in gone]
        for info in present.values():
            events += self._apply_remote(info)
        return events

    def retain(self, sids: set[str]) -> list[RosterEvent]:
        """After a resume the update is complete: whoever it does not name left while we were away."""
        gone = [info for info in self._others.values() if info.sid not in sids]
        for info in gone:
            del self._others[info.identity]
        return [Left(info, DisconnectReason.UNKNOWN_REASON) for info in gone]

    def _apply_local(self, info: ParticipantInfo) -> list[RosterEvent]:
        old = self.local
        if info.version < old.version or info.state == ParticipantState.DISCONNECTED or info == old:
            return []
        self.local = info
        return [SelfChanged(old, info)]

    def _apply_remote(self, info: ParticipantInfo) -> list[RosterEvent]:
        old = self._others.get(info.identity)
        if info.state == ParticipantState.DISCONNECTED:
            if old is None or old.sid != info.sid:
                return []
            del self._others[info.identity]
            return [Left(old, info.disconnect_reason)]
        if old is not None and old.sid == info.sid:
            if info.version < old.version or info == old:
                return []
            self._others[info.identity] = info
            return [Changed(old, info)]
        self._others[info.identity] = info
        if old is None:
            return [Joined(info)]
        return [Left(old, DisconnectReason.UNKNOWN_REASON), Joined(info)]

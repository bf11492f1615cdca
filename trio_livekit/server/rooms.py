"""Every room of one server: made by the first join, forgotten when the last participant leaves. No I/O happens here."""

from __future__ import annotations

__all__ = ["JoinRefused", "Rooms"]

from typing import TYPE_CHECKING

from ..errors import LiveKitError
from .limits import DEFAULT_LIMITS
from .room import House, Outbox, Room

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.signal.messages import DisconnectReason
    from .._sansio.types import RandomBytes
    from .limits import Limits
    from .participant import Admission, Participant


class JoinRefused(LiveKitError):
    """There is no room for one more: too many rooms, or too many participants in this one."""


class Rooms:
    """Every room of one server, by name."""

    def __init__(
        self, *, random_bytes: RandomBytes, mint: Callable[[str, Participant], str], limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._house = House(random_bytes, mint, limits, self._forget)
        self.by_name: dict[str, Room] = {}

    def check(self, room_name: str, identity: str) -> None:
        """Raise ``JoinRefused`` if a join would be."""
        limits = self._house.limits
        room = self.by_name.get(room_name)
        if room is None:
            if len(self.by_name) >= limits.rooms:
                raise JoinRefused(f"the server has its limit of {limits.rooms} rooms")
        elif identity not in room.members and len(room.members) >= limits.participants_per_room:
            raise JoinRefused(f"the room has its limit of {limits.participants_per_room} participants")

    def join(self, admission: Admission, now_ms: int) -> tuple[Room, Participant, Outbox]:
        """Let someone into a room, which is made if need be. Raises ``JoinRefused``."""
        self.check(admission.room, admission.identity)
        room = self.by_name.get(admission.room)
        if room is None:
            room = self.by_name[admission.room] = Room(admission.room, self._house, now_ms)
        participant, out = room.join(admission, now_ms)
        return room, participant, out

    def find(self, room_name: str, identity: str) -> tuple[Room, Participant] | None:
        """The member of that identity, if there is one."""
        room = self.by_name.get(room_name)
        participant = room.members.get(identity) if room else None
        return (room, participant) if room and participant else None

    def close(self, reason: DisconnectReason) -> Outbox:
        """Send everyone in every room away."""
        return [delivery for room in list(self.by_name.values()) for delivery in room.close(reason)]

    def tick(self) -> Outbox:
        """What is to be said every few seconds."""
        return [delivery for room in self.by_name.values() for delivery in room.tick()]

    def _forget(self, room: Room) -> None:
        if self.by_name.get(room.name) is room:
            del self.by_name[room.name]

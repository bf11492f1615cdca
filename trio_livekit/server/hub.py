"""All members of one server: brings what the rooms decide to the clients that it is for."""

from __future__ import annotations

__all__ = ["Hub"]

from typing import TYPE_CHECKING

import trio

from .._sansio.signal.messages import DisconnectReason, Leave
from .._wire.signal import encode_response
from .forwarding import Forwarder

if TYPE_CHECKING:
    from .limits import Limits
    from .member import Member
    from .participant import Participant
    from .room import Outbox
    from .rooms import Rooms

_TICK_S = 5.0
"""How often the counters of a room are told to its members, as on LiveKit servers."""


class Hub:
    """The rooms of a server, the members behind their participants, and the forwarder between them."""

    def __init__(self, rooms: Rooms, limits: Limits) -> None:
        self.rooms = rooms
        self.limits = limits
        self.forwarder = Forwarder(limits)
        self._members: dict[Participant, Member] = {}
        self._idle = trio.Event()
        self._idle.set()

    def add(self, member: Member) -> None:
        """From now on its participant is reached through ``member``."""
        self._members[member.participant] = member
        self._idle = trio.Event()

    def discard(self, member: Member) -> None:
        """Its session is over."""
        self._members.pop(member.participant, None)
        if not self._members:
            self._idle.set()

    def member(self, participant: Participant) -> Member | None:
        return self._members.get(participant)

    def deliver(self, out: Outbox) -> None:
        """Bring every message to its participant, encoding each message once."""
        encoded = b""
        previous: object = None
        for participant, message in out:
            member = self._members.get(participant)
            if member is None:
                continue
            if message is not previous:
                previous, encoded = message, encode_response(message)
            member.tell(encoded)
            if type(message) is Leave:
                member.end()

    async def tick(self) -> None:
        """Do what is to be done every few seconds, for ever: tell counters, and give up clients that take nothing."""
        while True:
            await trio.sleep(_TICK_S)
            self.deliver(self.rooms.tick())
            now = trio.current_time()
            for participant in self._members:
                if participant.downlink is not None:
                    participant.downlink.check_progress(now)

    async def shut_down(self, timeout_s: float) -> None:
        """Send everyone away, and give them ``timeout_s`` to be gone."""
        self.deliver(self.rooms.close(DisconnectReason.SERVER_SHUTDOWN))
        with trio.move_on_after(timeout_s, shield=True):
            await self._idle.wait()

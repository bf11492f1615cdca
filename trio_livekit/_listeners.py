"""Those who listen to what happens in a room: each reads at its own pace, and none holds up the others."""

from __future__ import annotations

__all__ = ["Listeners", "RoomEvents"]

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from ._session.mailbox import Mailbox
from .events import EventsMissed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import LiveKitError
    from .events import RoomEvent


class RoomEvents(trio.abc.ReceiveChannel["RoomEvent"]):
    """The events of a room since this was opened, in order. Comes from ``room.events()``."""

    def __init__(self, buffer_size: int) -> None:
        self._mailbox: Mailbox[RoomEvent] = Mailbox(buffer_size)
        self._reported = 0

    async def receive(self) -> RoomEvent:
        """The next event. When the buffer overflowed, ``EventsMissed`` comes first.

        Raises ``trio.EndOfChannel`` when the room was left, ``RoomDisconnected`` when it was lost, and
        ``trio.ClosedResourceError`` after ``aclose``.
        """
        if self._mailbox.displaced > self._reported:
            await trio.lowlevel.checkpoint_if_cancelled()
            missed, self._reported = self._mailbox.displaced - self._reported, self._mailbox.displaced
            await trio.lowlevel.cancel_shielded_checkpoint()  # in which another reader finds it told
            return EventsMissed(missed)
        return await self._mailbox.get()

    async def aclose(self) -> None:
        """Stop listening before the block ends."""
        self._reported = self._mailbox.displaced
        self._mailbox.close()
        await trio.lowlevel.checkpoint()


class Listeners:
    """Hands each event to everybody who listens."""

    def __init__(self) -> None:
        self._mailboxes: set[Mailbox[RoomEvent]] = set()

    @contextmanager
    def listen(self, buffer_size: int) -> Iterator[RoomEvents]:
        """Listen for as long as the block lasts."""
        reader = RoomEvents(buffer_size)
        self._mailboxes.add(reader._mailbox)
        try:
            yield reader
        finally:
            self._mailboxes.discard(reader._mailbox)
            reader._mailbox.close()

    def emit(self, event: RoomEvent) -> None:
        """Something happened."""
        for mailbox in self._mailboxes:
            mailbox.put(event)

    def end(self, lost: LiveKitError | None) -> None:
        """Nothing more will happen: the room was lost, or left."""
        for mailbox in self._mailboxes:
            mailbox.end(lost)

"""User packets on their way to the scopes of the application that read them.

Reliable packets that nobody has read yet occupy the receive window, so that a reader that does not keep up holds up the
server and not the memory of this machine. Of lossy packets each reader keeps the newest.
"""

from __future__ import annotations

__all__ = ["PacketReader", "ReaderStatistics", "UserPackets"]

import logging
from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import trio

from .._sansio.neglect import CHECK_S, CROWDED_BYTES, NEGLECTED_S, NOT_READ_S, Neglect
from .._sansio.packets.messages import DataPacket, UserPacket
from .._sansio.records import dataclass
from ..errors import NotRead

if TYPE_CHECKING:
    from collections.abc import Callable

    from .packets import Packets

logger = logging.getLogger(__name__)

T = TypeVar("T")

_EARLY_S = 1.0
"""How long after joining packets are kept for readers that are not there yet."""

_EARLY_BYTES = 256 * 1024
"""How much of them is kept."""

_MAX_UNREAD = 100_000
"""Reliable packets in one reader. No more fit into the window, unless a server sends what no participant can."""


class _Hold:
    """The place in the receive window of a packet that several readers may have."""

    __slots__ = ("_owner", "_readers", "_size")

    def __init__(self, owner: UserPackets, size: int, readers: int) -> None:
        self._owner = owner
        self._size = size
        self._readers = readers

    def release(self) -> None:
        self._readers -= 1
        if not self._readers:
            self._owner.release(self._size)


@dataclass(frozen=True, slots=True)
class ReaderStatistics:
    """Counts of one scope that reads data packets."""

    received: int  # that reached the scope's buffer
    displaced: int  # of those, lossy ones that were dropped from a full buffer in favour of newer ones
    buffered: int  # waiting to be read


class PacketReader(Generic[T]):
    """The packets of one scope, in the order in which they came.

    ``capacity`` bounds the lossy ones. The reliable ones are bounded by the window, and ``patience_s`` is how long they
    may go unread while they hold up the connection. ``name`` is what warnings call them.
    """

    def __init__(
        self,
        capacity: int,
        wants: Callable[[DataPacket], bool],
        convert: Callable[[DataPacket, bool], T],
        *,
        name: str = "data packets",
        patience_s: float = NOT_READ_S,
    ) -> None:
        self._capacity = capacity
        self.wants = wants
        self._convert = convert
        self.name = name
        self.patience_s = patience_s
        self.reads = 0
        """Reliable packets that were read."""
        self._reliable: deque[tuple[int, T, _Hold | None]] = deque()
        self._lossy: deque[tuple[int, T]] = deque()
        self._lot = trio.lowlevel.ParkingLot()
        self._is_closed = self._is_ended = False
        self._error: Exception | None = None
        self._count = self._displaced = 0

    def put(self, packet: DataPacket, hold: _Hold | None, *, reliable: bool) -> None:
        """Add a packet. ``hold`` is released when it has been read, or will not be."""
        if self._is_closed or self._is_ended:
            self._release(hold)
            return
        self._count += 1
        item = self._convert(packet, reliable)
        if reliable:
            if len(self._reliable) >= _MAX_UNREAD:
                self._displaced += 1
                self._release(self._reliable.popleft()[2])
            self._reliable.append((self._count, item, hold))
        else:
            if len(self._lossy) >= self._capacity:
                self._lossy.popleft()
                self._displaced += 1
            self._lossy.append((self._count, item))
        self._lot.unpark()

    def get_nowait(self) -> T:
        """Take the oldest packet. Raises ``trio.WouldBlock``, or what ``get`` raises."""
        reliable, lossy = self._reliable, self._lossy
        if reliable and (not lossy or reliable[0][0] < lossy[0][0]):
            _, item, hold = reliable.popleft()
            self.reads += 1
            self._release(hold)
            return item
        if lossy:
            return lossy.popleft()[1]
        if self._is_ended:
            raise trio.EndOfChannel if self._error is None else copy(self._error)
        if self._is_closed:
            raise trio.ClosedResourceError("this reader was closed")
        raise trio.WouldBlock

    async def get(self) -> T:
        """Take the oldest packet, waiting for one. A cancelled call takes nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_idle():
            while self._is_idle():
                await self._lot.park()
            return self.get_nowait()
        try:
            return self.get_nowait()
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def end(self, error: Exception | None) -> None:
        """Nothing more will come; a reader in another task may learn of it after its block has closed this."""
        if not self._is_ended and not self._is_closed:
            self._is_ended, self._error = True, error
            self._lot.unpark_all()

    @property
    def unread(self) -> int:
        """Reliable packets that wait to be read."""
        return len(self._reliable)

    def give_up(self, error: Exception) -> None:
        """Drop the reliable packets that nobody reads, and end."""
        self._drop_reliable()
        self.end(error)

    def close(self) -> None:
        """Nobody will read any more."""
        self._is_closed = True
        self._drop_reliable()
        self._lossy.clear()
        self._lot.unpark_all()

    def _drop_reliable(self) -> None:
        reliable, self._reliable = self._reliable, deque()
        for _, _, hold in reliable:
            self._release(hold)

    def statistics(self) -> ReaderStatistics:
        return ReaderStatistics(self._count, self._displaced, len(self._reliable) + len(self._lossy))

    @staticmethod
    def _release(hold: _Hold | None) -> None:
        if hold is not None:
            hold.release()

    def _is_idle(self) -> bool:
        return not (self._reliable or self._lossy or self._is_closed or self._is_ended)


class _Reader(Protocol):
    """A ``PacketReader``, whatever it yields."""

    wants: Callable[[DataPacket], bool]
    name: str
    patience_s: float
    reads: int

    @property
    def unread(self) -> int: ...

    def put(self, packet: DataPacket, hold: _Hold | None, *, reliable: bool) -> None: ...

    def end(self, error: Exception | None) -> None: ...

    def give_up(self, error: Exception) -> None: ...

    def close(self) -> None: ...


class UserPackets:
    """The user packets of a session, and who reads them."""

    def __init__(self, packets: Packets, reschedule: Callable[[float | None], None]) -> None:
        self._packets = packets
        self._reschedule = reschedule
        self._readers: list[_Reader] = []
        self._held = 0  # bytes that nobody, or not everybody, has read
        self._check_at: float | None = None  # while that is much
        self._neglect: Neglect[_Reader] = Neglect()
        self._early: list[tuple[DataPacket, bool]] = []
        self._early_bytes = 0
        self._early_until: float | None = None  # not yet known
        self._is_early = True
        packets.incoming.route((UserPacket,), self._take)

    def open(self, reader: _Reader) -> None:
        """Let a reader have what it wants from now on, and, soon after joining, what has come before."""
        self._readers.append(reader)
        if self._check_early():
            for packet, reliable in self._early:
                if reader.wants(packet):
                    reader.put(packet, None, reliable=reliable)

    def close(self, reader: _Reader) -> None:
        """A reader is done."""
        reader.close()
        if reader in self._readers:
            self._readers.remove(reader)

    def on_joined(self) -> None:
        """The room is joined: the application can read from now on."""
        self._early_until = trio.current_time() + _EARLY_S

    def on_over(self, error: Exception | None) -> None:
        """The room was left, or lost with this error."""
        self._early.clear()
        for reader in self._readers:
            reader.end(error)

    def _take(self, packet: DataPacket, size: int) -> bool:
        readers = [reader for reader in self._readers if reader.wants(packet)]
        if self._is_early:
            self._keep(packet, size)
        if not readers:
            return True
        hold = self._hold(size, len(readers)) if size else None
        for reader in readers:
            reader.put(packet, hold, reliable=size > 0)
        return hold is None

    def _hold(self, size: int, readers: int) -> _Hold:
        self._held += size
        if self._held >= CROWDED_BYTES and self._check_at is None:
            self._check_at = trio.current_time() + CHECK_S
            self._reschedule(self._check_at)
        return _Hold(self, size, readers)

    def release(self, size: int) -> None:
        """All who were to have a packet of ``size`` bytes have it, or do not want it any more."""
        self._held -= size
        self._packets.incoming.consume(size)

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        return self._check_at

    def handle_timeout(self, now: float) -> None:
        """While the connection is held up: who is to blame is named, and given up in the end."""
        if self._check_at is None or now < self._check_at:
            return
        told, given_up = self._neglect.check(self._readers, self._held, now)
        for reader in told:
            text = "nobody has read the %s for %g s: %d of them wait, and hold up what the server sends here"
            logger.warning(text, reader.name, NEGLECTED_S, reader.unread)
        for reader in given_up:
            text = f"nobody has read the {reader.name} for {reader.patience_s:g} s, while they held up everything"
            reader.give_up(NotRead(f"{text}: read them in a task that does nothing else", reader.unread))
        self._check_at = now + CHECK_S if self._held >= CROWDED_BYTES else None

    def _keep(self, packet: DataPacket, size: int) -> None:
        assert isinstance(packet.value, UserPacket)
        self._early_bytes += len(packet.value.payload) + 100
        if self._check_early() and self._early_bytes <= _EARLY_BYTES:
            self._early.append((packet, size > 0))

    def _check_early(self) -> bool:
        if self._is_early and self._early_until is not None and trio.current_time() > self._early_until:
            self._is_early = False
            self._early.clear()
        return self._is_early

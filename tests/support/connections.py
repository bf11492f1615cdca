"""Our ``PeerConnection`` for tests: what came out of it, in order, and waiting for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from trio_livekit._sansio.channels import ChannelOpened, MessageReceived
from trio_livekit._sansio.peer import Connected, LocalCandidate
from trio_livekit._transport.peer import PeerConfig, PeerConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Event = TypeVar("Event")

_PATIENCE_S = 40.0
"""A test that waits longer than this, on whichever clock, waits for something that will not happen."""


class Connection:
    """A ``PeerConnection`` and everything it reported."""

    def __init__(self, config: PeerConfig) -> None:
        self.peer = PeerConnection(config, self._on_event)
        self.events: list[Any] = []
        self.messages: list[tuple[int, bytes, bool]] = []
        self.trickle: Connection | None = None
        """Whom our candidates are told to."""
        self._happened = trio.Event()

    def _on_event(self, event: Any) -> None:
        if type(event) is MessageReceived:
            self.messages.append((event.channel_id, event.data, event.text))
        else:
            self.events.append(event)
        if type(event) is LocalCandidate and self.trickle is not None:
            self.trickle.peer.add_remote_candidate(event.line)
        self._happened.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something that is reported makes the condition true; returns its value."""
        while not (value := condition()):
            self._happened = trio.Event()
            await self._happened.wait()
        return value

    async def expect(self, kind: type[Event]) -> Event:
        """The first event of a kind, from the beginning on."""
        [event, *_] = await self.until(lambda: [event for event in self.events if isinstance(event, kind)])
        return event

    def count(self, kind: type) -> int:
        """How often something happened."""
        return sum(isinstance(event, kind) for event in self.events)

    async def connected(self) -> None:
        await self.expect(Connected)

    async def opened(self, label: str) -> int:
        """Wait until a channel is open; returns its id."""
        event = await self.until(
            lambda: next((e for e in self.events if isinstance(e, ChannelOpened) and e.label == label), None)
        )
        return event.channel_id

    def received(self, channel_id: int | None = None) -> list[bytes]:
        return [data for got, data, _ in self.messages if channel_id in (None, got)]

    async def receive(self, count: int, channel_id: int | None = None) -> list[bytes]:
        """Wait until so many messages have come, from the beginning on; returns them all."""
        await self.until(lambda: len(self.received(channel_id)) >= count)
        return self.received(channel_id)


@contextlib.asynccontextmanager
async def running(config: PeerConfig) -> AsyncIterator[Connection]:
    """A peer connection that has gathered and runs, until the block is left."""
    connection = Connection(config)
    try:
        with trio.fail_after(_PATIENCE_S):
            async with trio.open_nursery() as nursery:
                await connection.peer.gather()
                await nursery.start(connection.peer.run)
                yield connection
                connection.peer.close()
    finally:
        connection.peer.close()


def introduce(offerer: Connection, answerer: Connection) -> None:
    """Exchange offer and answer."""
    offerer.trickle, answerer.trickle = answerer, offerer
    offerer.peer.apply_answer(answerer.peer.accept_offer(offerer.peer.create_offer()))


@contextlib.asynccontextmanager
async def two_connections(
    first: PeerConfig, second: PeerConfig, *, wait: bool = True
) -> AsyncIterator[tuple[Connection, Connection]]:
    """Two that know of each other, and unless told otherwise are connected. The first one offers."""
    async with running(first) as a, running(second) as b:
        introduce(a, b)
        if wait:
            await a.connected()
            await b.connected()
        yield a, b

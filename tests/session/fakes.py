"""Stand-ins for what is below the features of a session: links that remember, and a websocket with a script."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import trio

from trio_livekit._session.labels import RELIABLE
from trio_livekit._session.upstream import KeptRequest
from trio_livekit._transport.websocket import WebsocketClosed
from trio_livekit._wire.signal import decode_request, encode_response

if TYPE_CHECKING:
    from trio_livekit._sansio.signal import messages as m


class Upstream:
    """Signalling that takes everything, unless it is ``full``; what it was given is in ``requests``."""

    def __init__(self) -> None:
        self.requests: list[m.Request] = []
        self.full = False

    @property
    def has_room(self) -> bool:
        return not self.full

    def send_request(self, request: m.Request | KeptRequest) -> None:
        self.requests.append(decode_request(request.message) if isinstance(request, KeptRequest) else request)


class TrackLinks:
    """Links as data tracks use them: one channel, which takes messages, and holds as many bytes back as it is told."""

    polite_amount = prompt_amount = 1 << 40

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.buffered = 0  # not acknowledged; and of that
        self.unsent = 0  # stuck here
        self.watching = False
        self.watch_changes: list[bool] = []

    def send(self, _label: str, messages: list[bytes], _now: float) -> None:
        self.sent += messages

    def send_together(self, _label: str, messages: list[bytes], _now: float, *, more: bool) -> None:
        self.sent += messages

    def withdraw(self, _label: str) -> list[bytes]:
        return []

    def buffered_amount(self, _label: str) -> int:
        return self.buffered

    def unsent_amount(self, _label: str) -> int:
        return self.unsent

    def watch_progress(self, _label: str, watch: bool) -> None:
        if watch is not self.watching:
            self.watch_changes.append(watch)
        self.watching = watch


class PacketLinks:
    """Links as packets use them: two channels that take everything, and acknowledge when they are told."""

    def __init__(self) -> None:
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.buffered: dict[str, int] = defaultdict(int)
        self.unsent: dict[str, int] = defaultdict(int)
        self.expired: dict[str, int] = defaultdict(int)
        self.stuck = False  # the network takes nothing
        self.consumed = 0
        self.watching = False
        self.is_draining = False
        self.drained = trio.Event()

    def send(self, label: str, messages: list[bytes], _now: float) -> None:
        self.sent[label] += messages
        self.buffered[label] += sum(map(len, messages))
        if self.stuck:
            self.unsent[label] += sum(map(len, messages))

    def send_until(self, label: str, messages: list[tuple[float, bytes]], now: float) -> None:
        self.send(label, [message for _, message in messages], now)

    def expired_count(self, label: str) -> int:
        return self.expired[label]

    def buffered_amount(self, label: str) -> int:
        return self.buffered[label]

    def unsent_amount(self, label: str) -> int:
        return self.unsent[label]

    async def drain(self) -> None:
        self.is_draining = True
        await self.drained.wait()

    def watch_progress(self, label: str, watch: bool) -> None:
        assert label == RELIABLE
        self.watching = watch

    def consume(self, size: int) -> None:
        self.consumed += size


class FakeWebsocket:
    """What the server says is put in with ``say``; what it is sent is in ``heard``."""

    def __init__(self) -> None:
        self.heard: list[m.Request] = []
        self.closed = False
        self.stuck = False
        self.is_broken = False
        self._say, self._said = trio.open_memory_channel[bytes](1000)

    def say(self, message: m.Response | bytes) -> None:
        self._say.send_nowait(message if isinstance(message, bytes) else encode_response(message))

    def hang_up(self) -> None:
        self._say.close()

    async def receive(self) -> bytes:
        try:
            return await self._said.receive()
        except trio.EndOfChannel:
            raise WebsocketClosed(1006) from None

    async def send(self, message: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.stuck:
            await trio.sleep_forever()
        if self.closed:
            raise WebsocketClosed(1006)
        request = decode_request(message)
        assert request is not None
        self.heard.append(request)

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()

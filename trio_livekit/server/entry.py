"""The front door: one TCP connection, from its first byte to the end of the signal connection it may become."""

from __future__ import annotations

__all__ = ["Entry"]

import time
from typing import TYPE_CHECKING

import trio

from .._sansio.signal.messages import DisconnectReason, Leave, LeaveAction
from .._transport.websocket import WebsocketClosed, accept_websocket
from .._wire.signal import encode_response
from .http import HttpRefusal, read_request, send_text
from .member import Member
from .rooms import JoinRefused
from .signal import SignalConnection

if TYPE_CHECKING:
    from .._transport.websocket import Websocket
    from .admission import Doorkeeper, Visit
    from .http import HttpRequest
    from .hub import Hub
    from .member import PeerSettings

_SIGNAL_PATHS = frozenset({"/rtc", "/rtc/v1"})
_VALIDATE_PATHS = frozenset({"/rtc/validate", "/rtc/v1/validate"})


class Entry:
    """Turns connections into members, which live in the nursery ``members``."""

    def __init__(self, hub: Hub, doorkeeper: Doorkeeper, settings: PeerSettings, members: trio.Nursery) -> None:
        self._hub = hub
        self._doorkeeper = doorkeeper
        self._settings = settings
        self._members = members
        self._pending: dict[trio.CancelScope, None] = {}  # connections that have not said who they are, oldest first

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends. Nothing that a client does comes out of here as an exception."""
        try:
            deadline = trio.current_time() + self._hub.limits.handshake_timeout_s
            visitor: tuple[HttpRequest, Visit] | None = None
            with trio.move_on_at(deadline) as scope:
                self._make_room()
                self._pending[scope] = None
                try:
                    visitor = await self._greet(stream)
                finally:
                    self._pending.pop(scope, None)
            if visitor is not None:
                await self._upgrade(stream, *visitor, deadline)
        finally:
            await trio.aclose_forcefully(stream)

    def _make_room(self) -> None:
        """The oldest has to go, not the newest: who means it is through in milliseconds, even while strangers flood."""
        if len(self._pending) >= self._hub.limits.pending_connections:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.cancel("too many connections have not said who they are")

    async def _greet(self, stream: trio.SocketStream) -> tuple[HttpRequest, Visit] | None:
        """Read the request. What is not to become a signal connection is answered here."""
        try:
            try:
                request = await read_request(stream, self._hub.limits.request_head_bytes)
                if request is None:
                    return None
                if request.path in _SIGNAL_PATHS and request.wants_websocket:
                    visit = self._doorkeeper.admit(request)
                    self._check_space(visit)
                    return request, visit
                await send_text(stream, 200, self._answer(request))
            except HttpRefusal as refusal:
                await send_text(stream, refusal.status, refusal.text)
        except trio.BrokenResourceError:
            pass
        return None

    def _answer(self, request: HttpRequest) -> str:
        """The answer to a plain request. Raises ``HttpRefusal``."""
        if request.path in _VALIDATE_PATHS:
            self._doorkeeper.admit(request)
            return "success"
        if request.path == "/":
            return "OK"
        raise HttpRefusal(404, "" if request.path in _SIGNAL_PATHS else "404 page not found")

    def _check_space(self, visit: Visit) -> None:
        """A full room looks like this on LiveKit servers, which do not say more."""
        try:
            self._hub.rooms.check(visit.admission.room, visit.admission.identity)
        except JoinRefused:
            raise HttpRefusal(500, "connection closed by media") from None

    async def _upgrade(self, stream: trio.abc.Stream, request: HttpRequest, visit: Visit, deadline: float) -> None:
        name = f"server: signal connection of {visit.admission.identity}"
        async with trio.open_nursery() as nursery:
            websocket: Websocket | None = None
            with trio.move_on_at(deadline):
                try:
                    websocket = await accept_websocket(
                        nursery,
                        stream,
                        request.received,
                        name=name,
                        max_message_bytes=self._hub.limits.signal_message_bytes,
                    )
                except WebsocketClosed:
                    return
            if websocket is not None:
                await self._converse(visit, SignalConnection(websocket, self._hub.limits))

    async def _converse(self, visit: Visit, signal: SignalConnection) -> None:
        member = self._resume(visit, signal) if visit.reconnect else self._join(visit, signal)
        if member is None:
            await signal.run(_nothing)
            return
        try:
            if not visit.reconnect:
                await self._members.start(member.run)
            offer = None if visit.reconnect else visit.offer
            await signal.run(lambda: member.converse(signal, offer, visit.answer_after_s))
        finally:
            member.detach(signal)

    def _join(self, visit: Visit, signal: SignalConnection) -> Member | None:
        try:
            room, participant, out = self._hub.rooms.join(visit.admission, time.time_ns() // 1_000_000)
        except JoinRefused:  # somebody else took the last place while the websocket was opening
            _refuse(signal, Leave(DisconnectReason.JOIN_FAILURE))
            return None
        member = Member(self._hub, room, participant, self._settings, two_peers=visit.admission.two_peers)
        member.attach(signal)
        self._hub.deliver(out)
        return member

    def _resume(self, visit: Visit, signal: SignalConnection) -> Member | None:
        found = self._hub.rooms.find(visit.admission.room, visit.admission.identity)
        member = self._hub.member(found[1]) if found else None
        if found is None or member is None:
            _refuse(signal, Leave(DisconnectReason.STATE_MISMATCH, LeaveAction.RECONNECT))
            return None
        room, participant = found
        sabotage = member.sabotage()
        member.attach(signal)
        if sabotage is None or sabotage.with_words:
            self._hub.deliver(room.resume(participant))
        if sabotage is not None:
            signal.end()
        return member


def _refuse(signal: SignalConnection, leave: Leave) -> None:
    signal.send(encode_response(leave))
    signal.end()


async def _nothing() -> None:
    """There is nothing to be read from a client that is sent away."""
    await trio.sleep_forever()

"""What this participant changes about itself: name, metadata and attributes, and who may have its tracks.

A change is asked for under a number that the answer repeats. A request whose answer was lost with its connection is
made again: the server ends up with the same in any case. Who may have the tracks is not answered at all; it is said
again whenever the server may not have heard it, and whenever a track that it names gets another SID.
"""

from __future__ import annotations

__all__ = ["TrackSubscriptionPermission", "Updating"]

import math
from copy import copy
from typing import TYPE_CHECKING

import trio

from .._sansio.records import dataclass
from .._sansio.signal import messages as m
from ..errors import UpdateError, UpdateErrorReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ANSWER_TIMEOUT_S = 5.0
"""How long the server may take to answer, as in LiveKit's own SDKs. Time without a connection does not count."""

_MAX_REQUESTS = 32
"""Changes asked for at the same time; others wait. The server hangs up on a client that has about 200 in flight."""

_REASONS = {
    m.RequestReason.NOT_ALLOWED: UpdateErrorReason.NOT_ALLOWED,
    m.RequestReason.LIMIT_EXCEEDED: UpdateErrorReason.LIMIT_EXCEEDED,
}

_TEXTS = {
    UpdateErrorReason.NOT_ALLOWED: "the token lacks the grant can_update_own_metadata",
    UpdateErrorReason.LIMIT_EXCEEDED: "more than the server takes",
}


@dataclass(frozen=True, slots=True)
class TrackSubscriptionPermission:
    """Lets one participant subscribe to tracks of ours.

    Attributes:
        identity: whom.
        tracks: the names of the data tracks, of which some may not be published yet; ``None`` for all.
    """

    identity: str
    tracks: tuple[str, ...] | None = None


class _Pending:
    """One request that waits for its answer."""

    __slots__ = ("answered", "error", "patience", "request")

    def __init__(self, request: m.UpdateMetadata) -> None:
        self.request = request
        self.patience = trio.CancelScope()
        self.answered = trio.Event()
        self.error: Exception | None = None

    def settle(self, error: Exception | None = None) -> None:
        if not self.answered.is_set():
            self.error = error
            self.answered.set()


class Updating:
    """The local participant's requests about itself. ``published()`` are its data tracks that are up."""

    def __init__(
        self, send_request: Callable[[m.Request], None], published: Callable[[], Iterable[m.DataTrackInfo]]
    ) -> None:
        self._send_request = send_request
        self._published = published
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._places = trio.Semaphore(_MAX_REQUESTS)
        self._is_heard = True
        self._permissions: tuple[TrackSubscriptionPermission, ...] | None = None
        self._has_said_permissions = False
        self._end: Exception | None = None

    # --- name, metadata, attributes -----------------------------------------------------------------------------------

    async def update(self, *, name: str = "", metadata: str = "", attributes: dict[str, str] | None = None) -> None:
        """Ask for a change, and wait until it is made; what is empty stays, an attribute that is empty goes.

        Raises ``UpdateError``, or what ended the session. When this is cancelled, the change may be made or not.
        """
        async with self._places:
            self._check_open()
            self._last_id += 1
            request = m.UpdateMetadata(self._last_id, name, metadata, attributes or {})
            pending = self._pending[request.request_id] = _Pending(request)
            if self._is_heard:
                self._ask(pending)
            try:
                await self._wait_for_answer(pending)
            finally:
                del self._pending[request.request_id]
        if pending.error is not None:
            raise pending.error

    def _ask(self, pending: _Pending) -> None:
        pending.patience.deadline = trio.current_time() + _ANSWER_TIMEOUT_S
        self._send_request(pending.request)

    async def _wait_for_answer(self, pending: _Pending) -> None:
        with pending.patience:
            await pending.answered.wait()
        if not pending.answered.is_set():
            text = f"the server did not answer within {_ANSWER_TIMEOUT_S:g} s"
            pending.settle(UpdateError(UpdateErrorReason.TIMEOUT, text))

    def on_response(self, response: m.RequestResponse) -> None:
        """What the server made of a request."""
        pending = self._pending.get(response.request_id)
        if pending is None:
            return
        if response.reason is m.RequestReason.OK:
            pending.settle()
            return
        reason = _REASONS.get(response.reason, UpdateErrorReason.UNKNOWN)
        text = _TEXTS.get(reason) or f"the server refused ({response.reason.name})"
        if response.message:
            text += f": {response.message}"
        code = int(response.reason)
        pending.settle(UpdateError(reason, text, code=code, server_message=response.message))

    # --- who may subscribe --------------------------------------------------------------------------------------------

    def permit(self, permissions: tuple[TrackSubscriptionPermission, ...] | None) -> None:
        """Who may subscribe to our tracks from now on: those named, or everyone."""
        self._check_open()
        self._permissions = permissions
        self._has_said_permissions = True
        self._say_permissions()

    def on_track_published(self, name: str) -> None:
        """A track of ours is up, under a SID that is new."""
        if self._permissions is not None and any(name in (p.tracks or ()) for p in self._permissions):
            self._say_permissions()

    def _say_permissions(self) -> None:
        if self._is_heard and self._has_said_permissions:
            sids = {info.name: info.sid for info in self._published()}
            self._send_request(
                m.SubscriptionPermission(
                    self._permissions is None, tuple(_resolved(p, sids) for p in self._permissions or ())
                )
            )

    # --- the connection comes and goes --------------------------------------------------------------------------------

    def on_signal_lost(self) -> None:
        """Nobody hears our requests, for now."""
        self._is_heard = False
        for pending in self._pending.values():
            pending.patience.deadline = math.inf

    def on_connected(self) -> None:
        """Our requests are heard again, by a server that may have heard none of those before."""
        self._is_heard = True
        self._say_permissions()
        for pending in self._pending.values():
            if not pending.answered.is_set():
                self._ask(pending)

    def close(self, end: Exception | None = None) -> None:
        """The session is over: ``end`` says why, if it was not left."""
        if self._end is None:
            self._end = end or trio.ClosedResourceError("the room was left")
            for pending in self._pending.values():
                pending.settle(copy(self._end))

    def _check_open(self) -> None:
        if self._end is not None:
            raise copy(self._end)


def _resolved(permission: TrackSubscriptionPermission, sids: dict[str, str]) -> m.TrackPermission:
    names = permission.tracks
    track_sids = tuple(sids[name] for name in names or () if name in sids)
    return m.TrackPermission(participant_identity=permission.identity, all_tracks=names is None, track_sids=track_sids)

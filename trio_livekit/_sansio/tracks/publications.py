"""Our own data tracks: what has been asked of the server, what it granted, and what it took away.

A publication goes ``PENDING -> PUBLISHED <-> REPUBLISHING`` and ends in ``LEAVING``, which lasts until the server has
confirmed. Requests carry no number: answers are matched by the handle that we chose. The caller of ``publish`` may lose
interest at any moment; what it has set in motion is then undone on the server.

Commands are signalling requests, ready to be sent in the order in which they are polled.
"""

from __future__ import annotations

__all__ = ["PublicationEvent", "Publications", "Published", "Refused", "Republishing", "Unpublished"]

import enum
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ...errors import PublishError, PublishErrorReason
from ..signal.messages import DataTrackInfo, EncryptionType, PublishDataTrack, RequestReason, UnpublishDataTrack
from .packet import MAX_HANDLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..signal.messages import DataTrackSchema, FrameEncoding

REQUEST_TIMEOUT_S = 10.0
"""How long a request may go unanswered: the other SDKs' figure."""

MAX_IN_FLIGHT = 32
"""Requests without an answer. A server closes the signal connection when some 200 messages pile up in it."""

_REASONS = {
    RequestReason.NOT_ALLOWED: PublishErrorReason.NOT_ALLOWED,
    RequestReason.DUPLICATE_NAME: PublishErrorReason.DUPLICATE_NAME,
    RequestReason.INVALID_NAME: PublishErrorReason.INVALID_NAME,
    RequestReason.LIMIT_EXCEEDED: PublishErrorReason.LIMIT_REACHED,
}


class Published(NamedTuple):
    """The track is up, for the first time or again: frames may be sent."""

    handle: int
    sid: str
    name: str


class Republishing(NamedTuple):
    """A published track has to be published again in a new session; until then its frames go nowhere."""

    handle: int


class Refused(NamedTuple):
    """The track is not, or no longer, published: the server said no, or nothing at all, or the session is over."""

    handle: int
    reason: PublishErrorReason
    code: int | None = None  # the server's RequestResponse.Reason
    message: str = ""  # the server's words


class Unpublished(NamedTuple):
    """A track that was published is gone."""

    handle: int
    by_server: bool


PublicationEvent = Published | Republishing | Refused | Unpublished


class _State(enum.Enum):
    PENDING = enum.auto()
    PUBLISHED = enum.auto()
    REPUBLISHING = enum.auto()
    LEAVING = enum.auto()


_REQUESTING = (_State.PENDING, _State.REPUBLISHING)


class _Publication:
    __slots__ = ("asked_again", "deadline", "handle", "listed_sid", "queued", "request", "sid", "state")

    def __init__(self, request: PublishDataTrack, state: _State) -> None:
        self.handle = request.pub_handle
        self.request = request
        self.state = state
        self.sid = ""
        self.queued = False  # whether the request that belongs to the state has yet to be polled
        self.asked_again = False  # whether it may have been answered on a connection that is gone
        self.deadline: float | None = None
        self.listed_sid = ""  # the SID under which the server last named it among our tracks


class Publications:
    """The local participant's data tracks."""

    def __init__(self, *, request_timeout_s: float = REQUEST_TIMEOUT_S, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self._request_timeout_s = request_timeout_s
        self._max_in_flight = max_in_flight
        self._publications: dict[int, _Publication] = {}
        self._queue: deque[_Publication] = deque()  # those whose request is to be sent
        self._events: list[PublicationEvent] = []
        self._last_handle = 0

    # --- what the application wants ---------------------------------------------------------------------------------

    def publish(
        self,
        name: str,
        encryption: EncryptionType = EncryptionType.NONE,
        frame_encoding: FrameEncoding | str | None = None,
        schema: DataTrackSchema | None = None,
    ) -> int:
        """Ask for a track; returns its handle. ``Published`` or ``Refused`` follows, unless it is unpublished first.

        Raises:
            PublishError: every handle is taken (``PublishErrorReason.LIMIT_REACHED``).
        """
        request = PublishDataTrack(self._next_handle(), name, encryption, frame_encoding, schema)
        publication = _Publication(request, _State.PENDING)
        self._publications[publication.handle] = publication
        self._enqueue(publication)
        return publication.handle

    def unpublish(self, handle: int) -> None:
        """Give a track up, also one that was asked for and is not granted yet. Quiet if there is nothing to give up."""
        publication = self._publications.get(handle)
        if publication is None or publication.state is _State.LEAVING:
            return
        if publication.state is not _State.PENDING:
            self._events.append(Unpublished(handle, by_server=False))
        if publication.state in _REQUESTING and publication.queued and not publication.asked_again:
            self._forget(publication)  # this session's server has never heard of it
        else:
            self._leave(publication)

    def knows(self, handle: int) -> bool:
        """Whether a track is published, or about to be, or about to be gone."""
        return handle in self._publications

    def published(self) -> list[DataTrackInfo]:
        """The tracks that are up, as a resumed session has to name them."""
        return [
            DataTrackInfo(
                p.handle, p.sid, p.request.name, p.request.encryption, p.request.frame_encoding, p.request.schema
            )
            for p in self._publications.values()
            if p.state is _State.PUBLISHED
        ]

    # --- what the server says ---------------------------------------------------------------------------------------

    def on_published(self, info: DataTrackInfo) -> None:
        """A request was granted."""
        publication = self._publications.get(info.pub_handle)
        if publication is None:
            self._undo(info.pub_handle)
        elif publication.state in _REQUESTING:
            self._establish(publication, info.sid)
        # PUBLISHED: told twice. LEAVING: the request to undo it is behind the one that was granted.

    def on_refused(self, handle: int, reason: RequestReason, message: str) -> None:
        """A request to publish was answered otherwise."""
        publication = self._publications.get(handle)
        if publication is None or publication.state not in _REQUESTING:
            return
        if reason in (RequestReason.OK, RequestReason.QUEUED):
            return  # not an answer yet
        if publication.asked_again and reason is RequestReason.DUPLICATE_HANDLE:
            return  # the first request had arrived after all; the list of our tracks will say so
        self._forget(publication)
        self._events.append(Refused(handle, _REASONS.get(reason, PublishErrorReason.UNKNOWN), int(reason), message))

    def on_unpublished(self, info: DataTrackInfo) -> None:
        """A track was unpublished, at our request or not."""
        publication = self._publications.get(info.pub_handle)
        if publication is None:
            return
        if publication.state is _State.PUBLISHED:
            self._forget(publication)
            self._events.append(Unpublished(info.pub_handle, by_server=True))
        elif publication.state is _State.LEAVING:
            self._forget(publication)

    def on_unpublish_refused(self, handle: int) -> None:
        """A request to unpublish was answered otherwise; that is NOT_FOUND, so what was wanted is so."""
        publication = self._publications.get(handle)
        if publication is not None and publication.state is _State.LEAVING:
            self._forget(publication)

    def on_own_tracks(self, tracks: Iterable[DataTrackInfo]) -> None:
        """Our tracks as a participant update lists them: the only sign there is when the server takes one away.

        The list may be older than the grant of a track, so a track counts as removed only once it has been listed.
        """
        listed = {info.pub_handle: info.sid for info in tracks}
        for publication in list(self._publications.values()):
            sid = listed.get(publication.handle)
            if publication.state is _State.PUBLISHED and publication.listed_sid == publication.sid != sid:
                self._forget(publication)
                self._events.append(Unpublished(publication.handle, by_server=True))
            elif sid is not None:
                publication.listed_sid = sid
                if publication.asked_again and publication.state in _REQUESTING and sid != publication.sid:
                    self._establish(publication, sid)

    # --- what happens to the session --------------------------------------------------------------------------------

    def on_signal_lost(self) -> None:
        """The signal connection is gone, for now: no deadline runs while nobody could answer."""
        for publication in self._publications.values():
            publication.deadline = None

    def on_resumed(self, tracks: Iterable[DataTrackInfo]) -> None:
        """The session goes on over another signal connection, and ``tracks`` are all that the server has of us.

        Whatever was under way is settled by that list: requests that got lost are repeated.
        """
        listed = {info.pub_handle: info.sid for info in tracks}
        for publication in list(self._publications.values()):
            handle = publication.handle
            sid = listed.pop(handle, None)
            publication.listed_sid = sid or ""
            if publication.state is not _State.PUBLISHED:
                self._settle(publication, sid)
            elif sid != publication.sid:
                self._forget(publication)
                self._events.append(Unpublished(handle, by_server=True))
        for handle in listed:
            self._undo(handle)

    def on_new_session(self) -> None:
        """A new session takes the place of the old one: everything is asked for again, under the same handles."""
        for publication in list(self._publications.values()):
            if publication.state is _State.LEAVING:
                self._forget(publication)
                continue
            if publication.state is _State.PUBLISHED:
                publication.state = _State.REPUBLISHING
                self._events.append(Republishing(publication.handle))
            self._enqueue(publication)
            publication.asked_again = False

    def on_disconnected(self) -> None:
        """The session is over for good."""
        for publication in self._publications.values():
            if publication.state is _State.PENDING:
                self._events.append(Refused(publication.handle, PublishErrorReason.DISCONNECTED))
            elif publication.state is not _State.LEAVING:
                self._events.append(Unpublished(publication.handle, by_server=False))
        self._publications.clear()
        self._queue.clear()

    # --- the doors of a core ----------------------------------------------------------------------------------------

    def poll_commands(self, now: float) -> list[PublishDataTrack | UnpublishDataTrack]:
        """The requests to send now. Poll only while there is a signal connection to send them on."""
        commands: list[PublishDataTrack | UnpublishDataTrack] = []
        if not self._queue:
            return commands
        in_flight = sum(publication.deadline is not None for publication in self._publications.values())
        while self._queue and in_flight < self._max_in_flight:
            publication = self._queue.popleft()
            publication.queued = False
            publication.deadline = now + self._request_timeout_s
            in_flight += 1
            if publication.state is _State.LEAVING:
                commands.append(UnpublishDataTrack(publication.handle))
            else:
                commands.append(publication.request)
        return commands

    def poll_events(self) -> list[PublicationEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def next_timeout(self) -> float | None:
        """When the first unanswered request runs out of time."""
        return min((p.deadline for p in self._publications.values() if p.deadline is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Give up requests whose time has run out."""
        for publication in list(self._publications.values()):
            if publication.deadline is None or publication.deadline > now:
                continue
            if publication.state is _State.LEAVING:
                self._forget(publication)
            else:
                self._events.append(Refused(publication.handle, PublishErrorReason.TIMEOUT))
                self._leave(publication)

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _next_handle(self) -> int:
        """The handle after the last one. They are not used again until all others have been."""
        if len(self._publications) >= MAX_HANDLE:
            raise PublishError(PublishErrorReason.LIMIT_REACHED, "every track handle is in use")
        handle = self._last_handle % MAX_HANDLE + 1
        while handle in self._publications:
            handle = handle % MAX_HANDLE + 1
        self._last_handle = handle
        return handle

    def _establish(self, publication: _Publication, sid: str) -> None:
        self._dequeue(publication)
        publication.state = _State.PUBLISHED
        publication.sid = sid
        publication.asked_again = False
        self._events.append(Published(publication.handle, sid, publication.request.name))

    def _settle(self, publication: _Publication, sid: str | None) -> None:
        """A request may have gone down with its connection; ``sid`` is what the server has for its handle now."""
        if publication.state is _State.LEAVING:
            if sid is None:
                self._forget(publication)
            else:
                self._enqueue(publication)
        elif sid is not None and sid != publication.sid:
            self._establish(publication, sid)
        else:
            publication.asked_again = publication.asked_again or not publication.queued
            self._enqueue(publication)

    def _leave(self, publication: _Publication) -> None:
        publication.state = _State.LEAVING
        self._enqueue(publication)

    def _undo(self, handle: int) -> None:
        """The server has a track that nobody here wants."""
        publication = _Publication(PublishDataTrack(handle, ""), _State.LEAVING)
        self._publications[handle] = publication
        self._enqueue(publication)

    def _enqueue(self, publication: _Publication) -> None:
        publication.deadline = None
        if not publication.queued:
            publication.queued = True
            self._queue.append(publication)

    def _dequeue(self, publication: _Publication) -> None:
        publication.deadline = None
        if publication.queued:
            publication.queued = False
            self._queue.remove(publication)

    def _forget(self, publication: _Publication) -> None:
        del self._publications[publication.handle]
        self._dequeue(publication)

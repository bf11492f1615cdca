"""Publishing data tracks: the feature that owns our publications, and the packets they send.

The state machine is ``_sansio.tracks.publications``, the order and pace of packets is ``_sansio.tracks.send_queue``.
Here they meet signalling, the data channel and the blocks of the application.
"""

from __future__ import annotations

__all__ = ["Publication", "PublicationStatistics", "Publishing"]

import math
import operator
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from .._sansio.records import dataclass
from .._sansio.signal import messages as m
from .._sansio.signal.messages import EncryptionType
from .._sansio.tracks.clock import MediaClock
from .._sansio.tracks.packetizer import MTU, SMALL_PACKET, Packetizer, fitting_packet_size
from .._sansio.tracks.publications import Publications, Published, Refused, Republishing, Unpublished
from .._sansio.tracks.send_queue import PROMISED, SendQueue
from ..errors import MissingKey, PublishError, PublishErrorReason, PushError, PushErrorReason
from .labels import DATA_TRACK
from .stats import Retired
from .upstream import KeptRequest, keep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .links import Links
    from .sealing import Sealing
    from .upstream import Upstream

_FLUSH_TIMEOUT_S = 1.0
"""How long a block that ends normally goes on sending what was accepted."""

_UNPUBLISH_TIMEOUT_S = 1.0
"""How long leaving a block waits for the server to confirm. The request is on its way by then in any case."""

_LOOK_S = 0.05
"""How often it is looked how much the network takes."""

_MAX_USER_TIMESTAMP = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class PublicationStatistics:
    """Counts of one published track. ``frames_pushed`` is the sum of the four that follow it."""

    frames_pushed: int
    frames_sent: int
    frames_queued: int
    frames_refused: int  # try_push raised: the queue was full, or the frame was not acceptable
    frames_dropped: int  # accepted, and then dropped: newer ones came, the track ended, or the session was reconnecting
    payload_bytes_accepted: int


_REFUSALS = {
    PublishErrorReason.NOT_ALLOWED: "the token or the room does not allow publishing data",
    PublishErrorReason.DUPLICATE_NAME: "this participant already publishes a data track of that name",
    PublishErrorReason.INVALID_NAME: "a track's name is 1 to 256 bytes of UTF-8",
    PublishErrorReason.LIMIT_REACHED: "the server allows no more data tracks",
    PublishErrorReason.TIMEOUT: "the server did not answer; does it support data tracks (LiveKit 1.11 and later)?",
    PublishErrorReason.DISCONNECTED: "the room was lost",
}


def _check_timestamp(user_timestamp: int) -> None:
    try:
        number = operator.index(user_timestamp)
    except TypeError:
        kind = type(user_timestamp).__name__
        raise TypeError(f"a user timestamp is an int, as now_ms() makes it, not {kind}") from None
    if not 0 <= number <= _MAX_USER_TIMESTAMP:
        raise ValueError(f"a user timestamp is 0 to 2**64 - 1, not {number}")


class Publication:
    """One track of ours, from the request to the end of its block.

    Raises ``ValueError`` or ``TypeError`` for a request that cannot be encoded.
    """

    def __init__(self, owner: Publishing, request: m.PublishDataTrack, sealing: Sealing | None) -> None:
        self._owner = owner
        self._sealing = sealing
        self.request = request
        self.kept_request = keep(request)
        self.handle = request.pub_handle
        self.name = request.name
        self.sid = ""
        self.is_up = False  # the server has it, as far as anybody knows
        self.is_flushing = False  # its block has ended, and what was accepted in it is still being sent
        self.error: PublishError | None = None
        self.settled = trio.Event()
        """The request was answered."""
        self.gone = trio.Event()
        """The server has confirmed that the track is unpublished, or there is nothing to confirm."""
        self.scope = trio.CancelScope()
        self._packetizer = Packetizer(self.handle, MediaClock(secrets.randbits(32), trio.current_time()))
        self.use_packet_size = self._packetizer.use_packet_size
        self.packetize: Callable[[bytes, float, int | None], list[bytes]]
        """The packets of a frame, encrypted if the track is. Raises ``PushError``."""
        self.packetize = self._packetizer.packetize if sealing is None else self._packetize_sealed
        self._left = False
        self.pushed = self.refused = self.dropped = self.bytes_accepted = 0

    @property
    def is_published(self) -> bool:
        """Whether the track has neither ended nor been given up; while it is published again, it is as well."""
        return self.error is None and not self._left

    def push(self, payload: bytes, user_timestamp: int | None, *, counted: bool = True) -> None:
        """Send or queue one frame.

        ``counted=False`` leaves a refusal uncounted where trying again makes sense; once accepted, such a frame is
        sent, however long that takes.
        """
        if user_timestamp is not None:
            _check_timestamp(user_timestamp)
        try:
            if self.is_up:
                self._owner.push(self, payload, user_timestamp, counted)
            else:
                self._push_nowhere()
        except PushError as error:
            if counted or error.reason not in (PushErrorReason.QUEUE_FULL, PushErrorReason.NOT_CONNECTED):
                self.pushed += 1
                self.refused += 1
            raise
        self.pushed += 1
        self.bytes_accepted += len(payload)

    def _push_nowhere(self) -> None:
        """The server does not have the track, or not any more."""
        if self._left:
            raise PushError(PushErrorReason.UNPUBLISHED, f"the track {self.name!r} is not published any more")
        if self.error is None:
            raise PushError(PushErrorReason.NOT_CONNECTED, "the session is reconnecting")
        self.dropped += 1  # the block is being cancelled, and its error is to be the one that is seen

    def _packetize_sealed(self, payload: bytes, now: float, user_timestamp: int | None) -> list[bytes]:
        """The packets of a frame, encrypted. Raises ``PushError``."""
        assert self._sealing is not None
        if not payload:
            raise PushError(PushErrorReason.EMPTY, "an empty frame is never delivered")
        try:
            sealed, encryption = self._sealing.seal(payload)
        except MissingKey as error:
            raise PushError(PushErrorReason.NO_KEY, str(error)) from None
        return self._packetizer.packetize(sealed, now, user_timestamp, encryption)

    async def wait_for_room(self) -> None:
        """Wait until a push is worth trying again."""
        await self._owner.wait_progress()

    async def wait_flushed(self) -> None:
        """Wait until every accepted frame has left."""
        queued = self._owner.queued
        accepted = self.pushed - self.refused
        while self.is_up and self.pushed - self.refused - queued(self) < accepted:
            await self._owner.wait_progress()
        if self.is_up:
            await self._owner.wait_handed_over()

    async def unpublish(self) -> None:
        """Give the track up and wait, for a short time, for the server to confirm it. Quiet if repeated."""
        if not self._left:
            self._left = True
            self._owner.unpublish(self)
        with trio.move_on_after(_UNPUBLISH_TIMEOUT_S):
            await self.gone.wait()

    def statistics(self) -> PublicationStatistics:
        queued = self._owner.queued(self)
        return PublicationStatistics(
            frames_pushed=self.pushed,
            frames_sent=self.pushed - queued - self.refused - self.dropped,
            frames_queued=queued,
            frames_refused=self.refused,
            frames_dropped=self.dropped,
            payload_bytes_accepted=self.bytes_accepted,
        )


class Publishing:
    """The local participant's data tracks."""

    def __init__(
        self,
        upstream: Upstream,
        links: Links,
        reschedule: Callable[[float | None], None],
        sealing: Sealing | None = None,
    ) -> None:
        self._upstream = upstream
        self._links: Links | None = links
        self._reschedule = reschedule
        self._sealing = sealing
        self._core = Publications()
        self._queue = SendQueue()
        self._publications: dict[int, Publication] = {}
        self._retired: Retired[str, PublicationStatistics] = Retired()
        self._progress = trio.lowlevel.ParkingLot()
        self._beat = trio.CancelScope()
        self._closed = False
        self.is_heard = True
        """There is a signal connection to send requests on."""
        self._packet_size = MTU
        self._look_at = -math.inf
        self._watchers = 0  # tasks that wait for the channel to be empty

    # --- the blocks of the application --------------------------------------------------------------------------------

    @asynccontextmanager
    async def publish(
        self, name: str, frame_encoding: m.FrameEncoding | str | None = None, schema: m.DataTrackSchema | None = None
    ) -> AsyncIterator[Publication]:
        """Publish for as long as the block lasts; see ``Room.publish_data_track``."""
        await trio.lowlevel.checkpoint()
        while any(other.name == name and other.is_flushing for other in self._publications.values()):
            await self.wait_progress()  # a block that has ended gives the name back within a second
        if self._closed:
            raise PublishError(PublishErrorReason.DISCONNECTED, _REFUSALS[PublishErrorReason.DISCONNECTED])
        encryption = EncryptionType.NONE if self._sealing is None else EncryptionType.GCM
        handle = self._core.publish(name, encryption, frame_encoding, schema)
        request = m.PublishDataTrack(handle, name, encryption, frame_encoding, schema)
        try:
            publication = self._publications[handle] = Publication(self, request, self._sealing)
        except (ValueError, TypeError):
            self._core.unpublish(handle)
            raise
        clean = False
        try:
            self._pump()
            await publication.settled.wait()
            if publication.error is not None:
                raise publication.error
            with publication.scope:
                yield publication
                clean = True
        finally:
            with trio.CancelScope(shield=True):
                if clean:
                    publication.is_flushing = True
                    with trio.move_on_after(_FLUSH_TIMEOUT_S):
                        await publication.wait_flushed()
                    publication.is_flushing = False
                await publication.unpublish()
            del self._publications[handle]
            if publication.pushed:
                self._retired.add(publication.name, publication.statistics())
        if publication.scope.cancelled_caught:
            assert publication.error is not None
            raise publication.error

    def push(self, publication: Publication, payload: bytes, user_timestamp: int | None, may_age: bool) -> None:
        """Packetize a frame and send or queue its packets. If it ``may_age``, newer ones may come to take its place.

        Raises ``PushError``.
        """
        links, queue, handle = self._links, self._queue, publication.handle
        if links is None:
            self._drop_offline(publication, may_age)
            return
        now = trio.current_time()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._packet_size = fitting_packet_size(links.polite_amount)
            is_held_up = links.unsent_amount(DATA_TRACK) > 0
            queue.follow(0 if is_held_up else links.prompt_amount)  # then it is looked at more closely, below
        passes = queue.passes(links.unsent_amount(DATA_TRACK))
        if not passes and not queue.make_room(handle, now):
            text = f"{publication.name!r} has its fill of frames waiting to be sent"
            raise PushError(PushErrorReason.QUEUE_FULL, text)
        if len(payload) > SMALL_PACKET:
            publication.use_packet_size(self._packet_size)
        packets = publication.packetize(payload, now, user_timestamp)
        if passes and len(packets) == 1:
            queue.handed_bytes += len(packets[0])
            links.send(DATA_TRACK, packets, now)
            if not may_age:
                queue.promised_bytes = queue.handed_bytes
        else:
            queue.push(handle, packets, now if may_age else PROMISED)
            self._take_back(links, handle, now)
            self._send(now)

    def _drop_offline(self, publication: Publication, may_age: bool) -> None:
        """The peer connection is lost: a frame that may age is dropped, if there is hope for the ones after it."""
        if not may_age or not self.is_heard:
            raise PushError(PushErrorReason.NOT_CONNECTED, "the peer connection is lost")
        publication.dropped += 1

    def _take_back(self, links: Links, handle: int, now: float) -> None:
        """What the channel was given, and has not begun, makes room for what is newer, if it is too old by now."""
        queue, unsent = self._queue, links.unsent_amount(DATA_TRACK)
        if unsent and queue.wants_back(handle, unsent, now):
            again = queue.take_back(links.withdraw(DATA_TRACK))
            if again:
                queue.handed_bytes += sum(map(len, again))
                links.send_together(DATA_TRACK, again, now, more=queue.is_midway)

    def unpublish(self, publication: Publication) -> None:
        """Tell the server, and drop what is still queued."""
        publication.is_up = False
        self._count_outdated()
        publication.dropped += self._queue.drop(publication.handle)
        self._core.unpublish(publication.handle)
        if not self._core.knows(publication.handle):
            publication.gone.set()  # refused, never asked for, or ended by the server: there is nothing to confirm
        self._pump()

    def queued(self, publication: Publication) -> int:
        """Frames of a track that wait to be handed to the channel."""
        return self._queue.queued(publication.handle)

    async def wait_handed_over(self) -> None:
        """Wait until what the channel has been given so far has left it."""
        mark = self._queue.handed_bytes
        links = self._links
        self._watchers += 1
        try:
            # What was handed to a connection that is lost now has left, or never will.
            while not self._closed and links is not None and links is self._links:
                if self._queue.handed_bytes - links.buffered_amount(DATA_TRACK) >= mark:
                    break
                links.watch_progress(DATA_TRACK, True)
                await self.wait_progress()
        finally:
            self._watchers -= 1

    async def wait_progress(self) -> None:
        """Wait until something has been sent, or has changed."""
        await self._progress.park()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def on_response(self, response: m.DataTrackPublished | m.DataTrackUnpublished | m.RequestResponse) -> None:
        """What the server answered to a request of ours."""
        gone: int | None = None
        match response:
            case m.DataTrackPublished(info):
                self._core.on_published(info)
            case m.DataTrackUnpublished(info):
                self._core.on_unpublished(info)
                gone = info.pub_handle
            case m.RequestResponse(_, reason, message, publish_handle, unpublish_handle):
                if publish_handle is not None:
                    self._core.on_refused(publish_handle, reason, message)
                elif unpublish_handle is not None:
                    self._core.on_unpublish_refused(unpublish_handle)
                    gone = unpublish_handle
        if gone is not None and gone in self._publications:
            self._publications[gone].gone.set()
        self._pump()

    def on_own_tracks(self, tracks: tuple[m.DataTrackInfo, ...]) -> None:
        """The complete list of our tracks, as the server has it."""
        self._core.on_own_tracks(tracks)
        self._pump()

    def on_progress(self) -> None:
        """Something was acknowledged, or time has passed: the channel may take more."""
        self._send(trio.current_time())

    def published(self) -> list[m.DataTrackInfo]:
        """The tracks that are up."""
        return self._core.published()

    def stats(self) -> dict[str, PublicationStatistics]:
        """The tracks that are published, or about to be, or were, by name."""
        return self._retired.and_also((p.name, p.statistics()) for p in self._publications.values())

    def on_connected(self, links: Links) -> None:
        """There is another session: what is wanted is asked of it."""
        self._links = links
        self.is_heard = True
        self._pump()

    def on_signal_lost(self) -> None:
        """Nobody hears our requests, for now. Frames go on."""
        self.is_heard = False
        self._core.on_signal_lost()

    def on_resumed(self, tracks: tuple[m.DataTrackInfo, ...]) -> None:
        """Our requests are heard again; ``tracks`` are all that the server has of us."""
        self.is_heard = True
        self._core.on_resumed(tracks)
        self._confirm_gone()
        self._pump()

    def on_session_lost(self) -> None:
        """The session is over, and another is to take its place."""
        self.on_signal_lost()
        self.on_links_lost()
        self._core.on_new_session()
        self._confirm_gone()
        self._pump()

    def on_links_lost(self) -> None:
        """The peer connection is lost, and the room with it unless that is repaired."""
        self._links = None
        for handle, frames in self._queue.clear().items():
            self._publications[handle].dropped += frames
        self._notify()

    def close(self) -> None:
        """The session is over: nothing is sent any more."""
        if self._closed:
            return
        self._closed = True
        self._core.on_disconnected()
        self._core.poll_events()  # which say of each track what follows
        for publication in self._publications.values():
            publication.gone.set()
            self._fail(publication, PublishError(PublishErrorReason.DISCONNECTED, "the room was left, or lost"))
        self._notify()

    def on_room(self) -> None:
        """There is room for requests."""
        self._pump()

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        return self._core.next_timeout()

    def handle_timeout(self, now: float) -> None:
        self._core.handle_timeout(now)
        self._pump()

    async def keep_pace(self) -> None:
        """Send the packets of large frames when they are due. A task of its own, since it wakes for each of them."""
        while True:
            due = self._queue.next_timeout()
            with trio.CancelScope(deadline=math.inf if due is None else due) as self._beat:
                await trio.sleep_forever()
            self._send(trio.current_time())

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        """Hand the channel what it should have now."""
        if self._closed or self._links is None:
            return
        queue, links = self._queue, self._links
        queue.follow(links.prompt_amount)
        while packets := queue.packets_to_send(links.unsent_amount(DATA_TRACK), now):
            links.send_together(DATA_TRACK, packets, now, more=queue.is_midway)
        self._count_outdated()
        links.watch_progress(DATA_TRACK, self._watchers > 0 or queue.is_blocked)
        due = queue.next_timeout()
        if due is not None and due < self._beat.deadline:
            self._beat.deadline = due
        self._notify()

    def _count_outdated(self) -> None:
        """Frames that newer ones have taken the place of are dropped, and not refused: they had been accepted."""
        for handle, frames in self._queue.take_outdated().items():
            if handle in self._publications:
                self._publications[handle].dropped += frames

    def _pump(self) -> None:
        for event in self._core.poll_events():
            publication = self._publications.get(event.handle)
            if publication is None:
                continue
            match event:
                case Published(_, sid):
                    publication.sid = sid
                    publication.is_up = True
                    publication.settled.set()
                case Republishing():
                    publication.is_up = False
                    publication.dropped += self._queue.drop(event.handle)
                case Refused(_, reason, code, message):
                    text = _REFUSALS.get(reason) or f"the server refused ({code}): {message}"
                    self._fail(publication, PublishError(reason, text, code=code, server_message=message))
                case Unpublished(_, by_server=True):
                    text = f"the server unpublished {publication.name!r}; the permission to publish may be gone"
                    self._fail(publication, PublishError(PublishErrorReason.UNPUBLISHED, text))
        if self.is_heard and not self._closed and self._upstream.has_room:
            for command in self._core.poll_commands(trio.current_time()):
                self._upstream.send_request(self._kept(command))
        self._notify()
        self._reschedule(self._core.next_timeout())

    def _kept(self, command: m.PublishDataTrack | m.UnpublishDataTrack) -> m.UnpublishDataTrack | KeptRequest:
        if isinstance(command, m.UnpublishDataTrack):
            return command
        return self._publications[command.pub_handle].kept_request

    def _confirm_gone(self) -> None:
        """Those who wait for a track to be unpublished may stop where there is nothing left to confirm."""
        for publication in self._publications.values():
            if not self._core.knows(publication.handle):
                publication.gone.set()

    def _fail(self, publication: Publication, error: PublishError) -> None:
        """The track is not, or no longer, published: whoever waits for it is told, and its block is cancelled."""
        if publication.error is not None:
            return
        publication.is_up = False
        publication.error = error
        publication.dropped += self._queue.drop(publication.handle)
        publication.settled.set()
        publication.gone.set()
        publication.scope.cancel(str(error))

    def _notify(self) -> None:
        if self._progress:
            self._progress.unpark_all()

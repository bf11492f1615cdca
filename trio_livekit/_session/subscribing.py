"""Subscribing to data tracks: the feature that owns what others publish, our subscriptions, and their readers.

What exists is ``_sansio.tracks.catalogue``, what is subscribed is ``_sansio.tracks.subscriptions``. Here they meet
signalling and the blocks of the application: several readers of a track share one subscription on the server.
"""

from __future__ import annotations

__all__ = [
    "Reader",
    "RemoteTrack",
    "Subscribing",
    "SubscriptionStatistics",
    "TrackPublished",
    "TrackReassigned",
    "TrackUnpublished",
]

import math
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import trio

from .._sansio.encryption.complaints import DecryptionFailureReason
from .._sansio.records import dataclass
from .._sansio.signal.messages import EncryptionType
from .._sansio.tracks import catalogue
from .._sansio.tracks.depacketizer import Depacketizer, TrackFrame
from .._sansio.tracks.subscriptions import Active, Ended, InDoubt, Subscriptions, TimedOut
from ..errors import SubscribeError, SubscribeErrorReason
from .ending import end_of_room
from .mailbox import Mailbox
from .stats import Retired, TrackStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.signal.messages import DataTrackInfo, ParticipantInfo
    from ..errors import LiveKitError
    from .sealing import Opening, Sealing
    from .upstream import Upstream


class TrackPublished(NamedTuple):
    """A remote participant has a new track."""

    track: RemoteTrack


class TrackUnpublished(NamedTuple):
    """A remote track is gone."""

    track: RemoteTrack


class TrackReassigned(NamedTuple):
    """A remote track goes on under a new SID: its publisher came back."""

    track: RemoteTrack


TrackEvent = TrackPublished | TrackUnpublished | TrackReassigned


@dataclass(frozen=True, slots=True)
class SubscriptionStatistics:
    """Counts of one subscription. Losses on the way are of the track as a whole, since it was first subscribed."""

    frames_received: int  # whole frames that reached this subscription's buffer
    frames_displaced: int  # of those, dropped from a full buffer in favour of newer ones
    frames_buffered: int  # of those, waiting to be read
    frames_lost: int  # by their numbers: published while subscribed, and never completed here
    frames_incomplete: int  # of those, some packets came: given up when a newer frame needed the place, or at the end
    frames_late: int = 0  # whole frames that were dropped, because a newer one had come before
    frames_undecryptable: int = (
        0  # whole frames of an encrypted track that were dropped: no key fits, or were not sealed
    )


class Reader(Mailbox[TrackFrame]):
    """One subscription block's end of a track."""

    __slots__ = ("_release", "_track")

    def __init__(self, capacity: int, track: RemoteTrack, release: Callable[[Reader], None]) -> None:
        super().__init__(capacity)
        self._track = track
        self._release = release

    @property
    def track_name(self) -> str:
        return self._track.name

    def close(self) -> None:
        super().close()
        self._release(self)

    def statistics(self) -> SubscriptionStatistics:
        track = self._track.depacketizer.statistics()
        return SubscriptionStatistics(
            frames_received=self.put_count,
            frames_displaced=self.displaced,
            frames_buffered=len(self),
            frames_lost=max(0, track.frames_expected - track.frames),
            frames_incomplete=track.interrupted + track.buffer_full + track.incomplete + track.abandoned,
            frames_late=track.late,
            frames_undecryptable=self._track.undecryptable,
        )


class _Attempt:
    """One try to establish a subscription, for all the readers that wait for it."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: Exception | None = None

    def settle(self, error: Exception | None = None) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


class RemoteTrack:
    """One track that somebody else publishes."""

    def __init__(self, owner: Subscribing, publisher_identity: str, info: DataTrackInfo) -> None:
        self._owner = owner
        self.publisher_identity = publisher_identity
        self.info = info
        self.depacketizer = Depacketizer(wait_for_late_packets=True, in_order=True)
        self.payload_bytes = self.displaced = 0
        self.readers: list[Reader] = []
        self.attempt = _Attempt()
        self.ended = trio.Event()
        self.opening: Opening[TrackFrame] | None = None
        """Where frames go to be decrypted, if they are encrypted and there are keys."""

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def sid(self) -> str:
        return self.info.sid

    @property
    def is_encrypted(self) -> bool:
        return self.info.encryption is not EncryptionType.NONE

    @property
    def key(self) -> tuple[str, str]:
        return self.publisher_identity, self.name

    def stats(self) -> TrackStats:
        counts = self.depacketizer.statistics()
        return TrackStats(
            frames=counts.frames,
            payload_bytes=self.payload_bytes,
            frames_lost=max(0, counts.frames_expected - counts.frames),
            frames_incomplete=counts.interrupted + counts.buffer_full + counts.incomplete + counts.abandoned,
            frames_late=counts.late,
            frames_undecryptable=self.undecryptable,
            frames_displaced=self.displaced + sum(reader.displaced for reader in self.readers),
            frames_buffered=sum(map(len, self.readers)),
            subscriptions=len(self.readers),
        )

    @property
    def undecryptable(self) -> int:
        return 0 if self.opening is None else self.opening.dropped

    def open(self, frame: TrackFrame) -> None:
        """Decrypt a frame, or what should be encrypted, for everybody who reads."""
        assert self.opening is not None
        if frame.encryption is None:
            self.opening.drop(DecryptionFailureReason.PLAINTEXT)
        else:
            opened = self.opening.open(frame, frame.payload, *frame.encryption)
            if isinstance(opened, bytes):
                self.deliver_opened(frame, opened)

    def deliver_opened(self, frame: TrackFrame, payload: bytes | None) -> None:
        """The same for one that was decrypted, if it was."""
        if payload is not None:
            opened = TrackFrame(payload, frame.user_timestamp, None, frame.number)
            for reader in self.readers:
                reader.put(opened)

    async def open_reader(self, capacity: int, max_partial_frames: int) -> Reader:
        """Subscribe; returns when frames flow. Raises ``SubscribeError`` or what ended the session."""
        await trio.lowlevel.checkpoint()
        return await self._owner.open_reader(self, capacity, max_partial_frames)


class Subscribing:
    """The data tracks of the other participants."""

    def __init__(
        self,
        upstream: Upstream,
        announce: Callable[[TrackEvent], None],
        reschedule: Callable[[float | None], None],
        sealing: Sealing | None = None,
    ) -> None:
        self._upstream = upstream
        self._announce = announce
        self._reschedule = reschedule
        self._sealing = sealing
        self._own_sids: frozenset[str] = frozenset()
        self._catalogue = catalogue.Catalogue()
        self._core = Subscriptions()
        self._tracks: dict[str, RemoteTrack] = {}
        self._retired: Retired[tuple[str, str], TrackStats] = Retired()
        self._receive = self._core.receive
        self._is_heard = True  # there is a signal connection to send requests on
        self.is_allowed = True
        """Whether this participant may subscribe at all. A server would not say that it may not."""
        self._over: Exception | None = None

    # --- the blocks of the application --------------------------------------------------------------------------------

    async def open_reader(self, track: RemoteTrack, capacity: int, max_partial_frames: int) -> Reader:
        """Add a reader to a track, subscribing to it if this is the first; returns when frames flow."""
        if self._over is not None:
            raise copy(self._over)
        if track.ended.is_set():
            raise _unpublished(track)
        if not self.is_allowed and not track.readers:
            text = "this participant may not subscribe: its token or the server's API denies can_subscribe"
            raise SubscribeError(SubscribeErrorReason.NOT_ALLOWED, text)
        self._check_readable(track)
        reader = Reader(capacity, track, self._release)
        track.depacketizer.max_partial_frames = max_partial_frames
        if not track.readers or track.attempt.error is not None:
            track.attempt = _Attempt()
        attempt = track.attempt
        track.readers.append(reader)
        try:
            self._core.want(track.sid, track.depacketizer, trio.current_time())
            self._pump()
            await attempt.done.wait()
            if attempt.error is not None:
                raise copy(attempt.error)
        except BaseException:
            reader.close()
            raise
        return reader

    def _release(self, reader: Reader) -> None:
        track = reader._track
        if reader not in track.readers:
            return
        track.readers.remove(reader)
        track.displaced += reader.displaced
        if not track.readers:
            self._core.unwant(track.sid, trio.current_time())
            if track.ended.is_set() and track.sid in self._tracks:
                self._retire(track.sid)
            self._pump()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def on_packet(self, data: bytes) -> None:
        """One message of the data track channel."""
        is_in_doubt = self._core.is_in_doubt
        received = self._receive(data)
        if received is not None:
            sid, frame = received
            track = self._tracks[sid]
            track.payload_bytes += len(frame.payload)
            if track.opening is None:
                for reader in track.readers:
                    reader.put(frame)
            else:
                track.open(frame)
        if is_in_doubt:
            self._pump()

    def stats(self) -> dict[tuple[str, str], TrackStats]:
        """The tracks that are or were subscribed, by their publisher's identity and their name."""
        live = ((track.key, track.stats()) for track in self._tracks.values() if track.readers or track.payload_bytes)
        return self._retired.and_also(live)

    @property
    def bad_packets(self) -> int:
        """Messages of the data track channel that were malformed."""
        return self._core.bad_packets

    @property
    def unknown_packets(self) -> int:
        """Packets of no track that is subscribed."""
        return self._core.unknown_handles

    def on_participant(self, info: ParticipantInfo) -> None:
        """A participant as the server describes it, with the complete list of its tracks."""
        self._on_catalogue(self._catalogue.update([(info.identity, info.data_tracks)]))

    def on_participant_left(self, info: ParticipantInfo) -> None:
        """A participant is gone, and its tracks with it."""
        self._on_catalogue(self._catalogue.update([(info.identity, ())]))

    def on_own_tracks(self, tracks: tuple[DataTrackInfo, ...]) -> None:
        """The complete list of our own tracks, which nobody here reads, but which may have served as probes."""
        sids = frozenset(info.sid for info in tracks)
        for sid in self._own_sids - sids:
            self._core.on_unpublished(sid, trio.current_time())
        self._own_sids = sids

    def on_handles(self, handles: dict[int, str]) -> None:
        """The complete list of active subscriptions."""
        self._core.on_handles(handles, trio.current_time())
        self._pump()

    def on_connected(self) -> None:
        """There is another session, and its participants are known: what is wanted is asked of it."""
        self._is_heard = True
        self._core.resubscribe(trio.current_time())
        self._pump()

    def on_signal_lost(self) -> None:
        """Nobody hears our requests, for now. Frames go on."""
        self._is_heard = False
        self._core.on_signal_lost()

    def on_resumed(self) -> None:
        """Our requests are heard again."""
        self._is_heard = True
        self._core.on_resumed(trio.current_time())
        self._pump()

    def on_session_lost(self) -> None:
        """The session is over, and another is to take its place. The readers wait."""
        self._is_heard = False
        self._own_sids = frozenset()
        self._core.reset()
        self._pump()

    def close(self, error: LiveKitError | None) -> None:
        """The session is over: ``error`` says how, ``None`` that we left."""
        if self._over is not None:
            return
        self._over = end_of_room(error)
        for track in self._tracks.values():
            track.attempt.settle(self._over)
            error_of_readers = None if track.ended.is_set() else self._over
            track.ended.set()
            for reader in track.readers:
                reader.end(error_of_readers)

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        if self._over is not None:
            return None  # whatever is still to be asked for
        return -math.inf if self._core.has_commands and self._may_send else self._core.next_timeout()

    @property
    def _may_send(self) -> bool:
        return self._is_heard and self._over is None and self._upstream.has_room

    def on_room(self) -> None:
        """There is room for requests."""
        self._reschedule(self.next_timeout())

    def handle_timeout(self, now: float) -> None:
        self._core.handle_timeout(now)
        self._pump()
        if self._may_send:
            for command in self._core.poll_commands():
                self._upstream.send_request(command)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _on_catalogue(self, events: list[catalogue.CatalogueEvent]) -> None:
        if self._over is not None:
            return  # what the server still says while the room is being left
        for event in events:
            match event:
                case catalogue.TrackPublished(identity, info):
                    track = self._tracks[info.sid] = RemoteTrack(self, identity, info)
                    if self._sealing is not None and info.encryption is EncryptionType.GCM:
                        track.opening = self._sealing.opening(identity, track.deliver_opened)
                    self._announce(TrackPublished(track))
                case catalogue.TrackReassigned(_, old_sid, info):
                    track = self._tracks[info.sid] = self._tracks.pop(old_sid)
                    track.info = info
                    self._core.on_reassigned(old_sid, info.sid, trio.current_time())
                    self._announce(TrackReassigned(track))
                case catalogue.TrackUnpublished(_, info):
                    self._end(self._tracks[info.sid])
        self._pump()

    def _check_readable(self, track: RemoteTrack) -> None:
        """Raises ``SubscribeError`` if nothing that comes on this track could be read, or is to be read."""
        if track.info.encryption is EncryptionType.NONE:
            if self._sealing is None or self._sealing.admits_plaintext(track.publisher_identity):
                return
            text = f"{track.name!r} is not encrypted, and {track.publisher_identity!r} is not allowed plaintext here"
            raise SubscribeError(SubscribeErrorReason.NOT_ENCRYPTED, text)
        if track.opening is None:
            why = "this room has no keys" if self._sealing is None else "in a way that is not known here"
            text = f"the frames of {track.name!r} are encrypted, and {why}"
            raise SubscribeError(SubscribeErrorReason.ENCRYPTED, text)

    def _end(self, track: RemoteTrack) -> None:
        """Nobody can subscribe to a track any more; those who did may still get its last frames."""
        track.ended.set()
        track.attempt.settle(_unpublished(track))
        self._core.on_unpublished(track.sid, trio.current_time())
        if not track.readers:
            self._retire(track.sid)
        self._announce(TrackUnpublished(track))

    def _retire(self, sid: str) -> RemoteTrack:
        """A track is over, and its counts stay."""
        track = self._tracks.pop(sid)
        if track.payload_bytes:
            self._retired.add(track.key, replace(track.stats(), frames_buffered=0, subscriptions=0))
        return track

    def _pump(self) -> None:
        """Act on what the core says. Its requests are sent by the timer, due at once, all of one moment in one message:
        a server hangs up on a client of which some 200 are waiting."""
        if self._over is not None:
            return
        for event in self._core.poll_events():
            match event:
                case Active(sid):
                    self._tracks[sid].attempt.settle()
                case TimedOut(sid):
                    self._fail(self._tracks[sid])
                case InDoubt():
                    self._probe()
                case Ended(sid):
                    for reader in self._retire(sid).readers:
                        reader.end()
        self._reschedule(self.next_timeout())

    def _probe(self) -> None:
        """Any track will do that nobody reads."""
        theirs = [sid for sid, track in self._tracks.items() if not track.readers and not track.ended.is_set()]
        if not any(self._core.probe(sid) for sid in (*theirs, *self._own_sids)):
            self._core.presume()
            self._pump()

    def _fail(self, track: RemoteTrack) -> None:
        text = f"the server did not forward {track.name!r} within 10 s; perhaps subscribing to it is not permitted"
        track.attempt.settle(SubscribeError(SubscribeErrorReason.TIMEOUT, text))


def _unpublished(track: RemoteTrack) -> SubscribeError:
    return SubscribeError(SubscribeErrorReason.UNPUBLISHED, f"the track {track.name!r} is not published any more")

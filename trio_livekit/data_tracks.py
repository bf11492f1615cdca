"""Data tracks: named, lossy, low-latency streams of frames, published by one participant and subscribed to by others.

Both ends are blocks. ``async with room.publish_data_track("lidar") as track`` publishes for as long as the block lasts,
``async with remote.subscribe() as frames`` subscribes for as long as it lasts. Leaving a block, however it is left,
tells the server. If the track ends from outside, the publisher's block ends with ``PublishError``, and the subscriber's
``async for`` is simply over.
"""

from __future__ import annotations

__all__ = [
    "DataTrackFrame",
    "DataTrackSubscription",
    "LocalDataTrack",
    "PublicationStatistics",
    "RemoteDataTrack",
    "RemoteDataTracks",
    "SubscriptionStatistics",
    "now_ms",
]

import operator
import time
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from ._session.publishing import PublicationStatistics
from ._session.subscribing import SubscriptionStatistics
from .errors import PushError, PushErrorReason, SubscribeError, SubscribeErrorReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ._sansio.signal.messages import DataTrackSchema, EncryptionType, FrameEncoding
    from ._session.publishing import Publication
    from ._session.subscribing import Reader, RemoteTrack

DEFAULT_BUFFER_FRAMES = 16
DEFAULT_PARTIAL_FRAMES = 8


def now_ms() -> int:
    """Milliseconds since the Unix epoch: what ``user_timestamp`` holds by convention."""
    return time.time_ns() // 1_000_000


_SHOWN_BYTES = 32


def shortened(payload: bytes) -> str:
    """A payload for a ``repr``, which is not to fill the screen."""
    if len(payload) <= _SHOWN_BYTES:
        return repr(payload)
    return f"{payload[:_SHOWN_BYTES]!r}... of {len(payload)} bytes"


@dataclass(frozen=True, slots=True)
class DataTrackFrame:
    """One frame: any bytes that are not empty, and a number that travels with them.

    Attributes:
        payload: 1 byte to about 2 MB. Up to 64 KiB is safe on a default server, 256 KiB usual, more unreliable.
        user_timestamp: 0 to 2**64 - 1, carried as it is; by convention ``now_ms()`` at the time of the reading.
    """

    payload: bytes
    user_timestamp: int | None = None

    def __repr__(self) -> str:
        stamp = "" if self.user_timestamp is None else f", user_timestamp={self.user_timestamp}"
        return f"DataTrackFrame({shortened(self.payload)}{stamp})"

    def with_user_timestamp_now(self) -> DataTrackFrame:
        """The same payload, stamped with the time it is."""
        return replace(self, user_timestamp=now_ms())

    def duration_since_timestamp(self) -> float | None:
        """Seconds since ``user_timestamp``, if that is a time in the past on this machine's clock; else ``None``."""
        if self.user_timestamp is None:
            return None
        age_ms = now_ms() - self.user_timestamp
        return age_ms / 1000 if age_ms >= 0 else None


def _as_frame(frame: DataTrackFrame | bytes | bytearray | memoryview) -> DataTrackFrame:
    if isinstance(frame, DataTrackFrame):
        payload = frame.payload
        return frame if type(payload) is bytes else replace(frame, payload=_as_frame(payload).payload)
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return DataTrackFrame(bytes(frame))
    raise TypeError(f"a frame is a DataTrackFrame or bytes, not {type(frame).__name__}")


class LocalDataTrack(trio.abc.SendChannel[DataTrackFrame]):
    """A data track that this client publishes. Comes from ``room.publish_data_track``."""

    def __init__(self, publication: Publication) -> None:
        self._publication = publication

    @property
    def name(self) -> str:
        """The track's name, unique among what this participant publishes."""
        return self._publication.name

    @property
    def sid(self) -> str:
        """The server's name for the publication; a new session gives it a new one."""
        return self._publication.sid

    @property
    def encryption(self) -> EncryptionType:
        """Whether, and how, its frames are encrypted end to end."""
        return self._publication.request.encryption

    @property
    def frame_encoding(self) -> FrameEncoding | str | None:
        """How its frames are encoded, if that was said: a well-known encoding, or the name of another."""
        return self._publication.request.frame_encoding

    @property
    def schema(self) -> DataTrackSchema | None:
        """Which schema its frames follow, if that was said."""
        return self._publication.request.schema

    @property
    def is_published(self) -> bool:
        """Whether it has not ended. A reconnection does not end it, though nothing can be sent meanwhile."""
        return self._publication.is_published

    def try_push(self, frame: DataTrackFrame | bytes, user_timestamp: int | None = None) -> None:
        """Send a frame now, or queue it if the network is not taking it; never waits.

        A frame that has waited for 0.1 s is dropped, and counted in ``frames_dropped``, once there is a newer one of
        the track: the newest always goes. The queue is full when 16 frames wait that are all younger than that.

        Raises ``PushError``: the queue is full, the frame is empty or too large, the track is not published, or there
        is no key to encrypt it with. The frame was then not sent, and is counted in ``statistics``. ``user_timestamp``
        goes with a frame given as bytes. If the track has just been ended from outside, the frame is dropped and
        counted: the track's block is being cancelled, and says why.
        """
        if type(frame) is bytes:
            self._publication.push(frame, user_timestamp)
        else:
            whole = _as_frame(frame)
            self._publication.push(whole.payload, whole.user_timestamp if user_timestamp is None else user_timestamp)

    async def send(self, value: DataTrackFrame | bytes) -> None:
        """Send a frame, waiting while the track's queue is full. It is sent however old it becomes by waiting.

        Raises ``PushError`` as ``try_push`` does, but never for a full queue. If cancelled, the frame was not sent.
        """
        frame = _as_frame(value)
        await trio.lowlevel.checkpoint()
        while True:
            try:
                self._publication.push(frame.payload, frame.user_timestamp, counted=False)
            except PushError as error:
                if error.reason not in (PushErrorReason.QUEUE_FULL, PushErrorReason.NOT_CONNECTED):
                    await trio.lowlevel.checkpoint_if_cancelled()  # inside a block that has ended, its error counts
                    raise
            else:
                return
            await self._publication.wait_for_room()

    async def flush(self) -> None:
        """Wait until every frame accepted so far has been handed to the network, or dropped for a newer one.

        There is no deadline: this takes as long as the network does. If cancelled, what was accepted is still sent.
        """
        await trio.lowlevel.checkpoint()
        await self._publication.wait_flushed()

    async def aclose(self) -> None:
        """Unpublish before the block ends, which drops what waits to be sent. Doing it twice is quiet.

        Waits for the server to confirm, for a second at most. If cancelled, the track is unpublished all the same.
        """
        await self._publication.unpublish()

    def statistics(self) -> PublicationStatistics:
        """A snapshot: what was pushed, sent and dropped, and why."""
        return self._publication.statistics()

    def __repr__(self) -> str:
        return f"<LocalDataTrack {self.name!r} {self.sid or 'pending'}>"


class DataTrackSubscription(trio.abc.ReceiveChannel[DataTrackFrame]):
    """The frames of a remote track, oldest first. Comes from ``remote.subscribe()``.

    It has a buffer of its own: when that is full, the oldest frame makes room for the newest and is counted.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def receive(self) -> DataTrackFrame:
        """The next frame. If cancelled, no frame is lost.

        Raises ``trio.EndOfChannel`` when the track was unpublished, ``trio.ClosedResourceError`` after ``aclose`` and
        when the room was left, and ``RoomDisconnected`` when it was lost.
        """
        frame = await self._reader.get()
        return DataTrackFrame(frame.payload, frame.user_timestamp)

    def receive_nowait(self) -> DataTrackFrame:
        """The next frame if it is there. Raises ``trio.WouldBlock`` if it is not, and else what ``receive`` raises."""
        frame = self._reader.get_nowait()
        return DataTrackFrame(frame.payload, frame.user_timestamp)

    async def aclose(self) -> None:
        """Stop receiving before the block ends."""
        self._reader.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> SubscriptionStatistics:
        """A snapshot: what was received, and what was lost where."""
        return self._reader.statistics()

    def __repr__(self) -> str:
        return f"<DataTrackSubscription to {self._reader.track_name!r}, {len(self._reader)} frames buffered>"


class RemoteDataTrack:
    """A data track that another participant publishes. It stays the same object when its publisher reconnects."""

    def __init__(self, track: RemoteTrack) -> None:
        self._track = track
        self._allowed = True

    @property
    def name(self) -> str:
        """The track's name, unique among what its publisher publishes."""
        return self._track.name

    @property
    def sid(self) -> str:
        """The server's name for the publication."""
        return self._track.sid

    @property
    def publisher_identity(self) -> str:
        """Who publishes it."""
        return self._track.publisher_identity

    @property
    def uses_e2ee(self) -> bool:
        """Whether its frames are encrypted end to end."""
        return self._track.is_encrypted

    @property
    def encryption(self) -> EncryptionType:
        """Whether, and how, its frames are encrypted end to end."""
        return self._track.info.encryption

    @property
    def frame_encoding(self) -> FrameEncoding | str | None:
        """How its frames are encoded, if that was said: a well-known encoding, or the name of another."""
        return self._track.info.frame_encoding

    @property
    def schema(self) -> DataTrackSchema | None:
        """Which schema its frames follow, if that was said."""
        return self._track.info.schema

    @property
    def is_published(self) -> bool:
        """Whether it is still there."""
        return not self._track.ended.is_set()

    @property
    def is_allowed(self) -> bool:
        """Whether its publisher lets this client have it, as far as the server has said: it does when one asks."""
        return self._allowed

    async def wait_unpublished(self) -> None:
        """Wait until the track ends: it is unpublished, or the room is left or lost."""
        await trio.lowlevel.checkpoint()
        await self._track.ended.wait()

    @asynccontextmanager
    async def subscribe(
        self, *, buffer_size: int = DEFAULT_BUFFER_FRAMES, max_partial_frames: int = DEFAULT_PARTIAL_FRAMES
    ) -> AsyncIterator[DataTrackSubscription]:
        """Subscribe for as long as the block lasts. Several subscriptions share one on the server.

        ``buffer_size`` is in frames, at least 1, and counts for this subscription alone. ``max_partial_frames`` is how
        many frames may be under reassembly at once, for the track as a whole: the latest subscription decides.

        Cancelling gives the subscription up.

        Raises:
            SubscribeError: the track was unpublished; it is encrypted and this room has no keys, or the other way
                round; or nothing came of it in 10 seconds, which is also what a missing permission looks like.
            RoomDisconnected: the room was lost. ``trio.ClosedResourceError``: it was left.
            ValueError: one of the numbers is less than 1.
        """
        if operator.index(buffer_size) < 1 or operator.index(max_partial_frames) < 1:
            raise ValueError("buffer_size and max_partial_frames are numbers of frames, at least 1")
        reader = await self._track.open_reader(buffer_size, max_partial_frames)
        try:
            yield DataTrackSubscription(reader)
        finally:
            reader.close()

    def __repr__(self) -> str:
        return f"<RemoteDataTrack {self.name!r} of {self.publisher_identity!r} {self.sid}>"


class RemoteDataTracks:
    """The data tracks of one remote participant, by name: a live view."""

    def __init__(self, publisher_identity: str) -> None:
        self._publisher_identity = publisher_identity
        self._tracks: dict[str, RemoteDataTrack] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._over: Exception | None = None

    def __iter__(self) -> Iterator[RemoteDataTrack]:
        return iter(list(self._tracks.values()))

    def __len__(self) -> int:
        return len(self._tracks)

    def __contains__(self, name: str) -> bool:
        return name in self._tracks

    def __getitem__(self, name: str) -> RemoteDataTrack:
        return self._tracks[name]

    def get(self, name: str) -> RemoteDataTrack | None:
        """The track with this name, if it is published."""
        return self._tracks.get(name)

    async def wait_for(self, name: str) -> RemoteDataTrack:
        """The track with this name, as soon as it is published; bound the wait with a cancel scope.

        Raises ``SubscribeError`` when its participant leaves before that, ``RoomDisconnected`` when the room is lost,
        and ``trio.ClosedResourceError`` when it was left.
        """
        await trio.lowlevel.checkpoint()
        while True:
            track = self._tracks.get(name)
            if track is not None:
                return track
            if self._over is not None:
                raise copy(self._over)
            await self._changed.park()

    def __repr__(self) -> str:
        return f"<RemoteDataTracks of {self._publisher_identity!r}: {', '.join(map(repr, self._tracks)) or 'none'}>"

    def _add(self, track: RemoteDataTrack) -> None:
        self._tracks[track.name] = track
        self._changed.unpark_all()

    def _remove(self, track: RemoteDataTrack) -> None:
        if self._tracks.get(track.name) is track:
            del self._tracks[track.name]
            self._changed.unpark_all()

    def _finish(self, error: Exception | None = None) -> None:
        """Nothing will be published here any more: the participant left, or the room is gone."""
        text = f"{self._publisher_identity!r} left the room"
        self._over = error or SubscribeError(SubscribeErrorReason.UNPUBLISHED, text)
        self._tracks.clear()
        self._changed.unpark_all()

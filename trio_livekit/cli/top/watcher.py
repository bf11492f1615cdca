"""Subscribes to every data track of a room, for as long as it is there, and measures what comes."""

from __future__ import annotations

__all__ = ["TrackMeter", "Watcher"]

from collections import deque
from typing import TYPE_CHECKING

import trio

from ... import events as ev
from ...errors import SubscribeError
from ..latency import Latencies
from ..rates import Rates

if TYPE_CHECKING:
    from ...data_tracks import RemoteDataTrack
    from ...room import Room

_BUFFER_FRAMES = 256
_HISTORY = 240


class TrackMeter:
    """Measures one track.

    Attributes:
        track: the track; with its publisher's identity and its name it is one row of the table.
        note: why nothing is measured, where that is so.
        frames: whole frames that came.
        payload_bytes: and the bytes in them.
        lost: frames that were published meanwhile and did not come.
        latencies: by user timestamps, where frames have them: as good as the clocks of the two machines agree.
        history: frames per second, one for each ``tick``.
    """

    def __init__(self, track: RemoteDataTrack) -> None:
        self.track = track
        self.note = "subscribing"
        self.frames = self.payload_bytes = self.lost = 0
        self.latencies = Latencies()
        self.history: deque[float] = deque(maxlen=_HISTORY)
        self._rates = Rates()

    async def measure(self) -> None:
        """Until the track ends."""
        try:
            async with self.track.subscribe(buffer_size=_BUFFER_FRAMES) as frames:
                self.note = ""
                async for frame in frames:
                    self.frames += 1
                    self.payload_bytes += len(frame.payload)
                    age_s = frame.duration_since_timestamp()
                    if age_s is not None:
                        self.latencies.add(max(0.0, age_s))
                    statistics = frames.statistics()
                    self.lost = statistics.frames_lost + statistics.frames_displaced
        except SubscribeError as exc:
            self.note = exc.reason.value.replace("_", " ")

    def tick(self) -> None:
        """Remember where things stand; call it at a steady pace."""
        self._rates.tick(self.frames, self.payload_bytes)
        self.history.append(self.frames_per_s)

    @property
    def frames_per_s(self) -> float:
        return self._rates.per_second(0)

    @property
    def bytes_per_s(self) -> float:
        return self._rates.per_second(1)


class Watcher:
    """Everything that is measured in a room, by track."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.meters: dict[RemoteDataTrack, TrackMeter] = {}

    def of(self, identity: str) -> list[TrackMeter]:
        """The meters of one participant's tracks, by name."""
        found = (meter for meter in self.meters.values() if meter.track.publisher_identity == identity)
        return sorted(found, key=lambda meter: meter.track.name)

    async def run(self) -> None:
        """Follow the room until cancelled, or until it is lost."""
        async with self.room.events() as events, trio.open_nursery() as nursery:
            self._catch_up(nursery)
            async for event in events:
                match event:
                    case ev.DataTrackPublished() | ev.EventsMissed():
                        self._catch_up(nursery)
                    case ev.DataTrackUnpublished(track):
                        self.meters.pop(track, None)

    def tick(self) -> None:
        for meter in self.meters.values():
            meter.tick()

    def _catch_up(self, nursery: trio.Nursery) -> None:
        present = [track for one in self.room.participants.values() for track in one.data_tracks]
        for gone in self.meters.keys() - set(present):
            del self.meters[gone]
        for track in present:
            if track not in self.meters:
                meter = self.meters[track] = TrackMeter(track)
                nursery.start_soon(meter.measure, name=f"top: {track.publisher_identity} {track.name}")

"""What arrives on one track: how much, how fast, how late, and what it says."""

from __future__ import annotations

__all__ = ["Meter", "decode_reading", "encode_reading"]

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..latency import Latencies
from ..rates import Rates

if TYPE_CHECKING:
    from ...data_tracks import DataTrackFrame, DataTrackSubscription, LocalDataTrack
    from .telemetry import Reading

_HISTORY = 240


def encode_reading(reading: Reading, number: int) -> bytes:
    """A frame's payload. ``sent_ns`` is for the same process to read: user timestamps have milliseconds only."""
    value = {
        "value": round(reading.value, 3),
        "unit": reading.unit,
        "source": reading.source,
        "number": number,
        "sent_ns": time.perf_counter_ns(),
        **{name: round(detail, 3) for name, detail in reading.details.items()},
    }
    return json.dumps(value, separators=(",", ":")).encode()


def decode_reading(payload: bytes) -> dict[str, Any]:
    """What ``encode_reading`` made."""
    reading: dict[str, Any] = json.loads(payload)
    return reading


class Meter:
    """Measures one track from both of its ends.

    Attributes:
        frames: frames that were received and looked at.
        payload_bytes: and the bytes in them.
        latest: the last reading, as it was sent.
        latencies: from just before ``try_push`` to just after ``receive``, by the high-resolution clock.
        timestamp_latencies: the same by user timestamps, as it would be between two machines.
        history: readings for a sparkline, one for each ``tick``.
    """

    def __init__(self, name: str, published: LocalDataTrack, frames: DataTrackSubscription) -> None:
        self.name = name
        self.published = published
        self.subscription = frames
        self.frames = 0
        self.payload_bytes = 0
        self.latest: dict[str, Any] | None = None
        self.latencies = Latencies()
        self.timestamp_latencies = Latencies()
        self.history: deque[float] = deque(maxlen=_HISTORY)
        self._rates = Rates()

    async def receive(self) -> None:
        """Take in frames until the track ends."""
        async for frame in self.subscription:
            self._on_frame(frame)

    def _on_frame(self, frame: DataTrackFrame) -> None:
        received_ns = time.perf_counter_ns()
        reading = self.latest = decode_reading(frame.payload)
        self.frames += 1
        self.payload_bytes += len(frame.payload)
        self.latencies.add((received_ns - reading["sent_ns"]) / 1e9)
        age_s = frame.duration_since_timestamp()
        if age_s is not None:
            self.timestamp_latencies.add(age_s)

    def tick(self) -> None:
        """Remember where things stand; call it at a steady pace."""
        self._rates.tick(self.frames, self.payload_bytes)
        if self.latest is not None:
            self.history.append(float(self.latest["value"]))

    @property
    def frames_per_s(self) -> float:
        return self._rates.per_second(0)

    @property
    def bytes_per_s(self) -> float:
        return self._rates.per_second(1)

    @property
    def lost(self) -> int:
        """Frames that were sent and will not be seen, as far as is known by now."""
        statistics = self.subscription.statistics()
        return statistics.frames_lost + statistics.frames_displaced

    @property
    def is_drained(self) -> bool:
        """Whether everything that was sent is accounted for."""
        return self.frames + self.lost >= self.published.statistics().frames_sent

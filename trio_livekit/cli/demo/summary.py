"""What there is to say at the end of a demo: for people, and as JSON."""

from __future__ import annotations

__all__ = ["Setup", "document", "sample", "text"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..._version import __version__
from ..wording import bytes_text, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .meters import Meter


@dataclass(slots=True)
class Setup:
    """How long it took until data flowed, in seconds."""

    url: str = ""
    server_s: float = 0.0
    publisher_s: float = 0.0
    subscriber_s: float = 0.0
    tracks_s: float = 0.0


def document(meters: Sequence[Meter], setup: Setup, seconds: float) -> dict[str, Any]:
    """Everything that was measured."""
    tracks = [_track(meter, seconds) for meter in meters]
    totals = ("frames_sent", "frames_received", "frames_lost", "frames_displaced", "bytes_received")
    return {
        "version": __version__,
        "server": setup.url,
        "seconds": round(seconds, 3),
        "setup_ms": {
            "server": round(setup.server_s * 1000, 1),
            "publisher_connect": round(setup.publisher_s * 1000, 1),
            "subscriber_connect": round(setup.subscriber_s * 1000, 1),
            "publish_and_subscribe": round(setup.tracks_s * 1000, 1),
        },
        "total": {name: sum(track[name] for track in tracks) for name in totals},
        "tracks": tracks,
    }


def _track(meter: Meter, seconds: float) -> dict[str, Any]:
    published = meter.published.statistics()
    received = meter.subscription.statistics()
    return {
        "name": meter.name,
        "frames_sent": published.frames_sent,
        "frames_refused": published.frames_refused,
        "frames_dropped": published.frames_dropped,
        "frames_received": meter.frames,
        "frames_lost": received.frames_lost,
        "frames_displaced": received.frames_displaced,
        "bytes_received": meter.payload_bytes,
        "frames_per_s": round(meter.frames / seconds, 2) if seconds else 0.0,
        "bytes_per_s": round(meter.payload_bytes / seconds, 1) if seconds else 0.0,
        "latency_ms": meter.latencies.summary_ms(),
        "user_timestamp_latency_ms": meter.timestamp_latencies.summary_ms(),
        "latest": meter.latest,
    }


def sample(meter: Meter, seconds: float) -> dict[str, Any]:
    """How one track is doing, for a line of ``--json-lines``."""
    return {
        "type": "sample",
        "seconds": round(seconds, 3),
        "track": meter.name,
        "frames_received": meter.frames,
        "frames_per_s": round(meter.frames_per_s, 2),
        "bytes_per_s": round(meter.bytes_per_s, 1),
        "frames_lost": meter.lost,
        "latency_ms": meter.latencies.summary_ms(),
        "latest": meter.latest,
    }


def text(meters: Sequence[Meter], setup: Setup, seconds: float) -> str:
    """The same for people."""
    lines = [
        f"server started in {setup.server_s * 1000:.0f} ms; publisher connected in {setup.publisher_s * 1000:.0f} ms,"
        f" subscriber in {setup.subscriber_s * 1000:.0f} ms",
        "",
        f"{'track':<8}{'sent':>8}{'received':>10}{'lost':>6}{'bytes':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}",
    ]
    for meter in meters:
        times = meter.latencies
        worst = times.maximum if times.count else None
        columns = (
            f"{meter.name:<8}{meter.published.statistics().frames_sent:>8}{meter.frames:>10}{meter.lost:>6}",
            f"{bytes_text(meter.payload_bytes):>10}{milliseconds(times.quantile(0.5)):>9}",
            f"{milliseconds(times.quantile(0.99)):>9}{milliseconds(worst):>9}",
        )
        lines.append("".join(columns))
    frames, lost = sum(meter.frames for meter in meters), sum(meter.lost for meter in meters)
    lines += ["", f"{frames} frames in {seconds:.1f} s, {lost} lost"]
    return "\n".join(lines)

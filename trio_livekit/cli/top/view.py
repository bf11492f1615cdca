"""What there is to see of a room: as a table, and as JSON."""

from __future__ import annotations

__all__ = ["document", "room_table"]

from typing import TYPE_CHECKING, Any

from ..tables import GAP, Column, Table
from ..wording import bytes_text, milliseconds, sparkline

if TYPE_CHECKING:
    from ...participants import RemoteParticipant
    from .watcher import TrackMeter, Watcher

_COLUMNS = (
    Column("participant", 16, "bold cyan", left=True),
    Column("track", 16, "cyan", left=True),
    Column("frames/s", 8),
    Column("bytes/s", 8),
    Column("lost", 6),
    Column("p50 ms", 6, "green"),
    Column("p99 ms", 6, "green"),
)
_LOST = 4


def room_table(watcher: Watcher, footer: str, *, width: int, ascii_only: bool) -> Table:
    """One row for each track, and one for each participant that publishes none."""
    spark = max(0, width - sum(column.width for column in _COLUMNS) - GAP * len(_COLUMNS))
    rows: list[list[str]] = []
    alarms: set[tuple[int, int]] = set()
    for identity, participant in sorted(watcher.room.participants.items()):
        meters = watcher.of(identity)
        if not meters:
            rows.append([identity, _state(participant), *[""] * len(_COLUMNS[2:]), ""])
        for number, meter in enumerate(meters):
            if meter.lost:
                alarms.add((len(rows), _LOST))
            bars = meter.note or sparkline(meter.history, spark, ascii_only=ascii_only)
            rows.append(["" if number else identity, meter.track.name, *_cells(meter), bars[:spark]])
    columns = [*_COLUMNS, Column("", spark, "cyan", left=True)]
    return Table(_title(watcher), columns, rows, footer, frozenset(alarms))


def _title(watcher: Watcher) -> str:
    room = watcher.room
    transport = next(iter(room.stats().transports), None)
    way = ""
    if transport is not None and transport.protocol:
        way = f", {transport.protocol} {transport.local_kind}, round trip {milliseconds(transport.path_rtt_s)} ms"
    state = "" if room.state.value == "connected" else f", {room.state.value}"
    others = len(room.participants)
    return f"room {room.name}: {others} participant{'s' * (others != 1)}{way}{state}"


def _state(participant: RemoteParticipant) -> str:
    return "(no data tracks)" if participant.is_active else "(connecting)"


def _cells(meter: TrackMeter) -> tuple[str, ...]:
    return (
        f"{meter.frames_per_s:.1f}",
        bytes_text(meter.bytes_per_s),
        str(meter.lost),
        milliseconds(meter.latencies.quantile(0.5)),
        milliseconds(meter.latencies.quantile(0.99)),
    )


def document(watcher: Watcher, seconds: float) -> dict[str, Any]:
    """How things stand, for programs."""
    room, stats = watcher.room, watcher.room.stats()
    return {
        "room": room.name,
        "seconds": round(seconds, 3),
        "state": room.state.value,
        "transports": [
            {
                "protocol": transport.protocol,
                "local": transport.local_kind,
                "remote": transport.remote_kind,
                "rtt_ms": None if transport.path_rtt_s is None else round(transport.path_rtt_s * 1000, 3),
            }
            for transport in stats.transports
        ],
        "participants": [
            {
                "identity": identity,
                "name": participant.name,
                "sid": participant.sid,
                "kind": participant.kind.name,
                "active": participant.is_active,
                "connection_quality": None
                if participant.connection_quality is None
                else participant.connection_quality.name,
                "tracks": [_track(meter) for meter in watcher.of(identity)],
            }
            for identity, participant in sorted(room.participants.items())
        ],
    }


def _track(meter: TrackMeter) -> dict[str, Any]:
    return {
        "name": meter.track.name,
        "sid": meter.track.sid,
        "encrypted": meter.track.uses_e2ee,
        "note": meter.note,
        "frames": meter.frames,
        "bytes": meter.payload_bytes,
        "lost": meter.lost,
        "frames_per_s": round(meter.frames_per_s, 2),
        "bytes_per_s": round(meter.bytes_per_s, 1),
        "latency_ms": meter.latencies.summary_ms(),
    }

"""OpenTelemetry for rooms: spans of joining, of visits and of reconnections, and counters of what flows.

It needs ``pip install 'trio-livekit[otel]'``, which is the API of OpenTelemetry; the application brings the SDK and
its exporters. Nothing of it is imported before ``connect`` or ``observe`` is called, and nothing is added to the way of
a message: the counters are what ``room.stats()`` says, looked at every few seconds.

===============================  =======  ===========================================================
metric                           unit     attributes, besides ``livekit.room`` and ``livekit.identity``
===============================  =======  ===========================================================
``livekit.channel.messages``     1        ``livekit.channel``, ``network.io.direction``
``livekit.channel.size``         By       ``livekit.channel``, ``network.io.direction``
``livekit.track.frames``         1        ``livekit.track``, ``livekit.publisher``, ``network.io.direction``
``livekit.track.size``           By       ``livekit.track``, ``livekit.publisher``, ``network.io.direction``
``livekit.track.frames_missed``  1        ``livekit.track``, ``livekit.publisher``, ``livekit.reason``
``livekit.packets.dropped``      1        ``livekit.reason``
``livekit.retransmits``          1
``livekit.reconnects``           1        ``livekit.kind``: ``resume``, ``restart`` or ``failed``
``livekit.rtt``                  s        a gauge
===============================  =======  ===========================================================

Spans are ``livekit.connect``, ``livekit.room`` and in it ``livekit.reconnect``.
"""

from __future__ import annotations

__all__ = ["connect", "observe"]

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from . import events as ev
from . import room as rooms
from ._session.nursery import private_nursery
from .errors import LiveKitError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opentelemetry.metrics import Counter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from ._session.credentials import TokenSource
    from ._session.stats import RoomStats

_SCOPE = "trio_livekit"
_INTERVAL_S = 5.0

_Key = tuple[str, tuple[tuple[str, str], ...]]
"""A counter's name, and its attributes in order."""


@asynccontextmanager
async def connect(
    url: str,
    token: str | TokenSource,
    *,
    interval_s: float = _INTERVAL_S,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    **options: Any,  # noqa: ANN401 - those of trio_livekit.connect
) -> AsyncIterator[rooms.Room]:
    """``trio_livekit.connect`` with a span for joining, and ``observe`` for the visit.

    ``options`` are those of ``trio_livekit.connect``, and so are the errors.

    Raises ``ImportError`` where OpenTelemetry is not installed.
    """
    tracer = _tracer(tracer_provider)
    async with AsyncExitStack() as stack:
        with tracer.start_as_current_span("livekit.connect") as span:
            room = await stack.enter_async_context(rooms.connect(url, token, **options))
            span.set_attributes(_room_attributes(room))
        await stack.enter_async_context(
            observe(room, interval_s=interval_s, tracer_provider=tracer_provider, meter_provider=meter_provider)
        )
        yield room


@asynccontextmanager
async def observe(
    room: rooms.Room,
    *,
    interval_s: float = _INTERVAL_S,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> AsyncIterator[None]:
    """Record a room that was joined, for as long as the block lasts.

    ``interval_s`` is how often its counters are looked at; they are once more when the block ends. Without providers
    those of the application are used.

    Raises ``ImportError`` where OpenTelemetry is not installed.
    """
    from opentelemetry.trace import set_span_in_context

    tracer, meter = _tracer(tracer_provider), _Meter(room, meter_provider)
    with tracer.start_as_current_span("livekit.room", attributes=_room_attributes(room)) as span:
        try:
            async with room.events() as events, private_nursery("observing a room") as nursery:
                nursery.start_soon(_trace, events, tracer, set_span_in_context(span), name="otel: reconnections")
                nursery.start_soon(meter.keep_recording, interval_s, name="otel: counters")
                yield
        finally:
            meter.record()
            if room.disconnect_reason is not None:
                span.set_attribute("livekit.disconnect_reason", room.disconnect_reason.name)


def _tracer(provider: TracerProvider | None) -> Tracer:
    try:
        from opentelemetry import trace
    except ImportError as exc:
        raise ImportError("OpenTelemetry is not installed: pip install 'trio-livekit[otel]'") from exc
    from ._version import __version__

    return trace.get_tracer(_SCOPE, __version__, provider)


def _room_attributes(room: rooms.Room) -> dict[str, str]:
    return {"livekit.room": room.name, "livekit.identity": room.local_participant.identity}


async def _trace(events: rooms.RoomEvents, tracer: Tracer, context: Any) -> None:  # noqa: ANN401 (OpenTelemetry's)
    """A span for each reconnection, until the room is left or lost."""
    reconnecting: Span | None = None
    try:
        async for event in events:
            if isinstance(event, ev.Reconnecting) and reconnecting is None:
                reconnecting = tracer.start_span("livekit.reconnect", context)
            elif isinstance(event, ev.Reconnected) and reconnecting is not None:
                reconnecting.set_attribute("livekit.kind", "resume" if event.resumed else "restart")
                reconnecting.end()
                reconnecting = None
    except LiveKitError:
        pass  # the room is lost, which is raised elsewhere
    finally:
        if reconnecting is not None:
            reconnecting.end()


class _Meter:
    """Adds to counters what has happened since the last look."""

    def __init__(self, room: rooms.Room, provider: MeterProvider | None) -> None:
        from opentelemetry import metrics

        from ._version import __version__

        meter = metrics.get_meter(_SCOPE, __version__, provider)
        self._counters: dict[str, Counter] = {
            "livekit.channel.messages": meter.create_counter("livekit.channel.messages", "1"),
            "livekit.channel.size": meter.create_counter("livekit.channel.size", "By"),
            "livekit.track.frames": meter.create_counter("livekit.track.frames", "1"),
            "livekit.track.size": meter.create_counter("livekit.track.size", "By"),
            "livekit.track.frames_missed": meter.create_counter("livekit.track.frames_missed", "1"),
            "livekit.packets.dropped": meter.create_counter("livekit.packets.dropped", "1"),
            "livekit.retransmits": meter.create_counter("livekit.retransmits", "1"),
            "livekit.reconnects": meter.create_counter("livekit.reconnects", "1"),
        }
        self._rtt = meter.create_gauge("livekit.rtt", "s")
        self._room = room
        self._common = _room_attributes(room)
        self._seen: dict[_Key, int] = {}

    async def keep_recording(self, interval_s: float) -> None:
        while True:
            self.record()
            await trio.sleep(interval_s)

    def record(self) -> None:
        """Look now. A counter that stands lower than before has begun anew, with a new session."""
        stats = self._room.stats()
        seen: dict[_Key, int] = {}
        for name, value, attributes in _counts(stats):
            key = (name, tuple(attributes.items()))
            before = self._seen.get(key, 0)
            grown = value - before if value >= before else value
            seen[key] = value
            if grown:
                self._counters[name].add(grown, {**self._common, **attributes})
        self._seen = seen
        for transport in stats.transports:
            if transport.path_rtt_s is not None:
                self._rtt.set(transport.path_rtt_s, self._common)


def _counts(stats: RoomStats) -> Iterator[tuple[str, int, dict[str, str]]]:
    """All counters of a snapshot, by name and attributes."""
    for label, channel in stats.channels.items():
        for direction, messages, size in (
            ("transmit", channel.messages_sent, channel.bytes_sent),
            ("receive", channel.messages_received, channel.bytes_received),
        ):
            attributes = {"livekit.channel": label, "network.io.direction": direction}
            yield "livekit.channel.messages", messages, attributes
            yield "livekit.channel.size", size, attributes
    for name, sent in stats.published.items():
        ours = {"livekit.track": name, "livekit.publisher": "", "network.io.direction": "transmit"}
        yield "livekit.track.frames", sent.frames_sent, ours
        yield "livekit.track.size", sent.payload_bytes_accepted, ours
        yield from _missed(name, "", refused=sent.frames_refused, dropped=sent.frames_dropped)
    for (publisher, name), track in stats.subscribed.items():
        theirs = {"livekit.track": name, "livekit.publisher": publisher, "network.io.direction": "receive"}
        yield "livekit.track.frames", track.frames, theirs
        yield "livekit.track.size", track.payload_bytes, theirs
        yield from _missed(name, publisher, lost=track.frames_lost, displaced=track.frames_displaced)
    packets = stats.packets
    for reason, dropped in (
        ("stale", packets.lossy_dropped),
        ("repeated", packets.repeats),
        ("malformed", packets.malformed),
        ("unheeded", packets.unheeded),
        ("undecryptable", packets.undecryptable),
        ("plaintext", packets.plaintext_refused),
    ):
        yield "livekit.packets.dropped", dropped, {"livekit.reason": reason}
    yield "livekit.retransmits", sum(transport.retransmits for transport in stats.transports), {}
    for kind, count in (
        ("resume", stats.resumes), ("restart", stats.restarts), ("failed", stats.failed_attempts)
    ):  # fmt: skip
        yield "livekit.reconnects", count, {"livekit.kind": kind}


def _missed(name: str, publisher: str, **reasons: int) -> Iterator[tuple[str, int, dict[str, str]]]:
    for reason, count in reasons.items():
        attributes = {"livekit.track": name, "livekit.publisher": publisher, "livekit.reason": reason}
        yield "livekit.track.frames_missed", count, attributes

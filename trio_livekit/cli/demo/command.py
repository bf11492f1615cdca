"""The demo put together: a server, a participant that publishes, another that subscribes, and something to look at."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

import contextlib
import json
import math
import sys
from typing import TYPE_CHECKING

from ..arguments import positive_number
from ..exits import OK, CommandError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ...room import Room
    from ..interrupt import Interrupt
    from ..tables import LiveTable
    from .meters import Meter
    from .summary import Setup
    from .telemetry import Sensor

ROOM = "demo"
PUBLISHER = "machine"
SUBSCRIBER = "operator"
DEFAULT_RATE_HZ = 20.0

_BUFFER_FRAMES = 256
_SAMPLE_INTERVAL_S = 1.0
_DRAIN_S = 1.0
"""How long to wait at the end for what is on its way."""

SUMMARY = "this machine's live telemetry as data tracks, in one process"
DESCRIPTION = """\
Start a server, publish this machine's live telemetry (processor, memory, disk, network) as data tracks from one
participant, subscribe to them from another, and show what arrives: all in this process, over real sockets. Prints a
summary at the end, which is after --seconds, or Ctrl-C.
"""
EPILOG = """\
Latencies are from just before try_push() to just after receive(), on one clock with nanoseconds, and count everything
between: two SDKs, two encrypted connections, and the server, all sharing one thread.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``trio-livekit demo`` takes."""
    parser.add_argument("--seconds", type=positive_number, metavar="N", help="end after N seconds (default: Ctrl-C)")
    parser.add_argument(
        "--rate",
        type=positive_number,
        default=DEFAULT_RATE_HZ,
        metavar="HZ",
        help=f"readings per second on each track (default: {DEFAULT_RATE_HZ:.0f})",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the summary as one JSON document, and nothing else")
    output.add_argument(
        "--json-lines", action="store_true", help="print a JSON object a line: samples every second, then the summary"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    from ..interrupt import run_interruptible

    if sys.stdout is None:
        raise CommandError("standard output is closed")
    return run_interruptible(lambda interrupt: _demo(args, interrupt))


async def _demo(args: argparse.Namespace, interrupt: Interrupt) -> int:
    import trio

    from ...room import connect
    from ...server import serve
    from . import summary
    from .telemetry import open_sensors

    sensors = open_sensors()
    setup = summary.Setup()
    async with contextlib.AsyncExitStack() as stack:
        clock = _Stopwatch()
        server = await stack.enter_async_context(serve())
        setup.url, setup.server_s = server.url, clock.lap()
        machine = await stack.enter_async_context(connect(server.url, server.token(PUBLISHER, ROOM)))
        setup.publisher_s = clock.lap()
        operator = await stack.enter_async_context(connect(server.url, server.token(SUBSCRIBER, ROOM)))
        setup.subscriber_s = clock.lap()
        meters = [await _open_track(stack, machine, operator, sensor.name) for sensor in sensors]
        setup.tracks_s = clock.lap()
        async with trio.open_nursery() as nursery:
            for meter in meters:
                nursery.start_soon(meter.receive)
            with interrupt.scope, trio.move_on_after(args.seconds or math.inf):
                await _run_live(sensors, meters, setup, args)
            seconds = clock.lap()
            with trio.move_on_after(_DRAIN_S):
                while not all(meter.is_drained for meter in meters):  # noqa: ASYNC110 (nobody tells of a loss)
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel("the demo is over")
        _print_summary(meters, setup, seconds, args)
    return OK


async def _open_track(stack: contextlib.AsyncExitStack, machine: Room, operator: Room, name: str) -> Meter:
    """Publish a track here and subscribe to it there."""
    from .meters import Meter

    published = await stack.enter_async_context(machine.publish_data_track(name))
    publisher = await operator.wait_for_participant(PUBLISHER)
    remote = await publisher.data_tracks.wait_for(name)
    frames = await stack.enter_async_context(remote.subscribe(buffer_size=_BUFFER_FRAMES))
    return Meter(name, published, frames)


async def _run_live(sensors: Sequence[Sensor], meters: Sequence[Meter], setup: Setup, args: argparse.Namespace) -> None:
    """Publish and show until cancelled."""
    import trio

    from ..tables import open_display

    with contextlib.ExitStack() as stack:
        # Before anything is sent: to import rich takes longer than a frame does, and all of this shares one thread.
        shown = not (args.json or args.json_lines)
        display = stack.enter_context(open_display(sys.stdout)) if shown else None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_publish, sensors, meters, 1 / args.rate)
            if display is not None:
                nursery.start_soon(_show, display, meters, setup, args.seconds)
            elif args.json_lines:
                nursery.start_soon(_print_samples, meters)


async def _publish(sensors: Sequence[Sensor], meters: Sequence[Meter], interval_s: float) -> None:
    """Read the sensors and push what they say, at a steady pace. What is refused is counted by the track."""
    import trio

    from ...data_tracks import now_ms
    from ...errors import PushError
    from .meters import encode_reading

    number = 0
    due = trio.current_time()
    while True:
        for sensor, meter in zip(sensors, meters, strict=True):
            reading = sensor.read()
            with contextlib.suppress(PushError):
                meter.published.try_push(encode_reading(reading, number), now_ms())
        number += 1
        due = max(due + interval_s, trio.current_time())
        await trio.sleep_until(due)


async def _show(display: LiveTable, meters: Sequence[Meter], setup: Setup, seconds: float | None) -> None:
    """The live table."""
    import trio

    from .display import demo_table

    title = f"trio-livekit demo: this machine's telemetry through {setup.url}"
    started = trio.current_time()

    def show() -> None:
        for meter in meters:
            meter.tick()
        elapsed = trio.current_time() - started
        until = f"of {seconds:g} s" if seconds else "s, Ctrl-C ends"
        frames = sum(meter.frames for meter in meters)
        footer = f"{elapsed:.0f} {until} | {frames} frames | latency since the start"
        display.show(demo_table(meters, title, footer, width=display.width, ascii_only=display.ascii_only))

    try:
        while True:
            show()
            await trio.sleep(display.interval_s)
    finally:
        show()  # what stays on the screen is how it ended


async def _print_samples(meters: Sequence[Meter]) -> None:
    """The live table for programs."""
    import trio

    from .summary import sample

    started = trio.current_time()
    for meter in meters:
        meter.tick()
    while True:
        await trio.sleep(_SAMPLE_INTERVAL_S)
        for meter in meters:
            meter.tick()
            print(json.dumps(sample(meter, trio.current_time() - started)), flush=True)


def _print_summary(meters: Sequence[Meter], setup: Setup, seconds: float, args: argparse.Namespace) -> None:
    from . import summary

    if args.json or args.json_lines:
        document = summary.document(meters, setup, seconds)
        print(json.dumps({"type": "summary", **document}) if args.json_lines else json.dumps(document, indent=2))
    else:
        print()
        print(summary.text(meters, setup, seconds))


class _Stopwatch:
    """Seconds since the last look at it."""

    def __init__(self) -> None:
        import trio

        self._now = trio.current_time
        self._last = self._now()

    def lap(self) -> float:
        now = self._now()
        elapsed, self._last = now - self._last, now
        return elapsed

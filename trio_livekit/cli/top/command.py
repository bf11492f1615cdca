"""The command itself: joins, watches, and shows."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

import json
import math
import sys
from typing import TYPE_CHECKING

from ..arguments import add_target_arguments, positive_number, resolve_target
from ..exits import OK, CommandError

if TYPE_CHECKING:
    import argparse

    from ..arguments import Target
    from ..interrupt import Interrupt
    from ..tables import LiveTable
    from .watcher import Watcher

_SAMPLE_INTERVAL_S = 1.0
_TICK_S = 0.25

SUMMARY = "a live view of a room: who is there, and what flows"
DESCRIPTION = """\
Join a room, subscribe to every data track in it, and show who is there, and for each track the frames and bytes per
second, what was lost on the way here, and the latency where frames have timestamps. Ends after --seconds, or Ctrl-C.
"""
EPILOG = """\
With a key and its secret this participant is hidden from the others. What it measures is its own part: it is one more
subscriber of everything. Latencies are as good as the clocks of the publisher's machine and this one agree.

example:
  trio-livekit top --room lab --seconds 30
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``trio-livekit top`` takes."""
    parser.add_argument("--seconds", type=positive_number, metavar="N", help="end after N seconds (default: Ctrl-C)")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print how it ended as one JSON document, and nothing else")
    output.add_argument("--json-lines", action="store_true", help="print such a document every second, a line each")
    add_target_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch."""
    from ...tokens import VideoGrants
    from ..interrupt import run_interruptible

    if sys.stdout is None:
        raise CommandError("standard output is closed")
    target = resolve_target(args, "top", VideoGrants(hidden=True, can_publish=False, can_publish_data=False))
    return run_interruptible(lambda interrupt: _top(args, target, interrupt))


async def _top(args: argparse.Namespace, target: Target, interrupt: Interrupt) -> int:
    import trio

    from ...room import connect
    from .view import document
    from .watcher import Watcher

    with interrupt.scope, trio.move_on_after(math.inf) as limit:
        async with connect(target.url, target.token, join_timeout=args.join_timeout) as room:
            watcher = Watcher(room)
            started = trio.current_time()
            limit.deadline = started + (args.seconds or math.inf)
            try:
                await _watch(watcher, args)
            finally:
                if args.json:
                    print(json.dumps(document(watcher, trio.current_time() - started), indent=2))
    return OK


async def _watch(watcher: Watcher, args: argparse.Namespace) -> None:
    """Until cancelled, or until the room is lost."""
    import trio

    from ..tables import open_display

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        if args.json_lines:
            nursery.start_soon(_print_samples, watcher)
        elif args.json:
            nursery.start_soon(_tick, watcher)
        else:
            with open_display(sys.stdout) as display:
                await _show(display, watcher, args.seconds)


async def _tick(watcher: Watcher) -> None:
    import trio

    while True:
        watcher.tick()
        await trio.sleep(_TICK_S)


async def _print_samples(watcher: Watcher) -> None:
    import trio

    from .view import document

    started = trio.current_time()
    while True:
        watcher.tick()
        await trio.sleep(_SAMPLE_INTERVAL_S)
        watcher.tick()
        print(json.dumps(document(watcher, trio.current_time() - started)), flush=True)


async def _show(display: LiveTable, watcher: Watcher, seconds: float | None) -> None:
    """The live table."""
    import trio

    from .view import room_table

    started = trio.current_time()

    def show() -> None:
        watcher.tick()
        elapsed = trio.current_time() - started
        until = f"of {seconds:g} s" if seconds else "s, Ctrl-C ends"
        frames = sum(meter.frames for meter in watcher.meters.values())
        footer = f"{elapsed:.0f} {until} | {len(watcher.meters)} tracks | {frames} frames"
        display.show(room_table(watcher, footer, width=display.width, ascii_only=display.ascii_only))

    try:
        while True:
            show()
            await trio.sleep(display.interval_s)
    finally:
        show()  # what stays on the screen is how it ended

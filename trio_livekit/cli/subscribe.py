"""``trio-livekit subscribe``: the frames of a data track to a file or standard output."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

import math
import sys
from typing import TYPE_CHECKING

from .arguments import add_target_arguments, duration, positive_count, resolve_target
from .exits import BROKEN_PIPE, FRAMES_LOST, OK, CommandError
from .framing import encode_line, encode_prefixed, encode_raw
from .latency import Latencies
from .numbering import Collector

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..data_tracks import DataTrackFrame, DataTrackSubscription, RemoteDataTrack
    from ..room import Room
    from .arguments import Target
    from .interrupt import Interrupt
    from .pipes import Output

DEFAULT_BUFFER = 4096

SUMMARY = "write the frames of a data track to a file or standard output"
DESCRIPTION = """\
Subscribe to a data track and write its frames to standard output or a file, until the track is unpublished. If there
is no such track yet, wait for it.
"""
EPILOG = """\
examples:
  trio-livekit subscribe syslog --room lab --lines | grep --line-buffered error
  trio-livekit subscribe firmware --room lab --numbered --strict -o image.bin

on standard error, at the end: frames and bytes received, lost (by the numbers of frames: on the way), displaced
(dropped from the full buffer because the output did not keep up), and latencies if the publisher sends timestamps
(true as far as the clocks of the two machines agree)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``trio-livekit subscribe`` takes."""
    parser.add_argument("name", metavar="NAME", help="the name of the track")
    parser.add_argument(
        "--from", dest="publisher", metavar="IDENTITY", help="who publishes it (default: whoever is first)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", metavar="FILE", help="where to write (default: standard output)")
    framing = output.add_mutually_exclusive_group()
    framing.add_argument(
        "--raw", action="store_true", help="frames one after the other, as they are (default, but to a terminal)"
    )
    framing.add_argument("--lines", action="store_true", help="a line per frame (default to a terminal)")
    framing.add_argument("--length-prefixed", action="store_true", help="u32 big-endian length, then the frame")
    output.add_argument(
        "--numbered", action="store_true", help="from publish --numbered: in order, and what is missing exactly counted"
    )
    ends = parser.add_argument_group("ends")
    ends.add_argument("--count", type=positive_count, metavar="N", help="end after N frames")
    ends.add_argument("--seconds", type=duration, metavar="S", help="end S seconds after subscribing")
    ends.add_argument("--idle", type=duration, metavar="S", help="end when no frame came for S seconds")
    ends.add_argument("--wait", type=duration, metavar="S", help="fail if there is no such track for S seconds")
    ends.add_argument("--strict", action="store_true", help="exit code 3 if frames were lost or displaced")
    parser.add_argument(
        "--buffer",
        type=positive_count,
        default=DEFAULT_BUFFER,
        metavar="N",
        help=f"frames to hold while the output does not keep up (default: {DEFAULT_BUFFER})",
    )
    add_target_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the frames."""
    from .interrupt import run_interruptible

    target = resolve_target(args, "subscriber")
    return run_interruptible(lambda interrupt: _subscribe(args, target, interrupt))


async def _subscribe(args: argparse.Namespace, target: Target, interrupt: Interrupt) -> int:
    from ..room import connect
    from .notices import telling_of_the_connection
    from .pipes import open_output, while_somebody_reads

    sink: _Sink | None = None
    frames: DataTrackSubscription | None = None
    code = OK
    try:
        with interrupt.scope, open_output(args.output) as output:
            async with connect(target.url, target.token, join_timeout=args.join_timeout) as room:
                async with telling_of_the_connection(room), while_somebody_reads(output):
                    track = await _find(room, args)
                    async with track.subscribe(buffer_size=args.buffer) as frames:
                        sink = _Sink(output, args)
                        code = await _copy(frames, sink, args)
    finally:
        if frames is not None and sink is not None:
            print(sink.report(frames), file=sys.stderr)
    assert sink is None or frames is not None
    if code == OK and args.strict and sink is not None and frames is not None and sink.lost(frames):
        return FRAMES_LOST
    return code


async def _find(room: Room, args: argparse.Namespace) -> RemoteDataTrack:
    """The track, as soon as it is there.

    Raises:
        CommandError: that takes longer than ``--wait``, or the token does not allow subscribing: tracks are never seen.
    """
    import trio

    permission = room.local_participant.permission
    if permission is not None and not permission.can_subscribe:
        raise CommandError("the token does not allow subscribing: it needs the grant can_subscribe")
    with trio.move_on_after(math.inf if args.wait is None else args.wait):
        async with room.events() as events:
            while True:
                for identity, participant in room.participants.items():
                    track = participant.data_tracks.get(args.name)
                    if track is not None and args.publisher in (None, identity):
                        return track
                await events.receive()
    who = f"{args.publisher!r}" if args.publisher else "nobody"
    raise CommandError(
        f"{who} {'did not publish' if args.publisher else 'published'} a data track {args.name!r}"
        f" within {args.wait:g} s"
    )


async def _copy(frames: DataTrackSubscription, sink: _Sink, args: argparse.Namespace) -> int:
    """Frames to the output, until there are no more or enough. Whatever is there is written in one go."""
    import trio

    idle_s = math.inf if args.idle is None else args.idle
    try:
        with trio.move_on_after(math.inf if args.seconds is None else args.seconds):
            while not sink.is_full:
                with trio.move_on_after(idle_s) as idle:
                    first = await frames.receive()
                if idle.cancelled_caught:
                    break
                await sink.write(_with_those_there(frames, first, sink.room_for))
    except trio.EndOfChannel:
        pass
    except BrokenPipeError:
        return BROKEN_PIPE
    await sink.finish()
    return OK


def _with_those_there(frames: DataTrackSubscription, first: DataTrackFrame, most: float) -> list[DataTrackFrame]:
    import trio

    found = [first]
    try:
        while len(found) < most:
            found.append(frames.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        pass
    return found


class _Sink:
    """Encodes and counts frames on their way out."""

    def __init__(self, output: Output, args: argparse.Namespace) -> None:
        self._output = output
        self._encode = _encoder(args)
        self._limit = math.inf if args.count is None else args.count
        self._collector = Collector() if args.numbered else None
        self._latencies = Latencies()
        self._frames = 0
        self._bytes = 0

    @property
    def room_for(self) -> float:
        return self._limit - self._frames

    @property
    def is_full(self) -> bool:
        return self.room_for <= 0 or (self._collector is not None and self._collector.is_complete)

    async def write(self, frames: list[DataTrackFrame]) -> None:
        due = []
        for frame in frames:
            age_s = frame.duration_since_timestamp()
            if age_s is not None:
                self._latencies.add(age_s)
            due += [frame.payload] if self._collector is None else self._collector.push(frame.payload)
        await self._write(due)

    async def finish(self) -> None:
        """Write what was held back."""
        if self._collector is not None:
            await self._write(self._collector.finish())

    async def _write(self, payloads: list[bytes]) -> None:
        if payloads:
            self._frames += len(payloads)
            self._bytes += sum(map(len, payloads))
            await self._output.write(b"".join(map(self._encode, payloads)))

    def lost(self, frames: DataTrackSubscription) -> int:
        """Frames that should have come out and did not, as far as is known."""
        if self._collector is not None:
            return self._collector.missing + (self._collector.expected is None)
        statistics = frames.statistics()
        return statistics.frames_lost + statistics.frames_displaced

    def report(self, frames: DataTrackSubscription) -> str:
        statistics = frames.statistics()
        text = (
            f"{self._frames} frames, {self._bytes} bytes received;"
            f" {statistics.frames_lost} lost, {statistics.frames_displaced} displaced"
        )
        collector = self._collector
        if collector is not None:
            of = "the end was not seen" if collector.expected is None else f"of {collector.expected}"
            text += f"; {collector.missing} missing ({of})"
        p50, p99 = self._latencies.quantile(0.5), self._latencies.quantile(0.99)
        if p50 is not None and p99 is not None:
            text += f"; latency p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
        return text


def _encoder(args: argparse.Namespace) -> Callable[[bytes], bytes]:
    if args.length_prefixed:
        return encode_prefixed
    to_terminal = args.output in (None, "-") and sys.stdout.isatty()
    return encode_line if args.lines or (to_terminal and not args.raw) else encode_raw

"""``trio-livekit publish``: a file or standard input as a data track."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

import sys
from typing import TYPE_CHECKING

from .arguments import (
    add_target_arguments,
    bytes_count,
    bytes_per_second,
    duration,
    positive_number,
    resolve_target,
)
from .exits import OK, CommandError, UsageError
from .framing import MAX_FRAME_BYTES, BlockSplitter, LineSplitter, PrefixSplitter, Splitter
from .numbering import Numberer
from .wording import counted

if TYPE_CHECKING:
    import argparse

    from .. import RoomStats
    from ..data_tracks import LocalDataTrack, PublicationStatistics
    from ..room import Room
    from .arguments import Target
    from .interrupt import Interrupt
    from .pacing import Pacer
    from .pipes import Input

DEFAULT_BANDWIDTH = 2_000_000.0
"""Bytes per second. livekit-server drops frames for a subscriber that has more than 100 ms of them unacknowledged, and
tells nobody. Measured on a loopback with two cores: at 1 to 4 MB/s nothing is lost, unless other programs keep the
subscriber from running for so long; without any limit, a burst can be lost as well."""

END_REPEATS = 5
END_INTERVAL_S = 0.1

SUMMARY = "send a file or standard input as a data track"
DESCRIPTION = "Publish a data track, send standard input or a file on it frame by frame, and unpublish it."
EPILOG = """\
Data tracks are lossy by design, and a server that falls behind drops frames without telling the publisher. A block of
up to 15900 bytes travels in one packet, and up to 64k is safe as a rule; larger frames are sent more slowly, and are
more easily lost. A publisher is not told who subscribes: start the subscriber first, and name it in --wait-for.

examples:
  tail -f /var/log/syslog | trio-livekit publish syslog --room lab
  trio-livekit publish firmware image.bin --blocks 15k --numbered --wait-for robot --room lab

on standard error, at the end: frames and bytes sent, refused (not accepted), and dropped (accepted, but not sent).
"Sent" means handed to the network. If packets were lost on the way to the server, their number is told as well.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``trio-livekit publish`` takes."""
    parser.add_argument("name", metavar="NAME", help="the name of the track")
    parser.add_argument("file", metavar="FILE", nargs="?", help="what to send (default: standard input)")
    framing = parser.add_argument_group("frames").add_mutually_exclusive_group()
    framing.add_argument("--lines", action="store_true", help="a frame per line, without the newline (default)")
    framing.add_argument("--blocks", type=bytes_count, metavar="N", help="a frame per N bytes, whatever they are")
    framing.add_argument(
        "--length-prefixed", action="store_true", help="frames in the input: u32 big-endian length, then the frame"
    )
    options = parser.add_argument_group("sending")
    options.add_argument(
        "--numbered",
        action="store_true",
        help="put a number before each frame, for subscribe --numbered to count exactly what is missing",
    )
    options.add_argument("--timestamps", action="store_true", help="stamp each frame with the time it is sent")
    options.add_argument("--rate", type=positive_number, metavar="HZ", help="not more than HZ frames per second")
    options.add_argument(
        "--bandwidth",
        type=bytes_per_second,
        default=DEFAULT_BANDWIDTH,
        metavar="RATE",
        help="not more than RATE bytes per second, or 'unlimited' (default: 2M, which a LiveKit server at its defaults"
        " forwards without loss on one machine that is not overloaded)",
    )
    options.add_argument(
        "--wait-for", metavar="IDENTITY", help="begin when this participant is there and its connection is up"
    )
    options.add_argument(
        "--delay", type=duration, default=0.5, metavar="S", help="then give it time to subscribe (default: 0.5)"
    )
    options.add_argument(
        "--linger", type=duration, default=0.5, metavar="S", help="stay so long after the last frame (default: 0.5)"
    )
    add_target_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Send the input."""
    from .interrupt import run_interruptible

    if args.blocks is not None and args.blocks > MAX_FRAME_BYTES:
        raise UsageError(f"--blocks can be {MAX_FRAME_BYTES} at most: that is how much a frame can hold")
    target = resolve_target(args, "publisher")
    return run_interruptible(lambda interrupt: _publish(args, target, interrupt))


async def _publish(args: argparse.Namespace, target: Target, interrupt: Interrupt) -> int:
    from ..room import connect
    from .notices import telling_of_the_connection
    from .pipes import open_input

    track: LocalDataTrack | None = None
    lost = ""
    try:
        with interrupt.scope, open_input(args.file) as source:
            async with connect(target.url, target.token, join_timeout=args.join_timeout) as room:
                async with telling_of_the_connection(room), room.publish_data_track(args.name) as track:
                    try:
                        await _wait_for_listener(room, args)
                        await _send_all(track, source, args)
                    finally:
                        lost = what_was_lost(room.stats())
    finally:
        if track is not None:
            print(_report(track.statistics(), numbered=args.numbered) + lost, file=sys.stderr)
    return OK


async def _wait_for_listener(room: Room, args: argparse.Namespace) -> None:
    import trio

    if args.wait_for is not None:
        async with room.events() as events:
            while not ((other := room.participants.get(args.wait_for)) and other.is_active):
                await events.receive()
    await trio.sleep(args.delay)


async def _send_all(track: LocalDataTrack, source: Input, args: argparse.Namespace) -> None:
    import trio

    from .pacing import Pacer

    numberer = Numberer() if args.numbered else None
    try:
        await _send_frames(track, source, args, numberer, Pacer(args.rate, args.bandwidth))
    except CommandError:  # about the input; what came before it is as good as ever
        await track.flush()
        await trio.sleep(args.linger)
        raise
    await track.flush()
    if numberer is not None:
        for _ in range(END_REPEATS):
            await track.send(numberer.end())
            await trio.sleep(END_INTERVAL_S)
    await trio.sleep(args.linger)


async def _send_frames(
    track: LocalDataTrack, source: Input, args: argparse.Namespace, numberer: Numberer | None, pacer: Pacer
) -> None:
    from ..data_tracks import DataTrackFrame, now_ms

    splitter = _splitter(args)
    chunk = b"begin"
    while chunk:
        chunk = await source.read()
        for payload in splitter.feed(chunk) if chunk else splitter.finish():
            whole = numberer.wrap(payload) if numberer is not None else payload
            await pacer.wait(len(whole))
            await track.send(DataTrackFrame(whole, now_ms() if args.timestamps else None))


def _splitter(args: argparse.Namespace) -> Splitter:
    if args.blocks is not None:
        return BlockSplitter(args.blocks)
    return PrefixSplitter() if args.length_prefixed else LineSplitter()


def _report(statistics: PublicationStatistics, *, numbered: bool) -> str:
    text = (
        f"{counted(statistics.frames_sent, 'frame')} sent, {statistics.payload_bytes_accepted} bytes accepted,"
        f" {statistics.frames_refused} refused, {statistics.frames_dropped} dropped"
    )
    return f"{text} (with their numbers, and up to {END_REPEATS} frames that mark the end)" if numbered else text


def what_was_lost(stats: RoomStats) -> str:
    """What went wrong on the way to the server, if anything did; a path may be dead long before that shows."""
    said = []
    lost = sum(transport.abandoned_messages for transport in stats.transports)
    if lost:
        unknown = sum(transport.buffered for transport in stats.transports)
        said.append(
            f"{counted(lost, 'packet')} lost on the way to the server, {counted(unknown, 'byte')} unacknowledged"
        )
    if stats.resumes + stats.restarts:
        said.append(f"reconnected {counted(stats.resumes + stats.restarts, 'time')}")
    if stats.restarts:
        said[-1] += f", {stats.restarts} to a new session (what was on its way then is not counted)"
    return "".join(f"; {words}" for words in said)

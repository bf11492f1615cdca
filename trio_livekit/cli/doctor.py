"""``trio-livekit doctor``: what works between here and a server, what does not, and what to do about it."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from .arguments import Target, add_target_arguments, duration, resolve_target
from .exits import FAILURE, OK
from .wording import plain

if TYPE_CHECKING:
    import argparse

    import trio

    from ..diagnosis import Check, Diagnosis
    from .interrupt import Interrupt

SUMMARY = "check every step from here to a room"
DESCRIPTION = """\
Try every step from here to a room, one after the other: the host's name, TCP, TLS, the token, signalling, UDP, data
channels, frames and packets from end to end, TCP as a fallback for UDP, and TURN. Prints what works, what does not, and
what to do about it.
"""
EPILOG = """\
With a key and its secret (or those of the environment) the doctor has a room of its own. With --token it joins that
token's room, which ends the session of anybody who is there under the same identity. With neither of them it examines
the way to the server, as far as the token.

exit codes: 0 a room can be joined and data flows, 1 it does not, 2 wrong usage

example:
  trio-livekit doctor wss://example.livekit.cloud --api-key KEY --api-secret SECRET
"""

_MARKS = {"ok": "ok  ", "warning": "WARN", "failed": "FAIL", "skipped": "-   "}
_NAME_WIDTH = 13


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``trio-livekit doctor`` takes."""
    parser.add_argument("place", nargs="?", metavar="URL", help="the server; the same as --url")
    parser.add_argument("--timeout", type=duration, default=10.0, metavar="S", help="for each step (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")
    add_target_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Examine."""
    from .interrupt import run_interruptible

    args.url = args.place or args.url
    target, second = _targets(args)
    return run_interruptible(lambda interrupt: _examine(args, target, second, interrupt))


def _targets(args: argparse.Namespace) -> tuple[Target, str | None]:
    """The server, and the token of a second participant where one can be made."""
    makes_token = not (args.token or (_token_of_environment() and not (args.api_key or args.api_secret)))
    url = args.url or os.environ.get("LIVEKIT_URL")
    if url and makes_token and not _has_key(args):
        return Target(url, ""), None  # the way to the server can be examined all the same
    if makes_token and not args.room:
        args.room = f"trio-livekit-doctor-{secrets.token_hex(4)}"
    target = resolve_target(args, "doctor")
    if target.identity is None:
        return target, None
    args.identity = f"{target.identity}-second"
    return target, resolve_target(args, "doctor").token


def _has_key(args: argparse.Namespace) -> bool:
    return bool(
        (args.api_key or os.environ.get("LIVEKIT_API_KEY"))
        and (args.api_secret or os.environ.get("LIVEKIT_API_SECRET"))
    )


def _token_of_environment() -> str | None:
    return os.environ.get("LIVEKIT_TOKEN")


async def _examine(args: argparse.Namespace, target: Target, second: str | None, interrupt: Interrupt) -> int:
    import trio

    from ..diagnosis import diagnose

    diagnosis: Diagnosis | None = None
    send: trio.MemorySendChannel[Check]
    send, receive = trio.open_memory_channel(32)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_print_checks, receive, not args.json)
        with interrupt.scope, send:
            diagnosis = await diagnose(
                target.url, target.token, second_token=second, timeout_s=args.timeout, progress=send
            )
    if diagnosis is None:
        return FAILURE
    if args.json:
        print(json.dumps(document(diagnosis), indent=2))
    else:
        print()
        print(summary(diagnosis))
    return OK if diagnosis.works else FAILURE


async def _print_checks(checks: trio.MemoryReceiveChannel[Check], shown: bool) -> None:
    async for check in checks:
        if shown:
            print(*lines(check), sep="\n", flush=True)


def lines(check: Check) -> list[str]:
    """One check for people."""
    time = "" if check.seconds is None else f"  ({check.seconds * 1000:.0f} ms)"
    said = [f"{_MARKS[check.verdict.value]} {check.name:<{_NAME_WIDTH}} {plain(check.detail)}{time}"]
    if check.advice:
        said.append(f"{'':{len(_MARKS['ok']) + _NAME_WIDTH + 2}}{plain(check.advice)}")
    return said


def summary(diagnosis: Diagnosis) -> str:
    """The whole in one line."""
    counts = {verdict: sum(check.verdict.value == verdict for check in diagnosis.checks) for verdict in _MARKS}
    if not diagnosis.works:
        return "It does not work: a room cannot be joined, or nothing flows in it."
    flaws = counts["warning"] + counts["failed"]
    return "Everything works." if not flaws else f"It works, with {flaws} thing{'s' * (flaws > 1)} to look at."


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The whole for programs."""
    return {
        "url": diagnosis.url,
        "works": diagnosis.works,
        "checks": [
            {
                "name": check.name,
                "verdict": check.verdict.value,
                "detail": check.detail,
                "advice": check.advice,
                "milliseconds": None if check.seconds is None else round(check.seconds * 1000, 1),
            }
            for check in diagnosis.checks
        ],
    }

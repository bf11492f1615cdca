"""Fuzz for a while: ``python -m tests.fuzz --seconds 3600 [--target NAME] [--seed N]``.

The time is shared among the targets. Whatever breaks one is made smaller, and saved into the corpus, where the tests
take it from then on. The exit status is 1 if there was anything.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import sys
import time
import traceback
from typing import TYPE_CHECKING

from .corpus import DIRECTORY
from .edges import ALL

if TYPE_CHECKING:
    from .targets import Input, Target


def encode(given: Input) -> bytes:
    """An input as one string, to be saved."""
    return b"".join(len(data).to_bytes(4, "big") + data for data in given)


def decode(saved: bytes) -> Input:
    """The inverse of ``encode``."""
    given, at = [], 0
    while at < len(saved):
        size = int.from_bytes(saved[at : at + 4], "big")
        given.append(saved[at + 4 : at + 4 + size])
        at += 4 + size
    return given


def failure(target: Target, given: Input) -> BaseException | None:
    """What the input does to the target, if it breaks it."""
    try:
        target.take(given)
    except Exception as exc:
        return exc
    return None


def smaller(target: Target, given: Input) -> Input:
    """Leave out datagrams, then bytes from the end, as long as it still breaks."""
    for at in reversed(range(len(given))):
        shorter = given[:at] + given[at + 1 :]
        if shorter and failure(target, shorter):
            given = shorter
    for at, data in enumerate(given):
        step = len(data) // 2
        while step:
            shorter = [*given[:at], given[at][:-step], *given[at + 1 :]]
            if len(given[at]) > step and failure(target, shorter):
                given = shorter
            else:
                step //= 2
    return given


def fuzz(target: Target, seconds: float, seed: int) -> tuple[int, Input | None]:
    """Inputs taken, and the first that breaks the target."""
    rng = random.Random(f"{target.name} {seed}")
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        given = target.make(rng)
        count += 1
        if failure(target, given):
            return count, smaller(target, given)
    return count, None


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    options.add_argument("--target", action="append", choices=[target.name for target in ALL])
    options.add_argument("--seed", type=int, default=None, help="default: another one each time")
    arguments = options.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    targets = [target for target in ALL if not arguments.target or target.name in arguments.target]
    print(f"seed {seed}")
    broken = 0
    for target in targets:
        count, crash = fuzz(target, arguments.seconds / len(targets), seed)
        print(f"{target.name:24} {count:8} inputs", "BROKEN" if crash else "")
        if crash:
            broken += 1
            digest = hashlib.sha256(encode(crash)).hexdigest()[:12]
            path = DIRECTORY / f"crash-{target.name.replace('-', '_')}-{digest}"
            path.write_text(encode(crash).hex())
            print(f"  saved as {path}")
            traceback.print_exception(failure(target, crash), file=sys.stdout)
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""From ``sys.argv`` to an exit code: picks the command, runs it under trio, and turns errors into one line each."""

from __future__ import annotations

__all__ = ["main"]

import argparse
import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING

from .._version import __version__
from .arguments import Formatter, IntermixedParser, Parser
from .exits import BROKEN_PIPE, FAILURE, INTERRUPTED, UsageError
from .explain import explain, the_one_cause

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "trio-livekit"

_COMMANDS = ("demo", "server", "publish", "subscribe", "token", "doctor", "top")

_EPILOG = """\
environment:
  LIVEKIT_URL                 the server, where --url is not given
  LIVEKIT_TOKEN               an access token, where --token is not given
  LIVEKIT_API_KEY, LIVEKIT_API_SECRET
                              a key to make tokens with, where there is none

exit codes: 0 done, 1 an error, 2 wrong usage, 3 frames were lost (subscribe --strict), 130 Ctrl-C,
            141 nobody reads the output any more
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    try:
        return _run(_parser(), argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _flush_stdout()


def _run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    with contextlib.suppress(AttributeError, ValueError):  # replaced by a test, or closed
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    args, unknown = parser.parse_known_args(argv)
    command: Parser = args.parser
    if unknown:
        command.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        return int(args.run(args))
    except UsageError as error:
        command.error(str(error))
    except Exception as error:
        if isinstance(the_one_cause(error), BrokenPipeError):
            _forget_stdout()
            return BROKEN_PIPE
        if getattr(args, "debug", False):
            raise
        _complain(explain(error))
        return FAILURE
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    everywhere = IntermixedParser(add_help=False)
    everywhere.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks instead of one line"
    )
    parser = Parser(
        PROGRAM,
        description="LiveKit data tracks from the command line.",
        epilog=_EPILOG,
        formatter_class=Formatter,
        parents=[everywhere],
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=IntermixedParser)
    for name in _COMMANDS:
        module = importlib.import_module(f".{name}", __package__)
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=Formatter,
            parents=[everywhere],
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


def _complain(error: object) -> None:
    with contextlib.suppress(OSError):
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)


def _flush_stdout() -> None:
    """Flush now: the interpreter would do it on its way out, and complain of a closed pipe in its own words."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except (AttributeError, ValueError):
        pass  # there is none, or it is closed


def _forget_stdout() -> None:
    """Nobody reads any more: let what is buffered go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

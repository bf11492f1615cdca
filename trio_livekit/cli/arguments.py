"""What the arguments of several commands have in common: types, help formatting, and how a server is named."""

from __future__ import annotations

__all__ = [
    "Formatter",
    "IntermixedParser",
    "Parser",
    "Target",
    "add_target_arguments",
    "bytes_count",
    "bytes_per_second",
    "duration",
    "positive_count",
    "positive_duration",
    "positive_number",
    "resolve_target",
]

import argparse
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from .exits import USAGE, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..tokens import VideoGrants

_UNITS = {"": 1, "k": 1000, "m": 1000_000, "g": 1000_000_000, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FOREVER_S = 1e9


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions and epilogs as they are written, and a little more room for the names of options."""

    def __init__(self, prog: str, **options: int | None) -> None:
        super().__init__(prog, max_help_position=30, **options)  # type: ignore[arg-type]
        self._action_max_length = 15  # at least; argparse forgets that the names of commands are indented twice


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, instead of the whole usage first."""

    def error(self, message: str) -> NoReturn:
        """Complain, and exit."""
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class IntermixedParser(Parser):
    """Takes positional arguments anywhere among the options.

    By itself ``argparse`` does not find FILE in ``NAME --option FILE`` where FILE may be left out.
    """

    _is_intermixing = False

    def parse_known_args(  # type: ignore[override]  # of the overloads, what the parser of commands calls
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As for any parser; it is the entrance of its intermixing sibling as well."""
        if self._is_intermixing:
            return super().parse_known_args(args, namespace)
        self._is_intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixing = False


def _split_unit(text: str) -> tuple[float, str]:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/")
    return float(number), text[len(number) :]


def positive_number(text: str) -> float:
    """A finite number over zero."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < _FOREVER_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number over zero")
    return value


def positive_count(text: str) -> int:
    """A whole number, 1 or more."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number over zero")
    return int(text)


def duration(text: str) -> float:
    """Seconds, also spelled ``500ms``, ``90s``, ``15m``, ``6h`` or ``1d``."""
    try:
        number, unit = _split_unit(text)
        seconds = number * _TIME_UNITS[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds < _FOREVER_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration (try 2, 500ms, 15m, 6h)")
    return seconds


def positive_duration(text: str) -> float:
    """The same, and not none at all."""
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all (try 500ms, 15m, 6h)")
    return seconds


def bytes_count(text: str) -> int:
    """A number of bytes over zero, also spelled ``16k`` or ``16Ki``."""
    try:
        number, unit = _split_unit(text)
        value = number * _UNITS[unit.lower().removesuffix("b")]
    except (ValueError, KeyError):
        value = 0.0
    if not 1 <= value < _FOREVER_S * 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes (try 16000, 16k, 2M)")
    return int(value)


def bytes_per_second(text: str) -> float | None:
    """A rate in bytes per second, or ``None`` for ``unlimited``."""
    if text == "unlimited":
        return None
    try:
        return float(bytes_count(text.removesuffix("/s")))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate in bytes per second (try 500k, 2M, unlimited)") from None


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the token to join it with."""

    url: str
    token: str = field(repr=False)
    identity: str | None = None  # if the token was made here


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a server and who joins it."""
    group = parser.add_argument_group(
        "the server", "A token, or a key and its secret to make one with. Each can come from the environment."
    )
    group.add_argument("--url", metavar="URL", help="ws://host:port or wss://host (LIVEKIT_URL)")
    group.add_argument("--token", help="an access token (LIVEKIT_TOKEN)")
    group.add_argument("--api-key", metavar="KEY", help="make the token with this key (LIVEKIT_API_KEY)")
    group.add_argument("--api-secret", metavar="SECRET", help="and this secret (LIVEKIT_API_SECRET)")
    group.add_argument("--room", help="the room to join, with a token made here")
    group.add_argument("--identity", help="who joins, with a token made here (default: a name of its own)")
    group.add_argument(
        "--join-timeout",
        type=positive_duration,
        default=15.0,
        metavar="S",
        help="seconds joining may take (default: 15)",
    )


def resolve_target(args: argparse.Namespace, role: str, grants: VideoGrants | None = None) -> Target:
    """The server that ``args`` and the environment name. A token that is made here has ``grants``.

    What is said on the command line goes before the environment, and a token before a key.

    Raises:
        UsageError: something is missing.
    """
    url = args.url or os.environ.get("LIVEKIT_URL")
    if not url:
        raise UsageError("no server: give --url, or set LIVEKIT_URL")
    makes_token = args.api_key or args.api_secret or args.room or args.identity
    token = args.token or (None if makes_token else os.environ.get("LIVEKIT_TOKEN"))
    if token:
        if makes_token:
            raise UsageError("--token says who joins which room: --room, --identity and --api-key do not go with it")
        return Target(url, token)
    return _with_own_token(args, url, role, grants)


def _with_own_token(args: argparse.Namespace, url: str, role: str, grants: VideoGrants | None) -> Target:
    from ..tokens import access_token

    api_key = args.api_key or os.environ.get("LIVEKIT_API_KEY")
    api_secret = args.api_secret or os.environ.get("LIVEKIT_API_SECRET")
    if not (api_key and api_secret):
        raise UsageError(
            "no token: give --token (or set LIVEKIT_TOKEN), or --room with --api-key and --api-secret"
            " (or set LIVEKIT_API_KEY and LIVEKIT_API_SECRET)"
        )
    if not args.room:
        raise UsageError("no room: give --room, or a --token that names one")
    identity = args.identity or f"{role}-{secrets.token_hex(3)}"
    return Target(url, access_token(api_key, api_secret, identity=identity, room=args.room, grants=grants), identity)

"""``trio-livekit token``: make an access token."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

import argparse
import os
import re
import textwrap
from dataclasses import fields
from typing import Any

from ..tokens import VideoGrants, access_token
from .arguments import positive_duration
from .exits import OK, UsageError

SUMMARY = "make an access token"
DESCRIPTION = "Make an access token with an API key and its secret, and print it. No server is asked."

_TEXTS = {"destination_room"}
_LISTS = {"can_publish_sources"}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_GRANTS = {grant.name for grant in fields(VideoGrants)} - {"room"}

EPILOG = f"""\
grants, which may be spelled as LiveKit does (canPublish):
{textwrap.fill(", ".join(sorted(_GRANTS)), 100, initial_indent="  ", subsequent_indent="  ")}

example:
  trio-livekit token --api-key devkey --api-secret "$SECRET" --room lab --identity robot --ttl 1h \\
      --grant can_subscribe=false
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``trio-livekit token`` takes."""
    parser.add_argument("--api-key", metavar="KEY", help="the key (LIVEKIT_API_KEY)")
    parser.add_argument("--api-secret", metavar="SECRET", help="its secret (LIVEKIT_API_SECRET)")
    parser.add_argument("--room", required=True, help="the room that may be joined")
    parser.add_argument("--identity", required=True, help="who it is for; one identity is in a room only once")
    parser.add_argument("--name", help="what others are shown")
    parser.add_argument("--metadata", help="text that others in the room can read")
    parser.add_argument(
        "--attribute", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="the same, by key; repeatable"
    )
    parser.add_argument(
        "--ttl",
        type=positive_duration,
        default=6 * 3600.0,
        metavar="TIME",
        help="how long it can be used to join (default: 6h)",
    )
    parser.add_argument(
        "--grant", action="append", default=[], type=_grant, metavar="NAME=VALUE", help="a permission; repeatable"
    )


def run(args: argparse.Namespace) -> int:
    """Print the token."""
    api_key = args.api_key or os.environ.get("LIVEKIT_API_KEY")
    api_secret = args.api_secret or os.environ.get("LIVEKIT_API_SECRET")
    if not (api_key and api_secret):
        raise UsageError("give --api-key and --api-secret, or set LIVEKIT_API_KEY and LIVEKIT_API_SECRET")
    print(
        access_token(
            api_key,
            api_secret,
            identity=args.identity,
            room=args.room,
            name=args.name,
            ttl_s=args.ttl,
            grants=VideoGrants(**dict(args.grant)),
            metadata=args.metadata,
            attributes=dict(args.attribute),
        )
    )
    return OK


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _grant(text: str) -> tuple[str, Any]:
    """``canPublish=false`` as ``("can_publish", False)``."""
    key, value = _pair(text)
    name = re.sub(r"(?<=[a-z])([A-Z])", lambda match: "_" + match[1].lower(), key)
    if name not in _GRANTS:
        raise argparse.ArgumentTypeError(f"there is no grant {key!r}; there are {', '.join(sorted(_GRANTS))}")
    if name in _TEXTS:
        return name, value
    if name in _LISTS:
        return name, tuple(source for source in value.split(",") if source)
    if value.lower() not in _TRUTH:
        raise argparse.ArgumentTypeError(f"{key} is true or false, not {value!r}")
    return name, _TRUTH[value.lower()]

"""``trio-livekit server``: the embedded server on its own."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

import os
import shlex
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from .exits import OK, CommandError, UsageError

if TYPE_CHECKING:
    import argparse

    from .interrupt import Interrupt

SUMMARY = "run the embedded server"
DESCRIPTION = """\
Run a LiveKit-compatible data server until Ctrl-C: rooms, participants, data tracks and data packets, on one machine.
Any LiveKit client can join. There is no media, and no cluster.
"""
EPILOG = """\
Without a key of your own the server takes tokens that anybody can make: the development secret is published with the
source. That is fine on 127.0.0.1, and nowhere else.
"""

_WELCOME = """\
trio_livekit server at {url} (Ctrl-C ends it)

in other terminals:
  export LIVEKIT_URL={url} LIVEKIT_API_KEY={key} LIVEKIT_API_SECRET={secret}
  trio-livekit subscribe greetings --room lab
  echo hello | trio-livekit publish greetings --room lab --delay 1
  trio-livekit token --room lab --identity robot     # for any other client
"""


_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``trio-livekit server`` takes."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=7880, help="the TCP port for signalling, 0 for any free one (default: 7880)"
    )
    parser.add_argument("--api-key", metavar="KEY", help="the key of valid tokens (LIVEKIT_API_KEY; default: devkey)")
    parser.add_argument(
        "--api-secret",
        metavar="SECRET",
        help="its secret, 32 characters or more (LIVEKIT_API_SECRET; default: a public one)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from .interrupt import run_interruptible

    api_key = args.api_key or os.environ.get("LIVEKIT_API_KEY")
    api_secret = args.api_secret or os.environ.get("LIVEKIT_API_SECRET")
    if bool(api_key) != bool(api_secret):
        raise UsageError("an API key and its secret go together")
    if not 0 <= args.port <= 65535:
        raise UsageError(f"there is no port {args.port}")
    if not api_secret and args.host not in _LOOPBACK:
        print("warning: the secret of this server is known to everyone; give --api-secret", file=sys.stderr)
    credentials = (api_key, api_secret) if api_key and api_secret else ()
    return run_interruptible(lambda interrupt: _serve(args.host, args.port, credentials, interrupt))


async def _serve(host: str, port: int, credentials: tuple[str, str] | tuple[()], interrupt: Interrupt) -> int:
    import trio

    from ..server import serve

    with interrupt.scope:
        async with AsyncExitStack() as stack:
            try:
                server = await stack.enter_async_context(serve(host, port, *credentials))
            except OSError as error:
                raise CommandError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
            # A secret of the user's own is not for the screen.
            secret = '"$LIVEKIT_API_SECRET"' if credentials else shlex.quote(server.api_secret)
            print(_WELCOME.format(url=server.url, key=shlex.quote(server.api_key), secret=secret), flush=True)
            await trio.sleep_forever()
    return OK

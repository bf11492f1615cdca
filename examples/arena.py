"""Where the examples meet: the server that the environment names, or one of their own.

Set ``LIVEKIT_URL``, ``LIVEKIT_API_KEY`` and ``LIVEKIT_API_SECRET`` to run them on a server of yours.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio_livekit as lk
from trio_livekit.server import serve


@dataclass(frozen=True)
class Arena:
    url: str
    token: Callable[[str, str], str]  # of an identity and a room; your backend would make them


@asynccontextmanager
async def arena() -> AsyncIterator[Arena]:
    url = os.environ.get("LIVEKIT_URL")
    if url is None:
        async with serve() as server:
            yield Arena(server.url, server.token)
        return
    key, secret = os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"]

    def token(identity: str, room: str) -> str:
        return lk.access_token(key, secret, identity=identity, room=room)

    yield Arena(url, token)

"""How a worker is talked to: a line of JSON in on stdin, a line out on stdout for each. The end of stdin ends it.

A worker is a script with a method for each command. The ``op`` of the line names it, and the rest of the line is its
arguments.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[..., Awaitable[dict[str, Any] | None]]


async def handle(worker: object, line: bytes) -> None:
    """Do what one line says and print the answer. What went wrong is an answer as well."""
    command = json.loads(line)
    handler: Handler = getattr(worker, command.pop("op"))
    try:
        answer = await handler(**command) or {}
    except Exception as exc:
        traceback.print_exc()
        answer = {"error": f"{type(exc).__name__}: {exc}"}
    print_line(answer)


def print_line(answer: dict[str, Any]) -> None:
    """One line to the runner."""
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


async def serve_trio(worker: object) -> None:
    """Commands one after the other, under trio and without a thread."""
    import trio

    received = b""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        async for chunk in stream:
            received += chunk
            while b"\n" in received:
                line, _, received = received.partition(b"\n")
                await handle(worker, line)


async def serve_asyncio(worker: object) -> None:
    """The same under asyncio."""
    import asyncio

    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await handle(worker, line)

"""Files, pipes and terminals at the two ends of a command, without holding up the trio loop.

Reads and writes block in a thread. A read from a pipe may never end, so cancelling leaves it behind: its thread is a
daemon, and ends with the process.
"""

from __future__ import annotations

__all__ = ["CHUNK_BYTES", "Input", "Output", "open_input", "open_output", "while_somebody_reads"]

import errno
import os
import select
import stat
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from .exits import CommandError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CHUNK_BYTES = 64 * 1024

_BINARY = getattr(os, "O_BINARY", 0)


class Input:
    """Bytes to be read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def read(self) -> bytes:
        """Some bytes, as soon as there are any; none at the end."""
        return await trio.to_thread.run_sync(os.read, self._fd, CHUNK_BYTES, abandon_on_cancel=True)


class Output:
    """A place to write bytes to."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises ``BrokenPipeError`` when nobody reads any more. Cancelled, it may write some."""
        try:
            await trio.to_thread.run_sync(_write_all, self._fd, data, abandon_on_cancel=True)
        except OSError as error:
            error.filename = self._name
            raise

    async def wait_unread(self) -> None:
        """Wait until nobody reads any more; forever where there is no telling, as for files and terminals."""
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            with suppress(OSError):  # Windows cannot wait for pipes
                await trio.lowlevel.wait_readable(self._fd)  # or an error, which is what comes of the end to write to
                if _is_hung_up(self._fd):
                    return
        await trio.sleep_forever()


@asynccontextmanager
async def while_somebody_reads(output: Output) -> AsyncIterator[None]:
    """End the block with ``BrokenPipeError`` as soon as nobody reads, and not only at the next write.

    What is raised in the block comes out in a group of one.
    """

    async def watch() -> None:
        await output.wait_unread()
        body.cancel("nobody reads the output any more")

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as body:
            nursery.start_soon(watch, name="hang-ups of the output")
            yield
        nursery.cancel_scope.cancel("nobody writes any more")
    if body.cancelled_caught:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _is_hung_up(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextmanager
def open_input(path: str | None) -> Iterator[Input]:
    """A file, or standard input for ``None`` and ``-``. Raises ``OSError``."""
    if path in (None, "-"):
        if sys.stdin is None:
            raise CommandError("standard input is closed; name a file")
        yield Input(sys.stdin.fileno())
        return
    fd = os.open(path, os.O_RDONLY | _BINARY)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):  # which only the first read would say
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        yield Input(fd)
    finally:
        os.close(fd)


@contextmanager
def open_output(path: str | None) -> Iterator[Output]:
    """A file, made or emptied, or standard output for ``None`` and ``-``. Raises ``OSError``."""
    if path in (None, "-"):
        if sys.stdout is None:
            raise CommandError("standard output is closed; name a file")
        yield Output(sys.stdout.fileno(), "standard output")
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
    try:
        yield Output(fd, path)
    finally:
        os.close(fd)

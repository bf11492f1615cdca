"""What must be as it was when a test is over: open files, and the tasks of a trio run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


_CUSHION_S = 0.01  # of the machine's time, whatever clock the test has
_PATIENCE = 100  # as often at least


def open_files() -> dict[int, str]:
    """The open file descriptors of this process with what they lead to; empty where there is no /proc."""
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # the descriptor that read the directory
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


@contextlib.contextmanager
def no_files_left_open() -> Iterator[None]:
    """Fail if the block leaves a file, socket or pipe open that was not open before.

    What only the garbage collector would close counts as open.
    """
    before = open_files()
    yield
    assert not (left := _opened_since(before)), f"left open: {left}"


def _opened_since(before: dict[int, str]) -> dict[int, str]:
    return {number: target for number, target in open_files().items() if before.get(number) != target}


@contextlib.asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail if the block leaves a task running or a file open. For use inside of an async test.

    Give other tasks of the test's own nursery nothing to do meanwhile: they are counted too. A server among them may
    have to hear first that a client is gone, for which it has a while.
    """
    await trio.testing.wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    files = open_files()
    yield
    await trio.testing.wait_all_tasks_blocked()
    patience = _PATIENCE
    while (left := trio.lowlevel.current_statistics().tasks_living - tasks) > 0 or _opened_since(files):
        assert patience, f"{left} tasks left running; left open: {_opened_since(files)}"
        patience -= 1
        await trio.testing.wait_all_tasks_blocked(_CUSHION_S)

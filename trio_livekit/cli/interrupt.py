"""Ctrl-C and SIGTERM as a cancel scope, so that commands can say what they have done before they end."""

from __future__ import annotations

__all__ = ["Interrupt", "run_interruptible"]

import signal
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]  # Windows has two of them


class Interrupt:
    """Where a command says what may be interrupted, and learns that it was.

    Attributes:
        scope: put the interruptible part into it; the first signal cancels it. A second Ctrl-C is a KeyboardInterrupt.
        signum: the signal that came, if one did.
    """

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.signum: int | None = None

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait for the first signal."""
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            task_status.started()
            async for signum in signals:
                self.signum = signum
                break
        self.scope.cancel("interrupted")


def run_interruptible(command: Callable[[Interrupt], Awaitable[int]]) -> int:
    """Run an async command to its end; returns its exit code, or 128 and the number of the signal that ended it."""
    interrupt = Interrupt()
    code = trio.run(_run, command, interrupt, strict_exception_groups=True)
    return code if interrupt.signum is None else 128 + interrupt.signum


async def _run(command: Callable[[Interrupt], Awaitable[int]], interrupt: Interrupt) -> int:
    code, failure = 0, None
    async with trio.open_nursery() as nursery:
        await nursery.start(interrupt.watch, name="signals")
        try:
            code = await command(interrupt)
        except Exception as error:  # not through the nursery, which would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel("the command has ended")
    if failure is not None:
        raise failure
    return code

"""Running an experiment so that it takes down what it has built, however it is told to end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run(act: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """``trio.run``, in which SIGINT and SIGTERM cancel, and which then raises ``KeyboardInterrupt``.

    Python leaves SIGINT alone where it was ignored at the start, as under ``nohup`` and in the background of a script.
    """
    return trio.run(_until_told_to_end, act, arguments)


async def _until_told_to_end(act: Callable[[*Ts], Awaitable[T]], arguments: tuple[*Ts]) -> T:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for _number in signals:
                    nursery.cancel_scope.cancel("told to end")

            nursery.start_soon(listen)
            result = await act(*arguments)
            nursery.cancel_scope.cancel("done")
            return result
    raise KeyboardInterrupt

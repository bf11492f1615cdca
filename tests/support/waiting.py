"""Waiting for what has no event of its own: by looking at it again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LOOK_EVERY_S = 0.005


async def wait_until(condition: Callable[[], T], *, within_s: float = 10.0) -> T:
    """Wait until the condition is true; returns its value. The test fails if that takes longer than ``within_s``.

    ``wait_all_tasks_blocked`` would not do: with a network, and on a busy machine, there may never be such a moment.
    """
    with trio.fail_after(within_s):
        while not (value := condition()):  # noqa: ASYNC110 - so that nothing else need
            await trio.sleep(_LOOK_EVERY_S)
    return value

"""Cancel an operation at every point where it can be cancelled, and see that nothing is left behind.

An instrument of trio counts the scheduling steps of the operation's task and of all tasks below it, and cancels the
operation at step ``k``. The loop over ``k`` ends when the operation finishes before its step ``k`` comes.

    async def join_and_leave():
        async with connect(url, token):
            pass

    await cancel_everywhere(join_and_leave)

An operation has to be repeatable, and to be about the same each time; it runs in the caller's task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .leaks import nothing_left_behind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Operation = Callable[[], Awaitable[object]]

_MOST_STEPS = 20_000
"""An operation of more steps than this is taken to be one that never ends."""


class _StepCounter(trio.abc.Instrument):
    """Counts the steps of one task and its descendants; at step ``cancel_at`` cancels ``scope``, once."""

    def __init__(self, root: trio.lowlevel.Task, scope: trio.CancelScope, cancel_at: int | None) -> None:
        self.steps = 0
        self.fired = False
        self._family = {root}
        self._scope = scope
        self._cancel_at = cancel_at

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        nursery = task.parent_nursery
        if nursery is not None and nursery.parent_task in self._family:
            self._family.add(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._family.discard(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task in self._family:
            self.steps += 1
            if self.steps == self._cancel_at:
                self.fired = True
                self._scope.cancel(f"step {self.steps} of the operation under test")


async def _run(operation: Operation, cancel_at: int | None) -> tuple[_StepCounter, bool]:
    with trio.CancelScope() as scope:
        counter = _StepCounter(trio.lowlevel.current_task(), scope, cancel_at)
        if cancel_at == 0:
            counter.fired = True
            scope.cancel("before the operation under test")
        trio.lowlevel.add_instrument(counter)
        try:
            await operation()
        except BaseException as exc:
            if cancel_at is not None and not isinstance(exc, trio.Cancelled):
                exc.add_note(f"the operation was to be cancelled at step {cancel_at}, and ran {counter.steps}")
            raise
        finally:
            trio.lowlevel.remove_instrument(counter)
    return counter, scope.cancelled_caught


async def count_checkpoints(operation: Operation) -> int:
    """Run an operation to its end; return how many scheduling steps it and its children took after its first."""
    counter, _ = await _run(operation, None)
    return counter.steps


async def run_cancelled_at(operation: Operation, step: int) -> bool:
    """Run an operation and cancel it when its step ``step`` is about to run; 0: before it begins.

    Returns whether the cancellation ended it. False: it was over before, or had no checkpoint left.
    """
    _, cancelled = await _run(operation, step)
    return cancelled


async def cancel_everywhere(
    operation: Operation, *, every: int = 1, after: Callable[[int], Awaitable[object]] | None = None
) -> int:
    """Cancel an operation at step 0, ``every``, 2 * ``every``, ... until it gets through; return the number of runs.

    Each run is checked for tasks and files left behind; ``after(step)`` may check more. Exceptions other than the
    cancellation itself fail the test, with a note that says at which step it was cancelled.
    """
    await operation()  # first once in peace: imports and caches are no leaks
    for step in range(0, _MOST_STEPS, every):
        try:
            async with nothing_left_behind():
                counter, _ = await _run(operation, step)
        except AssertionError as exc:
            exc.add_note(f"the operation was cancelled at step {step}")
            raise
        if after is not None:
            await after(step)
        if not counter.fired:
            return step // every + 1
    raise AssertionError(f"the operation did not end within {_MOST_STEPS} steps")

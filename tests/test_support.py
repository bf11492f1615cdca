"""The helpers of the tests find what they look for: a checker that cannot fail checks nothing."""

from __future__ import annotations

import os
import socket

import pytest
import trio
import trio.testing

from .support.cancel import cancel_everywhere, count_checkpoints, run_cancelled_at
from .support.leaks import no_files_left_open, nothing_left_behind


async def three_checkpoints() -> None:
    for _ in range(3):
        await trio.lowlevel.checkpoint()


async def test_steps_of_the_operation_are_counted():
    async def nothing() -> None:
        pass

    assert await count_checkpoints(nothing) == 0
    assert await count_checkpoints(three_checkpoints) == 3


async def test_steps_of_children_count_and_those_of_strangers_do_not():
    async def with_child() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(three_checkpoints)

    async with trio.open_nursery() as strangers:
        strangers.start_soon(three_checkpoints)
        alone = await count_checkpoints(with_child)
    assert alone == await count_checkpoints(with_child)
    assert alone == 1 + 3 + 1  # the child's first step, its checkpoints, and the parent's last


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4])
async def test_cancellation_comes_at_the_step_asked_for(step):
    reached = []

    async def operation() -> None:
        for number in range(3):
            await trio.lowlevel.checkpoint()
            reached.append(number)

    assert await run_cancelled_at(operation, step) is (step < 4)
    assert reached == list(range(max(0, step - 1)))


async def test_every_step_is_tried_once():
    ends = []

    async def operation() -> None:
        try:
            await three_checkpoints()
        except trio.Cancelled:
            ends.append("cancelled")
            raise
        ends.append("done")

    tried = []

    async def after(step: int) -> None:
        await trio.lowlevel.checkpoint()
        tried.append(step)

    assert await cancel_everywhere(operation, after=after) == 5
    assert tried == [0, 1, 2, 3, 4]
    assert ends == ["done", "cancelled", "cancelled", "cancelled", "cancelled", "done"]


async def test_a_cleanup_that_forgets_is_found_with_its_step():
    left: list[socket.socket] = []

    async def operation() -> None:
        await trio.lowlevel.checkpoint()
        sock = socket.socket()
        left.append(sock)
        await trio.lowlevel.checkpoint()  # a cancellation here leaves the socket open
        sock.close()

    with pytest.raises(AssertionError, match="left open") as caught:
        await cancel_everywhere(operation)
    left[-1].close()
    assert caught.value.__notes__ == ["the operation was cancelled at step 2"]


async def test_a_cleanup_that_raises_is_found_with_its_step():
    async def operation() -> None:
        try:
            await three_checkpoints()
        except trio.Cancelled:
            raise KeyError("lost") from None

    with pytest.raises(KeyError) as caught:
        await cancel_everywhere(operation)
    assert "cancelled at step 0" in caught.value.__notes__[0]


async def test_a_task_left_running_is_found(nursery):
    with pytest.raises(AssertionError, match="1 tasks left running"):
        async with nothing_left_behind():
            nursery.start_soon(trio.sleep_forever)
    nursery.cancel_scope.cancel()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_a_file_left_open_is_found():
    with no_files_left_open():
        socket.socket().close()
    with pytest.raises(AssertionError, match="socket"), no_files_left_open():
        sock = socket.socket()
    sock.close()

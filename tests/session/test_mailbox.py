"""The bounded queue in which the newest wins."""

from __future__ import annotations

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_livekit._session.mailbox import Mailbox
from trio_livekit.errors import RoomDisconnected


async def test_first_in_first_out() -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    for number in range(3):
        mailbox.put(number)
    assert len(mailbox) == 3
    assert [await mailbox.get() for _ in range(3)] == [0, 1, 2]
    assert (mailbox.put_count, mailbox.displaced) == (3, 0)


async def test_at_capacity_the_oldest_makes_room() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    for number in range(5):
        mailbox.put(number)
    assert (mailbox.get_nowait(), mailbox.get_nowait()) == (3, 4)
    assert (mailbox.put_count, mailbox.displaced) == (5, 3)
    with pytest.raises(trio.WouldBlock):
        mailbox.get_nowait()


async def test_a_reader_that_waits_is_woken() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    got: list[int] = []

    async def read() -> None:
        got.append(await mailbox.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        mailbox.put(1)
        mailbox.put(2)
    assert sorted(got) == [1, 2]


async def test_a_cancelled_reader_takes_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.get()
    assert scope.cancelled_caught
    assert mailbox.get_nowait() == 1


async def test_an_item_for_a_reader_cancelled_meanwhile_goes_to_another() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    got: list[int] = []
    scope = trio.CancelScope()

    async def read(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await mailbox.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, scope)
        await wait_all_tasks_blocked()
        scope.cancel()
        mailbox.put(1)  # in the same step
        nursery.start_soon(read, trio.CancelScope())
    assert got == [1]


async def test_the_end_comes_after_what_is_there() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put(1)
    mailbox.end()
    mailbox.put(2)  # too late
    assert await mailbox.get() == 1
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await mailbox.get()


async def test_an_error_at_the_end_is_each_readers_own() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    error = RoomDisconnected("why", "what")
    errors: list[RoomDisconnected] = []

    async def read() -> None:
        with pytest.raises(RoomDisconnected) as caught:
            await mailbox.get()
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        mailbox.end(error)
        mailbox.end()  # the first end counts
    assert [(e.reason, str(e)) for e in errors] == [("why", "what")] * 2
    assert len({id(e) for e in (error, *errors)}) == 3


async def test_closing_drops_what_is_there_and_wakes_readers() -> None:
    mailbox: Mailbox[int] = Mailbox(2)

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await mailbox.get()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        mailbox.close()
    mailbox.put(1)
    assert len(mailbox) == 0
    with pytest.raises(trio.ClosedResourceError):
        mailbox.get_nowait()


async def test_getting_is_a_checkpoint_on_every_path() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put(1)
    with assert_checkpoints():
        await mailbox.get()
    mailbox.end()
    with assert_checkpoints(), pytest.raises(trio.EndOfChannel):
        await mailbox.get()
    mailbox.close()
    with assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
        await mailbox.get()

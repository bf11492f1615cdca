"""What comes out of a private nursery, case by case."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_livekit._session.nursery import lasting_nursery, private_nursery
from trio_livekit.errors import DisconnectReason, InternalError, RoomDisconnected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    PrivateNursery = Callable[[str], AbstractAsyncContextManager[trio.Nursery]]


class UserError(Exception):
    """The block's own."""


@asynccontextmanager
async def background_of(what: str) -> AsyncIterator[trio.Nursery]:
    async with lasting_nursery(what) as (_, background):
        yield background


@pytest.fixture(params=[private_nursery, background_of], ids=["private", "lasting"])
def opened(request: pytest.FixtureRequest) -> PrivateNursery:
    """Either kind: errors of their tasks come out the same."""
    return request.param


async def fail(error: BaseException, after: trio.Event | None = None) -> None:
    if after is not None:
        await after.wait()
    raise error


async def test_a_clean_exit_cancels_the_tasks(opened: PrivateNursery) -> None:
    cancelled = False

    async def background() -> None:
        nonlocal cancelled
        try:
            await trio.sleep_forever()
        finally:
            cancelled = True

    async with opened("it") as nursery:
        nursery.start_soon(background)
        await wait_all_tasks_blocked()
    assert cancelled


async def test_returning_from_the_block(opened: PrivateNursery) -> None:
    async def user() -> str:
        async with opened("it") as nursery:
            nursery.start_soon(trio.sleep_forever)
            return "value"

    assert await user() == "value"


async def test_the_blocks_error_is_the_same_object(opened: PrivateNursery) -> None:
    error = UserError()
    with pytest.raises(UserError) as caught:
        async with opened("it") as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise error
    assert caught.value is error
    assert error.__cause__ is error.__context__ is None


async def test_the_context_of_the_blocks_error_is_kept(opened: PrivateNursery) -> None:
    outer, inner = KeyError("outer"), ValueError("inner")
    caught: BaseException | None = None
    try:
        try:
            raise outer
        except KeyError:
            async with opened("it"):
                try:
                    raise inner
                except ValueError:
                    raise UserError  # noqa: B904 - the context is the point
    except UserError as exc:
        caught = exc
    assert caught is not None
    assert caught.__context__ is inner
    assert inner.__context__ is outer


async def test_an_error_of_ours_in_a_task_comes_out_bare(opened: PrivateNursery) -> None:
    error = RoomDisconnected(DisconnectReason.ROOM_DELETED)
    with pytest.raises(RoomDisconnected) as caught:
        async with opened("it") as nursery:
            nursery.start_soon(fail, error)
            await trio.sleep_forever()
    assert caught.value is error


async def test_a_bug_in_a_task_is_an_internal_error(opened: PrivateNursery) -> None:
    bug = ZeroDivisionError()
    with pytest.raises(InternalError, match="it failed") as caught:
        async with opened("it") as nursery:
            nursery.start_soon(fail, bug)
            await trio.sleep_forever()
    cause = caught.value.__cause__
    assert isinstance(cause, BaseExceptionGroup)
    assert cause.exceptions == (bug,)


async def test_the_blocks_error_wins_and_ours_is_noted(opened: PrivateNursery) -> None:
    error, both = UserError(), trio.Event()
    with pytest.raises(UserError) as caught:
        async with opened("the room") as nursery:
            nursery.start_soon(fail, RoomDisconnected(DisconnectReason.ROOM_DELETED, "lost"), both)
            await wait_all_tasks_blocked()
            try:
                both.set()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
            finally:
                raise error
    assert caught.value is error
    assert any("the room was failing as well" in note and "lost" in note for note in error.__notes__)


async def test_several_errors_of_ours_are_one(opened: PrivateNursery) -> None:
    at_once = trio.Event()
    errors = [RoomDisconnected(DisconnectReason(number)) for number in range(3)]
    with pytest.raises(RoomDisconnected) as caught:
        async with opened("it") as nursery:
            for error in errors:
                nursery.start_soon(fail, error, at_once)
            await wait_all_tasks_blocked()
            at_once.set()
            await trio.sleep_forever()
    assert caught.value in errors


async def test_an_error_of_ours_beside_a_bug_is_an_internal_error_with_both(opened: PrivateNursery) -> None:
    at_once = trio.Event()
    errors = [RoomDisconnected(DisconnectReason.ROOM_DELETED), ZeroDivisionError()]
    with pytest.raises(InternalError) as caught:
        async with opened("it") as nursery:
            for error in errors:
                nursery.start_soon(fail, error, at_once)
            await wait_all_tasks_blocked()
            at_once.set()
            await trio.sleep_forever()
    cause = caught.value.__cause__
    assert isinstance(cause, BaseExceptionGroup)
    assert set(cause.exceptions) == set(errors)


async def test_an_outer_timeout(opened: PrivateNursery) -> None:
    with trio.CancelScope() as scope:
        async with opened("it") as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_outer_timeout_with_a_cleanup_that_fails(opened: PrivateNursery) -> None:
    error = UserError()
    with trio.CancelScope() as scope:
        with pytest.raises(UserError) as caught:
            async with opened("it") as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    raise error
    assert caught.value is error


async def test_a_group_from_the_users_own_nursery_keeps_its_errors(opened: PrivateNursery) -> None:
    one, two = UserError(1), UserError(2)
    with pytest.RaisesGroup(UserError, UserError) as caught:
        async with opened("it") as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with trio.open_nursery() as users:
                users.start_soon(fail, one)
                users.start_soon(fail, two)
    assert set(caught.value.exceptions) == {one, two}


async def test_one_inside_another(opened: PrivateNursery) -> None:
    """The inner one's errors are the block's own for the outer one."""
    error = RoomDisconnected(DisconnectReason.ROOM_DELETED)
    with pytest.raises(RoomDisconnected) as caught:
        async with opened("outer") as outer, opened("inner") as inner:
            outer.start_soon(trio.sleep_forever)
            inner.start_soon(fail, error)
            await trio.sleep_forever()
    assert caught.value is error


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_goes_first(opened: PrivateNursery, interrupt: type[BaseException]) -> None:
    with pytest.raises(interrupt) as caught:
        async with opened("it") as nursery:
            nursery.start_soon(fail, interrupt())
            try:
                await trio.sleep_forever()
            finally:
                raise UserError
    assert caught.value.__suppress_context__  # the group that it was in is not shown with it


# --- what only the lasting one does -----------------------------------------------------------------------------------


async def test_lasting_tasks_serve_the_goodbye_of_a_cancelled_block() -> None:
    send, receive = trio.open_memory_channel[trio.Event](0)

    async def serve() -> None:
        async for request in receive:
            request.set()

    with trio.CancelScope() as scope, receive:
        async with lasting_nursery("it") as (_, background):
            background.start_soon(serve)
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    answered = trio.Event()
                    await send.send(answered)
                    await answered.wait()
    assert scope.cancelled_caught
    assert answered.is_set()


async def test_a_lasting_nursery_can_be_entered_under_cancellation() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with lasting_nursery("it") as (_, background):
            background.start_soon(trio.sleep_forever)
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_the_error_that_ends_the_block_is_chosen_before_the_block_moves() -> None:
    """Whoever wakes a task that has an error to raise, and then cancels the block, has that error come out of it."""
    ended, error = trio.Event(), RoomDisconnected(DisconnectReason.ROOM_DELETED)
    with pytest.raises(RoomDisconnected) as caught:
        async with lasting_nursery("it") as (nursery, _):
            nursery.start_soon(fail, error, ended)
            await wait_all_tasks_blocked()
            ended.set()
            nursery.cancel_scope.cancel()
            await trio.sleep_forever()
    assert caught.value is error

"""A nursery that callers never notice.

A context manager that runs background tasks wants a nursery, and a nursery wraps whatever leaves it in an
``ExceptionGroup``. ``private_nursery`` keeps that to itself: what the user's block raises comes out as it was, and what
our own tasks raise comes out as one plain error.
"""

from __future__ import annotations

__all__ = ["lasting_nursery", "private_nursery"]

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ..errors import InternalError, LiveKitError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def _leaves(exc: BaseException | None) -> Iterator[BaseException]:
    """Every exception inside (nested) groups that is not itself a group."""
    if isinstance(exc, BaseExceptionGroup):
        for child in exc.exceptions:
            yield from _leaves(child)
    elif exc is not None:
        yield exc


def _verdict(what: str, body: BaseException | None, group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception to raise for ``group``, given what (if anything) the user's block raised.

    In order: an interrupt; the user's own error, with ours as notes; one ``LiveKitError`` of ours, bare; anything else
    of ours as ``InternalError``; a cancellation that belongs to an outer scope.
    """
    for leaf in _leaves(group):
        if isinstance(leaf, (KeyboardInterrupt, SystemExit)):
            leaf.__suppress_context__ = True  # else the group that it came in is shown before it, and is the same again
            return leaf
    # Nurseries rebuild nested groups, so a group of the user's is known by its leaves, not by its identity.
    from_body = {id(leaf) for leaf in _leaves(body)}
    theirs: BaseException | None = None
    ours: list[BaseException] = []  # leaves
    for exc in group.exceptions:
        real = [leaf for leaf in _leaves(exc) if not isinstance(leaf, trio.Cancelled)]
        if real and all(id(leaf) in from_body for leaf in real):
            theirs = exc
        elif real:
            ours += real
    if theirs is not None:
        for exc in ours:
            theirs.add_note(f"{what} was failing as well: {exc!r}")
        return theirs
    bare = [exc for exc in ours if isinstance(exc, LiveKitError)]
    if bare and len(bare) == len(ours):
        return bare[0]
    if ours:
        error = InternalError(f"{what} failed")
        error.__cause__ = BaseExceptionGroup(what, ours)
        return error
    return next(_leaves(group))


@asynccontextmanager
async def private_nursery(what: str) -> AsyncIterator[trio.Nursery]:
    """A nursery for the background tasks of ``what`` (named in messages), cancelled when the block ends.

    Raises: what the block raised, the same object; else the ``LiveKitError`` that a task raised, bare; else
    ``InternalError`` from the group of what the tasks raised.
    """
    body: BaseException | None = None
    try:
        # Explicit, so that the application's trio.run(strict_exception_groups=...) does not change the shape.
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            try:
                yield nursery
            except BaseException as exc:
                body = exc
                raise
            nursery.cancel_scope.cancel(f"leaving {what}")
    except BaseExceptionGroup as exc:
        group = exc
    else:
        return
    # Outside the except block: raising inside it would overwrite the __context__ of the user's exception.
    try:
        raise _verdict(what, body, group)
    finally:
        del body, group  # an exception that refers to its own traceback's frame lives until the collector runs


@asynccontextmanager
async def lasting_nursery(what: str) -> AsyncIterator[tuple[trio.Nursery, trio.Nursery]]:
    """A private nursery, and within it one whose tasks last until the block is left, whoever cancels it.

    A cancellation from outside reaches a block and its background tasks at the same moment. With tasks in the second
    nursery the block can still say goodbye through them; they are cancelled when it has.
    """
    shelter = trio.CancelScope(shield=True)
    async with private_nursery(what) as nursery:
        send_opened, opened = trio.open_memory_channel[trio.Nursery](1)
        nursery.start_soon(_open_sheltered, shelter, send_opened, name=f"{what}: background")
        try:
            with trio.CancelScope(shield=True), opened:  # one step; nursery.start() would not survive being cancelled
                background = await opened.receive()
            yield nursery, background
        finally:
            shelter.cancel(f"leaving {what}")


async def _open_sheltered(shelter: trio.CancelScope, send_opened: trio.MemorySendChannel[trio.Nursery]) -> None:
    with shelter:
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            with send_opened:
                send_opened.send_nowait(nursery)
            await trio.sleep_forever()

"""Calls from others: the methods that are served, and the tasks that run their handlers.

Which calls are run is decided by ``_sansio.rpc.invocations``. A handler runs in a task of its own in the room's
nursery, with the context variables of whoever registered it. Nothing that it raises gets into that nursery, except what
is meant for the whole program. It ends before the block of its registration does: a task that outlived the block would
go on with what the blocks around it have closed.
"""

from __future__ import annotations

__all__ = ["Answers", "RpcHandler", "RpcInvocation", "Serving"]

import contextvars
import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from .._sansio.records import dataclass
from .._sansio.rpc.faults import clipped, fault
from .._sansio.rpc.invocations import Invocations, Method, Refusal, Run
from ..errors import (
    DeliveryError,
    LiveKitError,
    RecipientNotFound,
    RoomDisconnected,
    RpcError,
    RpcErrorCode,
    StreamError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .._sansio.packets.messages import RpcFault, RpcRequest

logger = logging.getLogger(__name__)

_WENT_AWAY = (RecipientNotFound, RoomDisconnected, trio.ClosedResourceError, DeliveryError, StreamError)
"""Why a result does not reach its caller though nothing is wrong here: no reason to bother anybody."""


@dataclass(frozen=True, slots=True)
class RpcInvocation:
    """One call of a method, for its handler.

    Attributes:
        request_id: the call's unique name, the same at both ends.
        caller_identity: who calls, as the server says; a random name where it is an application's backend.
        method: what is called.
        payload: what the caller sent.
        response_timeout: seconds after which the caller need not be expected to wait any more.
    """

    request_id: str
    caller_identity: str
    method: str
    payload: str = field(repr=False)
    response_timeout: float


RpcHandler = Callable[[RpcInvocation], Awaitable[str]]
"""What serves a method: ``async def handler(invocation: RpcInvocation) -> str``."""


class Answers(Protocol):
    """How a caller is told what becomes of its call."""

    def ack(self, caller: str, request_id: str) -> None:
        """The request is here. Never waits, and raises nothing."""

    def fault(self, caller: str, request_id: str, said: RpcFault) -> None:
        """The call failed. Never waits, and raises nothing."""

    async def result(self, caller: str, request_id: str, payload: str) -> None:
        """The call succeeded. Waits until all of the result has left; raises a ``LiveKitError`` if it cannot."""


class _Service:
    """One registration: a method, its handler, and the tasks that run it."""

    def __init__(self, method: Method, handler: RpcHandler) -> None:
        self.method = method
        self.handler = handler
        self.context = contextvars.copy_context()
        self.body = trio.CancelScope()
        self.running: set[trio.CancelScope] = set()
        self.idle = trio.Event()
        self._stopped = False

    def stop(self) -> None:
        """Cancel the handlers that run, and those that are about to."""
        self._stopped = True
        for scope in self.running:
            scope.cancel(f"{self.method.name!r} is not served any more")
        if not self.running:
            self.idle.set()

    def begin(self) -> trio.CancelScope:
        """A handler is about to run."""
        scope = trio.CancelScope()
        self.running.add(scope)
        return scope

    def finish(self, scope: trio.CancelScope) -> None:
        """A handler has ended."""
        self.running.discard(scope)
        if self._stopped and not self.running:
            self.idle.set()


class Serving:
    """The methods of one room; their handlers run in ``nursery``."""

    def __init__(self, nursery: trio.Nursery, answers: Answers) -> None:
        self._nursery = nursery
        self._answers = answers
        self._invocations = Invocations()
        self._services: dict[Method, _Service] = {}
        self._over: Exception | None = None

    @asynccontextmanager
    async def register(self, name: str, handler: RpcHandler, limit: int) -> AsyncIterator[None]:
        """Serve a method for as long as the block lasts; see ``Room.register_rpc_method``."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        _check_handler(handler)
        method = self._invocations.register(name, limit)
        service = self._services[method] = _Service(method, handler)
        try:
            with service.body:
                yield
        finally:
            self._invocations.unregister(method)
            service.stop()
            with trio.CancelScope(shield=True):  # as a nursery waits for its tasks, which are cancelled as well
                await service.idle.wait()
            del self._services[method]
        if service.body.cancelled_caught:
            self._check_open()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def on_request(self, request: RpcRequest, caller: str, *, version: int, is_acked: bool = False) -> None:
        """A call, which came in the form of ``version``. While the room is being left, its caller sees us leave."""
        if self._over is not None:
            return
        decision = self._invocations.on_request(request, caller, trio.current_time(), version=version)
        if decision is None:
            return
        if not is_acked:
            self._answers.ack(caller, request.id)
        if isinstance(decision, Refusal):
            self._answers.fault(caller, request.id, decision.fault)
        elif isinstance(decision, Run):
            self._start(self._services[decision.method], request, caller)

    def close(self, over: Exception) -> None:
        """The room was left or lost: ``over`` is what ends the blocks that are still open."""
        self._over = over
        for service in self._services.values():
            service.stop()
            service.body.cancel(str(over))

    async def wait_idle(self) -> None:
        """Wait until no handler is running; after ``close``."""
        for service in list(self._services.values()):
            await service.idle.wait()

    # --- running handlers ---------------------------------------------------------------------------------------------

    def _start(self, service: _Service, request: RpcRequest, caller: str) -> None:
        timeout_s = request.response_timeout_ms / 1000
        invocation = RpcInvocation(request.id, caller, request.method, request.payload, timeout_s)
        name = f"room: serve {request.method!r} for {caller!r}"
        scope = service.begin()
        # This is the task that reads the network, which has a context of its own.
        service.context.run(partial(self._nursery.start_soon, name=name), self._serve, service, scope, invocation)

    async def _serve(self, service: _Service, scope: trio.CancelScope, invocation: RpcInvocation) -> None:
        """Run the handler, and answer, whatever becomes of it."""
        said: RpcFault | None = fault(RpcErrorCode.APPLICATION_ERROR, "the handler was cancelled")
        try:
            with scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                outcome = await self._run(service, invocation)
                if isinstance(outcome, str):
                    said = await self._return(invocation, outcome)
                else:
                    said = outcome
        finally:
            if said is not None:
                self._answers.fault(invocation.caller_identity, invocation.request_id, said)
            self._invocations.on_finished(service.method)
            service.finish(scope)

    async def _run(self, service: _Service, invocation: RpcInvocation) -> str | RpcFault:
        """The handler's result, or the fault that is to be told of it."""
        try:
            awaitable = service.handler(invocation)
            if not isinstance(awaitable, Awaitable):
                text = f"the handler returned {type(awaitable).__name__}, which cannot be awaited: make it an async def"
                raise TypeError(text)
            result = await awaitable
            if not isinstance(result, str):
                raise TypeError(f"a handler returns a str, not {type(result).__name__}")
            result.encode()
        except RpcError as error:
            try:
                return _as_fault(error)
            except Exception:  # its parts are whatever the handler made them of
                logger.exception(
                    "the handler of the method %r raised an RpcError that cannot be sent", invocation.method
                )
        except Exception:
            logger.exception("the handler of the method %r failed", invocation.method)
        except BaseException as exc:
            fatal = _fatal_part(exc)
            if fatal is exc:
                raise
            logger.exception("the handler of the method %r failed", invocation.method)
            if fatal is not None:
                raise fatal from None
        else:
            return result
        return fault(RpcErrorCode.APPLICATION_ERROR)

    async def _return(self, invocation: RpcInvocation, result: str) -> RpcFault | None:
        """Send the result; returns what is to be said instead if that is not possible."""
        try:
            await self._answers.result(invocation.caller_identity, invocation.request_id, result)
        except (LiveKitError, trio.ClosedResourceError) as error:
            level = logging.INFO if isinstance(error, _WENT_AWAY) else logging.WARNING
            logger.log(level, "the result of a call of %r could not be sent: %s", invocation.method, error)
            return fault(RpcErrorCode.APPLICATION_ERROR)
        return None

    def _check_open(self) -> None:
        if self._over is not None:
            raise copy(self._over)


def _check_handler(handler: object) -> None:
    """Refuse what can never serve. A plain function may: it can return what another one made to be awaited."""
    if not callable(handler):
        raise TypeError(f"a handler is an async function that takes the invocation, not {type(handler).__name__}")
    if inspect.isasyncgenfunction(handler):
        raise TypeError("a handler returns its result: an async function that yields cannot serve a method")


def _as_fault(error: RpcError) -> RpcFault:
    """What a handler raised, as it is; but a handler that ran may not pass on that some other handler did not."""
    code = RpcErrorCode.APPLICATION_ERROR if error.executed is False else error.code
    return clipped(code, error.message, error.data)


def _fatal_part(exc: BaseException) -> BaseException | None:
    """What of this has to end more than one call."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.subgroup(lambda part: not isinstance(part, BaseExceptionGroup) and _is_fatal(part))
    return exc if _is_fatal(exc) else None


def _is_fatal(exc: BaseException) -> bool:
    """Interrupts, and a cancellation that is meant for this task. One that a handler got hold of elsewhere is not."""
    if isinstance(exc, trio.Cancelled):
        return trio.current_effective_deadline() == -math.inf
    return not isinstance(exc, Exception)

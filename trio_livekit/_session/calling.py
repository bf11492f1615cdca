"""Calls to others: the tasks that wait for what becomes of them.

What may become of a call is ``_sansio.rpc.calls``. Here it meets the clock, the connection and the task that called,
which does everything itself: it waits for a connection, sends, and waits for the outcome. Whatever ends the call from
outside wakes it up.
"""

from __future__ import annotations

__all__ = ["Calling", "rpc_error"]

import uuid
from copy import copy
from typing import TYPE_CHECKING

import trio

from .._sansio.rpc.calls import Call, Calls, Failed
from .._sansio.rpc.faults import fault
from ..errors import PublishDataError, RpcError, RpcErrorCode, StreamError, StreamErrorReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._sansio.packets.messages import RpcFault, RpcResponse

    Send = Callable[[Call, str, str], Awaitable[object]]


WINDOW = 256
"""Requests to one participant that it has not acknowledged. More of them at once would be a queue in the network and in
the server, which drops what it cannot pass on, and the time in that queue would count as the recipient's silence."""


_PERHAPS_AGAIN = frozenset({StreamErrorReason.SESSION_LOST, StreamErrorReason.RECIPIENT_LEFT})
"""What interrupts a request of several packets, and is not for ever."""


class _Lane:
    """What is under way to one participant."""

    def __init__(self) -> None:
        self.window = trio.Semaphore(WINDOW)
        self.callers = 0


class _Caller:
    """A task that waits for the outcome of its call."""

    __slots__ = ("_holds", "attempt", "called", "ended", "lane")

    def __init__(self, call: Call, lane: _Lane) -> None:
        self.called = call
        self.lane = lane
        self.ended = trio.Event()
        self.attempt = trio.CancelScope()  # around what sends the request
        self._holds = False  # a place in the window

    def wake(self) -> None:
        """There is an outcome, of the call or of the room."""
        self.ended.set()
        self.attempt.cancel("the call has ended")
        self.release()

    async def acquire(self) -> None:
        """Wait for a place in the window."""
        await self.lane.window.acquire()
        self._holds = True

    def release(self) -> None:
        """Somebody else may have the place, if there is one to give."""
        if self._holds:
            self._holds = False
            self.lane.window.release()


class Calling:
    """The calls of one room.

    ``send(call, method, payload)`` sends a request. If it is cancelled, or fails, the request has not left whole,
    unless it has said before, with ``call.on_leaving``, that it may.
    ``is_present`` says whether a participant is in the room, as far as the server has told.
    """

    def __init__(self, send: Send, is_present: Callable[[str], bool]) -> None:
        self._send = send
        self._is_present = is_present
        self._calls = Calls()
        self._callers: dict[Call, _Caller] = {}
        self._lanes: dict[str, _Lane] = {}
        self._is_connected = True
        self._sessions = 0  # lost so far
        self._over: Exception | None = None
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def in_flight(self) -> int:
        """Calls without an outcome."""
        return len(self._calls)

    async def call(self, callee: str, method: str, payload: str, response_timeout_s: float) -> str:
        """Call, and return the result. Raises ``RpcError``, or what ended the room. Cancelling leaves nothing behind.

        A request that may have left is never sent again. One that has not is sent as soon as that is possible.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        deadline = trio.current_time() + response_timeout_s
        call = self._calls.begin(str(uuid.uuid4()), callee, deadline, is_callee_known=self._is_present(callee))
        caller = self._callers[call] = self._enter_lane(call)
        try:
            while call.is_waiting and self._over is None:
                await self._try_to_send(caller, method, payload)
            while call.outcome is None and self._over is None:
                with trio.CancelScope(deadline=call.next_timeout()):
                    await caller.ended.wait()
                call.handle_timeout(trio.current_time())
        finally:
            del self._callers[call]
            self._calls.forget(call)
            self._leave_lane(caller)
        if call.outcome is None:
            self._check_open()
        assert call.outcome is not None
        if isinstance(call.outcome, Failed):
            raise rpc_error(call.outcome.fault, executed=call.outcome.executed)
        return call.outcome.payload

    async def _try_to_send(self, caller: _Caller, method: str, payload: str) -> None:
        """One attempt, until the request has left, the connection is lost, or there is an outcome."""
        call = caller.called
        with trio.CancelScope(deadline=call.deadline) as caller.attempt:
            await caller.acquire()
            await self._wait_reachable(call)
            sessions = self._sessions
            try:
                await self._send(call, method, payload)
            except (PublishDataError, StreamError) as exc:
                self._on_not_sent(call, exc)
            else:
                if sessions == self._sessions:
                    call.on_sent(trio.current_time())
                else:  # it left, and before this task was told so, the session was gone
                    call.fail(RpcErrorCode.RECIPIENT_DISCONNECTED, executed=None)
        if call.is_waiting:
            caller.release()
        if trio.current_time() >= call.deadline and self._is_connected and self._is_missing(call):
            call.fail(RpcErrorCode.RECIPIENT_NOT_FOUND, executed=False)
        call.handle_timeout(trio.current_time())

    def _on_not_sent(self, call: Call, error: PublishDataError | StreamError) -> None:
        """Raises ``RpcError`` if there is no sense in trying again."""
        if call.outcome is None:
            if call.is_waiting and isinstance(error, StreamError) and error.reason in _PERHAPS_AGAIN:
                return
            executed = False if call.is_waiting else None
            raise rpc_error(fault(RpcErrorCode.SEND_FAILED, str(error)), executed=executed) from error

    async def _wait_reachable(self, call: Call) -> None:
        """Wait for a connection; and for a callee that was there when it was lost, and may be about to come back."""
        while not self._is_connected or self._is_missing(call):
            await self._changed.park()

    def _is_missing(self, call: Call) -> bool:
        return call.is_waiting and call.is_callee_known and not self._is_present(call.callee)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def on_ack(self, request_id: str, sender: str) -> None:
        """A callee has a request."""
        call = self._calls.on_ack(request_id, sender)
        if call is not None:
            self._callers[call].release()

    def on_response(self, response: RpcResponse, sender: str) -> None:
        """A callee has answered."""
        self._calls.on_response(response, sender)
        self._wake_ended()

    # --- the session, and who is in it --------------------------------------------------------------------------------

    def on_joined(self, identity: str) -> None:
        """A participant is there."""
        self._calls.on_joined(identity)
        self._changed.unpark_all()

    def on_left(self, identity: str) -> None:
        """A participant is gone, or its session is."""
        self._calls.on_left(identity)
        self._wake_ended()

    def on_links_lost(self) -> None:
        """Nothing can be sent any more. What waits for room is taken back, and waits for a connection."""
        self._is_connected = False
        for call, caller in self._callers.items():
            if call.is_waiting:
                caller.attempt.cancel("the connection is lost")

    def on_session_lost(self) -> None:
        """The session is over, and another is to take its place: of what has left nothing will be heard."""
        self._sessions += 1
        self.on_links_lost()
        self._calls.on_session_lost()
        self._wake_ended()

    def on_connected(self) -> None:
        """There is another session."""
        self._is_connected = True
        self._changed.unpark_all()

    def close(self, over: Exception) -> None:
        """The room was left or lost: ``over`` is what callers are told."""
        self._over = over
        for caller in self._callers.values():
            caller.wake()

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _enter_lane(self, call: Call) -> _Caller:
        lane = self._lanes.setdefault(call.callee, _Lane())
        lane.callers += 1
        return _Caller(call, lane)

    def _leave_lane(self, caller: _Caller) -> None:
        caller.release()
        caller.lane.callers -= 1
        if not caller.lane.callers:
            del self._lanes[caller.called.callee]

    def _check_open(self) -> None:
        if self._over is not None:
            raise copy(self._over)

    def _wake_ended(self) -> None:
        for call in self._calls.poll_ended():
            self._callers[call].wake()


def rpc_error(said: RpcFault, *, executed: bool | None) -> RpcError:
    """A fault as what a caller gets."""
    return RpcError(said.code, said.message, said.data, executed=executed)

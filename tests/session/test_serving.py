"""Serving methods, without a network: what becomes of calls that come while the room is being left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_livekit._sansio.packets.messages import RpcRequest
from trio_livekit._sansio.rpc.invocations import VERSION_STREAM
from trio_livekit._session.serving import RpcInvocation, Serving

if TYPE_CHECKING:
    from trio_livekit._sansio.packets.messages import RpcFault


class Answers:
    """What callers are told."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def ack(self, _caller: str, request_id: str) -> None:
        self.said.append(request_id)

    def fault(self, _caller: str, _request_id: str, said: RpcFault) -> None:
        self.said.append(said)

    async def result(self, _caller: str, _request_id: str, payload: str) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append(payload)


async def test_nothing_begins_while_the_room_is_being_left(nursery: trio.Nursery) -> None:
    """The block of a registration may take its time to end, and its handlers end before it does."""
    answers = Answers()
    serving = Serving(nursery, answers)
    served: list[RpcInvocation] = []
    go_on = trio.Event()

    async def handler(invocation: RpcInvocation) -> str:
        served.append(invocation)
        await trio.lowlevel.checkpoint()
        return "done"

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            async with serving.register("method", handler, 1):
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await go_on.wait()

    def call(request_id: str) -> None:
        request = RpcRequest(request_id, "method", "payload", 1000, VERSION_STREAM)
        serving.on_request(request, "caller", version=VERSION_STREAM)

    await nursery.start(serve)
    call("1")
    await wait_all_tasks_blocked()
    assert answers.said == ["1", "done"]
    serving.close(trio.ClosedResourceError("the room was left"))
    call("2")
    await wait_all_tasks_blocked()
    assert [invocation.request_id for invocation in served] == ["1"]
    assert answers.said == ["1", "done"]
    go_on.set()

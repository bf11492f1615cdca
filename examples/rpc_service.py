"""A robot that can be called: methods for as long as their block lasts, with errors that mean something to the caller.

Each call runs in a task of its own; leaving the block cancels what is still running, and its callers are told.
"""

from __future__ import annotations

import json

import trio
from arena import Arena, arena

import trio_livekit as lk

OUT_OF_REACH = 2001  # codes of an application's own are anything but 1001 to 1999


async def move(call: lk.RpcInvocation) -> str:
    goal = json.loads(call.payload)
    if abs(goal["x"]) > 10:
        raise lk.RpcError(OUT_OF_REACH, "the arm is ten metres long", json.dumps({"limit": 10}))
    await trio.sleep(0.2)
    return json.dumps({"moved_to": goal, "for": call.caller_identity})


async def look(call: lk.RpcInvocation) -> str:
    return str(1 / int(call.payload))  # a bug: its traceback is logged here, and the caller learns that there was one


async def robot(where: Arena, ready: trio.Event) -> None:
    async with (
        lk.connect(where.url, where.token("robot", "lab")) as room,
        room.register_rpc_method("move", move),
        room.register_rpc_method("look", look),
    ):
        ready.set()
        await trio.sleep_forever()


async def operator(where: Arena) -> None:
    async with lk.connect(where.url, where.token("operator", "lab")) as room:
        await room.wait_for_participant("robot", active=True)
        started = trio.current_time()

        async def call(method: str, payload: str) -> None:
            try:
                answer = await room.perform_rpc(
                    destination_identity="robot", method=method, payload=payload, response_timeout=5
                )
                print(f"operator: {method}({payload}) = {answer}")
            except lk.RpcError as error:
                print(f"operator: {method}({payload}) failed: {error.code} {error.message} {error.data}")

        async with trio.open_nursery() as nursery:  # calls run side by side
            for x in (1, 2, 3, 99):
                nursery.start_soon(call, "move", json.dumps({"x": x}))
            nursery.start_soon(call, "look", "0")
            nursery.start_soon(call, "jump", "high")
        print(f"operator: six calls in {trio.current_time() - started:.1f} s")


async def main() -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        ready = trio.Event()
        nursery.start_soon(robot, where, ready)
        await ready.wait()
        await operator(where)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)

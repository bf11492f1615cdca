"""What a program without any logging configuration writes to standard error: what its user has to see, and no more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tests.support.servers import ServerUnderTest

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import sys
import trio
import trio_livekit as lk

url, alice, bob = sys.argv[1:]

async def grip(invocation):
    if "jam" in invocation.payload:
        raise OSError("the gripper is jammed")
    return invocation.payload

async def main():
    async with lk.connect(url, alice) as caller, lk.connect(url, bob) as robot:
        async with robot.register_rpc_method("grip", grip), robot.events() as events:
            for scenario in lk.SimulateScenario.SIGNAL_RECONNECT, lk.SimulateScenario.FULL_RECONNECT:
                await robot.simulate(scenario)
                while not isinstance(await events.receive(), lk.events.Reconnected):
                    pass
            await caller.wait_for_participant("bob")
            for payload in "a secret cup", "a secret jam":
                try:
                    print(await caller.perform_rpc(destination_identity="bob", method="grip", payload=payload))
                except lk.RpcError as error:
                    print(error.code, error.message, repr(error.data))

trio.run(main)
"""


async def test_a_failing_handler_is_seen_once_its_caller_learns_nothing_and_nothing_else_is_said(
    server: ServerUnderTest, room_name: str
) -> None:
    """Joining, reconnecting of both kinds, and leaving are silent."""
    tokens = [server.token(identity, room_name) for identity in ("alice", "bob")]
    with trio.fail_after(60):
        command = [sys.executable, "-c", PROGRAM, server.url, *tokens]
        ran = await trio.run_process(command, capture_stdout=True, capture_stderr=True, cwd=ROOT)
    assert ran.stdout.decode() == "a secret cup\n1500 Application error in method handler ''\n"
    errors = ran.stderr.decode()
    assert errors.startswith("the handler of the method 'grip' failed\nTraceback (most recent call last):\n")
    assert errors.endswith("\nOSError: the gripper is jammed\n")
    assert errors.count("Traceback") == errors.count("OSError: the gripper is jammed") == 1
    assert not any(secret in errors for secret in (*tokens, server.api_secret, "a secret"))

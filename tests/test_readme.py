"""Every Python example of the README, run against the embedded server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

import trio_livekit as lk
from trio_livekit.server import serve

if TYPE_CHECKING:
    import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block(words: str) -> dict[str, Any]:
    """The namespace of the one example that contains ``words``, after it was executed."""
    (source,) = (block for block in BLOCKS if words in block)
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(source, f"README.md: {words}", "exec"), namespace)
    return namespace


def test_every_example_is_run_here() -> None:
    used = (
        "async def robot",
        "async def watch",
        "lk.access_token",
        "async def patient",
        "async def commander",
        "async def author",
        "async def confidential",
        "async def gripper",
        "trio.run(main)",
    )
    assert len(BLOCKS) == len(used)
    assert all(sum(words in source for source in BLOCKS) == 1 for words in used)


async def test_a_robot_and_an_operator(capsys: pytest.CaptureFixture[str]) -> None:
    example = block("async def robot")
    async with serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(example["operator"], server.url, server.token("operator", "arena"))
        await example["robot"](server.url, server.token("robot", "arena"))
        nursery.cancel_scope.cancel()  # the operator stays for as long as it is let
    assert "scan 99" in capsys.readouterr().out


async def test_calls(capsys: pytest.CaptureFixture[str]) -> None:
    example = block("async def gripper")
    async with (
        serve() as server,
        lk.connect(server.url, server.token("robot", "arena")) as robot,
        lk.connect(server.url, server.token("operator", "arena")) as operator,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(example["gripper"], robot)
        await trio.testing.wait_all_tasks_blocked()
        await example["controller"](operator)
        nursery.cancel_scope.cancel()
    out = capsys.readouterr().out
    assert "operator has the cup" in out
    assert "101 too heavy 20 kg at most True" in out


async def test_connecting(capsys: pytest.CaptureFixture[str]) -> None:
    main = block("lk.access_token")["main"]
    async with serve() as server:
        await main(server.url, server.api_key, server.api_secret)
        await main(server.url, server.api_key, "not the secret of this server, by any means")
    out = capsys.readouterr().out
    assert "arena []" in out
    assert "never joined: ConnectErrorReason.NOT_ALLOWED" in out


async def test_watching(capsys: pytest.CaptureFixture[str]) -> None:
    watch = block("async def watch")["watch"]
    async with serve() as server, lk.connect(server.url, server.token("watcher", "arena")) as room:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, room)
            await trio.testing.wait_all_tasks_blocked()
            async with lk.connect(server.url, server.token("robot", "arena")) as other:
                async with other.publish_data_track("lidar"):
                    robot = await room.wait_for_participant("robot")
                    await robot.data_tracks.wait_for("lidar")
                    await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    out = capsys.readouterr().out
    assert "robot is here" in out
    assert "robot publishes lidar" in out


async def test_losing_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    patient = block("async def patient")["patient"]
    async with serve() as server, lk.connect(server.url, server.token("other", "arena")) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient, server.url, server.token("patient", "arena"))
            await other.wait_for_participant("patient")
            await trio.testing.wait_all_tasks_blocked(0.05)
            server.drop_signal("arena", "patient")
            out = ""
            with trio.fail_after(5):
                while "back" not in out:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                    out += capsys.readouterr().out
            nursery.cancel_scope.cancel()
    assert out == "lost: ConnectionState.RECONNECTING\nback as if nothing had happened\n"


async def test_data_packets(capsys: pytest.CaptureFixture[str]) -> None:
    example = block("async def commander")
    async with serve() as server, lk.connect(server.url, server.token("boss", "arena")) as boss:
        async with lk.connect(server.url, server.token("robot", "arena")) as robot, trio.open_nursery() as nursery:
            nursery.start_soon(example["listener"], robot)
            await example["commander"](boss)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
    assert capsys.readouterr().out == "boss says stop\n"


async def test_streams(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    example = block("async def author")
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.write_bytes(bytes(range(256)) * 500)
    async with serve() as server, lk.connect(server.url, server.token("author", "arena")) as author:
        async with lk.connect(server.url, server.token("reader", "arena")) as reader, trio.open_nursery() as nursery:
            nursery.start_soon(example["author"], author, original)
            await example["audience"](reader, copy)
    assert capsys.readouterr().out == "hello\nword\n by\n word\n"
    assert copy.read_bytes() == original.read_bytes()


def test_testing_an_application() -> None:
    block("trio.run(main)")


async def test_keeping_it_from_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    confidential = block("async def confidential")["confidential"]
    async with serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(confidential, server.url, server.token("alice", "arena"))
        async with lk.connect(server.url, server.token("mallory", "arena")) as mallory:
            await mallory.wait_for_participant("alice")
            printed = ""
            with trio.fail_after(30):
                while not re.search(r"dropped \d+ from mallory", printed):
                    await mallory.publish_data(b"in the clear")  # again, as she may not listen yet
                    await trio.sleep(0.1)
                    printed += capsys.readouterr().out
        nursery.cancel_scope.cancel()

"""The guide's examples: all of them name what exists, and those that can run by themselves, or with a room, are run."""

from __future__ import annotations

import ast
import inspect
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trio_livekit as lk
from trio_livekit.server import serve
from trio_livekit.testing.rooms import open_rooms

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = [
    (f"{path.stem}-{number}", source)
    for path in sorted(DOCS.rglob("*.md"))
    for number, source in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL), 1)
]


def names_of_ours(tree: ast.AST) -> Iterator[str]:
    """``lk.Room`` and ``lk.events.Reconnected``, as dotted names below ``lk``."""
    for node in ast.walk(tree):
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name) and node.id == "lk":
            yield ".".join(parts)


def definitions(name: str) -> dict[str, Any]:
    """What one example defines; a program has run by then."""
    namespace: dict[str, Any] = {"__name__": f"docs {name}"}
    exec(compile(dict(BLOCKS)[name], name, "exec"), namespace)
    return namespace


@pytest.mark.parametrize(("name", "source"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_examples_name_what_exists(name: str, source: str) -> None:
    for dotted in names_of_ours(ast.parse(source, name)):
        thing: Any = lk
        for part in dotted.split("."):
            if inspect.isclass(thing) and part not in dir(thing):
                pytest.fail(f"lk.{dotted} does not exist")
            thing = getattr(thing, part)


def test_a_server_and_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    definitions("getting-started-1")
    assert capsys.readouterr().out.startswith("ws://127.0.0.1:")
    assert definitions("getting-started-2")["token"].count(".") == 2


def test_all_of_it_in_one_program(capsys: pytest.CaptureFixture[str]) -> None:
    definitions("getting-started-6")
    printed = capsys.readouterr().out.splitlines()
    assert printed  # all but the first ones, which come before anybody has subscribed
    assert all(line.endswith(" °C") for line in printed)


async def test_the_first_room(capsys: pytest.CaptureFixture[str]) -> None:
    visit = definitions("getting-started-3")["visit"]
    track = definitions("getting-started-5")
    async with serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(track["display"], server.url, server.token("display", "lab"))
        await track["thermometer"](server.url, server.token("thermometer", "lab"))
        await visit(server.url, server.token("visitor", "lab"))
        nursery.cancel_scope.cancel()
    out = capsys.readouterr().out
    assert "21.5 °C," in out
    assert "joined lab as visitor" in out


async def test_tasks_in_the_block_of_a_room() -> None:
    async with open_rooms("watcher") as (server, watcher), watcher.events() as events:
        await definitions("scopes-3")["main"](server.url, server.token("robot", "test"))
        published = set()
        while len(published) < 2:
            event = await events.receive()
            if isinstance(event, lk.events.DataTrackPublished):
                published.add(event.track.name)
        assert published == {"left", "right"}


async def test_a_block_that_its_track_ends(capsys: pytest.CaptureFixture[str]) -> None:
    publish = definitions("scopes-2")["publish_as_long_as_allowed"]
    async with open_rooms("robot", "watcher") as (server, robot, watcher), trio.open_nursery() as nursery:
        nursery.start_soon(publish, robot)
        await watcher.participants["robot"].data_tracks.wait_for("pose")
        server.unpublish("test", "robot", "pose")
    assert "PublishErrorReason.UNPUBLISHED" in capsys.readouterr().out


def tasks_in_the_guide() -> set[tuple[str, ...]]:
    """The tree of a room's tasks, as the names from the block of ``connect`` to each of them."""
    text = (DOCS / "guide" / "architecture.md").read_text(encoding="utf-8")
    tree = re.search(r"```text\nthe block of connect\(\)\n(.*?)```", text, re.DOTALL)
    assert tree
    found, above = set(), []
    for line in tree.group(1).splitlines():
        name = re.split(r" {2,}", line.strip())[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth - 1 :] = [name]
        found.add(tuple(above))
    return found


def tasks_below(task: trio.lowlevel.Task, *above: str) -> Iterator[tuple[str, ...]]:
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            names = (*above, child.name.split(" to ")[0])  # websockets are named by their server
            yield names
            yield from tasks_below(child, *names)


async def test_the_tasks_of_a_room_are_those_in_the_guide(nursery: trio.Nursery) -> None:
    async with serve() as server:
        joined, left = trio.Event(), trio.Event()

        async def visit() -> None:
            async with lk.connect(server.url, server.token("robot", "lab")):
                joined.set()
                await left.wait()

        nursery.start_soon(visit, name="visit")
        await joined.wait()
        (visitor,) = (task for task in nursery.child_tasks if task.name == "visit")
        assert set(tasks_below(visitor)) == tasks_in_the_guide()
        left.set()


async def test_what_becomes_of_frames() -> None:
    account = definitions("data-tracks-4")["account"]
    async with open_rooms("robot", "viewer") as (_, robot, viewer), robot.publish_data_track("pose") as track:
        pose = await viewer.participants["robot"].data_tracks.wait_for("pose")
        async with pose.subscribe() as frames:
            track.try_push(b"here")
            await frames.receive()
            account(track, frames)


async def test_a_signal_leaves_the_room() -> None:
    async with open_rooms("watcher") as (server, watcher):

        async def visit() -> None:
            async with lk.connect(server.url, server.token("robot", "test")):
                await watcher.wait_for_participant("robot")
                os.kill(os.getpid(), signal.SIGTERM)
                await trio.sleep_forever()

        await definitions("scopes-6")["until_terminated"](visit)
        assert "robot" not in server.participants("test")


async def test_frames_from_another_thread() -> None:
    async with open_rooms("robot") as (_, robot):
        assert await definitions("data-tracks-2")["publish_readings"](robot, [b"1", b"2"]) == 2


async def test_calls() -> None:
    example = definitions("calls-1")
    async with open_rooms("operator", "robot") as (_, operator, robot), trio.open_nursery() as nursery:
        nursery.start_soon(example["robot"], robot)
        await operator.wait_for_participant("robot", active=True)
        await wait_all_tasks_blocked()
        assert await example["operator"](operator, 3) == "operator"
        assert await example["operator"](operator, 11) == "101: out of reach"
        nursery.cancel_scope.cancel()


async def test_a_receiver_stops_a_file(tmp_path: Path) -> None:
    example = definitions("streams-3")
    path = tmp_path / "file"
    path.write_bytes(bytes(8_000_000))
    results = []

    async def upload(room: lk.Room) -> None:
        results.append(await example["upload"](room, path))

    async with open_rooms("left", "right") as (_, left, right), trio.open_nursery() as nursery:
        nursery.start_soon(upload, left)
        assert await example["first_bytes"](right, 20_000) == bytes(20_000)
    assert results == [False]


@pytest.mark.parametrize("name", ["testing-2", "testing-3"])
async def test_tests_of_an_application(name: str) -> None:
    (test,) = (thing for key, thing in definitions(name).items() if key.startswith("test_"))
    await test()


async def test_a_test_with_the_fixture() -> None:
    async with serve() as server:
        await definitions("testing-1")["test_my_robot"](server)


async def test_what_can_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    report, why = definitions("observability-1")["report"], definitions("observability-3")["why"]
    async with open_rooms("robot", "viewer") as (server, robot, viewer), robot.publish_data_track("pose") as track:
        pose = await viewer.participants["robot"].data_tracks.wait_for("pose")
        async with pose.subscribe() as frames:
            track.try_push(b"here")
            await frames.receive()
            with trio.move_on_after(0.01):
                await report(viewer)
        assert "robot pose 1 frames, 0 lost" in capsys.readouterr().out
        assert not await why(server.url, "no token")
        assert "FAILED token" in capsys.readouterr().out


async def test_a_rehearsal() -> None:
    async with open_rooms("robot") as (_, robot):
        with trio.fail_after(10):
            await definitions("reconnect-3")["rehearse"](robot)

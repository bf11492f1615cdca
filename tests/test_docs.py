"""The guide's examples: all of them name what exists, and those that can run by themselves, or with a room, are run."""

from __future__ import annotations

import ast
import inspect
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trio_livekit as lk
from trio_livekit.server import serve
from trio_livekit.testing.rooms import open_rooms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


# --- participants and events ------------------------------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - what an example did has no event here
            await trio.sleep(0.005)


def test_the_table_of_events_has_them_all_with_what_they_carry() -> None:
    page = (DOCS / "guide" / "participants.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| event \| carries \| \|\n(.*?)\n\n", page, re.DOTALL)
    rows = [row.split("|")[1:3] for row in table.splitlines()[1:]]
    listed = {name.strip(" `"): tuple(re.findall(r"`(\w+)`", carried)) for name, carried in rows}
    events: tuple[Any, ...] = get_args(lk.events.RoomEvent)
    assert listed == {event.__name__: event.__match_args__ for event in events}


async def test_who_is_here_and_finding_a_track() -> None:
    who_is_here, find = definitions("participants-1")["who_is_here"], definitions("participants-2")["find"]
    async with open_rooms("robot", "viewer") as (_, robot, viewer), robot.publish_data_track("pose") as track:
        found = await find(viewer, "robot", "pose")
        assert found.sid == track.sid
        assert who_is_here(viewer) == ["viewer (this client)", "robot: STANDARD, {}, ['pose']"]


async def test_a_track_whose_participant_leaves() -> None:
    find, found = definitions("participants-2")["find"], []

    async def look(room: lk.Room) -> None:
        found.append(await find(room, "robot", "pose"))

    async with open_rooms("viewer") as (server, viewer), trio.open_nursery() as nursery:
        nursery.start_soon(look, viewer)
        async with lk.connect(server.url, server.token("robot", "test")):
            await viewer.wait_for_participant("robot")
            await wait_all_tasks_blocked()
    assert found == [None]


async def test_what_a_client_says_about_itself(capsys: pytest.CaptureFixture[str]) -> None:
    describe_myself = definitions("participants-3")["describe_myself"]
    async with open_rooms("robot", can_update_own_metadata=True) as (server, robot):
        await describe_myself(robot)
        me = robot.local_participant
        assert (me.name, me.metadata, dict(me.attributes)) == ("Robot 7", '{"model": "R2"}', {"mode": "idle"})
        async with lk.connect(server.url, server.token("guest", "test")) as guest:
            await describe_myself(guest)
    assert "not changed: NOT_ALLOWED" in capsys.readouterr().out


async def test_events_beside_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    out: list[str] = []

    def printed(words: str) -> bool:
        out.append(capsys.readouterr().out)
        return words in "".join(out)

    async def work(room: lk.Room) -> None:
        async with lk.connect(server.url, server.token("robot", "lab")):
            await until(lambda: printed("robot came"))
        await until(lambda: printed("robot left: CLIENT_INITIATED"))

    async with serve() as server:
        await definitions("participants-4")["visit"](server.url, server.token("viewer", "lab"), work)


async def test_a_list_of_those_present() -> None:
    shown: list[list[str]] = []
    async with open_rooms("left", "viewer") as (server, _, viewer), trio.open_nursery() as nursery:
        nursery.start_soon(definitions("participants-5")["show_presence"], viewer, shown.append)
        await until(lambda: shown == [["left"]])
        async with lk.connect(server.url, server.token("right", "test")):
            await until(lambda: shown[-1] == ["left", "right"])
        await until(lambda: shown[-1] == ["left"])
        nursery.cancel_scope.cancel()


async def test_following_one_participants_attributes() -> None:
    modes: list[str] = []

    async def drive(mode: str) -> None:
        modes.append(mode)

    async with open_rooms("robot") as (server, robot), trio.open_nursery() as nursery:
        nursery.start_soon(definitions("participants-6")["obey"], robot, drive)
        await until(lambda: modes == ["stop"])
        token = server.token("operator", "test", attributes={"mode": "slow"}, can_update_own_metadata=True)
        async with lk.connect(server.url, token) as operator:
            await until(lambda: modes[1:] == ["slow"])  # as it comes
            await operator.local_participant.set_attributes({"mode": "fast"})
            await until(lambda: modes[2:] == ["fast"])
        await until(lambda: modes[3:] == ["stop"])  # as it leaves
        nursery.cancel_scope.cancel()


async def test_waiting_for_what_the_state_can_say() -> None:
    async with open_rooms("robot") as (server, robot), trio.open_nursery() as nursery:
        async with lk.connect(server.url, server.token("viewer", "test")):
            await robot.wait_for_participant("viewer")
            nursery.start_soon(definitions("participants-7")["wait_alone"], robot)
            await wait_all_tasks_blocked()
        nursery.cancel_scope.deadline = trio.current_time() + 20
    assert not robot.participants
    assert not nursery.cancel_scope.cancelled_caught


async def test_participants_who_stay_are_the_same_in_a_new_session() -> None:
    async with open_rooms("robot", "viewer") as (_, _, viewer), viewer.events() as events:
        before, own_sid = viewer.participants["robot"], viewer.local_participant.sid
        await viewer.simulate(lk.SimulateScenario.FULL_RECONNECT)
        seen: list[object] = []
        with trio.fail_after(20):
            while lk.events.Reconnected(resumed=False) not in seen:
                seen.append(await events.receive())
        assert viewer.participants["robot"] is before
        assert viewer.local_participant.sid != own_sid
        gone_or_new = (lk.events.ParticipantDisconnected, lk.events.ParticipantConnected)
        assert not any(isinstance(event, gone_or_new) for event in seen)

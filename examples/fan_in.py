"""One program in many rooms: every robot has a room of its own, and a fleet monitor listens to all of them.

Each room is a task in one nursery. A room that is lost ends its own task alone and is joined again later; the monitor
reads one channel, whatever becomes of the rooms.
"""

from __future__ import annotations

import json

import trio
from arena import Arena, arena

import trio_livekit as lk

ROBOTS = 8
READINGS = 30


async def robot(where: Arena, number: int) -> None:
    async with lk.connect(where.url, where.token(f"robot-{number}", f"room-{number}")) as room:
        async with room.publish_data_track("battery") as track:
            await room.wait_for_participant("monitor")
            for step in range(READINGS):
                track.try_push(json.dumps({"percent": 100 - step - number}).encode())
                await trio.sleep(0.05)


async def watch_room(where: Arena, name: str, report: trio.MemorySendChannel[tuple[str, int]]) -> None:
    """Report what the robot in one room says, for as long as it is there."""
    with report:
        while True:
            try:
                async with lk.connect(where.url, where.token("monitor", name)) as room:
                    robot = await room.wait_for_participant(name.replace("room", "robot"))
                    battery = await robot.data_tracks.wait_for("battery")
                    async with battery.subscribe() as frames:
                        async for frame in frames:
                            await report.send((robot.identity, json.loads(frame.payload)["percent"]))
                return
            except (lk.ConnectError, lk.RoomDisconnected) as error:
                print(f"{name}: {error}; again in a second")
                await trio.sleep(1)


async def monitor(where: Arena) -> None:
    send, receive = trio.open_memory_channel[tuple[str, int]](64)
    levels: dict[str, int] = {}
    count = 0
    async with trio.open_nursery() as nursery:
        with send:
            for number in range(ROBOTS):
                nursery.start_soon(watch_room, where, f"room-{number}", send.clone())
        async for identity, percent in receive:  # ends when the last room's task does
            levels[identity] = percent
            count += 1
    weakest = min(levels, key=levels.__getitem__)
    print(f"monitor: {count} readings of {len(levels)} robots; {weakest} is down to {levels[weakest]} %")


async def main() -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        nursery.start_soon(monitor, where)
        for number in range(ROBOTS):
            nursery.start_soon(robot, where, number)


if __name__ == "__main__":
    trio.run(main)

"""A vehicle that is driven over the network, and stops by itself when the network does.

The dead man's switch is a cancel scope. Every command that arrives moves the deadline of the scope in which the vehicle
drives; when none arrives in time, whatever the reason, the scope is cancelled and the brakes are on. Commands are lossy
on purpose: an old one is worse than none.
"""

from __future__ import annotations

import struct

import trio
from arena import Arena, arena

import trio_livekit as lk

COMMAND = struct.Struct("<2f")  # speed in m/s, steering in rad
DEAD_MAN_S = 0.3


class Vehicle:
    """What would be motors."""

    def __init__(self) -> None:
        self.speed = self.steering = self.driven = 0.0

    async def drive(self) -> None:
        """The control loop, 50 times a second, until cancelled."""
        try:
            while True:
                self.driven += self.speed * 0.02
                await trio.sleep(0.02)
        finally:
            self.speed = 0.0


async def obey(vehicle: Vehicle, commands: trio.abc.ReceiveChannel[lk.DataTrackFrame]) -> None:
    """Drive for as long as commands keep coming."""
    first = await commands.receive()
    vehicle.speed, vehicle.steering = COMMAND.unpack(first.payload)
    with trio.move_on_after(DEAD_MAN_S) as dead_man:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(vehicle.drive)
            async for command in commands:
                vehicle.speed, vehicle.steering = COMMAND.unpack(command.payload)
                dead_man.deadline = trio.current_time() + DEAD_MAN_S
            nursery.cancel_scope.cancel()
    print(f"vehicle: {'no command in time' if dead_man.cancelled_caught else 'the operator left'}: stopped")


async def vehicle(where: Arena) -> None:
    async with lk.connect(where.url, where.token("vehicle", "track")) as room:
        machine = Vehicle()
        operator = await room.wait_for_participant("operator")
        control = await operator.data_tracks.wait_for("control")
        async with control.subscribe(buffer_size=1) as commands:
            try:
                while True:
                    await obey(machine, commands)
                    print(f"vehicle: {machine.driven:.1f} m so far, speed {machine.speed:.0f}")
            except trio.EndOfChannel:
                print("vehicle: nobody at the controls any more")


async def operator(where: Arena) -> None:
    async with lk.connect(where.url, where.token("operator", "track")) as room:
        async with room.publish_data_track("control") as track:
            await room.wait_for_participant("vehicle")
            for drive in (0.7, 0.7):
                with trio.move_on_after(drive):
                    while True:
                        track.try_push(COMMAND.pack(2.0, 0.1))
                        await trio.sleep(0.05)
                print("operator: hands off")
                await trio.sleep(2 * DEAD_MAN_S)


async def main() -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        nursery.start_soon(vehicle, where)
        nursery.start_soon(operator, where)


if __name__ == "__main__":
    trio.run(main)

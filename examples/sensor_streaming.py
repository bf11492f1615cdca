"""A robot streams an inertial sensor at 100 Hz, and an operator watches its rate and its latency.

The payload is what the sensor says, packed with ``struct``; the time of the reading travels beside it.
"""

from __future__ import annotations

import math
import struct

import trio
from arena import Arena, arena

import trio_livekit as lk

READING = struct.Struct("<6f")  # acceleration in m/s², angular velocity in rad/s; x, y and z of each
RATE_HZ = 100
SECONDS = 2


def read_sensor(now: float) -> tuple[float, ...]:
    """A robot that drives in a circle."""
    return math.cos(now), math.sin(now), 9.81, 0.0, 0.0, 1.0


async def robot(where: Arena) -> None:
    async with lk.connect(where.url, where.token("robot", "lab")) as room, room.publish_data_track("imu") as track:
        due = trio.current_time()
        for _ in range(SECONDS * RATE_HZ):
            try:
                track.try_push(READING.pack(*read_sensor(due)), lk.now_ms())
            except lk.PushError as error:  # a reading that cannot be sent now is not worth sending later
                print("dropped a reading:", error.reason.name)
            due += 1 / RATE_HZ
            await trio.sleep_until(due)
        print(f"robot: {track.statistics().frames_sent} readings sent")


async def operator(where: Arena) -> None:
    async with lk.connect(where.url, where.token("operator", "lab")) as room:
        robot = await room.wait_for_participant("robot")
        imu = await robot.data_tracks.wait_for("imu")
        latencies = []
        async with imu.subscribe() as readings:
            async for reading in readings:  # ends when the robot unpublishes
                *acceleration, _, _, yaw_rate = READING.unpack(reading.payload)
                latencies.append(reading.duration_since_timestamp() or 0.0)
                if len(latencies) % RATE_HZ == 0:
                    size = math.hypot(*acceleration)
                    print(
                        f"operator: |a| = {size:.2f} m/s², yaw {yaw_rate:.1f} rad/s, {latencies[-1] * 1000:.0f} ms old"
                    )
            lost = readings.statistics().frames_lost
        print(f"operator: {len(latencies)} readings, {lost} lost, the oldest {max(latencies) * 1000:.0f} ms old")


async def main() -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        nursery.start_soon(operator, where)
        nursery.start_soon(robot, where)


if __name__ == "__main__":
    trio.run(main)

"""End-to-end encryption: a sensor and an analyst share a key, which the server and an eavesdropper do not have.

The key changes under way: the new one is given to everybody first, under another index, and used after that.
"""

from __future__ import annotations

import trio
from arena import Arena, arena

import trio_livekit as lk

OLD, NEW = "the key of this week", "the key of the next one"


async def sensor(where: Arena) -> None:
    keys = lk.Encryption(shared_key=OLD)
    async with lk.connect(where.url, where.token("sensor", "ward"), encryption=keys) as room:
        async with room.publish_data_track("pulse") as track:
            for identity in ("analyst", "eavesdropper"):
                await room.wait_for_participant(identity)
            await keys.set_shared_key(NEW, index=1, send=False)  # it can be read with from now on
            for beat in range(40):
                if beat == 20:
                    keys.select_shared_key(1)  # and written with
                await track.send(f"{60 + beat % 5} bpm".encode())
                await trio.sleep(0.05)


async def analyst(where: Arena) -> None:
    keys = lk.Encryption(shared_key=OLD)
    await keys.set_shared_key(NEW, index=1, send=False)
    async with lk.connect(where.url, where.token("analyst", "ward"), encryption=keys) as room:
        sensor = await room.wait_for_participant("sensor")
        pulse = await sensor.data_tracks.wait_for("pulse")
        async with pulse.subscribe() as frames:
            readings = [frame.payload.decode() async for frame in frames]
        print(f"analyst: {len(readings)} readings, the last {readings[-1]}, through a change of keys")


async def eavesdropper(where: Arena) -> None:
    keys = lk.Encryption(shared_key="a guess", ratchet_window=0)  # nobody ratchets here
    async with lk.connect(where.url, where.token("eavesdropper", "ward"), encryption=keys) as room:
        sensor = await room.wait_for_participant("sensor")
        pulse = await sensor.data_tracks.wait_for("pulse")
        async with room.events() as events, pulse.subscribe() as frames, trio.open_nursery() as nursery:
            nursery.start_soon(report_failures, events)
            count = 0
            async for _ in frames:
                count += 1
            nursery.cancel_scope.cancel()
        print(f"eavesdropper: {count} readings")


async def report_failures(events: lk.RoomEvents) -> None:
    async for event in events:
        if isinstance(event, lk.events.DecryptionFailed):
            print(f"eavesdropper: cannot decrypt what {event.sender_identity} sends: {event.reason.name}")


async def main() -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        for participant in (sensor, analyst, eavesdropper):
            nursery.start_soon(participant, where)


if __name__ == "__main__":
    trio.run(main)

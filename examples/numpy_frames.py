"""Arrays over a data track: a depth image of 160 x 120 pixels of 16 bits, 20 times a second.

A small header says what the bytes are, so that both ends need not agree beforehand; the receiver's array is a view into
the frame, without a copy. Needs numpy.
"""

from __future__ import annotations

import struct

import numpy as np
import trio
from arena import Arena, arena

import trio_livekit as lk

HEADER = struct.Struct("<2sBB2I")  # dtype, its length in bytes, dimensions, height, width


def pack(image: np.ndarray) -> bytes:
    height, width = image.shape
    header = HEADER.pack(image.dtype.str[1:].encode(), image.itemsize, image.ndim, height, width)
    return header + np.ascontiguousarray(image, image.dtype.newbyteorder("<")).tobytes()


def unpack(payload: bytes) -> np.ndarray:
    """A view into the frame. Frames come from the network: numpy refuses what does not fit."""
    dtype, _, _, height, width = HEADER.unpack_from(payload)
    return np.frombuffer(payload, "<" + dtype.decode(), offset=HEADER.size).reshape(height, width)


def depth_image(step: int) -> np.ndarray:
    """A ball in front of a wall, in millimetres."""
    y, x = np.mgrid[0:120, 0:160]
    ball = (x - 80 - 40 * np.sin(step / 5)) ** 2 + (y - 60) ** 2 < 400
    return np.where(ball, 1200, 3000).astype(np.uint16)


async def camera(where: Arena) -> None:
    async with lk.connect(where.url, where.token("camera", "lab")) as room, room.publish_data_track("depth") as track:
        for step in range(40):
            await track.send(lk.DataTrackFrame(pack(depth_image(step)), lk.now_ms()))  # 38,416 bytes: three packets
            await trio.sleep(0.05)


async def viewer(where: Arena) -> None:
    async with lk.connect(where.url, where.token("viewer", "lab")) as room:
        camera = await room.wait_for_participant("camera")
        depth = await camera.data_tracks.wait_for("depth")
        count = 0
        async with depth.subscribe(buffer_size=2) as frames:  # the newest image is the one that counts
            async for frame in frames:
                image = unpack(frame.payload)
                count += 1
                if count % 10 == 0:
                    column = int(np.median(np.nonzero(image == image.min())[1]))
                    print(
                        f"viewer: image {count}, {image.dtype} {image.shape}, nearest {image.min()} mm at x = {column}"
                    )
        print(f"viewer: {count} images")


async def main() -> None:
    async with arena() as where, trio.open_nursery() as nursery:
        nursery.start_soon(viewer, where)
        nursery.start_soon(camera, where)


if __name__ == "__main__":
    trio.run(main)

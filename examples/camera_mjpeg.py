"""A camera sends JPEG images over a data track, and a page shows them in any browser, as MJPEG.

The camera is a test pattern that Pillow draws, unless OpenCV is installed and ``--camera`` names a device. The viewer
is a participant of the room and a web server at once; each browser has a subscription of its own, and a slow one skips.

    python examples/camera_mjpeg.py [--camera 0] [--seconds N] [--port N]      then open the address that it prints
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from arena import Arena, arena
from PIL import Image, ImageDraw

import trio_livekit as lk

RATE_HZ = 15
PAGE = b"""<!doctype html><meta charset="utf-8"><title>camera</title>
<style>body { background: #111; color: #ddd; font: 14px sans-serif; margin: 2em } img { width: 640px }</style>
<h1>camera</h1><img src="/stream" alt="the camera's images"><p>JPEG frames over a LiveKit data track.</p>"""


def pattern(step: int) -> bytes:
    image = Image.new("RGB", (640, 360), "#203040")
    draw = ImageDraw.Draw(image)
    for column in range(8):
        draw.rectangle((column * 80, 0, column * 80 + 79, 120), fill=f"hsl({column * 45}, 80%, 55%)")
    x, y = 320 + 250 * math.sin(step / 10), 240 + 60 * math.cos(step / 7)
    draw.ellipse((x - 30, y - 30, x + 30, y + 30), fill="#f0c040")
    draw.text((20, 330), f"frame {step}", fill="white")
    return jpeg(image)


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def open_camera(device: int) -> Callable[[int], bytes]:
    import cv2

    capture = cv2.VideoCapture(device)

    def grab(_step: int) -> bytes:
        ok, pixels = capture.read()
        if not ok:
            raise OSError(f"camera {device} gives no image")
        return bytes(cv2.imencode(".jpg", pixels)[1])

    return grab


async def camera(where: Arena, grab: Callable[[int], bytes]) -> None:
    async with lk.connect(where.url, where.token("camera", "studio")) as room:
        async with room.publish_data_track("front") as track:
            step = 0
            while True:
                image = await trio.to_thread.run_sync(grab, step)  # drawing and grabbing take their time
                await track.send(lk.DataTrackFrame(image, lk.now_ms()))
                step += 1
                await trio.sleep(1 / RATE_HZ)


@asynccontextmanager
async def front_camera(where: Arena) -> AsyncIterator[lk.RemoteDataTrack]:
    async with lk.connect(where.url, where.token("viewer", "studio")) as room:
        camera = await room.wait_for_participant("camera")
        yield await camera.data_tracks.wait_for("front")


async def answer(track: lk.RemoteDataTrack, stream: trio.SocketStream) -> None:
    """One browser: a page, or the images for as long as it takes them."""
    async with stream:
        try:
            request = await stream.receive_some(4096)
            if not request.startswith(b"GET /stream "):
                header = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n\r\n"
                await stream.send_all(header.encode() + PAGE)
                return
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=image\r\n\r\n")
            async with track.subscribe(buffer_size=1) as images:  # a browser that is slow gets the newest one next
                async for image in images:
                    part = f"--image\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image.payload)}\r\n\r\n"
                    await stream.send_all(part.encode() + image.payload + b"\r\n")
        except trio.BrokenResourceError:
            pass  # the browser left


async def look(port: int) -> None:
    """A browser of our own, so that this example shows something where there is no screen."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /stream HTTP/1.1\r\n\r\n")
        images = 0
        async for data in stream:
            images += data.count(b"--image")
            if images >= 20:
                print(f"viewer: {images} images seen by a browser")
                return


async def main(seconds: float, port: int, grab: Callable[[int], bytes]) -> None:
    with trio.move_on_after(seconds):
        async with arena() as where, trio.open_nursery() as nursery:
            nursery.start_soon(camera, where, grab)
            async with front_camera(where) as track:
                serve_browsers = partial(trio.serve_tcp, partial(answer, track), port, host="127.0.0.1")
                (listener,) = await nursery.start(serve_browsers)
                port = listener.socket.getsockname()[1]
                print(f"viewer: http://127.0.0.1:{port}/", flush=True)
                await look(port)
                await trio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camera", type=int, help="the number of a device; needs OpenCV")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    source = pattern if arguments.camera is None else open_camera(arguments.camera)
    trio.run(main, arguments.seconds, arguments.port, source)

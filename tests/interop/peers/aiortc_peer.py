"""A WebRTC peer for tests, made of aiortc: same lines, labels and flags as the pion one beside it (see pion/main.go).

Run as a script in a process of its own: aiortc needs asyncio. Descriptions travel as lines of base64 over stdin and
stdout, with all candidates inside; it logs to stderr, and ends when stdin does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import sys

import aioice.ice
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription

FLOOD_DELAY_S = 0.2  # so that the other side has seen the channel open
FLOOD_BUFFER = 4 << 20


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-offer", action="store_true", help="make the offer and read the answer")
    parser.add_argument("-open", default="echo", help="labels of the channels that an offerer opens, with commas")
    parser.add_argument("-lossy", action="store_true", help="open them unordered and without retransmissions")
    parser.add_argument("-ip", default="127.0.0.1", help="the only local address to use; empty: aiortc's own choice")
    parser.add_argument("-fsize", type=int, default=16384, help="bytes in a message of a flood")
    parser.add_argument("-fn", type=int, default=1000, help="messages of a flood")
    return parser.parse_args()


def log(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


class Peer:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pc = RTCPeerConnection()
        self.floods: set[asyncio.Task[None]] = set()
        self.pc.on("datachannel", self.serve)
        self.pc.on("connectionstatechange", lambda: log("state", self.pc.connectionState))

    def serve(self, channel: RTCDataChannel) -> None:
        """Do what the label of a channel says, from its opening on."""
        channel.on("close", lambda: log("closed", channel.label))
        if channel.label == "sink":
            self.sink(channel)
        elif channel.label != "flood":
            channel.on("message", channel.send)
        if channel.readyState == "open":
            self.opened(channel)
        else:
            channel.on("open", lambda: self.opened(channel))

    def sink(self, channel: RTCDataChannel) -> None:
        total = 0

        @channel.on("message")
        def count(message: str | bytes) -> None:
            nonlocal total
            if isinstance(message, str):
                channel.send(str(total))
            else:
                total += len(message)

    def opened(self, channel: RTCDataChannel) -> None:
        log("open", channel.label)
        if channel.label == "flood":
            self.floods.add(asyncio.ensure_future(self.flood(channel)))

    async def flood(self, channel: RTCDataChannel) -> None:
        room = asyncio.Event()
        channel.bufferedAmountLowThreshold = FLOOD_BUFFER // 2
        channel.on("bufferedamountlow", room.set)
        await asyncio.sleep(FLOOD_DELAY_S)
        for _ in range(self.options.fn):
            if channel.bufferedAmount > FLOOD_BUFFER:
                room.clear()
                await room.wait()
            channel.send(bytes(self.options.fsize))
        channel.send("end")

    async def offer(self, lines: asyncio.StreamReader) -> None:
        reliability = {"ordered": False, "maxRetransmits": 0} if self.options.lossy else {}
        for label in self.options.open.split(","):
            self.serve(self.pc.createDataChannel(label, **reliability))
        await self.publish(await self.pc.createOffer())
        await self.pc.setRemoteDescription(RTCSessionDescription(await read(lines), "answer"))

    async def answer(self, lines: asyncio.StreamReader) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(await read(lines), "offer"))
        await self.publish(await self.pc.createAnswer())

    async def publish(self, description: RTCSessionDescription) -> None:
        await self.pc.setLocalDescription(description)  # gathers all candidates first
        print(base64.b64encode(self.pc.localDescription.sdp.encode()).decode(), flush=True)


async def read(lines: asyncio.StreamReader) -> str:
    return base64.b64decode(await lines.readline()).decode()


async def main() -> None:
    options = parse_options()
    if options.ip:  # aioice never offers a loopback address of its own accord
        aioice.ice.get_host_addresses = lambda *_, **__: [options.ip]
    lines = asyncio.StreamReader(limit=1 << 16)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peer = Peer(options)
    await (peer.offer(lines) if options.offer else peer.answer(lines))
    await lines.read()
    await peer.pc.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())

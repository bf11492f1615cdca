"""Records the corpus: sessions with ourselves, pion, aiortc and livekit-server, noted where they are in the clear.

    python -m tests.fuzz.record

Needs what the interop tests need; what cannot be had is left out, with a word about it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

import trio_livekit as lk
from trio_livekit._sansio import peer as peer_module
from trio_livekit._sansio.channels.table import DataChannels
from trio_livekit._sansio.sctp.packet import HEADER_SIZE, next_chunk
from trio_livekit._sansio.tracks import subscriptions
from trio_livekit._session import packets, signalling
from trio_livekit._transport.peer import PeerConfig
from trio_livekit.testing.faults import LinkModel

from ..interop.exchange import offer_to
from ..sansio.peers import connect, make_pair, open_channel
from ..support.connections import running
from ..support.livekit import find_server, run_server
from ..support.peers import AIORTC_COMMAND, Unavailable, build_go, open_peer
from .corpus import KINDS, Recorded, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOSTS = ("127.0.0.1",)
MOST_OF_A_SHAPE = 2
"""Of datagrams that differ in their contents alone."""


class Recorder:
    """Keeps the first few datagrams of each shape."""

    def __init__(self) -> None:
        self.source = ""
        self.entries: dict[str, list[Recorded]] = {kind: [] for kind in KINDS}
        self._shapes: dict[tuple[Any, ...], int] = {}

    def note(self, kind: str, direction: str, data: bytes) -> None:
        shape = (kind, self.source, direction, *_shape(kind, data))
        self._shapes[shape] = self._shapes.get(shape, 0) + 1
        if self._shapes[shape] <= MOST_OF_A_SHAPE:
            self.entries[kind].append(Recorded(self.source, direction, bytes(data)))


def _shape(kind: str, data: bytes) -> tuple[Any, ...]:
    if kind == "sctp":
        kinds, offset = [], HEADER_SIZE
        with contextlib.suppress(Exception):
            while offset < len(data):
                chunk, flags, body, offset = next_chunk(data, offset)
                kinds.append((chunk, flags, len(body) > 200))
        return tuple(kinds[:3])
    if kind == "stun":
        return data[:2], len(data) // 16
    if kind == "dtls":
        return data[0], data[13:14], len(data) // 64
    if kind == "dcep":
        return (data[:2],)
    return data[:1], len(data).bit_length()


@contextlib.contextmanager
def listening(recorder: Recorder) -> Iterator[None]:
    """While the block runs, every peer connection and codec of this process is overheard."""
    with contextlib.ExitStack() as stack:

        def wrap(owner: Any, name: str, before: Callable[..., None] | None, after: Callable[..., None] | None) -> None:
            original = getattr(owner, name)

            @functools.wraps(original)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                if before is not None:
                    before(*args)
                result = original(*args, **kwargs)
                if after is not None:
                    after(result)
                return result

            setattr(owner, name, wrapped)
            stack.callback(setattr, owner, name, original)

        def datagram(direction: str, data: bytes) -> None:
            if data[:1] and data[0] <= 3:
                recorder.note("stun", direction, data)
            elif data[:1] and 20 <= data[0] <= 22:
                recorder.note("dtls", direction, data)

        def received(_peer: Any, batch: list[tuple[bytes, Any]], *_: Any) -> None:
            for data, _source in batch:
                datagram("in", data)

        def sent(result: list[tuple[Any, list[bytes]]]) -> None:
            for _path, batch in result:
                for data in batch:
                    datagram("out", data)

        def packets_out(result: list[bytes]) -> None:
            for data in result:
                recorder.note("sctp", "out", data)

        wrap(peer_module.Peer, "receive_datagrams", received, None)
        wrap(peer_module.Peer, "datagrams_to_send", None, sent)
        wrap(DataChannels, "receive_datagram", lambda _, data, now: recorder.note("sctp", "in", data), None)
        wrap(DataChannels, "datagrams_to_send", None, packets_out)
        wrap(signalling, "decode_response", lambda data: recorder.note("response", "in", data), None)
        wrap(signalling, "encode_request", None, lambda data: recorder.note("request", "out", data))
        wrap(packets, "decode_packet", lambda data: recorder.note("packet", "in", data), None)
        wrap(subscriptions, "decode_fields", lambda data: recorder.note("track", "in", data), None)
        yield


def with_ourselves() -> None:
    """In virtual time, with loss, so that everything that mends losses is seen too."""
    pair = connect(make_pair(LinkModel(loss=0.05, delay_s=0.02), seed=5))
    reliable = open_channel(pair, "reliable")
    lossy = open_channel(pair, "lossy", ordered=False, max_retransmits=0)
    ordered = open_channel(pair, "ordered and lossy", max_retransmits=1)
    for number in range(60):
        for end in (pair.a, pair.b):
            end.peer.send(reliable, b"%d" % number * 500, pair.now)
            end.peer.send(lossy, b"%d" % number * 1500, pair.now)
            end.peer.send(ordered, b"%d" % number * 700, pair.now, text=True)
        pair.run(0.02)
    pair.run(5)
    pair.a.peer.close_channel(reliable, pair.now)
    pair.run(2)
    pair.a.peer.close(pair.now)
    pair.run(1)


async def with_foreign_peer(command: tuple[str, ...], log: Path) -> None:
    async with open_peer(command, log) as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        echo = connection.peer.open_channel("echo")
        for size in (1, 100, 1200, 5000, 40_000):
            connection.peer.send(echo, bytes(size))
        connection.peer.send(echo, "grün".encode(), text=True)
        await connection.receive(6, echo)
        lossy = connection.peer.open_channel("lossy", ordered=False, max_retransmits=0)
        await connection.opened("lossy")
        for _ in range(10):
            connection.peer.send(lossy, bytes(300))
            await trio.sleep(0.01)
        connection.peer.close_channel(echo)
        await trio.sleep(0.5)


async def with_livekit(directory: Path, binary: Path) -> None:
    with run_server(binary, directory) as server:
        async with (
            lk.connect(server.url, server.token("alice", "corpus")) as alice,
            lk.connect(server.url, server.token("bob", "corpus")) as bob,
        ):
            await bob.wait_for_participant("alice")
            async with bob.data_packets() as arriving, alice.publish_data_track("track") as track:
                remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
                async with remote.subscribe() as frames:
                    for size in (1, 100, 5000, 40_000):
                        track.try_push(bytes(size), user_timestamp=lk.now_ms())
                    with trio.move_on_after(2):
                        async for _ in frames:
                            pass
                for size in (10, 2000):
                    await alice.publish_data(bytes(size), topic="topic")
                with trio.move_on_after(1):
                    async for _ in arriving:
                        pass


def main() -> None:
    recorder = Recorder()
    with listening(recorder), tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        recorder.source = "ours"
        with_ourselves()
        try:
            recorder.source = "pion"
            pion = str(build_go())
            for flags in ([], ["-role", "active"]):
                trio.run(with_foreign_peer, (pion, *flags), directory / "pion.log")
        except Unavailable as exc:
            print(f"pion is left out: {exc}", file=sys.stderr)
        recorder.source = "aiortc"
        trio.run(with_foreign_peer, AIORTC_COMMAND, directory / "aiortc.log")
        binary = find_server()
        if binary is None:
            print("livekit-server is left out: there is none", file=sys.stderr)
        else:
            recorder.source = "livekit"
            trio.run(with_livekit, directory, binary)
    for kind, entries in recorder.entries.items():
        if kind == "dcep":
            entries += opens_among(recorder.entries["sctp"])
        save(kind, entries)
        print(kind, len(entries), sum(len(entry.data) for entry in entries), "bytes")


def opens_among(packets: list[Recorded]) -> list[Recorded]:
    """The messages of DCEP, out of the DATA chunks that carry them."""
    found: dict[bytes, Recorded] = {}
    for source, direction, data in packets:
        offset = HEADER_SIZE
        while offset < len(data):
            kind, _flags, body, offset = next_chunk(data, offset)
            if kind == 0 and body[8:12] == b"\0\0\0\x32":
                found.setdefault(body[12:], Recorded(source, direction, body[12:]))
    return list(found.values())


if __name__ == "__main__":
    main()

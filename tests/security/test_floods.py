"""Live connections and servers under what strangers, odd peers and hostile servers send without end (S7, S34)."""

from __future__ import annotations

import random
import tracemalloc
from collections import deque
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.fuzz import mutators
from tests.fuzz.corpus import recorded
from tests.fuzz.flood import run
from tests.fuzz.meter import Meter
from tests.server.clients import http, signal_client
from tests.support.servers import EmbeddedServer, RealServer
from trio_livekit._sansio.signal import messages as m
from trio_livekit._transport.websocket import WebsocketClosed
from trio_livekit._wire.signal import decode_request, decode_response, encode_request, encode_response
from trio_livekit.errors import DecodeError
from trio_livekit.server import Limits, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import ServerUnderTest
    from trio_livekit._sansio.types import Address

STRANGER: Address = ("198.51.100.66", 6666)


@pytest.fixture(params=["livekit-server", "embedded"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ServerUnderTest]:
    if request.param == "embedded":
        async with serve() as server:
            yield EmbeddedServer(server)
    else:
        yield RealServer(request.getfixturevalue("livekit_server"))


async def test_s7_s34_a_connection_carries_on_under_malformed_datagrams(server: ServerUnderTest) -> None:
    """From another address and from the true one, to the client and to our server; ``tests.fuzz.flood`` is longer."""
    tokens = server.token("alice", "flood"), server.token("bob", "flood")
    tally = await run(server.url, tokens, 2000, random.Random(34), spare_server=server.is_real)
    assert tally.messages >= 80
    assert tally.is_same


async def test_s7_s34_what_a_stranger_sends_is_dropped_before_it_costs() -> None:
    """Counted in calls, as time depends on the machine; nothing is kept of it, and nobody is answered."""
    rng = random.Random(7)
    samples = [entry.data for kind in ("stun", "dtls", "sctp") for entry in recorded(kind)]
    async with serve() as server, lk.connect(server.url, server.token("alice", "room")) as room:
        core = room._session._connection.links._publisher._core
        path = core.ice.selected_path
        assert path is not None
        batches = [
            [(mutators.blind(rng.choice(samples), rng)[:1400], STRANGER) for _ in range(100)] for _ in range(100)
        ]
        core.receive_datagrams(batches[0], path.local, "udp", trio.current_time())
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number, batch in enumerate(batches):
                if number % 20:
                    core.receive_datagrams(batch, path.local, "udp", trio.current_time())
                else:
                    with Meter(100 * len(batch)):
                        core.receive_datagrams(batch, path.local, "udp", trio.current_time())
            assert tracemalloc.get_traced_memory()[0] - before < 64 << 10
        finally:
            tracemalloc.stop()
        assert not [to for to, _ in core.datagrams_to_send(trio.current_time()) if to.remote == STRANGER]
        await room.publish_data(b"still here")


@pytest.mark.parametrize("seed", range(3))
async def test_a_server_that_says_odd_things_ends_the_room_at_worst(seed: int) -> None:
    """Recorded signalling, changed: what it means is taken or not; an exception would be an ``InternalError`` here."""
    rng = random.Random(f"responses {seed}")
    samples = [entry.data for entry in recorded("response")]
    async with serve() as server:
        try:
            async with lk.connect(server.url, server.token("alice", "room"), reconnect=None) as room:
                for _ in range(400):
                    try:
                        response = decode_response(mutators.blind(rng.choice(samples), rng))
                    except DecodeError:
                        continue
                    if response is not None and not isinstance(response, m.Leave):
                        room._session._connection._receive(response)
                    await trio.lowlevel.checkpoint()
        except lk.RoomDisconnected:
            pass
        async with lk.connect(server.url, server.token("alice", "room")) as room:
            assert room.local_participant.identity == "alice"


@pytest.mark.parametrize("seed", range(3))
async def test_a_client_that_says_odd_things_ends_itself_at_worst(seed: int) -> None:
    """Recorded requests, changed, by somebody with a token: others are served as before."""
    rng = random.Random(f"requests {seed}")
    samples = [entry.data for entry in recorded("request")]
    async with serve() as server, lk.connect(server.url, server.token("bob", "room")) as bob:
        for _ in range(2):
            async with signal_client(server, "mallory", "room", can_update_own_metadata=True) as mallory:
                await mallory.expect(m.Join)
                with trio.move_on_after(0.2):
                    try:
                        for _ in range(100):
                            await mallory.websocket.send(mutators.blind(rng.choice(samples), rng))
                    except WebsocketClosed:
                        pass
        async with lk.connect(server.url, server.token("alice", "room")) as alice, bob.data_packets() as packets:
            await alice.publish_data(b"as before")
            with trio.fail_after(10):
                assert (await packets.receive()).payload == b"as before"


async def test_s34_strangers_do_not_keep_members_out() -> None:
    """As many half-open connections as there may be, again and again: who has a token comes in nevertheless."""
    async with serve(limits=Limits(pending_connections=50)) as server, trio.open_nursery() as nursery:
        port = int(server.url.rpartition(":")[2])

        async def crowd() -> None:
            streams: deque[trio.SocketStream] = deque()
            try:
                while True:
                    streams.append(await trio.open_tcp_stream("127.0.0.1", port))
                    if len(streams) > 60:
                        crowded.set()
                        await trio.sleep(0.02)
                        await streams.popleft().aclose()
            finally:
                for stream in streams:
                    stream.socket.close()

        crowded = trio.Event()
        nursery.start_soon(crowd)
        await crowded.wait()
        for _ in range(3):
            async with lk.connect(server.url, server.token("ann", "den")) as room:
                assert room.local_participant.identity == "ann"
        nursery.cancel_scope.cancel("enough")


@pytest.mark.parametrize("field", ["identity", "room", "name", "metadata", "attributes"])
async def test_s34_a_mebibyte_in_a_token_is_refused_unread(field: str) -> None:
    long = "x" * (1 << 20)
    async with serve() as server:
        names = {"identity": "ann", "room": "den"} | ({field: long} if field in ("identity", "room") else {})
        more = {"attributes": {"k": long}} if field == "attributes" else {} if field in names else {field: long}
        token = server.token(**names, **more)
        try:
            status, _ = await http(server, "/rtc/validate", f"Authorization: Bearer {token}")
            assert status == 431
        except trio.BrokenResourceError:
            pass  # refused while it was being sent
        assert server.rooms == {}


async def test_s34_a_flood_of_data_in_one_room_leaves_the_others_alone() -> None:
    """One client sends as fast as it can, to nobody who would read it; in another room messages go to and fro."""
    async with (
        serve() as server,
        lk.connect(server.url, server.token("loud", "noisy")) as loud,
        lk.connect(server.url, server.token("deaf", "noisy")),
        lk.connect(server.url, server.token("ann", "den")) as ann,
        lk.connect(server.url, server.token("bob", "den")) as bob,
        ann.data_packets() as to_ann,
        bob.data_packets() as to_bob,
        trio.open_nursery() as nursery,
    ):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await loud.publish_data(bytes(10_000), reliable=sent % 2 == 0)
                sent += 1

        nursery.start_soon(flood)
        with trio.fail_after(20):
            for number in range(10):
                await ann.publish_data(b"%d" % number)
                assert (await to_bob.receive()).payload == b"%d" % number
                await bob.publish_data(b"%d" % number)
                assert (await to_ann.receive()).payload == b"%d" % number
        nursery.cancel_scope.cancel("enough")
    assert sent > 10


def test_the_corpus_of_signalling_can_be_read_back() -> None:
    """Else the tests above would change nothing that means anything."""
    responses = [decode_response(entry.data) for entry in recorded("response")]
    requests = [decode_request(entry.data) for entry in recorded("request")]
    assert len({type(response) for response in responses if response is not None}) > 8
    assert len({type(request) for request in requests if request is not None}) > 4
    assert all(encode_response(response) for response in responses if response is not None)
    assert all(encode_request(request) for request in requests if request is not None)

"""Cancel everything a client does, at every step at which it can be cancelled, and find nothing left.

After each run there is no task and no open file more than before, nobody is left in the room, nobody is left with a
track, and the same identity and the same name work again at once: the next run uses them.
"""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.support.cancel import cancel_everywhere
from tests.support.cloud import fake_cloud
from tests.support.proxy import signal_proxy
from tests.support.reconnecting import QUICK
from trio_livekit import events as ev

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.servers import EmbeddedServer, RealServer, ServerUnderTest
    from trio_livekit._transport.peer import PeerConnection


pytestmark = pytest.mark.timeout(120)


class Stage:
    """A server, a room, and what is done to both until it is cancelled."""

    def __init__(self, server: ServerUnderTest, room: str) -> None:
        self.server = server
        self.room = room

    def connect(self, identity: str) -> object:
        return lk.connect(self.server.url, self.server.token(identity, self.room))

    async def nobody_is_left(self, _step: int) -> None:
        """Whoever was in the room was seen to leave it."""
        for identity in await self.server.participants(self.room):
            await self.server.wait_gone(self.room, identity)

    async def join_and_leave(self) -> None:
        async with self.connect("alice"):
            pass

    async def join_and_stay(self) -> None:
        async with self.connect("alice"):
            with trio.move_on_after(0.02):
                await trio.sleep_forever()

    async def join_and_publish(self) -> None:
        async with self.connect("alice") as room, room.publish_data_track("track") as track:
            track.try_push(b"x")
            await track.send(bytes(50_000))


@asynccontextmanager
async def two_rooms(stage: Stage) -> AsyncIterator[tuple[lk.Room, lk.Room]]:
    async with stage.connect("alice") as alice, stage.connect("bob") as bob:
        yield alice, bob


def publishing(alice: lk.Room) -> Callable[[], Awaitable[None]]:
    async def publish() -> None:
        async with alice.publish_data_track("track") as track:
            track.try_push(b"x")
            await track.send(bytes(50_000))
            await track.flush()

    return publish


def unpublished(bob: lk.Room) -> Callable[[int], Awaitable[None]]:
    """After each step the other one has seen the track go."""

    async def check(_step: int) -> None:
        with trio.fail_after(5):
            for remote in (await bob.wait_for_participant("alice")).data_tracks:
                await remote.wait_unpublished()

    return check


def reading(track: lk.LocalDataTrack, remote: lk.RemoteDataTrack) -> Callable[[], Awaitable[None]]:
    async def read() -> None:
        async with remote.subscribe() as frames, remote.subscribe() as more_frames:
            track.try_push(b"x")
            track.try_push(b"y")
            assert (await frames.receive()).payload == b"x"
            assert (await more_frames.receive()).payload == b"x"
            assert (await frames.receive()).payload == b"y"

    return read


def listening(alice: lk.Room, bob: lk.Room) -> Callable[[], Awaitable[None]]:
    async def listen() -> None:
        async with bob.events() as events, alice.publish_data_track("heard"):
            async for event in events:
                if isinstance(event, ev.DataTrackPublished):
                    break

    return listen


class Talk:
    """Data packets from alice to bob, with what must hold whenever sending or reading is cancelled."""

    def __init__(self, alice: lk.Room, bob: lk.Room, packets: lk.DataPackets) -> None:
        self.alice = alice
        self.bob = bob
        self.packets = packets  # of all topics
        self.accepted: list[bytes] = []
        self._numbers = itertools.count()

    async def send(self) -> None:
        for _ in range(3):
            payload = str(next(self._numbers)).encode()
            receipt = await self.alice.publish_data(payload, destination_identities=["bob"])
            self.accepted.append(payload)
            await self.alice.publish_data(b"lossy", reliable=False, topic="lossy")
        await receipt.wait_acked()

    async def send_into_a_full_channel(self) -> None:
        """Every call waits: nothing leaves but after it."""
        peer = self.alice._session._connection.links._publisher
        peer._core.blocked = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._unblock, peer)
                while peer._core.blocked:
                    payload = str(next(self._numbers)).encode().ljust(60_000)
                    await self.alice.publish_data(payload)
                    self.accepted.append(payload)
        finally:
            self._free(peer)

    async def _unblock(self, peer: PeerConnection) -> None:
        while not self.alice.packet_statistics().reliable_waiting:
            await trio.lowlevel.checkpoint()
        self._free(peer)

    def _free(self, peer: PeerConnection) -> None:
        peer._core.blocked = False
        peer._flush(trio.current_time())

    async def read(self) -> None:
        async with self.bob.data_packets("read"), self.bob.data_packets("read", buffer_size=1) as packets:
            for number in range(3):
                await self.alice.publish_data(str(number), topic="read")
            for number in range(3):
                assert (await packets.receive()).payload == b"%d" % number

    async def all_is_in_order(self, _step: int) -> None:
        """What was accepted arrives, in order and once; what was cancelled before that does not."""
        mark = str(next(self._numbers)).encode()
        await self.alice.publish_data(mark)
        self.accepted.append(mark)
        got: list[bytes] = []
        with trio.fail_after(5):
            while not got or got[-1] != mark:
                packet = await self.packets.receive()
                if packet.topic == "":
                    got.append(packet.payload)
        assert got == self.accepted
        self.accepted.clear()
        statistics = self.alice.packet_statistics()
        assert statistics.reliable_waiting == 0


@asynccontextmanager
async def talking(stage: Stage) -> AsyncIterator[Talk]:
    async with stage.connect("bob") as bob, stage.connect("alice") as alice, bob.data_packets() as packets:
        yield Talk(alice, bob, packets)


async def echo(invocation: lk.RpcInvocation) -> str:
    return invocation.payload


def calling(alice: lk.Room) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        for payload in ("", "x" * 40_000):
            await alice.perform_rpc(destination_identity="bob", method="echo", payload=payload)

    return call


def serving(alice: lk.Room, bob: lk.Room) -> Callable[[], Awaitable[None]]:
    """A handler that is cancelled while it runs, while it cleans up, and while its result is being sent."""
    fair = (lk.RpcErrorCode.APPLICATION_ERROR, lk.RpcErrorCode.UNSUPPORTED_METHOD)

    async def slow_echo(invocation: lk.RpcInvocation) -> str:
        try:
            await trio.sleep(0.001)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.001)
        return invocation.payload * 20_000

    async def ask(method: str) -> None:
        # Whatever happens to the one who serves, the one who calls has an answer.
        with trio.CancelScope(shield=True), trio.fail_after(5):
            try:
                await alice.perform_rpc(destination_identity="bob", method=method, payload="xyz")
            except lk.RpcError as error:
                if error.code not in fair:
                    raise

    async def serve() -> None:
        async with trio.open_nursery() as nursery, bob.register_rpc_method("serve", slow_echo):
            nursery.start_soon(ask, "serve")
            await trio.sleep(0.005)

    return serve


# --- at every step, against the embedded server -----------------------------------------------------------------------


@pytest.fixture
def stage(embedded_server: EmbeddedServer, room_name: str) -> Stage:
    return Stage(embedded_server, room_name)


async def test_joining_and_leaving(stage: Stage) -> None:
    assert await cancel_everywhere(stage.join_and_leave, after=stage.nobody_is_left) > 20


async def test_publishing(stage: Stage) -> None:
    async with two_rooms(stage) as (alice, bob):
        # Known to bob from the start; a participant without tracks may be announced late.
        async with alice.publish_data_track("first"):
            await (await bob.wait_for_participant("alice")).data_tracks.wait_for("first")
        assert await cancel_everywhere(publishing(alice), after=unpublished(bob)) > 5


async def test_subscribing(stage: Stage) -> None:
    async with two_rooms(stage) as (alice, bob), alice.publish_data_track("track") as track:
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        assert await cancel_everywhere(reading(track, remote)) > 3
        await reading(track, remote)()


async def test_listening(stage: Stage) -> None:
    async with two_rooms(stage) as (alice, bob):
        assert await cancel_everywhere(listening(alice, bob)) > 3


async def test_changing_oneself(stage: Stage) -> None:
    """A change that was cancelled may be made or not; the next one is."""
    token = stage.server.token("alice", stage.room, can_update_own_metadata=True)
    async with lk.connect(stage.server.url, token) as alice:
        me = alice.local_participant

        async def change() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(me.set_name, "changed")
                nursery.start_soon(me.set_attributes, {"key": "value"})

        async def nothing_waits(_step: int) -> None:
            assert not alice._session.inquiries.in_flight
            await me.set_name("as before")
            assert me.name == "as before"

        assert await cancel_everywhere(change, after=nothing_waits) > 3


async def test_defining_schemas(stage: Stage) -> None:
    """A definition that was cancelled may be kept or not; the next one is."""
    schema = lk.DataTrackSchema("point", lk.SchemaEncoding.JSON_SCHEMA)
    async with two_rooms(stage) as (alice, bob):

        async def define_and_get() -> None:
            await alice.define_schema(schema, "{}")
            assert await bob.get_schema(schema, "alice") == "{}"

        async def nothing_waits(_step: int) -> None:
            for room in (alice, bob):
                assert not room._session.inquiries.in_flight
            await define_and_get()

        assert await cancel_everywhere(define_and_get, after=nothing_waits) > 3


async def test_joining_in_another_region(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_cloud(monkeypatch) as cloud:
        cloud.regions = [cloud.url, stage.server.url]

        async def join() -> None:
            async with lk.connect(cloud.url, stage.server.token("alice", stage.room)):
                pass

        assert await cancel_everywhere(join, every=8, after=stage.nobody_is_left) > 4


async def test_diagnosing(stage: Stage) -> None:
    alice, bob = (stage.server.token(identity, stage.room) for identity in ("alice", "bob"))

    async def diagnose() -> None:
        await lk.diagnose(stage.server.url, alice, second_token=bob, timeout_s=0.2)

    assert await cancel_everywhere(diagnose, every=80, after=stage.nobody_is_left) > 2


async def test_sending_packets(stage: Stage) -> None:
    async with talking(stage) as talk:
        assert await cancel_everywhere(talk.send, after=talk.all_is_in_order) > 5


async def test_sending_packets_that_have_to_wait(stage: Stage) -> None:
    async with talking(stage) as talk:
        assert await cancel_everywhere(talk.send_into_a_full_channel, after=talk.all_is_in_order) > 5


async def test_reading_packets(stage: Stage) -> None:
    async with talking(stage) as talk:
        assert await cancel_everywhere(talk.read, after=talk.all_is_in_order) > 5


async def test_writing_a_stream(stage: Stage) -> None:
    await write_a_stream(stage)


async def write_a_stream(stage: Stage, *, every: int = 1) -> None:
    """Whenever it is cancelled, the other side gets all of it, an error, or has never heard of it."""
    text = "a text " * 5000
    ends: list[str] = []

    async def read(reader: lk.TextStreamReader) -> None:
        try:
            ends.append("whole" if await reader.read_all() == text else "wrong")
        except lk.StreamError as error:
            ends.append(error.reason.value)

    async with two_rooms(stage) as (alice, bob), bob.text_streams("chat") as streams, trio.open_nursery() as nursery:

        async def accept() -> None:
            async for reader in streams:
                await read(reader)

        async def write() -> None:
            async with alice.open_text_stream("chat") as writer:
                await writer.write(text)

        async def settle(_step: int) -> None:
            """What was sent has been read to its end by then, for packets keep their order."""
            with trio.fail_after(10):
                await alice.send_text(text, topic="chat")
                while True:
                    await trio.sleep(0.001)
                    if ends[-1:] == ["whole"]:
                        break

        nursery.start_soon(accept)
        assert await cancel_everywhere(write, every=every, after=settle) > 3
        assert set(ends) <= {"whole", lk.StreamErrorReason.ABORTED.value}
        assert "aborted" in ends
        nursery.cancel_scope.cancel()


async def test_reading_streams(stage: Stage) -> None:
    await read_streams(stage)


async def read_streams(stage: Stage, *, every: int = 1) -> None:
    async with two_rooms(stage) as (alice, bob):

        async def read() -> None:
            async with bob.text_streams("chat") as streams, trio.open_nursery() as nursery:
                nursery.start_soon(partial(alice.send_text, "hello", topic="chat"))
                async with alice.open_text_stream("chat") as writer:
                    await writer.write("x" * 40_000)
                    readers = [await streams.receive(), await streams.receive()]
                    for reader in readers:
                        assert await reader.receive()
                await readers[0].aclose()

        assert await cancel_everywhere(read, every=every) > 3
        assert not bob._session.streams._incoming.open_count
        assert not bob._session.packets.incoming._held
        assert not alice._session.streams._writers


async def test_calling(stage: Stage) -> None:
    async with two_rooms(stage) as (alice, bob), bob.register_rpc_method("echo", echo):
        await bob.wait_for_participant("alice")
        await alice.wait_for_participant("bob")
        assert await cancel_everywhere(calling(alice)) > 3
        assert alice._session.rpc.calling.in_flight == 0
        await calling(alice)()


async def test_serving(stage: Stage) -> None:
    async with two_rooms(stage) as (alice, bob):
        await bob.wait_for_participant("alice")
        await alice.wait_for_participant("bob")
        assert await cancel_everywhere(serving(alice, bob)) > 3
        assert alice._session.rpc.calling.in_flight == 0


async def test_joining_publishing_and_leaving(stage: Stage) -> None:
    """Sampled: what is nested here is cancelled at every step above."""
    async with stage.connect("observer") as observer:

        async def nobody_else_is_left(_step: int) -> None:
            await stage.server.wait_gone(stage.room, "alice")
            alice = observer.participants.get("alice")
            with trio.fail_after(5):
                for remote in alice.data_tracks if alice else ():
                    await remote.wait_unpublished()

        assert await cancel_everywhere(stage.join_and_publish, every=5, after=nobody_else_is_left) > 5


# --- at some steps, against livekit-server ----------------------------------------------------------------------------


@pytest.fixture
def real_stage(real_server: RealServer, room_name: str) -> Stage:
    return Stage(real_server, room_name)


async def test_joining_and_leaving_a_livekit_server(real_stage: Stage) -> None:
    # Not the smallest numbers: a join that is cancelled before the server has accepted it leaves nothing to check.
    assert await cancel_everywhere(real_stage.join_and_leave, every=6, after=real_stage.nobody_is_left) > 3


async def test_joining_publishing_and_leaving_a_livekit_server(real_stage: Stage) -> None:
    assert await cancel_everywhere(real_stage.join_and_publish, every=9, after=real_stage.nobody_is_left) > 3


async def test_publishing_to_a_livekit_server(real_stage: Stage) -> None:
    async with two_rooms(real_stage) as (alice, bob):
        async with alice.publish_data_track("first"):
            await (await bob.wait_for_participant("alice")).data_tracks.wait_for("first")
        assert await cancel_everywhere(publishing(alice), every=3, after=unpublished(bob)) > 2


async def test_subscribing_on_a_livekit_server(real_stage: Stage) -> None:
    async with two_rooms(real_stage) as (alice, bob), alice.publish_data_track("track") as track:
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        assert await cancel_everywhere(reading(track, remote), every=2) > 2
        await reading(track, remote)()


async def test_packets_through_a_livekit_server(real_stage: Stage) -> None:
    async with talking(real_stage) as talk:
        assert await cancel_everywhere(talk.send, every=2, after=talk.all_is_in_order) > 2
        assert await cancel_everywhere(talk.send_into_a_full_channel, every=3, after=talk.all_is_in_order) > 2
        assert await cancel_everywhere(talk.read, every=2, after=talk.all_is_in_order) > 2


async def test_streams_through_a_livekit_server(real_stage: Stage) -> None:
    await write_a_stream(real_stage, every=2)
    await read_streams(real_stage, every=3)


async def test_calls_through_a_livekit_server(real_stage: Stage) -> None:
    async with two_rooms(real_stage) as (alice, bob), bob.register_rpc_method("echo", echo):
        # Known to each other at once; participants without tracks may be announced late.
        async with alice.publish_data_track("first"), bob.publish_data_track("first"):
            await bob.wait_for_participant("alice")
            await alice.wait_for_participant("bob")
        assert await cancel_everywhere(calling(alice), every=2) > 3
        assert await cancel_everywhere(serving(alice, bob), every=4) > 2
        assert alice._session.rpc.calling.in_flight == 0
        await calling(alice)()


async def test_reconnecting_to_a_livekit_server(real_stage: Stage) -> None:
    """Nobody stays behind, and the same identity is let in again at once."""
    server = real_stage.server
    async with signal_proxy(server.url) as proxy:

        async def lose_and_regain(cut: Callable[[lk.Room], Awaitable[None]]) -> None:
            token = server.token("alice", real_stage.room)
            async with lk.connect(proxy.url, token, reconnect=QUICK) as room:
                async with room.publish_data_track("track"), room.events() as events:
                    await cut(room)
                    async for event in events:
                        if isinstance(event, ev.Reconnected):
                            break

        async def cut_signal(_room: lk.Room) -> None:
            proxy.cut()

        async def fail(room: lk.Room) -> None:
            await room.simulate(lk.SimulateScenario.NODE_FAILURE)

        for cut in (cut_signal, fail):
            operation = partial(lose_and_regain, cut)
            assert await cancel_everywhere(operation, every=37, after=real_stage.nobody_is_left) > 1

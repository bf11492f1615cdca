"""What this package promises of reliable packets, each promise by its name, while things are killed around it.

R1 what was acknowledged has arrived; R2 resumes lose nothing; R3 full reconnects lose nothing in silence; R4 absent
recipients are seen; R5 own absences are seen; R6 streams are complete, or fail; R7 a call is executed once at most, and
always ends; R8 what may be lost is fresh, or nothing; R9 the state is true; R10 everything is bounded.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.old_server import without_v1
from tests.support.proxy import SignalProxy, signal_proxy
from tests.support.reconnecting import QUICK
from tests.support.servers import EmbeddedServer, RealServer
from tests.support.waiting import wait_until
from trio_livekit import events as ev
from trio_livekit._sansio.signal.messages import Simulate
from trio_livekit._sansio.streams import incoming
from trio_livekit._session import packets as module
from trio_livekit._transport.datagrams import UdpEndpoint
from trio_livekit.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.support.livekit import LiveKitServer
    from tests.support.servers import ServerUnderTest
    from trio_livekit._sansio.types import Address

State = lk.ConnectionState
PATIENCE_S = 20

pytestmark = pytest.mark.timeout(90)


class Stage:
    """A room whose members' signalling passes through proxies, one for each."""

    def __init__(self, server: ServerUnderTest, room_name: str, stack: AsyncExitStack) -> None:
        self.server = server
        self.room_name = room_name
        self.proxies: dict[str, SignalProxy] = {}
        self.rooms: dict[str, lk.Room] = {}
        self._stack = stack

    async def enter(self, identity: str, policy: lk.ReconnectPolicy = QUICK) -> lk.Room:
        proxy = await self._stack.enter_async_context(signal_proxy(self.server.url))
        token = self.server.token(identity, self.room_name)
        room = await self._stack.enter_async_context(lk.connect(proxy.url, token, reconnect=policy))
        self.proxies[identity], self.rooms[identity] = proxy, room
        return room

    async def read(self, identity: str) -> lk.DataPackets:
        return await self._stack.enter_async_context(self.rooms[identity].data_packets())

    def lose_session(self, identity: str) -> None:
        """The server forgets somebody, without a word."""
        lose_session(self.rooms[identity])

    async def wait_known(self, identity: str, by: str) -> None:
        """Somebody is told of somebody else; on a livekit-server that takes up to three seconds."""
        with trio.fail_after(PATIENCE_S):
            await self.rooms[by].wait_for_participant(identity)


def lose_session(room: lk.Room) -> None:
    room._session.send_request(Simulate("node_failure", 1))


@asynccontextmanager
async def staged(server: ServerUnderTest, room_name: str, *identities: str) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(server, room_name, stack)
        for identity in identities:
            await stage.enter(identity)
        yield stage


@pytest.fixture
async def stage(server: ServerUnderTest, room_name: str) -> AsyncIterator[Stage]:
    """Bob, who was there first, and alice."""
    async with staged(server, room_name, "bob", "alice") as stage:
        yield stage


class Numbers:
    """One participant's numbered packets, published one after the other until told to stop."""

    def __init__(self, room: lk.Room) -> None:
        self.room = room
        self.receipts: list[lk.Receipt] = []
        self.stopping = False

    async def run(self) -> None:
        for number in itertools.count():
            if self.stopping:
                break
            self.receipts.append(await self.room.publish_data(str(number)))
            await trio.sleep(0.001)

    async def all_acked(self) -> None:
        with trio.fail_after(PATIENCE_S):
            for receipt in self.receipts:
                await receipt.wait_acked()

    async def arrive_in(self, packets: lk.DataPackets) -> None:
        """All of them, once, in order, and nothing besides."""
        with trio.fail_after(PATIENCE_S):
            got = [int((await packets.receive()).payload) for _ in self.receipts]
        assert got == list(range(len(self.receipts)))
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.WouldBlock):
            packets.receive_nowait()


@asynccontextmanager
async def flowing(room: lk.Room) -> AsyncIterator[Numbers]:
    """Packets flow until the end of the block, and then until all are acknowledged."""
    numbers = Numbers(room)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(numbers.run)
        yield numbers
        numbers.stopping = True
    await numbers.all_acked()


@asynccontextmanager
async def reconnecting(room: lk.Room, *, resumed: bool) -> AsyncIterator[None]:
    """In the block a connection is lost; afterwards it is back."""
    async with room.events() as events:
        yield
        with trio.fail_after(PATIENCE_S):
            while not isinstance(event := await events.receive(), ev.Reconnected):
                pass
    assert event.resumed is resumed


@contextmanager
def frozen(server: LiveKitServer) -> Iterator[None]:
    """A server that does nothing at all."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        while not all(_is_stopped(path) for path in Path(f"/proc/{server.pid}/task").glob("*/stat")):
            time.sleep(0.001)
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _is_stopped(stat: Path) -> bool:
    return stat.read_text().rpartition(")")[2].split()[0] in "Tt"


def lose_bytes(room: lk.Room) -> None:
    """From here on nothing leaves but checks of the path, which find it in order."""
    room._session._connection.links._publisher._core.blocked = True


# --- R1: what was acknowledged has arrived ----------------------------------------------------------------------------


async def test_R1_what_is_acknowledged_has_arrived(stage: Stage) -> None:
    packets = await stage.read("bob")
    async with flowing(stage.rooms["alice"]) as numbers:
        for _ in range(3):
            await trio.sleep(0.05)
            stage.proxies["alice"].cut()
            stage.proxies["bob"].cut()
    assert all(receipt.is_acked for receipt in numbers.receipts)
    await numbers.arrive_in(packets)


async def test_R1_nothing_is_acknowledged_that_the_server_does_not_have(
    start_livekit_server: Callable[[dict[str, object]], LiveKitServer], room_name: str
) -> None:
    process = start_livekit_server({})
    async with staged(RealServer(process), room_name, "bob", "alice") as stage:
        packets = await stage.read("bob")
        with frozen(process):
            receipts = [await stage.rooms["alice"].publish_data(bytes(5000)) for _ in range(10)]
            await trio.sleep(0.3)
            assert not any(receipt.is_acked for receipt in receipts)
        with trio.fail_after(PATIENCE_S):
            for receipt in receipts:
                await receipt.wait_acked()
            for _ in receipts:
                await packets.receive()


async def test_R1_a_receipt_fails_when_the_room_is_over(embedded_server: EmbeddedServer, room_name: str) -> None:
    async with staged(embedded_server, room_name, "alice") as stage:
        with pytest.raises(ZeroDivisionError):  # a block that ends badly does not wait for acknowledgements
            async with lk.connect(embedded_server.url, embedded_server.token("carl", room_name)) as carl:
                lose_bytes(carl)
                receipt = await carl.publish_data(b"x")
                1 / 0  # noqa: B018
        with pytest.raises(lk.DeliveryError) as error:
            await receipt.wait_acked()
        assert error.value.reason is lk.DeliveryErrorReason.DISCONNECTED
        assert not receipt.is_acked
        await stage.rooms["alice"].publish_data(b"y")


# --- R2: resumes lose nothing -----------------------------------------------------------------------------------------


async def test_R2_signalling_is_cut_again_and_again(stage: Stage) -> None:
    to_bob, to_alice = await stage.read("bob"), await stage.read("alice")
    async with flowing(stage.rooms["alice"]) as up, flowing(stage.rooms["bob"]) as down:
        for identity in ("alice", "bob", "alice", "bob"):
            async with reconnecting(stage.rooms[identity], resumed=True):
                stage.proxies[identity].cut()
            await trio.sleep(0.02)
    await up.arrive_in(to_bob)
    await down.arrive_in(to_alice)


async def test_R2_signalling_is_away_for_a_while(stage: Stage) -> None:
    """And is not missed: packets are acknowledged meanwhile."""
    packets = await stage.read("bob")
    alice = stage.rooms["alice"]
    async with flowing(alice) as numbers:
        async with reconnecting(alice, resumed=True):
            stage.proxies["alice"].cut(refuse=True)
            with trio.fail_after(5):
                await wait_until(lambda: alice.state is not State.CONNECTED)
                await (await alice.publish_data("meanwhile", topic="other")).wait_acked()
            assert alice.state is State.RECONNECTING
            await trio.sleep(0.2)
            stage.proxies["alice"].refuses = False
    with trio.fail_after(PATIENCE_S):
        got = [packet.payload async for packet in until(packets, len(numbers.receipts) + 1)]
    assert [payload for payload in got if payload != b"meanwhile"] == [b"%d" % n for n in range(len(got) - 1)]


async def until(packets: lk.DataPackets, count: int) -> AsyncIterator[lk.DataPacket]:
    for _ in range(count):
        yield await packets.receive()


async def test_R2_killed_at_every_stage_of_a_resume(stage: Stage) -> None:
    to_bob, to_alice = await stage.read("bob"), await stage.read("alice")
    alice, proxy = stage.rooms["alice"], stage.proxies["alice"]
    async with flowing(alice) as up, flowing(stage.rooms["bob"]) as down:
        for relayed in (0, 1, 500, 1500, 3000):
            async with reconnecting(alice, resumed=True):
                proxy.bytes_to_relay = relayed
                proxy.cut()
                await proxy.wait_accepted()
                await trio.sleep(0.02)
                proxy.bytes_to_relay = math.inf
                proxy.cut()
    await up.arrive_in(to_bob)
    await down.arrive_in(to_alice)


async def test_R2_on_a_bad_network(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of all datagrams is lost, then all of them for a while, and signalling is cut in between."""
    to_bob, to_alice = await stage.read("bob"), await stage.read("alice")
    alice = stage.rooms["alice"]
    dice = random.Random(7)
    loss = 0.1
    send_many = UdpEndpoint.send_many

    def send_some(endpoint: UdpEndpoint, datagrams: list[bytes], remote: Address) -> int:
        kept = [datagram for datagram in datagrams if dice.random() >= loss]
        if kept:
            send_many(endpoint, kept, remote)
        return len(datagrams)

    monkeypatch.setattr(UdpEndpoint, "send_many", send_some)
    async with flowing(alice) as up, flowing(stage.rooms["bob"]) as down:
        await trio.sleep(0.2)
        async with reconnecting(alice, resumed=True):
            loss = 1.0
            stage.proxies["alice"].cut()
            await trio.sleep(0.3)
            loss = 0.1
        await trio.sleep(0.2)
    await up.arrive_in(to_bob)
    await down.arrive_in(to_alice)


async def test_R2_udp_is_blocked(real_server: RealServer, room_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session goes on over TCP."""
    async with staged(real_server, room_name, "bob", "alice") as stage:
        packets = await stage.read("bob")
        alice = stage.rooms["alice"]
        blocked = set(alice._session._connection.links._publisher._endpoints.values())
        send_many = UdpEndpoint.send_many

        def send_others(endpoint: UdpEndpoint, datagrams: list[bytes], remote: Address) -> int:
            return len(datagrams) if endpoint in blocked else send_many(endpoint, datagrams, remote)

        sid = alice.local_participant.sid
        async with flowing(alice) as numbers:
            await trio.sleep(0.1)
            monkeypatch.setattr(UdpEndpoint, "send_many", send_others)
            await trio.sleep(0.1)
        await numbers.arrive_in(packets)
        path = alice._session._connection.links._publisher._core.ice.selected_path
        assert path is not None
        assert path.protocol == "tcp"
        assert alice.local_participant.sid == sid


async def test_R2_and_R3_with_two_peer_connections(server: ServerUnderTest, room_name: str) -> None:
    async with (
        without_v1(server.url) as old_url,
        signal_proxy(old_url) as proxy,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(proxy.url, server.token("alice", room_name), reconnect=QUICK) as alice,
        bob.data_packets() as to_bob,
        alice.data_packets() as to_alice,
    ):
        async with flowing(alice) as up, flowing(bob) as down:
            for _ in range(2):
                async with reconnecting(alice, resumed=True):
                    proxy.cut()
        await up.arrive_in(to_bob)
        await down.arrive_in(to_alice)
        async with reconnecting(alice, resumed=False):
            lose_bytes(alice)
            receipts = [await alice.publish_data(str(number)) for number in range(20)]
            lose_session(alice)
        with trio.fail_after(PATIENCE_S):
            await receipts[-1].wait_acked()
        assert await numbers_until(to_bob, 19) == list(range(20))


# --- R3: full reconnects lose nothing in silence ----------------------------------------------------------------------


async def test_R3_sessions_that_are_replaced(stage: Stage) -> None:
    """The server forgets the sender while it sends."""
    packets = await stage.read("bob")
    alice = stage.rooms["alice"]
    async with flowing(alice) as numbers:
        for _ in range(2):
            sid = alice.local_participant.sid
            async with reconnecting(alice, resumed=False):
                stage.lose_session("alice")
            assert alice.local_participant.sid != sid
            await trio.sleep(0.05)
    if not stage.server.is_real:  # a livekit-server may drop, in the moment of its failure, what it has acknowledged
        await numbers.arrive_in(packets)
    else:
        got = await numbers_until(packets, len(numbers.receipts) - 1)
        assert got == sorted(set(got))
        assert len(numbers.receipts) - len(got) < 50


async def numbers_until(packets: lk.DataPackets, last: int) -> list[int]:
    got: list[int] = []
    with trio.fail_after(PATIENCE_S):
        while not got or got[-1] < last:
            got.append(int((await packets.receive()).payload))
    return got


async def test_R3_what_was_not_acknowledged_is_sent_again(stage: Stage) -> None:
    """Everything sent into a network that has died arrives, once, before what is sent later."""
    packets = await stage.read("bob")
    alice = stage.rooms["alice"]
    await (await alice.publish_data("0")).wait_acked()
    async with reconnecting(alice, resumed=False):
        lose_bytes(alice)
        receipts = [await alice.publish_data(str(number)) for number in range(1, 20)]
        stage.lose_session("alice")
    receipts.append(await alice.publish_data("20"))
    with trio.fail_after(PATIENCE_S):
        for receipt in receipts:
            await receipt.wait_acked()
    assert await numbers_until(packets, 20) == list(range(21))
    assert alice.packet_statistics().reliable_resent == 19


async def test_R3_what_had_arrived_is_not_given_out_twice(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server had everything, and its acknowledgements got lost: it, or the receiver, knows the repeats."""
    packets = await stage.read("bob")
    alice = stage.rooms["alice"]
    outbox = alice._session.packets._outbox
    with monkeypatch.context() as deaf:
        deaf.setattr(outbox, "on_buffered", lambda _amount: [])
        receipts = [await alice.publish_data(str(number)) for number in range(150)]
        assert await numbers_until(packets, 149) == list(range(150))
        assert not any(receipt.is_acked for receipt in receipts)
        async with reconnecting(alice, resumed=False):
            stage.lose_session("alice")
    await alice.publish_data("150")
    assert await numbers_until(packets, 150) == [150]
    assert alice.packet_statistics().reliable_resent == 150
    with trio.fail_after(PATIENCE_S):
        await receipts[-1].wait_acked()


async def test_R3_or_the_sender_is_told(stage: Stage) -> None:
    packets = await stage.read("bob")
    alice = stage.rooms["alice"]
    async with reconnecting(alice, resumed=False):
        lose_bytes(alice)
        lost = await alice.publish_data("lost", on_full_reconnect="fail")
        again = await alice.publish_data("again")
        stage.lose_session("alice")
        with trio.fail_after(PATIENCE_S), pytest.raises(lk.DeliveryError) as error:
            await lost.wait_acked()
    assert error.value.reason is lk.DeliveryErrorReason.SESSION_REPLACED
    with trio.fail_after(PATIENCE_S):
        await again.wait_acked()
        assert (await packets.receive()).payload == b"again"


async def test_R3_killed_at_every_stage_of_a_new_session(stage: Stage) -> None:
    packets = await stage.read("bob")
    alice, proxy = stage.rooms["alice"], stage.proxies["alice"]
    async with reconnecting(alice, resumed=False):
        lose_bytes(alice)
        receipts = [await alice.publish_data(str(number)) for number in range(30)]
        stage.lose_session("alice")
        for relayed in (0, 1, 1500, 2500, 4000):
            proxy.bytes_to_relay = relayed
            await proxy.wait_accepted(within_s=PATIENCE_S)
        proxy.bytes_to_relay = math.inf
    with trio.fail_after(PATIENCE_S):
        for receipt in receipts:
            await receipt.wait_acked()
    assert await numbers_until(packets, 29) == list(range(30))


async def move(stage: Stage, second: ServerUnderTest, identities: tuple[str, ...]) -> None:
    """Another server takes the place of the first, for these."""
    for identity in identities:
        stage.proxies[identity].target = second.url
        stage.proxies[identity].cut()


async def server_dies(stage: Stage, second: ServerUnderTest) -> None:
    """Nothing that was sent is acknowledged when it does. The receiver comes back after the sender."""
    packets = await stage.read("bob")
    alice, bob = stage.rooms["alice"], stage.rooms["bob"]
    await stage.wait_known("bob", by="alice")
    async with reconnecting(alice, resumed=False), reconnecting(bob, resumed=False):
        receipts = [await alice.publish_data(str(number)) for number in range(20)]
        stage.proxies["bob"].cut(refuse=True)
        await move(stage, second, ("alice",))
        with trio.fail_after(PATIENCE_S):
            await alice.wait_connected()
        await move(stage, second, ("bob",))
    with trio.fail_after(PATIENCE_S):
        for receipt in receipts:
            await receipt.wait_acked()
    assert await numbers_until(packets, 19) == list(range(20))
    assert {receipt.recipients_left for receipt in receipts} == {()}


async def test_R3_an_embedded_server_that_dies(embedded_server: EmbeddedServer, room_name: str) -> None:
    async with serve() as second:
        async with staged(embedded_server, room_name, "bob", "alice") as stage:
            lose_bytes(stage.rooms["alice"])
            await server_dies(stage, EmbeddedServer(second))


async def test_R3_a_livekit_server_that_dies(
    real_server: RealServer, start_livekit_server: Callable[[dict[str, object]], LiveKitServer], room_name: str
) -> None:
    first = start_livekit_server({})
    with ExitStack() as until_the_end:
        async with staged(RealServer(first), room_name, "bob", "alice") as stage:
            await stage.wait_known("bob", by="alice")
            until_the_end.enter_context(frozen(first))
            await server_dies(stage, real_server)


async def test_R3_a_livekit_server_that_is_killed_and_comes_back(
    start_livekit_server: Callable[[dict[str, object]], LiveKitServer], room_name: str
) -> None:
    """What it had acknowledged and not passed on in that moment is lost; all else arrives, or is told to be missed."""
    first = start_livekit_server({})
    async with staged(RealServer(first), room_name, "bob", "alice") as stage:
        packets = await stage.read("bob")
        alice, bob = stage.rooms["alice"], stage.rooms["bob"]
        async with bob.events() as events, flowing(alice) as numbers:
            await trio.sleep(0.2)
            async with reconnecting(alice, resumed=False), reconnecting(bob, resumed=False):
                os.kill(first.pid, signal.SIGKILL)
                again = {"port": first.port, "rtc": {"udp_port": first.udp_port, "tcp_port": first.tcp_port}}
                await trio.to_thread.run_sync(start_livekit_server, again)
            await trio.sleep(0.2)
        got = await numbers_until(packets, len(numbers.receipts) - 1)
        told = [await events.receive() for _ in range(len(events._mailbox))]
    missed = sum(event.missed for event in told if isinstance(event, ev.ContinuityLost))
    assert got == sorted(set(got))
    assert len(numbers.receipts) - len(got) <= missed + 10


# --- R4: absent recipients are seen -----------------------------------------------------------------------------------


async def test_R4_who_is_not_in_the_room_gets_nothing_and_the_sender_is_told(stage: Stage) -> None:
    packets = await stage.read("bob")
    alice = stage.rooms["alice"]
    for patience in (0, 0.05):
        with pytest.raises(lk.RecipientNotFound) as error:
            await alice.publish_data(
                b"x", destination_identities=["bob", "ghost", "nobody"], recipients_within=patience
            )
        assert error.value.identities == ("ghost", "nobody")
        assert error.value.reason is lk.PublishDataErrorReason.RECIPIENT_NOT_FOUND
    await alice.publish_data(b"y", destination_identities=["bob", "ghost"], recipients_within=None)
    with trio.fail_after(5):
        assert (await packets.receive()).payload == b"y"


async def test_R4_somebody_who_has_just_joined_is_waited_for(server: ServerUnderTest, room_name: str) -> None:
    """A livekit-server may tell of them late."""
    async with trio.open_nursery() as nursery, staged(server, room_name, "alice") as stage:

        async def publish() -> None:
            await stage.rooms["alice"].publish_data(b"x", destination_identities=["newcomer"])

        nursery.start_soon(publish)
        await trio.testing.wait_all_tasks_blocked()
        await stage.enter("newcomer")
        packets = await stage.read("newcomer")
        with trio.fail_after(5):
            assert (await packets.receive()).payload == b"x"


async def test_R4_a_receipt_names_who_left(
    server: ServerUnderTest, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RESEND_WAIT_S", 0.2)
    leaving = trio.CancelScope()

    async def cyd(*, task_status: trio.TaskStatus[None]) -> None:
        with leaving:
            async with lk.connect(server.url, server.token("cyd", room_name)):
                task_status.started()
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery, staged(server, room_name, "bob") as stage:
        packets = await stage.read("bob")
        await nursery.start(cyd)
        alice = await stage.enter("alice")
        assert set(alice.participants) == {"bob", "cyd"}
        async with reconnecting(alice, resumed=False):
            lose_bytes(alice)
            to_all = await alice.publish_data(b"all")
            to_bob = await alice.publish_data(b"bob", destination_identities=["bob"])
            to_cyd = await alice.publish_data(b"cyd", destination_identities=["cyd"])
            stage.proxies["alice"].refuses = True
            stage.lose_session("alice")
            leaving.cancel()
            await server.wait_gone(room_name, "cyd")
            stage.proxies["alice"].refuses = False
        with trio.fail_after(PATIENCE_S):
            await to_all.wait_acked()
            await to_bob.wait_acked()
            with pytest.raises(lk.DeliveryError) as error:
                await to_cyd.wait_acked()
            assert [(await packets.receive()).payload for _ in range(2)] == [b"all", b"bob"]
        assert error.value.reason is lk.DeliveryErrorReason.RECIPIENTS_GONE
        assert to_all.recipients_left == ("cyd",)
        assert to_bob.recipients_left == ()


# --- R5: own absences are seen ----------------------------------------------------------------------------------------


async def test_R5_what_was_missed_while_away_is_told(stage: Stage) -> None:
    packets = await stage.read("bob")
    alice, bob = stage.rooms["alice"], stage.rooms["bob"]
    await alice.publish_data("before")
    with trio.fail_after(5):
        await packets.receive()
    async with bob.events() as events:
        async with reconnecting(bob, resumed=False):
            stage.proxies["bob"].refuses = True
            stage.lose_session("bob")
            await stage.server.wait_gone(stage.room_name, "bob")
            for _ in range(5):
                await (await alice.publish_data("missed")).wait_acked()
            stage.proxies["bob"].refuses = False
        await alice.publish_data("after")
        with trio.fail_after(5):
            assert (await packets.receive()).payload == b"after"
            while not isinstance(event := await events.receive(), ev.ContinuityLost):
                pass
    assert event == ev.ContinuityLost("alice", bob.participants["alice"], 5)


async def test_R5_nothing_is_told_where_nothing_was_missed(stage: Stage) -> None:
    """Neither after a resume, nor for numbers that others got."""
    packets = await stage.read("bob")
    alice, bob = stage.rooms["alice"], stage.rooms["bob"]
    async with bob.events() as events:
        for number in range(3):
            await alice.publish_data(str(number))
            await alice.publish_data("x", destination_identities=["nobody"], recipients_within=None)
            async with reconnecting(bob, resumed=True):
                stage.proxies["bob"].cut()
        assert await numbers_until(packets, 2) == [0, 1, 2]
        async with reconnecting(bob, resumed=False):
            stage.lose_session("bob")
        await alice.publish_data("3", destination_identities=["bob"])
        assert await numbers_until(packets, 3) == [3]
        told = [await events.receive() for _ in range(len(events._mailbox))]
    lost = [event for event in told if isinstance(event, ev.ContinuityLost)]
    assert [event.missed for event in lost] == [1]  # it was for nobody, which bob cannot know


# --- R6: streams are complete, or fail --------------------------------------------------------------------------------


async def test_R6_a_writer_is_cancelled_with_its_room(server: ServerUnderTest, room_name: str) -> None:
    """Soon after it joined, so that nobody has been told of it, and nobody is told that it left."""
    async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.text_streams("news") as streams:
        for _ in range(8):
            with trio.CancelScope() as scope:
                async with (
                    lk.connect(server.url, server.token("alice", room_name)) as alice,
                    alice.open_text_stream("news") as writer,
                ):
                    await writer.write("never to be finished")
                    scope.cancel()
            with trio.fail_after(5):
                with pytest.raises(lk.StreamError) as error:
                    await (await streams.receive()).read_all()
            assert error.value.reason is lk.StreamErrorReason.ABORTED


@pytest.mark.parametrize("away", ["alice", "bob"])
async def test_R6_a_session_is_replaced_while_a_stream_is_on_its_way(
    stage: Stage, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of its writer, or that of its reader: both hear of it at once, and what comes next arrives."""
    monkeypatch.setattr(incoming, "LEFT_GRACE_S", 0.1)
    alice, bob = stage.rooms["alice"], stage.rooms["bob"]

    async def read(streams: lk.TextStreams) -> None:
        reader = await streams.receive()
        assert await anext(aiter(reader)) == "the beginning"
        begun.set()
        # A livekit-server that has not told of the writer yet does not tell that it left either, but, within three
        # seconds, that it is there again.
        with trio.fail_after(8), pytest.raises(lk.StreamError) as error:
            await reader.read_all()
        assert error.value.reason in (lk.StreamErrorReason.SENDER_LEFT, lk.StreamErrorReason.SESSION_LOST)

    begun = trio.Event()
    async with bob.text_streams("news") as streams, reconnecting(stage.rooms[away], resumed=False):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, streams)
            with pytest.raises(lk.StreamError) as error:
                async with alice.open_text_stream("news", destination_identities=["bob"]) as writer:
                    await writer.write("the beginning")
                    await begun.wait()
                    stage.lose_session(away)
                    with trio.fail_after(5):
                        await trio.sleep_forever()
            lost = lk.StreamErrorReason.SESSION_LOST if away == "alice" else lk.StreamErrorReason.RECIPIENT_LEFT
            assert error.value.reason is lost
    await stage.wait_known("bob", by="alice")
    async with bob.text_streams("news") as streams:
        with trio.fail_after(PATIENCE_S):
            await alice.send_text("the whole", topic="news")
            assert await (await streams.receive()).read_all() == "the whole"


# --- R7: a call is executed once at most, and always ends -------------------------------------------------------------


class Desk:
    """Where bob serves, and counts how often each call is executed."""

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()
        self.begun = trio.Event()
        self.takes_s = 0.0

    async def serve(self, invocation: lk.RpcInvocation) -> str:
        self.executed[invocation.payload.partition(" ")[0]] += 1
        self.begun.set()
        await trio.sleep(self.takes_s)
        return invocation.payload

    async def call(self, room: lk.Room, name: str, size: int) -> bool | None:
        """Call, and compare what comes of it with what was done; returns whether the call was executed."""
        payload = name + " " * size
        start = trio.current_time()
        try:
            said = await room.perform_rpc(
                destination_identity="bob", method="desk", payload=payload, response_timeout=PATIENCE_S
            )
            assert said == payload
            executed: bool | None = True
        except lk.RpcError as error:
            executed = error.executed
        assert trio.current_time() - start < PATIENCE_S + 1
        count = self.executed[name]
        assert count <= 1 if executed is None else count == executed
        return executed


@pytest.mark.parametrize("size", [0, 60_000])
async def test_R7_a_request_that_has_not_left_is_made_in_the_next_session(stage: Stage, size: int) -> None:
    alice, desk = stage.rooms["alice"], Desk()
    await stage.wait_known("bob", by="alice")
    async with stage.rooms["bob"].register_rpc_method("desk", desk.serve), trio.open_nursery() as nursery:
        async with reconnecting(alice, resumed=False):
            lose_bytes(alice)
            while not alice.packet_statistics().reliable_waiting:
                nursery.start_soon(publish, alice, bytes(60_000))
                await trio.testing.wait_all_tasks_blocked()
            outcome = Outcome(nursery, desk.call, alice, "one", size)
            await trio.testing.wait_all_tasks_blocked()
            assert not outcome.done.is_set()
            stage.lose_session("alice")
        with trio.fail_after(PATIENCE_S):
            await outcome.done.wait()
    assert outcome.value is True
    assert desk.executed == {"one": 1}


async def publish(room: lk.Room, payload: bytes) -> None:
    await room.publish_data(payload, destination_identities=["nobody"], recipients_within=None)


class Outcome:
    """What comes of a call in a task of its own."""

    def __init__(self, nursery: trio.Nursery, what: Callable[..., Awaitable[bool | None]], *args: object) -> None:
        self.value: bool | None = None
        self.done = trio.Event()
        nursery.start_soon(self._run, what, *args)

    async def _run(self, what: Callable[..., Awaitable[bool | None]], *args: object) -> None:
        self.value = await what(*args)
        self.done.set()


async def test_R7_a_request_that_may_have_left_is_not_made_again(stage: Stage) -> None:
    alice, desk = stage.rooms["alice"], Desk()
    desk.takes_s = math.inf
    await stage.wait_known("bob", by="alice")
    async with stage.rooms["bob"].register_rpc_method("desk", desk.serve), trio.open_nursery() as nursery:
        async with reconnecting(alice, resumed=False):
            outcome = Outcome(nursery, desk.call, alice, "one", 0)
            with trio.fail_after(PATIENCE_S):
                await desk.begun.wait()
            stage.lose_session("alice")
        with trio.fail_after(5):
            await outcome.done.wait()
        desk.takes_s = 0.0
        with trio.fail_after(PATIENCE_S):
            assert await desk.call(alice, "two", 0)
    assert outcome.value is None
    assert desk.executed == {"one": 1, "two": 1}


async def test_R7_every_call_ends_whatever_is_lost(stage: Stage) -> None:
    """What its caller is told is true, and none is executed twice."""
    alice, desk = stage.rooms["alice"], Desk()
    desk.takes_s = 0.01
    outcomes: Counter[bool | None] = Counter()
    stopping = trio.Event()

    async def go_on_calling(caller: int) -> None:
        for number in itertools.count():
            if stopping.is_set():
                break
            outcomes[await desk.call(alice, f"{caller}-{number}", 40_000 * (number % 2))] += 1

    await stage.wait_known("bob", by="alice")
    async with stage.rooms["bob"].register_rpc_method("desk", desk.serve), trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 2 * PATIENCE_S
        for caller in range(4):
            nursery.start_soon(go_on_calling, caller)
        for identity, resumed in (("alice", True), ("alice", False), ("bob", True), ("bob", False), ("alice", False)):
            async with reconnecting(stage.rooms[identity], resumed=resumed):
                await trio.sleep(0.05)
                if resumed:
                    stage.proxies[identity].cut()
                else:
                    stage.lose_session(identity)
        await trio.sleep(0.1)
        stopping.set()
    assert not nursery.cancel_scope.cancelled_caught
    assert outcomes[True] > 4


# --- R8: fresh or nothing ---------------------------------------------------------------------------------------------


async def test_R8_frames_and_lossy_packets_are_whole_and_in_order(
    server: ServerUnderTest, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network that loses, repeats and shuffles, nobody gets half a frame, or two at once, or an older one."""
    dice = random.Random(8)
    send_many = UdpEndpoint.send_many

    def send_badly(endpoint: UdpEndpoint, datagrams: list[bytes], remote: Address) -> int:
        kept = [datagram for datagram in datagrams for _ in range(dice.choice((0, 1, 1, 1, 1, 1, 1, 2)))]
        dice.shuffle(kept)
        if kept:
            send_many(endpoint, kept, remote)
        return len(datagrams)

    numbers: dict[str, list[int]] = {"one": [], "two": [], "lossy": []}

    def check(name: str, payload: bytes) -> None:
        number = int(payload[:8])
        assert payload == content(name, number)
        numbers[name].append(number)

    async def read_track(room: lk.Room, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        track = await (await room.wait_for_participant("alice")).data_tracks.wait_for(name)
        async with track.subscribe(buffer_size=1000) as frames:
            task_status.started()
            async for frame in frames:
                check(name, frame.payload)

    async def read_packets(room: lk.Room, *, task_status: trio.TaskStatus[None]) -> None:
        async with room.data_packets("lossy", buffer_size=1000) as packets:
            task_status.started()
            async for packet in packets:
                assert packet.sender_identity == "alice"
                check("lossy", packet.payload)

    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        alice.publish_data_track("one") as one,
        alice.publish_data_track("two") as two,
        trio.open_nursery() as nursery,
    ):
        for name in ("one", "two"):
            await nursery.start(read_track, bob, name)
        await nursery.start(read_packets, bob)
        monkeypatch.setattr(UdpEndpoint, "send_many", send_badly)
        with trio.fail_after(PATIENCE_S):
            for number in itertools.count():
                for track in (one, two):
                    with suppress(lk.PushError):  # the queue is full
                        track.try_push(content(track.name, number))
                await alice.publish_data(content("lossy", number), reliable=False, topic="lossy")
                await trio.sleep(0.005)
                if number > 50 and all(len(got) > 3 for got in numbers.values()):
                    break
        monkeypatch.undo()
        nursery.cancel_scope.cancel()
    for name in ("one", "two"):
        assert numbers[name] == sorted(set(numbers[name]))
    assert len(numbers["lossy"]) == len(set(numbers["lossy"]))


def content(name: str, number: int) -> bytes:
    """Of all sizes up to some packets; every byte of it says what it belongs to."""
    size = 10 + number * 997 % 5000
    return b"%08d" % number + name.encode() * (size // len(name))


async def test_R8_what_is_too_old_is_not_sent(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        bob.data_packets("lossy") as packets,
        alice.publish_data_track("track") as track,
    ):
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        async with remote.subscribe(buffer_size=100) as frames:
            peer = alice._session._connection.links._publisher
            peer._core.blocked = True
            for number in range(20):
                await alice.publish_data(bytes(20_000), reliable=False, topic="lossy")
                with suppress(lk.PushError):
                    track.try_push(str(number).encode())
                await trio.sleep(0.02)
            await trio.sleep(0.2)
            before = alice.packet_statistics()
            peer._core.blocked = False
            await alice.publish_data("now", reliable=False, topic="lossy")
            track.try_push(b"now")
            with trio.fail_after(5):
                got = [(await packets.receive()).payload]
                while got[-1] != b"now":
                    got.append((await packets.receive()).payload)
                newest = [(await frames.receive()).payload]
                while newest[-1] != b"now":
                    newest.append((await frames.receive()).payload)
            counts, packets_sent = track.statistics(), alice.packet_statistics()
    assert before.lossy_dropped > 0
    assert len(got) <= 1 + 20 - before.lossy_dropped
    assert packets_sent.lossy_dropped >= 21 - len(got)
    assert set(newest) <= {b"19", b"now"}  # in place of the others, which were not refused
    assert (counts.frames_refused, counts.frames_queued) == (0, 0)
    assert counts.frames_dropped == 21 - len(newest)


# --- R9: the state is true --------------------------------------------------------------------------------------------


async def test_R9_states_follow_each_other_as_they_must(stage: Stage) -> None:
    alice = stage.rooms["alice"]
    states: list[State] = [alice.state]
    events: list[ev.RoomEvent] = []

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        async with alice.events(buffer_size=1000) as reader:
            task_status.started()
            async for event in reader:
                if isinstance(event, (ev.Reconnecting, ev.Reconnected)):
                    events.append(event)
                    states.append(alice.state)

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        async with flowing(alice):
            for resumed in (True, False, True, True, False):
                async with reconnecting(alice, resumed=resumed):
                    if resumed:
                        stage.proxies["alice"].cut()
                    else:
                        stage.lose_session("alice")
                assert alice.state is State.CONNECTED
                assert {"alice", *alice.participants} == await stage.server.participants(stage.room_name)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel("seen enough")
    assert [type(event) for event in events] == [ev.Reconnecting, ev.Reconnected] * 5
    assert [event.resumed for event in events if isinstance(event, ev.Reconnected)] == [True, False, True, True, False]


# --- R10: everything is bounded ---------------------------------------------------------------------------------------


async def test_R10_a_server_that_takes_nothing_fills_no_memory(
    start_livekit_server: Callable[[dict[str, object]], LiveKitServer], room_name: str
) -> None:
    process = start_livekit_server({})
    async with staged(RealServer(process), room_name, "alice") as stage:
        alice = stage.rooms["alice"]
        with frozen(process):
            with trio.move_on_after(1) as bound:
                while True:
                    await alice.publish_data(bytes(60_000))
                    await alice.publish_data(bytes(10_000), reliable=False)
            assert bound.cancelled_caught
            statistics = alice.packet_statistics()
            assert statistics.reliable_unacknowledged * 60_000 < 8 * 2**20
            assert statistics.reliable_waiting == 0
        with trio.fail_after(PATIENCE_S):
            await (await alice.publish_data(b"x")).wait_acked()


@pytest.mark.parametrize("lost", ["signal", "session"])
async def test_R10_everybody_who_waits_is_told_when_the_room_is_lost(stage: Stage, lost: str) -> None:
    policy = lk.ReconnectPolicy(delays_s=(0.0, 0.01), jitter_s=0.0, give_up_after_s=0.3)
    outcomes: list[str] = []
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            token = stage.server.token("carl", stage.room_name)
            with pytest.raises(lk.RoomDisconnected):
                async with (
                    lk.connect(stage.proxies["alice"].url, token, reconnect=policy) as carl,
                    carl.data_packets() as packets,
                ):
                    receipt = await carl.publish_data(b"x")
                    nursery.start_soon(ends_with, outcomes, lk.DeliveryError, never_acked(carl))
                    nursery.start_soon(ends_with, outcomes, lk.RoomDisconnected, publish_for_ever(carl))
                    nursery.start_soon(ends_with, outcomes, lk.RoomDisconnected, read_for_ever(packets))
                    await receipt.wait_acked()
                    await trio.sleep(0.05)
                    if lost == "signal":
                        stage.proxies["alice"].cut(refuse=True)
                    else:
                        stage.proxies["alice"].refuses = True
                        lose_session(carl)
                    await trio.sleep_forever()
    assert sorted(outcomes) == ["DeliveryError", "RoomDisconnected", "RoomDisconnected"]
    with pytest.raises(lk.RoomDisconnected):
        await carl.publish_data(b"x")


async def ends_with(outcomes: list[str], kind: type[Exception], what: Awaitable[None]) -> None:
    with pytest.raises(kind):
        await what
    outcomes.append(kind.__name__)


async def never_acked(room: lk.Room) -> None:
    await trio.sleep(0.02)
    lose_bytes(room)
    await (await room.publish_data(b"never")).wait_acked()


async def publish_for_ever(room: lk.Room) -> None:
    while True:
        await room.publish_data(b"x", destination_identities=["bob"])
        await trio.sleep(0.001)


async def read_for_ever(packets: lk.DataPackets) -> None:
    async for _ in packets:
        pass
    raise AssertionError("the room was left")

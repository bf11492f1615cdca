"""Sessions with their peer connections: data from one client to the others, over loopback."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from livekit.protocol import models

from tests.support.waiting import wait_until
from trio_livekit._sansio.channels import ChannelOpened, MessageReceived
from trio_livekit._sansio.peer import Connected, Failed
from trio_livekit._sansio.signal import messages as m
from trio_livekit._sansio.tracks.packet import SINGLE, Packet, decode, encode
from trio_livekit._transport.peer import PeerConfig, PeerConnection
from trio_livekit._wire.packets import encode_user_packet
from trio_livekit.server import Limits, serve

from .clients import SignalClient, signal_client

State = m.ParticipantState
LABELS = {"_reliable": (True, None), "_lossy": (False, 0), "_data_track": (False, 0)}


@pytest.fixture
async def server():
    with trio.fail_after(30):
        async with serve() as server:
            yield server


class Peer:
    """A client's peer connection, and what came out of it."""

    def __init__(self, *, controlling: bool = True) -> None:
        config = PeerConfig(controlling=controlling, hosts=("127.0.0.1",))
        self.connection = PeerConnection(config, self._on_event)
        self.ids: dict[str, int] = {}
        self.opened: dict[str, trio.Event] = {label: trio.Event() for label in (*LABELS, "other")}
        self.connected = trio.Event()
        self.failed = trio.Event()
        self._labels: dict[int, str] = {}
        self._send, self._receive = trio.open_memory_channel[tuple[str, bytes]](100)

    def _on_event(self, event: object) -> None:
        match event:
            case Connected():
                self.connected.set()
            case Failed():
                self.failed.set()
            case ChannelOpened():
                self._labels[event.channel_id] = event.label
                self.ids.setdefault(event.label, event.channel_id)
                self.opened[event.label].set()
            case MessageReceived():
                self._send.send_nowait((self._labels[event.channel_id], event.data))

    def open(self, label: str) -> None:
        ordered, max_retransmits = LABELS.get(label, (True, None))
        self.ids[label] = self.connection.open_channel(label, ordered=ordered, max_retransmits=max_retransmits)

    def send(self, label: str, data: bytes) -> None:
        self.connection.send(self.ids[label], data)

    async def receive(self, label: str) -> bytes:
        """The next message, which must be on this channel."""
        got, data = await self._receive.receive()
        assert got == label
        return data

    async def receive_packet(self, label: str = "_reliable") -> models.DataPacket:
        return models.DataPacket.FromString(await self.receive(label))

    async def ready(self) -> None:
        for label in LABELS:
            await self.opened[label].wait()


class Client:
    """One client: signalling, the peer connection it sends on, and the one it receives on (the same one in v1)."""

    def __init__(self, signal: SignalClient, publisher: Peer, subscriber: Peer) -> None:
        self.signal = signal
        self.publisher = publisher
        self.subscriber = subscriber

    async def publish(self, name: str) -> m.DataTrackInfo:
        await self.signal.send(m.PublishDataTrack(1, name))
        return (await self.signal.expect(m.DataTrackPublished)).info

    async def subscribe(self, sid: str) -> int:
        await self.signal.send(m.UpdateDataSubscription(((sid, True),)))
        ((handle, got),) = (await self.signal.expect(m.SubscriberHandles)).handles.items()
        assert got == sid
        return handle


@asynccontextmanager
async def running_peer(*, controlling: bool = True):
    peer = Peer(controlling=controlling)
    async with trio.open_nursery() as nursery:
        await peer.connection.gather()
        await nursery.start(peer.connection.run)
        try:
            yield peer
        finally:
            peer.connection.close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def single(server, identity: str, room: str = "den", *, offer_in_join: bool = True, **grants: bool):
    """Join with one peer connection (v1)."""
    async with running_peer() as peer:
        offer = m.Offer(peer.connection.create_offer(), 1)
        request = m.JoinRequest(
            m.ClientInfo(protocol=17), publisher_offer=offer if offer_in_join else None, auto_subscribe_data_track=False
        )
        async with signal_client(server, identity, room, request=request, **grants) as signal:
            if not offer_in_join:
                await signal.send(offer)
            answer = await signal.expect(m.Answer)
            assert answer.id == 1
            peer.connection.apply_answer(answer.sdp)
            for label in LABELS:
                peer.open(label)
            await peer.ready()
            yield Client(signal, peer, peer)


@asynccontextmanager
async def double(server, identity: str, room: str = "den"):
    """Join with two peer connections (v0)."""
    async with (
        running_peer() as publisher,
        running_peer(controlling=False) as subscriber,
        signal_client(server, identity, room, query={}) as signal,
    ):
        assert (await signal.expect(m.Join)).subscriber_primary
        offer = await signal.expect(m.Offer)
        assert 1 <= offer.id <= 256
        await signal.send(m.Answer(subscriber.connection.accept_offer(offer.sdp), offer.id))
        await signal.send(m.Offer(publisher.connection.create_offer(), 1))
        answer = await signal.expect(m.Answer)
        publisher.connection.apply_answer(answer.sdp)
        for label in LABELS:
            publisher.open(label)
        await publisher.ready()
        await subscriber.ready()
        yield Client(signal, publisher, subscriber)


@pytest.mark.parametrize("offer_in_join", [True, False])
async def test_a_client_becomes_active_when_its_peer_is_connected(server, offer_in_join):
    async with single(server, "ann", offer_in_join=offer_in_join) as ann:
        await ann.signal.expect_about("ann", State.ACTIVE)
        assert server.participants("den")["ann"].state is State.ACTIVE


@pytest.mark.parametrize(("first", "second"), [(single, single), (double, double), (single, double)])
async def test_data_travels_between_clients_of_either_kind(server, first, second):
    async with first(server, "ann") as ann, second(server, "bob") as bob:
        ann.publisher.send("_reliable", encode_user_packet(b"hi"))
        packet = await bob.subscriber.receive_packet()
        assert (packet.user.payload, packet.participant_identity) == (b"hi", "ann")
        bob.publisher.send("_lossy", encode_user_packet(b"ho"))
        assert (await ann.subscriber.receive_packet("_lossy")).user.payload == b"ho"
        track = await ann.publish("lidar")
        handle = await bob.subscribe(track.sid)
        ann.publisher.send("_data_track", encode(Packet(SINGLE, 1, 2, 3, 4, None, None, b"frame")))
        got = decode(await bob.subscriber.receive("_data_track"))
        assert got == Packet(SINGLE, handle, 2, 3, 4, None, None, b"frame")
        assert server.statistics().track_packets_forwarded == 1


async def test_a_large_packet_travels_whole(server):
    payload = bytes(range(256)) * 250
    async with single(server, "ann") as ann, single(server, "bob") as bob:
        ann.publisher.send("_reliable", encode_user_packet(payload))
        assert (await bob.subscriber.receive_packet()).user.payload == payload


async def test_the_server_can_speak(server):
    async with single(server, "ann") as ann:
        server.send_data("den", b"welcome", topic="t")
        packet = await ann.subscriber.receive_packet()
        assert (packet.user.payload, packet.user.topic, packet.participant_identity) == (b"welcome", "t", "")


async def test_other_channels_are_wrapped(server):
    async with single(server, "ann") as ann, single(server, "bob") as bob:
        ann.publisher.open("other")
        ann.publisher.send("other", b"raw")
        assert (await bob.subscriber.receive_packet()).user.payload == b"raw"


async def test_the_same_offer_again_gets_the_same_answer(server):
    async with running_peer() as peer:
        offer = peer.connection.create_offer()
        async with signal_client(server) as signal:
            await signal.send(m.Offer(offer, 1))
            first = await signal.expect(m.Answer)
            await signal.send(m.Offer(offer, 2))
            second = await signal.expect(m.Answer)
            assert (second.sdp, second.id) == (first.sdp, 2)


async def test_an_ice_restart(server):
    async with single(server, "ann") as ann, single(server, "bob") as bob:
        connection = ann.publisher.connection
        await ann.signal.send(m.Offer(connection.create_restart(), 2))
        answer = await ann.signal.expect(m.Answer)
        assert answer.id == 2
        connection.apply_restart(answer.sdp)
        await wait_until(lambda: not connection.is_restarting)
        ann.publisher.send("_reliable", encode_user_packet(b"as before"))
        assert (await bob.subscriber.receive_packet()).user.payload == b"as before"


@pytest.mark.parametrize("sdp", ["", "nonsense", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"])
async def test_an_offer_that_makes_no_sense_means_starting_over(server, sdp):
    async with signal_client(server) as signal:
        await signal.send(m.Offer(sdp, 1))
        assert await signal.expect(m.Leave) == m.Leave(m.DisconnectReason.STATE_MISMATCH, m.LeaveAction.RECONNECT)
        assert await signal.closed() == 1000
    assert server.rooms == {}


async def test_an_answer_that_makes_no_sense_means_starting_over(server):
    async with signal_client(server, query={}) as signal:
        await signal.expect(m.Offer)
        await signal.send(m.Answer("nonsense", 1))
        assert (await signal.expect(m.Leave)).action is m.LeaveAction.RECONNECT


async def test_an_answer_of_a_client_that_takes_no_messages_means_starting_over(server):
    async with running_peer(controlling=False) as peer, signal_client(server, query={}) as signal:
        offer = await signal.expect(m.Offer)
        answer, lines = re.subn(r"max-message-size:\d+", "max-message-size:1", peer.connection.accept_offer(offer.sdp))
        assert lines == 1
        await signal.send(m.Answer(answer, offer.id))
        assert (await signal.expect(m.Leave)).action is m.LeaveAction.RECONNECT
    assert server.rooms == {}


async def test_a_second_answer_is_ignored(server):
    async with running_peer(controlling=False) as peer, signal_client(server, query={}) as signal:
        offer = await signal.expect(m.Offer)
        answer = m.Answer(peer.connection.accept_offer(offer.sdp), offer.id)
        for _ in range(2):
            await signal.send(answer)
        await signal.send(m.Answer("nonsense", 7))
        await peer.ready()


async def test_candidates_may_come_first(server):
    async with running_peer() as peer:
        offer = peer.connection.create_offer()
        lines = [line for line in offer.splitlines() if line.startswith("a=candidate")]
        bare = "\r\n".join(line for line in offer.splitlines() if line not in lines) + "\r\n"
        async with signal_client(server) as signal:
            for line in lines:
                await signal.send(m.Trickle(line.removeprefix("a=")))
            await signal.send(m.Trickle("", final=True))
            await signal.send(m.Offer(bare, 1))
            peer.connection.apply_answer((await signal.expect(m.Answer)).sdp)
            await peer.connected.wait()


async def test_leaving_ends_the_peer_connection(server):
    async with single(server, "ann") as ann:
        await ann.signal.send(m.Leave(m.DisconnectReason.CLIENT_INITIATED))
        await ann.signal.expect(m.Leave)
        await ann.publisher.failed.wait()


async def test_data_goes_on_while_the_signal_connection_is_away_and_a_resume_brings_it_back(server):
    async with single(server, "ann") as ann, single(server, "bob") as bob:
        await ann.publisher.connected.wait()
        server.drop_signal("den", "ann")
        await ann.signal.closed()
        bob.publisher.send("_reliable", encode_user_packet(b"still there?"))
        assert (await ann.subscriber.receive_packet()).user.payload == b"still there?"
        numbered = models.DataPacket(sequence=5, user=models.UserPacket(payload=b"yes"))
        ann.publisher.send("_reliable", numbered.SerializeToString())
        assert (await bob.subscriber.receive_packet()).user.payload == b"yes"
        request = m.JoinRequest(m.ClientInfo(protocol=17), reconnect=True)
        async with signal_client(server, "ann", request=request) as again:
            assert (await again.expect(m.Reconnected)).last_message_seq == 5
            present = (await again.expect(m.ParticipantUpdate)).participants
            assert {p.identity for p in present} == {"ann", "bob"}


@pytest.mark.parametrize("lost_by", ["client", "server"])
async def test_a_lost_peer_connection_may_be_made_anew(server, lost_by):
    async with single(server, "ann") as ann:
        await ann.signal.expect_about("ann", State.ACTIVE)
        sid = server.participants("den")["ann"].sid
        if lost_by == "client":
            ann.publisher.connection.close()
        else:
            server.drop_peers("den", "ann")
        left = await ann.signal.expect(m.Leave)
        assert left == m.Leave(m.DisconnectReason.CONNECTION_TIMEOUT, m.LeaveAction.RESUME)
        assert await ann.signal.closed() == 1000
        request = m.JoinRequest(m.ClientInfo(protocol=17), reconnect=True)
        async with signal_client(server, "ann", request=request) as again, running_peer() as peer:
            await again.expect(m.Reconnected)
            await again.send(m.Offer(peer.connection.create_offer(), 2))
            peer.connection.apply_answer((await again.expect(m.Answer)).sdp)
            for label in LABELS:
                peer.open(label)
            await peer.ready()
            server.send_data("den", b"welcome back")
            assert (await peer.receive_packet()).user.payload == b"welcome back"
            assert server.participants("den")["ann"].sid == sid


async def test_a_lost_peer_connection_without_a_resume_ends_the_session():
    with trio.fail_after(30):
        async with serve(limits=Limits(departure_timeout_s=0.1)) as server, signal_client(server, "bob") as bob:
            async with single(server, "ann") as ann:
                await ann.signal.expect_about("ann", State.ACTIVE)
                ann.publisher.connection.close()
                gone = await bob.expect_about("ann", State.DISCONNECTED)
                assert gone.disconnect_reason is m.DisconnectReason.CONNECTION_TIMEOUT


async def test_somebody_may_go_while_the_sockets_are_being_bound(server, monkeypatch):
    binding, go_on = trio.Event(), trio.Event()
    gather = PeerConnection.gather

    async def slow_gather(connection):
        await gather(connection)
        binding.set()
        await go_on.wait()

    async with signal_client(server) as signal:
        await signal.expect(m.RefreshToken)
        async with running_peer() as peer:
            monkeypatch.setattr(PeerConnection, "gather", slow_gather)
            await signal.send(m.Offer(peer.connection.create_offer(), 1))
            await binding.wait()
            server.remove_participant("den", "ann")
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            assert (await signal.expect(m.Leave)).reason is m.DisconnectReason.PARTICIPANT_REMOVED
            await signal.closed()


async def test_without_sockets_a_client_is_sent_away(server, monkeypatch):
    async def no_gather(connection):
        await trio.lowlevel.checkpoint()
        raise OSError("no files left")

    async with running_peer() as peer, signal_client(server) as signal:
        monkeypatch.setattr(PeerConnection, "gather", no_gather)
        await signal.send(m.Offer(peer.connection.create_offer(), 1))
        assert (await signal.expect(m.Leave)).reason is m.DisconnectReason.MEDIA_FAILURE
    assert server.rooms == {}


async def test_the_publisher_connection_alone_may_be_made_anew():
    with trio.fail_after(30):
        async with serve(limits=Limits(departure_timeout_s=0.6)) as server, double(server, "ann") as ann:
            ann.publisher.connection.close()
            assert (await ann.signal.expect(m.Leave)).action is m.LeaveAction.RESUME
            async with signal_client(server, "ann", query={"reconnect": "1"}) as again, running_peer() as peer:
                await again.send(m.Offer(peer.connection.create_offer(), 2))
                peer.connection.apply_answer((await again.expect(m.Answer)).sdp)
                await peer.connected.wait()
                with trio.move_on_after(0.8):
                    await again.closed()
                    raise AssertionError("the client was sent away")
                assert set(server.participants("den")) == {"ann"}

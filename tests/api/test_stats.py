"""What a room counts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.old_server import without_v1
from tests.support.reconnecting import QUICK, flowing, until_reconnected
from tests.support.waiting import wait_until
from trio_livekit._session.stats import Retired

if TYPE_CHECKING:
    from tests.support.servers import EmbeddedServer, RealServer, ServerUnderTest

Scenario = lk.SimulateScenario


async def test_what_went_through_a_room(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        flowing(alice, bob) as flow,
    ):
        for _ in range(5):
            await flow.flows()
        async with bob.data_packets() as packets:
            await alice.publish_data(b"x" * 1000, reliable=True)
            with trio.fail_after(5):
                await packets.receive()
        ours, theirs = alice.stats(), bob.stats()

        (transport,) = ours.transports
        assert (transport.direction, transport.state, transport.protocol) == ("both", "connected", "udp")
        assert transport.local_kind in ("host", "prflx")
        assert transport.remote_kind in ("host", "prflx")
        assert transport.path_rtt_s is not None
        assert 0 < transport.path_rtt_s < 5
        assert transport.srtt_s is not None
        assert transport.cwnd > 1000 < transport.mtu
        assert transport.datagrams_sent > 5 < transport.datagrams_received
        assert transport.rejected_packets == 0
        assert transport.rejected_records < 20  # repeats of the handshake, where the machine is busy

        assert set(ours.channels) == {"_reliable", "_lossy", "_data_track"}
        sent, received = ours.channels["_data_track"], theirs.channels["_data_track"]
        assert sent.messages_sent >= 5
        assert sent.bytes_sent > 5 * 12
        assert received.messages_received == sent.messages_sent
        assert ours.channels["_reliable"].bytes_sent > 1000
        assert theirs.channels["_reliable"].bytes_received > 1000

        assert ours.published == {"flow": flow.track.statistics()}
        track = theirs.subscribed["alice", "flow"]
        assert track.frames == ours.published["flow"].frames_sent
        assert track.payload_bytes == ours.published["flow"].payload_bytes_accepted
        assert (track.frames_lost, track.subscriptions) == (0, 1)
        assert ours.signal.sent >= 1
        assert ours.signal.received > 2
        assert ours.signal.malformed == 0
        assert (ours.resumes, ours.restarts, ours.failed_attempts) == (0, 0, 0)
    assert alice.stats().channels["_data_track"].messages_sent == sent.messages_sent  # how it ended


async def test_two_peer_connections(real_server: RealServer, room_name: str) -> None:
    async with (
        without_v1(real_server.url) as url,
        lk.connect(url, real_server.token("alice", room_name)) as alice,
    ):
        assert [transport.direction for transport in alice.stats().transports] == ["send", "receive"]


async def test_reconnections_are_counted(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    async with (
        lk.connect(server.url, server.token("alice", room_name), reconnect=QUICK) as alice,
        alice.events() as events,
        alice.publish_data_track("track") as track,
    ):
        track.try_push(b"x")
        before = alice.stats()
        await alice.simulate(Scenario.SIGNAL_RECONNECT)
        await until_reconnected(events, resumed=True)
        await alice.simulate(Scenario.DISCONNECT_SIGNAL_ON_RESUME_NO_MESSAGES)
        await trio.sleep(0.05)
        await alice.simulate(Scenario.SIGNAL_RECONNECT)
        await until_reconnected(events, resumed=True)
        await alice.simulate(Scenario.FULL_RECONNECT)
        await until_reconnected(events, resumed=False)
        after = alice.stats()
        assert (after.resumes, after.restarts) == (2, 1)
        assert after.failed_attempts >= 3
        assert before.channels["_data_track"].messages_sent == 1
        assert after.channels["_data_track"].messages_sent == 0  # of the new session
        assert after.published["track"].frames_pushed == 1  # of the track


async def test_rubbish_is_counted(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server.server
    async with lk.connect(server.url, server.token("alice", room_name)) as alice:
        member = server._member(room_name, "alice")
        downlink = member.participant.downlink
        with trio.fail_after(5):
            await wait_until(lambda: downlink.data_track is not None)
            downlink.peer.send(downlink.data_track, b"\xff" * 20)
            downlink.peer.send(downlink.data_track, bytes((0x18, 0, 0, 99)) + bytes(9))
            member.tell(b"\xff\xff\xff")
            await wait_until(lambda: alice.stats().signal.malformed and alice.stats().unknown_track_packets)
        stats = alice.stats()
        assert (stats.bad_track_packets, stats.unknown_track_packets, stats.signal.malformed) == (1, 1, 1)


async def test_a_snapshot_stays_as_it_is(embedded_server: EmbeddedServer, room_name: str) -> None:
    async with lk.connect(embedded_server.url, embedded_server.token("alice", room_name)) as alice:
        stats = alice.stats()
        with pytest.raises(dataclasses.FrozenInstanceError):
            stats.resumes = 3  # type: ignore[misc]
        assert "restarts=0" in repr(stats)


async def test_what_has_ended_still_counts(embedded_server: EmbeddedServer, room_name: str) -> None:
    """Tracks of the same name are counted together, so that counters only grow."""
    server = embedded_server
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("alice", room_name)) as alice,
    ):
        for number in (1, 2):
            async with flowing(alice, bob) as flow:
                await flow.flows()
                await flow.flows()
                assert alice.stats().published["flow"].frames_sent == 2 * number
                assert bob.stats().subscribed["alice", "flow"].subscriptions == 1
            with trio.fail_after(5):
                await flow.remote.wait_unpublished()
            track = bob.stats().subscribed["alice", "flow"]
            assert (track.frames, track.frames_lost, track.subscriptions) == (2 * number, 0, 0)
            assert track.payload_bytes == alice.stats().published["flow"].payload_bytes_accepted
            assert alice.stats().published["flow"].frames_sent == 2 * number


def test_so_many_names_at_most() -> None:
    retired: Retired[int, lk.ChannelStats] = Retired()
    for number in range(1000):
        retired.add(number, lk.ChannelStats(1, 2, 3, 4, 5, 6))
    retired.add(999, lk.ChannelStats(1, 1, 1, 1, 1, 1))
    totals = retired.and_also([(998, lk.ChannelStats(1, 0, 0, 0, 0, 0)), (5, lk.ChannelStats(1, 0, 0, 0, 0, 0))])
    assert len(totals) == 257
    assert totals[999] == lk.ChannelStats(2, 3, 4, 5, 6, 7)
    assert (totals[998].messages_sent, totals[5].messages_sent) == (2, 1)

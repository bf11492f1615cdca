"""Our peer connection with pion, the stack that livekit-server is made of, in every role."""

from __future__ import annotations

import itertools

import pytest

from trio_livekit._sansio.channels import ChannelClosed
from trio_livekit._sansio.peer import Failed
from trio_livekit._sansio.sctp import Config as SctpConfig
from trio_livekit._sansio.sdp import Setup
from trio_livekit._transport.peer import PeerConfig

from ..support.connections import running
from .exchange import answer, check_echo, offer_to

HOSTS = ("127.0.0.1",)


@pytest.mark.parametrize(
    ("zero_checksum", "flags"),
    [
        (True, ["-role", "active"]),
        (True, ["-role", "passive"]),
        (True, ["-role", "passive", "-nohvr", "-zerosum"]),
        (True, ["-role", "active", "-zerosum"]),
        (False, ["-role", "active", "-zerosum"]),
        (True, ["-lite"]),
        (True, ["-lite", "-role", "passive", "-zerosum"]),
        (True, ["-tcp"]),
        (True, ["-tcp", "-role", "passive", "-zerosum"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else ("zero" if value else "sums"),
)
async def test_pion_answers(pion_peer, zero_checksum, flags):
    config = PeerConfig(hosts=HOSTS, sctp=SctpConfig(zero_checksum=zero_checksum))
    async with pion_peer(*flags) as peer, running(config) as connection:
        await offer_to(peer, connection)
        await check_echo(connection, connection.peer.open_channel("echo"))


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
@pytest.mark.parametrize("flags", [[], ["-zerosum"], ["-lite"], ["-tcp"], ["-nohvr"]], ids=" ".join)
async def test_pion_offers(pion_peer, flags, setup):
    config = PeerConfig(controlling=False, answer_setup=setup, hosts=HOSTS)
    async with pion_peer("-offer", "-open", "echo,other", *flags) as peer, running(config) as connection:
        await answer(peer, connection)
        for label in ("echo", "other"):
            await check_echo(connection, await connection.opened(label))


async def test_a_connection_of_ours_beside_several_channels(pion_peer):
    """Ids follow the DTLS role, so that both sides may open channels at the same time."""
    config = PeerConfig(controlling=False, hosts=HOSTS)
    async with pion_peer("-offer", "-open", "one,two") as peer, running(config) as connection:
        await answer(peer, connection)
        ours = [connection.peer.open_channel(f"ours {number}") for number in range(3)]
        theirs = [await connection.opened(label) for label in ("one", "two")]
        assert {number % 2 for number in ours} != {number % 2 for number in theirs}
        for channel_id in (*ours, *theirs):
            connection.peer.send(channel_id, b"%d" % channel_id)
        await connection.receive(5)
        assert sorted(connection.messages) == sorted((number, b"%d" % number, False) for number in (*ours, *theirs))


async def test_megabytes_into_a_sink(pion_peer):
    async with pion_peer("-zerosum") as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        channel_id = connection.peer.open_channel("sink")
        for _ in range(512):
            connection.peer.send(channel_id, bytes(16384))
        connection.peer.send(channel_id, b"how much?", text=True)
        assert await connection.receive(1) == [b"8388608"]


async def test_megabytes_out_of_a_flood(pion_peer):
    flags = ("-fn", "512", "-fsize", "16384", "-zerosum")
    async with pion_peer(*flags) as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        connection.peer.open_channel("flood")
        received = await connection.receive(513)
        assert set(received[:512]) == {bytes(16384)}
        assert received[512] == b"end"


async def test_megabytes_over_tcp(pion_peer):
    async with pion_peer("-tcp", "-fn", "256") as peer, running(PeerConfig(hosts=HOSTS, udp=False)) as connection:
        await offer_to(peer, connection)
        sink = connection.peer.open_channel("sink")
        for _ in range(256):
            connection.peer.send(sink, bytes(16384))
        connection.peer.send(sink, b"how much?", text=True)
        assert await connection.receive(1, sink) == [b"4194304"]
        flood = connection.peer.open_channel("flood")
        assert await connection.receive(257, flood) == [*itertools.repeat(bytes(16384), 256), b"end"]


async def test_unreliable_channels_carry_too(pion_peer):
    async with pion_peer() as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        channel_id = connection.peer.open_channel("lossy", ordered=False, max_retransmits=0)
        await connection.opened("lossy")
        for number in range(20):
            connection.peer.send(channel_id, b"%d" % number)
        await connection.receive(20, channel_id)
        assert sorted(map(int, connection.received(channel_id))) == list(range(20))


async def test_closing_a_channel_closes_it_there_and_here(pion_peer):
    async with pion_peer() as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        channel_id = connection.peer.open_channel("echo")
        connection.peer.send(channel_id, b"last words")
        await connection.receive(1)
        connection.peer.close_channel(channel_id)
        assert (await connection.expect(ChannelClosed)).channel_id == channel_id
        await peer.wait_logged("closed echo")
        again = connection.peer.open_channel("echo")
        connection.peer.send(again, b"again")
        assert await connection.receive(2) == [b"last words", b"again"]


async def test_pion_notices_that_we_close(pion_peer):
    async with pion_peer() as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        connection.peer.open_channel("echo")
        await connection.opened("echo")
        connection.peer.close()
        await peer.wait_logged("state closed")


async def test_we_notice_that_pion_closes(pion_peer):
    async with running(PeerConfig(hosts=HOSTS)) as connection:
        async with pion_peer() as peer:
            await offer_to(peer, connection)
            connection.peer.open_channel("echo")
            await connection.opened("echo")
        await connection.expect(Failed)


async def test_the_wrong_fingerprint_is_refused_by_both(pion_peer):
    async with pion_peer() as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        sdp = await peer.answer(connection.peer.create_offer())
        place = sdp.index("a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
        wrong = "0" if sdp[place] != "0" else "1"
        connection.peer.apply_answer(sdp[:place] + wrong + sdp[place + 1 :])
        assert "fingerprint mismatch" in (await connection.expect(Failed)).reason
        assert not connection.messages

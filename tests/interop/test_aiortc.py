"""Our peer connection with aiortc, which has OpenSSL for DTLS and another SCTP."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.channels import ChannelClosed
from trio_livekit._sansio.peer import Failed
from trio_livekit._sansio.sdp import Setup
from trio_livekit._transport.peer import PeerConfig

from ..support.connections import running
from .exchange import answer, check_echo, offer_to

HOSTS = ("127.0.0.1",)
LARGEST = 65536
"""What aiortc says it takes."""


async def test_aiortc_answers(aiortc_peer):
    async with aiortc_peer() as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        await check_echo(connection, connection.peer.open_channel("echo"), most=LARGEST)


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_aiortc_offers(aiortc_peer, setup):
    config = PeerConfig(controlling=False, answer_setup=setup, hosts=HOSTS)
    async with aiortc_peer("-offer", "-open", "echo,other") as peer, running(config) as connection:
        await answer(peer, connection)
        for label in ("echo", "other"):
            await check_echo(connection, await connection.opened(label), most=LARGEST)


async def test_megabytes_both_ways(aiortc_peer):
    flags = ("-fn", "128", "-fsize", "16384")
    async with aiortc_peer(*flags) as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        sink = connection.peer.open_channel("sink")
        for _ in range(128):
            connection.peer.send(sink, bytes(16384))
        connection.peer.send(sink, b"how much?", text=True)
        assert await connection.receive(1, sink) == [b"2097152"]
        flood = connection.peer.open_channel("flood")
        assert await connection.receive(129, flood) == [*[bytes(16384)] * 128, b"end"]


async def test_unreliable_channels_carry_too(aiortc_peer):
    config = PeerConfig(controlling=False, hosts=HOSTS)
    async with aiortc_peer("-offer", "-lossy") as peer, running(config) as connection:
        await answer(peer, connection)
        channel_id = await connection.opened("echo")
        for number in range(20):
            connection.peer.send(channel_id, b"%d" % number)
        assert sorted(map(int, await connection.receive(20, channel_id))) == list(range(20))


async def test_closing_a_channel(aiortc_peer):
    async with aiortc_peer() as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        channel_id = connection.peer.open_channel("echo")
        await connection.opened("echo")
        connection.peer.close_channel(channel_id)
        await connection.expect(ChannelClosed)
        await peer.wait_logged("closed echo")


async def test_either_side_notices_that_the_other_closes(aiortc_peer):
    async with running(PeerConfig(hosts=HOSTS)) as connection:
        async with aiortc_peer() as peer:
            await offer_to(peer, connection)
            await check_echo(connection, connection.peer.open_channel("echo"), most=1)
        await connection.expect(Failed)
    async with aiortc_peer() as peer, running(PeerConfig(hosts=HOSTS)) as connection:
        await offer_to(peer, connection)
        await check_echo(connection, connection.peer.open_channel("echo"), most=1)
        connection.peer.close()
        await peer.wait_logged("state closed")

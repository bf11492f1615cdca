"""Two of our peer connections on real sockets, with a relay between them that does what bad networks do."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from trio_livekit._sansio.peer import Connected, Failed
from trio_livekit._transport.peer import PeerConfig
from trio_livekit.testing.faults import CONDITIONS, Bursts, LinkModel

from ..support.connections import Connection, running
from .relay import Relay, open_relay

HOSTS = ("127.0.0.1",)

RELIABLE_MESSAGES = 100
LOSSY_MESSAGES = 100
FRESH_S = 1.0
"""What an unreliable message may take, however busy the machine is."""


@asynccontextmanager
async def connections(model: LinkModel, *, drop=None, seed: int = 1):
    """Alice and Bob, who send each other everything through a relay."""
    async with (
        running(PeerConfig(hosts=HOSTS)) as alice,
        running(PeerConfig(hosts=HOSTS, controlling=False)) as bob,
    ):
        [line] = bob.peer.local_candidates()
        target = (line.split()[4], int(line.split()[5]))
        async with open_relay(target, model=model, seed=seed) as relay:
            relay.up.drop = relay.down.drop = drop
            offer = alice.peer.create_offer()
            hidden = "".join(line for line in offer.splitlines(keepends=True) if "candidate" not in line)
            alice.peer.apply_answer(relay.redirect(bob.peer.accept_offer(hidden)))
            for connection in (alice, bob):
                await connection.connected()
            yield alice, bob, relay


async def check(alice: Connection, bob: Connection, *, lost_share: float) -> None:
    """Reliable messages all arrive, once and in order; unreliable ones at once, or never, and most of them.

    How many are lost is chance: several share a datagram where the window is short. ``lost_share`` is out of its reach.
    """
    reliable = alice.peer.open_channel("reliable")
    lossy = alice.peer.open_channel("lossy", ordered=False, max_retransmits=0)
    for label in ("reliable", "lossy"):
        await bob.opened(label)
    sent = [b"%d " % number * 300 for number in range(RELIABLE_MESSAGES)]
    for number, message in enumerate(sent):
        alice.peer.send(reliable, message)
        bob.peer.send(reliable, message)
        alice.peer.send(lossy, b"%d" % number)
        await trio.sleep(0.005)
    with trio.move_on_after(FRESH_S):
        await bob.receive(LOSSY_MESSAGES, lossy)
    fresh = bob.received(lossy)
    assert await bob.receive(len(sent), reliable) == sent
    assert await alice.receive(len(sent), reliable) == sent
    await trio.sleep(0.1)  # for what should not come
    assert bob.received(reliable) == alice.received(reliable) == sent
    assert len(set(fresh)) == len(fresh)
    assert len(fresh) >= LOSSY_MESSAGES * (1 - lost_share)
    for connection in (alice, bob):
        assert connection.count(Connected) == 1
        assert not connection.count(Failed)


@pytest.mark.parametrize(
    ("name", "lost_share"),
    [
        ("loss 5 %", 0.4),
        ("loss 20 %", 0.7),
        ("loss in bursts", 0.6),
        ("duplicates", 0.05),
        ("reordering", 0.05),
        ("delay 250 ms, jitter", 0.05),
        ("narrow, bufferbloat", 1.0),
        ("MTU 1200", 0.05),
        ("MTU 1150", 0.05),
    ],
)
async def test_a_bad_network(name, lost_share):
    async with connections(CONDITIONS[name]) as (alice, bob, _):
        await check(alice, bob, lost_share=lost_share)


async def test_losses_that_both_ways_have_together():
    bursts = Bursts(enter=0.02, leave=0.2, seed=3)
    async with connections(LinkModel(delay_s=0.005), drop=bursts) as (alice, bob, _):
        await check(alice, bob, lost_share=0.6)


async def test_corruption():
    """It begins after the handshake, whose first messages nothing protects: there, a flipped bit is an attack."""
    async with connections(LinkModel(delay_s=0.005)) as (alice, bob, relay):
        relay.up.model = relay.down.model = LinkModel(corrupt=0.05, delay_s=0.005)
        await check(alice, bob, lost_share=0.4)


async def test_many_handshakes_under_heavy_loss():
    async def connect(seed: int) -> None:
        async with connections(LinkModel(loss=0.3, delay_s=0.005), seed=seed) as (alice, _, relay):
            await open_one(alice, relay)

    async def open_one(alice: Connection, relay: Relay) -> None:
        alice.peer.open_channel("one")
        await alice.opened("one")
        assert relay.up.dropped + relay.down.dropped > 0

    async with trio.open_nursery() as nursery:
        for seed in range(8):
            nursery.start_soon(connect, seed)


async def test_a_client_that_moves():
    async with connections(LinkModel(delay_s=0.005)) as (alice, bob, relay):
        channel_id = alice.peer.open_channel("data")
        await bob.opened("data")
        relay.rebind()
        alice.peer.send(channel_id, b"from another address")
        bob.peer.send(channel_id, b"to another address")
        assert await bob.receive(1) == [b"from another address"]
        assert await alice.receive(1) == [b"to another address"]

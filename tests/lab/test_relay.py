"""The relay does to datagrams what it was asked to, and nothing else."""

from __future__ import annotations

import pytest
import trio

from trio_livekit._transport.datagrams import UdpEndpoint
from trio_livekit.testing.faults import blocked
from trio_livekit.testing.pair import LinkModel

from .relay import open_relay


@pytest.fixture
def client(no_leaks):
    endpoint = UdpEndpoint.bind("127.0.0.1")
    yield endpoint
    endpoint.close()


@pytest.fixture
def target(no_leaks):
    endpoint = UdpEndpoint.bind("127.0.0.1")
    yield endpoint
    endpoint.close()


async def receive(endpoint: UdpEndpoint, count: int) -> list[bytes]:
    received: list[bytes] = []
    with trio.fail_after(10):
        while len(received) < count:
            await endpoint.wait_readable()
            received += [data for data, _ in endpoint.receive_all(64)]
    return received


async def test_a_good_relay_carries_both_ways_in_order(client, target):
    async with open_relay(target.local_address) as relay:
        burst = [bytes([number]) * 100 for number in range(200)]
        assert client.send_many(burst, relay.address) == 200
        assert await receive(target, 200) == burst
        assert relay.client == client.local_address
        assert target.send_many(burst, relay.public_address) == 200
        assert await receive(client, 200) == burst
        assert (relay.up.offered, relay.up.dropped) == (200, 0)


async def test_losses_are_counted_and_duplicates_arrive(client, target):
    async with open_relay(target.local_address, model=LinkModel(loss=0.3, duplicate=0.2), seed=5) as relay:
        client.send_many([bytes([number]) for number in range(200)], relay.address)
        with trio.fail_after(10):
            while relay.up.offered < 200:
                await trio.lowlevel.checkpoint()
        assert 30 < relay.up.dropped < 90
        relay.up.model = LinkModel()
        client.send(b"last", relay.address)
        received = []
        while b"last" not in received:
            received += await receive(target, 1)
        assert len(received) - 1 == relay.up.delivered - 1 > 200 - relay.up.dropped


async def test_corruption_flips_one_bit(client, target):
    async with open_relay(target.local_address, model=LinkModel(corrupt=1.0)) as relay:
        client.send(bytes(50), relay.address)
        [damaged] = await receive(target, 1)
        assert len(damaged) == 50
        assert int.from_bytes(damaged, "big").bit_count() == 1


async def test_delay_and_mtu_are_of_one_direction(client, target):
    slow = LinkModel(delay_s=0.05, mtu=100)
    async with open_relay(target.local_address, model=slow, back=LinkModel()) as relay:
        began = trio.current_time()
        client.send(bytes(101), relay.address)
        client.send(bytes(100), relay.address)
        assert await receive(target, 1) == [bytes(100)]
        assert trio.current_time() - began >= 0.05  # a lower bound: the relay never hurries
        target.send(bytes(1000), relay.public_address)
        assert await receive(client, 1) == [bytes(1000)]


async def test_an_outage_ends_when_it_is_told_to(client, target):
    async with open_relay(target.local_address) as relay:
        relay.up.drop = blocked
        client.send(b"lost", relay.address)
        with trio.fail_after(5):
            while not relay.up.dropped:
                await trio.lowlevel.checkpoint()
        relay.up.drop = None
        client.send(b"kept", relay.address)
        assert await receive(target, 1) == [b"kept"]


async def test_after_a_rebinding_the_target_sees_another_address(client, target):
    async with open_relay(target.local_address) as relay:
        client.send(b"one", relay.address)
        await target.wait_readable()
        [(_, before)] = target.receive_all(8)
        relay.rebind()
        client.send(b"two", relay.address)
        await target.wait_readable()
        [(_, after)] = target.receive_all(8)
        assert before != after == relay.public_address
        target.send(b"to the old address", before)
        target.send(b"to the new address", after)
        assert await receive(client, 1) == [b"to the new address"]


async def test_descriptions_are_redirected(client, target):
    host, port = target.local_address
    async with open_relay(target.local_address) as relay:
        line = relay.redirect(f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n")
        assert line == f"a=candidate:1 1 udp 2130706431 {host} {relay.address[1]} typ host\r\n"

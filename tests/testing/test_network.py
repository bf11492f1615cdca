"""The in-memory network keeps the promises that drivers are tested against."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_livekit.testing.faults import Bursts, blocked
from trio_livekit.testing.network import MemoryEndpoint, Network
from trio_livekit.testing.pair import LinkModel


async def receive(endpoint: MemoryEndpoint, within_s: float = 10.0) -> list[tuple[bytes, tuple[str, int]]]:
    """Everything that arrives before a virtual deadline."""
    received = []
    with trio.move_on_after(within_s):
        while True:
            await endpoint.wait_readable()
            received += endpoint.receive_all(64)
    return received


async def test_a_datagram_arrives_after_the_delay_of_its_link(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.25))
    left, right = network.bind("198.51.100.1"), network.bind("2001:db8::2", 5)
    began = trio.current_time()
    assert left.send(b"hello", right.local_address)
    assert right.receive_all(8) == []
    await right.wait_readable()
    assert trio.current_time() - began == pytest.approx(0.25)
    assert right.receive_all(8) == [(b"hello", left.local_address)]


async def test_arrivals_of_several_links_are_in_order_of_time(autojump_clock):
    network = Network()
    far, near, here = (network.bind(f"198.51.100.{last}") for last in (1, 2, 3))
    network.set_model(LinkModel(delay_s=0.2), "198.51.100.1", "198.51.100.3")
    network.set_model(LinkModel(delay_s=0.1), "198.51.100.2", "198.51.100.3")
    assert far.send_many([b"far 1", b"far 2"], here.local_address) == 2
    assert near.send(b"near", here.local_address)
    assert [data for data, _ in await receive(here)] == [b"near", b"far 1", b"far 2"]


async def test_a_sooner_arrival_wakes_a_receiver_that_waits_for_a_later_one(autojump_clock):
    network = Network()
    here, slow, fast = (network.bind(f"198.51.100.{last}") for last in (1, 2, 3))
    network.set_model(LinkModel(delay_s=60), "198.51.100.1", "198.51.100.2")
    slow.send(b"slow", here.local_address)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send_later() -> None:
            await trio.sleep(1)
            fast.send(b"fast", here.local_address)

        await here.wait_readable()
        assert here.receive_all(8) == [(b"fast", fast.local_address)]


async def run_lossy(seed: int) -> list[bytes]:
    network = Network(seed=seed, model=LinkModel(loss=0.3, duplicate=0.1, jitter_s=0.1, corrupt=0.1))
    left, right = network.bind("198.51.100.1"), network.bind("198.51.100.2")
    for number in range(100):
        left.send(bytes([number]), right.local_address)
    return [data for data, _ in await receive(right)]


async def test_a_seed_replays_a_run(autojump_clock):
    first = await run_lossy(1)
    assert first == await run_lossy(1)
    assert first != await run_lossy(2)
    assert 40 < len(first) < 110


async def test_an_outage_between_two_hosts_leaves_others_alone(autojump_clock):
    network = Network()
    a, b, c = (network.bind(f"198.51.100.{last}") for last in (1, 2, 3))
    network.set_drop(blocked, "198.51.100.1", "198.51.100.2")
    a.send(b"lost", b.local_address)
    b.send(b"lost", a.local_address)
    c.send(b"kept", a.local_address)
    assert await receive(a) == [(b"kept", c.local_address)]
    network.set_drop(None, "198.51.100.1", "198.51.100.2")
    b.send(b"back", a.local_address)
    assert await receive(a) == [(b"back", b.local_address)]


def test_bursts_lose_the_share_and_the_length_that_was_asked_for():
    bursts = Bursts(enter=0.02, leave=0.2, seed=3)
    fates = "".join("x" if bursts(b"") else "." for _ in range(20_000))
    lengths = [len(burst) for burst in fates.split(".") if burst]
    assert 0.07 < fates.count("x") / len(fates) < 0.12  # 0.02 / 0.22 = 0.09
    assert 4 < sum(lengths) / len(lengths) < 6


async def test_behind_a_nat_only_answers_come_in(autojump_clock):
    network = Network()
    home = network.nat("203.0.113.9")
    inside = network.bind("192.168.1.2", 4000, behind=home)
    server, stranger = network.bind("198.51.100.1"), network.bind("198.51.100.2")
    inside.send(b"hello", server.local_address)
    [(data, seen)] = await receive(server)
    assert data == b"hello"
    assert seen[0] == "203.0.113.9"
    server.send(b"answer", seen)
    stranger.send(b"unasked", seen)
    server.send(b"to the private address", inside.local_address)
    assert await receive(inside) == [(b"answer", server.local_address)]
    home.filtering = False
    stranger.send(b"unasked", seen)
    assert await receive(inside) == [(b"unasked", stranger.local_address)]


@pytest.mark.parametrize("symmetric", [False, True])
async def test_a_symmetric_nat_has_a_port_for_each_remote(autojump_clock, symmetric):
    network = Network()
    inside = network.bind("192.168.1.2", behind=network.nat("203.0.113.9", symmetric=symmetric))
    servers = [network.bind(f"198.51.100.{last}") for last in (1, 2)]
    seen = []
    for server in servers:
        inside.send(b"x", server.local_address)
        seen.append((await receive(server))[0][1])
    assert (seen[0] != seen[1]) is symmetric


async def test_a_rebinding_changes_the_port_and_shuts_the_old_one(autojump_clock):
    network = Network()
    home = network.nat("203.0.113.9")
    inside, server = network.bind("192.168.1.2", behind=home), network.bind("198.51.100.1")
    inside.send(b"x", server.local_address)
    [(_, before)] = await receive(server)
    home.rebind()
    server.send(b"too late", before)
    inside.send(b"x", server.local_address)
    [(_, after)] = await receive(server)
    assert after != before
    server.send(b"in time", after)
    assert await receive(inside) == [(b"in time", server.local_address)]


async def test_neighbours_behind_one_nat_talk_past_it(autojump_clock):
    network = Network()
    home = network.nat("203.0.113.9")
    one, two = network.bind("192.168.1.2", behind=home), network.bind("192.168.1.3", behind=home)
    one.send(b"x", two.local_address)
    assert await receive(two) == [(b"x", one.local_address)]


async def test_a_stalled_endpoint_takes_nothing_until_it_is_writable(autojump_clock):
    network = Network()
    left, right = network.bind("198.51.100.1"), network.bind("198.51.100.2")
    left.stall()
    assert not left.send(b"x", right.local_address)
    assert left.send_many([b"x", b"y"], right.local_address) == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.wait_writable)
        await trio.testing.wait_all_tasks_blocked()
        left.stall(False)
    assert left.send_many([b"x", b"y"], right.local_address) == 2
    assert len(await receive(right)) == 2


async def test_closing_wakes_waiters_frees_the_address_and_ends_use(autojump_clock):
    network = Network()
    left, right = network.bind("198.51.100.1", 7), network.bind("198.51.100.2")
    with pytest.raises(OSError, match="taken"):
        network.bind("198.51.100.1", 7)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await left.wait_readable()

        await trio.testing.wait_all_tasks_blocked()
        left.close()
    left.close()
    with pytest.raises(trio.ClosedResourceError):
        left.send(b"x", right.local_address)
    with pytest.raises(trio.ClosedResourceError):
        left.receive_all(1)
    with pytest.raises(trio.ClosedResourceError):
        await left.wait_writable()
    right.send(b"to nobody", ("198.51.100.1", 7))
    again = network.bind("198.51.100.1", 7)
    right.send(b"x", again.local_address)
    assert await receive(again) == [(b"x", right.local_address)]


async def test_waiting_is_a_checkpoint_even_when_there_is_something():
    network = Network()
    left, right = network.bind("198.51.100.1"), network.bind("198.51.100.2")
    left.send(b"x", right.local_address)
    with trio.testing.assert_checkpoints():
        await right.wait_readable()
    with trio.testing.assert_checkpoints():
        await right.wait_writable()

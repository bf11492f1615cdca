"""Two hosts on a wire: datagrams cross it whole, and faults are those that were asked for."""

from __future__ import annotations

import collections
import subprocess
import time
from pathlib import Path

import pytest
import trio

from trio_livekit._transport.datagrams import UdpEndpoint
from trio_livekit.testing.pair import LinkModel

from .netns import behind_nat, firewall, missing, remove_leftovers, two_hosts


@pytest.fixture(scope="module")
def hosts():
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with two_hosts() as pair:
        yield pair


@pytest.fixture
def endpoints(hosts):
    left, right = (UdpEndpoint(host.udp_socket()) for host in hosts)
    yield left, right
    left.close()
    right.close()


needs_firewall = pytest.mark.skipif(firewall() is None, reason="loss needs the command nft or iptables")


async def send_and_collect(sender: UdpEndpoint, receiver: UdpEndpoint, burst: list[bytes]) -> list[bytes]:
    """Send datagrams that may be lost, then an empty one that may not (it is repeated); return those that arrived."""
    assert sender.send_many(burst, receiver.local_address) == len(burst)
    arrived: list[bytes] = []
    with trio.fail_after(10):
        while True:
            sender.send(b"", receiver.local_address)
            with trio.move_on_after(0.05):
                await receiver.wait_readable()
            batch = [data for data, _ in receiver.receive_all(1000)]
            arrived += [data for data in batch if data]
            if b"" in batch:
                return arrived


async def test_bursts_cross_the_wire(endpoints):
    left, right = endpoints
    assert left.local_address[0] == "10.77.0.1"
    assert len(await send_and_collect(left, right, [bytes(1200)] * 96)) == 96
    assert left.statistics().datagrams_refused == 0


def test_commands_run_over_there(hosts):
    output = subprocess.run(hosts[1].command("ip", "-4", "address"), capture_output=True, text=True, check=True)
    assert "10.77.0.2" in output.stdout


@needs_firewall
async def test_loss_takes_single_datagrams_of_a_burst(hosts, endpoints):
    hosts[0].fault(LinkModel(loss=0.3))
    arrived = await send_and_collect(*endpoints, [bytes([burst]) * 1000 for burst in range(10) for _ in range(48)])
    hosts[0].fault(LinkModel())
    assert 480 * 0.5 < len(arrived) < 480 * 0.9
    survivors = collections.Counter(data[0] for data in arrived)
    assert any(0 < count < 48 for count in survivors.values())
    assert len(await send_and_collect(*endpoints, [bytes(1000)] * 48)) == 48


@needs_firewall
async def test_too_long_datagrams_vanish(hosts, endpoints):
    hosts[0].fault(LinkModel(mtu=1000))
    assert await send_and_collect(*endpoints, [bytes(1001)] * 4 + [bytes(1000)] * 3) == [bytes(1000)] * 3
    hosts[0].fault(LinkModel())


async def test_a_rate_with_a_short_queue_loses_the_rest_of_a_burst(hosts, endpoints):
    hosts[0].fault(LinkModel(rate_bps=1_000_000, queue_bytes=20_000))
    arrived = len(await send_and_collect(*endpoints, [bytes(1000)] * 144))
    hosts[0].fault(LinkModel())
    assert 10 < arrived < 80


def test_what_needs_netem_is_refused(hosts):
    with pytest.raises(ValueError, match="delay_s=1"):
        hosts[0].fault(LinkModel(delay_s=1.0))


needs_nft = pytest.mark.skipif(firewall() != "nft", reason="walls and routers need the command nft")


@needs_nft
async def test_what_a_wall_stops_is_lost_until_it_is_down(hosts, endpoints):
    left, right = endpoints
    hosts[1].block("meta l4proto udp drop")
    assert left.send(b"lost", right.local_address)
    hosts[1].block()
    assert await send_and_collect(left, right, [b"arrives"]) == [b"arrives"]


@needs_nft
def test_a_router_that_forgets_gives_other_mappings():
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with behind_nat() as (inside, router, outside):
        with inside.udp_socket() as ours, outside.udp_socket() as theirs:
            theirs.settimeout(5)
            seen = []
            for address in ("10.77.0.1", "10.77.0.3"):
                router.translate(address, "30000-39999")
                ours.sendto(b"hello", theirs.getsockname())
                seen.append(theirs.recvfrom(10)[1])
            assert [host for host, _ in seen] == ["10.77.0.1", "10.77.0.3"]
            assert all(30000 <= port < 40000 for _, port in seen)


def test_what_a_dead_process_left_behind_is_removed(hosts):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left_behind = f"tlk{dead.pid}-0-l"
    subprocess.run(["ip", "netns", "add", left_behind], check=True)
    with subprocess.Popen(["ip", "netns", "exec", left_behind, "sleep", "60"], stdout=subprocess.PIPE) as running:
        while Path("/proc", str(running.pid), "comm").read_text() != "sleep\n":
            time.sleep(0.01)
        remove_leftovers()
        assert running.wait() < 0
    assert not Path("/run/netns", left_behind).exists()
    assert Path("/run/netns", hosts[0].namespace).exists()

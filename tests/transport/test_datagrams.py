"""Datagram endpoints on real sockets: bursts, refusals, closing. Loopback, so the real clock."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
import trio.testing

from trio_livekit._transport import datagrams, offload
from trio_livekit._transport.datagrams import DatagramEndpoint, UdpEndpoint


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request):
    try:
        UdpEndpoint.bind(request.param).close()
    except OSError as exc:
        pytest.skip(f"{request.param} cannot be bound here: {exc}")
    return request.param


@pytest.fixture(params=[True, False], ids=["segmented", "one by one"])
def pair(host, request):
    sender, receiver = UdpEndpoint.bind(host, segmented=request.param), UdpEndpoint.bind(host)
    yield sender, receiver
    sender.close()
    receiver.close()


async def receive(endpoint: DatagramEndpoint, count: int, limit: int = 64) -> list[bytes]:
    received: list[bytes] = []
    with trio.fail_after(5):
        while len(received) < count:
            await endpoint.wait_readable()
            received += [data for data, _ in endpoint.receive_all(limit)]
    return received


async def test_a_datagram_arrives_with_its_source(pair, host):
    sender, receiver = pair
    assert sender.send(b"hello", receiver.local_address)
    await receiver.wait_readable()
    assert receiver.receive_all(8) == [(b"hello", sender.local_address)]
    assert receiver.receive_all(8) == []
    assert receiver.send(b"", sender.local_address)
    await sender.wait_readable()
    assert sender.receive_all(8) == [(b"", receiver.local_address)]


@pytest.mark.parametrize(
    "lengths",
    [
        [1200] * 3,
        [1200] * 130,
        [1200] * 60 + [7],
        [1200, 7, 1200, 1200, 0, 0, 5, 6, 6],
        [1, 2, 3, 3, 3, 2, 1],
        [],
    ],
)
async def test_bursts_of_any_shape_arrive_in_order(pair, lengths):
    sender, receiver = pair
    burst = [bytes([index % 256]) * length for index, length in enumerate(lengths)]
    assert sender.send_many(burst, receiver.local_address) == len(burst)
    assert await receive(receiver, len(burst)) == burst
    assert sender.statistics().datagrams_sent == receiver.statistics().datagrams_received == len(burst)


@pytest.mark.skipif(not offload.kernel_segments(), reason="this kernel has no UDP_SEGMENT")
async def test_equal_datagrams_leave_in_few_system_calls(host):
    sender, receiver = UdpEndpoint.bind(host), UdpEndpoint.bind(host)
    assert sender.send_many([bytes(1200)] * 96, receiver.local_address) == 96
    assert sender.statistics().send_calls == 2
    assert len(await receive(receiver, 96)) == 96
    sender.close()
    receiver.close()


@pytest.mark.skipif(not offload.kernel_segments(), reason="this kernel has no UDP_SEGMENT")
async def test_coalesced_datagrams_come_apart_again(host):
    sender, receiver = UdpEndpoint.bind(host), UdpEndpoint.bind(host, coalescing=True)
    burst = [bytes([index]) * 1000 for index in range(40)] + [b"short"]
    assert sender.send_many(burst, receiver.local_address) == 41
    assert await receive(receiver, 41) == burst
    sender.close()
    receiver.close()


async def test_coalescing_ends_when_nothing_comes_of_it(host, monkeypatch):
    monkeypatch.setattr(datagrams, "_COALESCING_TRIAL", 3)
    sender, receiver = UdpEndpoint.bind(host), UdpEndpoint.bind(host, coalescing=True)
    for number in range(8):
        assert sender.send(bytes([number]), receiver.local_address)
    assert await receive(receiver, 8, limit=3) == [bytes([number]) for number in range(8)]
    sender.close()
    receiver.close()


async def test_the_limit_bounds_one_drain(pair):
    sender, receiver = pair
    for number in range(10):
        assert sender.send(bytes([number]), receiver.local_address)
    await receiver.wait_readable()
    assert [data[0] for data, _ in receiver.receive_all(4)] == [0, 1, 2, 3]
    assert [data[0] for data, _ in receiver.receive_all(64)] == [4, 5, 6, 7, 8, 9]


class RefusingSocket:
    """A socket that raises from a script before it behaves; a stand-in for states of a kernel that are hard to make."""

    def __init__(self, sock: socket.socket, script: list[int | None]) -> None:
        self._sock = sock
        self.script = script
        self.bursts = 0

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def _obey(self) -> None:
        number = self.script.pop(0) if self.script else None
        if number is not None:
            raise OSError(number, "scripted")

    def sendto(self, data, address):
        self._obey()
        return self._sock.sendto(data, address)

    def sendmsg(self, buffers, ancillary, flags, address):
        self._obey()
        self.bursts += 1
        return self._sock.sendmsg(buffers, ancillary, flags, address)


def scripted(script: list[int | None], **options: bool) -> tuple[UdpEndpoint, RefusingSocket]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    refusing = RefusingSocket(sock, script)
    return UdpEndpoint(refusing, **options), refusing  # type: ignore[arg-type]


@pytest.fixture
def receiver():
    endpoint = UdpEndpoint.bind("127.0.0.1")
    yield endpoint
    endpoint.close()


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.ENOBUFS, errno.EPERM])
@pytest.mark.parametrize("segmented", [True, False])
async def test_what_the_kernel_refuses_for_good_is_lost(receiver, number, segmented):
    sender, _ = scripted([number], segmented=segmented)
    assert sender.send(b"lost", receiver.local_address)
    assert sender.send(b"kept", receiver.local_address)
    assert await receive(receiver, 1) == [b"kept"]
    assert sender.statistics().datagrams_refused == 1
    assert "scripted" in sender.statistics().last_error
    sender.close()


async def test_a_full_buffer_leaves_the_rest(receiver):
    sender, _ = scripted([None, None, errno.EAGAIN], segmented=False)
    burst = [b"a", b"b", b"c", b"d"]
    assert sender.send_many(burst, receiver.local_address) == 2
    await sender.wait_writable()
    assert sender.send_many(burst[2:], receiver.local_address) == 2
    assert await receive(receiver, 4) == burst
    assert sender.statistics().send_blocked == 1
    sender.close()


@pytest.mark.skipif(not offload.kernel_segments(), reason="this kernel has no UDP_SEGMENT")
async def test_a_full_buffer_leaves_the_rest_of_a_burst(receiver):
    sender, _ = scripted([None, errno.EAGAIN])
    burst = [bytes([number]) * 1200 for number in range(60)]
    assert sender.send_many(burst, receiver.local_address) == 48
    assert sender.send_many(burst[48:], receiver.local_address) == 12
    assert await receive(receiver, 60) == burst
    sender.close()


@pytest.mark.skipif(not offload.kernel_segments(), reason="this kernel has no UDP_SEGMENT")
async def test_a_device_without_segmentation_gets_single_datagrams_ever_after(receiver):
    sender, sock = scripted([errno.EIO])
    burst = [b"abc", b"def"]
    for _ in range(2):
        assert sender.send_many(burst, receiver.local_address) == 2
    assert await receive(receiver, 4) == burst * 2
    assert sock.bursts == 0
    sender.close()


@pytest.mark.skipif(not offload.kernel_segments(), reason="this kernel has no UDP_SEGMENT")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EMSGSIZE])
async def test_segments_wider_than_the_path_go_singly_and_narrower_ones_do_not(receiver, number):
    sender, sock = scripted([number])
    wide, narrow = [bytes(1400)] * 3, [bytes(1200)] * 3
    assert sender.send_many(wide, receiver.local_address) == 3
    assert sender.send_many(wide, receiver.local_address) == 3
    assert sock.bursts == 0
    assert sender.send_many(narrow, receiver.local_address) == 3
    assert sock.bursts == 1
    assert await receive(receiver, 9) == wide + wide + narrow
    sender.close()


@pytest.mark.parametrize("remote", [("robot.local", 1), ("127.0.0.1", 0), ("127.0.0.1", 70000), ("::1", 5), ("", 5)])
async def test_what_is_no_address_is_lost_without_a_name_lookup(receiver, remote):
    assert receiver.send(b"x", remote)
    assert receiver.send_many([b"x", b"x"], remote) == 2
    assert receiver.statistics().datagrams_sent == 0
    assert receiver.statistics().datagrams_refused == 3


def test_more_remotes_than_are_remembered(receiver, monkeypatch):
    monkeypatch.setattr(datagrams, "_MAX_REMOTES", 4)
    for last in range(1, 20):
        assert receiver.send(b"x", (f"127.0.0.{last}", 9))


async def test_closing_wakes_waiters_and_ends_use(pair):
    sender, receiver = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await receiver.wait_readable()

        await trio.testing.wait_all_tasks_blocked()
        receiver.close()
    receiver.close()
    with pytest.raises(trio.ClosedResourceError):
        await receiver.wait_readable()
    with pytest.raises(trio.ClosedResourceError):
        await receiver.wait_writable()
    with pytest.raises(trio.ClosedResourceError):
        receiver.receive_all(1)
    with pytest.raises(trio.ClosedResourceError):
        receiver.send(b"x", sender.local_address)
    with pytest.raises(trio.ClosedResourceError):
        receiver.send_many([b"x", b"x"], sender.local_address)


async def test_used_endpoints_also_refuse_after_closing(receiver):
    sender = UdpEndpoint.bind("127.0.0.1")
    assert sender.send_many([b"x", b"x"], receiver.local_address) == 2
    sender.close()
    with pytest.raises(trio.ClosedResourceError):
        sender.send_many([b"x", b"x"], receiver.local_address)


def test_binding_reports_what_is_wrong(host):
    first = UdpEndpoint.bind(host)
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        UdpEndpoint.bind(host, first.local_address[1])
    first.close()
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        UdpEndpoint.bind("localhost")

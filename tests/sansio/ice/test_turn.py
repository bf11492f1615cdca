"""The TURN client against a scripted server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.ice.turn_server import MAPPED, RELAYED, TurnServer
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.turn import TurnClient
from trio_livekit._sansio.ice.turn_events import TurnAllocated, TurnFailed, TurnRedirected
from trio_livekit._sansio.ice.turn_stream import TurnStream
from trio_livekit.errors import DecodeError

if TYPE_CHECKING:
    from trio_livekit._sansio.types import Address

PEER: Address = ("192.0.2.10", 7000)


class Link:
    """A client and a server that hear each other at once; ``cut`` is a network that swallows everything."""

    def __init__(
        self, *, is_stream: bool = False, password: str = "secret", lifetime_s: int = 600, **options: bool
    ) -> None:
        self.now = 50.0
        self.server = TurnServer(lifetime_s=lifetime_s)
        self.client = TurnClient(
            "user", password, random_bytes=random.Random(5).randbytes, is_stream=is_stream, **options
        )
        self.is_stream = is_stream
        self.is_cut = False
        self.received: list[tuple[Address, bytes]] = []
        self.events: list[object] = []

    def start(self) -> None:
        self.client.start(self.now)
        self.exchange()

    def exchange(self) -> None:
        while outgoing := self.client.datagrams_to_send(self.now):
            for data in outgoing:
                for answer in [] if self.is_cut else self.server.receive(data):
                    self.deliver(answer)
        self.events += self.client.poll_events()

    def deliver(self, data: bytes) -> None:
        self.received += self.client.receive(data, self.now)

    def send(self, data: bytes, peer: Address = PEER) -> bytes:
        wrapped = self.client.wrap(peer, data, self.now)
        if wrapped:
            self.server.receive(wrapped)
        self.exchange()
        return wrapped

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.client.next_timeout()) is not None and at <= end:
            self.now = at
            self.client.handle_timeout(at)
            self.exchange()
        self.now = end


@pytest.mark.parametrize("is_stream", [False, True])
def test_allocate_learns_realm_and_nonce_and_signs(is_stream: bool) -> None:
    link = Link(is_stream=is_stream)
    link.start()
    assert link.server.methods == [stun.ALLOCATE, stun.ALLOCATE]
    assert link.events == [TurnAllocated(RELAYED, MAPPED)]
    assert link.client.relayed_address == RELAYED
    assert link.client.mapped_address == MAPPED


def test_data_waits_for_the_permission_then_goes_as_indication_then_by_channel() -> None:
    link = Link()
    link.start()
    assert link.send(b"held") == b""
    assert link.server.relayed == [(PEER, b"held")]
    for n in range(4):
        wrapped = link.send(b"%d" % n)
    assert wrapped[:4] == b"\x40\x00\x00\x01"
    assert link.server.relayed[1:] == [(PEER, b"%d" % n) for n in range(4)]
    assert link.server.methods[2:] == [stun.CREATE_PERMISSION, stun.CHANNEL_BIND]


def test_only_the_latest_of_what_waits_is_kept() -> None:
    link = Link()
    link.start()
    for n in range(10):
        assert link.client.wrap(PEER, b"%d" % n, link.now) == b""
    link.exchange()
    assert link.server.relayed == [(PEER, b"8"), (PEER, b"9")]


def test_data_from_peers_comes_by_indication_or_channel_with_their_address() -> None:
    link = Link()
    link.start()
    link.deliver(link.server.data_indication(PEER, b"not permitted"))
    for _ in range(3):
        link.send(b"x")
    link.deliver(link.server.data_indication(PEER, b"one"))
    link.send(b"x")
    link.deliver(link.server.channel_data(PEER, b"two"))
    link.deliver(b"\x40\x44\x00\x01x")  # a channel nobody bound
    link.deliver(b"\x40\x00\x00\x09x")  # longer than it is
    link.deliver(b"\x40")
    assert link.received == [(PEER, b"one"), (PEER, b"two")]


def test_over_a_stream_channel_data_is_padded() -> None:
    link = Link(is_stream=True)
    link.start()
    for _ in range(5):
        wrapped = link.send(b"12345")
    assert wrapped == b"\x40\x00\x00\x0512345\0\0\0"


def test_stream_split_at_any_byte() -> None:
    link = Link(is_stream=True)
    link.start()
    for _ in range(4):
        link.send(b"x")
    stream = link.server.channel_data(PEER, b"12345", padded=True) + link.server.data_indication(PEER, b"abcdefg")
    for cut in range(len(stream) + 1):
        link.received.clear()
        link.deliver(stream[:cut])
        link.deliver(stream[cut:])
        assert link.received == [(PEER, b"12345"), (PEER, b"abcdefg")]


def test_a_stream_that_is_not_turn_ends_the_client() -> None:
    link = Link(is_stream=True)
    link.start()
    link.deliver(b"\x80\x00\x00\x00")
    link.exchange()
    assert isinstance(link.events[-1], TurnFailed)
    assert link.client.next_timeout() is None


def test_wrong_password_fails_at_once() -> None:
    link = Link(password="wrong")
    link.start()
    assert link.events == [TurnFailed("no", 401)]
    assert link.server.methods == [stun.ALLOCATE] * 2


def test_a_stale_nonce_is_replaced_once_per_request() -> None:
    link = Link()
    link.start()
    link.server.nonce = b"nonce-2"
    link.send(b"x")
    assert link.server.permissions == {PEER[0]}
    assert link.server.methods[2:] == [stun.CREATE_PERMISSION] * 2


def test_a_server_that_always_says_stale_is_given_up() -> None:
    link = Link()
    link.server.errors = [(stun.ALLOCATE, 438)] * 5
    link.start()
    assert link.events == [TurnFailed("no", 438)]
    assert len(link.server.methods) == 3


def test_a_denied_peer_is_left_alone_for_a_minute() -> None:
    link = Link()
    link.start()
    link.server.errors = [(stun.CREATE_PERMISSION, 403)]
    assert link.send(b"x") == b""
    assert link.send(b"y") == b""
    assert link.server.methods.count(stun.CREATE_PERMISSION) == 1
    assert link.server.relayed == []
    link.run(61)
    link.send(b"z")
    assert link.server.relayed == [(PEER, b"z")]
    assert link.events == [TurnAllocated(RELAYED, MAPPED)]


def test_a_refused_channel_leaves_send_indications() -> None:
    link = Link()
    link.start()
    link.server.errors = [(stun.CHANNEL_BIND, 486)]
    for n in range(6):
        link.send(b"%d" % n)
    assert link.server.relayed == [(PEER, b"%d" % n) for n in range(6)]
    assert link.server.methods.count(stun.CHANNEL_BIND) == 1


@pytest.mark.parametrize("code", [403, 437, 486, 500, 508])
def test_other_errors_to_allocate_end_it(code: int) -> None:
    link = Link()
    link.server.errors = [(stun.ALLOCATE, code)]
    link.start()
    assert link.events == [TurnFailed("no", code)]


@pytest.mark.parametrize("method", [stun.REFRESH, stun.CREATE_PERMISSION, stun.CHANNEL_BIND])
def test_an_allocation_the_server_lost_is_reported(method: int) -> None:
    link = Link()
    link.start()
    link.server.errors = [(method, 437)]
    for _ in range(5):
        link.send(b"x")
    link.run(600)
    assert link.events[-1] == TurnFailed("no", 437)
    assert link.send(b"x") == b""


def test_one_redirection_is_followed_a_second_is_not() -> None:
    link = Link()
    link.server.errors = [(stun.ALLOCATE, 300)]
    link.start()
    assert link.events == [TurnRedirected(link.server.alternate)]
    link = Link(may_redirect=False)
    link.server.errors = [(stun.ALLOCATE, 300)]
    link.start()
    assert link.events == [TurnFailed("redirected too often", 300)]


def test_everything_is_refreshed_in_time_while_in_use() -> None:
    link = Link()
    link.start()
    for _ in range(1800):
        link.send(b"x")
        link.run(1)
    assert len(link.server.relayed) == 1800
    assert link.server.methods.count(stun.REFRESH) == 3
    assert link.server.methods.count(stun.CREATE_PERMISSION) == 8
    assert link.server.methods.count(stun.CHANNEL_BIND) == 4


def test_what_nobody_uses_is_left_to_lapse() -> None:
    link = Link()
    link.start()
    for _ in range(5):
        link.send(b"x")
    link.run(1800)
    assert link.server.methods.count(stun.CREATE_PERMISSION) == 2  # it was used in its first four minutes
    assert link.server.methods.count(stun.CHANNEL_BIND) == 1
    link.send(b"again")
    assert link.server.relayed[-1] == (PEER, b"again")


def test_a_short_lifetime_is_refreshed_half_way() -> None:
    link = Link(lifetime_s=40)
    link.start()
    link.run(100)
    assert link.server.methods.count(stun.REFRESH) == 5


def test_close_gives_the_allocation_back_once() -> None:
    link = Link()
    link.start()
    link.client.close(link.now)
    link.exchange()
    assert link.server.lifetimes_asked == [0]
    assert not link.server.is_allocated
    link.client.close(link.now)
    assert link.client.datagrams_to_send(link.now) == []
    assert link.client.next_timeout() is None


def test_an_unanswered_allocate_is_repeated_then_given_up() -> None:
    link = Link()
    link.is_cut = True
    link.client.start(link.now)
    sent = len(link.client.datagrams_to_send(link.now))
    start = link.now
    while (at := link.client.next_timeout()) is not None:
        link.now = at
        link.client.handle_timeout(at)
        sent += len(link.client.datagrams_to_send(at))
    assert sent == 7
    assert 15 < link.now - start < 17
    assert link.client.poll_events() == [TurnFailed("the TURN server does not answer")]


def test_over_a_stream_nothing_is_repeated() -> None:
    link = Link(is_stream=True)
    link.is_cut = True
    link.start()
    link.run(60)
    assert link.events == [TurnFailed("the TURN server does not answer")]


def test_a_permission_request_that_is_lost_is_asked_again_when_needed() -> None:
    link = Link()
    link.start()
    link.is_cut = True
    link.send(b"lost")
    link.run(20)
    link.is_cut = False
    link.send(b"x")
    assert link.server.relayed[-1] == (PEER, b"x")


def test_a_success_that_is_not_signed_or_signed_by_another_is_ignored() -> None:
    link = Link()
    link.client.start(link.now)
    [unsigned] = link.client.datagrams_to_send(link.now)
    granted = [(stun.XOR_RELAYED_ADDRESS, RELAYED), (stun.XOR_MAPPED_ADDRESS, MAPPED), (stun.LIFETIME, 600)]
    link.deliver(stun.encode(stun.ALLOCATE, stun.SUCCESS, unsigned[8:20], granted))
    [challenge] = link.server.receive(unsigned)
    link.deliver(challenge)
    [signed] = link.client.datagrams_to_send(link.now)
    link.deliver(stun.encode(stun.ALLOCATE, stun.SUCCESS, signed[8:20], granted))
    link.deliver(stun.encode(stun.ALLOCATE, stun.SUCCESS, signed[8:20], granted, key=b"other"))
    assert link.client.poll_events() == []
    link.deliver(stun.encode(stun.ALLOCATE, stun.SUCCESS, signed[8:20], granted, key=link.server.key))
    assert link.client.poll_events() == [TurnAllocated(RELAYED, MAPPED)]


@pytest.mark.parametrize("missing", [stun.XOR_RELAYED_ADDRESS, stun.XOR_MAPPED_ADDRESS, stun.LIFETIME])
def test_an_allocation_that_lacks_something_is_none(missing: int) -> None:
    link = Link()
    link.client.start(link.now)
    [challenge] = link.server.receive(link.client.datagrams_to_send(link.now)[0])
    link.deliver(challenge)
    [signed] = link.client.datagrams_to_send(link.now)
    granted = [(stun.XOR_RELAYED_ADDRESS, RELAYED), (stun.XOR_MAPPED_ADDRESS, MAPPED), (stun.LIFETIME, 600)]
    granted = [item for item in granted if item[0] != missing]
    link.deliver(stun.encode(stun.ALLOCATE, stun.SUCCESS, signed[8:20], granted, key=link.server.key))
    assert isinstance(link.client.poll_events()[-1], TurnFailed)
    assert link.client.wrap(PEER, b"x", link.now) == b""


def test_peers_are_bounded() -> None:
    link = Link()
    link.start()
    for n in range(200):
        link.send(b"x", ("192.0.2.1", 1000 + n))
        link.send(b"x", (f"192.0.3.{n}", 1))
    assert len({peer for peer, _ in link.server.relayed}) == 64


def test_no_repr_shows_the_password() -> None:
    link = Link()
    link.start()
    assert "secret" not in repr(link.client) + repr(link.events)


@given(st.lists(st.binary(max_size=80), max_size=5), st.booleans())
def test_any_bytes(chunks: list[bytes], is_stream: bool) -> None:
    link = Link(is_stream=is_stream)
    link.start()
    for chunk in chunks:
        link.deliver(chunk)
    assert link.received == []


@given(st.binary(max_size=200))
def test_any_stream(data: bytes) -> None:
    whole, pieces = TurnStream(), TurnStream()
    try:
        expected = whole.receive(data)
    except DecodeError:
        return
    assert [message for byte in data for message in pieces.receive(bytes([byte]))] == expected

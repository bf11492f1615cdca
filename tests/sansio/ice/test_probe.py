"""The server-reflexive candidate."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.probe import StunProbe

if TYPE_CHECKING:
    from trio_livekit._sansio.types import Address

SERVER: Address = ("192.0.2.1", 3478)
BASE: Address = ("10.0.0.1", 5000)
OUTSIDE: Address = ("198.51.100.1", 40000)


def probe() -> tuple[StunProbe, bytes]:
    it = StunProbe(SERVER, BASE, random_bytes=random.Random(1).randbytes, now=5.0)
    [request] = it.datagrams_to_send(5.0)
    return it, request


def answer(request: bytes, attribute: int = stun.XOR_MAPPED_ADDRESS, address: Address = OUTSIDE) -> bytes:
    return stun.encode(stun.BINDING, stun.SUCCESS, request[8:20], [(attribute, address)])


def test_the_answer_is_a_candidate() -> None:
    it, request = probe()
    assert it.receive_datagram(answer(request), 5.1)
    assert it.candidate is not None
    assert it.candidate.to_sdp().endswith("198.51.100.1 40000 typ srflx raddr 10.0.0.1 rport 5000")
    assert it.is_done
    assert it.next_timeout() is None


def test_old_servers_answer_without_xor() -> None:
    it, request = probe()
    assert it.receive_datagram(answer(request, stun.MAPPED_ADDRESS), 5.1)
    assert it.candidate is not None


def test_without_a_nat_there_is_nothing_to_learn() -> None:
    it, request = probe()
    assert it.receive_datagram(answer(request, address=BASE), 5.1)
    assert it.candidate is None
    assert it.is_done


def test_what_is_not_the_answer_is_left_to_others() -> None:
    it, request = probe()
    assert not it.receive_datagram(b"garbage", 5.1)
    assert not it.receive_datagram(request, 5.1)
    assert not it.receive_datagram(answer(b"x" * 20), 5.1)
    assert not it.is_done


def test_it_repeats_and_gives_up() -> None:
    it, request = probe()
    sent = []
    while (at := it.next_timeout()) is not None:
        it.handle_timeout(at - 0.001)
        assert it.datagrams_to_send(at) == []
        it.handle_timeout(at)
        sent += it.datagrams_to_send(at)
    assert sent == [request] * 6
    assert it.is_done
    assert it.candidate is None

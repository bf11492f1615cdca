"""Whatever happens to the datagrams of a handshake, it completes or fails; nothing is raised, nothing hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_livekit._sansio.dtls import Config, ConnectionState

from .helpers import (
    both_connected,
    connect,
    exchange_data,
    failure_of,
    make_client,
    make_pair,
    make_server,
    plain_record,
    record_handshake,
    settled,
)

if TYPE_CHECKING:
    from trio_livekit._sansio.dtls.connection import Connection
    from trio_livekit.testing.pair import Pair

Damage = Callable[[bytes], list[bytes]]

CONFIGS = [Config(), Config(verify_hello=True), Config(mtu=300)]


def flip(datagram: bytes, bit: int) -> bytes:
    bit %= len(datagram) * 8
    changed = bytearray(datagram)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


harmless = st.one_of(
    st.just(lambda datagram: []),
    st.just(lambda datagram: [datagram, datagram]),
    st.integers(0, 1500).map(lambda size: lambda datagram: [datagram[:size]]),
    st.binary(max_size=60).map(lambda junk: lambda datagram: [junk, datagram + junk]),
    st.binary(max_size=60).map(lambda junk: lambda datagram: [plain_record(22, junk), datagram]),
)
"""Damage that repeating the datagram makes good."""

bits = st.integers(0, 20_000)
harmful = st.one_of(
    harmless,
    bits.map(lambda bit: lambda datagram: [flip(datagram, bit)]),
    bits.map(lambda bit: lambda datagram: [flip(datagram, bit), datagram]),
    bits.map(lambda bit: lambda datagram: [datagram, flip(datagram, bit)]),
    st.tuples(bits, bits).map(lambda pair: lambda datagram: [flip(flip(datagram, pair[0]), pair[1])]),
)
"""Damage that can be the end: TLS 1.2 signs neither hellos nor CertificateRequest, so a change there shows too late."""


class Meddler:
    """Damages the first datagrams of one direction, and keeps them back so that they can be reordered."""

    def __init__(self, plan: list[tuple[Damage, int]]) -> None:
        self._plan = iter(plan)
        self._late: list[tuple[int, bytes]] = []

    def deliver(self, datagrams: list[bytes], receiver: Connection, now: float) -> None:
        arriving = [datagram for _, datagram in self._late]
        self._late = []
        for datagram in datagrams:
            damage, delay = next(self._plan, (lambda datagram: [datagram], 0))
            for damaged in damage(datagram):
                if delay:
                    self._late.append((delay, damaged))
                else:
                    arriving.append(damaged)
        for datagram in arriving:
            assert receiver.receive_datagram(datagram, now) == []


def run_meddled(config: Config, to_server: Meddler, to_client: Meddler) -> Pair[Connection, Connection]:
    """Meddle until both sides have come to an end, good or bad."""
    pair = make_pair(make_client(config), make_server(config))
    client, server = pair.a, pair.b
    give_up = pair.now + config.handshake_timeout_s + 1
    while not settled(pair) and pair.now < give_up:
        to_server.deliver(client.datagrams_to_send(pair.now), server, pair.now)
        to_client.deliver(server.datagrams_to_send(pair.now), client, pair.now)
        pair.now += 0.05
        client.handle_timeout(pair.now)
        server.handle_timeout(pair.now)
    pair.flush()
    return pair


def plans(damages: st.SearchStrategy[Damage]) -> st.SearchStrategy[list[tuple[Damage, int]]]:
    """What happens to the first datagrams of a direction, and how many rounds later they arrive."""
    return st.lists(st.tuples(damages, st.integers(0, 1)), max_size=6)


@pytest.mark.parametrize("config", CONFIGS, ids=["plain", "hello verified", "narrow"])
@settings(max_examples=100, deadline=None)
@given(to_server=plans(harmless), to_client=plans(harmless))
def test_a_disturbed_handshake_completes(
    config: Config, to_server: list[tuple[Damage, int]], to_client: list[tuple[Damage, int]]
) -> None:
    pair = run_meddled(config, Meddler(to_server), Meddler(to_client))
    assert both_connected(pair)
    exchange_data(pair)


@pytest.mark.parametrize("config", CONFIGS, ids=["plain", "hello verified", "narrow"])
@settings(max_examples=150, deadline=None)
@given(to_server=plans(harmful), to_client=plans(harmful))
def test_a_damaged_handshake_completes_or_fails(
    config: Config, to_server: list[tuple[Damage, int]], to_client: list[tuple[Damage, int]]
) -> None:
    pair = run_meddled(config, Meddler(to_server), Meddler(to_client))
    if both_connected(pair):
        exchange_data(pair)
        return
    assert settled(pair)
    for connection, events in ((pair.a, pair.a_events), (pair.b, pair.b_events)):
        if connection.state is ConnectionState.FAILED:
            assert failure_of(events).reason


def test_every_truncation_of_every_datagram() -> None:
    for index, (_, whole) in enumerate(record_handshake()):
        for size in range(0, len(whole), 7):
            count = 0

            def cut(datagram: bytes, index: int = index, size: int = size) -> list[bytes]:
                nonlocal count
                count += 1
                return [datagram[:size] if count == index + 1 else datagram]

            meddlers = (Meddler([(cut, 0)] * 4), Meddler([(cut, 0)] * 4))
            assert both_connected(run_meddled(Config(), *meddlers))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8), st.integers(0, 3))
def test_any_datagrams_at_any_stage(junk: list[bytes], stage: int) -> None:
    client, server = make_client(), make_server()
    pair = make_pair(client, server)
    for _ in range(stage):
        pair.step()
    for datagram in junk:
        for connection in (client, server):
            assert connection.receive_datagram(datagram, pair.now) == []
    pair.run_until(lambda: both_connected(pair))
    for datagram in junk:
        for connection in (client, server):
            assert connection.receive_datagram(datagram, pair.now) == []
    exchange_data(pair)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([20, 21, 22, 23, 24]),
            st.sampled_from([0, 1, 2, 0xFFFF]),
            st.integers(0, 2**48 - 1),
            st.binary(max_size=60),
        ),
        max_size=12,
    )
)
def test_well_formed_records_of_anything_do_not_disturb_a_session(records: list[tuple[int, int, int, bytes]]) -> None:
    pair = connect()
    for kind, epoch, sequence, payload in records:
        datagram = plain_record(kind, payload, sequence=sequence, epoch=epoch)
        for connection in (pair.a, pair.b):
            assert connection.receive_datagram(datagram, pair.now) == []
            assert connection.datagrams_to_send(pair.now) == []
            assert connection.poll_events() == []
    exchange_data(pair)

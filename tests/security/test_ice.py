"""What an attacker who can send us packets or candidates must not achieve: STUN, ICE and ICE-TCP."""

from __future__ import annotations

import hmac
import struct
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.sansio.ice.network import LiteResponder, Network, Node, binding_request, both_connected, pair, signal
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.candidate import Candidate
from trio_livekit._sansio.ice.events import Path, State
from trio_livekit._sansio.ice.framing import MAX_FRAME, StreamFramer, frame
from trio_livekit.errors import DecodeError

if TYPE_CHECKING:
    from trio_livekit._sansio.types import Address

ATTACKER: Address = ("203.0.113.66", 6666)


def waiting() -> tuple[Network, Node, Path]:
    """A node that knows its peer and hears from an address it does not."""
    network = Network()
    node = Node(network, ["10.0.0.1"], controlling=False)
    node.agent.set_remote_parameters("peer", "peerpassword", now=network.now)
    node.agent.poll_events()
    return network, node, Path(node.candidates[0].address, ATTACKER, "udp")


def assert_untouched(network: Network, node: Node, path: Path) -> None:
    statistics = node.agent.statistics()
    assert node.agent.datagrams_to_send(network.now) == []
    assert node.agent.poll_events() == []
    assert not node.agent.is_authenticated(path)
    assert (statistics.pairs, statistics.peer_reflexive, statistics.controlling) == (0, 0, False)


def forgeries(node: Node) -> dict[str, bytes]:
    """Requests that a server with CVE-less integrity checks drops."""
    good = binding_request(node, "peer", (stun.ICE_CONTROLLING, 1), (stun.USE_CANDIDATE, None))
    key = node.agent.password.encode()
    at = good.index(struct.pack("!HH", stun.MESSAGE_INTEGRITY, 20))
    unsigned = good[:2] + struct.pack("!H", at - 20) + good[4:at]

    def request(username: str) -> bytes:
        attributes = [(stun.USERNAME, username), (stun.PRIORITY, 1), (stun.ICE_CONTROLLING, 1)]
        return stun.encode(stun.BINDING, stun.REQUEST, bytes(12), attributes, key=key)

    def truncated(length: int) -> bytes:
        value = hmac.digest(key, good[:2] + struct.pack("!H", at + 4 + length - 20) + good[4:at], "sha1")[:length]
        padded = value + bytes(-length & 3)
        body = good[20:at] + struct.pack("!HH", stun.MESSAGE_INTEGRITY, length) + padded
        return good[:2] + struct.pack("!H", len(body)) + good[4:20] + body

    return {
        "wrong key": binding_request(node, "peer", password="not the password at all"),
        "the peer's own password": binding_request(node, "peer", password="peerpassword"),
        "no integrity": unsigned,
        "integrity of one byte": truncated(1),
        "integrity of no byte": truncated(0),
        "integrity of 16 bytes": truncated(16),
        "one bit of the integrity": good[: at + 10] + bytes([good[at + 10] ^ 1]) + good[at + 11 : -8],
        "fingerprint": good[:-1] + bytes([good[-1] ^ 1]),
        "names the wrong way round": request(f"peer:{node.agent.ufrag}"),
        "another peer": request(f"{node.agent.ufrag}:somebody"),
        "only our name": request(node.agent.ufrag),
        "somebody else's name": request("nobody:peer"),
        "no name": stun.encode(stun.BINDING, stun.REQUEST, bytes(12), [(stun.PRIORITY, 1)], key=key),
        "name after the integrity": _append(stun.encode(stun.BINDING, stun.REQUEST, bytes(12), key=key), node),
    }


def _append(data: bytes, node: Node) -> bytes:
    """Put a USERNAME behind MESSAGE-INTEGRITY, where nothing is covered by it."""
    name = f"{node.agent.ufrag}:peer".encode()
    extra = struct.pack("!HH", stun.USERNAME, len(name)) + name + bytes(-len(name) & 3)
    data = data[:-8]  # without FINGERPRINT
    return data[:2] + struct.pack("!H", len(data) - 20 + len(extra)) + data[4:] + extra


def test_s11_forged_requests_get_no_answer_and_change_nothing() -> None:
    network, node, path = waiting()
    for name, data in forgeries(node).items():
        node.agent.receive_datagram(data, path, network.now)
        try:
            assert_untouched(network, node, path)
        except AssertionError as exc:
            raise AssertionError(name) from exc
    genuine = binding_request(node, "peer", (stun.ICE_CONTROLLING, 1))
    node.agent.receive_datagram(genuine, path, network.now)
    assert node.agent.is_authenticated(path)  # so the forgeries failed for the reason they were made for


def test_s11_nomination_behind_the_integrity_is_none() -> None:
    network = Network()
    node = Node(network, ["10.0.0.1", "10.0.0.2"], controlling=False)
    node.agent.set_remote_parameters("peer", "peerpassword", now=network.now)
    remote = ("192.0.2.1", 4000)

    def answer(data: bytes, path: Path, now: float) -> None:
        if data[:2] == b"\x00\x01":
            mapped = [(stun.XOR_MAPPED_ADDRESS, path.remote)]
            network.send(path, stun.encode(stun.BINDING, stun.SUCCESS, data[8:20], mapped, key=b"peerpassword"))

    network.sockets[remote, "udp"] = answer
    high, low = node.candidates
    for candidate in (high, low):
        signed = binding_request(node, "peer", (stun.ICE_CONTROLLING, 2**64 - 1))[:-8]
        extra = struct.pack("!HH", stun.USE_CANDIDATE, 0) if candidate is low else b""
        data = signed[:2] + struct.pack("!H", len(signed) - 20 + len(extra)) + signed[4:] + extra
        network.send(Path(remote, candidate.address, "udp"), data)
        network.run(seconds=0.5)
    assert node.agent.is_authenticated(Path(low.address, remote, "udp"))
    assert node.agent.selected_path == Path(high.address, remote, "udp")


def test_s11_unauthenticated_role_conflicts_are_not_answered_with_487() -> None:
    network, node, path = waiting()
    for n in range(1000):
        claim = stun.encode(
            stun.BINDING,
            stun.REQUEST,
            n.to_bytes(12, "big"),
            [(stun.USERNAME, f"{node.agent.ufrag}:peer"), (stun.ICE_CONTROLLED, 0)],
            key=b"guess",
        )
        node.agent.receive_datagram(claim, path, network.now)
    assert_untouched(network, node, path)
    assert node.agent.statistics().unauthentic == 1000


def test_s11_forged_answers_and_role_conflicts_are_ignored() -> None:
    network = Network()
    a, b = pair(network)
    signal(b, a)
    [(path, request)] = a.agent.datagrams_to_send(network.now)
    mapped = [(stun.XOR_MAPPED_ADDRESS, path.local)]
    conflict = [(stun.ERROR_CODE, (487, "Role Conflict"))]
    key = b.agent.password.encode()
    elsewhere = Path(path.local, ATTACKER, "udp")
    for attributes, kind, sign, on in [
        (mapped, stun.SUCCESS, None, path),
        (mapped, stun.SUCCESS, b"guess", path),
        (mapped, stun.SUCCESS, a.agent.password.encode(), path),
        (mapped, stun.SUCCESS, key, elsewhere),  # right in every way, but from the wrong place
        (conflict, stun.ERROR, None, path),
        (conflict, stun.ERROR, b"guess", path),
        ([(stun.ERROR_CODE, (400, ""))], stun.ERROR, None, path),
    ]:
        data = stun.encode(stun.BINDING, kind, request[8:20], attributes, key=sign)
        a.agent.receive_datagram(data, on, network.now)
        assert a.agent.selected_path is None
        assert a.agent.controlling
        assert not a.agent.is_authenticated(path)
    assert a.agent.statistics().unmatched == 7
    a.agent.receive_datagram(stun.encode(stun.BINDING, stun.SUCCESS, request[8:20], mapped, key=key), path, network.now)
    assert a.agent.selected_path == path
    a.agent.receive_datagram(  # the same once more
        stun.encode(stun.BINDING, stun.SUCCESS, request[8:20], mapped, key=key), path, network.now
    )
    assert a.agent.statistics().unmatched == 8


def test_s11_integrity_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return original(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    data = stun.encode(stun.BINDING, stun.REQUEST, bytes(12), key=b"k")
    assert stun.decode(data).is_authentic(b"k")
    assert [len(a) for a, _ in compared] == [20]


def test_s11_requests_of_an_authentic_peer_with_unknown_attributes_get_420() -> None:
    network, node, path = waiting()
    good = binding_request(node, "peer")
    at = good.index(struct.pack("!HH", stun.MESSAGE_INTEGRITY, 20))
    body = good[:at] + struct.pack("!HHI", 0x7ABC, 4, 0)
    body = body[:2] + struct.pack("!H", len(body) - 20 + 24) + body[4:]
    tag = hmac.digest(node.agent.password.encode(), body, "sha1")
    node.agent.receive_datagram(body + struct.pack("!HH", 8, 20) + tag, path, network.now)
    [(to, data)] = node.agent.datagrams_to_send(network.now)
    answer = stun.decode(data)
    assert to == path
    assert answer.error()[0] == 420
    assert answer.opaque(stun.UNKNOWN_ATTRIBUTES) == b"\x7a\xbc"
    assert not node.agent.is_authenticated(path)


def test_s12_every_prefix_and_every_attribute_length_of_every_message() -> None:
    network, node, path = waiting()
    key = node.agent.password.encode()
    messages = [
        binding_request(node, "peer", (stun.USE_CANDIDATE, None), (stun.NOMINATION, 1)),
        stun.encode(1, stun.SUCCESS, bytes(12), [(stun.XOR_MAPPED_ADDRESS, ("192.0.2.1", 1))], key=key),
        stun.encode(1, stun.SUCCESS, bytes(12), [(stun.XOR_MAPPED_ADDRESS, ("2001:db8::1", 1))], key=key),
        stun.encode(1, stun.ERROR, bytes(12), [(stun.ERROR_CODE, (487, "Role Conflict"))], key=key),
        stun.encode(3, stun.SUCCESS, bytes(12), [(stun.XOR_RELAYED_ADDRESS, ("192.0.2.1", 1)), (stun.LIFETIME, 9)]),
    ]
    lengths = [*range(64), *range(64, 0x10000, 251), 0xFFFC, 0xFFFE, 0xFFFF]
    for message in messages:
        for end in range(len(message)):
            _decode_or_not(message[:end])
            fixed = message[:2] + struct.pack("!H", max(0, end - 20)) + message[4:end]
            _decode_or_not(fixed)
        for at in _attribute_offsets(message):
            for length in lengths:
                mutated = message[: at + 2] + struct.pack("!H", length) + message[at + 4 :]
                if mutated == message:
                    continue
                _decode_or_not(mutated)
                node.agent.receive_datagram(mutated, path, network.now)
    assert_untouched(network, node, path)


def test_s12_all_65536_lengths_of_the_two_attributes_that_hurt_others() -> None:
    for attribute, value in (
        (stun.XOR_MAPPED_ADDRESS, b"\0\1\1\1\1\1\1\1"),
        (stun.ERROR_CODE, b"\0\0\4\x57Role Conflict"),
    ):
        body = struct.pack("!HH", attribute, 0) + value + bytes(-len(value) & 3)
        head = struct.pack("!HHI12s", 0x0101, len(body), stun.COOKIE, bytes(12))
        for length in range(0x10000):
            _decode_or_not(head + body[:2] + length.to_bytes(2, "big") + body[4:])


def _decode_or_not(data: bytes) -> None:
    try:
        message = stun.decode(data)
    except DecodeError:
        return
    message.is_authentic(b"key")


def _attribute_offsets(message: bytes) -> list[int]:
    offsets, at = [], 20
    while at < len(message):
        offsets.append(at)
        length = int.from_bytes(message[at + 2 : at + 4], "big")
        at += 4 + length + (-length & 3)
    return offsets


@pytest.mark.parametrize("locals_", [1, 4])
def test_s13_a_thousand_candidates_are_no_amplifier(locals_: int) -> None:
    network = Network()
    node = Node(network, [f"10.0.{n}.1" for n in range(locals_)], controlling=True, tcp=True)
    node.agent.set_remote_parameters("peer", "peerpassword", now=network.now)
    for n in range(1000):
        victim = f"203.0.{113 + n // 250}.{n % 250 + 1}"
        node.agent.add_remote_candidate(Candidate.local_host((victim, 80), local_preference=n), network.now)
        node.agent.add_remote_candidate(
            Candidate.parse(f"candidate:1 1 tcp 9 {victim} 80 typ host tcptype passive"), network.now
        )
    statistics = node.agent.statistics()
    assert statistics.remote_candidates <= 32
    assert statistics.pairs <= 100
    network.run(seconds=60)
    assert node.agent.state is State.FAILED
    sent_bytes: Counter[Address] = Counter()
    tries: Counter[tuple[Address, Address]] = Counter()
    for _, source, target, data in network.log:
        sent_bytes[target] += len(data) + 28
        tries[source, target] += 1
    assert max(tries.values()) <= 7
    assert max(sent_bytes.values()) <= 3000
    times = sorted(entry[0] for entry in network.log)
    assert max(sum(1 for t in times if start <= t < start + 1) for start in times) <= 50


def test_s13_a_replayed_request_makes_few_checks_and_fewer_bytes() -> None:
    """Somebody on the path copies one genuine request and sends it from the addresses of his victims."""
    network, node, _ = waiting()
    genuine = binding_request(node, "peer", (stun.ICE_CONTROLLING, 1))
    checks: Counter[Address] = Counter()
    for n in range(5000):
        victim = (f"203.0.113.{n % 100 + 1}", 53)
        network.now += 0.002
        node.agent.receive_datagram(genuine, Path(node.candidates[0].address, victim, "udp"), network.now)
        node.agent.handle_timeout(network.now)
        for path, data in node.agent.datagrams_to_send(network.now):
            if data[:2] == b"\x00\x01":
                checks[path.remote] += len(data) + 28
    assert node.agent.statistics().peer_reflexive <= 32
    assert len(checks) <= 32
    assert max(checks.values()) <= 3000
    assert sum(checks.values()) <= 10 * 50 * 150


def test_s13_a_flood_of_genuine_requests_triggers_few_checks_per_pair() -> None:
    network = Network()
    a, b = pair(network, b_ips=["10.0.0.2", "10.0.0.3"])
    signal(b, a)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    network.run(seconds=1)
    chosen = a.agent.selected_path
    other = next(c.address for c in b.candidates if c.address != chosen.remote)
    path = Path(chosen.local, other, "udp")
    checks = 0
    for _ in range(1000):
        network.run(seconds=0.001)
        a.agent.receive_datagram(binding_request(a, b.agent.ufrag), path, network.now)
        out = a.agent.datagrams_to_send(network.now)
        checks += sum(to == path and data[:2] == b"\x00\x01" for to, data in out)
        for to, data in out:
            network.send(to, data)
    assert 10 <= checks <= 21


def test_s13_early_checks_send_nothing_before_the_peer_is_known() -> None:
    network = Network()
    node = Node(network, ["10.0.0.1"], controlling=True)
    path = Path(node.candidates[0].address, ATTACKER, "udp")
    for n in range(200):
        node.agent.receive_datagram(binding_request(node, f"guess{n}"), path, network.now)
    sent = node.agent.datagrams_to_send(network.now)
    assert {data[:2] for _, data in sent} == {b"\x01\x01"}  # one answer per authentic request, and no check
    assert node.agent.next_timeout() is None


@pytest.mark.parametrize("host", ["victim.example.org", "4f3c1a2b-1111-4222-8333-944455556666.local", "localhost"])
def test_s13_names_are_neither_resolved_nor_checked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise AssertionError("a candidate was looked up")

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    network, node, path = waiting()
    node.agent.add_remote_candidate(Candidate.parse(f"candidate:1 1 udp 1 {host} 80 typ host"), network.now)
    assert_untouched(network, node, path)
    assert node.agent.statistics().remote_candidates == 0


def test_s13_a_candidate_that_floods_the_waiting_room_of_another_generation_is_bounded() -> None:
    network, node, _ = waiting()
    for n in range(10000):
        line = f"candidate:1 1 udp 1 192.0.2.1 {n % 60000 + 1} typ host ufrag next"
        node.agent.add_remote_candidate(Candidate.parse(line), network.now)
    node.agent.restart(network.now)
    node.agent.set_remote_parameters("next", "nextpassword", now=network.now)
    assert node.agent.statistics().remote_candidates == 32


def test_s14_data_stops_within_thirty_seconds_of_the_last_answer_whatever_else_arrives() -> None:
    network = Network()
    a, b = pair(network)
    signal(b, a)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    network.run(seconds=5)
    path = a.agent.selected_path
    network.blocked.append(lambda source, target, protocol: source == path.remote)
    last_answer = network.now
    sent: list[float] = []
    while network.now < last_answer + 60:
        network.run(seconds=0.1)
        for spoofed in (
            b"\x17\xfe\xfd" + bytes(20),
            stun.encode(stun.BINDING, stun.INDICATION, bytes(12)),
            stun.encode(stun.BINDING, stun.SUCCESS, bytes(12), [(stun.XOR_MAPPED_ADDRESS, path.local)], key=b"guess"),
            binding_request(a, b.agent.ufrag, password="guess"),
        ):
            if stun.is_stun(spoofed):
                a.agent.receive_datagram(spoofed, path, network.now)
        if a.send(b"\x17data"):
            sent.append(network.now)
    assert max(sent) <= last_answer + 30
    assert a.agent.state is State.FAILED


def test_s14_even_authentic_data_does_not_replace_consent() -> None:
    network = Network()
    a = Node(network, ["10.0.0.1"], controlling=True)
    server = LiteResponder(network, [("10.0.0.9", 7882)])
    server.introduce(a)
    assert network.run(until=lambda: a.is_connected)
    network.blocked.append(lambda source, target, protocol: source == ("10.0.0.9", 7882))
    last_answer = network.now
    last_sent = 0.0
    while network.now < last_answer + 60:
        network.run(seconds=0.1)
        a.agent.note_activity(network.now)
        if a.send(b"\x17data"):
            last_sent = network.now
    assert last_sent <= last_answer + 30.1


def test_s14_a_failed_agent_answers_nobody() -> None:
    network = Network()
    a, b = pair(network)
    signal(b, a)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    path = a.agent.selected_path
    request = binding_request(a, b.agent.ufrag)
    network.blocked.append(lambda source, target, protocol: True)
    assert network.run(seconds=40, until=lambda: a.agent.state is State.FAILED)
    a.agent.receive_datagram(request, path, network.now)
    assert a.agent.datagrams_to_send(network.now) == []
    assert not a.agent.is_authenticated(path)


@pytest.mark.parametrize(("cap", "length"), [(None, 8193), (None, 65535), (MAX_FRAME, 16897), (MAX_FRAME, 65535)])
def test_s15_frames_over_the_cap_end_the_connection(cap: int | None, length: int) -> None:
    framer = StreamFramer()
    if cap is not None:
        framer.max_frame = cap
    with pytest.raises(DecodeError):
        framer.receive(struct.pack("!H", length), 0.0)
    assert framer.next_timeout() is None


def test_s15_empty_frames_are_nothing() -> None:
    framer = StreamFramer()
    assert framer.receive(bytes(100_000), 0.0) == []
    assert framer.next_timeout() is None
    assert framer.receive(b"\0\0" + frame(b"x") + b"\0\0", 0.0) == [b"x"]


def test_s15_half_a_frame_for_ten_seconds_ends_the_connection() -> None:
    framer = StreamFramer()
    framer.receive(frame(b"whole") + b"\x10", 100.0)
    assert framer.next_timeout() == 110.0
    for second in range(1, 10):  # a byte now and then does not help
        assert framer.receive(b"\0", 100.0 + second) == []
        assert not framer.is_stalled(100.0 + second)
    assert framer.is_stalled(110.0)


def test_s15_a_slow_but_moving_stream_is_no_slow_loris() -> None:
    framer = StreamFramer()
    for second in range(0, 100, 5):
        framer.receive(frame(b"abc")[:3] if second % 10 == 0 else frame(b"abc")[3:], float(second))
        assert not framer.is_stalled(float(second))


def test_s15_memory_is_at_most_one_frame() -> None:
    framers = [StreamFramer() for _ in range(100)]
    partial = struct.pack("!H", 8192) + bytes(8191)
    tracemalloc.start()
    try:
        for framer in framers:
            for at in range(0, len(partial), 64):
                framer.receive(partial[at : at + 64], 0.0)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used <= 100 * (8192 + 1024)

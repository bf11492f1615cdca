"""Known vulnerabilities of DTLS implementations, tried on ours (case numbers S1 to S10; the advisories are named)."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fuzz.meter import Meter
from tests.sansio.dtls.helpers import (
    CLIENT_CERTIFICATE,
    OTHER_CERTIFICATE,
    SERVER_CERTIFICATE,
    both_connected,
    connect,
    exchange_data,
    failure_of,
    make_client,
    make_pair,
    make_server,
    message_record,
    plain_fragments,
    plain_record,
    record_handshake,
    rewrite,
    settled,
)
from trio_livekit._sansio.dtls import (
    Config,
    Connection,
    ConnectionFailed,
    ConnectionState,
    Fingerprint,
    HandshakeError,
    client,
    server,
)
from trio_livekit._sansio.dtls import handshake as messages
from trio_livekit._sansio.dtls.alerts import Alert
from trio_livekit._sansio.dtls.flight import FlightBuilder
from trio_livekit._sansio.dtls.handshake import Message
from trio_livekit._sansio.dtls.hello import ClientHello, ServerHello, decode_hello_verify
from trio_livekit._sansio.dtls.key_exchange import KeyShare
from trio_livekit._sansio.dtls.record import HANDSHAKE, HEADER_BYTES, GcmSealer, split_records
from trio_livekit._sansio.dtls.roles import Role
from trio_livekit.errors import ProtocolError, TransportError
from trio_livekit.testing.pair import Pair, seeded_random_bytes

if TYPE_CHECKING:
    from trio_livekit._sansio.types import RandomBytes

Edit = Callable[[Message], Message | None]


def fragment(kind: int, length: int, sequence: int, offset: int, data: bytes, *, declared: int | None = None) -> bytes:
    """A record with one fragment whose header may say anything."""
    size = len(data) if declared is None else declared
    header = bytes([kind]) + length.to_bytes(3, "big") + sequence.to_bytes(2, "big")
    return plain_record(HANDSHAKE, header + offset.to_bytes(3, "big") + size.to_bytes(3, "big") + data)


def mid_handshake() -> Pair[Connection, Connection]:
    """The server has sent its flight, and the client's answer to it is under way."""
    pair = make_pair()
    pair.step()
    return pair


def run_rewritten(
    client: Connection, server: Connection, *, to_server: Edit | None = None, to_client: Edit | None = None
) -> Pair[Connection, Connection]:
    """A handshake in which somebody on the path rewrites every message in the clear."""
    pair = make_pair(client, server)

    def keep(message: Message) -> Message:
        return message

    while not settled(pair):
        for datagram in client.datagrams_to_send(pair.now):
            server.receive_datagram(rewrite(datagram, to_server or keep), pair.now)
        for datagram in server.datagrams_to_send(pair.now):
            client.receive_datagram(rewrite(datagram, to_client or keep), pair.now)
        pair.now += 0.05
        client.handle_timeout(pair.now)
        server.handle_timeout(pair.now)
    pair.flush()
    return pair


def assert_refused(pair: Pair[Connection, Connection]) -> None:
    assert pair.a.state is pair.b.state is ConnectionState.FAILED
    for connection in (pair.a, pair.b):
        with pytest.raises(TransportError):
            connection.seal(b"x")


# S1: CVE-2022-29189 (pion), unbounded handshake buffer


def flood(count: int) -> list[bytes]:
    """Starts of messages of every number: half declare 16 MB, half as much as is allowed at all."""
    return [
        fragment(11, 2**24 - 1 if number % 2 else 2**15, number % 65535 + 1, number * 7 % 30_000, bytes(40))
        for number in range(count)
    ]


def test_s1_a_flood_of_fragments_is_not_kept() -> None:
    pair = mid_handshake()
    datagrams = flood(5_000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for datagram in datagrams:
            pair.b.receive_datagram(datagram, pair.now)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 256 * 1024
    assert peak - before < 2**20
    pair.run_until(lambda: both_connected(pair))
    exchange_data(pair)


@pytest.mark.parametrize(("side", "count"), [("b", 200_000), ("a", 10_000)], ids=["server", "client"])
def test_s1_a_long_flood_does_not_end_the_handshake(side: str, count: int) -> None:
    pair = mid_handshake()
    victim = getattr(pair, side)
    for datagram in flood(count):
        victim.receive_datagram(datagram, pair.now)
    buffered = victim._negotiation._messages
    assert buffered.buffered_bytes <= 64 * 1024
    assert buffered.pieces <= 128
    assert all(number < buffered.next_sequence + 16 for number in buffered._messages)
    pair.run_until(lambda: both_connected(pair))
    exchange_data(pair)


def test_s1_early_records_are_not_hoarded() -> None:
    pair = mid_handshake()
    for number in range(10_000):
        pair.b.receive_datagram(plain_record(23, bytes(1100), sequence=number, epoch=1), pair.now)
    assert pair.b.statistics().records_dropped >= 10_000 - 16
    pair.run_until(lambda: both_connected(pair))
    exchange_data(pair)


# S2: CVE-2022-29190 (pion) and CVE-2026-33845 (GnuTLS), zero-length fragments


def test_s2_zero_length_fragments_are_dropped() -> None:
    pair = mid_handshake()
    for victim in (pair.a, pair.b):
        for offset in range(10_000):
            forged = fragment(11, 9_999, 1 + offset % 4, offset, b"")
            if offset % 100:
                victim.receive_datagram(forged, pair.now)
            else:
                with Meter(150):
                    victim.receive_datagram(forged, pair.now)
            assert victim.datagrams_to_send(pair.now) == []
    pair.run_until(lambda: both_connected(pair))
    exchange_data(pair)


def test_s2_a_record_full_of_empty_fragments_ends() -> None:
    pair = mid_handshake()
    header = bytes([11, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0])
    pair.b.receive_datagram(plain_record(HANDSHAKE, header * 1000), pair.now)
    pair.run_until(lambda: both_connected(pair))


# S3: CVE-2026-33846 (GnuTLS) and CVE-2014-0195 (OpenSSL), fragments that do not belong together


@pytest.mark.parametrize(
    "forged",
    [
        fragment(12, 50, 1, 0, bytes(50)),  # another type
        fragment(11, 50, 1, 0, bytes(20)),  # another length
        fragment(11, 400, 1, 0, bytes(10)),
        fragment(11, 2**24 - 1, 1, 0, bytes(10)),
        fragment(11, 20, 1, 15, bytes(10)),  # offset and length past the end
        fragment(11, 20, 1, 2**24 - 1, bytes(1)),
        fragment(11, 20, 1, 0, bytes(10), declared=2**24 - 1),  # a length past the end of the record
        fragment(11, 20, 1, 0, bytes(20), declared=5),
    ],
)
def test_s3_a_forged_fragment_never_mixes_with_the_genuine_message(forged: bytes) -> None:
    for when in ("before", "between", "after"):
        config = Config(mtu=256)
        pair = make_pair(make_client(config), make_server(config))
        pair.b.receive_datagram(pair.a.datagrams_to_send(pair.now)[0], pair.now)
        for datagram in pair.b.datagrams_to_send(pair.now):
            pair.a.receive_datagram(datagram, pair.now)
        flight = pair.a.datagrams_to_send(pair.now)
        flight.insert({"before": 0, "between": 1, "after": len(flight)}[when], forged)
        for datagram in flight:
            pair.b.receive_datagram(datagram, pair.now)
        pair.run_until(lambda pair=pair: both_connected(pair), timeout_s=5)
        exchange_data(pair)


# S4: CVE-2022-29222 (pion), a client certificate without proof of its key


def refused_by_server(monkeypatch: pytest.MonkeyPatch, name: str, replacement: object) -> ConnectionFailed:
    """The server's verdict on a client of whose code one name is replaced."""
    monkeypatch.setattr(client, name, replacement)
    pair = make_pair()
    pair.run(31.0)
    assert pair.b.state is ConnectionState.FAILED
    assert pair.a.state is not ConnectionState.CONNECTED
    return failure_of(pair.b_events)


def test_s4_certificate_without_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutVerification(FlightBuilder):
        def add(self, message_type: int, body: bytes, *, epoch: int = 0) -> None:
            if message_type != messages.CERTIFICATE_VERIFY:
                super().add(message_type, body, epoch=epoch)

    failure = refused_by_server(monkeypatch, "FlightBuilder", WithoutVerification)
    assert failure.reason == "DTLS handshake timed out waiting for the client's certificate and key exchange"


def with_a_bit_changed(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def test_s4_no_certificate_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = refused_by_server(monkeypatch, "encode_certificate", lambda der: bytes(3))
    assert failure.reason == "the client sent no certificate"


def test_s4_verification_before_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    swapped = {messages.CERTIFICATE: messages.CERTIFICATE_VERIFY, messages.CERTIFICATE_VERIFY: messages.CERTIFICATE}

    class Swapped(FlightBuilder):
        def add(self, message_type: int, body: bytes, *, epoch: int = 0) -> None:
            super().add(swapped.get(message_type, message_type), body, epoch=epoch)

    failure = refused_by_server(monkeypatch, "FlightBuilder", Swapped)
    assert failure.reason == "CertificateVerify where Certificate was expected"


@pytest.mark.parametrize(
    "forge",
    [
        lambda key, data: OTHER_CERTIFICATE.private_key.sign(data, ec.ECDSA(hashes.SHA256())),  # another key
        lambda key, data: key.sign(data[:-1], ec.ECDSA(hashes.SHA256())),  # a truncated transcript
        lambda key, data: key.sign(b"", ec.ECDSA(hashes.SHA256())),
        lambda key, data: key.sign(data, ec.ECDSA(hashes.SHA1())),  # a weak hash passed off as SHA-256
        lambda key, data: with_a_bit_changed(key.sign(data, ec.ECDSA(hashes.SHA256()))),
        lambda key, data: b"",
        lambda key, data: bytes(70),
    ],
    ids=["other key", "truncated", "empty transcript", "sha-1", "corrupt", "empty", "zeros"],
)
@pytest.mark.parametrize("side", [client, server], ids=["client", "server"])
def test_s4_wrong_signatures(side: object, forge: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side, "sign", forge)
    pair = make_pair()
    pair.run(31.0)
    victim, events = (pair.b, pair.b_events) if side is client else (pair.a, pair.a_events)
    assert victim.state is ConnectionState.FAILED
    assert failure_of(events).reason == "a handshake signature is wrong"


@pytest.mark.parametrize("scheme", [0x0201, 0x0203, 0x0603, 0x0804, 0x0807, 0x0000])
@pytest.mark.parametrize("side", [client, server], ids=["client", "server"])
def test_s4_schemes_that_were_not_offered_or_do_not_fit(
    side: object, scheme: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if side is client:
        verification = messages.encode_certificate_verify
        monkeypatch.setattr(client, "encode_certificate_verify", lambda _, signature: verification(scheme, signature))
    else:
        monkeypatch.setattr(server, "signature_scheme", lambda _: scheme)
        monkeypatch.setattr(
            ClientHello, "signature_schemes", property(lambda _: [scheme])
        )  # the server does not listen
    pair = make_pair()
    pair.run(31.0)
    events = pair.b_events if side is client else pair.a_events
    assert f"{scheme:#06x} was not offered" in failure_of(events).reason


def test_s4_right_certificate_wrong_owner() -> None:
    """A thief of the certificate, which is public, does not have its key."""
    thief = Connection(
        Role.CLIENT,
        certificate=dataclasses.replace(CLIENT_CERTIFICATE, private_key=OTHER_CERTIFICATE.private_key),
        random_bytes=seeded_random_bytes(1),
        remote_fingerprints=[SERVER_CERTIFICATE.fingerprint()],
    )
    pair = make_pair(thief)
    pair.run(31.0)
    assert failure_of(pair.b_events).reason == "a handshake signature is wrong"
    assert pair.b.peer_certificate is None


# S5: CVE-2026-26014 (pion), nonces


def explicit_nonces(datagrams: list[bytes]) -> list[tuple[int, int]]:
    """Record number and explicit nonce of every record of epoch 1."""
    return [
        (record.number, int.from_bytes(record.data[13:21], "big"))
        for datagram in datagrams
        for record in split_records(datagram)
        if record.number >> 48 == 1
    ]


def test_s5_the_explicit_nonce_is_the_record_number() -> None:
    pair = connect()
    numbers = explicit_nonces([pair.a.seal(b"") for _ in range(1000)] + pair.a.seal_many([b""] * 1000))
    numbers += explicit_nonces([pair.a.seal(b"")])
    assert [nonce for _, nonce in numbers] == [number for number, _ in numbers]
    assert [number for number, _ in numbers] == list(range(2**48 + 1, 2**48 + 2002))  # 0 was Finished


def test_s5_the_nonces_of_a_million_records_only_go_up() -> None:
    """Sealed one by one and many at a time, in turn, as a connection does: epoch 1, and one more each time."""
    sealer = GcmSealer(bytes(16), bytes(4), first_sequence=0)
    for first in range(1 << 48, (1 << 48) + 1_000_000, 1000):
        records = [sealer.seal(b"") for _ in range(500)] + sealer.seal_many([b""] * 500)
        nonces = [int.from_bytes(record[HEADER_BYTES : HEADER_BYTES + 8], "big") for record in records]
        assert nonces == list(range(first, first + 1000))


@pytest.mark.parametrize("first", [2**16 - 5_000, 2**32 - 5_000])
def test_s5_nonces_go_up_past_what_a_counter_could_be_too_short_for(first: int) -> None:
    sealer = GcmSealer(bytes(16), bytes(4), first_sequence=first)
    used: list[bytes] = []
    sealer._encrypt = lambda nonce, _data, _aad: used.append(nonce) or b""  # type: ignore[func-returns-value]
    for _ in range(10):
        sealer.seal(b"")
        sealer.seal_many([b""] * 999)
    assert len(used) == 10_000
    assert all(nonce < following for nonce, following in itertools.pairwise(used))


def test_s5_repeated_flights_use_new_nonces() -> None:
    pair = make_pair()
    pair.a_to_b.log, pair.b_to_a.log = [], []
    lost = iter([False] + [True] * 5)  # the server's flight arrives, its Finished does not for a while
    pair.b_to_a.drop = lambda _: next(lost, False)
    pair.run_until(lambda: both_connected(pair))
    for connection, link in ((pair.a, pair.a_to_b), (pair.b, pair.b_to_a)):
        nonces = explicit_nonces([datagram for _, datagram in link.log or []] + [connection.seal(b"x")])
        assert len(nonces) > 2
        assert [nonce for _, nonce in nonces] == list(range(2**48, 2**48 + len(nonces)))


def test_s5_numbers_are_never_used_twice_even_at_the_end() -> None:
    sealer = GcmSealer(bytes(16), bytes(4), first_sequence=2**48 - 2)
    sealer.seal(b"the last one")
    for _ in range(3):
        with pytest.raises(TransportError):
            sealer.seal(b"one too many")
        with pytest.raises(TransportError):
            sealer.seal_many([b"one too many"])


def test_s5_every_session_has_its_own_keys() -> None:
    lines: list[str] = []
    for seed in range(4):
        connect(make_client(seed=seed, key_log=lines.append), make_server(seed=100 + seed))
    assert len(set(lines)) == 4


# S6: short or odd messages that made others panic (GHSA-hxp2-xqf3-v83h, GHSA-4xgv-j62q-h3rj, CVE-2026-54908)


class Collector:
    """The two sides of a handshake without records between them, so that single messages can be replaced."""

    def __init__(self) -> None:
        self.messages: list[tuple[Role, Message]] = []
        for sender, datagram in record_handshake(Config(verify_hello=True)):
            role = Role.CLIENT if sender == "client" else Role.SERVER
            for piece in plain_fragments(datagram):
                self.messages.append((role, Message(piece.type, piece.sequence, piece.data)))


def decode_client_hello(body: bytes) -> object:
    hello = ClientHello.decode(body)
    return hello.groups, hello.signature_schemes, hello.srtp_profiles


DECODERS: dict[int, Callable[[bytes], object]] = {
    messages.CLIENT_HELLO: decode_client_hello,
    messages.SERVER_HELLO: ServerHello.decode,
    messages.HELLO_VERIFY_REQUEST: decode_hello_verify,
    messages.CERTIFICATE: messages.decode_certificate,
    messages.SERVER_KEY_EXCHANGE: messages.ServerKeyExchange.decode,
    messages.CERTIFICATE_REQUEST: messages.decode_certificate_request,
    messages.SERVER_HELLO_DONE: messages.decode_empty,
    messages.CLIENT_KEY_EXCHANGE: messages.decode_client_key_exchange,
    messages.CERTIFICATE_VERIFY: messages.decode_certificate_verify,
}


@pytest.mark.parametrize("kind", DECODERS, ids=lambda kind: f"type {kind}")
def test_s6_every_prefix_and_every_value_of_every_byte_of_every_message(kind: int) -> None:
    decode = DECODERS[kind]
    bodies = [message.body for _, message in Collector().messages if message.type == kind]
    assert bodies
    for body in bodies:
        mutations = [body[:size] for size in range(len(body))]
        for at in range(len(body)):
            before, after = body[:at], body[at + 1 :]
            mutations += [before + bytes((value,)) + after for value in range(256)]
        for mutation in mutations:
            try:
                decode(mutation)
            except ProtocolError:
                pass


def test_s6_mutated_messages_inside_a_handshake_are_survived() -> None:
    """Each message once cut short at every eighth byte, inside a real handshake: it recovers every time."""
    for index, (role, message) in enumerate(Collector().messages):
        for size in range(0, len(message.body), 8):
            pair = make_pair(make_client(Config(verify_hello=True)), make_server(Config(verify_hello=True)))
            forged = message_record(message._replace(body=message.body[:size]))
            victim = pair.b if role is Role.CLIENT else pair.a
            for _ in range(index // 2):
                pair.step()
            assert victim.receive_datagram(forged, pair.now) == []
            pair.run_until(lambda pair=pair: both_connected(pair))


# S7: the ClientHello race (GHSA-hxj9-xwr8-w8pq and relatives): strangers speak before, while and after the peer does


def strangers_datagrams() -> list[bytes]:
    stranger = make_client(seed=77)
    stranger.start(0.0)
    hello = stranger.datagrams_to_send(0.0)
    (message,) = plain_fragments(hello[0])
    bad_version = Message(1, 0, b"\xfe\xff" + message.data[2:])
    return [
        plain_record(21, bytes([2, 40])),  # fatal handshake_failure
        plain_record(21, bytes([1, 0])),  # close_notify
        plain_record(21, bytes([2, 0])),
        plain_record(21, b""),
        message_record(bad_version),
        message_record(Message(1, 0, b"")),
        plain_record(20, b"\x01"),
        plain_record(23, b"hello"),
        plain_record(22, bytes(40)),
        plain_record(22, bytes(40), epoch=1),
        plain_record(21, bytes([2, 40]), epoch=1),
        b"",
        b"\x16",
        bytes(2000),
    ]


def strangers_messages() -> list[bytes]:
    """Forgeries that take the place of a genuine message."""
    return [message_record(Message(14, 1, b"")), message_record(Message(11, 1, bytes(3)))]


@pytest.mark.parametrize("stage", range(5))
def test_s7_strangers_do_not_end_a_handshake(stage: int) -> None:
    pair = make_pair()
    for _ in range(stage):
        pair.step()
    for datagram in (strangers_datagrams() + strangers_messages()) * 20:
        for victim in (pair.a, pair.b):
            assert victim.receive_datagram(datagram, pair.now) == []
    pair.run_until(lambda: both_connected(pair), timeout_s=5)
    exchange_data(pair)


def test_s7_strangers_all_the_time() -> None:
    pair = make_pair()
    while not both_connected(pair):
        for datagram in strangers_datagrams():
            for victim in (pair.a, pair.b):
                victim.receive_datagram(datagram, pair.now)
        assert pair.step()
    exchange_data(pair)


def test_s7_a_strangers_good_hello_only_delays() -> None:
    """It opens a handshake nobody continues; the peer's own hello then takes its place."""
    stranger = make_client(seed=77)
    stranger.start(0.0)
    pair = make_pair()
    pair.b.receive_datagram(stranger.datagrams_to_send(0.0)[0], pair.now)
    pair.b.receive_datagram(message_record(Message(11, 1, messages.encode_certificate(b"forged"))), pair.now)
    pair.run_until(lambda: both_connected(pair), timeout_s=5)
    exchange_data(pair)


def test_s7_a_genuine_alert_is_believed_in_the_end() -> None:
    pair = make_pair()
    pair.b_to_a.drop = lambda _: True
    pair.step()
    pair.a.receive_datagram(plain_record(21, bytes([2, 40])), pair.now)
    assert pair.a.state is ConnectionState.HANDSHAKING
    pair.run(2.1)
    assert failure_of(pair.a_events).reason == "the peer ended the handshake with handshake_failure"


# S8: the clear after the handshake, forgeries, replays


def test_s8_nothing_in_the_clear_counts_after_the_handshake() -> None:
    pair = connect()
    everything = strangers_datagrams() + strangers_messages() + [datagram for _, datagram in record_handshake()]
    for victim in (pair.a, pair.b):
        victim.poll_events()
        for datagram in everything:
            assert victim.receive_datagram(datagram, pair.now) == []
        assert victim.datagrams_to_send(pair.now) == []
        assert victim.poll_events() == []
        assert victim.next_timeout() is None
    exchange_data(pair)


def test_s8_forgeries_are_counted_and_not_answered() -> None:
    pair = connect()
    genuine = pair.a.seal(b"genuine")
    dropped = pair.b.statistics().records_dropped
    for at in range(5, len(genuine)):
        forged = genuine[:at] + bytes([genuine[at] ^ 0x80]) + genuine[at + 1 :]
        assert pair.b.receive_datagram(forged, pair.now) == []
    assert pair.b.statistics().records_dropped >= dropped + len(genuine) - 5 - 2  # but for a length that runs over
    assert pair.b.datagrams_to_send(pair.now) == []
    assert pair.b.receive_datagram(genuine, pair.now) == [b"genuine"]


def test_s8_a_replayed_record_is_delivered_once() -> None:
    pair = connect()
    records = pair.a.seal_many([bytes([number]) for number in range(200)])
    delivered = [pair.b.receive_datagram(record, pair.now) for record in reversed(records)]
    assert delivered == [[bytes([number])] for number in reversed(range(200))]
    assert all(pair.b.receive_datagram(record, pair.now) == [] for record in records)


def test_s8_a_whole_replayed_session_changes_nothing() -> None:
    pair = make_pair()
    pair.a_to_b.log = []
    pair.run_until(lambda: both_connected(pair))
    pair.b.poll_events()
    for _ in range(3):
        for _, datagram in pair.a_to_b.log:
            assert pair.b.receive_datagram(datagram, pair.now) == []
    assert pair.b.datagrams_to_send(pair.now) == []
    assert pair.b.poll_events() == []
    exchange_data(pair)


@pytest.mark.parametrize("epoch", [2, 3, 0xFFFF])
def test_s8_a_future_epoch_does_not_move_the_window(epoch: int) -> None:
    """CVE-2016-2181 (OpenSSL)."""
    pair = connect()
    record = pair.a.seal(b"x")
    future = record[:3] + epoch.to_bytes(2, "big") + b"\xff" * 6 + record[11:]
    assert pair.b.receive_datagram(future, pair.now) == []
    far = record[:5] + b"\xff" * 6 + record[11:]
    assert pair.b.receive_datagram(far, pair.now) == []
    assert pair.b.receive_datagram(record, pair.now) == [b"x"]


def test_s8_application_data_of_epoch_0_is_never_delivered() -> None:
    """CVE-2019-20786 (pion)."""
    for stage in range(6):
        pair = make_pair()
        for _ in range(stage):
            pair.step()
        for victim in (pair.a, pair.b):
            assert victim.receive_datagram(plain_record(23, b"plain"), pair.now) == []


def test_s8_change_cipher_spec_at_any_time_means_nothing() -> None:
    """CVE-2014-0224 (OpenSSL)."""
    for stage in range(6):
        pair = make_pair()
        for _ in range(stage):
            pair.step()
        for victim in (pair.a, pair.b):
            for _ in range(3):
                victim.receive_datagram(plain_record(20, b"\x01"), pair.now)
        pair.run_until(lambda pair=pair: both_connected(pair), timeout_s=1)
        exchange_data(pair)


def test_s8_finished_in_the_clear_is_not_finished() -> None:
    pair = mid_handshake()
    pair.b.receive_datagram(message_record(Message(messages.FINISHED, 4, bytes(12))), pair.now)
    pair.a.receive_datagram(message_record(Message(messages.FINISHED, 6, bytes(12))), pair.now)
    assert pair.a.state is pair.b.state is ConnectionState.HANDSHAKING
    pair.run_until(lambda: both_connected(pair))


# S9: the certificate is the one that signalling announced (CVE-2021-28681, pion)


def nibble_off(fingerprint: Fingerprint) -> Fingerprint:
    return Fingerprint(fingerprint.algorithm, fingerprint.digest[:-1] + bytes([fingerprint.digest[-1] ^ 0x10]))


def weak(name: str, der: bytes) -> Fingerprint:
    algorithm = hashes.SHA1() if name == "sha-1" else hashes.MD5()
    digest = hashes.Hash(algorithm)
    digest.update(der)
    return Fingerprint(name, digest.finalize())


def wrong_fingerprints(der: bytes, right: Fingerprint) -> dict[str, list[Fingerprint]]:
    return {
        "one nibble": [nibble_off(right)],
        "other algorithm name": [Fingerprint("sha-512", right.digest)],
        "unknown algorithm": [Fingerprint("sha-0", right.digest)],
        "sha-1": [weak("sha-1", der)],
        "md5": [weak("md5", der)],
        "two wrong": [nibble_off(right), OTHER_CERTIFICATE.fingerprint()],
    }


CASES = sorted(wrong_fingerprints(b"", SERVER_CERTIFICATE.fingerprint()))


@pytest.mark.parametrize("case", CASES)
def test_s9_client_checks_before_its_finished(case: str) -> None:
    wrong = wrong_fingerprints(SERVER_CERTIFICATE.der, SERVER_CERTIFICATE.fingerprint())[case]
    pair = make_pair(make_client(fingerprints=wrong))
    pair.a_to_b.log = []
    pair.run(0.5)  # it is believed when it comes again: nothing vouches for the whole certificate the first time
    assert "fingerprint mismatch" in failure_of(pair.a_events).reason
    *hellos, alert = [record for _, datagram in pair.a_to_b.log for record in split_records(datagram)]
    assert {record.data[HEADER_BYTES] for record in hellos} == {messages.CLIENT_HELLO}
    assert alert.kind == 21
    assert alert.data[-2:] == bytes([2, Alert.BAD_CERTIFICATE])
    assert pair.b.state is not ConnectionState.CONNECTED


@pytest.mark.parametrize("case", CASES)
def test_s9_server_checks_before_its_finished(case: str) -> None:
    wrong = wrong_fingerprints(CLIENT_CERTIFICATE.der, CLIENT_CERTIFICATE.fingerprint())[case]
    pair = make_pair(server=make_server(fingerprints=wrong))
    pair.b_to_a.log = []
    pair.run(0.0)
    assert "fingerprint mismatch" in failure_of(pair.b_events).reason
    sent = [record for _, datagram in pair.b_to_a.log for record in split_records(datagram)]
    assert all(record.number >> 48 == 0 for record in sent)
    assert pair.a.state is not ConnectionState.CONNECTED
    with pytest.raises(TransportError):
        pair.b.seal(b"x")


def test_s9_one_right_fingerprint_among_several_is_enough() -> None:
    right = SERVER_CERTIFICATE.fingerprint()
    fingerprints = [OTHER_CERTIFICATE.fingerprint(), weak("sha-1", b"whatever"), right]
    exchange_data(connect(make_client(fingerprints=fingerprints)))


def test_s9_without_fingerprints_nothing_is_sent_or_delivered() -> None:
    pair = make_pair(make_client(fingerprints=[]))
    pair.run(5.0)
    assert pair.b.state is ConnectionState.CONNECTED
    assert pair.a.receive_datagram(pair.b.seal(b"x"), pair.now) == []
    with pytest.raises(TransportError):
        pair.a.seal(b"x")
    pair.run(6.0)
    assert "no fingerprint" in failure_of(pair.a_events).reason
    assert pair.a_received == []


# S10: downgrades


def edit_client_hello(**changes: object) -> Edit:
    def edit(message: Message) -> Message:
        if message.type != messages.CLIENT_HELLO:
            return message
        hello = ClientHello.decode(message.body)
        values = {name: value(hello) if callable(value) else value for name, value in changes.items()}
        return message._replace(body=dataclasses.replace(hello, **values).encode())

    return edit


def edit_server_hello(**changes: object) -> Edit:
    def edit(message: Message) -> Message:
        if message.type != messages.SERVER_HELLO:
            return message
        hello = ServerHello.decode(message.body)
        values = {name: value(hello) if callable(value) else value for name, value in changes.items()}
        return message._replace(body=dataclasses.replace(hello, **values).encode())

    return edit


def without(code: int) -> Callable[[ClientHello | ServerHello], dict[int, bytes]]:
    return lambda hello: {key: value for key, value in hello.extensions.items() if key != code}


def having(code: int, value: str) -> Callable[[ClientHello | ServerHello], dict[int, bytes]]:
    return lambda hello: {**hello.extensions, code: bytes.fromhex(value)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 0xFEFF}, "speaks only version 0xfeff"),
        ({"version": 0x0303}, "speaks only version 0x0303"),
        ({"version": 0xFFFF}, "speaks only version 0xffff"),
        ({"cipher_suites": [0x002F, 0x009C]}, "no cipher suite"),  # RSA key transport
        ({"cipher_suites": [0xC009, 0xC013]}, "no cipher suite"),  # CBC
        ({"cipher_suites": [0x0000, 0xC006]}, "no cipher suite"),  # NULL
        ({"cipher_suites": [0xC02F]}, "no cipher suite"),  # needs an RSA certificate, which is not ours
        ({"cipher_suites": []}, "no cipher suite"),
        ({"compression_methods": b"\x01"}, "compression"),
        ({"compression_methods": b""}, "compression"),
        ({"extensions": without(23)}, "extended master secret"),
        ({"extensions": without(13)}, "signature scheme"),
        ({"extensions": having(13, "00020203")}, "signature scheme"),  # ECDSA with SHA-1
        ({"extensions": having(10, "00020019")}, "group"),  # secp521r1
        ({"extensions": having(10, "0001ff")}, "malformed"),
        ({"extensions": having(14, "000100")}, "malformed"),
        ({"extensions": having(65281, "0c" + "00" * 12)}, "malformed"),  # renegotiation
    ],
)
def test_s10_server_refuses_a_weaker_hello(changes: dict[str, object], reason: str) -> None:
    pair = run_rewritten(make_client(), make_server(), to_server=edit_client_hello(**changes))
    assert_refused(pair)
    assert reason in failure_of(pair.b_events).reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 0xFEFF}, "version 0xfeff"),
        ({"version": 0xFEFC}, "version 0xfefc"),
        ({"cipher_suite": 0x009C}, "cipher suite 0x009c"),
        ({"cipher_suite": 0xC009}, "cipher suite 0xc009"),
        ({"cipher_suite": 0x0000}, "cipher suite 0x0000"),
        ({"cipher_suite": 0xC02F}, "does not fit its cipher suite"),
        ({"compression_method": 1}, "compression"),
        ({"extensions": without(23)}, "extended master secret"),
        ({"extensions": having(16, "")}, "extension 16 unasked"),
        ({"extensions": having(35, "")}, "extension 35 unasked"),
        ({"extensions": having(14, "0002000900")}, "SRTP profile"),
        ({"extensions": having(14, "00040007000800")}, "SRTP profile"),
        ({"extensions": having(14, "0002000701aa")}, "SRTP profile"),
        ({"extensions": having(65281, "0100")}, "malformed"),
    ],
)
def test_s10_client_refuses_a_weaker_answer(changes: dict[str, object], reason: str) -> None:
    pair = run_rewritten(make_client(), make_server(), to_client=edit_server_hello(**changes))
    assert_refused(pair)
    assert reason in failure_of(pair.a_events).reason


def test_s10_a_changed_hello_is_noticed_even_if_acceptable() -> None:
    """Somebody on the path takes our favourite suite away; the transcripts differ, so the handshake must fail."""
    fewer = edit_client_hello(cipher_suites=lambda hello: hello.cipher_suites[2:])
    pair = run_rewritten(make_client(), make_server(), to_server=fewer)
    assert_refused(pair)


class SharesWith:
    """Stands in for ``KeyShare``: generates shares whose public half is what the test says."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def generate(self, group: int, random_bytes: RandomBytes) -> KeyShare:
        return dataclasses.replace(KeyShare.generate(group, random_bytes), public=self._public)


@pytest.mark.parametrize("side", [client, server], ids=["client", "server"])
@pytest.mark.parametrize(
    ("group", "public"),
    [(0x1D, bytes(32)), (0x1D, bytes(31)), (0x17, b"\x04" + bytes(64)), (0x17, b"\x00"), (0x17, b"")],
    ids=["all zero", "short", "off the curve", "infinity", "empty"],
)
def test_s10_invalid_points(side: object, group: int, public: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side, "KeyShare", SharesWith(public))
    config = Config(groups=(group,))
    pair = make_pair(make_client(config), make_server(config))
    pair.run(31.0)
    assert_refused(pair)
    events = pair.b_events if side is client else pair.a_events
    assert failure_of(events).reason == "the peer's key share is not valid for its group"


def test_s10_a_group_that_was_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientHello, "groups", property(lambda hello: [0x18]))  # the server does not listen
    pair = make_pair(make_client(Config(groups=(0x1D,))), make_server())
    pair.run(31.0)
    assert failure_of(pair.a_events).reason == "the server chose group 0x0018"


def test_s10_no_renegotiation() -> None:
    """Neither a HelloRequest nor a ClientHello inside the session is answered."""
    pair = connect()
    hello = plain_fragments(record_handshake()[0][1])[0]
    for message in (Message(0, 0, b""), Message(hello.type, 0, hello.data), Message(hello.type, 5, hello.data)):
        for sender, receiver in ((pair.a, pair.b), (pair.b, pair.a)):
            sealer = sender._protection.sealer
            assert isinstance(sealer, GcmSealer)
            assert receiver.receive_datagram(sealer.seal(message.encode(), HANDSHAKE), pair.now) == []
            assert receiver.datagrams_to_send(pair.now) == []
    exchange_data(pair)


def test_s10_finished_must_match(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio_livekit._sansio.dtls.keys import MasterSecret

    for name in ("client_verify_data", "server_verify_data"):
        with monkeypatch.context() as patch:
            pair = make_pair()
            pair.step()
            patch.setattr(MasterSecret, name, lambda *_: bytes(12))
            pair.step()
            patch.undo()
            pair.run(31.0)
            assert not both_connected(pair)


def test_errors_do_not_carry_secrets() -> None:
    lines: list[str] = []
    pair = make_pair(make_client(fingerprints=[OTHER_CERTIFICATE.fingerprint()], key_log=lines.append))
    pair.run(0.5)
    failure = failure_of(pair.a_events)
    assert isinstance(failure.error, HandshakeError)
    assert lines == []  # nothing was agreed
    assert "private" not in repr(failure)

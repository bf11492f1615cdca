"""Two connections: what is negotiated, when flights are repeated, and how it ends."""

from __future__ import annotations

import itertools

import pytest

from trio_livekit._sansio.dtls import (
    Config,
    ConnectionClosed,
    ConnectionState,
    HandshakeCompleted,
    HandshakeError,
    LocalCertificate,
)
from trio_livekit._sansio.dtls import client as client_module
from trio_livekit._sansio.dtls.connection import Connection
from trio_livekit._sansio.dtls.handshake import CLIENT_HELLO, HELLO_VERIFY_REQUEST, SERVER_HELLO
from trio_livekit._sansio.dtls.suites import GROUPS, SUITES, Authentication
from trio_livekit.errors import TransportError
from trio_livekit.testing.pair import LinkModel, Pair

from .helpers import (
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
    plain_fragments,
    plain_record,
    record_handshake,
    settled,
)
from .test_certificate import KEYS, certify

ECDSA_SUITES = [suite.code for suite in SUITES.values() if suite.authentication is Authentication.ECDSA]


@pytest.mark.parametrize("suite", ECDSA_SUITES, ids=hex)
@pytest.mark.parametrize("group", GROUPS, ids=hex)
@pytest.mark.parametrize("verify_hello", [False, True])
def test_every_suite_and_group(suite: int, group: int, verify_hello: bool) -> None:
    config = Config(cipher_suites=(suite,), groups=(group,), verify_hello=verify_hello)
    exchange_data(connect(make_client(config), make_server(config)))


@pytest.mark.parametrize("mtu", [200, 256, 300, 576, 1200, 1500])
@pytest.mark.parametrize("verify_hello", [False, True])
def test_every_mtu(mtu: int, verify_hello: bool) -> None:
    config = Config(mtu=mtu, verify_hello=verify_hello)
    exchange_data(connect(make_client(config), make_server(config), link=LinkModel(mtu=mtu)))


def test_both_learn_who_the_other_is_and_agree_on_everything() -> None:
    lines: list[str] = []
    pair = connect(make_client(key_log=lines.append), make_server(key_log=lines.append))
    assert pair.a.peer_certificate == SERVER_CERTIFICATE.der
    assert pair.b.peer_certificate == CLIENT_CERTIFICATE.der
    assert pair.a_events == pair.b_events == [HandshakeCompleted(srtp_profile=7)]
    assert pair.a.srtp_profile == pair.b.srtp_profile == 7
    label = b"EXTRACTOR-dtls_srtp"
    assert pair.a.export_keying_material(label, 56) == pair.b.export_keying_material(label, 56)
    assert pair.a.export_keying_material(label, 56) != pair.a.export_keying_material(b"other", 56)
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0].startswith("CLIENT_RANDOM ")


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [((7, 8, 1), (7, 8, 1), 7), ((1, 8), (7, 8, 1), 8), ((1,), (7,), None), ((), (7,), None), ((7,), (), None)],
)
def test_srtp_profile_is_the_servers_first(
    client: tuple[int, ...], server: tuple[int, ...], expected: int | None
) -> None:
    pair = connect(make_client(Config(srtp_profiles=client)), make_server(Config(srtp_profiles=server)))
    assert pair.a_events == pair.b_events == [HandshakeCompleted(expected)]


def test_the_server_prefers_its_own_order() -> None:
    pair = make_pair(make_client(), make_server(Config(cipher_suites=(0xCCA9, 0xC02B), groups=(0x18, 0x1D))))
    pair.b_to_a.log = []
    pair.run_until(lambda: both_connected(pair))
    fragments = [fragment for _, datagram in pair.b_to_a.log for fragment in plain_fragments(datagram)]
    assert fragments[0].data[35:37] == bytes.fromhex("cca9")  # after version, random and an empty session id
    assert fragments[2].data[:3] == bytes.fromhex("030018")


def test_without_extended_master_secret_if_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = client_module.client_extensions
    monkeypatch.setattr(
        client_module, "client_extensions", lambda config: {k: v for k, v in original(config).items() if k != 23}
    )
    config = Config(require_extended_master_secret=False)
    exchange_data(connect(make_client(config), make_server(config)))


@pytest.mark.parametrize("key", KEYS[:2], ids=["p256", "p384"])
def test_large_certificates_on_a_narrow_path(key: object) -> None:
    certificate = LocalCertificate(certify(key, extra_bytes=6000), key)  # type: ignore[arg-type]
    config = Config(mtu=300)
    client = Connection(
        make_client().role,
        certificate=certificate,
        random_bytes=bytes,
        remote_fingerprints=[SERVER_CERTIFICATE.fingerprint()],
        config=config,
    )
    server = make_server(config, fingerprints=[certificate.fingerprint()])
    exchange_data(connect(client, server, link=LinkModel(mtu=300, delay_s=0.01)))


@pytest.mark.parametrize("verify_hello", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_hello_in_two_datagrams(verify_hello: bool, reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers add a post-quantum key share, which makes their ClientHello larger than a datagram."""
    original = client_module.client_extensions
    monkeypatch.setattr(client_module, "client_extensions", lambda config: {51: bytes(1258), **original(config)})
    pair = make_pair(server=make_server(Config(verify_hello=verify_hello)))
    (first, second) = pair.a.datagrams_to_send(pair.now)
    for datagram in (second, first) if reverse else (first, second):
        pair.b.receive_datagram(datagram, pair.now)
    pair.run_until(lambda: both_connected(pair), timeout_s=0.01)
    exchange_data(pair)


# Losing, doubling and delaying single datagrams


def connect_with_mishap(config: Config, index: int, mishap: str) -> Pair[Connection, Connection]:
    """A handshake in which one datagram, the ``index``-th of both directions together, meets with a mishap."""
    pair = make_pair(make_client(config), make_server(config), link=LinkModel(delay_s=0.01))
    numbers = itertools.count()
    late: list[tuple[Connection, bytes]] = []

    def meddle(receiver: Connection, datagram: bytes) -> bool:
        if next(numbers) != index:
            return False
        if mishap != "lose":
            late.append((receiver, datagram))
        return mishap != "double"

    pair.a_to_b.drop = lambda datagram: meddle(pair.b, datagram)
    pair.b_to_a.drop = lambda datagram: meddle(pair.a, datagram)
    while not both_connected(pair):
        assert pair.step()
        if late and next(numbers) > index + 3:
            receiver, datagram = late.pop()
            receiver.receive_datagram(datagram, pair.now)
    for receiver, datagram in late:
        receiver.receive_datagram(datagram, pair.now)
    return pair


CONFIGS = {
    "plain": Config(),
    "hello verified": Config(verify_hello=True),
    "narrow": Config(mtu=256),
}


@pytest.mark.parametrize("mishap", ["lose", "double", "delay"])
@pytest.mark.parametrize("name", CONFIGS)
def test_each_datagram_in_turn(name: str, mishap: str) -> None:
    config = CONFIGS[name]
    for index in range(len(record_handshake(config))):
        exchange_data(connect_with_mishap(config, index, mishap))


def test_every_subset_of_the_first_datagrams_lost() -> None:
    for lost in itertools.product([False, True], repeat=7):
        pair = make_pair()
        fates = iter(lost)
        pair.a_to_b.drop = pair.b_to_a.drop = lambda _, fates=fates: next(fates, False)
        pair.run_until(lambda pair=pair: both_connected(pair))
        exchange_data(pair)


@pytest.mark.parametrize("seed", range(12))
def test_a_terrible_link(seed: int) -> None:
    link = LinkModel(loss=0.1 + 0.03 * seed, duplicate=0.2, reorder=0.3, delay_s=0.05, jitter_s=0.05, corrupt=0.05)
    config = Config(mtu=400 if seed % 2 else 1200, verify_hello=seed % 3 == 0)
    pair = make_pair(make_client(config), make_server(config), link=link, seed=seed)
    pair.run_until(lambda: both_connected(pair), timeout_s=30)
    exchange_data(pair)


def test_datagrams_of_a_flight_in_reverse() -> None:
    config = Config(mtu=256)
    pair = make_pair(make_client(config), make_server(config))
    for _ in range(8):
        for datagram in reversed(pair.a.datagrams_to_send(pair.now)):
            pair.b.receive_datagram(datagram, pair.now)
        for datagram in reversed(pair.b.datagrams_to_send(pair.now)):
            pair.a.receive_datagram(datagram, pair.now)
    assert both_connected(pair)


# Timers


def test_the_client_repeats_its_hello_on_time_and_gives_up() -> None:
    client = make_client()
    assert client.next_timeout() is None
    client.start(100.0)
    sent_at = []
    now: float | None = 100.0
    while now is not None:
        client.handle_timeout(now)
        sent_at += [round(now, 3)] * len(client.datagrams_to_send(now))
        now = client.next_timeout()
    assert sent_at == [100, 100.1, 100.3, 100.7, 101.5, 103.1, 106.3, 109.5, 112.7, 115.9, 119.1, 122.3, 125.5, 128.7]
    failure = failure_of(client.poll_events())
    assert failure.reason == "DTLS handshake timed out waiting for the server's answer to ClientHello"
    assert isinstance(failure.error, TransportError)
    assert client.state is ConnectionState.FAILED


def test_repeated_flights_have_new_record_numbers_and_the_same_messages() -> None:
    client = make_client()
    client.start(0.0)
    (first,) = client.datagrams_to_send(0.0)
    client.handle_timeout(0.1)
    (second,) = client.datagrams_to_send(0.1)
    assert first[13:] == second[13:]
    assert (first[5:11], second[5:11]) == (bytes(6), bytes(5) + b"\x01")


def test_the_server_waits_in_silence_and_gives_up() -> None:
    server = make_server(Config(handshake_timeout_s=5))
    server.start(10.0)
    assert server.next_timeout() == 15.0
    server.handle_timeout(14.9)
    assert server.poll_events() == []
    server.handle_timeout(15.0)
    assert failure_of(server.poll_events()).reason == "DTLS handshake timed out waiting for ClientHello"
    assert server.datagrams_to_send(15.0) == []


def test_nothing_is_armed_once_connected_or_over() -> None:
    pair = connect()
    assert pair.a.next_timeout() is None
    assert pair.b.next_timeout() is None
    pair.a.close(pair.now)
    assert pair.a.next_timeout() is None
    pair.a.handle_timeout(pair.now + 100)
    assert pair.a.poll_events() == []


def test_a_repeated_hello_is_answered_at_once_but_not_for_every_copy() -> None:
    client, server = make_client(), make_server()
    client.start(0.0)
    (hello,) = client.datagrams_to_send(0.0)
    server.receive_datagram(hello, 0.0)
    (flight,) = server.datagrams_to_send(0.0)
    for _ in range(50):
        server.receive_datagram(hello, 0.05)
    (again,) = server.datagrams_to_send(0.05)
    assert [fragment.data for fragment in plain_fragments(again)] == [f.data for f in plain_fragments(flight)]
    assert server.statistics().flights_sent == 2
    server.handle_timeout(0.1)  # the timer did not move for that
    assert len(server.datagrams_to_send(0.1)) == 1


def test_a_lost_last_flight_is_repeated_for_the_clients_finished_however_late() -> None:
    pair = make_pair(server=make_server())
    pair.b_to_a.drop = lambda datagram: datagram[0] == 20
    pair.run_until(lambda: pair.b.state is ConnectionState.CONNECTED)
    pair.run(10.0)
    assert pair.a.state is ConnectionState.HANDSHAKING
    pair.b_to_a.drop = None
    pair.run_until(lambda: both_connected(pair))
    exchange_data(pair)


# Data and fingerprints that come too early or too late


def test_data_that_overtakes_the_last_flight_is_delivered_after_it() -> None:
    client, server = make_client(), make_server()
    client.start(0.0)
    for sender, receiver in ((client, server), (server, client), (client, server)):
        for datagram in sender.datagrams_to_send(0.0):
            receiver.receive_datagram(datagram, 0.0)
    (last_flight,) = server.datagrams_to_send(0.0)
    assert client.receive_datagram(server.seal(b"early 1"), 0.0) == []
    assert client.receive_datagram(server.seal(b"early 2"), 0.0) == []
    assert client.receive_datagram(last_flight, 0.0) == [b"early 1", b"early 2"]


def test_a_finished_that_overtakes_the_keys_is_used_later() -> None:
    config = Config(mtu=200)
    client, server = make_client(config), make_server(config)
    client.start(0.0)
    for sender, receiver in ((client, server), (server, client)):
        for datagram in sender.datagrams_to_send(0.0):
            receiver.receive_datagram(datagram, 0.0)
    *clear, finished = client.datagrams_to_send(0.0)
    server.receive_datagram(finished, 0.0)
    for datagram in clear:
        server.receive_datagram(datagram, 0.0)
    assert server.state is ConnectionState.CONNECTED


def test_early_records_are_few() -> None:
    server = make_server()
    for sequence in range(100):
        server.receive_datagram(plain_record(23, bytes(1000), sequence=sequence, epoch=1), 0.0)
    assert server.statistics().records_dropped == 100 - 16


@pytest.mark.parametrize("side", ["client", "server"])
def test_fingerprints_may_come_after_the_handshake(side: str) -> None:
    client = make_client(fingerprints=[] if side == "client" else None)
    server = make_server(fingerprints=[] if side == "server" else None)
    pair = make_pair(client, server)
    pair.run(1.0)
    late, early = (client, server) if side == "client" else (server, client)
    peer = SERVER_CERTIFICATE if side == "client" else CLIENT_CERTIFICATE
    assert early.state is ConnectionState.CONNECTED
    assert late.state is ConnectionState.HANDSHAKING
    assert late.receive_datagram(early.seal(b"waits"), pair.now) == []
    with pytest.raises(TransportError):
        late.seal(b"x")
    with pytest.raises(TransportError):
        late.export_keying_material(b"x", 10)
    assert late.set_remote_fingerprints([peer.fingerprint()], pair.now) == [b"waits"]
    assert late.poll_events() == [HandshakeCompleted(7)]
    exchange_data(pair)


def test_fingerprints_may_come_in_the_middle() -> None:
    client, server = make_client(fingerprints=[]), make_server(fingerprints=[])
    pair = make_pair(client, server)
    client.set_remote_fingerprints([SERVER_CERTIFICATE.fingerprint()], pair.now)
    server.set_remote_fingerprints([CLIENT_CERTIFICATE.fingerprint()], pair.now)
    pair.run_until(lambda: both_connected(pair))
    assert client.set_remote_fingerprints([OTHER_CERTIFICATE.fingerprint()], pair.now) == []
    exchange_data(pair)


def test_late_fingerprints_that_do_not_match_end_it() -> None:
    pair = make_pair(make_client(fingerprints=[]))
    pair.run(1.0)
    pair.b_events.clear()
    pair.a.set_remote_fingerprints([OTHER_CERTIFICATE.fingerprint()], pair.now)
    pair.run(0.1)
    assert "fingerprint mismatch" in failure_of(pair.a_events).reason
    assert failure_of(pair.b_events).reason == "the peer ended the connection with bad_certificate"


def test_waiting_for_fingerprints_has_an_end() -> None:
    pair = make_pair(make_client(Config(fingerprint_timeout_s=3), fingerprints=[]))
    pair.run(2.9)
    assert pair.a_events == []
    pair.run(0.2)
    assert "no fingerprint" in failure_of(pair.a_events).reason


# HelloVerifyRequest


def test_the_second_hello_differs_only_in_its_cookie_and_number() -> None:
    sent = record_handshake(Config(verify_hello=True))
    (first,), (request,), (second,) = (plain_fragments(datagram) for _, datagram in sent[:3])
    assert (first.type, request.type, second.type) == (CLIENT_HELLO, HELLO_VERIFY_REQUEST, CLIENT_HELLO)
    assert (first.sequence, request.sequence, second.sequence) == (0, 0, 1)
    assert first.data[:35] == second.data[:35]
    assert first.data[35] == 0
    assert second.data[35] == 32
    assert first.data[36:] == second.data[36 + 32 :]
    assert plain_fragments(sent[3][1])[0][:3] == (SERVER_HELLO, len(plain_fragments(sent[3][1])[0].data), 1)


def test_a_server_that_verifies_keeps_and_sends_nothing_for_a_wrong_cookie() -> None:
    config = Config(verify_hello=True)
    client, server, stranger = make_client(config), make_server(config), make_server(config, seed=99)
    client.start(0.0)
    (hello,) = client.datagrams_to_send(0.0)
    stranger.receive_datagram(hello, 0.0)
    client.receive_datagram(stranger.datagrams_to_send(0.0)[0], 0.0)
    (with_strange_cookie,) = client.datagrams_to_send(0.0)
    server.receive_datagram(with_strange_cookie, 0.0)
    (answer,) = server.datagrams_to_send(0.0)
    assert [fragment.type for fragment in plain_fragments(answer)] == [HELLO_VERIFY_REQUEST]
    assert server.next_timeout() is None
    client.receive_datagram(answer, 0.0)
    server.receive_datagram(client.datagrams_to_send(0.0)[0], 0.0)
    (flight,) = server.datagrams_to_send(0.0)
    assert plain_fragments(flight)[0].type == SERVER_HELLO


def test_a_client_does_not_follow_cookies_for_ever() -> None:
    client = make_client()
    client.start(0.0)
    sent = len(client.datagrams_to_send(0.0))
    for number in range(10):
        body = bytes.fromhex("fefd 01") + bytes([number])
        fragment = bytes([3, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4]) + body
        client.receive_datagram(plain_record(22, fragment, sequence=number), 0.0)
        sent += len(client.datagrams_to_send(0.0))
    assert sent == 4


def test_a_forged_hello_verify_request_does_not_spoil_the_handshake() -> None:
    client, server = make_client(), make_server()
    client.start(0.0)
    (hello,) = client.datagrams_to_send(0.0)
    client.receive_datagram(plain_record(22, bytes.fromhex("030000040000000000000004 fefd01aa")), 0.0)
    (distracted,) = client.datagrams_to_send(0.0)
    server.receive_datagram(hello, 0.0)
    server.receive_datagram(distracted, 0.0)
    for _ in range(3):
        for datagram in server.datagrams_to_send(0.0):
            client.receive_datagram(datagram, 0.0)
        for datagram in client.datagrams_to_send(0.0):
            server.receive_datagram(datagram, 0.0)
    assert client.state is server.state is ConnectionState.CONNECTED


# The end


def test_close_is_told_once_and_answered() -> None:
    pair = connect()
    pair.a.close(pair.now)
    pair.a.close(pair.now)
    (goodbye,) = pair.a.datagrams_to_send(pair.now)
    assert pair.b.receive_datagram(goodbye, pair.now) == []
    assert pair.b.poll_events() == [ConnectionClosed()]
    assert len(pair.b.datagrams_to_send(pair.now)) == 1
    assert pair.a.poll_events() == []
    for connection in (pair.a, pair.b):
        assert connection.state is ConnectionState.CLOSED
        with pytest.raises(TransportError, match="closed"):
            connection.seal(b"x")
        with pytest.raises(TransportError, match="closed"):
            connection.seal_many([b"x"])
        assert connection.receive_datagram(goodbye, pair.now) == []


def test_nothing_is_received_after_the_end() -> None:
    pair = connect()
    data = pair.b.seal(b"late")
    pair.a.close(pair.now)
    assert pair.a.receive_datagram(data, pair.now) == []
    pair.a.start(pair.now)
    assert pair.a.set_remote_fingerprints([OTHER_CERTIFICATE.fingerprint()], pair.now) == []
    assert pair.a.poll_events() == []


def test_closing_before_anything_was_said_is_silent() -> None:
    server = make_server()
    server.start(0.0)
    server.close(0.0)
    assert server.datagrams_to_send(0.0) == []
    assert server.poll_events() == []


def test_closing_during_the_handshake_ends_the_peers_soon() -> None:
    pair = make_pair()
    pair.b_to_a.drop = lambda _: True
    pair.run(0.05)
    pair.a.close(pair.now)
    pair.run(Config().suspicion_s + 0.1)
    assert failure_of(pair.b_events).reason == "the peer ended the handshake with close_notify"


def test_data_needs_a_connection() -> None:
    client = make_client()
    with pytest.raises(TransportError, match="handshaking"):
        client.seal(b"x")
    with pytest.raises(TransportError, match="handshaking"):
        client.export_keying_material(b"label", 20)


def test_a_client_ignores_answers_to_what_it_has_not_said() -> None:
    other = make_pair()
    other.b_to_a.log = []
    other.run_until(lambda: both_connected(other))
    client = make_client()
    for _, datagram in other.b_to_a.log:
        assert client.receive_datagram(datagram, 0.0) == []
    pair = make_pair(client)
    pair.run_until(lambda: both_connected(pair))


def test_empty_records_are_nothing() -> None:
    pair = connect()
    assert pair.b.receive_datagram(pair.a.seal(b""), pair.now) == []
    assert pair.b.statistics().records_dropped == 0


def test_several_data_records_in_one_datagram() -> None:
    pair = connect()
    datagram = b"".join(pair.a.seal_many([b"one", b"two", b"", b"three"]))
    assert pair.b.receive_datagram(datagram, pair.now) == [b"one", b"two", b"three"]


def test_datagrams_that_come_together_are_opened_in_order() -> None:
    pair = connect()
    one, two, three, four = pair.a.seal_many([b"one", b"two", b"three", b"four"])
    forged = two[:-1] + bytes([two[-1] ^ 1])
    batch = [one, two, forged, one, b"", b"?", three + four]
    assert pair.b.receive_datagrams(batch, pair.now) == [b"one", b"two", b"three", b"four"]
    assert pair.b.statistics().records_dropped == 2  # what was forged, and what was replayed
    assert not pair.b.has_news


def test_a_goodbye_in_the_middle_of_a_batch_ends_it() -> None:
    pair = connect()
    first, last = pair.a.seal(b"first"), pair.a.seal(b"last")
    pair.a.close(pair.now)
    [goodbye] = pair.a.datagrams_to_send(pair.now)
    assert pair.b.receive_datagrams([first, goodbye, last], pair.now) == [b"first"]
    assert pair.b.has_news


def test_two_handshakes_do_not_meet() -> None:
    one, other = make_pair(), make_pair(make_client(seed=5), make_server(seed=6))
    one.run_until(lambda: both_connected(one))
    other.run_until(lambda: both_connected(other))
    assert other.b.receive_datagram(one.a.seal(b"x"), other.now) == []
    exchange_data(other)


def test_incompatible_peers_fail_with_a_reason_on_both_sides() -> None:
    pair = make_pair(make_client(Config(cipher_suites=(0xC02B,))), make_server(Config(cipher_suites=(0xC02C,))))
    pair.run_until(lambda: settled(pair))
    pair.run(3.0)
    failure = failure_of(pair.b_events)
    assert failure.reason == "no cipher suite in common with the client"
    assert isinstance(failure.error, HandshakeError)
    assert failure_of(pair.a_events).reason == "the peer ended the handshake with handshake_failure"

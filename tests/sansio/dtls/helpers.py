"""Connections for tests: fixed certificates, seeded randomness, and a scripted link between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_livekit._sansio.dtls import (
    Config,
    Connection,
    ConnectionFailed,
    ConnectionState,
    Fingerprint,
    Role,
)
from trio_livekit._sansio.dtls.handshake import Fragment, Message, split_fragments
from trio_livekit._sansio.dtls.record import HANDSHAKE, HEADER, HEADER_BYTES, split_records
from trio_livekit._transport.certificate import generate_certificate
from trio_livekit.testing.pair import LinkModel, Pair, seeded_random_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLIENT_CERTIFICATE = generate_certificate()
SERVER_CERTIFICATE = generate_certificate()
OTHER_CERTIFICATE = generate_certificate()

INSTANT = LinkModel()


def make_client(
    config: Config | None = None,
    *,
    fingerprints: Sequence[Fingerprint] | None = None,
    seed: int = 1,
    key_log: Callable[[str], None] | None = None,
) -> Connection:
    return Connection(
        Role.CLIENT,
        certificate=CLIENT_CERTIFICATE,
        random_bytes=seeded_random_bytes(seed),
        remote_fingerprints=[SERVER_CERTIFICATE.fingerprint()] if fingerprints is None else fingerprints,
        config=config,
        key_log=key_log,
    )


def make_server(
    config: Config | None = None,
    *,
    fingerprints: Sequence[Fingerprint] | None = None,
    seed: int = 2,
    key_log: Callable[[str], None] | None = None,
) -> Connection:
    return Connection(
        Role.SERVER,
        certificate=SERVER_CERTIFICATE,
        random_bytes=seeded_random_bytes(seed),
        remote_fingerprints=[CLIENT_CERTIFICATE.fingerprint()] if fingerprints is None else fingerprints,
        config=config,
        key_log=key_log,
    )


def make_pair(
    client: Connection | None = None, server: Connection | None = None, *, link: LinkModel = INSTANT, seed: int = 0
) -> Pair[Connection, Connection]:
    """``a`` is the client, ``b`` the server; both have started."""
    pair = Pair(client or make_client(), server or make_server(), link=link, seed=seed)
    pair.a.start(pair.now)
    pair.b.start(pair.now)
    return pair


def both_connected(pair: Pair[Connection, Connection]) -> bool:
    return pair.a.state is ConnectionState.CONNECTED and pair.b.state is ConnectionState.CONNECTED


def settled(pair: Pair[Connection, Connection]) -> bool:
    """Neither side is still in its handshake."""
    return ConnectionState.HANDSHAKING not in (pair.a.state, pair.b.state)


def connect(
    client: Connection | None = None, server: Connection | None = None, *, link: LinkModel = INSTANT, seed: int = 0
) -> Pair[Connection, Connection]:
    """A pair whose handshake is done."""
    pair = make_pair(client, server, link=link, seed=seed)
    pair.run_until(lambda: both_connected(pair))
    return pair


def exchange_data(pair: Pair[Connection, Connection]) -> None:
    """Assert that data flows both ways."""
    assert pair.b.receive_datagram(pair.a.seal(b"to the server"), pair.now) == [b"to the server"]
    assert pair.a.receive_datagram(pair.b.seal(b"to the client"), pair.now) == [b"to the client"]


def failure_of(events: list[Any]) -> ConnectionFailed:
    """The one event there is, which must be a failure."""
    (event,) = events
    assert isinstance(event, ConnectionFailed)
    return event


def record_handshake(config: Config | None = None) -> list[tuple[str, bytes]]:
    """The datagrams of an undisturbed handshake: (``client`` or ``server``, datagram)."""
    pair = make_pair(make_client(config), make_server(config))
    pair.a_to_b.log, pair.b_to_a.log = [], []
    sent: list[tuple[str, bytes]] = []
    for _ in range(20):
        for sender, link in (("client", pair.a_to_b), ("server", pair.b_to_a)):
            assert link.log is not None
            sent += [(sender, datagram) for _, datagram in link.log]
            link.log.clear()
        if both_connected(pair):
            break
        pair.step()
    assert both_connected(pair)
    return sent


def plain_fragments(datagram: bytes) -> list[Fragment]:
    """The handshake fragments in the unprotected records of a datagram."""
    return [
        fragment
        for record in split_records(datagram)
        if record.kind == HANDSHAKE and record.number >> 48 == 0
        for fragment in split_fragments(record.data[HEADER_BYTES:])
    ]


def plain_record(kind: int, payload: bytes, *, sequence: int = 1000, version: int = 0xFEFD, epoch: int = 0) -> bytes:
    return HEADER.pack(kind, version, epoch << 48 | sequence, len(payload)) + payload


def message_record(message: Message, *, sequence: int = 1000) -> bytes:
    return plain_record(HANDSHAKE, message.encode(), sequence=sequence)


def rewrite(datagram: bytes, edit: Callable[[Message], Message | None]) -> bytes:
    """Change, or with ``None`` remove, the whole handshake messages in a datagram's unprotected records."""
    records = []
    for record in split_records(datagram):
        if record.kind != HANDSHAKE or record.number >> 48:
            records.append(record.data)
            continue
        (fragment,) = split_fragments(record.data[HEADER_BYTES:])
        assert len(fragment.data) == fragment.length
        message = edit(Message(fragment.type, fragment.sequence, fragment.data))
        if message is not None:
            body = message.encode()
            records.append(HEADER.pack(HANDSHAKE, record.version, record.number, len(body)) + body)
    return b"".join(records)

"""Known attacks on a whole peer connection: from off the path, with a false identity, without consent."""

from __future__ import annotations

import itertools
from dataclasses import replace
from struct import pack

import pytest

from trio_livekit._sansio.dtls import Role
from trio_livekit._sansio.peer import Connected, Disconnected, Failed
from trio_livekit._sansio.sdp import SessionDescription
from trio_livekit._transport.peer import PeerConfig, PeerConnection
from trio_livekit.errors import DecodeError
from trio_livekit.testing.faults import blocked
from trio_livekit.testing.pair import LinkModel

from ..sansio.peers import STRANGER, A, B, connect, connected, kinds, make_pair, messages, open_channel

FATAL_ALERT = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"
CLOSE_NOTIFY = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00"
APPLICATION_DATA = 23


def forged_records(hello: bytes) -> list[bytes]:
    """What somebody off the path may send: everything but what needs the keys."""
    records = [hello, FATAL_ALERT, CLOSE_NOTIFY]
    for kind, epoch in itertools.product((20, 21, 22, 23, 24, 63), (0, 1, 2, 65535)):
        records.append(pack("!BHHHIH", kind, 0xFEFD, epoch, 0, 7, 40) + bytes(40))
        records.append(pack("!BHHHIH", kind, 0xFEFD, epoch, 0, 7, 65535) + bytes(4))
    return records


# --- the ClientHello race, and everything like it ---------------------------------------------------------------------


@pytest.mark.parametrize("client", ["a", "b"])
def test_forged_datagrams_from_another_address_change_nothing(client):
    """Before, during and after the handshake, in greater number than genuine ones."""
    other = make_pair(client=client)
    log = other.a_to_b.log = other.b_to_a.log = []
    connect(other)
    hello = next(data for _, data in log if data[0] == 22)
    forged = [(data, STRANGER) for data in forged_records(hello)]

    pair = make_pair(LinkModel(delay_s=0.02), start=False, client=client)
    for end, local in ((pair.a, A), (pair.b, B)):
        end.peer.receive_datagrams(forged, local, "udp", pair.now)
    roles = {"a": Role.SERVER, "b": Role.SERVER, client: Role.CLIENT}
    pair.b.start(pair.a, roles["b"], pair.now)
    pair.a.start(pair.b, roles["a"], pair.now)
    while not connected(pair):
        for end, local in ((pair.a, A), (pair.b, B)):
            end.peer.receive_datagrams(forged, local, "udp", pair.now)
        assert pair.step()
    channel_id = open_channel(pair)
    for number in range(20):
        for end, local in ((pair.a, A), (pair.b, B)):
            end.peer.receive_datagrams(forged, local, "udp", pair.now)
        pair.a.peer.send(channel_id, b"%d" % number, pair.now)
        pair.run(0.1)
    assert messages(pair.b_events) == [b"%d" % number for number in range(20)]
    assert not pair.a.elsewhere  # not one answer went to the stranger
    assert not pair.b.elsewhere
    assert Failed not in kinds(pair.a_events) + kinds(pair.b_events)


def test_forged_datagrams_from_the_peers_own_address_do_not_end_a_connection():
    """Spoofing the source passes the first gate; no record is right without the keys."""
    pair = connect(make_pair(LinkModel(delay_s=0.02)))
    channel_id = open_channel(pair)
    for data in forged_records(FATAL_ALERT) * 20:
        pair.a.receive_datagram(data, pair.now)
        pair.b.receive_datagram(data, pair.now)
    pair.a.peer.send(channel_id, b"still here", pair.now)
    pair.run_until(lambda: messages(pair.b_events) == [b"still here"])
    assert Failed not in kinds(pair.a_events) + kinds(pair.b_events)


def test_forged_alerts_from_the_peers_own_address_do_not_end_a_handshake():
    pair = make_pair(LinkModel(delay_s=0.02))
    while not connected(pair):
        for end in (pair.a, pair.b):
            end.receive_datagram(FATAL_ALERT, pair.now)
            end.receive_datagram(CLOSE_NOTIFY, pair.now)
        assert pair.step()
    assert Failed not in kinds(pair.a_events) + kinds(pair.b_events)


def test_replayed_datagrams_are_delivered_once():
    pair = connect(make_pair(LinkModel(delay_s=0.02)))
    channel_id = open_channel(pair)
    pair.a_to_b.log = []
    pair.a.peer.send(channel_id, b"once", pair.now)
    pair.run(1)
    for _, data in pair.a_to_b.log * 3:
        pair.b.receive_datagram(data, pair.now)
        pair.b.receive_from(STRANGER, data, pair.now)
    pair.run(1)
    assert messages(pair.b_events) == [b"once"]


# --- the certificate is pinned ----------------------------------------------------------------------------------------


def flip_a_nibble(digest: bytes, at: int) -> bytes:
    flipped = bytearray(digest)
    flipped[at // 2] ^= 1 << (at % 2 * 4)
    return bytes(flipped)


@pytest.mark.parametrize("client", ["a", "b"])
@pytest.mark.parametrize("deceived", ["a", "b"])
@pytest.mark.parametrize("nibble", [0, 31, 63])
def test_a_fingerprint_that_is_wrong_by_one_nibble(client, deceived, nibble):
    """No byte of SCTP is sent or delivered, and the error says what was wrong."""
    pair = make_pair(LinkModel(delay_s=0.01), start=False)
    pair.a_to_b.log, pair.b_to_a.log = [], []
    right = pair.b.fingerprint if deceived == "a" else pair.a.fingerprint
    wrong = replace(right, digest=flip_a_nibble(right.digest, nibble))
    roles = {"a": Role.SERVER, "b": Role.SERVER, client: Role.CLIENT}
    pair.b.start(pair.a, roles["b"], pair.now, fingerprint=wrong if deceived == "b" else None)
    pair.a.start(pair.b, roles["a"], pair.now, fingerprint=wrong if deceived == "a" else None)
    for end in (pair.a, pair.b):
        channel_id = end.peer.open_channel("secret", now=pair.now)
        end.peer.send(channel_id, b"secret", pair.now)
    pair.run(30)
    assert kinds(pair.a_events) == kinds(pair.b_events) == [Failed]
    [failed] = pair.a_events if deceived == "a" else pair.b_events
    assert "fingerprint mismatch" in failed.reason
    sent = [data for link in (pair.a_to_b, pair.b_to_a) for _, data in link.log]
    assert APPLICATION_DATA not in {data[0] for data in sent}
    assert not any(b"secret" in data for data in sent)


@pytest.mark.parametrize("algorithm", ["md5", "sha-1", "sha-257"])
def test_a_fingerprint_by_a_hash_that_is_not_trusted(algorithm):
    pair = make_pair(LinkModel(delay_s=0.01), start=False)
    weak = replace(pair.b.fingerprint, algorithm=algorithm)
    pair.b.start(pair.a, Role.CLIENT, pair.now)
    pair.a.start(pair.b, Role.SERVER, pair.now, fingerprint=weak)
    pair.run(30)
    assert kinds(pair.a_events) == [Failed]
    assert Connected not in kinds(pair.b_events)


async def offers() -> tuple[PeerConnection, str]:
    """One of ours that has offered, and an answer to that."""
    alice = PeerConnection(PeerConfig(hosts=("127.0.0.1",)), print)
    bob = PeerConnection(PeerConfig(hosts=("127.0.0.1",), controlling=False), print)
    await alice.gather()
    await bob.gather()
    answer = bob.accept_offer(alice.create_offer())
    bob.close()
    return alice, answer


@pytest.mark.parametrize("digest", ["", "AA:BB", "zz" + ":00" * 31, ":".join(["AA"] * 31), ":".join(["AA"] * 33)])
async def test_a_description_with_a_malformed_fingerprint_is_refused(digest):
    alice, answer = await offers()
    lines = [f"a=fingerprint:sha-256 {digest}" if "fingerprint" in line else line for line in answer.split("\r\n")]
    with pytest.raises(DecodeError):
        alice.apply_answer("\r\n".join(lines))
    alice.apply_answer(answer)  # the refused one changed nothing
    alice.close()


async def test_a_description_without_a_fingerprint_is_refused():
    alice, answer = await offers()
    with pytest.raises(DecodeError, match="fingerprint"):
        alice.apply_answer("\r\n".join(line for line in answer.split("\r\n") if "fingerprint" not in line))
    alice.close()


async def test_a_fingerprint_at_media_level_overrides_one_of_the_session_and_is_checked():
    """RFC 8122 section 5: what stands nearer counts, also where it is wrong."""
    alice, answer = await offers()
    right = next(line for line in answer.split("\r\n") if line.startswith("a=fingerprint"))
    wrong = right[:-2] + ("00" if right[-2:] != "00" else "11")
    lines = [line for line in answer.split("\r\n") if not line.startswith("a=fingerprint")]
    media = next(at for at, line in enumerate(lines) if line.startswith("m="))
    for session_level, media_level, expected in ((wrong, right, right), (right, wrong, wrong), (None, right, right)):
        session = [session_level] if session_level else []
        text = "\r\n".join([*lines[:media], *session, lines[media], media_level, *lines[media + 1 :]])
        assert SessionDescription.parse(text).fingerprints == [expected.removeprefix("a=fingerprint:")]
    alice.close()


async def test_a_thousand_candidates_in_a_description_are_no_amplifier():
    """What is beyond the limits is ignored, and nothing of it looked up."""
    alice, answer = await offers()
    head, end = answer.split("a=candidate", 1)[0], "a=end-of-candidates\r\n"
    lines = [f"a=candidate:1 1 udp {n + 1} 203.0.{113 + n // 250}.{n % 250 + 1} 9 typ host\r\n" for n in range(1000)]
    names = [f"a=candidate:1 1 udp {n + 1} victim{n}.example.org 9 typ host\r\n" for n in range(10)]
    with pytest.raises(DecodeError):
        alice.apply_answer(head + "".join(lines) + end)
    alice.apply_answer(head)
    for line in names + lines:
        alice.add_remote_candidate(line.removeprefix("a=").rstrip())
    statistics = alice._core.ice.statistics()
    assert statistics.remote_candidates <= 32
    assert statistics.pairs <= 100
    alice.close()


# --- consent ----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_to_a_peer_that_stopped_answering_checks():
    """Data goes on arriving, authentic and all; checks say whether we may send (RFC 7675 section 5.1)."""
    pair = connect(make_pair(LinkModel(delay_s=0.02)))
    channel_id = open_channel(pair)
    pair.b_to_a.drop = lambda data: data[0] <= 3  # no answers, and no checks of theirs
    pair.a_to_b.log = []
    began = pair.now
    while pair.now < began + 60:
        if Failed not in kinds(pair.a_events):
            pair.a.peer.send(channel_id, b"to you", pair.now)
        if Failed not in kinds(pair.b_events):
            pair.b.peer.send(channel_id, b"to me", pair.now)
        pair.run(0.5)
    last = max(at for at, data in pair.a_to_b.log if data[0] == APPLICATION_DATA)
    assert last - began <= 31
    assert messages(pair.a_events)
    assert Failed in kinds(pair.a_events)


def test_spoofed_datagrams_do_not_prolong_consent():
    pair = connect(make_pair(LinkModel(delay_s=0.02)))
    channel_id = open_channel(pair)
    pair.a_to_b.log = []
    pair.run(3)
    answers = [data for _, data in pair.a_to_b.log if data[0] <= 3]
    began = pair.now
    pair.a_to_b.drop = pair.b_to_a.drop = blocked
    pair.a_to_b.log = []
    while pair.now < began + 60:
        if Failed not in kinds(pair.a_events):
            pair.a.peer.send(channel_id, b"into the void", pair.now)
        for data in (*answers, *forged_records(FATAL_ALERT)):
            pair.a.receive_datagram(data, pair.now)
        pair.run(0.5)
    assert kinds(pair.a_events)[-2:] == [Disconnected, Failed]
    assert max(at for at, _ in pair.a_to_b.log) - began <= 31

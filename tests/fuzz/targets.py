"""What is fuzzed: each target makes input, and takes it.

Input is a list of datagrams or messages. Taking it raises only where something is wrong: an exception that is not the
parser's own kind, work or memory beyond what the size of the input explains, or a connection that the true peer cannot
use any more.
"""

from __future__ import annotations

__all__ = ["TARGETS", "Target"]

import contextlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trio_livekit._sansio.channels.dcep import decode_open
from trio_livekit._sansio.dtls import ConnectionState, Fingerprint
from trio_livekit._sansio.dtls.der import read_public_key
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.candidate import Candidate
from trio_livekit._sansio.ice.framing import StreamFramer
from trio_livekit._sansio.peer import Failed
from trio_livekit._sansio.sctp import AssociationLost
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.packet import HEADER_SIZE, next_chunk
from trio_livekit._sansio.sctp.parameters import split_parameters
from trio_livekit._sansio.sdp import SessionDescription
from trio_livekit._sansio.streams.deflate import STEP_BYTES, Inflater
from trio_livekit._sansio.tracks.depacketizer import Depacketizer
from trio_livekit._sansio.tracks.packet import SINGLE, decode_fields
from trio_livekit._wire.data import decode_packet, decode_sealed
from trio_livekit._wire.signal import decode_join_request, decode_request, decode_response
from trio_livekit.errors import DecodeError, ProtocolError
from trio_livekit.testing.pair import LinkModel

from ..sansio import peers
from ..sansio.dtls import helpers as dtls_helpers
from ..sansio.sctp.harness import HandmadePeer, data_chunk, joined, messages
from . import mutators
from .corpus import recorded
from .meter import meter

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Input = list[bytes]


@dataclass(frozen=True)
class Target:
    """``make`` draws input, ``take`` takes it."""

    name: str
    make: Callable[[random.Random], Input]
    take: Callable[[Input], None]


# --- parsers ----------------------------------------------------------------------------------------------------------


def parser(
    name: str, kind: str, parse: Callable[[bytes], object], *, extra: tuple[bytes, ...] = (),
    mutate: Callable[[bytes, random.Random], bytes] = mutators.blind,
) -> Target:  # fmt: skip
    """A target that parses one input. `extra` is corpus that was not recorded."""
    samples = [entry.data for entry in recorded(kind)] + list(extra)
    for sample in samples:  # also loads what is loaded when it is first needed, which is not to be counted
        with contextlib.suppress(DecodeError):
            parse(sample)

    def make(rng: random.Random) -> Input:
        return [mutate(rng.choice(samples), rng)]

    def take(given: Input) -> None:
        for data in given:
            with meter(data):
                try:
                    parse(data)
                except (DecodeError, ProtocolError):
                    pass

    return Target(name, make, take)


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


def _stun(data: bytes) -> None:
    message = stun.decode(data)
    message.is_authentic(b"key")
    for attribute in (stun.USERNAME, stun.REALM, stun.SOFTWARE):
        message.text(attribute)
    message.address(stun.XOR_MAPPED_ADDRESS)
    message.number(stun.PRIORITY)


def _candidate(line: str) -> None:
    assert Candidate.parse(line)


def _frames(data: bytes) -> None:
    framer = StreamFramer()
    for start in range(0, len(data), 7):
        framer.receive(data[start : start + 7], 1.0)


def _chunks(data: bytes) -> None:
    offset = HEADER_SIZE
    while offset < len(data):
        kind, _flags, body, offset = next_chunk(data, offset)
        match kind:
            case c.INIT | c.INIT_ACK:
                c.decode_init(body)
            case c.SACK:
                c.decode_sack(body)
            case c.FORWARD_TSN:
                c.decode_forward_tsn(body)
            case _:
                split_parameters(body)


def _inflate(data: bytes) -> None:
    inflater, out = Inflater(), 0
    inflater.feed(data)
    while not inflater.is_hungry and out < 1 << 18:
        out += len(inflater.step(STEP_BYTES))


def _join(data: bytes) -> None:
    decode_join_request(data.decode("latin-1"))


_CANDIDATES = (
    b"candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host generation 0",
    b"candidate:2 1 tcp 1518280447 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 9 tcptype active",
)
_SDP = (
    b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-lite\r\n"
    b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n"
    b"a=max-message-size:65535\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
    b"a=fingerprint:sha-256 " + b":".join([b"AB"] * 32) + b"\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n",
)

# --- cores ------------------------------------------------------------------------------------------------------------

WINDOW = 100_000
MESSAGE = 50_000


def _association_make(rng: random.Random) -> Input:
    """Packets with the right tag and TSNs near those expected, of a peer that went wrong behind DTLS."""
    samples = [entry.data for entry in recorded("sctp")]
    tag = HandmadePeer(establish=False).init.tag.to_bytes(4, "big")
    return [mutators.sctp(rng.choice(samples), rng, tag=tag, tsn=1000 + n) for n in range(rng.randrange(1, 12))]


def _association_take(given: Input) -> None:
    peer = HandmadePeer(receive_window=WINDOW, max_receive_message_size=MESSAGE)
    peer.association.send(0, 53, bytes(5000), now=peer.now)
    peer.received()
    lost = False
    for data in given:
        with meter(data, at_least=6000):
            peer.association.receive_datagram(data, peer.now)
            answers = peer.association.datagrams_to_send(peer.now)
            events = peer.association.poll_events()
        lost = lost or any(isinstance(event, AssociationLost) for event in events)
        assert sum(map(len, answers)) < 20_000
        assert peer.association.statistics().held <= WINDOW + MESSAGE + 2000
        peer.wait(0.3)
    if lost:
        assert peer.association.next_timeout() is None


def _strangers_make(rng: random.Random) -> Input:
    """The same without the right tag: nothing of it is for this association."""
    samples = [entry.data for entry in recorded("sctp")]
    return [mutators.sctp(rng.choice(samples), rng, tag=rng.randbytes(4)) for _ in range(rng.randrange(1, 12))]


def _strangers_take(given: Input) -> None:
    peer = HandmadePeer()
    for data in given:
        if data[4:8] != peer.init.tag.to_bytes(4, "big"):
            with meter(data):
                peer.association.receive_datagram(data, peer.now)
    peer.events()
    peer.send(data_chunk(peer.tsn, b"still here", stream_id=900))
    assert messages(peer.events()) == [b"still here"]


def _mutual_make(rng: random.Random) -> Input:
    """Choices: which packets between two associations are changed, and how."""
    return [rng.randbytes(8) for _ in range(rng.randrange(1, 20))]


def _mutual_take(given: Input) -> None:
    """A link that changes packets: their checksums are wrong then, and everything arrives nevertheless."""
    pair = joined(LinkModel(delay_s=0.01), zero_checksum=False)
    changes = iter(given)

    def change(link: Any) -> None:
        original = link.offer

        def offer(data: bytes, now: float) -> None:
            choice = next(changes, b"")
            if choice and choice[0] % 3 == 0:
                at = int.from_bytes(choice[1:3], "big") % len(data)
                data = data[:at] + bytes([data[at] ^ (choice[3] or 1)]) + data[at + 1 :]
            if choice and choice[0] % 3 == 1:
                original(data[: int.from_bytes(choice[1:3], "big") % (len(data) + 1)], now)
            original(data, now)

        link.offer = offer

    change(pair.a_to_b)
    change(pair.b_to_a)
    sent = [b"%d" % number * 700 for number in range(8)]
    for message in sent:
        pair.a.send(0, 53, message, now=pair.now)
        pair.b.send(0, 53, message, now=pair.now)
    pair.run_until_idle()
    assert messages(pair.a_events) == messages(pair.b_events) == sent


def _handshake_make(rng: random.Random) -> Input:
    samples = [entry.data for entry in recorded("dtls")]
    return [rng.randbytes(1) + mutators.dtls(rng.choice(samples), rng) for _ in range(rng.randrange(1, 10))]


def _handshake_take(given: Input) -> None:
    """Datagrams slipped into a handshake: it ends one way or the other, in bounded time, and nothing is raised."""
    pair = dtls_helpers.make_pair()
    pair.flush()
    for data in given:
        victim = (pair.a, pair.b)[data[0] & 1]
        with meter(data, at_least=20_000):
            victim.receive_datagram(data[1:], pair.now)
        pair.step()
    pair.run(70.0)
    assert dtls_helpers.settled(pair)
    for end in (pair.a, pair.b):
        assert end.state in (ConnectionState.CONNECTED, ConnectionState.CLOSED, ConnectionState.FAILED)


def _forger_make(rng: random.Random) -> Input:
    """What somebody without keys may put on the wire of a whole connection, with the peer's address or another one."""
    kinds = [(entry.data, mutators.stun) for entry in recorded("stun")]
    kinds += [(entry.data, mutators.dtls) for entry in recorded("dtls")]
    kinds += [(entry.data, mutators.blind) for entry in recorded("sctp")[:40]]
    given = []
    for _ in range(rng.randrange(1, 10)):
        data, mutate = rng.choice(kinds)
        given.append(rng.randbytes(1) + mutate(data, rng))
    return given


def _forger_take(given: Input) -> None:
    """After the handshake: the connection stays, and carries messages both ways."""
    pair = peers.connect(peers.make_pair(LinkModel(delay_s=0.01)))
    channel_id = peers.open_channel(pair)
    for data in given:
        victim, source = (pair.a, pair.b)[data[0] & 1], (peers.STRANGER if data[0] & 2 else None)
        with meter(data, at_least=6000):
            victim.receive_from(source or victim.remote, data[1:], pair.now)
        pair.run(0.02)
    pair.a.peer.send(channel_id, b"there", pair.now)
    pair.b.peer.send(channel_id, b"back", pair.now)
    pair.run(3.0)
    assert peers.messages(pair.b_events) == [b"there"]
    assert peers.messages(pair.a_events) == [b"back"]
    assert not pair.a.elsewhere
    assert not pair.b.elsewhere
    assert not any(isinstance(event, Failed) for event in pair.a_events + pair.b_events)


def _checks_make(rng: random.Random) -> Input:
    """Checks that are authentic, and odd: a peer that went wrong."""
    samples = [entry.data for entry in recorded("stun")]
    pair = peers.make_pair(seed=1)
    keys = [pair.a.peer.ice.password.encode(), pair.b.peer.ice.password.encode()]
    return [
        bytes([at]) + mutators.stun(rng.choice(samples), rng, key=keys[at])
        for at in (rng.randrange(2) for _ in range(rng.randrange(1, 10)))
    ]


def _checks_take(given: Input) -> None:
    pair = peers.connect(peers.make_pair(LinkModel(delay_s=0.01), seed=1))
    for data in given:
        victim = (pair.a, pair.b)[data[0] & 1]
        with meter(data, at_least=6000):
            victim.receive_datagram(data[1:], pair.now)
        pair.run(0.02)
    before = pair.a_to_b.offered + pair.b_to_a.offered
    pair.run(2.0)
    assert pair.a_to_b.offered + pair.b_to_a.offered - before < 200


def _channels_make(rng: random.Random) -> Input:
    """Messages of DCEP and others on any stream, in good packets."""
    samples = [entry.data for entry in recorded("dcep")]
    given = []
    for _ in range(rng.randrange(1, 20)):
        data = mutators.blind(rng.choice(samples), rng)[:1000] or b"\0"
        given.append(
            struct.pack(">HB", rng.choice((0, 1, 2, 3, 4, 65534, 65535)), rng.choice((50, 51, 53, 56, 57))) + data
        )
    return given


def _channels_take(given: Input) -> None:
    from ..security.test_sctp import Opener

    opener = Opener()
    for data in given:
        stream, ppid = struct.unpack_from(">HB", data)
        with meter(data, at_least=6000):
            opener.say(stream, ppid, data[3:])
    assert len(opener.channels._channels) <= 512


def _track_make(rng: random.Random) -> Input:
    samples = [entry.data for entry in recorded("track") if len(entry.data) < 6000]
    return [mutators.blind(rng.choice(samples), rng) for _ in range(rng.randrange(1, 20))]


def _track_take(given: Input) -> None:
    """Of one track: packets in any order, of frames that never end; then good ones, which are delivered."""
    depacketizer = Depacketizer()
    for data in given:
        with meter(data):
            try:
                depacketizer.push(decode_fields(data))
            except DecodeError:
                pass
            depacketizer.take_drop()
        assert len(depacketizer._partials) <= depacketizer.max_partial_frames
    whole = next(entry.data for entry in recorded("track") if decode_fields(entry.data)[0] == SINGLE)
    assert depacketizer.push(decode_fields(whole)) is not None


TARGETS: tuple[Target, ...] = (
    parser("stun", "stun", _stun, mutate=mutators.stun),
    parser("stun-blind", "stun", _stun),
    parser("candidate", "none", _text(_candidate), extra=_CANDIDATES),
    parser("sdp", "none", _text(SessionDescription.parse), extra=_SDP),
    parser("fingerprint", "none", _text(Fingerprint.parse), extra=(b"sha-256 " + b":".join([b"AB"] * 32),)),
    parser("certificate", "none", read_public_key, extra=(dtls_helpers.CLIENT_CERTIFICATE.der,)),
    parser("framing", "none", _frames, extra=(b"\0\x05hello\0\0\0\x14" + bytes(20),)),
    parser("sctp-chunks", "sctp", _chunks, mutate=mutators.sctp),
    parser("dcep", "dcep", decode_open),
    parser("track-packet", "track", decode_fields),
    parser("data-packet", "packet", decode_packet),
    parser("sealed", "packet", decode_sealed),
    parser("response", "response", decode_response),
    parser("request", "request", decode_request),
    parser("join", "none", _join, extra=(b"AAEC", b"H4sIAAAAAAAAA2NgAAAAAP__")),
    parser("inflate", "none", _inflate, extra=(b"\xcbH\xcd\xc9\xc9W(\xcf/\xcaIQ\xc8@'\0", b"\x4b\x4c\x04\x02" * 20)),
    Target("association", _association_make, _association_take),
    Target("association-strangers", _strangers_make, _strangers_take),
    Target("association-pair", _mutual_make, _mutual_take),
    Target("dtls-handshake", _handshake_make, _handshake_take),
    Target("peer", _forger_make, _forger_take),
    Target("ice", _checks_make, _checks_take),
    Target("channels", _channels_make, _channels_take),
    Target("depacketizer", _track_make, _track_take),
)

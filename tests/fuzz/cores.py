"""More targets: the parts of a DTLS handshake, the cores of a room, and the question where we are."""

from __future__ import annotations

__all__ = ["CORES"]

from typing import TYPE_CHECKING

from trio_livekit._sansio.dtls import Config, handshake
from trio_livekit._sansio.dtls.certificate import load_public_key
from trio_livekit._sansio.dtls.hello import (
    ClientHello,
    ServerHello,
    decode_hello_verify,
    decode_renegotiation_info,
    decode_use_srtp,
)
from trio_livekit._sansio.dtls.reassembly import MAX_BUFFERED_BYTES, MAX_PIECES, Reassembler
from trio_livekit._sansio.dtls.record import HEADER_BYTES, split_records
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.probe import StunProbe
from trio_livekit._sansio.packets.filters import Nonces, Sequences
from trio_livekit._sansio.packets.messages import RpcAck, RpcResponse, UserPacket
from trio_livekit._sansio.rpc.calls import Calls
from trio_livekit._sansio.signal import messages as m
from trio_livekit._sansio.signal.roster import Roster
from trio_livekit._sansio.tracks.catalogue import Catalogue
from trio_livekit._sansio.tracks.depacketizer import Depacketizer
from trio_livekit._sansio.tracks.publications import Publications
from trio_livekit._sansio.tracks.subscriptions import Subscriptions
from trio_livekit._wire.data import decode_packet
from trio_livekit._wire.packets import stamp_packet
from trio_livekit._wire.signal import decode_response
from trio_livekit.errors import DecodeError
from trio_livekit.testing.pair import seeded_random_bytes

from ..sansio.dtls import helpers as dtls_helpers
from . import mutators
from .corpus import recorded
from .meter import meter
from .targets import Input, Target, parser

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# --- handshakes of DTLS -----------------------------------------------------------------------------------------------

BODIES: dict[int, Callable[[bytes], object]] = {
    handshake.CLIENT_HELLO: ClientHello.decode,
    handshake.SERVER_HELLO: ServerHello.decode,
    handshake.HELLO_VERIFY_REQUEST: decode_hello_verify,
    handshake.CERTIFICATE: handshake.decode_certificate,
    handshake.SERVER_KEY_EXCHANGE: handshake.ServerKeyExchange.decode,
    handshake.CERTIFICATE_REQUEST: handshake.decode_certificate_request,
    handshake.SERVER_HELLO_DONE: handshake.decode_empty,
    handshake.CLIENT_KEY_EXCHANGE: handshake.decode_client_key_exchange,
    handshake.CERTIFICATE_VERIFY: handshake.decode_certificate_verify,
}
"""Who reads the body of a message; that of Finished is compared as it is."""


def _body(message: bytes) -> None:
    """The first byte says of what kind."""
    body = message[1:]
    hello = BODIES.get(message[0] if message else 0, decode_hello_verify)(body)
    if isinstance(hello, ClientHello):
        _ = hello.groups, hello.signature_schemes, hello.srtp_profiles
    for decode in (decode_use_srtp, decode_renegotiation_info):
        try:
            decode(body[:300])
        except DecodeError:
            pass


def _bodies() -> tuple[bytes, ...]:
    """One of each kind, from handshakes with and without a cookie."""
    datagrams = [entry.data for entry in recorded("dtls")]
    datagrams += [data for _, data in dtls_helpers.record_handshake(Config(verify_hello=True))]
    found: dict[int, bytes] = {}
    for data in datagrams:
        try:
            pieces = dtls_helpers.plain_fragments(data)
        except DecodeError:
            continue
        for piece in pieces:
            if piece.type in BODIES and len(piece.data) == piece.length:
                found.setdefault(piece.type, bytes([piece.type]) + piece.data)
    return tuple(found.values())


def _reassembly_make(rng: random.Random) -> Input:
    samples = [entry.data for entry in recorded("dtls")]
    return [mutators.dtls(rng.choice(samples), rng) for _ in range(rng.randrange(1, 30))]


def _reassembly_take(given: Input) -> None:
    """Fragments of many handshakes, as of one: what is kept is bounded, and the next message is there when it comes."""
    reassembler = Reassembler()
    for data in given:
        with meter(data, at_least=6000):
            for record in split_records(data):
                try:
                    for piece in handshake.split_fragments(record.data[HEADER_BYTES:]):
                        reassembler.add(piece._replace(sequence=piece.sequence % 12))
                except DecodeError:
                    pass
            while reassembler.pop():
                pass
        assert reassembler.buffered_bytes <= MAX_BUFFERED_BYTES
        assert reassembler.pieces <= MAX_PIECES
    number = reassembler.next_sequence
    reassembler.add(handshake.Fragment(14, 4, number, 0, b"good"))
    assert reassembler.pop() == (14, number, b"good")


# --- a room, as its server and the others in it describe it -----------------------------------------------------------


def _room_make(rng: random.Random) -> Input:
    """What a server says, what comes in packets, and frames of tracks; the first byte says which."""
    given = []
    for _ in range(rng.randrange(1, 30)):
        kind = rng.choice((b"response", b"response", b"packet", b"track"))
        data = rng.choice(recorded(kind.decode())).data[:6000]
        given.append(kind[2:3] + (mutators.blind(data, rng) if rng.random() < 0.7 else data))
    return given


ME = m.ParticipantInfo("PA_me", "me")


class Cores:
    """The cores of a session that take what others say, joined as a session joins them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.roster, self.catalogue = Roster(ME), Catalogue()
        self.subscriptions, self.publications = Subscriptions(), Publications()
        self.sequences, self.nonces, self.calls = Sequences(), Nonces(), Calls()
        for name in ("one", "two"):
            self.publications.publish(name)

    def respond(self, data: bytes) -> None:
        match decode_response(data):
            case m.Join() as join:
                self.roster.replace(join.participant, join.other_participants)
                self.list_tracks(join.other_participants)
                self.publications.on_own_tracks(join.participant.data_tracks)
            case m.ParticipantUpdate(participants):
                self.roster.apply(participants)
                self.list_tracks(participants)
            case m.SubscriberHandles(handles):
                self.subscriptions.on_handles(handles, self.now)
            case m.DataTrackPublished(info):
                self.publications.on_published(info)
            case m.DataTrackUnpublished(info):
                self.publications.on_unpublished(info)
            case m.Reconnected():
                self.subscriptions.on_signal_lost()
                self.subscriptions.on_resumed(self.now)
            case _:
                pass

    def list_tracks(self, participants: tuple[m.ParticipantInfo, ...]) -> None:
        self.catalogue.update([(info.identity, info.data_tracks) for info in participants])
        for info in participants:
            self.sequences.on_joined(info.sid, self.now)
            for track in self.catalogue.tracks(info.identity):
                self.subscriptions.want(track.sid, Depacketizer(), self.now)

    def receive(self, data: bytes) -> None:
        packet = decode_packet(data)
        if packet is None:
            return
        self.sequences.on_packet(packet.participant_sid, packet.sequence, self.now)
        match packet.value:
            case UserPacket() as user:
                self.nonces.is_repeat(packet.participant_identity, user.nonce, self.now)
            case RpcAck() as ack:
                call = self.calls.begin(ack.request_id, packet.participant_identity, self.now + 9, is_callee_known=True)
                call.on_sent(self.now)
                self.calls.on_ack(ack.request_id, packet.participant_identity)
            case RpcResponse() as response:
                self.calls.on_response(response, packet.participant_identity)
            case _:
                pass

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for core in (self.subscriptions, self.publications):
            due = core.next_timeout()
            if due is not None and due <= self.now:
                core.handle_timeout(self.now)
            core.poll_events()
        self.subscriptions.poll_commands()
        self.publications.poll_commands(self.now)


def _room_take(given: Input) -> None:
    """What it means is taken or not; a room without participants, and a good packet, are understood after all that."""
    cores = Cores()
    for data in given:
        with meter(data, at_least=10_000):
            try:
                match data[:1]:
                    case b"s":
                        cores.respond(data[1:])
                    case b"c":
                        cores.receive(data[1:])
                    case _:
                        cores.subscriptions.receive(data[1:])
            except DecodeError:
                pass
            cores.sleep(0.7)
    cores.roster.replace(ME, ())
    assert list(cores.roster) == []
    cores.subscriptions.on_handles({}, cores.now)
    cores.sleep(100)
    assert cores.sequences.on_packet("PA_good", 1, cores.now) == 0
    assert not cores.nonces.is_repeat("good", bytes(16), cores.now)


def _forwarded(data: bytes) -> None:
    """As the embedded server reads what it passes on."""
    for reliable in (True, False):
        stamp_packet(data, identity="ann", sid="PA_ann", reliable=reliable)


# --- servers that say where we are ------------------------------------------------------------------------------------


def _probe_make(rng: random.Random) -> Input:
    samples = [entry.data for entry in recorded("stun")]
    return [mutators.stun(rng.choice(samples), rng) for _ in range(rng.randrange(1, 12))]


def _probe_take(given: Input) -> None:
    """Answers to the question, or so they say: one that is none does not keep the true one from being heard."""
    server, base = ("192.0.2.1", 3478), ("10.0.0.1", 5000)
    probe = StunProbe(server, base, random_bytes=seeded_random_bytes(1), now=1.0)
    [question] = probe.datagrams_to_send(1.0)
    for data in given:
        for answer in (data, b"\x01\x01" + data[2:8] + question[8:20] + data[20:]):
            one = StunProbe(server, base, random_bytes=seeded_random_bytes(1), now=1.0)
            with meter(answer):
                one.receive_datagram(answer, 1.1)
        if data[8:20] != question[8:20]:
            assert not probe.receive_datagram(data, 1.1)
    mapped = [(stun.XOR_MAPPED_ADDRESS, ("203.0.113.5", 999))]
    assert probe.receive_datagram(stun.encode(stun.BINDING, stun.SUCCESS, question[8:20], mapped), 1.2)
    assert probe.candidate is not None


CORES: tuple[Target, ...] = (
    parser("dtls-bodies", "none", _body, extra=_bodies()),
    Target("dtls-reassembly", _reassembly_make, _reassembly_take),
    parser("dtls-certificate", "none", load_public_key, extra=(dtls_helpers.CLIENT_CERTIFICATE.der,)),
    Target("room", _room_make, _room_take),
    parser("forwarded", "packet", _forwarded),
    Target("stun-probe", _probe_make, _probe_take),
)

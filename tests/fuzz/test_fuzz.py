"""The corpus, exhaustively; every target for a moment; and that the fuzzer finds what it is there for."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from trio_livekit._sansio.channels.dcep import decode_open
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.tracks.packet import decode_fields
from trio_livekit._wire.data import decode_packet
from trio_livekit._wire.signal import decode_request, decode_response
from trio_livekit.errors import DecodeError, ProtocolError

from ..sansio.dtls.helpers import make_pair as make_dtls_pair
from ..sansio.sctp.harness import HandmadePeer, data_chunk, messages
from . import mutators
from .__main__ import decode, encode, failure, smaller
from .corpus import KINDS, recorded, regressions
from .edges import ALL
from .meter import TooMuchWork, meter
from .targets import Target, _chunks

BY_NAME = {target.name: target for target in ALL}
ROUNDS = {
    "association": 40,
    "association-pair": 20,
    "dtls-handshake": 8,
    "peer": 6,
    "ice": 6,
    "channels": 20,
    "http-request": 40,
    "websocket": 20,
    "room": 60,
    "dtls-reassembly": 40,
    "stun-probe": 40,
}
SOURCES = {"ours", "pion", "aiortc", "livekit"}


def test_the_corpus_has_every_kind_from_everyone():
    for kind in KINDS:
        assert recorded(kind), kind
    for kind in ("stun", "dtls", "sctp"):
        assert {entry.source for entry in recorded(kind)} == SOURCES
    seen = {body for entry in recorded("sctp") for body in entry.data[12:13]}
    assert {0, 1, 2, 3, 4, 5, 10, 11, 130, 192} <= seen  # the first chunks: DATA to FORWARD-TSN


@pytest.mark.parametrize(
    ("kind", "parse"),
    [
        ("stun", stun.decode), ("sctp", _chunks), ("dcep", decode_open), ("track", decode_fields),
        ("packet", decode_packet), ("response", decode_response), ("request", decode_request),
    ],
)  # fmt: skip
def test_every_prefix_and_every_single_bit_of_the_corpus(kind, parse):
    for entry in recorded(kind):
        data = entry.data[:400]
        for changed in mutators.every_prefix_and_bit(data, bits=1600 if kind == "stun" else 600):
            try:
                parse(changed)
            except (DecodeError, ProtocolError):
                pass


def test_every_prefix_and_every_single_bit_of_every_packet_at_an_association():
    """With the checksum mended; the association sees them all, and is there for the true peer afterwards."""
    peer = HandmadePeer()
    wrong_tag = bytes(4)
    for entry in recorded("sctp"):
        for changed in mutators.every_prefix_and_bit(entry.data[:200], bits=400):
            peer.association.receive_datagram(changed[:4] + wrong_tag + changed[8:], peer.now)
    peer.events()
    peer.send(data_chunk(peer.tsn, b"still here"))
    assert messages(peer.events()) == [b"still here"]


def test_every_prefix_and_some_bits_of_every_handshake_datagram():
    pair = make_dtls_pair()
    pair.flush()
    for entry in recorded("dtls"):
        for changed in mutators.every_prefix_and_bit(entry.data[:300], bits=200):
            pair.a.receive_datagram(changed, pair.now)
            pair.b.receive_datagram(changed, pair.now)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_target_for_a_moment(name: str):
    target = BY_NAME[name]
    rng = random.Random(f"{name} in the tests")
    for _ in range(ROUNDS.get(name, 150)):
        given = target.make(rng)
        broken = failure(target, given)
        assert broken is None, (encode(given).hex(), broken)


def test_what_once_broke_a_target_does_so_no_more():
    for name, saved in regressions():
        BY_NAME[name.replace("_", "-")].take(decode(saved))


# --- the fuzzer itself ------------------------------------------------------------------------------------------------


def test_a_parser_that_trusts_a_length_is_found_out_and_its_input_made_small():
    def trusting(given: list[bytes]) -> None:
        for data in given:
            if data[:1] == b"\x03":
                data[data[1] + 2]

    broken = Target("trusting", lambda rng: [mutators.blind(b"\x03\x04label", rng) for _ in range(5)], trusting)
    rng = random.Random(1)
    given = next(given for given in iter(lambda: broken.make(rng), None) if failure(broken, given))
    assert isinstance(failure(broken, smaller(broken, given)), IndexError)
    assert len(smaller(broken, given)) == 1


def test_work_without_bound_is_found_out():
    with pytest.raises(TooMuchWork), meter(b"short"):
        for number in range(10_000):
            abs(number)


def test_inputs_are_saved_and_read_as_they_are():
    given = [b"", b"one", bytes(300)]
    assert decode(encode(given)) == given


def test_mutators_mend_checksums():
    rng = random.Random(2)
    packet = next(entry.data for entry in recorded("sctp") if entry.data[12] == 1)
    peer = HandmadePeer(establish=False)
    dropped = 0
    for _ in range(50):
        changed = mutators.sctp(packet, rng, tag=bytes(4))
        before = peer.association.statistics().dropped_packets
        peer.association.receive_datagram(changed, peer.now)
        dropped += peer.association.statistics().dropped_packets > before
    assert 0 < dropped < 50  # most changes get past the checksum, to the parser or beyond it
    message = recorded("stun")[0].data
    authentic = 0
    for _ in range(50):
        try:
            authentic += stun.decode(mutators.stun(message, rng, key=b"key")).is_authentic(b"key")
        except DecodeError:
            pass
    assert authentic > 10


def test_the_command():
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "0.2", "--target", "dcep", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dcep" in done.stdout

"""What a hostile peer may try on an association, each after a known case elsewhere."""

from __future__ import annotations

import os
import random
import struct
from dataclasses import replace

import pytest

from tests.fuzz.meter import Meter
from tests.sansio.channels.test_table import contents, of
from tests.sansio.channels.test_table import joined as joined_channels
from tests.sansio.sctp.harness import HandmadePeer, data_chunk, joined, messages
from trio_livekit._sansio.channels import AssociationLost, ChannelOpened, DataChannels
from trio_livekit._sansio.channels.dcep import Open, encode_open
from trio_livekit._sansio.dtls.roles import Role
from trio_livekit._sansio.sctp import Association, AssociationRestarted, AssociationUp, Config
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.packet import PacketSealer
from trio_livekit._sansio.sctp.parameters import STATE_COOKIE, encode_parameter
from trio_livekit._sansio.sctp.reset import ALREADY_IN_PROGRESS, BAD_SEQUENCE, IN_PROGRESS
from trio_livekit.testing.pair import LinkModel, seeded_random_bytes

FAREWELLS = [c.ABORT, c.SHUTDOWN_COMPLETE, c.SHUTDOWN_ACK, c.SHUTDOWN]


def is_alive(peer: HandmadePeer) -> bool:
    """Whether the association still takes data on a fresh stream."""
    peer.events()
    peer.received()
    peer.send(data_chunk(peer.tsn, b"alive?", stream_id=900))
    return messages(peer.events()) == [b"alive?"]


@pytest.mark.parametrize("kind", FAREWELLS)
@pytest.mark.parametrize("tag", ["zero", "wrong", "peer"])
@pytest.mark.parametrize("established", [True, False])
def test_s16_wrong_tags_and_reflected_farewells_are_dropped(kind: int, tag: str, established: bool):
    peer = HandmadePeer(establish=established)
    number = {"zero": 0, "wrong": peer.init.tag ^ 1, "peer": HandmadePeer.TAG}[tag]
    for flags in (0, 1):
        packet = PacketSealer(5000, 5000, number).seal(c.encode_chunk(kind, flags, bytes(4)))
        peer.association.receive_datagram(packet, peer.now)
    if not established:
        peer.establish()
    assert is_alive(peer)


def test_s16_an_abort_with_our_tag_that_claims_reflection_is_dropped():
    peer = HandmadePeer()
    peer.send(c.encode_chunk(c.ABORT, 1, b""))
    peer.send(c.encode_chunk(c.SHUTDOWN_COMPLETE, 1, b""))
    peer.send(c.encode_chunk(c.SHUTDOWN_COMPLETE, 0, b""))
    assert is_alive(peer)


def test_s16_wrong_ports_are_dropped():
    peer = HandmadePeer()
    peer.association.receive_datagram(PacketSealer(5000, 5001, peer.init.tag).seal(data_chunk(1000)), peer.now)
    assert peer.events() == []


def test_s17_init_flood_is_answered_at_a_limited_rate_and_changes_nothing():
    for established in (True, False):
        peer = HandmadePeer(establish=established)
        before = peer.association.statistics()
        for second in range(3):
            answers = 0
            for n in range(1000):  # spread over the second
                init = c.Init(second * 1000 + n + 1, 1000, 1, 1, n)
                packet = PacketSealer(5000, 5000, 0).seal(c.encode_init(c.INIT, init))
                peer.association.receive_datagram(packet, peer.now + second + n / 1000)
                answers += len(peer.received())
            assert answers <= 50 if second else answers == 50
        after = peer.association.statistics()
        assert (after.state, after.flight) == (before.state, before.flight)
        if not established:
            peer.establish()
        assert is_alive(peer)


def test_s17_cookies_forged_stale_or_replayed():
    peer = HandmadePeer(establish=False)
    peer.association.receive_datagram(PacketSealer(5000, 5000, 0).seal(peer.init_chunk(c.INIT)), peer.now)
    [(_, _, body)] = peer.received()
    cookie = dict(c.decode_init(body).parameters)[STATE_COOKIE]
    for at in range(len(cookie)):
        forged = bytearray(cookie)
        forged[at] ^= 0x80
        peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, bytes(forged)))
    peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, b""))
    assert peer.events() == []
    peer.now += 61
    peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, cookie))
    assert peer.events() == []
    peer.now -= 61
    peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, cookie))
    assert peer.events() == [AssociationUp()]
    peer.send(data_chunk(1000))
    peer.events()
    peer.send(c.encode_chunk(c.COOKIE_ECHO, 0, cookie))  # again: no second beginning
    peer.send(data_chunk(1000))
    assert messages(peer.events()) == []


def test_s16_a_handshake_that_comes_back_to_its_sender_is_dropped():
    """Else an association could be made to shake hands with itself, and take nothing of the true peer."""
    peer = HandmadePeer(establish=False)
    own = c.encode_init(c.INIT, peer.init)
    peer.association.receive_datagram(PacketSealer(5000, 5000, 0).seal(own), peer.now)
    assert peer.received() == []
    answer = replace(peer.init, parameters=(*peer.init.parameters, (STATE_COOKIE, b"cookie")))
    peer.send(c.encode_init(c.INIT_ACK, answer))
    assert peer.received() == []
    peer.establish()
    assert is_alive(peer)


def test_s17_a_second_valid_cookie_of_the_peer_is_a_restart():
    """RFC 9260 section 5.2.2: what was under way is gone, the streams begin anew, and the old numbers are dead."""
    peer = HandmadePeer()
    old = PacketSealer(5000, 5000, peer.init.tag)
    for n in range(3):
        peer.send(data_chunk(1000 + n, b"before", ssn=n))
    peer.events()
    newcomer = c.Init(0x5EC0D, 1 << 20, 65535, 65535, 5000, peer.init.parameters)
    peer.association.receive_datagram(PacketSealer(5000, 5000, 0).seal(c.encode_init(c.INIT, newcomer)), peer.now)
    [body] = [body for kind, _, body in peer.received() if kind == c.INIT_ACK]
    answer = c.decode_init(body)
    fresh = PacketSealer(5000, 5000, answer.tag)
    cookie = dict(answer.parameters)[STATE_COOKIE]
    peer.association.receive_datagram(fresh.seal(c.encode_chunk(c.COOKIE_ECHO, 0, cookie)), peer.now)
    assert of(peer.events(), AssociationRestarted)
    peer.association.receive_datagram(old.seal(data_chunk(1003, b"old", ssn=3)), peer.now)
    peer.association.receive_datagram(fresh.seal(data_chunk(5000, b"new")), peer.now)
    assert messages(peer.events()) == [b"new"]


ROUNDS = int(os.environ.get("S18_PACKETS", "12000")) // 2  # each has a packet with a tag that fits, and a senseless one


def test_s18_structured_fuzz_of_every_chunk():
    """Valid packets of every kind, then changed: nothing escapes, and a fresh association still works.

    12,000 of them; a million where ``$S18_PACKETS`` says so, as ``.ci/run`` does.
    """
    rng = random.Random(18)
    bodies = [
        data_chunk(1000), c.encode_sack(1, 2, [(2, 3)], [4]), peer_init(c.INIT), peer_init(c.INIT_ACK),
        c.encode_chunk(c.HEARTBEAT, 0, b"\0\1\0\x08abcd"),
        c.encode_chunk(c.HEARTBEAT_ACK, 0, b"\0\1\0\x14" + bytes(16)),
        c.encode_chunk(c.ABORT, 0, encode_parameter(12, b"x")), c.encode_chunk(c.SHUTDOWN, 0, bytes(4)),
        c.encode_chunk(c.SHUTDOWN_ACK, 0, b""), c.encode_chunk(c.ERROR, 0, encode_parameter(1, b"abcd")),
        c.encode_chunk(c.COOKIE_ECHO, 0, bytes(57)), c.encode_chunk(c.COOKIE_ACK, 0, b""),
        c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, bytes(14)) + encode_parameter(16, bytes(8))),
        c.encode_forward_tsn(c.ForwardTsn(1000, [(1, 2)])), c.encode_chunk(64, 0, bytes(20)),
    ]  # fmt: skip
    peer = HandmadePeer()
    for round_ in range(ROUNDS):
        body = bytearray(b"".join(rng.choices(bodies, k=rng.randrange(1, 4))))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(body))
            choice = rng.randrange(4)
            if choice == 0:
                body[at] = rng.randrange(256)
            elif choice == 1:
                body[at : at + 2] = rng.choice([b"\0\0", b"\0\3", b"\xff\xff", b"\0\4"])
            elif choice == 2:
                del body[at:]
                body += b"\0"
            else:
                body += rng.randbytes(rng.randrange(8))
        tag = 0 if rng.random() < 0.2 else peer.init.tag
        peer.association.receive_datagram(PacketSealer(5000, 5000, tag).seal(bytes(body)), peer.now)
        peer.association.receive_datagram(rng.randbytes(rng.randrange(40)), peer.now)
        if round_ % 50 == 0:
            peer.now += 0.1
            peer.association.handle_timeout(peer.now)
            peer.association.datagrams_to_send(peer.now)
        if peer.association.statistics().state == "ended":
            peer = HandmadePeer(establish=rng.random() < 0.7)


def peer_init(kind: int) -> bytes:
    parameters = ((0x8008, b"\x82\xc0"), (STATE_COOKIE, b"cookie"), (0x8001, bytes(4)))
    return c.encode_init(kind, c.Init(5, 6, 7, 8, 9, parameters))


def test_s18_every_prefix_and_every_length_field_of_an_init():
    encoded = peer_init(c.INIT)
    peer = HandmadePeer()
    for end in range(len(encoded)):
        peer.association.receive_datagram(PacketSealer(5000, 5000, 0).seal(encoded[:end]), peer.now)
    for at in range(0, len(encoded) - 1):
        for value in (0, 1, 2, 3, 5, 0xFF, 0xFFFF):
            broken = encoded[:at] + struct.pack(">H", value) + encoded[at + 2 :]
            peer.association.receive_datagram(PacketSealer(5000, 5000, 0).seal(broken), peer.now)
    assert is_alive(peer)


def gap_bombs(highest: int) -> list[list[tuple[int, int]]]:
    return [
        [(n * 2 + 2, n * 2 + 2) for n in range(16_000)],  # far more than was sent
        [(highest, 2)],
        [(5, 6), (3, 4)],
        [(2, 6), (4, 8)],
        [(2, 65535)],
        [(0, 0)],
    ]


def test_s19_gap_bombs_and_optimistic_acknowledgements_are_ignored_as_a_whole():
    peer = HandmadePeer()
    for _ in range(8):
        peer.association.send(0, 53, bytes(1000), now=peer.now)
    peer.received()
    peer.now += 0.05
    before = peer.association.statistics()
    for gaps in gap_bombs(8):
        peer.sack(2, *gaps)
        assert peer.association.statistics() == before
    for tsn in (8, 20, 2**31, -2, -2000):
        peer.sack(tsn)
        assert peer.association.statistics() == before
    peer.sack(3)
    grown = peer.association.statistics()
    assert 0 < grown.flight < before.flight
    for _ in range(100):
        peer.sack(3)  # the same again
        peer.sack(1)  # backwards
    assert peer.association.statistics().cwnd == grown.cwnd


def test_s19_the_cost_of_a_sack_follows_what_is_outstanding_and_not_what_it_claims():
    """Counted in calls: time would depend on the machine."""
    peer = HandmadePeer()
    for _ in range(8):
        peer.association.send(0, 53, bytes(1000), now=peer.now)
    peer.received()
    for gaps in gap_bombs(8):
        packet = peer.sealer.seal(c.encode_sack(peer.init.initial_tsn, 1 << 20, gaps, []))
        with Meter(100):
            peer.association.receive_datagram(packet, peer.now)
    assert is_alive(peer)


def test_s20_memory_of_the_receiver_is_bounded():
    window = 100_000
    peer = HandmadePeer(receive_window=window, max_receive_message_size=50_000)
    cap = window + 50_000 + 2000

    def held() -> int:
        return peer.association.statistics().held

    for n in range(300):  # beginnings that never end
        peer.send(data_chunk(1001 + 2 * n, bytes(1000), flags=2, stream_id=n))
        assert held() <= cap
    for n in range(300):  # whole messages that wait for a sequence number that never comes
        peer.send(data_chunk(2001 + n, bytes(1000), stream_id=3, ssn=n + 1))
        assert held() <= cap
    peer.send(data_chunk(1000 + 40_001, bytes(1000)))
    peer.send(data_chunk(1000 + 2**31 - 1, bytes(1000)))
    assert held() <= cap
    assert all(sack.receive_window <= window for sack in peer.sacks())


def test_s20_the_limits_unless_somebody_says_otherwise():
    assert Config().receive_window == 4 << 20
    assert Config().max_receive_message_size == 1 << 20


def test_s20_streams_with_state_are_limited_and_excess_is_reported():
    peer = HandmadePeer()
    for n in range(3000):
        peer.send(data_chunk(1000 + n, b"x", stream_id=n * 21))
    assert len(messages(peer.events())) == 1024
    kinds = [kind for kind, _, _ in peer.received()]
    assert kinds.count(c.ERROR) == 1
    peer.send(data_chunk(4000, b"old stream", ssn=1))
    assert messages(peer.events()) == [b"old stream"]


def test_s20_a_message_without_end_ends_the_association():
    peer = HandmadePeer(max_receive_message_size=50_000)
    for n in range(60):
        peer.send(data_chunk(1000 + n, bytes(1000), flags=2 if n == 0 else 0))
    [lost] = peer.events()
    assert isinstance(lost, AssociationLost)
    assert [kind for kind, _, _ in peer.received()] == [c.ABORT]


def test_s20_fragments_in_the_worst_order_cost_no_more_than_in_order():
    """Descending fragments of one large message: each welds in front of a growing run."""
    peer = HandmadePeer()
    count = 5000
    for n in reversed(range(1, count)):
        peer.send(data_chunk(1000 + n, b"12345678", flags=1 if n == count - 1 else 0))
    peer.send(data_chunk(1000, b"12345678", flags=2))
    assert messages(peer.events()) == [b"12345678" * count]


def test_s21_forward_tsn_moves_forward_only_and_within_the_window():
    peer = HandmadePeer()
    peer.send(data_chunk(1001, bytes(1000), flags=2), data_chunk(1003, b"y", ssn=5))
    assert peer.association.statistics().held == 1001
    for jump in (2**31 - 1, 2**31, 2**31 + 1, 40_001, -1, -(2**31)):
        peer.send(c.encode_forward_tsn(c.ForwardTsn(999 + jump & 0xFFFFFFFF, [(0, 9)])))
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [999]
    assert peer.association.statistics().held == 1001
    many = [(n % 1500, n & 0xFFFF) for n in range(16_000)]
    peer.send(c.encode_forward_tsn(c.ForwardTsn(1002, many)))
    assert peer.association.statistics().held == 0
    assert [sack.cumulative_tsn for sack in peer.sacks()] == [1003]
    assert not of(peer.events(), AssociationLost)


def test_s21_what_comes_while_a_reset_waits_takes_no_memory():
    """Once, such FORWARD-TSNs were put aside without a limit."""
    peer = HandmadePeer()
    reset = struct.pack(">LLLH", 1000, 0, 1_000_100, 7)
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, reset)))  # waits for a TSN that is far away
    for n in range(5000):
        skipped = [(n * 13 + at & 0xFFFF, n & 0xFFFF) for at in range(100)]
        peer.send(c.encode_forward_tsn(c.ForwardTsn(1000 + n, skipped)))
    assert peer.association.statistics().held == 0
    assert len(peer.association._link.receiver.reassembly._streams) <= 1024
    assert len(peer.received()) < 20
    peer.send(data_chunk(6000, b"alive?", stream_id=7, ssn=0))
    assert not of(peer.events(), AssociationLost)


def test_s22_reconfig_flood():
    peer = HandmadePeer()
    for n in range(5000):
        value = struct.pack(">LLLH", 1000 + n, 0, 5_000_000, 65535)
        peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, value)))
    answers = [body for kind, _, body in peer.received() if kind == c.RECONFIG]
    assert 0 < len(answers) <= 64
    assert {body[8:12] for body in answers} == {IN_PROGRESS.to_bytes(4, "big")}
    assert len(peer.association._link.resets.deferred) == 64
    value = struct.pack(">LLLH", 1000 + 5000, 0, 5_000_000, 65535)
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, value)))
    [(_, _, refused)] = peer.received()
    assert refused[4:12] == struct.pack(">LL", 6000, ALREADY_IN_PROGRESS)
    out_of_turn = struct.pack(">LLLH", 9000, 0, 999, 7)
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, out_of_turn)))
    [(_, _, refused)] = peer.received()
    assert refused[4:12] == struct.pack(">LL", 9000, BAD_SEQUENCE)
    peer.send(c.encode_chunk(c.RECONFIG, 0, b"".join(encode_parameter(13, bytes(14)) for _ in range(60))))
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, bytes(11))))
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(16, struct.pack(">LL", 77, 1))))
    assert is_alive(peer)


def test_s22_reset_of_unknown_streams_is_answered():
    peer = HandmadePeer()
    value = struct.pack(">LLLHH", 1000, 0, 999, 65535, 4242)
    peer.send(c.encode_chunk(c.RECONFIG, 0, encode_parameter(13, value)))
    [(kind, _, body)] = peer.received()
    assert (kind, body[4:12]) == (c.RECONFIG, struct.pack(">LL", 1000, 1))


def test_s23_an_hour_at_ten_per_cent_loss_with_mixed_traffic():
    """Once, one stack aborted another here, over FORWARD-TSN between fragments."""
    pair = joined(LinkModel(delay_s=0.03, loss=0.1, jitter_s=0.01), seed=23)
    reliable = 0
    for n in range(720):
        pair.a.send(1, 53, b"R%05d" % n * 500, now=pair.now)
        pair.a.send(2, 53, b"L%05d" % n * 700, now=pair.now, max_retransmits=0, ordered=False)
        pair.a.send(3, 53, b"T%05d" % n * 700, now=pair.now, lifetime_s=0.1)
        pair.b.send(2, 53, b"O%05d" % n * 400, now=pair.now, max_retransmits=1)
        pair.run(5.0)
        for data in messages(pair.b_events):
            if data[:1] == b"R":
                assert data == b"R%05d" % reliable * 500
                reliable += 1
        assert not of(pair.a_events + pair.b_events, AssociationLost)
        pair.a_events.clear()
        pair.b_events.clear()
    assert reliable >= 719


def against_channels() -> tuple[HandmadePeer, DataChannels]:
    """A handmade peer that talks to data channels; our side is the DTLS server, so the peer's ids are even."""
    peer = HandmadePeer()
    return peer, DataChannels(peer.association, dtls_role=Role.SERVER)


class Opener:
    """Sends messages of the peer one after the other, and collects what the channels say."""

    def __init__(self) -> None:
        self.peer, self.channels = against_channels()
        self.tsn = 1000
        self.ssn: dict[int, int] = {}

    def say(self, stream: int, ppid: int, data: bytes) -> list:
        for start in range(0, len(data), 1000):
            flags = (2 if start == 0 else 0) | (1 if start + 1000 >= len(data) else 0)
            ssn = self.ssn.get(stream, 0)
            self.peer.send(
                data_chunk(self.tsn, data[start : start + 1000], flags=flags, stream_id=stream, ssn=ssn, ppid=ppid)
            )
            self.tsn += 1
        self.ssn[stream] = self.ssn.get(stream, 0) + 1
        events = self.channels.poll_events()
        self.channels.datagrams_to_send(self.peer.now)
        return events


def test_s24_hostile_opens_close_the_offender_only():
    opener = Opener()
    [opened] = opener.say(0, 50, encode_open(Open("good")))
    assert opened.label == "good"
    bad = [
        (2, encode_open(Open("x" * 65_000))),
        (4, encode_open(Open("x" * 1025))),
        (6, b"\x03\x07" + bytes(10)),
        (8, b"\x03\x00\0\0\0\0\0\0\0\1\0\0\xff"),
        (10, b"\x03"),
        (12, encode_open(Open("x")) + b"trailing"),
        (1, encode_open(Open("wrong parity"))),
        (65534, encode_open(Open("illegal id"))),
    ]
    for stream, message in bad:
        assert opener.say(stream, 50, message) == []
    assert opener.channels.refused == len(bad)
    assert opener.say(40, 50, b"\x02") == []  # an ACK that nobody asked for
    assert opener.say(42, 50, b"\x77what") == []
    assert opener.say(2, 53, b"data on a refused channel") == []
    [message] = opener.say(0, 53, b"still here")
    assert message.data == b"still here"
    [strange] = opener.say(14, 50, b"\x03\x00\xff\xff" + encode_open(Open("any priority"))[4:])
    assert strange.label == "any priority"


def test_s24_an_open_on_an_id_in_use_closes_that_channel():
    opener = Opener()
    opener.say(0, 50, encode_open(Open("first")))
    opener.say(2, 50, encode_open(Open("bystander")))
    assert not of(opener.say(0, 50, encode_open(Open("second"))), ChannelOpened)
    assert opener.channels.refused == 1
    [message] = opener.say(2, 53, b"fine")
    assert message.data == b"fine"


def test_s24_no_more_than_256_channels():
    opener = Opener()
    opened = 0
    for stream in range(0, 2048, 2):
        opened += len(opener.say(stream, 50, encode_open(Open("n"))))
    assert opened == 256
    assert opener.channels.refused == 1024 - 256
    assert len(opener.channels._channels) <= 512


def test_s24_data_ahead_of_its_open_is_kept_within_a_limit():
    opener = Opener()
    for n in range(100):
        opener.say(2 * n, 53, bytes(1000))
    events = []
    for n in range(100):
        events += opener.say(2 * n, 50, encode_open(Open("n")))
    assert len(of(events, ChannelOpened)) == 100
    assert len(contents(events)) == 65
    assert opener.channels._early_bytes == 0


def test_s24_corrupt_packets_never_reach_the_application():
    pair = joined_channels(LinkModel(delay_s=0.01, corrupt=0.2), seed=2, config=Config(zero_checksum=False))
    channel = pair.a.open("x", now=pair.now)
    for n in range(200):
        pair.a.send(channel, b"%03d" % n * 300, now=pair.now)
    pair.run_until_idle()
    assert contents(pair.b_events) == [b"%03d" % n * 300 for n in range(200)]


def test_random_numbers_come_from_the_injected_source_only():
    first, second = (Association(random_bytes=seeded_random_bytes(1)) for _ in range(2))
    first.connect(1.0)
    second.connect(1.0)
    assert first.datagrams_to_send(1.0) == second.datagrams_to_send(1.0)

"""Forwarding: track packets by handle, user packets by destination, and what a slow subscriber loses."""

from __future__ import annotations

import pytest
from livekit.protocol import models

from trio_livekit._sansio.signal import messages as m
from trio_livekit._sansio.tracks.packet import FINAL, INTER, SINGLE, START, Packet, decode, encode
from trio_livekit._wire.packets import encode_user_packet
from trio_livekit.errors import TransportError
from trio_livekit.server.forwarding import Downlink, Forwarder, Uplink
from trio_livekit.server.limits import Limits

from .support import enter, make_rooms, publish, subscribe

CHANNELS = {"_reliable": 1, "_lossy": 3, "_data_track": 5}


class FakePeer:
    """Remembers what was sent, and claims to hold back as much as it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.buffered = 0
        self.error: Exception | None = None

    def send(self, channel_id: int, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((channel_id, data))

    def buffered_amount(self, channel_id: int) -> int:
        return self.buffered

    def set_low_water(self, channel_id: int, size: int) -> None:
        self.low_water = (channel_id, size)

    def take(self, label: str) -> list[bytes]:
        taken = [data for channel_id, data in self.sent if channel_id == CHANNELS[label]]
        self.sent.clear()
        return taken


class Stage:
    """A room in which everyone has a fake peer with open channels."""

    def __init__(self, *identities: str, **limits: float) -> None:
        self.limits = Limits(**limits)
        self.rooms = make_rooms()
        self.forwarder = Forwarder(self.limits)
        self.peers: dict[str, FakePeer] = {}
        self.given_back: list[int] = []
        for identity in identities:
            self.enter(identity)

    def enter(self, identity: str, *, channels: tuple[str, ...] = tuple(CHANNELS), **more: object):
        self.room, participant, _ = enter(self.rooms, identity, **more)
        peer = self.peers[identity] = FakePeer()
        participant.downlink = Downlink(self.limits)
        participant.uplink = Uplink(self.given_back.append)
        for label in channels:
            participant.downlink.channel_opened(peer, label, CHANNELS[label])
        return participant

    def __getitem__(self, identity: str):
        return self.room.members[identity]

    def say(self, sender: str, packet: bytes, *, reliable: bool = True) -> None:
        self.forwarder.user_packet(self.room, self[sender], packet, reliable=reliable)

    def packets(self, identity: str, label: str = "_reliable") -> list[models.DataPacket]:
        return [models.DataPacket.FromString(data) for data in self.peers[identity].take(label)]


def track_packet(handle: int = 1, marker: int = SINGLE, frame: int = 0, sequence: int = 0, payload: bytes = b"x"):
    return encode(Packet(marker, handle, sequence, frame, 1000, None, None, payload))


# --- track packets ----------------------------------------------------------------------------------------------------


def test_each_subscriber_gets_the_packet_under_its_own_handle():
    stage = Stage("ann", "bob", "cem", "dan")
    sid, _ = publish(stage.room, stage["ann"], "t", handle=9)
    for identity in ("bob", "cem"):
        subscribe(stage.room, stage[identity], sid)
    message = bytes.fromhex("1b ff 0009 0102 0304 000003e8 68656c6c6f")
    stage.forwarder.track_packet(stage["ann"], message)
    for identity in ("bob", "cem"):
        (handle,) = stage[identity].handles
        (got,) = stage.peers[identity].take("_data_track")
        assert got == bytes.fromhex("1800") + handle.to_bytes(2, "big") + message[4:]
    assert stage.peers["dan"].sent == stage.peers["ann"].sent == []
    assert stage.forwarder.counters.track_packets_forwarded == 2


@pytest.mark.parametrize(
    "message",
    [
        b"",
        track_packet()[:11],
        track_packet(handle=2),
        b"\x20" + track_packet()[1:],
        b"\x1c" + track_packet(payload=b"")[1:],
        b"\x1c" + track_packet(payload=b"\x00")[1:],
        b"\x1c" + track_packet(payload=b"\xff\xff\x00\x00")[1:],
        b"\x1c" + track_packet(payload=b"\x00\x00\x01\x0d")[1:],
        track_packet(payload=bytes(65_535)),
    ],
    ids=["empty", "short", "unknown handle", "version", "no words", "half", "overrun", "malformed", "too large"],
)
def test_what_is_no_packet_of_a_track_is_dropped_and_counted(message):
    stage = Stage("ann", "bob")
    sid, _ = publish(stage.room, stage["ann"], "t")
    subscribe(stage.room, stage["bob"], sid)
    stage.forwarder.track_packet(stage["ann"], message)
    assert stage.peers["bob"].sent == []
    assert stage.forwarder.counters.bad_packets == 1


def test_extensions_pass_unchanged():
    stage = Stage("ann", "bob")
    sid, _ = publish(stage.room, stage["ann"], "t")
    subscribe(stage.room, stage["bob"], sid)
    stage.forwarder.track_packet(stage["ann"], encode(Packet(SINGLE, 1, 5, 6, 7, 1234567890123, None, b"hi")))
    (got,) = stage.peers["bob"].take("_data_track")
    assert decode(got)[2:] == (5, 6, 7, 1234567890123, None, b"hi")


def test_a_subscriber_whose_channel_is_not_open_loses_packets():
    stage = Stage("ann")
    bob = stage.enter("bob", channels=("_reliable",))
    cem = stage.enter("cem")
    cem.downlink = None
    sid, _ = publish(stage.room, stage["ann"], "t")
    subscribe(stage.room, bob, sid)
    subscribe(stage.room, cem, sid)
    stage.forwarder.track_packet(stage["ann"], track_packet())
    assert stage.forwarder.counters.track_packets_dropped == 2
    bob.downlink.channel_opened(stage.peers["bob"], "_data_track", CHANNELS["_data_track"])
    stage.forwarder.track_packet(stage["ann"], track_packet(sequence=1))
    assert len(stage.peers["bob"].take("_data_track")) == 1
    bob.downlink.channel_closed(CHANNELS["_data_track"])
    stage.forwarder.track_packet(stage["ann"], track_packet(sequence=2))
    assert stage.forwarder.counters.track_packets_dropped == 2 + 1 + 2


class Slow:
    """One subscriber whose backlog the test sets; frames of three packets."""

    def __init__(self) -> None:
        self.stage = Stage("ann", "bob", downlink_start_bytes=100, downlink_bytes=1000)
        sid, _ = publish(self.stage.room, self.stage["ann"], "t")
        subscribe(self.stage.room, self.stage["bob"], sid)
        self.peer = self.stage.peers["bob"]
        self.subscription = self.stage["bob"].subscriptions[sid]

    def send(self, frame: int, marker: int, backlog: int) -> bool:
        """Whether a packet got through."""
        self.peer.buffered = backlog
        self.stage.forwarder.track_packet(self.stage["ann"], track_packet(marker=marker, frame=frame))
        return bool(self.peer.take("_data_track"))


def test_a_frame_is_begun_only_while_little_waits_and_then_continued():
    slow = Slow()
    assert [slow.send(1, START, 100), slow.send(1, INTER, 900), slow.send(1, FINAL, 1000)] == [True] * 3
    assert [slow.send(2, START, 101), slow.send(2, INTER, 0), slow.send(2, FINAL, 0)] == [False] * 3
    assert slow.send(3, START, 0)
    assert (slow.subscription.frames_dropped, slow.subscription.packets_dropped) == (1, 3)


def test_a_frame_that_lost_a_packet_is_not_continued():
    slow = Slow()
    assert [slow.send(1, START, 0), slow.send(1, INTER, 1001), slow.send(1, INTER, 0), slow.send(1, FINAL, 0)] == [
        True, False, False, False,
    ]  # fmt: skip
    assert slow.subscription.frames_dropped == 1


def test_a_frame_number_that_comes_round_again_is_a_new_frame():
    slow = Slow()
    assert not slow.send(1, START, 101)
    assert slow.send(1, START, 0)
    assert slow.send(1, FINAL, 0)
    assert not slow.send(2, SINGLE, 101)
    assert slow.send(2, INTER, 0)


# --- user packets -----------------------------------------------------------------------------------------------------


def test_a_packet_goes_to_everyone_but_its_sender_with_the_true_sender_in_it():
    stage = Stage("ann", "bob", "cem")
    forged = models.DataPacket(
        kind=models.DataPacket.LOSSY, participant_identity="cem", participant_sid="PA_forged", sequence=1,
        user=models.UserPacket(payload=b"hi", topic="t", participant_identity="cem", participant_sid="PA_forged"),
    )  # fmt: skip
    stage.say("ann", forged.SerializeToString())
    for identity in ("bob", "cem"):
        (packet,) = stage.packets(identity)
        assert (packet.participant_identity, packet.participant_sid) == ("ann", stage["ann"].sid)
        assert (packet.user.participant_identity, packet.user.participant_sid) == ("ann", stage["ann"].sid)
        assert (packet.user.payload, packet.user.topic, packet.sequence) == (b"hi", "t", 1)
        assert packet.kind == models.DataPacket.RELIABLE
    assert stage.packets("ann") == []


def test_lossy_packets_travel_on_the_lossy_channel():
    stage = Stage("ann", "bob")
    stage.say("ann", encode_user_packet(b"hi"), reliable=False)
    (packet,) = stage.packets("bob", "_lossy")
    assert packet.kind == models.DataPacket.LOSSY


def test_destinations_are_honoured_and_the_sender_is_never_echoed():
    stage = Stage("ann", "bob", "cem")
    stage.say("ann", encode_user_packet(b"hi", destination_identities=["bob", "ann", "nobody", "bob"]))
    assert [len(stage.packets(identity)) for identity in ("ann", "bob", "cem")] == [0, 1, 0]
    old = models.UserPacket(payload=b"hi", destination_sids=[stage["cem"].sid])
    stage.say("ann", models.DataPacket(user=old).SerializeToString())
    assert [len(stage.packets(identity)) for identity in ("ann", "bob", "cem")] == [0, 0, 1]


def test_hidden_senders_stay_nameless():
    stage = Stage("bob")
    spy = stage.enter("spy", permission=m.Permission(hidden=True))
    stage.say("spy", encode_user_packet(b"hi"))
    (packet,) = stage.packets("bob")
    assert (packet.participant_identity, packet.participant_sid) == ("", spy.sid)


def test_repeats_after_a_resume_are_dropped_and_unsequenced_packets_are_not():
    stage = Stage("ann", "bob")
    for sequence in (1, 3, 3, 2, 0, 4):
        stage.say("ann", models.DataPacket(sequence=sequence, user=models.UserPacket()).SerializeToString())
    assert [packet.sequence for packet in stage.packets("bob")] == [1, 3, 0, 4]
    assert stage["ann"].last_sequence == 4


@pytest.mark.parametrize(
    ("packet", "permission"),
    [
        (b"\xff\xff\xff", m.Permission()),
        (encode_user_packet(bytes(65_536)), m.Permission()),
        (encode_user_packet(b"hi"), m.Permission(can_publish_data=False)),
        (models.DataPacket(transcription=models.Transcription()).SerializeToString(), m.Permission()),
        (models.DataPacket(metrics={}).SerializeToString(), m.Permission()),
    ],
    ids=["garbage", "too large", "not allowed", "transcription", "metrics"],
)
def test_what_is_not_passed_on(packet, permission):
    stage = Stage("bob")
    stage.enter("ann", permission=permission)
    stage.say("ann", packet)
    assert stage.peers["bob"].sent == []


def test_agents_may_transcribe():
    stage = Stage("bob")
    stage.enter("agent", kind=m.ParticipantKind.AGENT)
    stage.say("agent", models.DataPacket(transcription=models.Transcription()).SerializeToString())
    assert len(stage.packets("bob")) == 1


def numbered(payload: bytes, sequence: int, nonce: bytes = b"") -> bytes:
    return models.DataPacket(
        user=models.UserPacket(payload=payload, nonce=nonce), sequence=sequence
    ).SerializeToString()


def test_numbered_packets_wait_for_a_client_that_is_connecting_and_others_do_not():
    stage = Stage("ann", early_bytes=1000)
    bob = stage.enter("bob", channels=())
    stage.say("ann", numbered(b"one", 1))
    stage.say("ann", encode_user_packet(b"no number"))
    stage.say("ann", encode_user_packet(b"lossy"), reliable=False)
    stage.say("ann", numbered(bytes(1000), 2))
    assert stage.forwarder.counters.user_packets_dropped == 3
    bob.downlink.channel_opened(stage.peers["bob"], "_reliable", CHANNELS["_reliable"])
    assert [packet.user.payload for packet in stage.packets("bob")] == [b"one"]


def test_a_message_is_known_by_its_nonce_whoever_repeats_it():
    stage = Stage("ann", "bob", "cyd")
    for sender, name in (("ann", b"1"), ("ann", b"2"), ("ann", b"1"), ("cyd", b"2")):
        stage.say(sender, numbered(name, 0, name * 16))
    for name in (b"3", b"3"):
        stage.say("ann", numbered(name, 0, name))  # too short to be one
    assert [packet.user.payload for packet in stage.packets("bob")] == [b"1", b"2", b"3", b"3"]
    for number in range(100):
        stage.say("ann", numbered(b"", 0, number.to_bytes(16, "big")))
    stage.say("ann", numbered(b"again", 0, b"1" * 16))
    assert stage.packets("bob")[-1].user.payload == b"again"  # a hundred others have been seen since


def test_a_client_too_far_behind_loses_lossy_packets():
    stage = Stage("ann", "bob", reliable_bytes=100, downlink_start_bytes=10)
    stage.peers["bob"].buffered = 50
    stage.say("ann", encode_user_packet(b"kept"))
    stage.say("ann", encode_user_packet(b"lost"), reliable=False)
    assert [packet.user.payload for packet in stage.packets("bob")] == [b"kept"]
    assert stage.forwarder.counters.user_packets_dropped == 1


def behind(*others: str, stall_s: float = 10) -> Stage:
    """Bob is behind; ann and dan have sent to him, the others not."""
    stage = Stage("ann", "bob", "dan", *others, reliable_bytes=100, reliable_limit_bytes=1000, reliable_stall_s=stall_s)
    assert stage.peers["bob"].low_water == (CHANNELS["_reliable"], 50)
    stage.peers["bob"].buffered = 101
    for sender in ("ann", "dan"):
        stage.say(sender, encode_user_packet(b"kept", destination_identities=["bob"]))
    return stage


def test_who_sends_reliable_packets_to_a_client_too_far_behind_is_held_up_and_nobody_else():
    stage = behind("eve")
    for name in ("ann", "dan", "eve"):
        stage[name].uplink.took(100_000)
    assert stage.given_back == [100_000]
    assert [stage[name].uplink.is_held for name in ("ann", "dan", "eve")] == [True, True, False]
    stage["bob"].downlink.channel_drained(CHANNELS["_reliable"])
    assert stage.given_back == [100_000] * 3
    assert [packet.user.payload for packet in stage.packets("bob")] == [b"kept"] * 2
    assert not stage.forwarder.counters.user_packets_dropped


def test_the_window_is_given_back_in_portions():
    stage = Stage("ann")
    for _ in range(5):
        stage["ann"].uplink.took(30_000)
    assert stage.given_back == [90_000]


def test_whoever_two_clients_hold_up_waits_for_both():
    stage = behind()
    stage.peers["dan"].buffered = 101
    stage.say("ann", encode_user_packet(b"to all"))
    stage["bob"].downlink.channel_drained(CHANNELS["_reliable"])
    assert stage["ann"].uplink.is_held
    stage["dan"].downlink.channel_drained(CHANNELS["_reliable"])
    assert not stage["ann"].uplink.is_held


@pytest.mark.parametrize("how", ["its channel is closed", "its connection is gone"])
def test_a_client_that_goes_holds_up_nobody(how):
    stage = behind()
    downlink = stage["bob"].downlink
    downlink.channel_closed(CHANNELS["_reliable"]) if how == "its channel is closed" else downlink.detach()
    assert not stage["ann"].uplink.is_held
    assert not stage["dan"].uplink.is_held


def test_a_client_that_takes_nothing_is_given_up_until_it_does():
    stage = behind(stall_s=10)
    peer, downlink = stage.peers["bob"], stage["bob"].downlink
    downlink.check_progress(0)
    peer.buffered -= 0.5  # half a byte is progress, too
    downlink.check_progress(9)
    downlink.check_progress(18)
    assert stage["ann"].uplink.is_held
    downlink.check_progress(19)
    assert not stage["ann"].uplink.is_held
    peer.take("_reliable")
    peer.buffered = 101
    stage.say("ann", encode_user_packet(b"lost"))
    assert not stage["ann"].uplink.is_held
    assert stage.forwarder.counters.user_packets_dropped == 1
    downlink.channel_drained(CHANNELS["_reliable"])
    stage.say("ann", encode_user_packet(b"kept"))
    assert [packet.user.payload for packet in stage.packets("bob")] == [b"kept"]
    assert stage["ann"].uplink.is_held


def test_what_many_senders_had_on_their_way_is_bounded():
    stage = behind()
    stage.peers["bob"].buffered = 1001
    stage.say("ann", encode_user_packet(b"lost", destination_identities=["bob"]))
    assert stage.forwarder.counters.user_packets_dropped == 1


def test_other_channels_are_wrapped():
    stage = Stage("ann", "bob")
    stage.forwarder.raw_message(stage.room, stage["ann"], b"raw")
    (packet,) = stage.packets("bob")
    assert (packet.user.payload, packet.participant_identity, packet.participant_sid) == (b"raw", "ann", "")


def test_the_server_speaks_without_a_name():
    stage = Stage("ann", "bob")
    stage.forwarder.server_packet(stage.room.members.values(), encode_user_packet(b"all", topic="t"), reliable=True)
    for identity in ("ann", "bob"):
        (packet,) = stage.packets(identity)
        assert (packet.user.payload, packet.user.topic, packet.participant_identity) == (b"all", "t", "")


@pytest.mark.parametrize("error", [TransportError("closing"), ValueError("too large")])
def test_what_cannot_be_sent_to_one_still_reaches_the_others(error):
    stage = Stage("ann", "bob", "cem")
    sid, _ = publish(stage.room, stage["ann"], "t")
    for identity in ("bob", "cem"):
        subscribe(stage.room, stage[identity], sid)
    stage.peers["bob"].error = error
    stage.forwarder.track_packet(stage["ann"], track_packet())
    assert len(stage.peers["cem"].take("_data_track")) == 1
    stage.say("ann", encode_user_packet(b"hi"))
    assert len(stage.packets("cem")) == 1
    counters = stage.forwarder.counters
    assert (counters.track_packets_dropped, counters.user_packets_dropped) == (1, 1)

from __future__ import annotations

import pytest

from tests.sansio.sctp.harness import chunks_of
from trio_livekit._sansio.channels import (
    AssociationLost,
    AssociationUp,
    BufferedAmountLow,
    ChannelClosed,
    ChannelConfig,
    ChannelOpened,
    DataChannels,
    MessageReceived,
)
from trio_livekit._sansio.dtls.roles import Role
from trio_livekit._sansio.sctp import Association, Config
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit.errors import TransportError
from trio_livekit.testing.pair import LinkModel, Pair, seeded_random_bytes

ChannelPair = Pair[DataChannels, DataChannels]


def joined(link: LinkModel | None = None, *, seed: int = 1, config: Config | None = None) -> ChannelPair:
    """Two ends: `a` is the DTLS client, `b` the server."""
    a, b = (
        DataChannels(Association(random_bytes=seeded_random_bytes(seed + n), config=config or Config()), dtls_role=role)
        for n, role in ((0, Role.CLIENT), (1000, Role.SERVER))
    )
    pair = Pair(a, b, link=link or LinkModel(delay_s=0.01), seed=seed)
    a.connect(pair.now)
    b.connect(pair.now)
    return pair


def of(events: list, kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def contents(events: list) -> list[bytes]:
    return [event.data for event in of(events, MessageReceived)]


def test_livekit_s_channels_get_even_ids_from_the_client_and_odd_ones_from_the_server():
    pair = joined()
    ours = [pair.a.open(label, now=pair.now) for label in ("_reliable", "_lossy", "_data_track")]
    theirs = [pair.b.open(label, now=pair.now) for label in ("_reliable", "_lossy", "_data_track")]
    assert (ours, theirs) == ([0, 2, 4], [1, 3, 5])
    pair.run_until_idle()
    assert pair.a_events[0] == AssociationUp()
    assert {(e.channel_id, e.label, e.remote) for e in of(pair.a_events, ChannelOpened)} == {
        (0, "_reliable", False), (2, "_lossy", False), (4, "_data_track", False),
        (1, "_reliable", True), (3, "_lossy", True), (5, "_data_track", True),
    }  # fmt: skip


def test_everything_about_a_channel_reaches_the_other_side():
    pair = joined()
    pair.a.open("x", ordered=False, max_retransmits=3, protocol="proto", now=pair.now)
    pair.a.open("ÿ", lifetime_ms=1500, now=pair.now)
    pair.run_until_idle()
    assert sorted(of(pair.b_events, ChannelOpened), key=lambda event: event.channel_id) == [
        ChannelOpened(0, "x", "proto", False, 3, None, True),
        ChannelOpened(2, "ÿ", "", True, None, 1500, True),
    ]


def test_strings_bytes_and_nothing():
    pair = joined()
    channel = pair.a.open("x", now=pair.now)
    sent = [(b"", True), (b"", False), (b"text", True), (b"bytes", False), (b"\0", False), (b"\0", True)]
    for data, text in sent:
        pair.a.send(channel, data, text=text, now=pair.now)
    pair.run_until_idle()
    assert [(m.data, m.text) for m in of(pair.b_events, MessageReceived)] == sent


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_data_before_the_acknowledgement_never_overtakes_the_open(ordered: bool, seed: int):
    pair = joined(LinkModel(delay_s=0.01, jitter_s=0.05, loss=0.2), seed=seed)
    channel = pair.a.open("x", ordered=ordered, now=pair.now)
    for n in range(10):
        pair.a.send(channel, b"%d" % n, now=pair.now)
    pair.run_until_idle()
    assert contents(pair.b_events) == [b"%d" % n for n in range(10)]
    assert pair.b_events.index(of(pair.b_events, ChannelOpened)[0]) < pair.b_events.index(
        of(pair.b_events, MessageReceived)[0]
    )
    assert len(of(pair.a_events, ChannelOpened)) == 1


def test_an_unordered_channel_is_unordered_once_it_is_acknowledged():
    pair = joined()
    channel = pair.a.open("x", ordered=False, max_retransmits=0, now=pair.now)
    pair.run_until_idle()
    pair.a_to_b.log = log = []
    pair.a.send(channel, b"data", now=pair.now)
    pair.run_until_idle()
    [flags] = [flags for _, packet in log for kind, flags, _ in chunks_of(packet) if kind == c.DATA]
    assert flags & c.FLAG_UNORDERED


def test_the_first_message_needs_one_and_a_half_round_trips():
    pair = joined(LinkModel(delay_s=0.1))
    channel = pair.a.open("x", now=pair.now)
    pair.a.send(channel, b"hello", now=pair.now)
    pair.run_until(lambda: contents(pair.b_events))
    assert pair.now == pytest.approx(1000.3)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_close_delivers_what_is_queued_and_frees_the_id(both: bool, seed: int):
    pair = joined(LinkModel(delay_s=0.01, loss=0.2 if seed else 0), seed=seed)
    channel = pair.a.open("x", now=pair.now)
    pair.run_until(lambda: of(pair.b_events, ChannelOpened))
    pair.a.send(channel, bytes(50_000), now=pair.now)
    pair.a.close(channel, pair.now)
    pair.a.close(channel, pair.now)
    if both:
        pair.b.close(channel, pair.now)
    with pytest.raises(TransportError):
        pair.a.send(channel, b"late", now=pair.now)
    pair.run_until(lambda: ChannelClosed(channel) in pair.a_events)
    again = pair.a.open("y", now=pair.now)
    assert again == channel
    pair.a.send(again, b"new life", now=pair.now)
    pair.run_until_idle()
    assert ChannelClosed(channel) in pair.b_events
    assert [event.label for event in of(pair.b_events, ChannelOpened)] == ["x", "y"]
    assert contents(pair.b_events)[-1] == b"new life"
    if not both:
        assert contents(pair.b_events) == [bytes(50_000), b"new life"]


def test_ids_are_reused_many_times():
    pair = joined(LinkModel(delay_s=0.01, loss=0.1, jitter_s=0.02), seed=5)
    for n in range(15):
        channel = pair.a.open(f"n{n}", now=pair.now)
        assert channel == 0
        pair.a.send(channel, b"%d" % n, now=pair.now)
        pair.a.close(channel, pair.now)
        pair.run_until(lambda n=n: len(of(pair.a_events, ChannelClosed)) == n + 1)
    pair.run_until_idle()
    assert contents(pair.b_events) == [b"%d" % n for n in range(15)]
    assert len(of(pair.b_events, ChannelClosed)) == 15


def test_close_before_the_association_is_up():
    pair = joined()
    channel = pair.a.open("x", now=pair.now)
    pair.a.send(channel, b"one", now=pair.now)
    pair.a.close(channel, pair.now)
    pair.run_until_idle()
    assert contents(pair.b_events) == [b"one"]
    assert ChannelClosed(channel) in pair.a_events
    assert ChannelClosed(channel) in pair.b_events


def test_losing_the_association_closes_every_channel():
    pair = joined()
    ids = [pair.a.open(label, now=pair.now) for label in "xyz"]
    pair.run_until_idle()
    pair.b.abort(pair.now, "gone")
    pair.run_until_idle()
    for events in (pair.a_events, pair.b_events):
        assert [event.channel_id for event in of(events, ChannelClosed)] == ids
        assert isinstance(events[-1], AssociationLost)
    with pytest.raises(TransportError):
        pair.a.send(ids[0], b"x", now=pair.now)
    with pytest.raises(TransportError):
        pair.a.open("w", now=pair.now)


def test_buffered_amount_low():
    pair = joined(LinkModel(delay_s=0.02, rate_bps=8e6))
    channel = pair.a.open("x", now=pair.now)
    pair.a.set_low_water(channel, 100_000)
    pair.run_until_idle()
    for _ in range(10):
        pair.a.send(channel, bytes(50_000), now=pair.now)
    assert pair.a.buffered_amount(channel) == 500_000
    pair.run_until(lambda: of(pair.a_events, BufferedAmountLow))
    assert 0 < pair.a.buffered_amount(channel) <= 100_000
    pair.run_until_idle()
    assert of(pair.a_events, BufferedAmountLow) == [BufferedAmountLow(channel)]


def test_only_reliable_messages_hold_the_peer_back():
    """With a manual window, lossy messages and DCEP never need ``consume``."""
    pair = joined(config=Config(manual_window=True, receive_window=200_000))
    lossy = pair.a.open("lossy", ordered=False, max_retransmits=0, now=pair.now)
    reliable = pair.a.open("reliable", now=pair.now)
    pair.run_until_idle()
    for _ in range(50):
        pair.a.send(lossy, bytes(10_000), now=pair.now)
        pair.run_until_idle()
    assert len(contents(pair.b_events)) == 50
    assert pair.b.statistics().held == 0
    pair.a.send(reliable, bytes(10_000), now=pair.now)
    pair.a.send(reliable, b"", now=pair.now)
    pair.run_until_idle()
    assert pair.b.statistics().held == 10_000
    pair.b.consume(10_000)
    assert pair.b.statistics().held == 0


def test_a_saturating_lossy_channel_does_not_starve_a_reliable_one():
    pair = joined(LinkModel(delay_s=0.02, rate_bps=4e6, queue_bytes=30_000))
    lossy = pair.a.open("lossy", ordered=False, max_retransmits=0, now=pair.now)
    reliable = pair.a.open("reliable", now=pair.now)
    pair.run_until_idle()
    for n in range(40):
        for _ in range(5):
            pair.a.send(lossy, bytes(30_000), now=pair.now)
        pair.a.send(reliable, b"%d" % n, now=pair.now)
        pair.run(0.05)
    assert len([m for m in of(pair.b_events, MessageReceived) if m.channel_id == reliable]) >= 36


def test_id_space_and_channel_cap():
    pair = joined()
    table = DataChannels(
        Association(random_bytes=seeded_random_bytes(3)), dtls_role=Role.SERVER, config=ChannelConfig(max_channels=4)
    )
    assert [table.open(str(n), now=0.0) for n in range(8)] == [1, 3, 5, 7, 9, 11, 13, 15]
    with pytest.raises(TransportError):
        table.open("one too many", now=0.0)
    with pytest.raises(ValueError, match="not both"):
        pair.a.open("x", max_retransmits=1, lifetime_ms=1, now=pair.now)
    with pytest.raises(TransportError):
        pair.a.send(77, b"x", now=pair.now)

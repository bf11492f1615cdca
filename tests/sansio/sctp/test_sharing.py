"""Who gets how much of a link: flows beside each other, and channels of one association."""

from __future__ import annotations

from statistics import quantiles

import pytest

from tests.sansio.sctp.bottleneck import Bottleneck, Flow, jain
from trio_livekit._sansio.tracks.packetizer import fitting_packet_size
from trio_livekit.testing.pair import LinkModel


def share(first: Flow, second: Flow, model: LinkModel) -> list[float]:
    """Bytes per second of two flows, of which the second begins five seconds later."""
    net = Bottleneck(model)
    for flow in (first, second):
        flow.feed = flow.saturate
    net.add(first)
    net.run(5)
    net.add(second)
    net.run(5)
    before = first.received, second.received
    net.run(12)
    return [(flow.received - bytes_before) / 12 for flow, bytes_before in zip((first, second), before, strict=True)]


@pytest.mark.parametrize(
    "model",
    [
        LinkModel(delay_s=0.02, rate_bps=4e6, queue_bytes=20_000),
        LinkModel(delay_s=0.05, rate_bps=4e6, queue_bytes=50_000),
        LinkModel(delay_s=0.05, rate_bps=4e6, queue_bytes=15_000),
        LinkModel(delay_s=0.02, rate_bps=4e6, queue_bytes=128_000),
    ],
    ids=["one round trip of queue", "a longer path", "a short queue", "bufferbloat"],
)
def test_two_flows_share_a_link_fairly(model: LinkModel):
    shares = share(Flow(1), Flow(100), model)
    assert jain(shares) > 0.9
    assert sum(shares) > 0.9 * 4e6 / 8


@pytest.mark.parametrize("newcomer", ["adaptive", "newreno"])
@pytest.mark.parametrize(
    "model",
    [
        LinkModel(delay_s=0.02, rate_bps=4e6, queue_bytes=40_000),
        LinkModel(delay_s=0.05, rate_bps=4e6, queue_bytes=17_000),
    ],
    ids=["two round trips of queue", "a third of one"],
)
def test_newreno_gets_its_share_too(newcomer: str, model: LinkModel):
    other = {"adaptive": "newreno", "newreno": "adaptive"}[newcomer]
    assert jain(share(Flow(1, congestion=other), Flow(100, congestion=newcomer), model)) > 0.9


def round_trips(model: LinkModel, *, saturating: bool) -> tuple[list[float], float]:
    """Of reliable messages of 200 bytes every 100 ms, and how much of the link a stream of frames has beside them."""
    net, flow = Bottleneck(model), Flow(1)

    def frames(now: float) -> None:
        polite = flow.a.polite_amount
        while flow.a.unsent_amount(2) < min(64 * 1024, polite):  # as the queue of data tracks does
            flow.a.send(2, 53, bytes(fitting_packet_size(polite)), now=now, ordered=False, max_retransmits=0)

    if saturating:
        flow.feed = frames
    net.add(flow)
    net.run(2)
    sent: list[float] = []
    for number in range(80):
        sent.append(net.now)
        flow.a.send(1, 53, b"%06d" % number + bytes(194), now=net.now)
        net.run(0.1)
    net.run(1)
    arrivals = [(at, int(event.data[:6])) for at, event in flow.arrived if event.stream_id == 1]
    assert len(arrivals) == 80
    taken = sum(len(event.data) for _, event in flow.arrived if event.stream_id == 2) / 11
    return [at - sent[number] + model.delay_s for at, number in arrivals], taken * 8 / (model.rate_bps or 1)


@pytest.mark.parametrize(
    "model",
    [
        LinkModel(delay_s=0.01, rate_bps=20e6),
        LinkModel(delay_s=0.02, rate_bps=1e6),
        LinkModel(delay_s=0.02, rate_bps=2e6),
        LinkModel(delay_s=0.02, rate_bps=8e6),
        LinkModel(delay_s=0.05, rate_bps=8e6),
        LinkModel(delay_s=0.05, rate_bps=8e6, queue_bytes=60_000),
    ],
    ids=["20 ms", "1 Mbit/s", "2 Mbit/s", "40 ms", "100 ms", "100 ms and a shorter queue"],
)
def test_a_saturating_data_track_does_not_double_the_round_trip_of_reliable_messages(model: LinkModel):
    """The link's queue holds 256 kB, a quarter of a second: a sender that knows no better would fill it."""
    alone, _ = round_trips(model, saturating=False)
    beside, share_of_link = round_trips(model, saturating=True)
    assert quantiles(beside, n=20)[-1] < 2 * quantiles(alone, n=20)[-1]  # the 95th percentile
    assert share_of_link > 0.85


def test_a_message_begun_is_not_taken_back():
    """What comes meanwhile waits for its end, and for no more than that."""
    net, flow = Bottleneck(LinkModel(delay_s=0.05, rate_bps=8e6)), Flow(1)
    net.add(flow)
    net.run(1)
    flow.a.send(1, 53, bytes(60_000), now=net.now)
    flow.a.send(1, 53, bytes(60_000), now=net.now)
    net.run(0.001)
    flow.a.send(2, 53, b"small", now=net.now)
    net.run(2)
    assert [len(event.data) for _, event in flow.arrived] == [60_000, 5, 60_000]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_path_that_becomes_longer_is_not_taken_for_a_queue(is_told: bool):
    """Told by ICE, at once; else as soon as the delay stays though next to nothing is sent."""
    net, flow = Bottleneck(LinkModel(delay_s=0.002)), Flow(1)
    net.add(flow)
    flow.a.send(2, 53, bytes(50_000), now=net.now)
    net.run(1)
    net.up.model = net.down.model = LinkModel(delay_s=0.25)
    if is_told:
        flow.a.on_path_recovered(net.now, round_trip_s=0.5)
        flow.b.on_path_recovered(net.now, round_trip_s=0.5)
    sent: dict[int, float] = {}
    for number in range(500):
        sent[number] = net.now
        flow.a.send(2, 53, number.to_bytes(4, "big") + bytes(3000), now=net.now, ordered=False, max_retransmits=0)
        net.run(0.05)
    net.run(1)
    late = {int.from_bytes(event.data[:4], "big"): at for at, event in flow.arrived if len(event.data) == 3004}
    assert len(late) == 500 if is_told else len(late) > 400
    assert max(late[number] - sent[number] for number in late if number >= 400) < 0.3


@pytest.mark.parametrize(
    ("delay_s", "max_retransmits", "fits"),
    [(0.0002, 0, True), (0.0002, None, False), (0.01, 0, False)],
    ids=["nearby", "reliable", "further away"],
)
def test_frames_do_not_overflow_the_socket_of_a_peer_nearby(delay_s: float, max_retransmits: int | None, fits: bool):
    """A usual one holds some 90 packets, and nothing reads them while the process does not get to run."""
    net, flow = Bottleneck(LinkModel(delay_s=delay_s)), Flow(1)

    def frames(now: float) -> None:
        while flow.a.unsent_amount(2) < 256 * 1024:
            flow.a.send(2, 53, bytes(16 * 1024), now=now, ordered=False, max_retransmits=max_retransmits)

    flow.feed = frames
    net.add(flow)
    most = 0
    for _ in range(50):
        net.run(delay_s)
        most = max(most, flow.a.statistics().flight)
    assert (most < 66 * 1200) is fits

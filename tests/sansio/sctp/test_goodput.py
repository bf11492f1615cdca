"""How fast it goes, in virtual time: exact numbers that no machine can change."""

from __future__ import annotations

import pytest

from tests.sansio.sctp.harness import joined, messages
from trio_livekit._sansio.sctp.tx.congestion import Adaptive, NewReno, make_controller
from trio_livekit._sansio.sctp.tx.rto import RtoEstimator
from trio_livekit.testing.pair import LinkModel

MB = 1e6


def goodput(link: LinkModel, *, seconds: float, seed: int = 1, **config: object) -> float:
    """Bytes per second of a transfer that never runs out of data."""
    pair = joined(link, seed=seed, **config)
    end = pair.now + seconds
    received, going = 0, True
    while going:
        while pair.a.total_buffered < 4 * MB:
            pair.a.send(0, 53, bytes(16384), now=pair.now)
        going = pair.step(end)
        received += sum(map(len, messages(pair.b_events)))
        pair.b_events.clear()
    return received / seconds


@pytest.mark.parametrize(("loss", "reno"), [(0.001, 0.45), (0.01, 0.14), (0.03, 0.08)])
def test_random_loss_at_100_ms_costs_far_less_than_reno_pays(loss: float, reno: float):
    """Reno's law, 1.22 * 1160 bytes / (100 ms * sqrt(loss)), is the yardstick: `reno` in MB/s."""
    link = LinkModel(delay_s=0.05, loss=loss, rate_bps=80e6)
    assert goodput(link, seconds=4) > 2.5 * reno * MB


def test_newreno_follows_reno_s_law():
    rate = goodput(LinkModel(delay_s=0.05, loss=0.01, rate_bps=80e6), seconds=12, congestion="newreno")
    assert 0.07 * MB < rate < 0.28 * MB


@pytest.mark.parametrize(("queue", "share"), [(20_000, 0.75), (100_000, 0.85)])
def test_a_slow_link_is_filled(queue: int, share: float):
    """Who halves the window when a queue of a fifth of it is full leaves some of the link to others, to be fair."""
    rate = goodput(LinkModel(delay_s=0.05, rate_bps=8e6, queue_bytes=queue), seconds=5)
    assert rate > share * MB


def test_jitter_does_not_collapse_the_window():
    rate = goodput(LinkModel(delay_s=0.115, jitter_s=0.02, rate_bps=16e6), seconds=6)
    assert rate > 1.0 * MB


def test_reordering_by_twice_the_round_trip_does_not_either():
    rate = goodput(LinkModel(delay_s=0.005, reorder=0.1, rate_bps=16e6), seconds=2)
    assert rate > 1.5 * MB


def test_growth_needs_a_full_window():
    controller = NewReno(1000, 10, 1 << 20)
    rto = RtoEstimator(0.5, 0.25, 5.0)
    controller.on_acked(1000, 4000, 1.0, rto, recovering=False)
    assert controller.cwnd == 10_000
    controller.on_acked(1000, 6000, 1.0, rto, recovering=False)
    assert controller.cwnd == 11_000
    controller.on_acked(1000, 6000, 1.0, rto, recovering=True)
    assert controller.cwnd == 11_000


@pytest.mark.parametrize("kind", [NewReno, Adaptive])
def test_reductions_and_their_undoing(kind: type[NewReno]):
    rto = RtoEstimator(0.5, 0.25, 5.0)
    rto.sample(0.1, 1.0)
    controller = kind(1000, 100, 1 << 20)
    controller.on_loss(100_000, 1.0, rto)
    assert controller.cwnd == controller.ssthresh == 50_000
    controller.undo()
    assert (controller.cwnd, controller.ssthresh) == (100_000, 1 << 20)
    controller.on_timeout(100_000)
    assert (controller.cwnd, controller.ssthresh) == (1000, 50_000)
    controller.on_path_recovered()
    assert controller.cwnd == 100_000
    assert make_controller("newreno", 1000, 10, 5).cwnd == 10_000


def test_loss_behind_a_queue_shrinks_to_what_the_path_carries():
    """The rate was 1 MB/s over 100 ms: a window of 300 kB had filled a queue, and 150 kB is what is left of it."""
    rto = RtoEstimator(0.5, 0.25, 5.0)
    controller = Adaptive(1000, 300, 1 << 20)
    now = 0.0
    for _ in range(20):
        now += 0.1
        rto.sample(0.1, now)
        controller.on_acked(100_000, 10, now, rto, recovering=False)
    controller.on_loss(300_000, now, rto)
    assert controller.cwnd == 150_000
    random_loss = Adaptive(1000, 101, 1 << 20)
    now = 0.0
    for _ in range(20):
        now += 0.1
        random_loss.on_acked(100_000, 10, now, rto, recovering=False)
    random_loss.on_loss(100_000, now, rto)
    assert random_loss.cwnd == pytest.approx(100_000, rel=0.02)


def test_rto_follows_rfc_9260_with_our_floor_and_cap():
    rto = RtoEstimator(0.5, 0.25, 5.0)
    assert rto.current == 0.5
    rto.sample(0.1, 1.0)
    assert (rto.srtt, rto.rttvar) == (0.1, 0.05)
    assert rto.current == pytest.approx(0.35)  # 4 * 0.05 is below the floor of 0.25
    rto.sample(0.3, 1.1)
    assert rto.srtt == pytest.approx(0.125)
    assert rto.rttvar == pytest.approx(0.0875)
    assert rto.current == pytest.approx(0.125 + 4 * 0.0875)
    for _ in range(10):
        rto.back_off()
    assert rto.current == 5.0
    rto.sample(0.1, 1.2)
    assert rto.current < 0.6
    assert rto.min_rtt == 0.1
    rto.sample(0.2, 40.0)
    rto.sample(0.2, 80.0)
    assert rto.min_rtt == 0.2  # the old minimum was of another path

"""How much may be in flight: congestion controllers behind one small interface.

A controller sees bytes acknowledged, losses (once per window of data) and timeouts, and answers with ``cwnd``.
``NewReno`` is RFC 9260 section 7.2 and the yardstick of the tests.
"""

from __future__ import annotations

__all__ = ["Adaptive", "CongestionController", "NewReno", "make_controller"]

import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .rto import RtoEstimator

MIN_WINDOW_PACKETS = 4
UNLIMITED = 1 << 40

RATE_ROUNDS = 8
"""Rounds over which the best delivery rate counts."""

QUIET_GROWTH = 1 / 24
"""Share of the window added per round trip while no queue shows: more than 3 % random loss takes away."""

QUEUE_SHARE = 1 / 8
QUEUE_SLACK_S = 0.004
"""A round's least delay counts as a queue when it is above the path's minimum by this share of it, plus this, plus
twice the variation: a queue grows smoothly, and jitter is not a queue."""


POLITE_SHARE = 1 / 4
POLITE_SLACK_S = 0.015
"""The queue that messages which may be lost are allowed to build: this share of the path's least delay, or this.
The delay of a busy machine has to fit into it, else it would be taken for a queue of the network."""

POLITE_MIN_PACKETS = 7
FRESH_MIN_PACKETS = 4
"""What may be on the way in any case, of messages that may be lost and of all."""

POLITE_GROWTH = 1 / 8

FRESH_QUEUE_S = 0.1
"""The queue that anything at all may build while messages that may be lost are about: they would be old behind more."""

NEAR_S = 0.002
NEAR_PACKETS = 64
"""On a path as short as this (the same machine, the same room) more than so much on its way waits in the buffer of the
peer's socket, and of a usual one (208 KiB on Linux, where a packet takes 2.3) what is beyond is dropped while the peer
does not get to run. A frame of many packets would be lost for one of them."""

LITTLE_PACKETS = 4
STALE_ROUNDS = 4
"""Delay that is there though next to nothing is sent, for so many rounds, is not our queue if less makes no difference:
the path became longer, or others fill it, or what comes back waits. Then what was known of the path is forgotten."""

KEPT_ROUNDS = 2
"""A queue is tested once it is long, or was there for so many rounds: on a link that is busy, but not too narrow, there
is one now and then, and none in between, and sending less would only make one."""

TEST_ROUNDS = 3
TEST_PACKETS = 2
TESTED_SHARE = 0.75
"""To see whether a queue is ours, a third of what was sent is sent for some rounds. If the queue is below this share of
what it was in the last of them, or short anyway, it is ours, and is kept short while messages that may be lost are
about. If not, nobody would be served by sending less."""

TEST_EVERY_S = 10.0
TEST_EVERY_ROUNDS = 40
"""A queue that is kept is tested so often, with no more than ``TEST_PACKETS``: it hides the least delay of the path,
which is remembered for half a minute, and would be taken for a part of that (BBR has ProbeRTT for that)."""

LONG_QUEUE_S = 4 * FRESH_QUEUE_S
RETEST_ROUNDS = 10
RETEST_S = 2.0
MAX_RETEST_S = 32.0
"""One that was not ours is tested again after this time, and twice as long each time; one that was, and became long
though it is kept short, after this time and so many rounds."""


class CongestionController(Protocol):
    """What the sender needs of a congestion controller. Sizes are bytes of DATA chunks."""

    cwnd: int
    ssthresh: int
    polite: int
    """With so much in flight, no message is begun that may be given up, unless others wait behind it."""
    fresh: int
    """With so much in flight, nothing is sent while such messages are about."""

    def on_acked(self, acked: int, flight_before: int, now: float, rto: RtoEstimator, *, recovering: bool) -> None:
        """`acked` bytes were acknowledged; `flight_before` were in flight until then."""

    def on_loss(self, flight: int, now: float, rto: RtoEstimator) -> None:
        """The first loss of a window of data: recovery begins."""

    def on_timeout(self, flight: int) -> None:
        """T3 ran out with `flight` bytes unacknowledged."""

    def on_idle(self) -> None:
        """Nothing was sent for longer than an RTO."""

    def on_path_recovered(self) -> None:
        """An outage ended: what the timeouts of the outage did to the window says nothing about the path."""

    def undo(self) -> None:
        """The last reduction answered reordering or delay, not loss."""


class NewReno:
    """Slow start, congestion avoidance, halving."""

    __slots__ = ("_acked", "_before", "_initial", "_mtu", "cwnd", "fresh", "polite", "ssthresh")

    def __init__(self, mtu: int, initial_packets: int, ssthresh: int) -> None:
        self._mtu = mtu
        self._initial = initial_packets * mtu
        self.cwnd = self._initial
        self.ssthresh = ssthresh
        self.polite = self.fresh = UNLIMITED
        self._acked = 0
        self._before = (self.cwnd, self.ssthresh)

    def on_acked(self, acked: int, flight_before: int, now: float, rto: RtoEstimator, *, recovering: bool) -> None:
        cwnd = self.cwnd
        if recovering or flight_before < cwnd // 2:
            return  # the application, not the path, is the limit: nothing was learned
        if cwnd < self.ssthresh:
            self.cwnd = cwnd + acked
            return
        self._acked += acked
        if self._acked >= cwnd:
            self._acked -= cwnd
            self.cwnd = cwnd + self._mtu

    def on_loss(self, flight: int, now: float, rto: RtoEstimator) -> None:
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(self.cwnd // 2, MIN_WINDOW_PACKETS * self._mtu)
        self.cwnd = self.ssthresh
        self._acked = 0

    def on_timeout(self, flight: int) -> None:
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(self.cwnd // 2, MIN_WINDOW_PACKETS * self._mtu)
        self.cwnd = self._mtu
        self._acked = 0

    def on_idle(self) -> None:
        self.cwnd = min(self.cwnd, self._initial)

    def on_path_recovered(self) -> None:
        self.cwnd = self._initial

    def undo(self) -> None:
        self.cwnd, self.ssthresh = max(self.cwnd, self._before[0]), max(self.ssthresh, self._before[1])


class Adaptive(NewReno):
    """NewReno that asks whether a loss came with a queue, for paths that lose packets at random (radio).

    Two measurements of the last rounds steer it: the rate at which data was delivered, and the delay above the path's
    minimum, which is the queue we have built. As in TCP Westwood (Mascolo and others, 2001), a loss shrinks the
    window to what that rate fills, never below half; on a path with random loss that is hardly less than it was.
    Where the latest packet waited in a queue, be it a short one, the window is halved, as others do there. While no
    queue shows, the window grows by a small share of itself each round trip, enough to outgrow a few per cent of
    random loss; with a queue, by one packet, as NewReno does. Slow start ends at the first sign of a queue, before it
    overflows (the idea of HyStart, RFC 9406).

    A queue is fair to other senders, who have to build one as well, but it delays the reliable messages of the same
    association. Messages that may be lost want to be fresh rather than many, so they are begun only while the queue
    is short: ``polite`` follows the rate, as the window of TCP Vegas does (Brakmo and Peterson, 1995). While there are
    such messages, ``fresh`` does the same for all, with a longer queue: a network that buffers for seconds would make
    every one of them old.
    """

    __slots__ = (
        "_before_test", "_delivered", "_is_ours", "_kept", "_queueing", "_rates", "_retest_at", "_retest_s",
        "_round_began", "_round_min", "_stale", "_test_at", "_test_rounds",
    )  # fmt: skip

    def __init__(self, mtu: int, initial_packets: int, ssthresh: int) -> None:
        super().__init__(mtu, initial_packets, ssthresh)
        self._rates: deque[float] = deque(maxlen=RATE_ROUNDS)  # bytes per second in the last rounds
        self._delivered = 0  # bytes in this round
        self._round_began = 0.0
        self._round_min = math.inf
        self._queueing = False
        self._kept = 0  # rounds with a queue, since there was none
        self._stale = 0  # rounds in which next to nothing was sent, and the delay stayed
        self._is_ours = False  # the queue, as far as was tested
        self._test_at = -math.inf  # when to test it next
        self._retest_at = -math.inf  # the same, if it is long
        self._test_rounds = 0  # to go in the test under way
        self._before_test = 0.0  # the queue in seconds
        self._retest_s = RETEST_S

    def on_acked(self, acked: int, flight_before: int, now: float, rto: RtoEstimator, *, recovering: bool) -> None:
        self._measure(acked, now, rto)
        cwnd = self.cwnd
        if flight_before < cwnd // 2:
            return
        if cwnd < self.ssthresh and not recovering:
            self.cwnd = cwnd + acked
            return
        if recovering and self._queueing:
            return
        step = self._mtu if self._queueing else max(self._mtu, int(cwnd * QUIET_GROWTH))
        self._acked += acked * step
        if self._acked >= cwnd:
            self.cwnd = cwnd + self._acked // cwnd
            self._acked %= cwnd

    def on_loss(self, flight: int, now: float, rto: RtoEstimator) -> None:
        before = self.cwnd
        super().on_loss(flight, now, rto)
        is_behind_queue = rto.latest - rto.min_rtt > rto.min_rtt * QUEUE_SHARE + QUEUE_SLACK_S
        if self._rates and not is_behind_queue:
            filled = int(max(self._rates) * rto.min_rtt)
            self.cwnd = self.ssthresh = max(self.ssthresh, min(filled, before))

    def on_path_recovered(self) -> None:
        super().on_path_recovered()
        self._forget_path()

    def _forget_path(self) -> None:
        self._kept = self._stale = self._test_rounds = 0
        self._is_ours = False
        self._rates.clear()
        self._queueing = False
        self.polite = self.fresh = UNLIMITED
        self._delivered, self._round_min = 0, math.inf

    def _measure(self, acked: int, now: float, rto: RtoEstimator) -> None:
        """Count a round; when it ends, note its rate and whether its least delay was above the path's."""
        self._delivered += acked
        self._round_min = min(self._round_min, rto.latest)
        elapsed = now - self._round_began
        if elapsed < rto.latest:
            return
        if elapsed < 4 * rto.latest:  # else the round began before a pause
            self._rates.append(self._delivered / elapsed)
        self._queueing = self._round_min > rto.min_rtt * (1 + QUEUE_SHARE) + 2 * rto.rttvar + QUEUE_SLACK_S
        if self._queueing and self.cwnd < self.ssthresh:
            self.ssthresh = self.cwnd
        if self._test_rounds:
            self._test(self._round_min - rto.min_rtt, now, rto)
        else:
            self._follow_queue(self._round_min - rto.min_rtt, now, rto)
        if rto.min_rtt < NEAR_S:
            self.fresh = min(self.fresh, NEAR_PACKETS * self._mtu)
        self._delivered, self._round_began, self._round_min = 0, now, math.inf

    def _follow_queue(self, queue_s: float, now: float, rto: RtoEstimator) -> None:
        """A round has shown this least delay above the path's."""
        slack = max(rto.min_rtt * POLITE_SHARE, POLITE_SLACK_S)
        if queue_s > slack and self._rates:
            filled = self._filled(slack, rto)
            self.polite = max(filled, POLITE_MIN_PACKETS * self._mtu)
            little = LITTLE_PACKETS * self._mtu
            self._stale = self._stale + 1 if filled < little and self._delivered < 4 * little else 0
            self._kept += 1
            is_kept = self._kept >= KEPT_ROUNDS or queue_s > FRESH_QUEUE_S
            if is_kept and now >= (self._retest_at if self._is_ours and queue_s > LONG_QUEUE_S else self._test_at):
                enough = TEST_PACKETS * self._mtu
                self.fresh = enough if self._is_ours else max(int(self._rates[-1] * rto.latest) // 3, enough)
                self._test_rounds, self._before_test = TEST_ROUNDS, queue_s
            elif self._is_ours:
                self._keep_queue(max(slack, FRESH_QUEUE_S), rto)
        elif queue_s < slack / 2:
            self._kept = 0
            if self.polite < UNLIMITED:
                self.polite += int(self.polite * POLITE_GROWTH)
            if self.fresh < UNLIMITED:
                self.fresh += int(self.fresh * POLITE_GROWTH)

    def _filled(self, queue_s: float, rto: RtoEstimator) -> int:
        """Bytes on the way that fill the path, and a queue of so many seconds."""
        return int(max(self._rates, default=0.0) * (rto.min_rtt + queue_s))

    def _keep_queue(self, queue_s: float, rto: RtoEstimator) -> None:
        """From now on it is no longer than this, while messages that may be lost are about."""
        self.fresh = max(self._filled(queue_s, rto), FRESH_MIN_PACKETS * self._mtu)

    def _test(self, queue_s: float, now: float, rto: RtoEstimator) -> None:
        """A round of a test is over."""
        self._test_rounds -= 1
        if self._test_rounds:
            return
        self._is_ours = queue_s <= max(self._before_test * TESTED_SHARE, FRESH_QUEUE_S)
        if self._is_ours:
            self._stale = 0
            self._test_at = now + max(TEST_EVERY_S, TEST_EVERY_ROUNDS * rto.latest)
            self._retest_at = now + max(RETEST_S, RETEST_ROUNDS * rto.latest)
            self._retest_s = RETEST_S
            self._keep_queue(FRESH_QUEUE_S, rto)
            return
        self.fresh = UNLIMITED
        self._test_at = now + self._retest_s
        self._retest_s = min(2 * self._retest_s, MAX_RETEST_S)
        if self._stale >= STALE_ROUNDS:
            self._forget_path()
            rto.forget_minimum()
            self.ssthresh = UNLIMITED  # which the queue that was none had set: grow fast until there is one


def make_controller(name: str, mtu: int, initial_packets: int, peer_window: int) -> CongestionController:
    """The controller called `name`: ``adaptive`` or ``newreno``."""
    kind = {"adaptive": Adaptive, "newreno": NewReno}[name]
    return kind(mtu, initial_packets, peer_window)

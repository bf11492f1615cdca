"""The pace of reconnecting, in numbers."""

from __future__ import annotations

import itertools
import math

import pytest

from trio_livekit._session.reconnect import Backoff, ReconnectPolicy


def delays(
    policy: ReconnectPolicy, *, random: float = 0.0, attempt_s: float = 0.0, was_answered: bool = True
) -> list[float]:
    """All the delays of a loss whose attempts take ``attempt_s`` and fail."""
    backoff = Backoff(policy, lambda: random)
    found: list[float] = []
    now = 1000.0
    backoff.on_lost(now)
    while len(found) < 200 and (delay := backoff.next_delay_s(now)) is not None:
        found.append(round(delay, 6))
        now += delay + attempt_s
        backoff.on_failed(was_answered=was_answered)
    return found


def test_a_server_that_refuses_is_given_time_up_to_five_seconds_for_a_minute() -> None:
    assert delays(ReconnectPolicy()) == [0, 0.3, 1.2, 2.7] + [4] * 13
    assert sum(delays(ReconnectPolicy())) <= 60
    assert max(delays(ReconnectPolicy(), random=1.0)) == 5


def test_jitter_comes_from_the_third_attempt_on() -> None:
    assert delays(ReconnectPolicy(), random=1.0)[:6] == [0, 0.3, 2.2, 3.7, 5, 5]
    assert delays(ReconnectPolicy(jitter_s=0.5), random=0.5)[:4] == [0, 0.3, 1.45, 2.95]


def test_the_time_that_attempts_take_is_waited_already() -> None:
    assert delays(ReconnectPolicy(), attempt_s=2)[:6] == [0, 0, 0, 0.7, 2, 2]
    assert delays(ReconnectPolicy(), attempt_s=15) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
def test_where_nobody_answers_the_next_attempt_comes_soon(random: float) -> None:
    """Within a tenth of the time that has passed, or a quarter of a second, and never later than after a second."""
    begun = list(itertools.accumulate(delays(ReconnectPolicy(), random=random, was_answered=False)))
    assert begun[:2] == [0, pytest.approx((1 + random) / 8)]
    assert begun[-1] > 58
    for earlier, later in itertools.pairwise(begun):
        assert (1 + random) / 8 - 1e-5 <= later - earlier <= min(1, max(0.25, later / 10)) + 1e-5


def test_a_policy_may_be_slow_there_too() -> None:
    slow = ReconnectPolicy(delays_s=(0.1,), jitter_s=0, unanswered_s=math.inf, give_up_after_s=1)
    assert delays(slow, was_answered=False)[:9] == [0.1] * 9


def test_no_attempt_begins_after_the_time_is_up() -> None:
    assert delays(ReconnectPolicy(give_up_after_s=0)) == [0]
    assert delays(ReconnectPolicy(give_up_after_s=1.5)) == [0, 0.3, 1.2]
    assert delays(ReconnectPolicy(give_up_after_s=1.4)) == [0, 0.3]


def test_for_ever_is_possible() -> None:
    assert len(delays(ReconnectPolicy(give_up_after_s=math.inf))) == 200


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_number_of_attempts(most: int) -> None:
    assert len(delays(ReconnectPolicy(max_attempts=most))) == most


def test_the_last_delay_is_for_all_that_follow() -> None:
    assert delays(ReconnectPolicy(delays_s=(2.0,), jitter_s=0, give_up_after_s=7)) == [2, 2, 2]


def test_haste_skips_one_delay_and_counts_as_an_attempt() -> None:
    backoff = Backoff(ReconnectPolicy(), lambda: 1.0)
    backoff.on_lost(0.0)
    assert [backoff.next_delay_s(0.0) for _ in range(2)] == [0, 0.3]
    backoff.hurry()
    assert [backoff.next_delay_s(0.3), backoff.next_delay_s(0.3)] == [0, 3.7]


def test_a_connection_that_lasts_begins_the_series_anew() -> None:
    backoff = Backoff(ReconnectPolicy(), lambda: 0.0)
    for lost_at in (0.0, 100.0, 200.0):
        backoff.on_lost(lost_at)
        assert backoff.next_delay_s(lost_at) == 0
        backoff.on_regained(lost_at + 1)


def test_one_that_does_not_continues_it_until_the_time_is_up() -> None:
    backoff = Backoff(ReconnectPolicy(), lambda: 0.0)
    found = []
    now = 0.0
    while True:
        backoff.on_lost(now)
        delay = backoff.next_delay_s(now)
        if delay is None:
            break
        found.append(delay)
        now += delay
        backoff.on_regained(now)
        now += 1.0
    assert found == [0, 0.3, 1.2, 2.7] + [4] * 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"delays_s": ()},
        {"delays_s": (-1.0,)},
        {"delays_s": (math.inf,)},
        {"delays_s": (math.nan,)},
        {"jitter_s": -1.0},
        {"unanswered_s": -1.0},
        {"unanswered_s": math.nan},
        {"give_up_after_s": -1.0},
        {"give_up_after_s": math.nan},
        {"max_attempts": -1},
    ],
)
def test_what_is_no_policy(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"_s is|_s are|max_attempts"):
        ReconnectPolicy(**wrong)  # type: ignore[arg-type]

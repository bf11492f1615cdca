from __future__ import annotations

import pytest

from trio_livekit.testing.pair import LinkModel, Pair, seeded_random_bytes


class Echo:
    """Sends `count` numbered datagrams `interval` apart, and reports what arrives as (time, data)."""

    def __init__(self, count: int = 0, interval: float = 0.01, start: float = 1000.0) -> None:
        self.left, self.interval, self.at = count, interval, start
        self.number = 0
        self.events: list[tuple[float, bytes]] = []
        self.out: list[bytes] = []

    def receive_datagram(self, data: bytes, now: float) -> None:
        self.events.append((round(now, 6), data))

    def handle_timeout(self, now: float) -> None:
        self.out.append(b"%04d" % self.number + bytes(96))
        self.number += 1
        self.left -= 1
        self.at = now + self.interval

    def datagrams_to_send(self, now: float) -> list[bytes]:
        out, self.out = self.out, []
        return out

    def next_timeout(self) -> float | None:
        return self.at if self.left else None

    def poll_events(self) -> list[tuple[float, bytes]]:
        events, self.events = self.events, []
        return events


def numbers(pair: Pair) -> list[int]:
    return [int(data[:4]) for _, data in pair.b_events]


def test_delay_and_order():
    pair = Pair(Echo(3), Echo(), link=LinkModel(delay_s=0.05))
    pair.run_until_idle()
    assert [(t, data[:4]) for t, data in pair.b_events] == [
        (1000.05, b"0000"), (1000.06, b"0001"), (1000.07, b"0002"),
    ]  # fmt: skip


def test_a_seed_replays_and_another_seed_differs():
    def run(seed: int) -> list[tuple[float, bytes]]:
        model = LinkModel(loss=0.3, duplicate=0.2, reorder=0.2, delay_s=0.02, jitter_s=0.01, corrupt=0.1)
        pair = Pair(Echo(100), Echo(), link=model, seed=seed)
        pair.run_until_idle()
        return pair.b_events

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_loss_duplication_and_reordering_happen():
    pair = Pair(Echo(1000, 0.001), Echo(), link=LinkModel(loss=0.1, duplicate=0.1, reorder=0.1), seed=3)
    pair.run_until_idle()
    got = numbers(pair)
    assert 850 < len(set(got)) < 950
    assert len(got) > len(set(got)) + 50
    assert got != sorted(got)


def test_rate_spreads_and_the_queue_drops_its_tail():
    model = LinkModel(rate_bps=8000 * 10, queue_bytes=500)  # 100-byte datagrams, 10 ms each
    pair = Pair(Echo(20, 0.0), Echo(), link=model)
    pair.run_until_idle()
    assert numbers(pair) == [0, 1, 2, 3, 4, 5]
    times = [t for t, _ in pair.b_events]
    assert times == pytest.approx([1000.01 + 0.01 * i for i in range(6)])
    assert pair.a_to_b.dropped == 14


def test_mtu_and_drop_hook():
    pair = Pair(Echo(4), Echo(), link=LinkModel(mtu=100))
    pair.a_to_b.drop = lambda data: data.startswith(b"0002")
    pair.run_until_idle()
    assert numbers(pair) == [0, 1, 3]
    pair.a_to_b.model = LinkModel(mtu=99)
    pair.a.left, pair.a.at = 1, pair.now
    pair.run_until_idle()
    assert numbers(pair) == [0, 1, 3]


def test_corruption_flips_exactly_one_bit():
    pair = Pair(Echo(50), Echo(), link=LinkModel(corrupt=1.0))
    pair.a_to_b.log = []
    pair.run_until_idle()
    for (_, sent), (_, got) in zip(pair.a_to_b.log, pair.b_events, strict=True):
        assert (int.from_bytes(sent) ^ int.from_bytes(got)).bit_count() == 1


def test_run_until_gives_up_in_virtual_time():
    pair = Pair(Echo(), Echo())
    with pytest.raises(AssertionError, match="not met"):
        pair.run_until(lambda: False, timeout_s=3600)


def test_run_moves_time_even_when_nothing_happens():
    pair = Pair(Echo(), Echo())
    pair.run(3600)
    assert pair.now == 4600


def test_a_spinning_core_is_reported():
    with pytest.raises(AssertionError, match="again and again"):
        Pair(Echo(10**9, 0.0), Echo()).run(1)


def test_random_bytes_are_seeded():
    assert seeded_random_bytes(1)(8) == seeded_random_bytes(1)(8) != seeded_random_bytes(2)(8)

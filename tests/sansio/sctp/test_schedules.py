"""Any schedule of sends, resets and outages over any link: what must hold, holds."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sansio.sctp.harness import joined, messages
from trio_livekit.testing.pair import LinkModel

links = st.builds(
    LinkModel,
    loss=st.sampled_from([0.0, 0.02, 0.2]),
    duplicate=st.sampled_from([0.0, 0.2]),
    reorder=st.sampled_from([0.0, 0.2]),
    delay_s=st.sampled_from([0.0, 0.001, 0.05]),
    jitter_s=st.sampled_from([0.0, 0.02]),
    rate_bps=st.sampled_from([None, 4e6]),
    queue_bytes=st.just(30_000),
    corrupt=st.sampled_from([0.0, 0.05]),
)

RELIABLE, UNORDERED, LOSSY, TIMED = 1, 2, 3, 4
OPTIONS: dict[int, dict] = {
    RELIABLE: {},
    UNORDERED: {"ordered": False},
    LOSSY: {"ordered": False, "max_retransmits": 0},
    TIMED: {"lifetime_s": 0.05},
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(links, st.integers(0, 2**32), st.booleans())
def test_any_schedule(link: LinkModel, seed: int, outage: bool):
    rng = random.Random(seed)
    pair = joined(link, seed=seed % 1000, zero_checksum=False)  # DTLS would drop what is corrupt: so must we
    sent: dict[tuple[str, int], list[bytes]] = {}
    for number in range(rng.randrange(5, 60)):
        side, stream = rng.choice("ab"), rng.choice(list(OPTIONS))
        data = b"%d,%d;" % (stream, number) + bytes(rng.choice([0, 1, 50, 1160, 3000, 40_000]))
        core = pair.a if side == "a" else pair.b
        core.send(stream, 53, data, now=pair.now, **OPTIONS[stream])
        sent.setdefault((side, stream), []).append(data)
        if outage and number == 10:
            pair.a_to_b.drop = pair.b_to_a.drop = lambda _: True
        if rng.random() < 0.5:
            pair.run(rng.random() * 0.1)
        if number == 20:
            pair.a_to_b.drop = pair.b_to_a.drop = None
    pair.a_to_b.drop = pair.b_to_a.drop = None
    pair.run_until_idle(timeout_s=400)
    for side, events in (("a", pair.b_events), ("b", pair.a_events)):
        got = [event for event in events if hasattr(event, "data")]
        by_stream = {stream: [m.data for m in got if m.stream_id == stream] for stream in OPTIONS}
        mine = {stream: sent.get((side, stream), []) for stream in OPTIONS}
        assert by_stream[RELIABLE] == mine[RELIABLE]
        assert sorted(by_stream[UNORDERED]) == sorted(mine[UNORDERED])
        assert len(set(by_stream[LOSSY])) == len(by_stream[LOSSY])
        assert set(by_stream[LOSSY]) <= set(mine[LOSSY])
        assert by_stream[TIMED] == [data for data in mine[TIMED] if data in by_stream[TIMED]]
    for core in (pair.a, pair.b):
        statistics = core.statistics()
        assert statistics.state == "established"
        assert (statistics.flight, statistics.buffered, statistics.held) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_wrap_of_every_counter_under_loss(seed: int):
    """More than 65536 messages on one stream, and a TSN that passes 2^32."""
    link = LinkModel(delay_s=0.001, loss=0.01)
    pair = joined(link, seed=seed, first_tsn=0xFFFFFFFF - 30_000, initial_window_packets=100)
    pair.a_to_b.log = log = []
    got = 0
    for base in range(0, 70_000, 3500):
        for n in range(base, base + 3500):
            pair.a.send(0, 53, b"%d" % n, now=pair.now)
        pair.run_until_idle()
        for data in messages(pair.b_events):
            assert int(data) == got
            got += 1
        pair.b_events.clear()
    assert got == 70_000
    first_tsns = [packet[16:20] for _, packet in log if packet[12] == 0]
    assert {tsn[:2] for tsn in first_tsns} >= {b"\xff\xff", b"\x00\x00"}


def test_an_outage_costs_little_more_than_its_length():
    pair = joined(LinkModel(delay_s=0.02))
    pair.a.send(0, 53, b"warm up", now=pair.now)
    pair.run_until_idle()
    pair.a_to_b.drop = pair.b_to_a.drop = lambda _: True
    for n in range(20):
        pair.a.send(0, 53, b"%d" % n, now=pair.now)
        pair.run(0.5)
    pair.a_to_b.drop = pair.b_to_a.drop = None
    pair.a.on_path_recovered(pair.now)
    healed = pair.now
    pair.run_until(lambda: len(messages(pair.b_events)) == 21)
    assert pair.now - healed < 0.1

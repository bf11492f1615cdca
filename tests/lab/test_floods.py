"""What the command says of the room next door; the floods themselves take longer than a test may."""

from __future__ import annotations

from dataclasses import replace

import trio

from trio_livekit.server import serve

from .floods import KEY, SECRET, Outcome, latencies, percentiles_ms, two_clients

GOOD = Outcome("half-open", 1.0, 99.0, 1000, 0, 0.5, 0.1, 49.0)


def test_what_is_good() -> None:
    assert GOOD.is_good(100.0)
    assert not replace(GOOD, p99_ms=100.0).is_good(100.0)
    assert not replace(GOOD, missing=1).is_good(100.0)
    assert not replace(GOOD, grown_mib=51.0).is_good(100.0), "512 connections, 100 KiB each"
    assert replace(GOOD, flood="data", grown_mib=51.0).is_good(100.0)
    assert "p99   99.00 ms" in GOOD.line()


def test_percentiles() -> None:
    assert percentiles_ms([n / 1000 for n in range(1000, -1, -1)]) == (500.0, 990.0)
    assert percentiles_ms([]) == (float("inf"), float("inf"))


async def test_packets_are_timed() -> None:
    async with serve(api_key=KEY, api_secret=SECRET) as server, two_clients(server.url) as (ann, bob):
        with trio.fail_after(20):
            took, missing = await latencies(ann, bob, 0.1)
    assert (len(took), missing) == (10, 0)
    assert min(took) > 0

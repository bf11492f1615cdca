"""What OpenTelemetry is told of a room."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_livekit as lk
from tests.support.reconnecting import QUICK, flowing, until_reconnected
from trio_livekit import otel

if TYPE_CHECKING:
    from tests.support.servers import EmbeddedServer, ServerUnderTest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Collector:
    """An application's providers, which remember."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader])

    @property
    def providers(self) -> dict[str, Any]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self._spans.get_finished_spans()}

    def metrics(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        return {metric.name: list(metric.data.data_points) for metric in metrics}

    def total(self, metric: str, **attributes: str) -> float:
        """The sum over all points with these attributes, which are named without ``livekit.``."""
        wanted = {f"livekit.{name}": value for name, value in attributes.items()}
        points = self.metrics().get(metric, [])
        return sum(point.value for point in points if wanted.items() <= dict(point.attributes).items())


@pytest.fixture
def collector() -> Collector:
    return Collector()


async def test_a_visit(server: ServerUnderTest, room_name: str, collector: Collector) -> None:
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        otel.connect(
            server.url, server.token("alice", room_name), interval_s=60, reconnect=QUICK, **collector.providers
        ) as alice,
        alice.events() as events,
        flowing(alice, bob) as up,
        flowing(bob, alice) as down,
    ):
        for _ in range(3):
            await up.flows()
            await down.flows()
        await alice.simulate(lk.SimulateScenario.SIGNAL_RECONNECT)
        await until_reconnected(events, resumed=True)
        sent = up.track.statistics()
    assert collector.total("livekit.track.frames", track="flow", publisher="") >= sent.frames_sent >= 3
    assert collector.total("livekit.track.frames", track="flow", publisher="bob") >= 3
    assert collector.total("livekit.track.size", publisher="bob") > 3
    assert collector.total("livekit.channel.messages", channel="_data_track") >= 6
    assert collector.total("livekit.channel.size", channel="_data_track") > 6 * 12
    assert collector.total("livekit.reconnects", kind="resume") == 1
    assert collector.total("livekit.reconnects", kind="restart") == 0
    (rtt,) = collector.metrics()["livekit.rtt"]
    assert 0 < rtt.value < 5
    assert dict(rtt.attributes) == {"livekit.room": room_name, "livekit.identity": "alice"}

    spans = collector.spans()
    assert set(spans) == {"livekit.connect", "livekit.room", "livekit.reconnect"}
    assert spans["livekit.connect"].attributes["livekit.room"] == room_name
    assert spans["livekit.reconnect"].attributes["livekit.kind"] == "resume"
    assert spans["livekit.reconnect"].parent.span_id == spans["livekit.room"].context.span_id
    assert spans["livekit.connect"].end_time <= spans["livekit.room"].end_time


async def test_counters_go_on_over_sessions(
    embedded_server: EmbeddedServer, room_name: str, collector: Collector
) -> None:
    """Those of a channel begin anew in a new session, those that are exported do not; nothing is counted twice."""
    server = embedded_server
    async with lk.connect(server.url, server.token("alice", room_name), reconnect=QUICK) as alice:
        meter = otel._Meter(alice, collector.meter_provider)
        async with alice.events() as events, alice.publish_data_track("track") as track:
            for _ in range(3):
                track.try_push(b"x" * 100)
            meter.record()
            meter.record()
            assert collector.total("livekit.channel.messages", channel="_data_track") == 3
            await alice.simulate(lk.SimulateScenario.FULL_RECONNECT)
            await until_reconnected(events, resumed=False)
            await track.send(b"x")
            meter.record()
            assert collector.total("livekit.channel.messages", channel="_data_track") == 4
            assert collector.total("livekit.track.frames", track="track") == 4


async def test_never_joined(embedded_server: EmbeddedServer, collector: Collector) -> None:
    with pytest.raises(lk.ConnectError):
        async with otel.connect(embedded_server.url, "no token", **collector.providers):
            pytest.fail("connected")
    (span,) = collector.spans().values()
    assert span.name == "livekit.connect"
    assert not span.status.is_ok
    assert Counter(event.name for event in span.events) == {"exception": 1}


async def test_a_room_that_is_lost(server: ServerUnderTest, room_name: str, collector: Collector) -> None:
    with trio.fail_after(10), pytest.raises(lk.RoomDisconnected):
        async with otel.connect(server.url, server.token("alice", room_name), **collector.providers) as alice:
            await alice.simulate(lk.SimulateScenario.SERVER_LEAVE)
            await trio.sleep_forever()
    assert set(collector.spans()) == {"livekit.connect", "livekit.room"}


async def test_an_error_of_the_users_comes_out_as_it_is(
    embedded_server: EmbeddedServer, room_name: str, collector: Collector
) -> None:
    error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught:
        async with otel.connect(embedded_server.url, embedded_server.token("alice", room_name), **collector.providers):
            raise error
    assert caught.value is error


def test_nothing_is_imported_unless_asked_for() -> None:
    program = "import sys, trio_livekit, trio_livekit.otel; assert not any('opentelemetry' in m for m in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_where_it_is_not_installed() -> None:
    program = (
        "import sys, trio, trio_livekit.otel as otel\n"
        "sys.modules['opentelemetry'] = None\n"
        "async def main():\n"
        "    try:\n"
        "        async with otel.connect('ws://127.0.0.1:1', 'x'): pass\n"
        "    except ImportError as exc:\n"
        "        print(exc)\n"
        "trio.run(main)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "pip install 'trio-livekit[otel]'" in ran.stdout

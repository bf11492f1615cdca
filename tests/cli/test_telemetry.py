"""The sensors of the demo: real readings, and honest names."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from trio_livekit.cli.demo import telemetry

UNITS = {"%", "B/s", "load"}


@pytest.fixture
def proc(monkeypatch, tmp_path):
    """A /proc of our own: a dictionary of files."""
    files = {}

    class FakePath(type(Path())):
        def read_text(self, *arguments):
            try:
                return files[str(self)]
            except KeyError:
                raise FileNotFoundError(str(self)) from None

        def exists(self):
            return True

    monkeypatch.setattr(telemetry, "Path", FakePath)
    monkeypatch.setattr(
        telemetry, "time", clock := types.SimpleNamespace(now=100.0, process_time=lambda: clock.now / 4)
    )
    clock.monotonic = lambda: clock.now
    return files, clock


def test_this_machine_has_readings():
    sensors = telemetry.open_sensors()
    assert {"cpu", "disk"} <= {sensor.name for sensor in sensors}
    for sensor in sensors:
        reading = sensor.read()
        assert reading.unit in UNITS
        assert reading.value >= 0
        assert reading.source


def test_processor(proc):
    files, clock = proc
    sensor = telemetry.Processor()
    files["/proc/stat"] = "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n"
    sensor.read()
    clock.now += 0.5
    files["/proc/stat"] = "cpu  125 0 105 860 10 0 0 0 0 0\n"
    assert sensor.read().value == pytest.approx(30.0)


def test_rates_are_of_the_last_second(proc):
    files, clock = proc
    sensor = telemetry.Network()
    row = "{}: {} 0 0 0 0 0 0 0 {} 0 0 0 0 0 0 0\n"
    for step in range(31):
        received = step * 1000 if step <= 10 else 10_000  # for a second, and then no more
        files["/proc/net/dev"] = "a\nb\n" + row.format(" lo", step * 50, 0) + row.format("eth0", received, step * 10)
        reading = sensor.read()
        if step == 10:
            assert reading.details["received_bytes_per_s"] == pytest.approx(10_000)
        clock.now += 0.1
    assert reading.details["received_bytes_per_s"] == 0
    assert reading.details["sent_bytes_per_s"] == pytest.approx(100)
    assert reading.value == pytest.approx(600)


def test_memory(proc):
    files, _ = proc
    files["/proc/meminfo"] = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n"
    reading = telemetry.Memory().read()
    assert reading.value == 75
    assert reading.details == {"used_bytes": 768_000, "total_bytes": 1_024_000}


def test_partitions_are_not_counted_twice(proc, monkeypatch):
    files, clock = proc
    monkeypatch.setattr(telemetry.Path, "exists", lambda self: self.name == "sda")
    sensor = telemetry.Disk()
    row = "8 0 {} 1 0 {} 0 1 0 {} 0 0 0 0\n"
    for step in range(2):
        files["/proc/diskstats"] = row.format("sda", 8 * step, 2 * step) + row.format("sda1", 8 * step, 2 * step)
        reading = sensor.read()
        clock.now += 0.5
    assert reading.details["read_bytes_per_s"] == pytest.approx(8192)
    assert reading.details["written_bytes_per_s"] == pytest.approx(2048)


def test_without_proc_there_are_fallbacks_that_say_so(proc):
    sensors = {sensor.name: sensor.read() for sensor in telemetry.open_sensors()}
    assert "network" not in sensors
    assert sensors["cpu"].source in ("os.getloadavg", "time.process_time (this process)")
    assert sensors["disk"].source == "shutil.disk_usage"
    if sys.platform != "win32":
        assert "this process" in sensors["memory"].source


@pytest.mark.parametrize("text", ["", "cpu\n", "intr 1 2 3 4 5 6 7 8\n", "cpu a b c d e\n"])
def test_a_proc_of_another_kind_is_not_believed(proc, text):
    files, _ = proc
    files["/proc/stat"] = files["/proc/meminfo"] = files["/proc/net/dev"] = text
    assert {sensor.read().source for sensor in telemetry.open_sensors()}.isdisjoint({"/proc/stat", "/proc/meminfo"})

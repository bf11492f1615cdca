"""What this machine is doing, as real readings: from /proc on Linux, elsewhere from what the standard library knows.

Every reading names its source, so that a fallback is never mistaken for the real thing.
"""

from __future__ import annotations

__all__ = ["Reading", "Sensor", "open_sensors"]

import os
import shutil
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_WINDOW_S = 1.0
"""What rates are averaged over: the kernel counts processor time in steps of 10 ms."""

_SECTOR_BYTES = 512  # the unit of /proc/diskstats, whatever the disk has
_WHOLE_DISKS = ("sd", "vd", "xvd", "nvme", "mmcblk", "hd")


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: a number to draw, and more of them to read."""

    value: float
    unit: str  # "%", "B/s" or "load"
    source: str
    details: dict[str, float] = field(default_factory=dict)


class Sensor(Protocol):
    """Something that can be read again and again."""

    name: str

    def read(self) -> Reading:
        """The reading now. Raises ``OSError`` where this machine has no such thing."""


class _Rate:
    """How fast a counter grows, over the last second."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, float]] = deque()  # time, counter, what it is relative to

    def __call__(self, total: float, per: float | None = None) -> float:
        """Per second; or, if ``per`` is another counter, per step of that."""
        samples = self._samples
        now = time.monotonic()
        samples.append((now, total, now if per is None else per))
        while len(samples) > 2 and now - samples[1][0] >= _WINDOW_S:
            samples.popleft()
        steps = samples[-1][2] - samples[0][2]
        return (total - samples[0][1]) / steps if steps > 0 else 0.0


class Processor:
    """The share of processor time that is not idle."""

    name = "cpu"

    def __init__(self) -> None:
        self._busy = _Rate()

    def read(self) -> Reading:
        """``/proc/stat``: user nice system idle iowait irq softirq steal, in ticks since the start of the machine."""
        label, *ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        if label != "cpu" or len(ticks) < 5:
            raise OSError("/proc/stat has an unknown format")
        counts = [int(count) for count in ticks[:8]]
        total = sum(counts)
        share = self._busy(total - counts[3] - counts[4], per=total)
        return Reading(100 * share, "%", "/proc/stat", {"cores": float(os.cpu_count() or 1), "load_1m": _load()})


class LoadAverage:
    """Where processor time is not known: how many processes want to run, by the load average of a minute."""

    name = "cpu"

    def read(self) -> Reading:
        """``os.getloadavg``."""
        return Reading(_load(), "load", "os.getloadavg", {"cores": float(os.cpu_count() or 1)})


class ProcessTime:
    """Where not even that is known: the processor time of this process."""

    name = "cpu"

    def __init__(self) -> None:
        self._busy = _Rate()

    def read(self) -> Reading:
        """``time.process_time``."""
        return Reading(100 * self._busy(time.process_time()), "%", "time.process_time (this process)")


class Memory:
    """Memory that is not available."""

    name = "memory"

    def read(self) -> Reading:
        """``/proc/meminfo``, in kB."""
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
        try:
            total, available = (1024 * int(fields[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        except KeyError:
            raise OSError("/proc/meminfo has an unknown format") from None
        details = {"used_bytes": float(total - available), "total_bytes": float(total)}
        return Reading(100 * (total - available) / total, "%", "/proc/meminfo", details)


class ProcessMemory:
    """Where the machine's memory is not known: the most that this process has had."""

    name = "memory"

    def read(self) -> Reading:
        """``resource.getrusage``, as a share of physical memory."""
        try:
            import resource
        except ImportError:  # Windows
            raise OSError("there is no module resource") from None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        details = {"used_bytes": float(peak), "total_bytes": float(total)}
        return Reading(100 * peak / total, "%", "resource.getrusage (this process)", details)


class Disk:
    """How full the disk is, and on Linux how much is read and written."""

    name = "disk"

    def __init__(self) -> None:
        self._read = _Rate()
        self._written = _Rate()

    def read(self) -> Reading:
        """``shutil.disk_usage`` of the root, and the whole disks in ``/proc/diskstats``."""
        usage = shutil.disk_usage(os.path.abspath(os.sep))
        details = {"used_bytes": float(usage.used), "total_bytes": float(usage.total)}
        source = "shutil.disk_usage"
        counters = _disk_counters()
        if counters is not None:
            details |= {"read_bytes_per_s": self._read(counters[0]), "written_bytes_per_s": self._written(counters[1])}
            source += ", /proc/diskstats"
        return Reading(100 * usage.used / usage.total if usage.total else 0.0, "%", source, details)


class Network:
    """Bytes through all interfaces, the loopback included: the demo itself is seen there."""

    name = "network"

    def __init__(self) -> None:
        self._received = _Rate()
        self._sent = _Rate()
        self._loopback = _Rate()

    def read(self) -> Reading:
        """``/proc/net/dev``: name, then 8 counters received and 8 sent, bytes first."""
        received = sent = loopback = 0
        for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
            name, _, rest = line.partition(":")
            counters = rest.split()
            if name.strip() == "lo":
                loopback += int(counters[0])
            else:
                received += int(counters[0])
                sent += int(counters[8])
        details = {
            "received_bytes_per_s": self._received(received),
            "sent_bytes_per_s": self._sent(sent),
            "loopback_bytes_per_s": self._loopback(loopback),
        }
        return Reading(sum(details.values()), "B/s", "/proc/net/dev", details)


_CANDIDATES: list[list[type[Sensor]]] = [
    [Processor, LoadAverage, ProcessTime],
    [Memory, ProcessMemory],
    [Disk],
    [Network],
]


def open_sensors() -> list[Sensor]:
    """The best sensor of each kind that this machine has; kinds that it has none of are left out."""
    return [sensor for kinds in _CANDIDATES if (sensor := _first_that_works(kinds)) is not None]


def _first_that_works(kinds: list[type[Sensor]]) -> Sensor | None:
    for kind in kinds:
        sensor = kind()
        try:
            sensor.read()
        except (OSError, ValueError, IndexError, AttributeError):
            continue
        return sensor
    return None


def _load() -> float:
    if not hasattr(os, "getloadavg"):
        raise OSError("there is no load average")
    return os.getloadavg()[0]


def _disk_counters() -> tuple[int, int] | None:
    """Bytes read and written by all disks (not partitions, which would count twice), or ``None``."""
    try:
        lines = Path("/proc/diskstats").read_text().splitlines()
    except OSError:
        return None
    read = written = 0
    for line in lines:
        fields = line.split()
        if len(fields) >= 10 and _is_whole_disk(fields[2]):
            read += int(fields[5])
            written += int(fields[9])
    return read * _SECTOR_BYTES, written * _SECTOR_BYTES


def _is_whole_disk(name: str) -> bool:
    return name.startswith(_WHOLE_DISKS) and Path("/sys/block", name).exists()

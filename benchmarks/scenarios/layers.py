"""Each layer alone, beside the bare calls that it is made of: what is ours to save, and what Python itself costs."""

from __future__ import annotations

__all__ = ["SCENARIOS"]

from ..scenario import LOWER, OURSELVES, Metric, Options, Peer, Scenario
from ..worker import open_workers

_LAYERS = ("packetize", "SCTP send", "SCTP receive", "DTLS seal", "DTLS open", "UDP send", "UDP receive")


def measure_layers(peer: Peer, options: Options) -> dict[str, float]:
    with open_workers(peer, "layers", count=1) as (worker,):
        found: dict[str, float] = worker.ask("measure", seconds=options.pick(1.0, 0.1))
    values = {name: found[name] for name in _LAYERS}
    values["all, sending"] = found["SCTP send"] + found["DTLS seal"] + found["UDP send"]
    values["all, receiving"] = found["SCTP receive"] + found["DTLS open"] + found["UDP receive"]
    if "CRC32C" in found:
        values["CRC32C, where the peer wants it"] = found["CRC32C"]
    return values


SCENARIOS = (
    Scenario(
        "layers",
        "CPU time for a packet of 1 KiB; SCTP with its SACKs and without checksum, UDP in bursts of 32",
        (OURSELVES, "primitives"),
        tuple(
            Metric(name, "ns/packet", LOWER)
            for name in (*_LAYERS, "all, sending", "all, receiving", "CRC32C, where the peer wants it")
        ),
        measure_layers,
    ),
)

"""Measures what docs/guide/bad-networks.md shows, and writes it there.

    python -m tests.lab.measure [links] [goodput] [sharing] [NAME OF A CONDITION ...]

``links``: one client on a bad network, another one beside the server, livekit-server between them; both send numbered
reliable and lossy packets and data-track frames for a while. ``goodput``: one stream over a long path with loss, ours
and pion's in turn, through the relay. ``sharing``: both at the same time, on one link.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import trio

import trio_livekit as lk
from benchmarks.peers import find_peer
from benchmarks.scenario import OURSELVES, Peer
from benchmarks.worker import Worker, open_workers
from trio_livekit.testing.faults import BLOCKED, LinkModel, udp_payload
from trio_livekit.testing.pair import Link

from ..support.livekit import LiveKitServer, find_server, run_server
from .relay import open_relay
from .results import attempt, keep, load, show
from .running import run
from .sockets import bad_sockets

SECONDS = 10.0
DRAIN_S = 20.0
PACKET_BYTES, PACKET_S = 200, 0.02
FRAME_BYTES, FRAME_S = 1000, 0.05


@dataclass(frozen=True)
class Row:
    """A line of the table: the network, what we aim for, and what the official SDK 1.2.0 did."""

    name: str
    model: LinkModel
    goal: str
    official_up: str
    official_down: str


ROWS = (
    Row("clean", LinkModel(), "≤ 0.15 s; 0 lost, 3/25", "0.07 s; 0, 2/19; T 0 %", "0, 2/19; T 0 %"),
    Row("loss 1 %", LinkModel(loss=0.01), "≤ 0.3 s; p99 ≤ 60", "0.08 s; 0, 2/23; T 0.4 %", "0, 2/20; T 1.1 %"),
    Row("loss 5 %", LinkModel(loss=0.05), "≤ 0.6 s; p99 ≤ 120; T ≤ 6 %", "0.11 s; 0, 3/51; T 3.4 %", "0, 2/44; T 5 %"),
    Row("loss 10 % + 50 ms", LinkModel(loss=0.1, delay_s=0.05), "≤ 2 s; 150/1500; T ≤ 12 %",
        "1.06 s; 0, 6132/13426; T 36 %", "0, 6316/13299; T 16 %"),
    Row("loss 20 %", LinkModel(loss=0.2), "≤ 2.5 s; 100/2000; T ≤ 25 %",
        "1.23 s; 0, 32/3545; T 37 %", "0, 9011/18198; T 70 %"),
    Row("loss 50 %", LinkModel(loss=0.5), "≤ 12 s; 0 lost, ≥ 1 message/s",
        "12.6 s; 1478 of 1479 lost", "nothing arrived"),
    Row("delay 50 ms", LinkModel(delay_s=0.05), "≤ 0.6 s; 53/150", "0.66 s; 0, 53/120", "0, 53/738"),
    Row("delay 250 ms", LinkModel(delay_s=0.25), "≤ 2.6 s; 300/900; T ≤ 2 %",
        "2.74 s; 0, 6165/8850; T 29 %", "0, 259/4561; T 17 %"),
    Row("250 ± 20 ms", LinkModel(delay_s=0.23, jitter_s=0.04), "400/1500",
        "2.59 s; 0, 6381/13689", "0, 8880/19860; T 52 %"),
    Row("duplicate 50 %", LinkModel(duplicate=0.5), "0 lost, 0 twice", "0.19 s; 0, 0 twice", "0, 0 twice"),
    Row("dup 20 % + reorder 20 %", LinkModel(duplicate=0.2, reorder=0.2), "0 lost; T ≤ 2 %",
        "0.13 s; 0; T 1 %", "0; T 18 %"),
    Row("corruption 5 %", LinkModel(corrupt=0.05), "≤ 1 s on UDP; 0 lost, 0 damaged", "15.2 s (TCP); 0, 3/55", "0"),
    Row("UDP MTU 1280", LinkModel(mtu=udp_payload(1280)), "as clean", "0.19 s; 0, 6/116", "0"),
    Row("UDP MTU 1200", LinkModel(mtu=udp_payload(1200)), "up: packets ≤ 1,100 B within 4 s; down: to TCP within 8 s",
        "0.15 s; p50 9400; T 91 %", "p50 6444; T 77 %"),
    Row("UDP MTU 1150", LinkModel(mtu=udp_payload(1150)), "the same", "the same", "the same"),
    Row("UDP blocked", BLOCKED, "≤ 0.5 s", "0.22 s (TCP); 0, 6/190", "0"),
    Row("500 kbit/s, 20 ms", LinkModel(rate_bps=500e3, delay_s=0.02, queue_bytes=64 * 1024), "T p50 ≤ 150",
        "0.54 s; 0, 4547/9413; T 24 %, p50 227", "0, 5997/13593"),
)  # fmt: skip


OVER_TCP_TOO = ("corruption 5 %", "UDP MTU 1200", "UDP MTU 1150", "UDP blocked")
"""Elsewhere the server offers UDP alone: TCP is not on the bad network, and would be an easy way out."""


@dataclass
class Flow:
    """One direction of one kind: when each number was sent, and when it arrived."""

    sent: dict[int, float] = field(default_factory=dict)
    arrived: dict[int, float] = field(default_factory=dict)
    twice: int = 0
    refused: int = 0

    def take(self, payload: bytes) -> None:
        number = int(payload[:8])
        if number in self.arrived:
            self.twice += 1
        self.arrived.setdefault(number, trio.current_time())

    def summary(self) -> dict[str, float]:
        delays = sorted(1000 * (at - self.sent[number]) for number, at in self.arrived.items() if number in self.sent)
        return {
            "sent": len(self.sent),
            "lost": len(self.sent) - len(self.arrived),
            "twice": self.twice,
            "p50": round(statistics.median(delays)) if delays else -1,
            "p99": round(delays[int(len(delays) * 0.99) - 1]) if delays else -1,
        }


class Way:
    """Everything that one client sends to the other."""

    def __init__(self, sender: lk.Room, receiver: lk.Room) -> None:
        self.sender, self.receiver = sender, receiver
        self.flows = {"R": Flow(), "L": Flow(), "T": Flow()}

    async def run(self) -> None:
        async with (
            self.receiver.data_packets("R", buffer_size=10_000) as reliable,
            self.receiver.data_packets("L", buffer_size=10_000) as lossy,
            self.sender.publish_data_track("frames") as track,
        ):
            publisher = await self.receiver.wait_for_participant(self.sender.local_participant.identity)
            remote = await publisher.data_tracks.wait_for("frames")
            async with trio.open_nursery() as nursery, remote.subscribe(buffer_size=1000) as frames:
                for flow, arriving in (("R", reliable), ("L", lossy), ("T", frames)):
                    nursery.start_soon(self._receive, self.flows[flow], arriving)
                async with trio.open_nursery() as sending:
                    sending.start_soon(self._send_packets, True)
                    sending.start_soon(self._send_packets, False)
                    sending.start_soon(self._push, track)
                expected = self.flows["R"]
                with trio.move_on_after(DRAIN_S):
                    while len(expected.arrived) < len(expected.sent):  # noqa: ASYNC110
                        await trio.sleep(0.05)
                await trio.sleep(0.3)
                nursery.cancel_scope.cancel("measured")

    async def _receive(self, flow: Flow, arriving: object) -> None:
        async for item in arriving:  # type: ignore[attr-defined]
            flow.take(item.payload)

    async def _send_packets(self, reliable: bool) -> None:
        flow, topic = (self.flows["R"], "R") if reliable else (self.flows["L"], "L")
        async for number in _paced(PACKET_S):
            flow.sent[number] = trio.current_time()
            await self.sender.publish_data(_numbered(number, PACKET_BYTES), reliable=reliable, topic=topic)

    async def _push(self, track: lk.LocalDataTrack) -> None:
        flow = self.flows["T"]
        async for number in _paced(FRAME_S):
            flow.sent[number] = trio.current_time()
            try:
                track.try_push(_numbered(number, FRAME_BYTES))
            except lk.PushError:
                flow.refused += 1


async def _paced(interval_s: float):
    """Numbers, at their times, for as long as is measured; late ones follow at once."""
    began = trio.current_time()
    number = 0
    while trio.current_time() - began < SECONDS:
        yield number
        number += 1
        await trio.sleep_until(began + number * interval_s)


def _numbered(number: int, size: int) -> bytes:
    return b"%08d" % number + bytes(size - 8)


async def measure_link(row: Row, server: LiveKitServer) -> dict[str, object]:
    """Connect over a path, and send both ways."""
    room = f"lab {row.name}"
    async with lk.connect(server.url, server.token("O", room)) as beside:
        async with bad_sockets(row.model) as sockets:
            began = trio.current_time()
            async with lk.connect(server.url, server.token("P", room), join_timeout=40) as behind:
                connected_s = trio.current_time() - began
                sockets.sizes.clear()
                up, down = Way(behind, beside), Way(beside, behind)
                changes: list[str] = []
                async with trio.open_nursery() as watching:
                    watching.start_soon(_note_changes, behind, changes)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(up.run)
                        nursery.start_soon(down.run)
                    watching.cancel_scope.cancel("measured")
                return {
                    "connect_s": round(connected_s, 2),
                    "up": {kind: flow.summary() for kind, flow in up.flows.items()},
                    "down": {kind: flow.summary() for kind, flow in down.flows.items()},
                    "changes": changes,
                }


async def _note_changes(room: lk.Room, changes: list[str]) -> None:
    async with room.events() as events:
        async for event in events:
            match event:
                case lk.events.Reconnecting() | lk.events.Reconnected():
                    changes.append(type(event).__name__)


def _way_text(way: dict[str, dict[str, float]]) -> str:
    reliable, track, lossy = way["R"], way["T"], way["L"]
    percent = lambda flow: f"{100 * flow['lost'] / max(1, flow['sent']):.0f} %"  # noqa: E731
    twice = f", {reliable['twice']:.0f} twice" if reliable["twice"] else ""
    return (
        f"{reliable['lost']:.0f}{twice}, {reliable['p50']:.0f}/{reliable['p99']:.0f}; "
        f"L {percent(lossy)}; T {percent(track)}, p50 {track['p50']:.0f}"
    )


LINK_HEADS = ["path", "goal", "official, up", "official, down", "ours: connect", "ours, up", "ours, down"]


def _words(row: Row) -> list[str]:
    return [row.name, row.goal, row.official_up, row.official_down]


def _link_cells(found: dict[str, Any]) -> list[str]:
    if "error" in found:
        return [found["error"], "", ""]
    note = f" ({', '.join(found['changes'])})" if found["changes"] else ""
    return [f"{found['connect_s']} s{note}", _way_text(found["up"]), _way_text(found["down"])]


def measure_links(names: list[str]) -> None:
    """The rows of these names; without any, all."""
    binary = find_server()
    if binary is None:
        sys.exit("there is no livekit-server")
    for row in ROWS:
        if names and row.name not in names:
            continue
        config = None if row.name in OVER_TCP_TOO else {"rtc": {"tcp_port": 0}}
        with tempfile.TemporaryDirectory() as directory, run_server(binary, Path(directory), config) as server:
            found = attempt(run, measure_link, row, server)
        keep("links", row.name, found)
        print(row.name, json.dumps(found), flush=True)
    found = load()["links"]
    shown = [row for row in ROWS if row.name in found]
    show("links", LINK_HEADS, ([*_words(row), *_link_cells(found[row.name])] for row in shown))


# --- goodput ----------------------------------------------------------------------------------------------------------

LONG = LinkModel(delay_s=0.05, rate_bps=80e6, queue_bytes=512 * 1024)
LOSSES = (0.001, 0.01, 0.03)
GOODPUT_S = 8.0
ROUNDS = 3


async def through_relay(left: Worker, right: Worker, model: LinkModel, seed: int) -> float:
    """Megabytes per second of a reliable stream of 16 KiB messages from left to right."""
    target, answer = _introduce(left, right)
    async with open_relay(target, model=model, seed=seed) as relay:
        return await trio.to_thread.run_sync(_flood, left, right, relay.redirect(answer), GOODPUT_S)


def _introduce(left: Worker, right: Worker) -> tuple[tuple[str, int], str]:
    """Where the right one is to be reached, and its answer to the left one, which it cannot reach by itself."""
    offer = left.ask("offer")["sdp"]
    hidden = "".join(line for line in offer.splitlines(keepends=True) if "candidate" not in line)
    answer = right.ask("answer", sdp=hidden)["sdp"]
    [line, *_] = [line for line in answer.splitlines() if line.startswith("a=candidate") and " 127.0.0.1 " in line]
    return (line.split()[4], int(line.split()[5])), answer


def _flood(left: Worker, right: Worker, answer: str, seconds: float) -> float:
    left.ask("accept", sdp=answer)
    for worker in (left, right):
        worker.tell("wait_open")
    for worker in (left, right):
        worker.answer()
    right.ask("expect", channel="reliable", size=16384)
    left.tell("send", channel="reliable", size=16384, seconds=seconds)
    sent = left.answer(180)["sent"]
    right.tell("received", sent=sent, quiet_s=20.0)
    found = right.answer(180)
    return (found["received"] - 1) * 16384 / found["seconds"] / 1e6


def measure_goodput() -> None:
    """Each loss several times, ours and pion's in turn."""
    for loss in LOSSES:
        rates: dict[str, list[float]] = {}
        for seed in range(ROUNDS):
            for name in ("trio_livekit", "pion"):
                peer = find_peer(name) if name == "pion" else Peer(OURSELVES, "this tree", python=Path(sys.executable))
                with open_workers(peer, "channel") as (left, right):
                    rate = run(through_relay, left, right, replace(LONG, loss=loss), seed)
                rates.setdefault(name, []).append(round(rate, 3))
                print("goodput", loss, name, rate, flush=True)
        keep("goodput", f"{100 * loss:g} %", rates)
    heads = ["loss", "ours, MB/s (least to most)", "pion, MB/s", "ratio of the medians"]
    show("goodput", heads, ([loss, *_goodput_cells(rates)] for loss, rates in load()["goodput"].items()))


def _goodput_cells(rates: dict[str, list[float]]) -> list[str]:
    both = [sorted(rates[name]) for name in ("trio_livekit", "pion")]
    ours, pion = map(statistics.median, both)
    texts = [f"**{statistics.median(each):.2f}** ({each[0]:.2f} to {each[-1]:.2f})" for each in both]
    return [*texts, f"{ours / pion:.1f}"]


# --- sharing ----------------------------------------------------------------------------------------------------------

SHARED = LinkModel(delay_s=0.05, rate_bps=20e6)
ROUND_TRIP_BYTES = 250_000
"""What is on the way in a round trip of 100 ms at 20 Mbit/s."""
QUEUES = {"a third of a round trip": 1 / 3, "one round trip": 1, "three round trips": 3}
SHARING_S = 30.0


class SharedLink(Link):
    """One of several links that are one wire: each waits until it is free."""

    wire: ClassVar[list[float]] = [0.0]

    @property
    def _free_at(self) -> float:
        return self.wire[0]

    @_free_at.setter
    def _free_at(self, at: float) -> None:
        self.wire[0] = max(at, self.wire[0])


async def side_by_side(flows: dict[str, list[Worker]], model: LinkModel) -> dict[str, float]:
    """Megabytes per second of a reliable stream of each pair of workers, through one bottleneck at the same time."""
    SharedLink.wire[0] = 0.0
    rates: dict[str, float] = {}
    async with contextlib.AsyncExitStack() as stack:
        answers: dict[str, str] = {}
        for name, (left, right) in flows.items():
            target, answer = _introduce(left, right)
            relay = await stack.enter_async_context(open_relay(target, model=model, back=LinkModel(delay_s=0.05)))
            relay.up.__class__ = SharedLink
            answers[name] = relay.redirect(answer)

        async def flood(name: str, left: Worker, right: Worker) -> None:
            rates[name] = await trio.to_thread.run_sync(_flood, left, right, answers[name], SHARING_S)

        async with trio.open_nursery() as nursery:
            for name, (left, right) in flows.items():
                nursery.start_soon(flood, name, left, right)
    return rates


def measure_sharing() -> None:
    """Ours beside pion's on one link, with queues of several lengths."""
    ours = Peer(OURSELVES, "this tree", python=Path(sys.executable))
    for name, share in QUEUES.items():
        model = replace(SHARED, queue_bytes=int(share * ROUND_TRIP_BYTES))
        with open_workers(ours, "channel") as first, open_workers(find_peer("pion"), "channel") as second:
            rates = run(side_by_side, {"trio_livekit": first, "pion": second}, model)
        keep("sharing", name, rates)
        print("sharing", name, rates, flush=True)
    heads = ["queue", "ours, Mbit/s", "pion, Mbit/s", "fairness index (Jain)"]
    show("sharing", heads, ([name, *_sharing_cells(load()["sharing"][name])] for name in QUEUES))


def _sharing_cells(rates: dict[str, float]) -> list[str]:
    both = [rates["trio_livekit"], rates["pion"]]
    return [*(f"{8 * rate:.1f}" for rate in both), f"{sum(both) ** 2 / 2 / sum(rate**2 for rate in both):.2f}"]


# --- the document -----------------------------------------------------------------------------------------------------


def main(chosen: list[str]) -> None:
    names = [name for name in chosen if name not in ("links", "goodput", "sharing")]
    if names or "links" in chosen or not chosen:
        measure_links(names)
    if "goodput" in chosen or not chosen:
        measure_goodput()
    if "sharing" in chosen or not chosen:
        measure_sharing()


if __name__ == "__main__":
    main(sys.argv[1:])

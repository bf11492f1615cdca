"""Measures what happens to a session when something happens to it, for docs/guide/bad-networks.md.

    python -m tests.lab.events [NAME OF A ROW ...]

A livekit-server on a host of its own, an observer O beside it, and a client P on another host, behind what goes wrong:
two or three network namespaces, which need root, and a process for each (``party``). Both send numbered reliable (R)
and lossy (L) packets, frames of a data track (T), a text stream (S) every second and a call (C) every half second. In
the middle of that something happens; afterwards what was sent and acknowledged is compared with what arrived.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import trio

from trio_livekit.testing.pair import LinkModel

from ..support.livekit import API_KEY, API_SECRET, find_server
from .netns import Host, Router, behind_nat, missing, two_hosts
from .results import attempt, keep, load, show
from .running import run

SIGNAL, UDP, TCP = 7880, 7882, 7881
ROOM = "lab"
WARM_S = 4.0
"""Of undisturbed traffic before anything happens."""
DRAIN_S = 20.0
"""For what was sent to arrive, after the last was sent."""
LEAVE_S = 10.0
SETTLE_S = 2.0
"""After it begins, and before it ends, of what is told of the time in between."""


class Server:
    """A livekit-server on a host of the lab, which can be stopped and started."""

    def __init__(self, host: Host, directory: Path) -> None:
        self._host = host
        self._config, self._log = directory / "livekit.yaml", directory / "livekit.log"
        binary = find_server()
        assert binary is not None
        self._binary = binary
        config = {
            "port": SIGNAL,
            "bind_addresses": ["127.0.0.1", host.address],
            "keys": {API_KEY: API_SECRET},
            "logging": {"level": "info", "json": True},
            "rtc": {"udp_port": UDP, "tcp_port": TCP, "node_ip": host.address, "use_external_ip": False},
        }
        self._config.write_text(json.dumps(config))  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://{self._host.address}:{SIGNAL}"

    async def start(self) -> float:
        """Start it, and wait until it accepts connections; returns when that was."""
        command = self._host.command(str(self._binary), "--config", str(self._config))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a moment
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        with trio.fail_after(20):
            while not self._host.accepts(SIGNAL):  # noqa: ASYNC110 - there is nothing to wait for
                await trio.sleep(0.01)
        return time.monotonic()

    def signal(self, number: int) -> None:
        """``ip netns exec`` becomes the server itself."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def token(identity: str, lasts_s: float = 3600.0) -> str:
    now = time.time()
    claims = {
        "iss": API_KEY,
        "sub": identity,
        "nbf": int(now) - 10,
        "exp": int(now + lasts_s),
        "video": {"room": ROOM, "roomJoin": True},
    }
    return jwt.encode(claims, API_SECRET, algorithm="HS256")


class Participant:
    """A party's process, and what it has told so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []
        self._changed = trio.Event()

    def do(self, what: str, **more: object) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            os.write(self.process.stdin.fileno(), json.dumps({"do": what, **more}).encode() + b"\n")

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            self.told += [json.loads(line) for line in lines]
            self._changed.set()
            self._changed = trio.Event()

    async def wait_told(self, *what: str, since: int = 0, timeout_s: float = 60.0) -> dict[str, Any] | None:
        """The first of these that it tells after the first ``since`` things; None if it takes too long."""
        with trio.move_on_after(timeout_s):
            while True:
                for said in self.told[since:]:
                    if said["what"] in what:
                        return said
                await self._changed.wait()
        return None

    async def report(self) -> dict[str, Any]:
        """What was counted; the last words of a process that is gone."""
        since = len(self.told)
        self.do("report")
        said = await self.wait_told("report", since=since, timeout_s=5)
        return said or next(said for said in reversed(self.told) if said["what"] == "report")


@dataclass
class Stage:
    """All that a row may act upon."""

    server: Server
    near: Host
    """P's."""
    far: Host
    """The server's, and O's."""
    router: Router | None
    nursery: trio.Nursery
    parties: dict[str, Participant] = field(default_factory=dict)
    broke_at: float = 0.0
    healed_at: float = 0.0
    notes: list[str] = field(default_factory=list)

    def broken(self) -> None:
        """It happens now."""
        self.broke_at = self.healed_at = time.monotonic()

    def healed(self) -> None:
        """And is over."""
        self.healed_at = time.monotonic()

    async def join(self, me: str, other: str, host: Host, identity: str = "", **settings: Any) -> Participant:
        """Start a party, and wait until it has joined."""
        settings = {"url": self.server.url, "token": token(identity or me), "me": me, "other": other, **settings}
        command = host.command(sys.executable, "-m", "tests.lab.party", json.dumps(settings))
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        party = self.parties[me] = Participant(process)
        self.nursery.start_soon(party.listen)
        return party

    def wall(self, *rules: str) -> None:
        """Lose what matches, on its way in at either host, but not what O and the server say to each other."""
        self.near.block(*rules)
        self.far.block(*(f"ip saddr != {self.far.address} ip saddr != 127.0.0.1 {rule}" for rule in rules))

    async def call(self, method: str, **request: Any) -> None:
        """Of the server's RoomService, from its own host. It happens when the request leaves."""
        video = {"roomAdmin": True, "roomCreate": True, "room": ROOM}
        claims = {"iss": API_KEY, "exp": int(time.time()) + 60, "video": video}
        headers = {
            "Authorization": f"Bearer {jwt.encode(claims, API_SECRET, algorithm='HS256')}",
            "Content-Type": "application/json",
        }
        connection = http.client.HTTPConnection(self.far.address, SIGNAL, timeout=10)
        connection.sock = self.far.tcp_socket()
        connection.sock.connect((self.far.address, SIGNAL))
        self.broken()
        body = json.dumps({"room": ROOM, **request})
        connection.request("POST", f"/twirp/livekit.RoomService/{method}", body, headers)
        answer = await trio.to_thread.run_sync(connection.getresponse)
        connection.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{method}: {answer.status}")


Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """A line of the table: what happens, what we aim for, and what the official SDK 1.2.0 did."""

    name: str
    act: Act
    goal: str
    official: str
    after_s: float = 6.0
    nat: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    """Of both parties."""
    near_settings: dict[str, Any] = field(default_factory=dict)
    """Of P alone."""


# --- what happens -----------------------------------------------------------------------------------------------------


def signal_lost(seconds: float) -> Act:
    async def act(stage: Stage) -> None:
        stage.broken()
        if seconds:
            stage.far.block(f"ip saddr {stage.near.address} tcp dport {SIGNAL} reject with tcp reset")
        stage.near.kill_tcp(SIGNAL)
        await trio.sleep(seconds)
        stage.wall()
        stage.healed()

    return act


def walled(seconds: float | None, *rules: str) -> Act:
    """Lose what matches for so long; None for ever."""

    async def act(stage: Stage) -> None:
        stage.broken()
        stage.wall(*rules)
        if seconds is not None:
            await trio.sleep(seconds)
            stage.wall()
            stage.healed()

    return act


async def address_changes(stage: Stage) -> None:
    stage.broken()
    stage.near.change_address("10.77.0.9")


def nat_forgets(address: str, ports: str) -> Act:
    async def act(stage: Stage) -> None:
        assert stage.router is not None
        stage.broken()
        stage.router.translate(address, ports)

    return act


def server_stops(seconds: float) -> Act:
    async def act(stage: Stage) -> None:
        stage.broken()
        stage.server.signal(signal.SIGSTOP)
        await trio.sleep(seconds)
        stage.server.signal(signal.SIGCONT)
        stage.healed()

    return act


def server_dies(seconds: float) -> Act:
    async def act(stage: Stage) -> None:
        stage.broken()
        stage.server.end()
        await trio.sleep(seconds)
        stage.healed_at = await stage.server.start()

    return act


async def server_told_to_end(stage: Stage) -> None:
    stage.broken()
    stage.server.signal(signal.SIGTERM)
    await trio.sleep(4)


async def room_deleted(stage: Stage) -> None:
    await stage.call("DeleteRoom")


async def participant_removed(stage: Stage) -> None:
    await stage.call("RemoveParticipant", identity="P")


async def identity_taken(stage: Stage) -> None:
    twin = await stage.join("Q", "O", stage.near, identity="P", traffic=QUIET)
    said = await twin.wait_told("joining")
    assert said is not None
    stage.broke_at = stage.healed_at = said["at"]
    await trio.sleep(3)
    twin.do("leave")


async def token_expired(stage: Stage) -> None:
    await trio.sleep(7)
    await signal_lost(0)(stage)


def client_stops(seconds: float) -> Act:
    async def act(stage: Stage) -> None:
        stage.broken()
        os.kill(stage.parties["P"].process.pid, signal.SIGSTOP)
        await trio.sleep(seconds)
        os.kill(stage.parties["P"].process.pid, signal.SIGCONT)
        stage.healed()

    return act


async def client_dies(stage: Stage) -> None:
    """While it writes a stream."""
    party = stage.parties["P"]
    party.do("endless")
    await trio.sleep(1)
    stage.broken()
    party.process.kill()
    await trio.sleep(20)


def narrow(which: str, seconds: float, rate_bps: float) -> Act:
    async def act(stage: Stage) -> None:
        host = stage.near if which == "near" else stage.far
        stage.broken()
        host.fault(LinkModel(rate_bps=rate_bps, queue_bytes=64 * 1024))
        await trio.sleep(seconds)
        host.fault(LinkModel())
        stage.healed()

    return act


async def permission_revoked(stage: Stage) -> None:
    permission = {"can_subscribe": True, "can_publish": True, "can_publish_data": False}
    await stage.call("UpdateParticipant", identity="P", permission=permission)


def clock_jumps(seconds: float) -> Act:
    async def act(stage: Stage) -> None:
        stage.broken()
        stage.parties["P"].do("clock", seconds=seconds)
        await trio.sleep(2)
        await signal_lost(0)(stage)

    return act


def idle(seconds: float) -> Act:
    """Nothing happens: it is the traffic that is of interest."""

    async def act(stage: Stage) -> None:
        stage.broken()
        await trio.sleep(seconds)

    return act


QUIET = {"reliable_s": 0, "lossy_s": 0, "frame_s": 0, "stream_s": 0, "call_s": 0}
FLOOD = {
    "traffic": {
        "reliable_s": 0.0005, "reliable_bytes": 15_000, "lossy_s": 0.002, "lossy_bytes": 15_000, "frame_s": 0.005,
        "frame_bytes": 100_000, "stream_s": 0, "call_s": 0,
    },
}  # fmt: skip
"""57 MB/s, as far as it is let."""
ANYTHING = "meta l4proto {tcp, udp}"
A_LOT = {"traffic": {"reliable_bytes": 1000, "frame_bytes": 5000, "stream_s": 0, "call_s": 0}}
"""1.6 Mbit/s: 0.4 of reliable packets, 0.1 of lossy ones, 0.8 of frames, and headers."""
# fmt: off
ROWS = (
    Row("signalling lost", signal_lost(0), "resumed ≤ 0.3 s; gap 0; 0 lost",
        "resumed after 3.1 s, nothing sent meanwhile; 0 lost"),
    Row("signalling lost, blocked for 1 s", signal_lost(1), "resumed ≤ 0.5 s after; nobody leaves; 0 lost",
        "another session after 1.7 to 3.4 s; 1 to 70 R down lost"),
    Row("signalling lost, blocked for 20 s", signal_lost(20), "resumed ≤ 2 s after; gap 0; 0 lost",
        "given up after 18.8 s; 1,615 R down lost"),
    Row("UDP blocked", walled(None, "meta l4proto udp drop"), "noticed ≤ 5 s, on TCP ≤ 6 s; 0 R up lost",
        "noticed after 15.1 s, then another session; 726 R up, 734 down, 15 S and 15 S lost", after_s=14),
    Row("nothing passes for 3 s", walled(3, f"{ANYTHING} drop"), "gap ≤ 3.3 s; no event",
        "gap 5.8 s up, 3.0 s down; 0 lost", after_s=8),
    Row("nothing passes for 10 s", walled(10, f"{ANYTHING} drop"),
        "gap up ≤ 10.3 s; reconnecting ≤ 6 s; 0 lost", "gap 10.05 s up, 15.0 s down; 0 lost", after_s=12),
    Row("nothing passes for 40 s", walled(40, f"{ANYTHING} drop"), "back ≤ 1 s after; 0 R up lost; S complete or error",
        "another session 0.2 s after; 746 R up, 2,003 R down and 39 S lost", after_s=15),
    Row("another address", address_changes, "noticed ≤ 5 s, new path ≤ 0.5 s; gap down ≤ 8 s",
        "18.1 s; gap down 31 s; 0 lost", after_s=15),
    Row("NAT: another port", nat_forgets("10.77.0.1", "30000-39999"), "gap ≤ 3 s; 0 lost", "not measured", nat=True,
        after_s=10),
    Row("NAT: another address", nat_forgets("10.77.0.3", "40000-49999"), "gap ≤ 3 s; 0 lost", "not measured", nat=True,
        after_s=12),
    Row("server stopped for 5 s", server_stops(5), "gap ≤ 5.3 s; 0 lost; no event", "gap 5.04 s; 0 lost"),
    Row("server stopped for 15 s", server_stops(15), "gap ≤ 15.5 s; 0 lost",
        "resumed 0.2 s after; up stalled 28 s more; 0 lost", after_s=12),
    Row("server stopped for 40 s", server_stops(40), "0 R up lost; S complete or error",
        "another session 0.2 s after; 744 R up, 705 R down and 29 S lost", after_s=12),
    Row("server killed, back after 1 s", server_dies(1), "back ≤ 1 s after; 0 R up lost",
        "back after 1.8 s; 1 + 1 R and 1 S lost", after_s=10),
    Row("server killed, back after 20 s", server_dies(20), "back ≤ 5.5 s after; 0 R up lost", "never returns",
        after_s=15),
    Row("server told to end", server_told_to_end, "nothing happens until the socket closes", "nothing within 4 s"),
    Row("room deleted", room_deleted, "ended ≤ 0.5 s, ROOM_DELETED", "0.43 s"),
    Row("participant removed", participant_removed, "ended ≤ 0.5 s, PARTICIPANT_REMOVED", "0.36 s"),
    Row("identity taken by another", identity_taken, "ended, DUPLICATE_IDENTITY; no fight", "0.79 s"),
    Row("token expired, signalling lost", token_expired, "resumed ≤ 0.3 s", "resumed, as the server renews tokens"),
    Row("permission to publish revoked", permission_revoked, "connected; publishing is refused", "not measured"),
    Row("client stopped for 40 s", client_stops(40), "back ≤ 1 s after; 0 R up lost",
        "back 0.4 s after; 1 R up, 1,968 R down lost", after_s=12),
    Row("client killed", client_dies, "readers of its streams end ≤ 5 s after it is seen to leave", "not measured",
        after_s=10),
    Row("300 kbit/s down, 1.6 Mbit/s sent to it", narrow("far", 25, 300e3), "memory bounded; T the newest first",
        "R p50 11 s; T 64 % lost, p50 146 ms; L 2 % lost", settings=A_LOT, after_s=6),
    Row("300 kbit/s up, 1.6 Mbit/s to send", narrow("near", 25, 300e3),
        "sender waits when 256 KiB are queued; T p50 ≤ 100 ms", "23 s queued; L p50 12 s, T p50 20 ms, 55 % lost",
        settings=A_LOT, after_s=6),
    Row("a flood to who does not read", idle(20), "memory grows ≤ 16 MiB", "not measured", settings=FLOOD,
        near_settings={"reads": False, "traffic": QUIET}, after_s=0),
    Row("wall clock a day ahead", clock_jumps(86400), "nothing happens", "not measured"),
    Row("wall clock a day back", clock_jumps(-86400), "nothing happens", "not measured"),
    Row("wall clock 10 s back", clock_jumps(-10), "nothing happens", "not measured"),
)
# fmt: on
EXPIRING_S = 8.0

# --- the experiment ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def stage_for(row: Row) -> AsyncIterator[Stage]:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        router = None
        if row.nat:
            near, router, far = stack.enter_context(behind_nat())
        else:
            near, far = stack.enter_context(two_hosts())
        server = Server(far, directory)
        stack.callback(server.end)
        await server.start()
        async with trio.open_nursery() as nursery:
            stage = Stage(server, near, far, router, nursery)
            try:
                yield stage
            finally:
                for party in stage.parties.values():
                    party.process.kill()
                    with trio.CancelScope(shield=True):
                        await party.process.wait()
                nursery.cancel_scope.cancel("the experiment is over")


async def measure(row: Row) -> dict[str, Any]:
    async with stage_for(row) as stage:
        observer = await stage.join("O", "P", stage.far, **row.settings)
        await observer.wait_told("joined")
        settings = {**row.settings, **row.near_settings}
        if row.act is token_expired:
            settings["token"] = token("P", EXPIRING_S)
        party = await stage.join("P", "O", stage.near, **settings)
        for each in (observer, party):
            assert await each.wait_told("ready") is not None
        before = await party.report()
        await trio.sleep(WARM_S)
        await row.act(stage)
        await trio.sleep(row.after_s)
        for each in (observer, party):
            each.do("stop")
        reports = await drained(observer, party)
        return summary(stage, *reports) | {"rss_mb": [round(r["rss_kb"] / 1024) for r in (before, reports[1])]}


async def drained(observer: Participant, party: Participant) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both counted, once nothing more is on the way, or that has taken too long."""
    with trio.move_on_after(DRAIN_S):
        while True:
            await trio.sleep(0.5)
            of_o, of_p = await observer.report(), await party.report()
            missing = [
                set(a["flows"]["R"]["sent"]) - set(a["flows"]["R"]["failed"]) - set(b["flows"]["R"]["arrived"])
                for a, b in ((of_o, of_p), (of_p, of_o))
            ]
            if not any(missing):
                break
    return await observer.report(), await party.report()


def summary(stage: Stage, of_o: dict[str, Any], of_p: dict[str, Any]) -> dict[str, Any]:
    """Times are seconds since it happened, and since it was over."""
    broke, healed = stage.broke_at, stage.healed_at
    events = []
    for name, party in sorted(stage.parties.items()):
        for said in party.told:
            if said["what"] not in ("report", "stopped") and said["at"] > broke:
                detail = next((str(said[key]) for key in ("reason", "resumed", "who") if key in said), "")
                times = round(said["at"] - broke, 2), round(said["at"] - healed, 2)
                events.append([name, said["what"], detail, *times])
    ways = {"up": (of_p, of_o), "down": (of_o, of_p)}
    return {
        "lasted_s": round(healed - broke, 2),
        "events": events,
        **{way: counted(broke, healed, *reports) for way, reports in ways.items()},
        "transports": of_p["transports"],
    }


def counted(broke: float, healed: float, sender: dict[str, Any], receiver: dict[str, Any]) -> dict[str, Any]:
    """One direction: of each kind how many were sent and lost, how long nothing arrived, and how late what did was."""
    found: dict[str, Any] = {}
    for kind in ("R", "L", "T", "S", "C"):
        ours, theirs = sender["flows"][kind], receiver["flows"][kind]
        sent, arrived, failed = ours["sent"], theirs["arrived"], ours["failed"]
        during = [n for n, at in sent.items() if at > broke - 0.5 and n in arrived]
        delays = sorted(1000 * (arrived[n] - sent[n]) for n in during)
        meanwhile = sorted(
            1000 * (arrived[n] - sent[n]) for n in during if broke + SETTLE_S < sent[n] < healed - SETTLE_S
        )
        after = [at for at in ours["acked"].values() if at > healed]
        found[kind] = {
            "sent": len(sent),
            "acked_again_s": round(min(after) - healed, 2) if after else -1,
            "acked_lost": len(set(ours["acked"]) - set(arrived)),
            "lost": len(set(sent) - set(failed) - set(arrived)),
            "failed": sorted(set(failed.values())),
            "failed_count": len(failed),
            "twice": theirs["twice"],
            "gap_s": gap(broke, list(arrived.values())),
            "resumed_s": round(min((at - healed for at in arrived.values() if at > healed), default=-1.0), 2),
            "p50": round(delays[len(delays) // 2]) if delays else -1,
            "p99": round(delays[int(len(delays) * 0.99)]) if delays else -1,
            "p50_meanwhile": round(meanwhile[len(meanwhile) // 2]) if meanwhile else -1,
            "p99_meanwhile": round(meanwhile[int(len(meanwhile) * 0.99)]) if meanwhile else -1,
        }
    return found


def gap(broke: float, arrivals: list[float]) -> float:
    """The longest time without an arrival that it brought about."""
    times = sorted(arrivals)
    return round(max((b - a for a, b in itertools.pairwise(times) if b > broke), default=-1.0), 2)


# --- the table --------------------------------------------------------------------------------------------------------


def way_text(way: dict[str, Any], row: Row) -> str:
    """One direction in a cell: lost, gap, other kinds; how old things are where that is the question."""
    reliable = way["R"]
    parts = [f"R {reliable['lost']} lost" + (f", {reliable['twice']} twice" if reliable["twice"] else "")]
    if reliable["acked_lost"] != reliable["lost"]:
        parts[0] += f" ({reliable['acked_lost']} of them acknowledged)"
    if reliable["failed_count"]:
        parts[0] += f", {reliable['failed_count']} refused"
    if row.settings:
        parts[0] += f", {_age(reliable)}"
        parts += [_aged(kind, way[kind]) for kind in "LT"]
    elif reliable["gap_s"] >= 0:
        parts.append(f"gap {reliable['gap_s']:.2f} s" if reliable["gap_s"] < 0.5 else f"gap {reliable['gap_s']:.1f} s")
    for kind in ("S", "C"):
        unsaid = [f"{way[kind]['acked_lost']} lost"] if kind == "S" and way[kind]["acked_lost"] else []
        told = [f"{way[kind]['failed_count']} errors"] if way[kind]["failed_count"] else []
        if unsaid or told:
            parts.append(f"{kind} {', '.join(unsaid + told)}")
    return "; ".join(parts)


def _aged(kind: str, flow: dict[str, Any]) -> str:
    share = lambda count: f"{100 * count / max(1, flow['sent']):.0f} %"  # noqa: E731
    refused = f", {share(flow['failed_count'])} refused" if flow["failed_count"] else ""
    return f"{kind} {_age(flow)}, {share(flow['lost'])} lost{refused}"


def _age(flow: dict[str, Any]) -> str:
    """Median and 99th percentile while it lasted."""
    return f"{flow['p50_meanwhile']}/{flow['p99_meanwhile']} ms"


def events_text(found: dict[str, Any], row: Row) -> str:
    said = []
    if row.settings:
        said.append("its memory: {} MB, then {}".format(*found["rss_mb"]))
    for who, what, detail, since_broke, since_healed in found["events"]:
        if who == "P" and what in ("reconnecting", "reconnected", "ended", "continuity lost", "unpublished"):
            if what == "reconnected":
                what = "resumed" if detail == "True" else "another session"
            after = f" ({since_healed:.2f} s after)" if found["lasted_s"] and since_healed > 0 else ""
            said.append(f"{what}{f' {detail}' if what == 'ended' else ''} {since_broke:.2f} s{after}")
        elif who == "O" and what == "went":
            said.append(f"O saw it leave {since_broke:.1f} s")
        elif who == "O" and what == "stream" and row.act is client_dies:
            said.append(f"O's reader ended {detail} {since_broke:.1f} s")
    return "; ".join(said) or "nothing"


HEADS = ["event", "goal", "official", "ours: P was told", "ours, up", "ours, down"]


def cells(row: Row, found: dict[str, Any]) -> list[str]:
    """What was found, for the last three columns."""
    if "error" in found:
        return [found["error"], "", ""]
    if row.settings is FLOOD:
        return [events_text(found, row), "", "nothing is taken, so nothing is lost"]
    return [events_text(found, row), way_text(found["up"], row), way_text(found["down"], row)]


def main(chosen: list[str]) -> None:
    reason = missing()
    if reason is not None or find_server() is None:
        sys.exit(reason or "there is no livekit-server")
    for row in ROWS:
        if chosen and row.name not in chosen:
            continue
        found = attempt(run, measure, row)
        keep("events", row.name, found)
        print(row.name, *cells(row, found), found.get("transports"), sep=" | ", flush=True)
    found = load()["events"]
    show("events", HEADS, ([r.name, r.goal, r.official, *cells(r, found[r.name])] for r in ROWS if r.name in found))


if __name__ == "__main__":
    main(sys.argv[1:])

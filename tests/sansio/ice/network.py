"""An in-memory network with many addresses, on virtual time: delay, loss, block rules, NAT. A seed replays it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.agent import Agent
from trio_livekit._sansio.ice.candidate import Candidate
from trio_livekit._sansio.ice.events import Path, PathSelected, State, StateChanged, TcpConnectNeeded
from trio_livekit._sansio.types import Address

if TYPE_CHECKING:
    from trio_livekit._sansio.ice.config import Config

Rule = Callable[[Address, Address, str], bool]


class Nat:
    """Address- and port-dependent filtering; endpoint-independent mapping unless ``symmetric``."""

    def __init__(self, public_ip: str, *, symmetric: bool = False) -> None:
        self.public_ip = public_ip
        self.symmetric = symmetric
        self._ports = itertools.count(40000)
        self._out: dict[object, Address] = {}
        self._in: dict[Address, tuple[Address, set[Address]]] = {}

    def outbound(self, source: Address, target: Address) -> Address:
        key: object = (source, target) if self.symmetric else source
        if key not in self._out:
            public = (self.public_ip, next(self._ports))
            self._out[key] = public
            self._in[public] = (source, set())
        public = self._out[key]
        self._in[public][1].add(target)
        return public

    def inbound(self, source: Address, target: Address) -> Address | None:
        inside, allowed = self._in.get(target, (None, set()))
        return inside if source in allowed else None

    def rebind(self) -> None:
        """Forget every mapping, as a router does that restarts."""
        self._out.clear()
        self._in.clear()


class Network:
    def __init__(self, seed: int = 1, *, delay_s: float = 0.01, loss: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.delay_s = delay_s
        self.loss = loss
        self.now = 100.0
        self.blocked: list[Rule] = []
        self.nodes: list[Node] = []
        self.nats: dict[str, Nat] = {}  # by inside ip
        self.sockets: dict[tuple[Address, str], Callable[[bytes, Path, float], None]] = {}
        self.listeners: dict[Address, Callable[[bytes, Path, float], None]] = {}
        self.log: list[tuple[float, Address, Address, bytes]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def random_bytes(self, n: int) -> bytes:
        return self.random.randbytes(n)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay_s, next(self._order), call))

    def silence(self, ip: str) -> None:
        """Nothing gets to this address, or from there, any more."""
        self.blocked.append(lambda source, target, protocol: ip in (source[0], target[0]))

    def send(self, path: Path, data: bytes) -> None:
        source, target, protocol = path
        self.log.append((self.now, source, target, data))
        if any(rule(source, target, protocol) for rule in self.blocked):
            return
        if protocol == "tcp":
            self.later(self.delay_s, lambda: self._arrive(source, target, data, protocol))
            return
        if self.random.random() < self.loss:
            return
        nat = self.nats.get(source[0])
        if nat is not None:
            source = nat.outbound(source, target)
        for nat in self.nats.values():
            if target[0] == nat.public_ip:
                inside = nat.inbound(source, target)
                if inside is None:
                    return
                target = inside
                break
        self.later(self.delay_s, lambda: self._arrive(source, target, data, protocol))

    def _arrive(self, source: Address, target: Address, data: bytes, protocol: str) -> None:
        receiver = self.sockets.get((target, protocol))
        if receiver is not None:
            receiver(data, Path(target, source, protocol), self.now)

    def run(self, *, seconds: float = 10.0, until: Callable[[], bool] | None = None) -> bool:
        """Step from deadline to deadline; True if ``until`` came true."""
        end = self.now + seconds
        for node in self.nodes:
            node.flush()
        while until is None or not until():
            times = [self._queue[0][0]] if self._queue else []
            times += [t for t in (node.agent.next_timeout() for node in self.nodes) if t is not None]
            soonest = min(times, default=end)
            if soonest > end:
                self.now = end
                return until is not None and until()
            self.now = max(self.now, soonest)
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
                for node in self.nodes:
                    node.flush()
            for node in self.nodes:
                node.agent.handle_timeout(self.now)
                node.flush()
            if soonest >= end:
                break
        return until is not None and until()


class Node:
    """An agent with sockets on the network."""

    def __init__(
        self,
        network: Network,
        ips: list[str],
        *,
        controlling: bool,
        config: Config | None = None,
        tcp: bool = False,
        random_bytes: Callable[[int], bytes] | None = None,
    ) -> None:
        self.network = network
        self.agent = Agent(controlling=controlling, random_bytes=random_bytes or network.random_bytes, config=config)
        self.candidates: list[Candidate] = []
        self.events: list[object] = []
        self.data: list[tuple[Path, bytes]] = []
        network.nodes.append(self)
        for index, ip in enumerate(ips):
            self.bind((ip, 5000 + len(network.sockets)), local_preference=65535 - index)
            if tcp:
                self.add(Candidate.tcp_active(ip))
        self._tcp_ports = itertools.count(30000)

    def bind(self, address: Address, *, local_preference: int = 65535) -> Candidate:
        self.network.sockets[address, "udp"] = self.receive
        return self.add(Candidate.local_host(address, local_preference=local_preference))

    def add(self, candidate: Candidate) -> Candidate:
        self.candidates.append(candidate)
        self.agent.add_local_candidate(candidate, self.network.now)
        return candidate

    def receive(self, data: bytes, path: Path, now: float) -> None:
        if stun.is_stun(data):
            self.agent.receive_datagram(data, path, now)
        elif self.agent.is_authenticated(path):
            self.data.append((path, data))
            if path == self.agent.selected_path:
                self.agent.note_activity(now)

    def send(self, data: bytes) -> bool:
        path = self.agent.selected_path
        if path is None:
            return False
        self.network.send(path, data)
        return True

    def flush(self) -> None:
        for path, data in self.agent.datagrams_to_send(self.network.now):
            self.network.send(path, data)
        for event in self.agent.poll_events():
            self.events.append(event)
            if isinstance(event, TcpConnectNeeded):
                self._connect(event.remote)

    def _connect(self, remote: Address) -> None:
        local = (next(c.host for c in self.candidates if c.tcptype == "active"), next(self._tcp_ports))
        path = Path(local, remote, "tcp")
        listener = self.network.listeners.get(remote)

        def finish() -> None:
            if listener is None or any(rule(local, remote, "tcp") for rule in self.network.blocked):
                self.agent.tcp_failed(remote, self.network.now)
                return
            self.network.sockets[local, "tcp"] = self.receive
            self.network.sockets[remote, "tcp"] = listener
            self.agent.tcp_connected(path, self.network.now)

        self.network.later(2 * self.network.delay_s, finish)

    @property
    def states(self) -> list[State]:
        return [event.state for event in self.events if isinstance(event, StateChanged)]

    @property
    def selections(self) -> list[Path]:
        return [event.path for event in self.events if isinstance(event, PathSelected)]

    @property
    def is_connected(self) -> bool:
        return self.agent.state is State.CONNECTED


def signal(source: Node, target: Node, *, candidates: bool = True, lite: bool = False) -> None:
    """Hand over what SDP and trickle would."""
    now = source.network.now
    target.agent.set_remote_parameters(source.agent.ufrag, source.agent.password, lite=lite, now=now)
    if candidates:
        for candidate in source.candidates:
            target.agent.add_remote_candidate(Candidate.parse(candidate.to_sdp()), now)
        target.agent.end_of_candidates(now)


def pair(network: Network, *, a_ips: list[str] | None = None, b_ips: list[str] | None = None) -> tuple[Node, Node]:
    """A controlling and a controlled node, not signalled yet."""
    a = Node(network, a_ips or ["10.0.0.1"], controlling=True)
    b = Node(network, b_ips or ["10.0.0.2"], controlling=False)
    return a, b


def both_connected(a: Node, b: Node) -> Callable[[], bool]:
    return lambda: a.is_connected and b.is_connected


class LiteResponder:
    """The least a lite server does: answer checks, take the last nomination, never ask (RFC 8445 section 2.5)."""

    def __init__(self, network: Network, addresses: list[Address], *, tcp: list[Address] | None = None) -> None:
        self.network = network
        self.ufrag, self.password = "liteufrag", "litepasswordlitepassword"
        self.selected: Path | None = None
        self.requests: list[stun.StunMessage] = []
        self.data: list[tuple[Path, bytes]] = []
        self.candidates = [Candidate.local_host(address) for address in addresses]
        for address in addresses:
            network.sockets[address, "udp"] = self.receive
        for address in tcp or []:
            network.listeners[address] = self.receive
            self.candidates.append(
                Candidate.parse(f"candidate:1 1 tcp 1671430143 {address[0]} {address[1]} typ host tcptype passive")
            )

    def receive(self, data: bytes, path: Path, now: float) -> None:
        if not stun.is_stun(data):
            self.data.append((path, data))
            return
        request = stun.decode(data)
        key = self.password.encode()
        if request.message_class != stun.REQUEST or not request.is_authentic(key):
            return
        self.requests.append(request)
        if request.has(stun.USE_CANDIDATE):
            self.selected = path
        answer = stun.encode(
            stun.BINDING,
            stun.SUCCESS,
            request.transaction_id,
            [(stun.XOR_MAPPED_ADDRESS, path.remote)],
            key=key,
        )
        self.network.send(Path(path.local, path.remote, path.protocol), answer)

    def introduce(self, node: Node) -> None:
        node.agent.set_remote_parameters(self.ufrag, self.password, lite=True, now=self.network.now)
        for candidate in self.candidates:
            node.agent.add_remote_candidate(candidate, self.network.now)
        node.agent.end_of_candidates(self.network.now)


def binding_request(target: Node, remote_ufrag: str, *attributes: tuple[int, object], password: str = "") -> bytes:
    """A check such as a peer called ``remote_ufrag`` would send to ``target`` as it is now."""
    agent = target.agent
    return stun.encode(
        stun.BINDING,
        stun.REQUEST,
        target.network.random_bytes(12),
        [(stun.USERNAME, f"{agent.ufrag}:{remote_ufrag}"), (stun.PRIORITY, 1862270975), *attributes],
        key=(password or agent.password).encode(),
    )

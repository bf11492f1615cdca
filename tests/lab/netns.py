"""Two hosts on a wire of their own: Linux network namespaces joined by a veth pair. Needs root and iproute2.

Unlike the relay, this is the real network stack: routes, fragments, queues, firewalls and ports as the kernel has them.
Faults are a subset of ``LinkModel``: ``loss`` and ``mtu`` by nftables or iptables, ``rate_bps`` by tbf. Delay,
reordering, duplication and corruption need netem, which many kernels lack: they are the relay's.

    with two_hosts() as (left, right):
        left.fault(LinkModel(loss=0.05, rate_bps=20e6))                   # what left sends
        sock = right.udp_socket()                                          # a socket of this process, over there
        subprocess.Popen(left.command("livekit-server", "--config", ...))

``behind_nat`` puts a host behind a router that translates addresses, and whose mappings can be changed.

A process that was killed leaves its hosts behind, and what runs on them. Their names say whose they are: whoever makes
hosts first removes those of processes that are no more.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trio_livekit.testing.pair import LinkModel

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_UDP_IP_HEADERS = 28
_TBF_BURST_BYTES = 16 * 1024
"""Has to hold one packet and a timer tick's worth of the rate: enough for 100 Mbit/s at 1000 Hz."""

_NETLINK_NETFILTER = 12
_CONNTRACK_DELETE = 1 << 8 | 2
_REQUEST_WITH_ANSWER = 1 | 4

_numbers = itertools.count()


def missing() -> str | None:
    """Why namespaces cannot be had here, or None."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            return f"network namespaces need the command {tool}"
    probe = f"tlk-probe-{os.getpid()}"
    result = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if result.returncode:
        return f"network namespaces cannot be made: {result.stderr.strip()}"
    _run("ip", "netns", "delete", probe)
    return None


def firewall() -> str | None:
    """The command that can lose packets here: nft, iptables, or None."""
    return next((tool for tool in ("nft", "iptables") if shutil.which(tool)), None)


@dataclass(frozen=True)
class Host:
    """One end of the wire."""

    namespace: str
    device: str
    address: str
    peer: str
    """The namespace of the other end."""

    def command(self, *arguments: str) -> list[str]:
        """A command line that runs on this host."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def udp_socket(self, port: int = 0) -> socket.socket:
        """A UDP socket of this process that lives on this host, bound to its address."""
        sock = _in_namespace(self.namespace)
        sock.bind((self.address, port))
        return sock

    def tcp_socket(self) -> socket.socket:
        """A TCP socket of this process that lives on this host."""
        return _in_namespace(self.namespace, socket.AF_INET, socket.SOCK_STREAM)

    def accepts(self, port: int) -> bool:
        """Whether something listens on a TCP port of this host."""
        with self.tcp_socket() as sock:
            return sock.connect_ex((self.address, port)) == 0

    def block(self, *rules: str) -> None:
        """Packets that arrive here and match a rule of nft are lost, or what the rule says; without rules all pass."""
        lines = ["add table inet wall", "delete table inet wall"]
        if rules:
            lines += ["add table inet wall", "add chain inet wall arrive { type filter hook input priority -1; }"]
            lines += [f"add rule inet wall arrive {rule}" for rule in rules]
        _run(*self.command("nft", "-f", "-"), stdin="\n".join(lines) + "\n")

    def kill_tcp(self, port: int) -> None:
        """Break this host's TCP connections to a port, as a network card that is pulled out does."""
        _run(*self.command("ss", "-K", "dport", "=", f":{port}"))

    def change_address(self, address: str) -> None:
        """Have another address from now on: what used the old one is cut off."""
        _run("ip", "-n", self.namespace, "address", "delete", f"{self.address}/24", "dev", self.device)
        _run("ip", "-n", self.namespace, "address", "add", f"{address}/24", "dev", self.device)

    def fault(self, model: LinkModel) -> None:
        """From now on, this is what becomes of the UDP datagrams that this host sends.

        Raises:
            ValueError: the model asks for what only the relay can do.
        """
        leftover = replace(model, loss=0.0, mtu=None, rate_bps=None, queue_bytes=LinkModel().queue_bytes)
        if leftover != LinkModel():
            raise ValueError(f"not to be had without netem, use the relay: {leftover}")
        subprocess.run(self.command("tc", "qdisc", "delete", "dev", self.device, "root"), capture_output=True)
        if model.rate_bps is not None:
            rate, limit = f"{int(model.rate_bps)}bit", str(max(model.queue_bytes, _TBF_BURST_BYTES))
            shape = ["tbf", "rate", rate, "burst", str(_TBF_BURST_BYTES), "limit", limit]
            _run(*self.command("tc", "qdisc", "add", "dev", self.device, "root", *shape))
        if firewall() is None:
            if model.loss or model.mtu:
                raise ValueError("loss needs nft or iptables")
        elif firewall() == "nft":
            self._filter_by_nft(model)
        else:
            self._filter_by_iptables(model)

    # Datagrams are lost where they arrive: a rule where they leave would answer the sender with EPERM.

    def _filter_by_nft(self, model: LinkModel) -> None:
        rules = ["add table inet faults", "delete table inet faults", "add table inet faults"]
        rules.append("add chain inet faults arrive { type filter hook input priority 0; }")
        if model.mtu is not None:
            rules.append(f"add rule inet faults arrive meta l4proto udp udp length > {model.mtu + 8} drop")
        if model.loss:
            share = f"numgen random mod 10000 < {round(model.loss * 10000)}"
            rules.append(f"add rule inet faults arrive meta l4proto udp {share} counter drop")
        _run("ip", "netns", "exec", self.peer, "nft", "-f", "-", stdin="\n".join(rules) + "\n")

    def _filter_by_iptables(self, model: LinkModel) -> None:
        iptables = ["ip", "netns", "exec", self.peer, "iptables"]
        _run(*iptables, "-F", "INPUT")
        append = [*iptables, "-A", "INPUT", "-p", "udp"]
        if model.mtu is not None:
            _run(*append, "-m", "length", "--length", f"{model.mtu + _UDP_IP_HEADERS + 1}:65535", "-j", "DROP")
        if model.loss:
            _run(*append, "-m", "statistic", "--mode", "random", "--probability", str(model.loss), "-j", "DROP")


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make two hosts, 10.77.0.1 and 10.77.0.2; they and their wire are gone after the block."""
    remove_leftovers()
    base = f"tlk{os.getpid()}-{next(_numbers)}"
    left_space, right_space = f"{base}-l", f"{base}-r"
    left = Host(left_space, "wire0", "10.77.0.1", right_space)
    right = Host(right_space, "wire1", "10.77.0.2", left_space)
    with contextlib.ExitStack() as stack:
        for host in (left, right):
            _run("ip", "netns", "add", host.namespace)
            stack.callback(_run, "ip", "netns", "delete", host.namespace)
        wire = ["link", "add", "name", left.device, "type", "veth", "peer", "name", right.device]
        _run("ip", "-n", left.namespace, *wire, "netns", right.namespace)
        for host in (left, right):
            _run("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", host.device)
            # One segment per packet: else a segmented send crosses the wire whole, and is lost or kept as one.
            _run("ip", "-n", host.namespace, "link", "set", host.device, "gso_max_segs", "1", "up")
            _run("ip", "-n", host.namespace, "link", "set", "lo", "up")
        yield left, right


def remove_leftovers() -> None:
    """End what dead processes left behind: their hosts, and what still runs there."""
    for path in sorted(_NAMESPACES.glob("tlk*")):
        owner = re.match(r"tlk(\d+)-", path.name)
        if owner is None or Path("/proc", owner[1]).exists():
            continue
        with contextlib.suppress(OSError):  # another one removes it at the same time
            for pid in _run("ip", "netns", "pids", path.name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _run("ip", "netns", "delete", path.name)


@dataclass(frozen=True)
class Router:
    """Between a host and the wire: it has the addresses 10.77.0.1 and 10.77.0.3 there."""

    namespace: str

    def translate(self, address: str, ports: str) -> None:
        """Give the host behind it other mappings from now on: an address of the router, and a range of UDP ports."""
        rules = ["add table ip nat", "delete table ip nat", "add table ip nat"]
        rules.append("add chain ip nat leave { type nat hook postrouting priority 100; }")
        rules.append(f'add rule ip nat leave oifname "wire0" meta l4proto udp snat to {address}:{ports}')
        rules.append(f'add rule ip nat leave oifname "wire0" meta l4proto tcp snat to {address}')
        _run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", stdin="\n".join(rules) + "\n")
        self._forget_mappings()

    def _forget_mappings(self) -> None:
        """What ``conntrack -F`` does: one message, which names no connection and so means all."""
        family = socket.AF_NETLINK  # type: ignore[attr-defined, unused-ignore]
        with _in_namespace(self.namespace, family, socket.SOCK_RAW, _NETLINK_NETFILTER) as sock:
            length = 20
            sock.send(struct.pack("=LHHLLBBH", length, _CONNTRACK_DELETE, _REQUEST_WITH_ANSWER, 1, 0, 0, 0, 0))
            error = struct.unpack_from("=i", sock.recv(4096), 16)[0]
            if error:
                raise OSError(-error, "the mappings of the router could not be deleted")


@contextlib.contextmanager
def behind_nat() -> Iterator[tuple[Host, Router, Host]]:
    """A host (10.78.0.2) behind a router, and the host that it reaches through it (10.77.0.2)."""
    with two_hosts() as (middle, right):
        router = Router(middle.namespace)
        inside = Host(f"{middle.namespace}-in", "wire2", "10.78.0.2", middle.namespace)
        _run("ip", "netns", "add", inside.namespace)
        try:
            wire = ["link", "add", "name", inside.device, "type", "veth", "peer", "name", "wire3"]
            _run("ip", "-n", inside.namespace, *wire, "netns", router.namespace)
            _run("ip", "-n", inside.namespace, "address", "add", "10.78.0.2/24", "dev", inside.device)
            _run("ip", "-n", router.namespace, "address", "add", "10.78.0.1/24", "dev", "wire3")
            _run("ip", "-n", router.namespace, "address", "add", "10.77.0.3/24", "dev", middle.device)
            _run("ip", "-n", inside.namespace, "link", "set", "lo", "up")
            for namespace, device in ((inside.namespace, inside.device), (router.namespace, "wire3")):
                _run("ip", "-n", namespace, "link", "set", device, "gso_max_segs", "1", "up")
            _run("ip", "-n", inside.namespace, "route", "add", "default", "via", "10.78.0.1")
            _run("ip", "netns", "exec", router.namespace, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
            router.translate("10.77.0.1", "20000-29999")
            yield inside, router, right
        finally:
            _run("ip", "netns", "delete", inside.namespace)


def _in_namespace(
    namespace: str, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0
) -> socket.socket:
    """A new socket of another namespace. A thread of its own goes there: namespaces are a thread's, not ours."""
    made: list[socket.socket | BaseException] = []

    def make() -> None:
        try:
            with Path(_NAMESPACES, namespace).open("rb") as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns to {namespace}")
            made.append(socket.socket(family, kind, protocol))
        except BaseException as exc:
            made.append(exc)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    [result] = made
    if isinstance(result, BaseException):
        raise result
    return result


def _run(*command: str, stdin: str | None = None) -> str:
    result = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if result.returncode:
        raise OSError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout

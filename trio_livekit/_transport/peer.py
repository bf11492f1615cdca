"""Drives one sans-IO ``Peer``: sockets, timers, and nothing else.

Nothing on the path of a message switches tasks. A send goes through the cores and out of the socket in the caller's own
step. A receiver wakes once, drains its socket, feeds the core, hands the events to ``sink``, and answers with one round
of acknowledgements. Only what a socket or the congestion window does not take at once is left to the tasks of ``run``.
"""

from __future__ import annotations

__all__ = ["PeerConfig", "PeerConnection"]

import errno
import logging
import math
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from .._sansio.dtls import Fingerprint, Role
from .._sansio.ice.candidate import Candidate, local_preferences
from .._sansio.ice.events import Path, TcpConnectNeeded
from .._sansio.peer import Peer, RemoteDescription
from .._sansio.sdp import LocalDescription, SessionDescription, Setup, data_answer, data_offer
from ..errors import DecodeError, TransportError
from .certificate import generate_certificate
from .datagrams import DatagramEndpoint, UdpEndpoint
from .interfaces import host_addresses
from .keylog import key_log_from_environment
from .tcp import TcpEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.dtls import LocalCertificate
    from .._sansio.peer import PeerEvent
    from .._sansio.sctp import Config as SctpConfig
    from .._sansio.types import Address

logger = logging.getLogger(__name__)

_TCP_CONNECT_TIMEOUT_S = 5.0

_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_DRAIN_DATAGRAMS = 64
"""Datagrams taken in one wake-up, so that a flood does not keep other tasks from running."""


_BURST_GAP_S = 0.0003
"""Sends closer together than this are a burst, in which sharing datagrams is worth more than leaving at once."""

_BURST_BYTES = 64 * 1024
"""What gathers of a burst before it is sent in the middle of the caller's step: about one segmented send."""


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """What a peer connection is to be like."""

    controlling: bool = True
    """The ICE role: whoever offers controls."""
    answer_setup: Setup = Setup.PASSIVE
    """The DTLS role when answering an ``actpass`` offer. Passive saves the round trip of a cookie exchange."""
    include_loopback: bool = False
    """Also gather loopback addresses: for a server on this machine."""
    hosts: tuple[str, ...] | None = None
    """Gather exactly these local IP addresses instead of asking the system."""
    bind: Callable[[str], DatagramEndpoint] = UdpEndpoint.bind
    """Makes the socket for a local address; a test may have a network of its own."""
    certificate: LocalCertificate | None = None
    sctp: SctpConfig | None = None
    name: str = "peer connection"
    """What tasks and log lines call this connection."""


class PeerConnection:
    """One peer connection. ``run`` must be running in somebody's nursery for anything to happen."""

    def __init__(self, config: PeerConfig, sink: Callable[[PeerEvent], None]) -> None:
        self._config = config
        self._sink = sink
        self._certificate = config.certificate or generate_certificate()
        self._core = Peer(
            controlling=config.controlling,
            certificate=self._certificate,
            random_bytes=os.urandom,
            sctp_config=config.sctp,
            key_log=key_log_from_environment(),
        )
        self._session_id = secrets.randbits(62)
        self._candidates: list[Candidate] = []
        self._nursery: trio.Nursery | None = None
        self._endpoints: dict[tuple[Address, str], DatagramEndpoint] = {}
        self._backlog: list[tuple[DatagramEndpoint, list[bytes], Address]] = []
        self._sent_at = -math.inf
        self._gathered = 0  # bytes given to the core since it was last asked what to send
        self._unsent = trio.Event()
        self._sleep = trio.CancelScope()
        self._closed = False

    # --- descriptions -------------------------------------------------------------------------------------------------

    async def gather(self) -> None:
        """Bind a socket for each local address; the host candidates are then in ``local_candidates``.

        Raises ``TransportError`` where no address can be bound.
        """
        await trio.lowlevel.checkpoint()
        hosts = self._config.hosts or host_addresses(include_loopback=self._config.include_loopback)
        preferences = local_preferences(hosts)
        refusal: OSError | None = None
        for host in hosts:
            try:
                endpoint = self._config.bind(host)
            except OSError as exc:
                if exc.errno in _OUT_OF_RESOURCES:
                    self.close()
                    raise
                refusal = exc  # an address may have gone since it was listed
                continue
            local = endpoint.local_address
            self._endpoints[local, "udp"] = endpoint
            self._add_local_candidate(Candidate.local_host(local, local_preference=preferences[host]))
            self._core.ice.add_local_candidate(Candidate.tcp_active(host), trio.current_time())
        if not self._candidates:
            raise TransportError(f"no local address to send from could be bound: {refusal or 'none found'}")

    def local_candidates(self) -> list[str]:
        """The candidate lines gathered so far, without ``a=``."""
        return [candidate.to_sdp() for candidate in self._candidates]

    def create_offer(self) -> str:
        """An offer for data channels, with the candidates gathered so far."""
        return data_offer(self._local_description(Setup.ACTPASS))

    def apply_answer(self, sdp: str) -> None:
        """The answer to our offer. Raises ``DecodeError``."""
        remote = SessionDescription.parse(sdp)
        role = Role.CLIENT if remote.setup is Setup.PASSIVE else Role.SERVER
        self._start(role, remote)

    def accept_offer(self, sdp: str) -> str:
        """Take an offer and return the answer. Raises ``DecodeError``."""
        remote = SessionDescription.parse(sdp)
        setup = self._config.answer_setup
        if remote.setup is Setup.ACTIVE:
            setup = Setup.PASSIVE
        elif remote.setup is Setup.PASSIVE:
            setup = Setup.ACTIVE
        answer = data_answer(remote, self._local_description(setup))
        self._start(Role.CLIENT if setup is Setup.ACTIVE else Role.SERVER, remote)
        return answer

    def add_remote_candidate(self, line: str) -> None:
        """A candidate of the peer's, as trickled; an empty line says that there are no more. Nonsense is ignored."""
        now = trio.current_time()
        if not line:
            self._core.ice.end_of_candidates(now)
        else:
            try:
                self._core.ice.add_remote_candidate(Candidate.parse(line), now)
            except DecodeError as exc:
                logger.debug("%s: ignored a remote candidate: %s", self._config.name, exc)
        self._pump()

    # --- channels -----------------------------------------------------------------------------------------------------

    def open_channel(self, label: str, *, ordered: bool = True, max_retransmits: int | None = None) -> int:
        """Open a data channel, once the descriptions are exchanged; returns its id. Messages may be sent at once."""
        now = trio.current_time()
        channel_id = self._core.open_channel(label, ordered=ordered, max_retransmits=max_retransmits, now=now)
        self._flush(now)
        return channel_id

    def send(self, channel_id: int, data: bytes) -> None:
        """Send one binary message: now, as far as the window and the socket allow, and the rest as they do.

        Of messages that follow closely upon each other only the first leaves in the caller's step; the others share
        datagrams, and leave when the caller lets other tasks run, or when a full burst of them has gathered.
        """
        now = trio.current_time()
        self._core.send(channel_id, data, now)
        self._flush_or_gather(now, len(data))

    def send_all(self, channel_id: int, messages: list[bytes]) -> None:
        """Send several messages, sharing datagrams and system calls."""
        now = trio.current_time()
        size = 0
        for message in messages:
            self._core.send(channel_id, message, now)
            size += len(message)
        self._flush_or_gather(now, size)

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes of a channel that are queued and not yet sent."""
        return self._core.buffered_amount(channel_id)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive the sockets and the timers until ``close``, or until cancelled. Closes the sockets on the way out."""
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                self._nursery = nursery
                for (_, protocol), endpoint in self._endpoints.items():
                    nursery.start_soon(self._receive, endpoint, protocol, name=f"{self._config.name}: receive")
                nursery.start_soon(self._send_backlog, name=f"{self._config.name}: send")
                task_status.started()
                await self._drive()
        finally:
            self.close()

    def close(self) -> None:
        """Say goodbye as far as the sockets take it at once, close them, and end ``run``. Idempotent."""
        if self._closed:
            return
        self._closed = True
        now = trio.current_time()
        self._core.close(now)
        for path, datagrams in self._core.datagrams_to_send(now):
            endpoint = self._endpoints.get((path.local, path.protocol))
            if endpoint is not None:
                endpoint.send_many(datagrams, path.remote)
        for endpoint in self._endpoints.values():
            endpoint.close()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(f"{self._config.name} closed")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _add_local_candidate(self, candidate: Candidate) -> None:
        self._candidates.append(candidate)
        self._core.ice.add_local_candidate(candidate, trio.current_time())

    def _local_description(self, setup: Setup) -> LocalDescription:
        return LocalDescription(
            ufrag=self._core.ice.ufrag,
            password=self._core.ice.password,
            fingerprint=str(self._certificate.fingerprint()),
            setup=setup,
            session_id=self._session_id,
            candidates=tuple(self.local_candidates()),
        )

    def _start(self, role: Role, remote: SessionDescription) -> None:
        now = trio.current_time()
        description = RemoteDescription(
            ufrag=remote.ufrag,
            password=remote.password,
            fingerprints=tuple(Fingerprint.parse(text) for text in remote.fingerprints),
            lite=remote.ice_lite,
            max_message_size=remote.max_message_size,
        )
        self._core.start(role, description, now)
        for line in remote.candidates:
            self.add_remote_candidate(line)
        self._pump()

    async def _receive(self, endpoint: DatagramEndpoint, protocol: str) -> None:
        local = endpoint.local_address
        receive = self._core.receive_datagrams
        try:
            while True:
                await endpoint.wait_readable()
                receive(endpoint.receive_all(_DRAIN_DATAGRAMS), local, protocol, trio.current_time())
                self._pump()
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    async def _run_tcp(self, remote: Address) -> None:
        """Connect to a candidate over TCP, and use the connection for as long as it lasts."""
        ice = self._core.ice
        endpoint: TcpEndpoint | None = None
        try:
            with trio.move_on_after(_TCP_CONNECT_TIMEOUT_S):
                endpoint = await TcpEndpoint.connect(remote)
        except OSError as exc:
            logger.debug("%s: no TCP connection to the peer: %s", self._config.name, exc)
        if endpoint is None:
            ice.tcp_failed(remote, trio.current_time())
            self._pump()
            return
        path = Path(endpoint.local_address, remote, "tcp")
        key = (path.local, path.protocol)
        try:
            if ice.tcp_connected(path, trio.current_time()):
                self._endpoints[key] = endpoint
                self._pump()
                async with trio.open_nursery(strict_exception_groups=True) as nursery:
                    nursery.start_soon(endpoint.run)
                    await self._receive(endpoint, "tcp")
                    nursery.cancel_scope.cancel("the TCP connection ended")
        finally:
            endpoint.close()
            if self._endpoints.pop(key, None) is not None and not self._closed:
                ice.path_lost(path, trio.current_time())
                self._pump()

    async def _drive(self) -> None:
        while True:
            self._core.handle_timeout(trio.current_time())
            self._pump()
            deadline = self._core.next_timeout()
            with trio.CancelScope(deadline=math.inf if deadline is None else deadline) as self._sleep:
                await trio.sleep_forever()

    def _pump(self) -> None:
        """Hand over what the core has to say, then send what it has to send: frames first, acknowledgements after."""
        for event in self._core.poll_events():
            if type(event) is TcpConnectNeeded:
                self._start_tcp(event.remote)
            else:
                self._sink(event)
        self._flush(trio.current_time())

    def _start_tcp(self, remote: Address) -> None:
        if self._nursery is None:
            self._core.ice.tcp_failed(remote, trio.current_time())
        else:
            self._nursery.start_soon(self._run_tcp, remote, name=f"{self._config.name}: TCP")

    def _flush_or_gather(self, now: float, size: int) -> None:
        """Send in this step, unless the last send was so recent that this looks like the middle of a burst."""
        self._gathered += size
        gap = now - self._sent_at
        self._sent_at = now
        if gap >= _BURST_GAP_S or self._gathered >= _BURST_BYTES:
            self._flush(now)
        elif self._sleep.deadline > now:
            self._sleep.deadline = now  # the timer task runs as soon as the caller's step is over, and sends

    def _flush(self, now: float) -> None:
        """Send whatever the core wants sent now, and have the timer task woken when it wants more."""
        if self._closed:
            return
        self._gathered = 0
        if not self._backlog:
            for path, datagrams in self._core.datagrams_to_send(now):
                endpoint = self._endpoints.get((path.local, path.protocol))
                if endpoint is None:
                    continue
                taken = endpoint.send_many(datagrams, path.remote)
                if taken < len(datagrams):
                    self._backlog.append((endpoint, datagrams[taken:], path.remote))
            if self._backlog:
                self._unsent.set()
        deadline = self._core.next_timeout()
        if deadline is not None and deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    async def _send_backlog(self) -> None:
        """What a full socket buffer did not take, in order, before anything newer."""
        try:
            while True:
                await self._unsent.wait()
                self._unsent = trio.Event()
                while self._backlog:
                    endpoint, datagrams, remote = self._backlog[0]
                    await endpoint.wait_writable()
                    taken = endpoint.send_many(datagrams, remote)
                    if taken == len(datagrams):
                        self._backlog.pop(0)
                    else:
                        self._backlog[0] = (endpoint, datagrams[taken:], remote)
                self._flush(trio.current_time())
        except trio.ClosedResourceError:
            pass

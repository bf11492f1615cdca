"""Drives one sans-IO ``Peer``: sockets, timers, and nothing else.

Nothing on the path of a message switches tasks. A send goes through the cores and out of the socket in the caller's own
step. A receiver wakes once, drains its socket, feeds the core, hands the events to ``sink``, and answers with one round
of acknowledgements. Only what a socket or the congestion window does not take at once is left to the tasks of ``run``.
"""

from __future__ import annotations

__all__ = ["PeerConfig", "PeerConnection"]

import logging
import math
import os
import secrets
from typing import TYPE_CHECKING

import trio

from .._sansio.dtls import Fingerprint, Role
from .._sansio.ice.candidate import Candidate
from .._sansio.ice.events import Path, State, TcpConnectNeeded
from .._sansio.peer import Connected, Disconnected, LocalCandidate, Peer, RemoteDescription, Suspected
from .._sansio.sdp import LocalDescription, SessionDescription, Setup, data_answer, data_offer
from ..errors import DecodeError, TransportError
from .certificate import generate_certificate
from .config import PeerConfig
from .datagrams import UdpEndpoint
from .gathering import bind_hosts, local_hosts, reflexive_candidates
from .keylog import key_log_from_environment
from .relays import Relays
from .servers import stun_servers, turn_servers
from .tcp import TcpEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._sansio.peer import PeerEvent, PeerStatistics
    from .._sansio.signal.messages import IceServer
    from .._sansio.types import Address
    from .datagrams import DatagramEndpoint, EndpointStatistics
    from .gathering import HostSocket
    from .relay import RelayEndpoint

logger = logging.getLogger(__name__)

_TCP_CONNECT_TIMEOUT_S = 5.0

_ADDRESS_INTERVAL_S = 0.5
"""Between two looks at the system's addresses, while it is doubtful that there is a path to the peer."""

_DRAIN_DATAGRAMS = 64
"""Datagrams taken in one wake-up, so that a flood does not keep other tasks from running."""

_BURST_GAP_S = 0.0003
"""Sends closer together than this are a burst, in which sharing datagrams is worth more than leaving at once."""

_BURST_BYTES = 64 * 1024
"""What gathers of a burst before it is sent in the middle of the caller's step: about one segmented send."""

_BURST_STEPS = 8
"""Steps of other tasks that a burst may go on for: whoever lets others run after each message shares datagrams, too."""

_SMALL_BURST_BYTES = 16 * 1024
"""A burst of this size is not waited for: there is little left to save."""

_SOON_S = 0.05
"""The timer is put off if it would run out within this time for nothing, as it would for each acknowledgement that was
only to be delayed for a moment. Later ones are left alone: to move them costs more than to wake up."""

_LARGEST_STUN_TYPE = 3
"""The first byte of a STUN message is not above this (RFC 7983)."""


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
        self._description_version = 0
        self._candidates: list[Candidate] = []
        self._nursery: trio.Nursery | None = None
        self._endpoints: dict[tuple[Address, str], DatagramEndpoint] = {}
        self._hosts: dict[str, Address] = {}  # where a socket of ours is bound, by IP address
        self._backlog: dict[DatagramEndpoint, list[tuple[list[bytes], Address]]] = {}  # what full sockets did not take
        self._relays = Relays(config, self, turn_servers(config.ice_servers), relay_only=config.relay_only)
        self._is_up = self._is_watching = False
        self._sent_at = -math.inf
        self._burst_due = False
        self._bursts = trio.lowlevel.ParkingLot()
        self._watcher: Callable[[], None] | None = None
        self._gathered = 0  # bytes given to the core since it was last asked what to send
        self._sleep = trio.CancelScope()
        self._closed = False
        self._answered: Setup | None = None  # as what, if the other side offered
        self._remote_ufrag = ""
        self._remote_fingerprints: frozenset[str] = frozenset()

    # --- descriptions -------------------------------------------------------------------------------------------------

    async def gather(self) -> None:
        """Bind a socket for each local address; the host candidates are then in ``local_candidates``.

        Raises ``TransportError`` where no address can be bound, ``OSError`` where there is not a file or a buffer left,
        and ``trio.ClosedResourceError`` after ``close``. Sockets are open afterwards, if it returns: ``run`` or
        ``close`` closes them.
        """
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this peer connection was closed")
        if self._relays.relay_only:
            return
        hosts = local_hosts(self._config)
        if self._config.udp:
            sockets = bind_hosts(self._config, hosts)
            for host_socket in sockets:
                self._add_host(host_socket)
            await self._gather_reflexive(sockets)
            if self._closed:
                raise trio.ClosedResourceError("this peer connection was closed")
        for host in hosts:
            self._core.ice.add_local_candidate(Candidate.tcp_active(host), trio.current_time())

    async def _gather_reflexive(self, sockets: list[HostSocket]) -> None:
        servers = stun_servers(self._config.ice_servers)
        if not servers:
            return
        try:
            candidates = await reflexive_candidates(sockets, servers)
        except BaseException:
            self.close()
            raise
        for candidate in candidates:
            self._add_local_candidate(candidate)

    def use_ice_servers(self, servers: Iterable[IceServer], *, relay_only: bool = False) -> None:
        """The TURN servers to use from now on. ``relay_only`` gives up every other way to the peer."""
        self._relays.use(turn_servers(servers), relay_only=relay_only)
        if relay_only:
            for host in list(self._hosts):
                self._remove_host(host)
            self._candidates.clear()
            self._pump()

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
        self._answered = setup
        return answer

    def create_restart(self) -> str:
        """A further offer, of the same connection with new ICE credentials: its paths are to be found anew.

        Data flows on meanwhile, and DTLS and SCTP know nothing of it. Addresses that are new are part of the offer.
        """
        if not self._relays.relay_only and self._config.hosts is None and self._config.udp:
            self._regather()
        self._core.ice.restart(trio.current_time())
        self._relays.need()
        return self.create_offer()

    def apply_restart(self, sdp: str) -> None:
        """The answer to ``create_restart``. Raises ``DecodeError``, also for the answer of another connection."""
        remote = SessionDescription.parse(sdp)
        if frozenset(remote.fingerprints) != self._remote_fingerprints:
            raise DecodeError("the answer is one of another connection")
        self._set_remote(remote, trio.current_time())
        self._pump()

    def accept_restart(self, sdp: str) -> str:
        """Take a further offer, and return the answer. New credentials in it restart ICE; data flows on meanwhile.

        Raises ``DecodeError``, also for an offer of another connection.
        """
        remote = SessionDescription.parse(sdp)
        fingerprints = frozenset(remote.fingerprints)
        if self._answered is None or fingerprints != self._remote_fingerprints:
            raise DecodeError("the offer is one of another connection")
        now = trio.current_time()
        if remote.ufrag != self._remote_ufrag:
            self._core.ice.restart(now)
        answer = data_answer(remote, self._local_description(self._answered))
        self._set_remote(remote, now)
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

    def send(self, channel_id: int, data: bytes, *, text: bool = False) -> None:
        """Send one message: now, as far as the window and the socket allow, and the rest as they do.

        Of messages that follow closely upon each other only the first leaves in the caller's step; the others share
        datagrams, and leave when the caller has let other tasks run for a few steps, or pauses, or when a full burst of
        them has gathered.

        Raises ``TransportError`` when the channel is not open, or the connection is over.
        """
        now = trio.current_time()
        self._core.send(channel_id, data, now, text=text)
        self._flush_or_gather(now, len(data))

    def send_all(self, channel_id: int, messages: list[bytes]) -> None:
        """Send several messages, sharing datagrams and system calls."""
        now = trio.current_time()
        size = 0
        for message in messages:
            self._core.send(channel_id, message, now)
            size += len(message)
        self._flush_or_gather(now, size)

    def close_channel(self, channel_id: int) -> None:
        """Close a channel once what is queued on it has been sent; ``ChannelClosed`` follows."""
        now = trio.current_time()
        self._core.close_channel(channel_id, now)
        self._flush(now)

    def consume(self, size: int) -> None:
        """The application is done with reliable messages of ``size`` bytes (with ``manual_window`` in the config)."""
        self._core.consume(size)
        self._flush(trio.current_time())

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes of a channel that the peer has not acknowledged, and that were not given up."""
        return self._core.buffered_amount(channel_id)

    def unsent_amount(self, channel_id: int) -> int:
        """Bytes of a channel's messages of which nothing has been sent yet: what is stuck here, not on the way."""
        return self._core.unsent_amount(channel_id)

    def watch_progress(self, watcher: Callable[[], None] | None) -> None:
        """Call ``watcher`` whenever acknowledgements or time may have made room for more, until told otherwise."""
        self._watcher = watcher

    def statistics(self) -> tuple[PeerStatistics, list[EndpointStatistics]]:
        """A snapshot of the protocol layers, and one of each UDP socket."""
        sockets = [e.statistics() for e in self._endpoints.values() if isinstance(e, UdpEndpoint)]
        return self._core.statistics(), sockets

    def set_low_water(self, channel_id: int, size: int) -> None:
        """Have ``BufferedAmountLow`` told when the channel's buffered amount falls to ``size``."""
        self._core.set_low_water(channel_id, size)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive the sockets and the timers until ``close``, or until cancelled. Closes the sockets on the way out."""
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                self._nursery = nursery
                if self._closed:  # before we began
                    nursery.cancel_scope.cancel("closed already")
                for (_, protocol), endpoint in self._endpoints.items():
                    self._start_receiving(endpoint, protocol)
                nursery.start_soon(self._relays.run, name=f"{self._config.name}: relays")
                nursery.start_soon(self._send_bursts, name=f"{self._config.name}: bursts")
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
        self._endpoints.clear()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(f"{self._config.name} closed")

    # --- paths --------------------------------------------------------------------------------------------------------

    def is_connected(self) -> bool:
        """Whether there is a path to the peer that works."""
        return self._core.ice.state is State.CONNECTED

    @property
    def is_restarting(self) -> bool:
        """Whether an ICE restart is under way."""
        return self._core.ice.is_restarting

    def is_sending_from(self, local: Address) -> bool:
        """Whether the path in use begins at this address."""
        path = self._core.ice.selected_path
        return path is not None and path.local == local

    def attach_relay(self, endpoint: RelayEndpoint, candidate: Candidate) -> None:
        """A TURN server receives for us from now on."""
        if self._closed:
            return
        self._endpoints[endpoint.local_address, "udp"] = endpoint
        self._start_receiving(endpoint, "udp")
        self._add_local_candidate(candidate)
        self._sink(LocalCandidate(candidate.to_sdp()))
        self._pump()

    def detach_relay(self, endpoint: RelayEndpoint) -> None:
        """It does not any more."""
        if self._endpoints.pop((endpoint.local_address, "udp"), None) is not None:
            self._core.ice.remove_local_candidate(endpoint.local_address, trio.current_time())
            self._pump()

    def _add_host(self, host_socket: HostSocket) -> None:
        local = host_socket.endpoint.local_address
        self._hosts[local[0]] = local
        self._endpoints[local, "udp"] = host_socket.endpoint
        self._add_local_candidate(host_socket.candidate)

    def _remove_host(self, host: str) -> None:
        local = self._hosts.pop(host)
        self._endpoints.pop((local, "udp")).close()
        self._core.ice.remove_local_candidate(local, trio.current_time())

    async def _watch_addresses(self) -> None:
        """The path went silent: our addresses may change, or have done so. What is new may reach the peer."""
        while self._core.ice.is_suspect and not self._relays.relay_only:
            self._regather()
            await trio.sleep(_ADDRESS_INTERVAL_S)
        self._is_watching = False

    def _regather(self) -> None:
        config = self._config
        hosts = local_hosts(config)
        for host in self._hosts.keys() - hosts:
            self._remove_host(host)
        fresh = [host for host in hosts if host not in self._hosts]
        try:
            sockets = bind_hosts(config, fresh) if fresh else []
        except (OSError, TransportError) as exc:
            logger.debug("%s: new addresses cannot be used: %s", config.name, exc)
            return
        for host_socket in sockets:
            self._add_host(host_socket)
            self._start_receiving(host_socket.endpoint, "udp")
            self._sink(LocalCandidate(host_socket.candidate.to_sdp()))
        for host in fresh:
            self._core.ice.add_local_candidate(Candidate.tcp_active(host), trio.current_time())
        self._pump()

    def _start_receiving(self, endpoint: DatagramEndpoint, protocol: str) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._receive, endpoint, protocol, name=f"{self._config.name}: receive")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _add_local_candidate(self, candidate: Candidate) -> None:
        self._candidates.append(candidate)
        self._core.ice.add_local_candidate(candidate, trio.current_time())

    def _local_description(self, setup: Setup) -> LocalDescription:
        self._description_version += 1
        return LocalDescription(
            ufrag=self._core.ice.ufrag,
            password=self._core.ice.password,
            fingerprint=str(self._certificate.fingerprint()),
            setup=setup,
            session_id=self._session_id,
            version=self._description_version,
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
        self._remote_fingerprints = frozenset(remote.fingerprints)
        self._set_remote(remote, now)
        self._relays.need()
        self._pump()

    def _set_remote(self, remote: SessionDescription, now: float) -> None:
        self._core.ice.set_remote_parameters(remote.ufrag, remote.password, lite=remote.ice_lite, now=now)
        self._remote_ufrag = remote.ufrag
        for line in remote.candidates:
            self.add_remote_candidate(line)
        if remote.end_of_candidates:
            self.add_remote_candidate("")

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
                if self._is_up:
                    endpoint.allow_large_frames()
                self._pump()
                async with trio.open_nursery(strict_exception_groups=True) as nursery:
                    nursery.start_soon(endpoint.run)
                    await self._receive(endpoint, "tcp")
                    nursery.cancel_scope.cancel("the TCP connection ended")
        finally:
            endpoint.close()
            if self._endpoints.pop(key, None) is not None:
                ice.path_lost(path, trio.current_time())
                self._pump()

    async def _drive(self) -> None:
        while True:
            self._core.handle_timeout(trio.current_time())
            self._pump()
            deadline = self._core.next_timeout()
            with trio.CancelScope(deadline=math.inf if deadline is None else deadline) as self._sleep:
                await trio.sleep_forever()

    async def _send_bursts(self) -> None:
        """What gathered in the steps of whoever sends leaves soon after. Cheaper to wake than the timer task."""
        while True:
            if not self._burst_due:
                await self._bursts.park()
            await self._wait_while_growing()
            self._burst_due = False
            self._flush(trio.current_time())

    async def _wait_while_growing(self) -> None:
        """Let the others take a few more steps, as long as each of them adds to a burst that is still small."""
        gathered = 0
        for _ in range(_BURST_STEPS):
            if not gathered < self._gathered < _SMALL_BURST_BYTES:
                break
            gathered = self._gathered
            await trio.lowlevel.checkpoint()

    def _pump(self) -> None:
        """Hand over what the core has to say, then send what it has to send: frames first, acknowledgements after."""
        for event in self._core.poll_events():
            if self._closed:
                return
            if type(event) is TcpConnectNeeded:
                self._start_tcp(event.remote)
                continue
            if type(event) is Suspected:
                self._start_watching()
            elif type(event) is Disconnected:
                self._relays.need()
                self._start_watching()
            elif type(event) is Connected:
                self._on_connected()
            self._sink(event)
        self._flush(trio.current_time())
        if self._watcher is not None:
            self._watcher()

    def _start_watching(self) -> None:
        if self._nursery is not None and self._config.hosts is None and self._config.udp and not self._is_watching:
            self._is_watching = True
            self._nursery.start_soon(self._watch_addresses, name=f"{self._config.name}: addresses")

    def _on_connected(self) -> None:
        self._is_up = True
        for endpoint in self._endpoints.values():
            if isinstance(endpoint, TcpEndpoint):
                endpoint.allow_large_frames()

    def _start_tcp(self, remote: Address) -> None:
        if self._nursery is None or self._relays.relay_only:
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
        elif not self._burst_due:
            self._burst_due = True
            self._bursts.unpark()  # a task that runs as soon as the caller's step is over, and sends

    def _flush(self, now: float) -> None:
        """Send whatever the core wants sent now, and have the timer task woken when it wants more."""
        if self._closed:
            return
        self._gathered = 0
        core, backlog = self._core, self._backlog
        if backlog:
            path = core.ice.selected_path
            core.blocked = path is not None and self._endpoints.get((path.local, path.protocol)) in backlog
        for path, datagrams in core.datagrams_to_send(now):
            endpoint = self._endpoints.get((path.local, path.protocol))
            if endpoint is None:
                continue
            taken = 0 if endpoint in backlog else endpoint.send_many(datagrams, path.remote)
            if taken < len(datagrams):
                self._hold_back(endpoint, datagrams[taken:], path.remote)
        deadline = now if core.has_events else core.next_timeout()
        if deadline is None:
            deadline = math.inf
        sleep = self._sleep
        if deadline < sleep.deadline or sleep.deadline < now + _SOON_S <= deadline:
            sleep.deadline = deadline

    def _hold_back(self, endpoint: DatagramEndpoint, datagrams: list[bytes], remote: Address) -> None:
        """A full socket buffer did not take these. Checks are lost, for the agent repeats them; the rest waits."""
        if datagrams[0][0] <= _LARGEST_STUN_TYPE or self._nursery is None:
            return
        held = self._backlog.get(endpoint)
        if held is not None:
            held.append((datagrams, remote))
            return
        self._backlog[endpoint] = [(datagrams, remote)]
        self._core.blocked = True
        self._nursery.start_soon(self._send_backlog, endpoint, name=f"{self._config.name}: send")

    async def _send_backlog(self, endpoint: DatagramEndpoint) -> None:
        """What a full socket buffer did not take, in order, before anything newer."""
        held = self._backlog[endpoint]
        try:
            while held:
                await endpoint.wait_writable()
                datagrams, remote = held[0]
                taken = endpoint.send_many(datagrams, remote)
                if taken == len(datagrams):
                    held.pop(0)
                else:
                    held[0] = (datagrams[taken:], remote)
        except trio.ClosedResourceError:
            pass  # it is gone, and what it held is lost, as things are in a network
        del self._backlog[endpoint]
        self._core.blocked = False
        self._flush(trio.current_time())

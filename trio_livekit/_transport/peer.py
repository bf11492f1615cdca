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
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from .._sansio.ice.events import Path, State, TcpConnectNeeded
from .._sansio.peer import Connected, Disconnected, LocalCandidate, Peer, Suspected
from .certificate import generate_certificate
from .config import PeerConfig
from .datagrams import UdpEndpoint
from .descriptions import Descriptions
from .hosts import Hosts
from .keylog import key_log_from_environment
from .relays import Relays
from .servers import turn_servers
from .tcp import TcpEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._sansio.ice.candidate import Candidate
    from .._sansio.peer import PeerEvent, PeerStatistics
    from .._sansio.sctp.tx.send_queue import OutboundStream
    from .._sansio.signal.messages import IceServer
    from .._sansio.types import Address
    from .datagrams import DatagramEndpoint, EndpointStatistics

logger = logging.getLogger(__name__)

_TCP_CONNECT_TIMEOUT_S = 5.0

_DRAIN_DATAGRAMS = 64
"""Datagrams taken in one wake-up, so that a flood does not keep other tasks from running."""

_BURST_GAP_S = 0.0003
"""Sends closer together than this are a burst, in which sharing datagrams is worth more than leaving at once."""

_BURST_BYTES = 64 * 1024
"""What gathers of a burst before it is sent in the middle of the caller's step: about one segmented send."""

_BURST_STEPS = 8
"""Steps of other tasks that a burst may go on for: whoever lets others run after each message shares datagrams, too."""

_QUIET_STEPS = 2
"""Steps without a message after which a burst is over: whoever sends at a rate looks at the clock now and then."""

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
        certificate = config.certificate or generate_certificate()
        self._core = Peer(
            controlling=config.controlling,
            certificate=certificate,
            random_bytes=os.urandom,
            sctp_config=config.sctp,
            key_log=key_log_from_environment(),
        )
        self._descriptions = Descriptions(self._core, certificate.fingerprint(), config.name)
        self._nursery: trio.Nursery | None = None
        self._endpoints: dict[tuple[Address, str], DatagramEndpoint] = {}
        self._hosts = Hosts(config, self)
        self._backlog: dict[DatagramEndpoint, deque[tuple[list[bytes], Address]]] = {}  # what full sockets did not take
        self._relays = Relays(config, self, turn_servers(config.ice_servers), relay_only=config.relay_only)
        self._is_up = False
        self._sent_at = -math.inf
        self._burst_due = False
        self._bursts = trio.lowlevel.ParkingLot()
        self._watcher: Callable[[], None] | None = None
        self._gathered = 0  # bytes given to the core since it was last asked what to send
        self._sleep = trio.CancelScope()
        self._closed = False

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
        await self._hosts.gather()
        if self._closed:
            raise trio.ClosedResourceError("this peer connection was closed")

    def use_ice_servers(self, servers: Iterable[IceServer], *, relay_only: bool = False) -> None:
        """The TURN servers to use from now on. ``relay_only`` gives up every other way to the peer."""
        self._relays.use(turn_servers(servers), relay_only=relay_only)
        if relay_only:
            self._hosts.give_up()
            self._descriptions.candidates.clear()
            self._pump()

    def local_candidates(self) -> list[str]:
        """The candidate lines gathered so far, without ``a=``."""
        return [candidate.to_sdp() for candidate in self._descriptions.candidates]

    def create_offer(self) -> str:
        """An offer for data channels, with the candidates gathered so far."""
        return self._descriptions.offer()

    def apply_answer(self, sdp: str) -> None:
        """The answer to our offer. Raises ``DecodeError``."""
        self._descriptions.on_answer(sdp, trio.current_time())
        self._on_started()

    def accept_offer(self, sdp: str) -> str:
        """Take an offer and return the answer. Raises ``DecodeError``."""
        answer = self._descriptions.answer(sdp, self._config.answer_setup, trio.current_time())
        self._on_started()
        return answer

    def _on_started(self) -> None:
        self._relays.need()
        self._pump()

    @property
    def max_message_size(self) -> int:
        """Bytes in the largest message that the peer takes, by its description."""
        return self._descriptions.max_message_size

    def create_restart(self) -> str:
        """A further offer, of the same connection with new ICE credentials: its paths are to be found anew.

        Data flows on meanwhile, and DTLS and SCTP know nothing of it. Addresses that are new are part of the offer.
        """
        if not self._relays.relay_only:
            self._hosts.refresh()
        self._core.ice.restart(trio.current_time())
        self._relays.need()
        return self.create_offer()

    def apply_restart(self, sdp: str) -> None:
        """The answer to ``create_restart``. Raises ``DecodeError``, also for the answer of another connection."""
        self._descriptions.on_restart_answer(sdp, trio.current_time())
        self._pump()

    def accept_restart(self, sdp: str) -> str:
        """Take a further offer, and return the answer. New credentials in it restart ICE; data flows on meanwhile.

        Raises ``DecodeError``, also for an offer of another connection.
        """
        answer = self._descriptions.restart_answer(sdp, trio.current_time())
        self._pump()
        return answer

    def add_remote_candidate(self, line: str) -> None:
        """A candidate of the peer's, as trickled; an empty line says that there are no more. Nonsense is ignored."""
        self._descriptions.on_candidate(line, trio.current_time())
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

    def send_all(self, channel_id: int, messages: list[bytes], now: float) -> None:
        """Send several messages, as it is ``now`` on trio's clock, sharing datagrams and system calls.

        If one of them is refused, those before it are sent nevertheless; here, and in the next two.
        """
        size = 0
        try:
            for message in messages:
                self._core.send(channel_id, message, now)
                size += len(message)
        finally:
            self._flush_or_gather(now, size)

    def send_all_until(self, channel_id: int, messages: list[tuple[float, bytes]], now: float) -> None:
        """Send several messages, each of which is given up if nothing of it has left by its time."""
        size = 0
        try:
            for expires_at, message in messages:
                self._core.send(channel_id, message, now, lifetime_s=expires_at - now)
                size += len(message)
        finally:
            self._flush_or_gather(now, size)

    def send_together(self, channel_id: int, messages: list[bytes], now: float, *, more: bool) -> None:
        """Send several messages of which nothing else is to be sent in between; with ``more`` that will follow."""
        size, last = 0, len(messages) - 1
        try:
            for index, message in enumerate(messages):
                self._core.send(channel_id, message, now, more=more or index < last)
                size += len(message)
        finally:
            self._flush_or_gather(now, size)

    def withdraw(self, channel_id: int) -> list[bytes]:
        """Take back the messages of a channel of which nothing has been sent, in order."""
        return self._core.withdraw(channel_id)

    def close_channel(self, channel_id: int) -> None:
        """Close a channel once what is queued on it has been sent; ``ChannelClosed`` follows."""
        now = trio.current_time()
        self._core.close_channel(channel_id, now)
        self._flush(now)

    def consume(self, size: int) -> None:
        """The application is done with reliable messages of ``size`` bytes (with ``manual_window`` in the config)."""
        self._core.consume(size)
        self._flush(trio.current_time())

    def outbound(self, channel_id: int) -> OutboundStream:
        """How much of what goes out on a channel waits here, and how much is on the way: to be looked at."""
        return self._core.outbound(channel_id)

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes of a channel that the peer has not acknowledged, and that were not given up."""
        return self._core.buffered_amount(channel_id)

    @property
    def polite_amount(self) -> int:
        """Bytes on the way beyond which messages that may be lost would build a queue there."""
        return self._core.polite_amount

    @property
    def prompt_amount(self) -> int:
        """Bytes that leave in about 10 ms, as things are: of what may wait elsewhere, no more need wait here."""
        return self._core.prompt_amount

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
                with suppress(trio.ClosedResourceError):  # as in ``_flush``
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

    def may_need_hosts(self) -> bool:
        """Whether another address of ours might be of use: the path is silent."""
        return self._core.ice.is_suspect and not self._relays.relay_only

    def attach(self, endpoint: DatagramEndpoint, candidate: Candidate) -> None:
        """A socket, or a relay, receives for us from now on."""
        if self._closed:
            endpoint.close()
            return
        self._endpoints[endpoint.local_address, "udp"] = endpoint
        self.add_local_candidate(candidate)
        if self._nursery is not None:
            self._start_receiving(endpoint, "udp")
            self._sink(LocalCandidate(candidate.to_sdp()))
            self._pump()

    def detach(self, endpoint: DatagramEndpoint) -> None:
        """It does not any more."""
        if self._endpoints.pop((endpoint.local_address, "udp"), None) is not None:
            self._core.ice.remove_local_candidate(endpoint.local_address, trio.current_time())
            self._pump()

    def add_local_candidate(self, candidate: Candidate, *, is_named: bool = True) -> None:
        """A way to us, or out of here. ``is_named``: in descriptions, for the peer to try."""
        if is_named:
            self._descriptions.candidates.append(candidate)
        self._core.ice.add_local_candidate(candidate, trio.current_time())

    def _start_receiving(self, endpoint: DatagramEndpoint, protocol: str) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._receive, endpoint, protocol, name=f"{self._config.name}: receive")

    # --- the rest -----------------------------------------------------------------------------------------------------

    async def _receive(self, endpoint: DatagramEndpoint, protocol: str) -> None:
        local = endpoint.local_address
        receive = self._core.receive_datagrams
        while True:
            try:
                await endpoint.wait_readable()
                received = endpoint.receive_all(_DRAIN_DATAGRAMS)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            now = trio.current_time()
            receive(received, local, protocol, now)
            self._pump(now)

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
            await self._wait_for_the_end_of_the_burst()
            self._burst_due = False
            self._flush(trio.current_time())
            if self._watcher is not None:
                self._watcher()

    async def _wait_for_the_end_of_the_burst(self) -> None:
        """Let the others take a few more steps, for as long as they seem to go on with a burst that is still small."""
        gathered = quiet = 0
        for _ in range(_BURST_STEPS):
            if not 0 < self._gathered < _SMALL_BURST_BYTES:
                break  # it has left with something else, or there is little left to save
            if self._gathered != gathered:
                gathered, quiet = self._gathered, 0
            elif quiet < _QUIET_STEPS and trio.current_time() - self._sent_at < _BURST_GAP_S:
                quiet += 1
            else:
                break
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _pump(self, now: float | None = None) -> None:
        """Hand over what the core has to say, then send what it has to send: frames first, acknowledgements after."""
        events = self._core.poll_events()
        for event in events:
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
        self._flush(trio.current_time() if now is None or events else now)  # those who heard of it took their time
        if self._watcher is not None:
            self._watcher()

    def _start_watching(self) -> None:
        if self._nursery is not None:
            self._hosts.start_watching(self._nursery)

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
            try:
                taken = 0 if endpoint in backlog else endpoint.send_many(datagrams, path.remote)
            except trio.ClosedResourceError:
                continue  # it was closed under us, and what it was to send is lost, as things are in a network
            if taken < len(datagrams):
                self._hold_back(endpoint, datagrams[taken:], path.remote)
        deadline = now if core.has_events else core.next_timeout()
        if deadline is None:
            deadline = math.inf
        wakes_at = self._sleep.deadline
        if deadline < wakes_at or wakes_at < now + _SOON_S <= deadline:
            self._sleep.deadline = deadline

    def _hold_back(self, endpoint: DatagramEndpoint, datagrams: list[bytes], remote: Address) -> None:
        """A full socket buffer did not take these. Checks are lost, for the agent repeats them; the rest waits."""
        if datagrams[0][0] <= _LARGEST_STUN_TYPE or self._nursery is None:
            return
        held = self._backlog.get(endpoint)
        if held is not None:
            held.append((datagrams, remote))
            return
        self._backlog[endpoint] = deque([(datagrams, remote)])
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
                    held.popleft()
                else:
                    held[0] = (datagrams[taken:], remote)
        except trio.ClosedResourceError:
            pass  # it is gone, and what it held is lost, as things are in a network
        del self._backlog[endpoint]
        self._core.blocked = False
        self._flush(trio.current_time())

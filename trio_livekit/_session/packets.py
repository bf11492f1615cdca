"""Data packets: the feature that owns the reliable and the lossy channel, and all that is sent on them.

Everything on these channels is a ``DataPacket``: what applications send each other, calls, streams. What is in one is
the business of another feature. Here packets are encrypted, numbered, remembered until the server has them, and sent
again where a session is replaced by another. Those that come in are for ``incoming_packets``.

Nothing here has a task of its own. A packet is handed to the channel in the step of its sender, or in the step that
finds that there is room.
"""

from __future__ import annotations

__all__ = ["Packets", "SessionWatcher"]

import logging
import math
from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Protocol

import trio

from .._sansio.packets.high_water import MIN_BYTES, HighWater
from .._sansio.packets.lossy_queue import LossyQueue
from .._sansio.packets.messages import DataPacket
from .._sansio.packets.outbox import MAX_AGE_S, Outbox
from .._wire.data import MAX_NUMBER_BYTES, encode_packet, numbered
from ..errors import (
    DeliveryError,
    DeliveryErrorReason,
    LiveKitError,
    PayloadTooLarge,
    PublishDataError,
    PublishDataErrorReason,
    RecipientNotFound,
    TransportError,
)
from .ending import end_of_room
from .incoming_packets import ENCRYPTABLE, IncomingPackets
from .labels import LOSSY, MAX_PACKET_BYTES, RELIABLE
from .packet_events import ContinuityLost, PacketStatistics
from .receipts import OnFullReconnect, Parcel, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._sansio.packets.messages import Value
    from .._sansio.signal.messages import ParticipantInfo, Permission
    from .incoming_packets import Sealer
    from .links import Links

logger = logging.getLogger(__name__)

MAX_SEQUENCE = 0xFFFFFFFF
"""The last number there is. What a session sends after it has none, which servers take as well."""

_CONTROL_PACKETS = 1000
"""How many small answers may wait to be sent, of those that are given in the receiving step, which cannot wait."""

_SEAL_BYTES = 64
"""What encryption adds to a packet at most: a vector, a tag, a key index and some protobuf around it."""

_RESEND_WAIT_S = 5.0
"""How long packets of a lost session wait for those whom they were sent to, so that they are there to receive them."""

_READING_S = 1.0
"""How long a server may take to read what it has acknowledged."""


class SessionWatcher(Protocol):
    """What calls and streams want to know of the session. All of it is told synchronously."""

    def on_session_replaced(self) -> None:
        """The server knows this client as another participant now: whoever talked to it saw it leave.

        Told when that is certain, and before anything of the new session is received.
        """

    def on_participant(self, info: ParticipantInfo) -> None:
        """A participant is there, under a SID that was not told of before."""

    def on_participant_left(self, info: ParticipantInfo) -> None:
        """Also told of one that comes back at once, as another participant of the same identity."""

    def on_over(self, error: Exception) -> None:
        """The room was left or lost for good: nothing is sent or received any more."""


class Packets:
    """The data packets of a session.

    Attributes:
        incoming: those that come in.
        may_publish: whether the server lets this client send data, as far as it has said.
    """

    def __init__(
        self, links: Links, reschedule: Callable[[float | None], None], announce: Callable[[ContinuityLost], None]
    ) -> None:
        self._links: Links | None = links  # to send on
        self._reschedule = reschedule
        self._watchers: list[SessionWatcher] = []
        self.incoming = IncomingPackets(links, announce)
        self.may_publish = True
        self._over: Exception | None = None
        self._present: dict[str, str] = {}  # SIDs by identity
        self._everyone: frozenset[str] | None = None  # the identities, until they change
        # Sending:
        self._waiting: deque[Parcel] = deque()
        self._control = 0  # of those, without a sender that waits
        self._outbox: Outbox[Parcel] = Outbox()
        self._high_water = HighWater()
        self._lossy = LossyQueue()
        self._resend_at: float | None = None  # while what was sent in a lost session waits
        self._awaited: set[str] = set()  # for these
        self._joined = trio.lowlevel.ParkingLot()  # a participant did
        self._idle = trio.lowlevel.ParkingLot()  # all is handed over
        self._reliable_sent = self._reliable_resent = self._lossy_sent = 0
        self._expired = self._expired_before = 0  # lossy packets in the channel: in all sessions, and before this one
        self._sent_at = -math.inf  # when the last reliable packet was

    @property
    def sealer(self) -> Sealer | None:
        """Encrypts and decrypts, where the room is encrypted end to end."""
        return self.incoming.sealer

    @sealer.setter
    def sealer(self, sealer: Sealer) -> None:
        self.incoming.sealer = sealer

    # --- what other features ask for ----------------------------------------------------------------------------------

    def watch(self, watcher: SessionWatcher) -> None:
        """Tell ``watcher`` of what happens to the session and to its participants."""
        self._watchers.append(watcher)

    async def send_reliable(
        self,
        value: Value,
        destination_identities: Sequence[str] = (),
        *,
        on_full_reconnect: OnFullReconnect = "fail",
    ) -> Receipt:
        """Send a packet that arrives, to those named or to everyone; waits while there is no room, or no connection.

        Packets leave in the order of the calls. A call that is cancelled has sent nothing. ``on_full_reconnect`` is
        for a packet that was sent, and of which it is not known whether the server has it when a reconnection makes
        another session: it is sent there again, or its receipt fails. One that still waits is sent there in any case.

        Raises ``PublishDataError``, or what ended the room.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        parcel = self._parcel(value, destination_identities, on_full_reconnect)
        self._waiting.append(parcel)
        self._send(trio.current_time())
        if parcel.is_sent or parcel.error is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            parcel.settled = trio.Event()
            try:
                await parcel.settled.wait()
            except trio.Cancelled:
                if parcel in self._waiting:
                    self._waiting.remove(parcel)
                    self._watch(self._links)  # somebody may wait for all to be handed over
                    raise
                if parcel.error is not None:
                    raise  # the room was lost, and this task was cancelled for it: its block says why
                # It left after the cancellation, and before this task knew: it is sent, and the next checkpoint raises.
        if parcel.error is not None:
            raise copy(parcel.error)
        return parcel.receipt

    def send_reliable_nowait(
        self,
        value: Value,
        destination_identities: Sequence[str] = (),
        *,
        on_full_reconnect: OnFullReconnect = "fail",
    ) -> Receipt:
        """The same for small answers given in the receiving step: queued, in order, where they cannot leave at once.

        The minute of its receipt begins when it leaves, and a queue is not bounded in time.

        Raises ``PublishDataError`` (``QUEUE_FULL`` where too much is queued), or what ended the room.
        """
        parcel = self._parcel(value, destination_identities, on_full_reconnect)
        if self._control >= _CONTROL_PACKETS:
            text = f"{_CONTROL_PACKETS} packets wait to be sent already"
            raise PublishDataError(PublishDataErrorReason.QUEUE_FULL, text)
        parcel.is_control = True
        self._waiting.append(parcel)
        self._control += 1
        self._send(trio.current_time())
        if parcel.error is not None:
            raise copy(parcel.error)
        return parcel.receipt

    def send_lossy(self, value: Value, destination_identities: Sequence[str] = ()) -> None:
        """Send a packet that may be lost. Never waits: what the network does not take within 0.3 s is dropped.

        Raises ``PublishDataError``, or what ended the room.
        """
        if self._over is not None:
            raise copy(self._over)
        message = self._encode(value, tuple(destination_identities))
        self._check(len(message))
        now = trio.current_time()
        self._lossy.push(message, now)
        if self._links is None:
            self._lossy.clear()
        else:
            self._send_lossy(now)

    async def drain(self) -> None:
        """Wait until the server has taken in all that was sent reliably. Nothing is sent after that."""
        await trio.lowlevel.checkpoint()
        while self._waiting:
            await self._idle.park()
        links, self._links = self._links, None
        if links is not None:
            try:
                await links.drain()
            except TransportError as exc:  # it is over already, which is told in a moment
                logger.debug("nobody can be waited for: %s", exc)
            finally:
                self._on_acknowledged(links)

    async def wait_present(self, identities: Sequence[str], timeout_s: float) -> None:
        """Wait until participants of these identities are in the room. Raises ``RecipientNotFound`` if they are not."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(timeout_s):
            while self._over is None and not all(name in self._present for name in identities):
                await self._joined.park()
        if self._over is not None:
            raise copy(self._over)
        missing = tuple(name for name in identities if name not in self._present)
        if missing:
            raise RecipientNotFound(missing)

    @property
    def has_sent_reliably(self) -> bool:
        """Whether there is, or was, anything to wait for."""
        return bool(self._reliable_sent or self._waiting)

    def is_unsettled(self, now: float) -> bool:
        """Whether there is a connection, and something that the server may not have read."""
        if self._links is None:
            return False
        return bool(self._outbox or self._waiting) or now - self._sent_at < _READING_S

    def statistics(self) -> PacketStatistics:
        """A frozen look at the counters."""
        incoming = self.incoming
        return PacketStatistics(
            reliable_sent=self._reliable_sent,
            reliable_resent=self._reliable_resent,
            reliable_unacknowledged=len(self._outbox),
            reliable_waiting=len(self._waiting),
            lossy_sent=self._lossy_sent,
            lossy_dropped=self._lossy.dropped + self._count_expired(),
            received=incoming.received,
            repeats=incoming.repeats,
            malformed=incoming.malformed,
            unheeded=incoming.unheeded,
            undecryptable=incoming.undecryptable,
            plaintext_refused=incoming.plaintext_refused,
            unread_bytes=self.incoming.unread_bytes,
        )

    # --- what goes out ------------------------------------------------------------------------------------------------

    def on_progress(self) -> None:
        """Something was acknowledged, or time has passed: the channels may take more."""
        now = trio.current_time()
        if self._links is not None:
            before = self._outbox.size
            self._on_acknowledged(self._links)
            is_behind = bool(self._waiting) or self._links.unsent_amount(RELIABLE) >= MIN_BYTES
            self._high_water.on_acknowledged(before - self._outbox.size, now, is_behind=is_behind)
            self._send_lossy(now)
        self._send(now)

    def _on_acknowledged(self, links: Links) -> None:
        for parcel in self._outbox.on_buffered(links.buffered_amount(RELIABLE)):
            parcel.on_acked()

    def _parcel(self, value: Value, destinations: Sequence[str], policy: OnFullReconnect) -> Parcel:
        """A packet that may be sent. Raises ``PublishDataError``, or what ended the room."""
        if self._over is not None:
            raise copy(self._over)
        names = tuple(destinations)
        body = encode_packet(DataPacket(value, destination_identities=names))
        is_to_be_sealed = self.sealer is not None and isinstance(value, ENCRYPTABLE)
        size = len(body) + MAX_NUMBER_BYTES + (_SEAL_BYTES if is_to_be_sealed else 0)
        self._check(size)
        return Parcel(value, names, None if is_to_be_sealed else body, size, policy)

    def _check(self, size: int) -> None:
        if size > MAX_PACKET_BYTES:
            raise PayloadTooLarge(size, MAX_PACKET_BYTES)
        if not self.may_publish:
            raise _not_allowed()

    def _encode(self, value: Value, destinations: tuple[str, ...]) -> bytes:
        """Encrypted, where the room is. Raises a ``LiveKitError`` of the sealer's."""
        if self.sealer is not None and isinstance(value, ENCRYPTABLE):
            value = self.sealer.seal(value)
        return encode_packet(DataPacket(value, destination_identities=destinations))

    def _send(self, now: float) -> None:
        """Hand the reliable channel what it should have now."""
        links, waiting, outbox = self._links, self._waiting, self._outbox
        if links is not None and self._resend_at is None and waiting:
            unsent = links.unsent_amount(RELIABLE)
            messages: list[bytes] = []
            was_empty = not outbox
            while waiting and unsent < self._high_water.limit and outbox.has_room(waiting[0].size):
                parcel = self._pop_waiting()
                message = self._numbered(parcel)
                if message is not None:
                    outbox.add(parcel, len(message), now)
                    parcel.on_sent(self._reachable(parcel), now)
                    unsent += len(message)
                    messages.append(message)
            if messages:
                self._reliable_sent += len(messages)
                self._sent_at = now
                self._hand_over(links, RELIABLE, messages)
                if was_empty:
                    self._reschedule(self.next_timeout())
        self._watch(links)

    def _pop_waiting(self) -> Parcel:
        parcel = self._waiting.popleft()
        if parcel.is_control:
            parcel.is_control = False
            self._control -= 1
        return parcel

    def _numbered(self, parcel: Parcel) -> bytes | None:
        """The message for the channel, or ``None`` if there is to be none."""
        try:
            if not self.may_publish:
                raise _not_allowed()
            body = parcel.body
            if body is None:
                body = self._encode(parcel.value, parcel.destinations)
        except LiveKitError as error:
            if parcel.is_sent:
                parcel.give_up(_unknown(DeliveryErrorReason.SESSION_REPLACED, str(error)))
            else:
                parcel.refuse(error)
            return None
        sequence = self._outbox.next_sequence
        return numbered(body, sequence if sequence <= MAX_SEQUENCE else 0)

    def _reachable(self, parcel: Parcel) -> frozenset[str]:
        """Whom a packet reaches if it is sent now."""
        if parcel.destinations:
            return frozenset(name for name in parcel.destinations if name in self._present)
        if self._everyone is None:
            self._everyone = frozenset(self._present)
        return self._everyone

    def _send_lossy(self, now: float) -> None:
        links = self._links
        if links is not None and self._lossy:
            messages = self._lossy.messages_to_send(links.unsent_amount(LOSSY), now)
            if messages:
                self._lossy_sent += len(messages)
                links.send_until(LOSSY, messages, now)
                self._count_expired()
            self._watch(links)

    def _count_expired(self) -> int:
        """Lossy packets that the channel has given up for their age, in all sessions."""
        if self._links is not None:
            self._expired = max(self._expired, self._expired_before + self._links.expired_count(LOSSY))
        return self._expired

    def _hand_over(self, links: Links, label: str, messages: list[bytes]) -> None:
        try:
            links.send(label, messages, trio.current_time())
        except TransportError as exc:
            # The channel is being closed. Then the session is lost, and that is told in a moment.
            logger.debug("the %s channel does not take messages: %s", label, exc)

    def _watch(self, links: Links | None) -> None:
        if links is not None:
            links.watch_progress(RELIABLE, bool(self._outbox or self._waiting or self._lossy))
        if self._idle and not self._waiting:
            self._idle.unpark_all()

    # --- the session, and who is in it --------------------------------------------------------------------------------

    def on_permission(self, permission: Permission | None) -> None:
        """What this client may do, as the server sees it."""
        self.may_publish = permission is None or permission.can_publish_data
        self._send(trio.current_time())

    def on_participant(self, info: ParticipantInfo, *, is_new: bool) -> None:
        """A participant is in the room. ``is_new``: as far as this client can tell, since just now."""
        if self._present.get(info.identity) != info.sid:
            self._present[info.identity] = info.sid
            self._everyone = None
            self.incoming.on_participant(info.sid, is_new=is_new)
            self._awaited.discard(info.identity)
            self._joined.unpark_all()
            for watcher in self._watchers:
                watcher.on_participant(info)
            if self._resend_at is not None and not self._awaited:
                self._resend()

    def on_participant_left(self, info: ParticipantInfo) -> None:
        """A participant is gone."""
        if self._present.get(info.identity) == info.sid:
            del self._present[info.identity]
            self._everyone = None
        self.incoming.on_participant_left(info.sid)
        for parcel in self._outbox.items():
            parcel.on_left(info.identity)
        for watcher in self._watchers:
            watcher.on_participant_left(info)

    def on_resumed(self, last_message_seq: int) -> None:
        """The session goes on, and the server has told the number of the last packet that it received.

        What has a higher number is not sent again: the association outlived the websocket, and delivers it.
        """
        for parcel in self._outbox.on_received(last_message_seq):
            parcel.on_acked()
        self._send(trio.current_time())

    def on_links_lost(self) -> None:
        """The peer connection is lost, and with it the session. What is to be sent waits."""
        self._expired_before = self._count_expired()
        self._links = None
        self._lossy.clear()

    def on_session_lost(self) -> None:
        """The session is over, and another is to take its place: what may not have arrived is to be sent there."""
        self.on_links_lost()
        self._resend_at = None
        self.incoming.on_session_lost()
        again: list[Parcel] = []
        for parcel in self._outbox.on_new_session():
            if parcel.on_full_reconnect == "resend":
                again.append(parcel)
            else:
                parcel.give_up(_unknown(DeliveryErrorReason.SESSION_REPLACED, "the session was replaced by another"))
        self._waiting.extendleft(reversed(again))
        self._watch(None)

    def on_session_replaced(self, links: Links) -> None:
        """The server has let us in again; who is in the room is told next, and messages may come from now on."""
        self.incoming.on_session_replaced(links)
        for watcher in self._watchers:
            watcher.on_session_replaced()

    def on_connected(self, links: Links) -> None:
        """The new session can be sent on. Who is in its room is known, as far as the server tells at once."""
        self._links = links
        self.incoming.on_connected()
        now = trio.current_time()
        again = [parcel for parcel in self._waiting if parcel.is_sent]
        self._awaited = {
            name
            for parcel in again
            for name in parcel.recipients
            if name not in self._present and name not in parcel.receipt.recipients_left  # while we were still there
        }
        if again and self._awaited:
            self._resend_at = now + _RESEND_WAIT_S
            self._reschedule(self._resend_at)
        else:
            self._resend()

    def _resend(self) -> None:
        """Begin with what was sent in the session before, to whoever of those it was for is here."""
        self._resend_at = None
        self._awaited.clear()
        for parcel in [parcel for parcel in self._waiting if parcel.is_sent]:
            missing = [name for name in parcel.recipients if name not in self._present]
            if parcel.recipients and len(missing) == len(parcel.recipients):
                self._waiting.remove(parcel)
                parcel.give_up(_unknown(DeliveryErrorReason.RECIPIENTS_GONE, "nobody whom it was for came back"))
                continue
            parcel.receipt._left = dict.fromkeys(missing)
            self._reliable_resent += 1
        self._send(trio.current_time())

    def close(self, error: LiveKitError | None) -> None:
        """The room is over: ``error`` says how, ``None`` that we left."""
        if self._over is not None:
            return
        self._over = end_of_room(error)
        self.incoming.close()
        self._links = None
        self._lossy.clear()
        lost = _unknown(DeliveryErrorReason.DISCONNECTED, "the room was left, or lost, before it was acknowledged")
        for parcel in self._outbox.on_new_session():
            parcel.give_up(lost)
        waiting, self._waiting = self._waiting, deque()
        for parcel in waiting:
            if parcel.is_sent:
                parcel.give_up(lost)
            else:
                parcel.refuse(self._over)
        self._watch(None)
        self._joined.unpark_all()
        for watcher in self._watchers:
            watcher.on_over(self._over)

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        resent = self._waiting[0].sent_at if self._waiting else None
        expires_at = None if resent is None else resent + MAX_AGE_S
        deadlines = (self._outbox.next_timeout(), self._resend_at, expires_at)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        expired = self._outbox.handle_timeout(now)
        waiting = self._waiting
        while waiting and (sent_at := waiting[0].sent_at) is not None and sent_at + MAX_AGE_S <= now:
            expired.append(waiting.popleft())
        for parcel in expired:
            parcel.give_up(_unknown(DeliveryErrorReason.EXPIRED, f"it was not acknowledged for {MAX_AGE_S:g} s"))
        if self._resend_at is not None and now >= self._resend_at:
            self._resend()
        self._send(now)


def _not_allowed() -> PublishDataError:
    text = "the token, or the server's operator, does not let this participant publish data"
    return PublishDataError(PublishDataErrorReason.NOT_ALLOWED, text)


def _unknown(reason: DeliveryErrorReason, text: str) -> DeliveryError:
    return DeliveryError(reason, f"the packet may not have been delivered: {text}")

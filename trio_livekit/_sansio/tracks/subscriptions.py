"""Subscriptions to remote data tracks, one state machine for each track SID, and the packets that they bring.

The server never answers a subscription as such. It sends, again and again, the full list of packet handles that are
active for us; whether a track is on that list is all that can be known. What follows from that:

- A request gets no answer if the track is already on the list, and none if it was refused. So it is repeated, and after
  a while those who wait for it are told.
- Nothing is ever unsubscribed that is not on the latest list: servers up to 1.13.5 deadlock the whole room on it. A
  subscription that nobody wants any more is left alone until it shows up, if it does.
- A track that leaves the list is paused (permission may come back) and ends only when its publication does.
- A server may lose a request that closely follows its opposite. So after one, the list is awaited before the other.
- That a track is unpublished is told over another connection than its packets take, and may overtake the last of them.
  So what is unpublished goes on for a moment.
- A list may be lost together with the signal connection that it was sent on. The server sends the next one only when
  something changes, and a request for what is subscribed already changes nothing. So after such a loss the
  subscriptions that may be in place are *in doubt*, and there are three ways out:

  - Packets come with a handle that no list has named. If only one track is in doubt, they are of that track. If there
    are as many such handles as tracks in doubt, all of them are subscribed; one is given up, for the list that follows.
  - A list is provoked by a *probe*: a subscription to another track, which is given up again at once.
  - Where there is no track for a probe, and one subscription is waited for, it is *presumed* to be in place. A list, or
    a packet, will say so when there is anything to be had from it.
"""

from __future__ import annotations

__all__ = ["Active", "Ended", "InDoubt", "Paused", "SubscriptionEvent", "Subscriptions", "TimedOut"]

import enum
from typing import TYPE_CHECKING, NamedTuple

from ...errors import DecodeError
from ..signal.messages import UpdateDataSubscription
from .packet import MAX_HANDLE, decode_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .depacketizer import Depacketizer, TrackFrame

SUBSCRIBE_TIMEOUT_S = 10.0
"""How long a first subscription may take: the other SDKs' figure."""

REPEAT_INTERVAL_S = 3.0
"""How often a subscription is asked for again; a server reconciles what it has with what was asked every 3 s."""

UNSUBSCRIBE_WAIT_S = 4.0
"""How long to wait for the list to show an unsubscription before subscribing all the same: one such tick and more."""

PROBE_AFTER_S = 0.3
"""How long after a resume a list may take that only the request to repeat a subscription provokes."""

LINGER_S = 0.1
"""How long the last packets of a track may come after the news that it is unpublished."""


class Active(NamedTuple):
    """Frames flow, for the first time or again, under this packet handle; ``None`` where they are taken to flow."""

    sid: str
    handle: int | None


class Paused(NamedTuple):
    """The server has stopped forwarding a track that is still wanted. Nothing to do but wait."""

    sid: str


class TimedOut(NamedTuple):
    """A first subscription was never established. Nobody wants the track any more, until somebody does again."""

    sid: str


class Ended(NamedTuple):
    """A wanted track was unpublished, or the session is over: nothing more will come of it."""

    sid: str


class InDoubt(NamedTuple):
    """A list may have been lost, and subscriptions wait for it. Any track that is not wanted may serve as a ``probe``;
    if there is none, ``presume``."""


SubscriptionEvent = Active | Paused | TimedOut | Ended | InDoubt


class _InFlight(enum.Enum):
    NONE = enum.auto()
    SUBSCRIBE = enum.auto()
    UNSUBSCRIBE = enum.auto()


class _Subscription:
    __slots__ = ("deadline", "depacketizer", "established", "handle", "in_flight", "paused", "retry_at", "sent", "sid")

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.depacketizer: Depacketizer | None = None  # there is one exactly while the track is wanted
        self.in_flight = _InFlight.NONE
        self.sent = False  # whether the request in flight has been polled, so that the server may know of it
        self.handle: int | None = None  # as reported by Active
        self.established = False  # whether those who want it have had Active: then nothing times out
        self.paused = False
        self.deadline: float | None = None
        self.retry_at: float | None = None


class Subscriptions:
    """The data tracks that we subscribe to.

    From ``on_signal_lost`` to ``on_resumed``, and from ``reset`` to ``resubscribe``, nothing new is asked for and no
    clock runs: nobody could answer.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[str, _Subscription] = {}
        self._snapshot: dict[int, str] = {}  # handle -> SID
        self._handles: dict[str, int] = {}  # SID -> handle
        self._routes: dict[int, _Subscription] = {}
        self._lingering: dict[str, tuple[float, _Subscription]] = {}  # unpublished; until when they go on
        self._outbox: dict[str, bool] = {}
        self._events: list[SubscriptionEvent] = []
        self._suspended = False
        self._named: set[int] = set()  # the handles of all lists of this session
        self._unnamed: set[int] = set()  # those of packets, while a list may be lost
        self._probe_at: float | None = None
        self.is_in_doubt = False
        """Whether a list may be lost, so that packets may bring events."""
        self.bad_packets = 0
        self.unknown_handles = 0

    # --- packets ----------------------------------------------------------------------------------------------------

    def receive(self, message: bytes) -> tuple[str, TrackFrame] | None:
        """Take in one message of the data track channel; returns the SID and the frame, if it completes one."""
        try:
            packet = decode_fields(message)
        except DecodeError:
            self.bad_packets += 1
            return None
        subscription = self._routes.get(packet[1])
        if subscription is None and self.is_in_doubt:
            subscription = self._recognize(packet[1])
        if subscription is None:
            # Some always come before the list that explains them, or after an unsubscription.
            self.unknown_handles += 1
            return None
        assert subscription.depacketizer is not None
        frame = subscription.depacketizer.push(packet)
        return None if frame is None else (subscription.sid, frame)

    def route(self, handle: int) -> str | None:
        """The SID of the wanted track whose packets carry ``handle``."""
        subscription = self._routes.get(handle)
        return None if subscription is None else subscription.sid

    # --- what the application wants ---------------------------------------------------------------------------------

    def want(self, sid: str, depacketizer: Depacketizer, now: float) -> None:
        """Somebody wants a track: the first reader. Its frames are to come out of ``depacketizer``."""
        self._stop_lingering(sid)
        subscription = self._subscriptions.get(sid)
        if subscription is None:
            subscription = self._subscriptions[sid] = _Subscription(sid)
        elif subscription.depacketizer is not None:
            return
        subscription.depacketizer = depacketizer
        subscription.established = False
        if subscription.in_flight is _InFlight.UNSUBSCRIBE and not subscription.sent:
            self._settle(subscription)
        self._start_waiting(subscription, now)

    def unwant(self, sid: str, now: float) -> None:
        """Nobody wants a track any more: the last reader is gone. What may be done about it is done in time."""
        self._stop_lingering(sid)
        subscription = self._subscriptions.get(sid)
        if subscription is None or subscription.depacketizer is None:
            return
        self._release(subscription)
        self._evaluate(subscription, now)

    # --- what the server says ---------------------------------------------------------------------------------------

    def on_handles(self, handles: Mapping[int, str], now: float) -> None:
        """The list of active handles; it replaces the one before. What no packet can carry is no handle."""
        self.is_in_doubt = False
        self._probe_at = None
        self._unnamed = set()
        self._snapshot = {handle: sid for handle, sid in handles.items() if 0 < handle <= MAX_HANDLE}
        self._named.update(self._snapshot)
        self._handles = {sid: handle for handle, sid in self._snapshot.items()}
        for subscription in list(self._subscriptions.values()):
            listed = subscription.sid in self._handles
            if subscription.in_flight is _InFlight.SUBSCRIBE:
                if listed:
                    self._settle(subscription)
            elif not listed:
                if subscription.in_flight is _InFlight.UNSUBSCRIBE:
                    self._on_delisted(subscription)
                elif subscription.handle is not None:
                    subscription.paused = True
            self._evaluate(subscription, now)

    def on_unpublished(self, sid: str, now: float) -> None:
        """A publication is gone, alone or with its publisher. ``Ended`` follows when its last packets have had time."""
        subscription = self._subscriptions.pop(sid, None)
        if subscription is None:
            return
        self._outbox.pop(sid, None)
        self._end_doubt(subscription)
        if subscription.handle is not None:
            self._lingering[sid] = now + LINGER_S, subscription
        elif subscription.depacketizer is not None:
            self._events.append(Ended(sid))

    def on_reassigned(self, old_sid: str, new_sid: str, now: float) -> None:
        """A publisher came back and its track has a new SID: those who want it stay, and events name the new SID."""
        subscription = self._subscriptions.get(old_sid)
        if subscription is None:
            return
        self._forget(subscription)
        self._end_doubt(subscription)
        if subscription.depacketizer is None:
            return
        successor = self._subscriptions[new_sid] = _Subscription(new_sid)
        successor.depacketizer = subscription.depacketizer
        successor.established = subscription.established
        self._start_waiting(successor, now)

    # --- what happens to the session --------------------------------------------------------------------------------

    def on_signal_lost(self) -> None:
        """The signal connection is gone, for now."""
        self._suspended = True
        self._probe_at = None
        self._unnamed = set()
        for subscription in self._subscriptions.values():
            subscription.deadline = subscription.retry_at = None
        self.is_in_doubt = bool(self._doubtful())

    def on_resumed(self, now: float) -> None:
        """The session goes on over another signal connection. Requests, and the list after the one that holds, may have
        been lost."""
        self._suspended = False
        for subscription in list(self._subscriptions.values()):
            self._start_waiting(subscription, now)
        if self.is_in_doubt:
            self._probe_at = now + PROBE_AFTER_S

    def reset(self) -> None:
        """A new session takes the place of the old one, and nothing of that holds. Feed its publications, then
        ``resubscribe``."""
        self._suspended = True
        self._snapshot = {}
        self._handles = {}
        self._routes = {}
        self._outbox = {}
        self._named = set()
        self._unnamed = set()
        self._probe_at = None
        self.is_in_doubt = False
        self._end(list(self._lingering))
        for subscription in list(self._subscriptions.values()):
            if subscription.depacketizer is None:
                self._forget(subscription)
                continue
            self._settle(subscription)
            subscription.paused = False
            subscription.deadline = None
            if subscription.handle is not None:
                subscription.handle = None
                subscription.depacketizer.reset()
                self._events.append(Paused(subscription.sid))

    def resubscribe(self, now: float) -> None:
        """The publications of the new session are known: ask for what is still wanted."""
        self._suspended = False
        for subscription in list(self._subscriptions.values()):
            self._start_waiting(subscription, now)

    def probe(self, sid: str) -> bool:
        """Ask for a track that is published and not wanted, for nothing but the list that follows.

        Returns whether that makes sense. ``on_unpublished`` is to be told of the track as of any other.
        """
        if self._suspended or sid in self._subscriptions or sid in self._handles:
            return False
        subscription = self._subscriptions[sid] = _Subscription(sid)
        self._request(subscription, _InFlight.SUBSCRIBE)
        return True

    def presume(self) -> None:
        """No list can be provoked: the one subscription that waits for it need not wait any longer."""
        doubtful = self._doubtful()
        if len(doubtful) == 1 and doubtful[0].depacketizer is not None and not doubtful[0].established:
            doubtful[0].established = True
            doubtful[0].deadline = None
            self._events.append(Active(doubtful[0].sid, None))

    # --- the doors of a core ----------------------------------------------------------------------------------------

    @property
    def has_commands(self) -> bool:
        """Whether ``poll_commands`` has something."""
        return bool(self._outbox)

    def poll_commands(self) -> list[UpdateDataSubscription]:
        """The request to send now, if any. Poll only while there is a signal connection to send it on."""
        if not self._outbox:
            return []
        outbox, self._outbox = self._outbox, {}
        for sid in outbox:
            self._subscriptions[sid].sent = True
        return [UpdateDataSubscription(tuple(outbox.items()))]

    def poll_events(self) -> list[SubscriptionEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def next_timeout(self) -> float | None:
        """When to call ``handle_timeout``."""
        clocks = (t for s in self._subscriptions.values() for t in (s.deadline, s.retry_at) if t is not None)
        probe_at = () if self._probe_at is None else (self._probe_at,)
        return min((*clocks, *(until for until, _ in self._lingering.values()), *probe_at), default=None)

    def handle_timeout(self, now: float) -> None:
        """Repeat requests, and give up waiting for what never came."""
        self._end([sid for sid, (until, _) in self._lingering.items() if until <= now])
        if self._probe_at is not None and self._probe_at <= now:
            self._probe_at = None
            if any(subscription.depacketizer is not None for subscription in self._doubtful()):
                self._probe_at = now + REPEAT_INTERVAL_S
                self._events.append(InDoubt())
        for subscription in list(self._subscriptions.values()):
            if subscription.deadline is not None and subscription.deadline <= now:
                self._release(subscription)
                self._events.append(TimedOut(subscription.sid))
            elif subscription.retry_at is not None and subscription.retry_at <= now:
                if subscription.in_flight is _InFlight.SUBSCRIBE and subscription.sid in self._handles:
                    self._settle(subscription)  # it was subscribed all along, which gets no answer
                else:
                    self._subscribe(subscription, now)
            self._evaluate(subscription, now)

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _start_waiting(self, subscription: _Subscription, now: float) -> None:
        """Wind the clocks of a subscription that is wanted, and repeat what may never have reached the server."""
        if subscription.depacketizer is not None and not self._suspended:
            if not subscription.established:
                subscription.deadline = now + SUBSCRIBE_TIMEOUT_S
            if subscription.in_flight is _InFlight.SUBSCRIBE:
                self._subscribe(subscription, now)
            elif subscription.in_flight is _InFlight.UNSUBSCRIBE:
                subscription.retry_at = now + UNSUBSCRIBE_WAIT_S
        self._evaluate(subscription, now)

    def _evaluate(self, subscription: _Subscription, now: float) -> None:
        """Bring one subscription from what it is towards what it should be."""
        handle = self._listed_handle(subscription)
        if subscription.depacketizer is not None:
            if subscription.in_flight is not _InFlight.UNSUBSCRIBE:
                self._report(subscription, handle)
            if subscription.in_flight is _InFlight.NONE and handle is None and not subscription.paused:
                self._subscribe(subscription, now)
        elif subscription.in_flight is _InFlight.NONE:
            if handle is not None:
                self._request(subscription, _InFlight.UNSUBSCRIBE)
                subscription.retry_at = None
            else:
                self._forget(subscription)

    def _doubtful(self) -> list[_Subscription]:
        """The subscriptions that the server may have established without our knowing."""
        return [
            subscription
            for sid, subscription in self._subscriptions.items()
            if subscription.in_flight is _InFlight.SUBSCRIBE and subscription.sent and sid not in self._handles
        ]

    def _recognize(self, handle: int) -> _Subscription | None:
        """The wanted track of a packet that comes under a handle of which nothing was said, if there is just one."""
        doubtful = self._doubtful()
        if handle in self._named or not doubtful:
            return None
        self._unnamed.add(handle)
        if len(self._unnamed) < len(doubtful):
            return None
        self.is_in_doubt = False
        subscription = doubtful[0]
        if len(doubtful) > 1 or subscription.depacketizer is None:
            self._request(subscription, _InFlight.UNSUBSCRIBE)  # for the list that follows
            subscription.retry_at = None
            return None
        self._snapshot[handle] = subscription.sid
        self._handles[subscription.sid] = handle
        self._settle(subscription)
        self._report(subscription, handle)
        return subscription

    def _end_doubt(self, subscription: _Subscription) -> None:
        """What may have been established is gone. Its last packets must not pass for another track's."""
        if subscription.in_flight is _InFlight.SUBSCRIBE and subscription.sent:
            self.is_in_doubt = False

    def _on_delisted(self, subscription: _Subscription) -> None:
        """It is off the list by our request; or, if the server cannot have read that yet, it is paused."""
        is_paused = not subscription.sent
        self._settle(subscription)
        if is_paused and subscription.depacketizer is None:
            self._await_return(subscription)

    def _listed_handle(self, subscription: _Subscription) -> int | None:
        """The handle of the track on the latest list; the one it had, if it is there under several."""
        if subscription.handle is not None and self._snapshot.get(subscription.handle) == subscription.sid:
            return subscription.handle
        return self._handles.get(subscription.sid)

    def _report(self, subscription: _Subscription, handle: int | None) -> None:
        if handle == subscription.handle:
            return
        assert subscription.depacketizer is not None
        subscription.depacketizer.reset()
        self._unroute(subscription)
        subscription.handle = handle
        if handle is None:
            self._events.append(Paused(subscription.sid))
            return
        subscription.deadline = None
        subscription.established = True
        subscription.paused = False
        self._routes[handle] = subscription
        self._events.append(Active(subscription.sid, handle))

    def _subscribe(self, subscription: _Subscription, now: float) -> None:
        """Ask for a track, for the first time or again."""
        if not self._suspended:
            self._request(subscription, _InFlight.SUBSCRIBE)
            subscription.retry_at = now + REPEAT_INTERVAL_S

    def _request(self, subscription: _Subscription, in_flight: _InFlight) -> None:
        if subscription.in_flight is not in_flight:
            subscription.in_flight = in_flight
            subscription.sent = False
        self._outbox[subscription.sid] = in_flight is _InFlight.SUBSCRIBE

    def _settle(self, subscription: _Subscription) -> None:
        """No request is in flight any more, and none is needed."""
        subscription.in_flight = _InFlight.NONE
        subscription.sent = False
        subscription.retry_at = None
        self._outbox.pop(subscription.sid, None)

    def _release(self, subscription: _Subscription) -> None:
        """Nobody wants it any more. If the server may still come to establish it, that has to be waited for."""
        subscription.depacketizer = None
        subscription.deadline = subscription.retry_at = None
        self._unroute(subscription)
        subscription.handle = None
        self._outbox.pop(subscription.sid, None)
        if subscription.paused:
            subscription.paused = False
            self._await_return(subscription)
        elif not subscription.sent:
            subscription.in_flight = _InFlight.NONE

    @staticmethod
    def _await_return(subscription: _Subscription) -> None:
        """Nobody wants it, and the server will come back with it: it can be unsubscribed then, and not before."""
        subscription.in_flight = _InFlight.SUBSCRIBE
        subscription.sent = True

    def _end(self, lingering: list[str]) -> None:
        for sid in lingering:
            self._stop_lingering(sid)
            self._events.append(Ended(sid))

    def _stop_lingering(self, sid: str) -> None:
        if sid in self._lingering:
            self._unroute(self._lingering.pop(sid)[1])

    def _unroute(self, subscription: _Subscription) -> None:
        if subscription.handle is not None and self._routes.get(subscription.handle) is subscription:
            del self._routes[subscription.handle]

    def _forget(self, subscription: _Subscription) -> None:
        self._unroute(subscription)
        self._outbox.pop(subscription.sid, None)
        del self._subscriptions[subscription.sid]

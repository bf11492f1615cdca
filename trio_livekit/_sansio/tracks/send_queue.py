"""In what order, and how fast, the packets of all our tracks go into the one data track channel.

- Each track has a short queue of its own, and the tracks take turns: one that floods its queue hurts only itself.
- Frames are sent whole. Packets of a frame of which some are missing at the receiver are worth nothing.
- Nothing is handed to the channel while it still holds more than a little, so that what is sent is fresh. The rest of
  a frame of which the first packet has left follows, as fast as the pace lets it.
- A frame that has waited for ``FRESH_S`` is dropped once a newer one of its track waits behind it, or needs its place.
  From then on the newest goes first, and others are dropped, until the track has caught up: where the network takes
  less than there is, a queue that is kept would make every frame as old as frames may be. The newest of a track always
  goes, and so do those that were promised to (``send`` waits for room, to lose nothing). What the channel was given
  and has not begun is no exception: see ``take_back``.
  A frame that was begun is finished, however long that takes: what has left is worth nothing without the rest, and
  where a frame takes longer to send than it may wait, none would ever arrive.
- Large frames are paced. A server bounds the latency it adds: it drops a message for a subscriber to whom more than
  8 KiB, and more than 100 ms of what the link was seen to carry in the last 2 s, is not yet acknowledged. The packets
  of a large frame sent all at once run into that; spread out, they pass. Frames of one packet are not held back by it.

A frame of one packet that meets an empty queue does not need to enter it: see ``passes``.
"""

from __future__ import annotations

__all__ = ["SendQueue"]

import math
from collections import deque

from .packet import SINGLE, START
from .packetizer import MTU

FRAMES_PER_TRACK = 16
"""Frames a track may have waiting, as in the Rust SDK. One more takes the place of one that has waited for too long; if
there is none such, it is refused: the newest, so that the caller knows."""

FRESH_S = 0.1
"""How long a frame may wait where there is a newer one to send: what servers allow themselves in passing it on."""

PROMISED = math.inf
"""For ``push``: a frame that does not get too old."""

BUFFERED_LIMIT_BYTES = 64 * 1024
"""What the channel may hold and still be given more: four packets, or 10 ms at 50 Mbit/s."""

BURST_BYTES = MTU
"""What of a large frame goes out at once: one packet. Larger bursts while other frames wait, to catch up after a stall,
were measured too: less latency, and more frames lost."""

SPACING_S = 0.002
"""Time from one burst to the next: with one packet a burst, 8 MB/s, which adds 8 ms to a frame of 64 KiB.

Measured with livekit-server 1.13.5 on loopback, to a browser: 64 KiB at 30 Hz and 256 KiB at 10 Hz arrive whole with
this, and on a quiet machine also without any pace. 64 KiB at 3 Hz beside 50 small frames a second, which make the
server think the link slow: 0 % without pace, 25 % with 1 ms, 40 % with 2 ms. Half the packet size was no better."""

OPENING_S = 0.008
"""Time from the first packet of a large frame to its second, if no other went before it lately.

The first packet shows the server what the link carries. Its congestion window starts at 4380 bytes and does not grow on
small frames, so that takes some round trips. In the last measurement above: 62 % of the frames instead of 40 %."""

SMALL_SHARE = 8
"""A packet of at most this part of a burst may follow a full burst at once, if other frames wait behind it. It is the
rest of a frame, and a beat of its own for it would halve the rate of 16 KiB frames: 250 a second instead of 500."""

RECENT_S = 0.12
"""How long the last large packet counts as lately. Frames that come faster than this open the way for each other, since
100 ms of what they carry is about one of them."""


class SendQueue:
    """Frames, already cut into packets, on their way into the channel. Tracks are named by their handles."""

    __slots__ = (
        "_ahead_mark",
        "_ahead_since",
        "_allowance",
        "_behind",
        "_buffered_limit",
        "_burst_bytes",
        "_frames_per_track",
        "_in_progress",
        "_last_paced",
        "_most_buffered",
        "_next_burst",
        "_next_packet",
        "_opening_s",
        "_outdated",
        "_paced",
        "_queues",
        "_spacing_s",
        "_turns",
        "handed_bytes",
        "promised_bytes",
    )

    def __init__(
        self,
        *,
        frames_per_track: int = FRAMES_PER_TRACK,
        buffered_limit: int = BUFFERED_LIMIT_BYTES,
        burst_bytes: int = BURST_BYTES,
        spacing_s: float = SPACING_S,
        opening_s: float = OPENING_S,
    ) -> None:
        self._frames_per_track = frames_per_track
        self._buffered_limit = self._most_buffered = buffered_limit
        self._burst_bytes = burst_bytes
        self._spacing_s = spacing_s
        self._opening_s = opening_s
        self._queues: dict[int, deque[tuple[float, list[bytes]]]] = {}  # with the times they were pushed
        self._turns: deque[int] = deque()  # tracks with something queued, the next one first
        self._in_progress: int | None = None  # the track of the large frame that has been begun
        self._next_packet = 0  # of that frame
        self._allowance = 0  # bytes that may still go in this burst
        self._next_burst = 0.0
        self._last_paced = -math.inf  # when the last packet of a large frame went
        self._paced = False  # whether anything waits for the next burst, and for that alone
        self._behind: set[int] = set()  # tracks of which only the newest goes
        self.handed_bytes = 0
        """To the channel, ever: what passes is added by who gives it that."""
        self.promised_bytes = 0
        """What those were when the last frame was handed over that was promised to."""
        self._ahead_mark = 0  # what they were when it was last noted that the channel holds something,
        self._ahead_since = math.inf  # which was pushed at this time, or later
        self._outdated: dict[int, int] = {}  # how many frames were dropped for their age, by track

    def follow(self, prompt_amount: int) -> None:
        """The channel is given no more in advance than the network takes in a moment, nor less than one packet."""
        self._buffered_limit = min(self._most_buffered, prompt_amount)

    def passes(self, buffered_amount: int) -> bool:
        """Whether a frame of one packet may go to the channel at once, past the queue, in the caller's own step."""
        return not self._turns and buffered_amount <= self._buffered_limit

    def push(self, track: int, packets: list[bytes], since: float) -> bool:
        """Queue one frame, unless the queue of its track is full. It is as old as ``since``, or is ``PROMISED``."""
        queue = self._queues.get(track)
        if queue is None:
            self._queues[track] = deque(((since, packets),))
            self._turns.append(track)
        elif len(queue) >= self._frames_per_track:
            return False
        else:
            queue.append((since, packets))
        return True

    def make_room(self, track: int, now: float) -> bool:
        """Whether ``push`` accepts a frame of this track now. One that has waited for too long is dropped for it."""
        queue = self._queues.get(track)
        return queue is None or len(queue) < self._frames_per_track or self._drop_outdated(track, queue, now)

    def _drop_outdated(self, track: int, queue: deque[tuple[float, list[bytes]]], now: float) -> bool:
        for index in range(self._in_progress == track, len(queue)):
            if now - queue[index][0] >= FRESH_S:
                del queue[index]
                self._count_outdated(track)
                return True
        return False

    def _count_outdated(self, track: int) -> None:
        self._outdated[track] = self._outdated.get(track, 0) + 1

    def take_outdated(self) -> dict[int, int]:
        """How many frames of each track were dropped for their age since the last call."""
        outdated = self._outdated
        if outdated:
            self._outdated = {}
        return outdated

    def queued(self, track: int) -> int:
        """Frames of a track that wait here, one that is partly sent included."""
        return len(self._queues.get(track, ()))

    def packets_to_send(self, buffered_amount: int, now: float) -> list[bytes]:
        """What the channel should be given now, in this order, while it holds ``buffered_amount`` bytes.

        Call it again when the channel has drained (``BufferedAmountLow``), and at ``next_timeout``.
        """
        packets: list[bytes] = []
        turns = self._turns
        room = self._buffered_limit - buffered_amount
        if self.handed_bytes - buffered_amount >= self._ahead_mark:
            self._ahead_since = math.inf  # all that has left
        waiting = 0  # tracks in a row whose turn came and that have to wait for the pace
        while waiting < len(turns) and (room >= 0 or (turns[0] == self._in_progress and self._next_packet > 1)):
            track = turns[0]
            queue = self._queues[track]
            if self._in_progress != track:
                self._skip_outdated(track, queue, now)
            since, frame = queue[0]
            if len(frame) == 1:
                packet, finished = frame[0], True
            elif self._in_progress not in (None, track) or not self._take_pace(
                len(frame[self._next_packet]), now, behind=len(queue) > 1 or len(turns) > 1
            ):
                turns.rotate(-1)
                waiting += 1
                continue
            else:
                packet, finished = self._step(track, frame)
            packets.append(packet)
            self.handed_bytes += len(packet)
            if since == PROMISED:
                self.promised_bytes = self.handed_bytes
            if self._ahead_since == math.inf:
                self._ahead_since, self._ahead_mark = since, self.handed_bytes
            room -= len(packet)
            waiting = 0
            if finished:
                queue.popleft()
                turns.rotate(-1)
                if not queue:
                    del self._queues[track]
                    turns.pop()
        self._paced = room >= 0
        return packets

    @property
    def is_midway(self) -> bool:
        """Whether more is to follow of a frame that has been begun."""
        return self._in_progress is not None

    def wants_back(self, track: int, buffered_amount: int, now: float) -> bool:
        """Whether what the channel holds, and has not begun, is too old, now that a frame of this track was pushed.

        It is if it was pushed too long ago, or the track has fallen behind.
        """
        begun = self.handed_bytes - buffered_amount
        if begun >= self._ahead_mark:  # what it held when that was noted has left, and this came after
            self._ahead_mark, self._ahead_since = self.handed_bytes, now
        is_old = now - self._ahead_since >= FRESH_S or track in self._behind
        return is_old and begun >= self.promised_bytes

    def take_back(self, packets: list[bytes]) -> list[bytes]:
        """What the channel held and has given back. Returns what it is to have again: the rest of frames."""
        packets = list(packets)
        while packets:
            packet = packets[-1]
            track, kind = int.from_bytes(packet[2:4], "big"), packet[0] & SINGLE
            if kind == SINGLE:
                if track not in self._queues:
                    self._queues[track] = deque()
                    self._turns.append(track)
                self._queues[track].appendleft((self._ahead_since, [packet]))
            elif kind == START and track == self._in_progress and self._next_packet == 1:
                self._in_progress, self._next_packet = None, 0
            else:
                break
            packets.pop()
        self._ahead_since = math.inf
        return packets

    def _skip_outdated(self, track: int, queue: deque[tuple[float, list[bytes]]], now: float) -> None:
        """Make the frame the next one that is worth sending."""
        if len(queue) == 1:
            self._behind.discard(track)
        elif now - queue[0][0] >= FRESH_S:
            self._behind.add(track)
        if track in self._behind:
            while len(queue) > 1 and queue[0][0] != PROMISED:
                queue.popleft()
                self._count_outdated(track)

    def next_timeout(self) -> float | None:
        """When the next burst is due, if that is all that something waits for."""
        return self._next_burst if self._paced and self._turns else None

    @property
    def is_blocked(self) -> bool:
        """Whether something waits for the channel to drain, and not for the pace."""
        return bool(self._turns) and not self._paced

    def drop(self, track: int) -> int:
        """Forget the frames of one track; returns how many there were, one that was partly sent included."""
        queue = self._queues.pop(track, None)
        if queue is None:
            return 0
        self._turns.remove(track)
        self._behind.discard(track)
        if self._in_progress == track:
            self._in_progress = None
            self._next_packet = 0
        return len(queue)

    def clear(self) -> dict[int, int]:
        """Forget everything, as when the channel is gone; returns the number of frames by track."""
        return {track: self.drop(track) for track in list(self._queues)}

    def _step(self, track: int, frame: list[bytes]) -> tuple[bytes, bool]:
        """The next packet of the large frame in progress, or the first of one that is begun; and if it is the last."""
        packet = frame[self._next_packet]
        self._next_packet += 1
        if self._next_packet < len(frame):
            self._in_progress = track
            return packet, False
        self._in_progress = None
        self._next_packet = 0
        return packet, True

    def _take_pace(self, size: int, now: float, *, behind: bool) -> bool:
        """Whether a packet of this size may go now; if so, it is taken off the burst. ``behind``: more frames wait."""
        if now >= self._next_burst:
            self._allowance = max(self._burst_bytes, size)
            # A timer that fired late does not slow the pace down, unless it was late by more than one beat.
            self._next_burst += self._spacing_s
            if self._next_burst <= now:
                self._next_burst = now + self._spacing_s
            if self._opening_s and not self._next_packet and now - self._last_paced > RECENT_S:
                self._next_burst = max(self._next_burst, now + self._opening_s)
                self._allowance = -1  # once this one has gone, nothing may follow it, however small
                self._last_paced = now
                return True
        if self._allowance < size:
            is_rest = behind and size <= self._burst_bytes // SMALL_SHARE
            if not is_rest or self._allowance < 0:
                return False
        self._allowance -= size
        self._last_paced = now
        return True

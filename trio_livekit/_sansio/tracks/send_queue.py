"""In what order, and how fast, the packets of all our tracks go into the one data track channel.

- Each track has a short queue of its own, and the tracks take turns: one that floods its queue hurts only itself.
- Frames are sent whole. Packets of a frame of which some are missing at the receiver are worth nothing.
- Nothing is handed to the channel while it still holds more than a little, so that what is sent is fresh.
- Large frames are paced. A server bounds the latency it adds: it drops a message for a subscriber to whom more than
  8 KiB, and more than 100 ms of what the link was seen to carry in the last 2 s, is not yet acknowledged. The packets
  of a large frame sent all at once run into that; spread out, they pass. Frames of one packet are not held back by it.

A frame of one packet that meets an empty queue does not need to enter it: see ``passes``.
"""

from __future__ import annotations

__all__ = ["SendQueue"]

import math
from collections import deque

from .packetizer import MTU

FRAMES_PER_TRACK = 16
"""Frames a track may have waiting, as in the Rust SDK. One more is refused: the newest, so that the caller knows."""

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
        "_allowance",
        "_buffered_limit",
        "_burst_bytes",
        "_frames_per_track",
        "_in_progress",
        "_last_paced",
        "_most_buffered",
        "_next_burst",
        "_next_packet",
        "_opening_s",
        "_paced",
        "_queues",
        "_spacing_s",
        "_turns",
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
        self._queues: dict[int, deque[list[bytes]]] = {}
        self._turns: deque[int] = deque()  # tracks with something queued, the next one first
        self._in_progress: int | None = None  # the track of the large frame that has been begun
        self._next_packet = 0  # of that frame
        self._allowance = 0  # bytes that may still go in this burst
        self._next_burst = 0.0
        self._last_paced = -math.inf  # when the last packet of a large frame went
        self._paced = False  # whether anything waits for the next burst, and for that alone

    def follow(self, polite_amount: int) -> None:
        """The channel is given no more in advance than the network takes without a queue on the way."""
        self._buffered_limit = min(self._most_buffered, polite_amount)

    def passes(self, packets: list[bytes], buffered_amount: int) -> bool:
        """Whether a frame may go to the channel at once, past the queue, in the caller's own step."""
        return not self._turns and len(packets) == 1 and buffered_amount <= self._buffered_limit

    def push(self, track: int, packets: list[bytes]) -> bool:
        """Queue one frame, unless the queue of its track is full."""
        queue = self._queues.get(track)
        if queue is None:
            self._queues[track] = deque((packets,))
            self._turns.append(track)
        elif len(queue) >= self._frames_per_track:
            return False
        else:
            queue.append(packets)
        return True

    def has_room(self, track: int) -> bool:
        """Whether ``push`` would accept a frame of this track."""
        return len(self._queues.get(track, ())) < self._frames_per_track

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
        waiting = 0  # tracks in a row whose turn came and that have to wait for the pace
        while waiting < len(turns) and room >= 0:
            track = turns[0]
            queue = self._queues[track]
            frame = queue[0]
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

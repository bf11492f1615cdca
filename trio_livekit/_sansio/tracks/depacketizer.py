"""Packets of one track back into frames.

A frame is known from its first packet (``START``) to its last (``FINAL``); the packets between may come in any order,
on a channel that neither orders nor repeats. Whatever cannot become a frame any more is dropped at once and counted
under a reason. What is dropped, and when, is the same in the SDKs for Rust and JavaScript.
"""

from __future__ import annotations

__all__ = ["Depacketizer", "DepacketizerStatistics", "Drop", "DropReason", "TrackFrame"]

import enum
from typing import NamedTuple

from ..records import dataclass
from ..serial import MASK16
from .packet import FINAL, SINGLE, START, EncryptionInfo, PacketFields
from .packetizer import MAX_PACKETS_PER_FRAME

MAX_PARTIAL_FRAMES = 8
"""Frames in progress at once. Others take 1, which loses whole frames as soon as two of them overlap on the way."""

_new_tuple = tuple.__new__


class TrackFrame(NamedTuple):
    """One frame, complete; ``payload`` is still encrypted if ``encryption`` is there."""

    payload: bytes
    user_timestamp: int | None
    encryption: EncryptionInfo | None
    number: int


_LATE_FRAMES = 256
"""A frame that is further behind the newest is a newer one: the numbers have gone around while nothing arrived."""


class DropReason(enum.Enum):
    """Why packets of a frame were given up."""

    INTERRUPTED = "a newer frame needed its place"
    UNKNOWN_FRAME = "its first packet was never seen, or the frame was dropped before"
    BUFFER_FULL = "it has more packets than a frame may have"
    INCOMPLETE = "its last packet came and others were missing"
    LATE = "a newer frame was complete before it"


class Drop(NamedTuple):
    """What the most recent packet made the depacketizer give up."""

    frame_number: int
    reason: DropReason
    received: int | None = None  # INCOMPLETE: packets that were there
    expected: int | None = None  # INCOMPLETE: packets that should have been, modulo 65536
    by: int | None = None  # INTERRUPTED: the frame that took its place


@dataclass(frozen=True, slots=True)
class DepacketizerStatistics:
    """Counts since the track was subscribed.

    ``frames_expected`` counts by frame numbers, from the first to the highest that was seen, so that
    ``frames_expected - frames`` is what was lost on the way or is still on it.
    """

    frames: int
    frames_expected: int
    interrupted: int
    unknown_frame: int
    buffer_full: int
    incomplete: int
    late: int  # whole frames that came after a newer one, or a second time
    abandoned: int  # frames in progress when the track was paused, resumed or moved to another session


class _Partial:
    """A frame in progress."""

    __slots__ = ("encryption", "final_sequence", "payloads", "start_sequence", "user_timestamp")

    def __init__(self, start: PacketFields) -> None:
        _, _, sequence, _, _, self.user_timestamp, self.encryption, payload = start
        self.start_sequence = sequence
        self.final_sequence: int | None = None
        self.payloads = {sequence: payload}


class Depacketizer:
    """Reassembles the frames of one track.

    With ``wait_for_late_packets`` a frame whose last packet overtook others is kept until they come (or until it has to
    make room). With ``in_order`` a frame that is complete only after a newer one is dropped. The reference SDKs do
    neither, and nor does this one unless it is told.
    """

    __slots__ = (
        "_abandoned",
        "_buffer_full",
        "_drop",
        "_expected",
        "_frames",
        "_highest",
        "_incomplete",
        "_interrupted",
        "_late",
        "_late_frames",
        "_max_partial_frames",
        "_newest",
        "_partials",
        "_unknown_frame",
        "_wait_for_late_packets",
    )

    def __init__(
        self,
        *,
        max_partial_frames: int = MAX_PARTIAL_FRAMES,
        wait_for_late_packets: bool = False,
        in_order: bool = False,
    ) -> None:
        self.max_partial_frames = max_partial_frames
        self._wait_for_late_packets = wait_for_late_packets
        self._late_frames = _LATE_FRAMES if in_order else 0
        self._partials: dict[int, _Partial] = {}  # by frame number, oldest first
        self._drop: Drop | None = None
        self._highest: int | None = None
        self._newest: int | None = None  # of those that were complete
        self._expected = 0
        self._frames = 0
        self._interrupted = 0
        self._unknown_frame = 0
        self._buffer_full = 0
        self._incomplete = 0
        self._late = 0
        self._abandoned = 0

    @property
    def max_partial_frames(self) -> int:
        """Frames in progress at once; at least 1. May change at any time, and holds from the next packet on."""
        return self._max_partial_frames

    @max_partial_frames.setter
    def max_partial_frames(self, value: int) -> None:
        self._max_partial_frames = max(1, value)

    def push(self, packet: PacketFields) -> TrackFrame | None:
        """Take in one packet; returns the frame that it completes, if it does."""
        marker, _, sequence, number, _, user_timestamp, encryption, payload = packet
        if marker == SINGLE:
            highest = self._highest
            if highest is not None and number == (highest + 1) & MASK16:
                self._highest = number
                self._expected += 1
            else:
                self._expect(number)
                if self._is_late(number):
                    return None
            self._newest = number
            if self._partials and len(self._partials) >= self._max_partial_frames:
                self._evict(number)
            self._frames += 1
            frame: TrackFrame = _new_tuple(TrackFrame, (payload, user_timestamp, encryption, number))
            return frame
        if marker == START:
            self._expect(number)
            self._start(number, packet)
            return None
        partial = self._partials.get(number)
        if partial is None:
            self._unknown_frame += 1
            self._drop = Drop(number, DropReason.UNKNOWN_FRAME)
            return None
        return self._continue(partial, number, marker, sequence, payload)

    def take_drop(self) -> Drop | None:
        """The last thing that was dropped since this was called before, for those who want more than counts."""
        drop, self._drop = self._drop, None
        return drop

    def reset(self) -> None:
        """Forget the frames in progress: the packets that would complete them belong to a time that is over."""
        self._abandoned += len(self._partials)
        self._partials.clear()
        self._highest = self._newest = None

    def statistics(self) -> DepacketizerStatistics:
        """Counts so far."""
        return DepacketizerStatistics(
            frames=self._frames,
            frames_expected=self._expected,
            interrupted=self._interrupted,
            unknown_frame=self._unknown_frame,
            buffer_full=self._buffer_full,
            incomplete=self._incomplete,
            late=self._late,
            abandoned=self._abandoned,
        )

    def _expect(self, number: int) -> None:
        """Count a frame, and those before it that were skipped; an older number than the highest was counted then."""
        if self._highest is None:
            ahead = 1
        else:
            ahead = (number - self._highest) & MASK16
        if 0 < ahead < 0x8000:
            self._highest = number
            self._expected += ahead

    def _is_late(self, number: int) -> bool:
        """Whether a frame is whole only after a newer one was, and so to be dropped: nobody goes back in time."""
        if self._newest is None or (self._newest - number) & MASK16 >= self._late_frames:
            return False
        self._late += 1
        self._drop = Drop(number, DropReason.LATE)
        return True

    def _start(self, number: int, packet: PacketFields) -> None:
        partials = self._partials
        if len(partials) >= self._max_partial_frames and (number not in partials or self._max_partial_frames == 1):
            self._evict(number)
        # A start seen again replaces what there was, and keeps its age.
        partials[number] = _Partial(packet)

    def _evict(self, by: int) -> None:
        """Make room for one frame, which can take several if the capacity has shrunk; the first of them is reported."""
        partials = self._partials
        oldest = next(iter(partials))
        while len(partials) >= self._max_partial_frames:
            del partials[next(iter(partials))]
            self._interrupted += 1
        self._drop = Drop(oldest, DropReason.INTERRUPTED, by=by)

    def _continue(
        self, partial: _Partial, number: int, marker: int, sequence: int, payload: bytes
    ) -> TrackFrame | None:
        payloads = partial.payloads
        if len(payloads) >= MAX_PACKETS_PER_FRAME:
            del self._partials[number]
            self._buffer_full += 1
            self._drop = Drop(number, DropReason.BUFFER_FULL)
            return None
        payloads[sequence] = payload
        if marker == FINAL:
            partial.final_sequence = sequence
        elif partial.final_sequence is None:
            return None
        return self._finish(partial, number)

    def _finish(self, partial: _Partial, number: int) -> TrackFrame | None:
        """The last packet is here: the frame is complete, or waits, or is lost."""
        assert partial.final_sequence is not None
        payloads = partial.payloads
        expected = (partial.final_sequence - partial.start_sequence + 1) & MASK16
        pieces = None
        if 0 < expected <= len(payloads):
            start = partial.start_sequence
            found = [payloads.get((start + offset) & MASK16) for offset in range(expected)]
            if None not in found:
                pieces = found
        if pieces is None and self._wait_for_late_packets and 0 < expected <= MAX_PACKETS_PER_FRAME:
            return None
        del self._partials[number]
        if pieces is None:
            self._incomplete += 1
            self._drop = Drop(number, DropReason.INCOMPLETE, received=len(payloads), expected=expected)
            return None
        if self._is_late(number):
            return None
        self._newest = number
        self._frames += 1
        return TrackFrame(b"".join(pieces), partial.user_timestamp, partial.encryption, number)  # type: ignore[arg-type]

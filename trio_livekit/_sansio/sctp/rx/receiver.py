"""Receiving DATA and FORWARD-TSN, and deciding when to acknowledge (RFC 9260 section 6.2, RFC 3758 section 3.6)."""

from __future__ import annotations

__all__ = ["Receiver"]

import struct
from typing import TYPE_CHECKING

from ....errors import DecodeError
from ..chunks import (
    DATA_HEADER_SIZE,
    FLAG_IMMEDIATE,
    ForwardTsn,
    encode_sack,
)
from ..errors import NO_USER_DATA, Violation
from .reassembly import Reassembly
from .tracker import MAX_AHEAD, TsnTracker

if TYPE_CHECKING:
    from ..config import Config
    from ..events import Event

_unpack_data = struct.Struct(">BBHLHHL").unpack_from

SACK_EVERY_PACKETS = 2
SACK_FIXED_SIZE = 16


class Receiver:
    """The receiving half. Messages go, complete and in order, to the list given to ``deliver_to``."""

    __slots__ = (
        "_advertised", "_config", "_gap_limit", "_hard_limit", "_packets", "_sack_now",
        "duplicates", "reassembly", "sack_at", "tracker",
    )  # fmt: skip

    def __init__(self, config: Config, initial_tsn: int, delivered: list[Event]) -> None:
        self._config = config
        self.tracker = TsnTracker(initial_tsn)
        self.reassembly = Reassembly(
            delivered, max_message_size=config.max_receive_message_size, max_streams=config.max_receive_streams,
            manual_window=config.manual_window,
        )  # fmt: skip
        self._packets = 0  # that carried DATA since the last SACK
        self._sack_now = False
        self.sack_at: float | None = None
        self._advertised = config.receive_window
        self._gap_limit = (config.mtu - 12 - SACK_FIXED_SIZE) // 4 - 32
        self._hard_limit = config.receive_window + config.max_receive_message_size
        self.duplicates = 0

    def deliver_to(self, delivered: list[Event]) -> None:
        """Append complete messages to another list from now on."""
        self.reassembly.deliver_to(delivered)

    @property
    def cumulative_tsn(self) -> int:
        """The highest TSN without a gap before it, on the wire's 32 bits."""
        return self.tracker.cumulative & 0xFFFFFFFF

    @property
    def held(self) -> int:
        """Bytes that occupy the receive window."""
        return self.reassembly.held

    def receive_data_chunks(self, packet: bytes, offset: int, now: float) -> int:
        """Take the run of DATA chunks that begins at `offset` and return where it ends.

        Raises DecodeError for a malformed chunk and Violation for what a peer must not send.
        """
        tracker, reassembly, end = self.tracker, self.reassembly, len(packet)
        starts, add_next = tracker.starts, reassembly.add_next
        hard_limit, window = self._hard_limit, self._config.receive_window
        while offset < end and not packet[offset]:
            if end - offset <= DATA_HEADER_SIZE:
                raise self._malformed(packet, offset)
            _, flags, length, tsn, stream_id, ssn, ppid = _unpack_data(packet, offset)
            stop = offset + length
            if length <= DATA_HEADER_SIZE or stop > end:
                raise self._malformed(packet, offset)
            data = packet[offset + DATA_HEADER_SIZE : stop]
            offset = stop + 3 & ~3
            expected = tracker.cumulative + 1
            if tsn == expected & 0xFFFFFFFF and not starts:
                if reassembly.held <= hard_limit and reassembly.unconsumed < window:
                    tracker.cumulative = expected
                    add_next(expected, flags, stream_id, ssn, ppid, data)
            else:
                self._receive_out_of_sequence(tracker.unwrap(tsn), flags, stream_id, ssn, ppid, data)
            if flags & FLAG_IMMEDIATE:
                self._sack_now = True
        self._packets += 1
        if self._packets >= SACK_EVERY_PACKETS:
            self._sack_now = True
        elif self.sack_at is None:
            self.sack_at = now + self._config.sack_delay_s
        return offset

    def on_forward_tsn(self, forward: ForwardTsn) -> None:
        """The peer gave up everything missing up to a TSN."""
        self._sack_now = True
        tracker = self.tracker
        cumulative = tracker.unwrap(forward.cumulative_tsn)
        if tracker.cumulative < cumulative <= tracker.cumulative + MAX_AHEAD:
            self.reassembly.skip(cumulative, forward.streams)
            tracker.advance_to(cumulative)

    def reset_streams(self, stream_ids: tuple[int, ...]) -> None:
        """The peer begins these streams (all, if none is named) anew."""
        self.reassembly.reset(stream_ids)

    def consume(self, size: int) -> None:
        """The application let go of `size` bytes; tell the peer soon if that reopens a window it sees as small."""
        self.reassembly.consume(size)
        risen = self._window() - self._advertised
        if risen >= self._config.receive_window // 2 or (risen > 0 and self._advertised < 2 * self._config.mtu):
            self._sack_now = True

    def take_refused_stream(self) -> int:
        """The id of the stream whose data was dropped last."""
        refused, self.reassembly.refused = self.reassembly.refused, None
        return refused or 0

    def wants_sack(self, now: float) -> bool:
        """Whether a SACK is due."""
        return self._sack_now or (self.sack_at is not None and now >= self.sack_at)

    @property
    def has_unacknowledged(self) -> bool:
        """Whether a SACK, though not due, would tell the peer something: it may ride with other chunks."""
        return self.sack_at is not None or self._sack_now

    def sack(self) -> bytes:
        """The SACK chunk for what has arrived by now."""
        tracker = self.tracker
        duplicates, tracker.duplicates = tracker.duplicates, []
        gaps = tracker.gap_blocks(self._gap_limit) if tracker.starts else []
        self._packets = 0
        self._sack_now = False
        self.sack_at = None
        self._advertised = self._window()
        return encode_sack(tracker.cumulative & 0xFFFFFFFF, self._advertised, gaps, duplicates)

    def _window(self) -> int:
        return max(0, self._config.receive_window - self.reassembly.held)

    def _receive_out_of_sequence(
        self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, data: bytes
    ) -> None:  # fmt: skip
        """A chunk beside the one due next: acknowledge at once, so that the peer sees the gap or its end."""
        tracker, reassembly = self.tracker, self.reassembly
        self._sack_now = True
        in_sequence = tsn == tracker.cumulative + 1
        window = self._config.receive_window
        limit = self._hard_limit if in_sequence else window - len(data)
        if tsn > tracker.cumulative and (reassembly.held > limit or reassembly.unconsumed >= window):
            return  # not recorded, so the peer sends it again when the window is open
        if tracker.add(tsn):
            reassembly.add(tsn, flags, stream_id, ssn, ppid, data, in_sequence)
        else:
            self.duplicates += 1

    @staticmethod
    def _malformed(packet: bytes, offset: int) -> Exception:
        if packet[offset + 2 : offset + 4] == b"\0\x10" and len(packet) - offset >= DATA_HEADER_SIZE:
            return Violation(NO_USER_DATA, "a DATA chunk without data")
        return DecodeError("a DATA chunk has an impossible length")

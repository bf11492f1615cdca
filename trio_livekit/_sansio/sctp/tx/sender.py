"""The sending half: messages in, DATA chunks out, SACKs in (RFC 9260 sections 6 and 7, RFC 3758, RFC 8985)."""

from __future__ import annotations

__all__ = ["Sender"]

import struct
from typing import TYPE_CHECKING

from ...timers import earliest
from ..chunks import (
    DATA_HEADER_SIZE,
    FLAG_FIRST,
    FLAG_LAST,
    FLAG_UNORDERED,
    Sack,
    encode_forward_tsn,
)
from ..events import BufferedAmountLow, Event
from .congestion import UNLIMITED, CongestionController, make_controller
from .loss import LossDetector
from .outstanding import (
    CHUNK,
    IN_FLIGHT,
    MESSAGE,
    SENDS,
    SENT_AT,
    SIZE,
    STATE,
    TSN,
    Outstanding,
    Record,
)
from .pacer import Pacer
from .rto import RtoEstimator
from .window_probe import WindowProbe

if TYPE_CHECKING:
    from ..config import Config
    from .send_queue import Message, SendQueue

# type 0, flags and length as one word; TSN; stream id, sequence number and protocol id as one quad
_pack_data_header = struct.Struct(">LLQ").pack

_FIRST, _LAST, _UNORDERED = FLAG_FIRST << 16, FLAG_LAST << 16, FLAG_UNORDERED << 16  # in the first of these words
_WHOLE = _FIRST | _LAST

_PADDING = (b"", bytes(3), bytes(2), bytes(1))
PACKET_OVERHEAD = 12

PROMPT_S = 0.01
FRESH_FOR_S = 1.0
"""For so long after one was sent, messages that may be lost are about, and the queue on the way is kept short."""


class Sender:
    """What is queued and under way in one association, and every timer that belongs to it."""

    def __init__(self, config: Config, initial_tsn: int, peer_window: int, queue: SendQueue) -> None:
        self._mtu = config.mtu
        self._large = min(config.safe_mtu, config.mtu) - PACKET_OVERHEAD
        """Chunks longer than this need a path that carries more than the safe size."""
        self._narrow = False
        self.has_lost_large = False
        """To be reset by whoever acts on it."""
        self.queue = queue
        self.out = Outstanding(initial_tsn)
        self.use_packet_size(config.mtu)
        self.rto = RtoEstimator(config.rto_initial_s, config.rto_variance_floor_s, config.rto_max_s)
        self.loss = LossDetector(self.out, self.rto)
        self.congestion: CongestionController = make_controller(
            config.congestion, config.mtu, config.initial_window_packets, peer_window
        )
        self.pacer = Pacer(config.mtu, config.max_burst_packets)
        self.window_probe = WindowProbe(config.rto_max_s)
        self.peer_window = peer_window
        self.retransmits = 0
        self.timeouts = 0
        self.abandoned = 0
        self._t3_at: float | None = None
        self._recovery_until = -1  # TSN; recovering until all up to it is acknowledged or given up
        self._repaired_timeout = False  # T3 ran out, and no SACK has said yet whether it had to
        self._first_retransmit = False  # allowed ahead of the window (RFC 9260 section 7.2.4)
        self._wrongly_lost = 0
        self._declared_lost = 0
        self._probing = False
        self._hurried = False  # somebody waits for all to be acknowledged
        self._last_repeatable = -1  # TSN; what was sent after it is given up when lost, and cannot serve as a probe
        self._forward_due = False
        self._skip_at: float | None = None  # when what was given up is not waited for any longer
        self._forward_sent_at = float("-inf")
        self._last_sent_at = 0.0
        self._fresh_until = float("-inf")  # messages that may be lost are about

    def use_packet_size(self, size: int) -> None:
        """From now on, fragments fill packets of `size` bytes; larger ones are not repeated until there is room."""
        self._fragment_size = (size - PACKET_OVERHEAD - DATA_HEADER_SIZE) & ~3
        self._narrow = size - PACKET_OVERHEAD <= self._large < self._mtu - PACKET_OVERHEAD
        if not self._narrow:
            self.out.release_held()

    @property
    def has_stuck(self) -> bool:
        """Whether chunks wait that the path does not carry any more."""
        return self.out.has_held

    @property
    def prompt_amount(self) -> int:
        """Bytes that leave in a moment, by the window and the round trip."""
        srtt = self.rto.srtt
        if srtt is None:
            return UNLIMITED
        return int(min(self.congestion.cwnd, self.congestion.polite) * PROMPT_S / max(srtt, PROMPT_S))

    # What comes in

    def on_sack(self, sack: Sack, now: float) -> None:
        """Take a SACK; one that cannot be true is ignored as a whole."""
        out = self.out
        cumulative = out.unwrap(sack.cumulative_tsn)
        if not out.is_plausible(cumulative, sack.gaps):
            return
        flight_before, window_before = out.flight, self.peer_window
        advanced = cumulative >= out.base
        gaps = [(cumulative + start, cumulative + end) for start, end in sack.gaps]
        out.acknowledge(cumulative, gaps)
        self.peer_window = sack.receive_window
        # Most of what follows is about losses and shut windows, of which there usually are none: look, then call.
        if self.window_probe.interval_s and sack.receive_window >= self._fragment_size:
            self.window_probe.on_open()
        if out.acked_bytes:
            self._on_progress(now, flight_before)
        if sack.duplicates:
            self._wrongly_lost += self.loss.on_duplicates(sack.duplicates, now)
        if self._recovery_until >= 0 or self._declared_lost:
            self._end_recovery_if_done()
        if out.troubled_until >= out.base and out.peer_forgot:
            out.forget_gaps()
            self._lose(out.in_flight(), now, congested=False)
        elif window_before < self._fragment_size and self._window_reopened(window_before):
            self._lose(out.in_flight(), now, congested=False)
        if out.records or self.loss.check_at is not None:
            self._detect_losses(now)
        if out.troubled_until >= out.base:
            self._give_up_front(now)
        else:
            self._skip_at = None
        self._restart_timers(now, advanced)

    def on_timeout(self, now: float) -> None:
        """Act on whichever timers have run out."""
        if self.loss.check_at is not None and now >= self.loss.check_at:
            self._detect_losses(now)
            self._give_up_front(now)
        elif self._skip_at is not None and now >= self._skip_at:
            self._give_up_front(now)
        self.window_probe.on_timeout(now)
        if self.loss.probe_at is not None and now >= self.loss.probe_at:
            self.loss.probe_at = None
            self._probing = True
        if self._t3_at is not None and now >= self._t3_at:
            self._on_t3_expired(now)

    def on_path_recovered(self, now: float, round_trip_s: float | None) -> None:
        """The path carries again after an outage: do not wait for a backed-off timer."""
        self.rto.on_path_recovered(round_trip_s)
        self._t3_at = None
        if self.out.flight:
            self._lose(self.out.in_flight(), now, congested=False)
            self.loss.on_all_lost([], now)
        self.congestion.on_path_recovered()
        self._recovery_until = self.out.next_tsn - 1
        self._first_retransmit = self.out.has_lost
        self._give_up_front(now)
        self._forward_due = self.out.advanced > self.out.cumulative

    def next_timeout(self) -> float | None:
        """When to call ``on_timeout`` or ``collect`` next."""
        loss = self.loss
        return earliest(
            self.window_probe.at, self._t3_at, loss.probe_at, loss.check_at, self._skip_at, self.pacer.release_at
        )  # fmt: skip

    @property
    def is_idle(self) -> bool:
        """Nothing queued, nothing unacknowledged."""
        return not self.out.records and not self.queue

    # What goes out

    def next_chunk_size(self) -> int:
        """Bytes of the next new DATA chunk, 0 if there is none."""
        message = self.queue.next()
        if message is None:
            return 0
        return min(message.size - message.offset, self._fragment_size) + DATA_HEADER_SIZE + 3 & ~3

    def collect(self, now: float, chunks: list[bytes], limit: int | None = None) -> None:
        """Append the chunks that may leave now: FORWARD-TSN, retransmissions, new data (of `limit` bytes at most)."""
        out = self.out
        has_lost = out.has_lost
        due = self._forward_due or self._probing or self._first_retransmit
        message = self.queue.next()
        if message is None and not due and not has_lost:  # most calls only look
            self.pacer.release_at = None
            return
        start = len(chunks)
        before = out.flight
        if not before and now - self._last_sent_at > self.rto.timeout:
            self.congestion.on_idle()
        allowance = self.pacer.allowance(now)
        window = self.congestion.cwnd
        if now < self._fresh_until and self.congestion.fresh < window:
            window = self.congestion.fresh
        room = window - before
        budget = min(room, allowance) if limit is None else min(room, allowance, limit)
        if self._first_retransmit or (has_lost and budget > 0):
            budget = self._collect_lost(now, chunks, budget)
        if budget > 0 and message is not None:
            budget = self._collect_new(now, chunks, budget)
        if self._probing:
            self._probing = False
            if out.flight == before:
                self._collect_probe(now, chunks)
        if self._forward_due:  # last, because messages may just have been given up; ahead of the data
            self._forward_due = False
            if out.advanced > out.cumulative:
                chunks.insert(start, encode_forward_tsn(out.forward_tsn()))
                self._forward_sent_at = now
                self._arm_t3(now)
        sent = out.flight - before
        if sent:
            self.pacer.spent(sent)
            self._last_sent_at = now
            if self._t3_at is None:
                self._t3_at = now + self.rto.current
            self._arm_probe(now)
        if budget <= 0 and window > out.flight and (out.has_lost or self._may_send_new()):
            self.pacer.hold(now)

    def _collect_lost(self, now: float, chunks: list[bytes], budget: int) -> int:
        out = self.out
        while budget > 0 or self._first_retransmit:
            self._first_retransmit = False
            record = out.next_lost()
            if record is None:
                break
            message: Message = record[MESSAGE]
            if message.expires_at is not None and now >= message.expires_at:
                self._abandon(message, now)
                self._give_up_front(now)
                continue
            if self._narrow and record[SIZE] > self._large:
                out.hold(record)
                continue
            self._resend(record, now, chunks)
            budget -= record[SIZE]
        return budget

    def _resend(self, record: Record, now: float, chunks: list[bytes]) -> None:
        out = self.out
        if record[STATE] != IN_FLIGHT:
            record[STATE] = IN_FLIGHT
            out.flight += record[SIZE]
        record[SENT_AT] = now
        record[SENDS] += 1
        out.troubled_until = out.next_tsn - 1
        self.loss.on_resent(record)
        chunks.append(record[CHUNK])
        self.retransmits += 1

    def _collect_new(self, now: float, chunks: list[bytes], budget: int) -> int:
        """Give TSNs to queued messages, in the order of their turns, until `budget` bytes are spent."""
        queue, out, fragment_size, polite = self.queue, self.out, self._fragment_size, self.congestion.polite
        window = self.peer_window - out.flight
        while budget > 0 and (message := queue.next()) is not None:
            if message.expires_at is not None and now >= message.expires_at and self._may_expire(message):
                self._abandon(message, now)
                self._give_up_front(now)
                continue
            if (
                out.flight + message.size > polite and out.flight and message.first_tsn < 0
                and queue.is_alone and (message.max_retransmits is not None or message.expires_at is not None)
            ):  # fmt: skip
                break
            left = message.size - message.offset
            if window < (left if left < fragment_size else fragment_size) and (
                out.flight or out.has_lost or not self.window_probe.may_send(now, self.rto.timeout)
            ):
                break
            if message.first_tsn < 0:
                stream = message.stream
                message.first_tsn = out.next_tsn
                message.ssn = stream.next_ssn
                if message.ordered:
                    stream.next_ssn = stream.next_ssn + 1 & 0xFFFF
            if left <= fragment_size:
                spent = self._send_last_fragment(message, now, chunks)
                queue.finished()
            else:
                spent = self._send_fragments(message, now, chunks, budget if budget < window else max(window, 1))
            budget -= spent
            window -= spent
        return budget

    def _send_last_fragment(self, message: Message, now: float, chunks: list[bytes]) -> int:
        """Send what is left of a message, which fits one chunk: the whole of a small one."""
        out, data, word = self.out, message.data, _WHOLE
        tsn = message.last_tsn = out.next_tsn
        if message.offset:
            data, word = data[message.offset :], _LAST
        if not message.ordered:
            word |= _UNORDERED
        if message.max_retransmits != 0:
            self._last_repeatable = tsn
        else:
            self._fresh_until = now + FRESH_FOR_S
        length = len(data) + DATA_HEADER_SIZE
        chunk = _pack_data_header(
            word | length, tsn & 0xFFFFFFFF, message.stream.id << 48 | message.ssn << 32 | message.ppid
        ) + data  # fmt: skip
        if length & 3:
            chunk += _PADDING[length & 3]
            length = len(chunk)
        chunks.append(chunk)
        out.records.append([tsn, chunk, length, message, now, IN_FLIGHT, 1])
        out.finishing.append(message)
        out.next_tsn = tsn + 1
        out.flight += length
        return length

    def _send_fragments(self, message: Message, now: float, chunks: list[bytes], budget: int) -> int:
        """Send full fragments of a message until `budget` is spent or the last one is left."""
        out, data, offset, size = self.out, message.data, message.offset, self._fragment_size
        tsn = out.next_tsn
        flags = 0 if message.ordered else _UNORDERED
        full = size + DATA_HEADER_SIZE
        word = flags | full
        if not offset:
            word |= _FIRST
        tail = message.stream.id << 48 | message.ssn << 32 | message.ppid
        append_record, append_chunk, pack = out.records.append, chunks.append, _pack_data_header
        last_start = message.size - size  # from here on the rest fits one chunk
        spent = 0
        while offset < last_start and spent < budget:
            chunk = pack(word, tsn & 0xFFFFFFFF, tail) + data[offset : offset + size]
            append_chunk(chunk)
            append_record([tsn, chunk, full, message, now, IN_FLIGHT, 1])
            offset += size
            tsn += 1
            spent += full
            word = flags | full
        if message.max_retransmits != 0:
            self._last_repeatable = tsn - 1
        message.offset = offset
        out.next_tsn = tsn
        out.flight += spent
        return spent

    @staticmethod
    def _may_expire(message: Message) -> bool:
        """What is sent only once, and was begun in time, is sent to its end: in part it would be worth nothing."""
        return message.max_retransmits != 0 or message.first_tsn < 0

    def hurry(self, now: float) -> None:
        """Something waits for all to be acknowledged: ask, as a peer may take 0.2 s by itself."""
        self._hurried = True
        if self.out.flight:
            self.loss.probe_at = now
        self._give_up_front(now)

    def _collect_probe(self, now: float, chunks: list[bytes]) -> None:
        """A tail loss probe: new data ahead of the window, else the last chunk once more (RFC 8985 section 7.3)."""
        if self._may_send_new():
            self._collect_new(now, chunks, 1)
            return
        for record in reversed(self.out.records):
            limit = record[MESSAGE].max_retransmits
            if record[STATE] == IN_FLIGHT and (limit is None or record[SENDS] <= limit):
                self._resend(record, now, chunks)
                self._arm_t3(now)
                return

    def _may_send_new(self) -> bool:
        message = self.queue.next()
        if message is None:
            return False
        size = min(message.size - message.offset, self._fragment_size)
        return self.peer_window - self.out.flight >= size

    # Loss

    def _on_t3_expired(self, now: float) -> None:
        out = self.out
        self.timeouts += 1
        self._t3_at = None
        self.rto.back_off()
        if self.rto.backoff > 2:
            out.forget_gaps()
        in_flight = out.in_flight()
        if in_flight and self.peer_window:
            self.congestion.on_timeout(out.flight)
        self._lose(in_flight, now, congested=False)
        self.loss.on_all_lost(in_flight, now)
        self.loss.probe_at = None
        self._recovery_until = -1
        self._repaired_timeout = out.has_lost
        self._first_retransmit = out.has_lost
        self._give_up_front(now)
        self._forward_due = out.advanced > out.cumulative
        if out.has_lost or self._forward_due:
            self._t3_at = now + self.rto.current

    def _detect_losses(self, now: float) -> None:
        lost = self.loss.detect(now)
        if lost:
            self._lose(lost, now, congested=True)

    def _lose(self, lost: list[Record], now: float, *, congested: bool) -> None:
        """Send each record again, or give up its message; a new window's first loss shrinks the congestion window."""
        out = self.out
        flight = out.flight
        for record in lost:
            if record[STATE] != IN_FLIGHT:
                continue  # its message was given up with an earlier record
            if record[SIZE] > self._large:
                self.has_lost_large = True
            message: Message = record[MESSAGE]
            limit, expires_at = message.max_retransmits, message.expires_at
            if (limit is not None and record[SENDS] > limit) or (expires_at is not None and now >= expires_at):
                self._abandon(message, now)
            else:
                out.lose(record)
        if not congested:
            return
        self._declared_lost += len(lost)
        if out.settled >= self._recovery_until or lost[-1][TSN] > self._recovery_until:
            self._recovery_until = out.next_tsn - 1
            self._declared_lost = len(lost)
            self._wrongly_lost = 0
            self._first_retransmit = out.has_lost
            self.congestion.on_loss(flight, now, self.rto)
            self._follow_rate()

    def _abandon(self, message: Message, now: float) -> None:
        self.abandoned += 1
        if message.first_tsn < 0:  # only the message that has its turn can be given up before its end
            message.stream.expired += 1
            self.queue.skipped()
        elif message.last_tsn < 0:
            self.queue.finished()
        self.out.abandon(message, now)

    def _give_up_front(self, now: float) -> None:
        """Move the point the peer may skip to, and have it told: at once when it moved, then once per round trip."""
        out = self.out
        patience = 0.0 if self._hurried else self.loss.lateness
        again = self.rto.srtt or self.rto.timeout
        if out.advance(now, patience) or (out.advanced > out.cumulative and now - self._forward_sent_at > again):
            self._forward_due = True
        self._skip_at = None if out.waited_for is None else out.waited_for[SENT_AT] + patience

    # Acknowledgements

    def _on_progress(self, now: float, flight_before: int) -> None:
        out, rto = self.out, self.rto
        sampled = out.rtt_record
        if sampled is not None and sampled[SENDS] == 1 and (sampled is out.newest or self._is_prompt(sampled, now)):
            rto.sample(now - sampled[SENT_AT], now, was_alone=out.acked_alone and not out.records)
        else:
            rto.clear_back_off()
        if out.rescued and self._repaired_timeout:
            self._undo_timeout()
        else:
            self._wrongly_lost += self.loss.on_acked(now)
        if out.rescued:
            self._wrongly_lost += self.loss.on_rescued(out.rescued, now)
        self._repaired_timeout = False
        self.congestion.on_acked(
            out.acked_bytes, flight_before, now, rto, recovering=self._recovery_until > out.settled
        )  # fmt: skip
        self._follow_rate()

    def _is_prompt(self, sampled: Record, now: float) -> bool:
        """Whether the SACK answers this record, rather than a later one: then an earlier SACK was lost on its way."""
        newest = self.out.newest
        if newest is None or sampled[SENT_AT] >= newest[SENT_AT]:
            return True
        return bool(now - newest[SENT_AT] < self.rto.min_rtt * 0.9)  # too soon for an answer to the later one

    def _follow_rate(self) -> None:
        congestion = self.congestion
        self.pacer.set_rate(congestion.cwnd, self.rto.srtt, slow_start=congestion.cwnd < congestion.ssthresh)

    def _undo_timeout(self) -> None:
        """A chunk sent before T3 ran out, and not since, was acknowledged: the path was slow, not broken."""
        self.congestion.undo()
        self.out.restore_lost()
        self.loss.on_restored()

    def _end_recovery_if_done(self) -> None:
        if self._declared_lost and self._wrongly_lost >= self._declared_lost:
            self._declared_lost = self._wrongly_lost = 0
            self._recovery_until = -1
            self.congestion.undo()
            self._follow_rate()
        elif self._recovery_until >= 0 and self.out.settled >= self._recovery_until:
            self._recovery_until = -1
            self.loss.on_recovered()

    def _window_reopened(self, window_before: int) -> bool:
        """A probe of the closed window may have been dropped there: do not wait for its timer."""
        return window_before < self._fragment_size <= self.peer_window and 0 < self.out.flight <= self._mtu

    def report_drained(self, events: list[Event]) -> None:
        """Add an event for each stream that fell to its low-water mark."""
        drained, self.out.drained = self.out.drained, {}
        for stream, before in drained.items():
            if stream.buffered <= stream.low_water < before:
                events.append(BufferedAmountLow(stream.id))

    # Timers

    def _arm_t3(self, now: float) -> None:
        if self._t3_at is None:
            self._t3_at = now + self.rto.current

    def _arm_probe(self, now: float) -> None:
        out = self.out
        if not out.flight or (self._recovery_until >= 0 and self._recovery_until > out.settled):
            self.loss.probe_at = None
        elif self._last_repeatable < out.base and self.queue.next() is None:
            self.loss.probe_at = None  # there would be nothing to probe with
        else:
            self.loss.arm_probe(now, single=out.flight <= self._mtu and not self._hurried)

    def _restart_timers(self, now: float, advanced: bool) -> None:
        out = self.out
        if not out.records:
            self._t3_at = self.loss.probe_at = None
            self._hurried = self._hurried and bool(self.queue)
        elif advanced or self.out.acked_bytes:
            self._t3_at = now + self.rto.current
            self._arm_probe(now)

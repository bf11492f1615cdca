"""A frozen look at one association."""

from __future__ import annotations

__all__ = ["Statistics", "snapshot"]

import math
from typing import TYPE_CHECKING

from ..records import dataclass

if TYPE_CHECKING:
    from .config import Config
    from .established import Established


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sizes are bytes, times are seconds; counters run from the start of the association."""

    state: str
    cwnd: int
    ssthresh: int
    flight: int
    buffered: int
    srtt_s: float | None
    min_rtt_s: float | None
    rto_s: float
    peer_window: int
    held: int  # received, and not yet delivered or consumed
    retransmits: int
    timeouts: int
    abandoned_messages: int
    rejected_chunks: int  # duplicates, and TSNs too far ahead
    dropped_packets: int  # malformed, wrong tag, wrong checksum
    zero_checksum: bool
    mtu: int  # of the packets that are sent, as far as the path is known to carry them


def snapshot(state: str, link: Established | None, buffered: int, dropped: int, config: Config) -> Statistics:
    """The statistics of an association; zeros where there is no peer yet."""
    if link is None:
        return Statistics(
            state=state, cwnd=0, ssthresh=0, flight=0, buffered=buffered, srtt_s=None, min_rtt_s=None,
            rto_s=config.rto_initial_s, peer_window=0, held=0, retransmits=0, timeouts=0, abandoned_messages=0,
            rejected_chunks=0, dropped_packets=dropped, zero_checksum=False, mtu=config.mtu,
        )  # fmt: skip
    sender, receiver = link.sender, link.receiver
    least = sender.rto.min_rtt
    return Statistics(
        state=state, cwnd=sender.congestion.cwnd, ssthresh=sender.congestion.ssthresh, flight=sender.out.flight,
        buffered=buffered, srtt_s=sender.rto.srtt, min_rtt_s=None if math.isinf(least) else least,
        rto_s=sender.rto.current, peer_window=sender.peer_window, held=receiver.held, retransmits=sender.retransmits,
        timeouts=sender.timeouts, abandoned_messages=sender.abandoned, rejected_chunks=receiver.duplicates,
        dropped_packets=dropped, zero_checksum=link.zero_checksum, mtu=link.path_mtu.size,
    )  # fmt: skip

"""The numbers of the agent, each with its source."""

from __future__ import annotations

__all__ = ["Config"]

from ..records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Timers are seconds. The defaults suit a LiveKit server and a browser alike."""

    check_interval_s: float = 0.022
    """Between two ordinary checks. RFC 8445 section 14.2 has 50 ms, and at least 5; with the burst below this keeps
    any one second under 50 checks, whatever the peer makes us do."""

    triggered_burst: int = 3
    """Triggered checks may run this many intervals ahead of the pace."""

    initial_rto_s: float = 0.1
    """First retransmission of a check, doubling. RFC 8445 section 14.3 has 500 ms; a lost first check would cost half
    a second of connecting for nothing."""

    max_rto_s: float = 1.6
    max_tries: int = 7
    """Checks per pair before it is given up (RFC 8489 section 6.2.1, Rc)."""

    triggered_spacing_s: float = 0.05
    """At most one triggered check per pair in this time, against floods of replayed requests."""

    transaction_lifetime_s: float = 8.0
    """An answer that takes longer than this is not an answer."""

    connect_timeout_s: float = 15.0
    """Without any valid pair for this long: failed. Shorter than the patience of RFC 8863 (39.5 s), because a LiveKit
    server gives the whole participant up after 10 to 20 s."""

    consent_interval_s: float = 2.0
    """Consent checks while data flows, plus up to a quarter of jitter. RFC 7675 section 5.1 has 5 s at most."""

    idle_interval_s: float = 1.0
    """Keep-alive while nothing else is heard, so that a dead path is noticed soon."""

    retry_interval_s: float = 0.5
    """Between consent checks while one is unanswered."""

    suspect_after_s: float = 2.0
    """Silence with checks unanswered, after which the other pairs are checked too."""

    suspect_unanswered: int = 6
    """That many unanswered checks in a row make a path suspect even if data still arrives on it."""

    recheck_interval_s: float = 3.0
    """While the path is suspect: between two rounds through the other pairs."""

    upgrade_interval_s: float = 10.0
    """While data takes a lesser path, such as TCP: between two tries of the better ones, which may work again."""

    disconnected_after_s: float = 5.5
    """Silence until it is told. Servers that are held up for 5 seconds are common enough."""

    failed_after_s: float = 20.0
    """Silence until failed: when a LiveKit server has given us up, too."""

    consent_timeout_s: float = 30.0
    """No authenticated answer for this long ends all sending, whatever else arrives (RFC 7675 section 5.1)."""

    clock_gap_s: float = 2.0
    """A timer that fires this late means that the process slept; the gap is not the peer's silence."""

    retire_after_s: float = 10.0
    """How long checks with the credentials before a restart are still answered."""

    tcp_delay_s: float = 0.3
    """TCP is tried this long after UDP checks began without success."""

    tcp_grace_s: float = 0.05
    """TCP is tried this soon if the peer named no UDP candidate but may still do so."""

    max_remote_candidates: int = 32
    max_peer_reflexive: int = 32
    max_pairs: int = 100
    max_silent_bytes: int = 3000
    """Sent, headers included, to an address that never proved to know our password."""

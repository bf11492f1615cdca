"""Settings of an association, with what each default leans on."""

from __future__ import annotations

__all__ = ["DEFAULT_CONFIG", "Config"]

from ..records import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes are bytes, times are seconds."""

    local_port: int = 5000
    remote_port: int = 5000

    mtu: int = 1191
    """Largest SCTP packet. 1191 + 37 (DTLS) + 48 (IPv6, UDP) is 1276: fits every IPv6 path and most VPNs."""

    safe_mtu: int = 1063
    """Packets are no larger until the path is known to carry more. 1063 + 37 (DTLS) is a datagram of 1,100 bytes."""

    narrow_path_patience_s: float = 30.0
    """Packets sent before the path became too narrow for them wait this long for a wider one; then all is over."""

    receive_window: int = 4 * 1024 * 1024
    """Advertised to the peer, and the cap on what reassembly may hold. 4 MiB is 40 MB/s at 100 ms round trip."""

    manual_window: bool = False
    """True: a delivered reliable message occupies the window until ``consume``; False: it is taken on delivery."""

    max_message_size: int = 65536
    """Largest message to send: the peer's a=max-message-size. 65536 is what a missing attribute means (RFC 8841)."""

    max_receive_message_size: int = 1024 * 1024
    """A partial message that grows beyond this ends the association."""

    max_receive_streams: int = 1024
    """Incoming streams with state. Data on any further one is acknowledged, dropped and reported."""

    zero_checksum: bool = True
    """Offer RFC 9653, and use it where the peer offers it too."""

    sack_delay_s: float = 0.02
    """RFC 9260 section 6.2 allows 0.2 s; a short delay keeps the peer's round trip samples clean."""

    rto_initial_s: float = 0.5
    rto_variance_floor_s: float = 0.25
    """RTO is at least SRTT plus this, because some peers delay an acknowledgement by 200 ms."""
    rto_max_s: float = 5.0
    """Not the RFC's 60 s: a mobile outage should end when the path returns."""

    handshake_retries: int = 16
    handshake_interval_max_s: float = 1.0
    """Shorter and more often than RFC 9260's eight in a minute: half of all packets lost must not end a handshake."""

    shutdown_retries: int = 8

    cookie_lifetime_s: float = 60.0
    """Valid.Cookie.Life of RFC 9260 section 16."""

    heartbeat_interval_s: float | None = None
    """None: never, as ICE consent already watches the path. Else the idle time before a HEARTBEAT."""

    initial_window_packets: int = 10
    """RFC 6928's initial window."""

    max_burst_packets: int = 32
    """Most packets in one turn; default socket buffers of a receiver overflow at about 90."""

    congestion: str = "adaptive"
    """``adaptive`` or ``newreno``: see ``tx.congestion``."""


DEFAULT_CONFIG = Config()

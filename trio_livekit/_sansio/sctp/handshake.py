"""Setting an association up: INIT, INIT-ACK, COOKIE-ECHO, COOKIE-ACK (RFC 9260 section 5).

In WebRTC both ends send INIT at once, so every message of the one exchange meets a message of the other. The rules
of section 5.2 make that one association: an INIT is always answered with the tag and TSN of our own INIT, and
whichever cookie arrives first establishes.
"""

from __future__ import annotations

__all__ = ["Accepted", "Handshake", "State"]

import enum
from typing import TYPE_CHECKING

from ...errors import DecodeError
from .chunks import COOKIE_ECHO, INIT, INIT_ACK, Init, decode_init, encode_chunk, encode_init
from .cookie import CookieJar
from .negotiation import PeerInfo, make_init, peer_info, unrecognized
from .packet import PacketSealer
from .parameters import STATE_COOKIE

if TYPE_CHECKING:
    from ..types import RandomBytes
    from .config import Config

INIT_ACKS_PER_SECOND = 50


class State(enum.Enum):
    """RFC 9260 section 4; the states of shutting down are ``shutdown.Phase``."""

    CLOSED = "closed"
    COOKIE_WAIT = "cookie wait"
    COOKIE_ECHOED = "cookie echoed"
    ESTABLISHED = "established"
    ENDED = "ended"


FASTEST_INTERVAL_S = 0.1
"""Before the first repetition: a busy peer needs some time, however near it is."""


class Accepted(enum.Enum):
    """What a COOKIE-ECHO meant (RFC 9260 section 5.2.4)."""

    NOT_OURS = 0
    AGAIN = 1  # we are established with this peer: its COOKIE-ACK was lost
    ESTABLISHED = 2
    RESTARTED = 3  # a peer that lost its state


class Handshake:
    """Our tag and TSN, the state, timer T1, and the packets of the exchange."""

    __slots__ = (
        "_config", "_cookie", "_echo_due", "_init_acks", "_init_sent_at", "_interval_s", "_jar",
        "_random_bytes", "_retries", "initial_tsn", "packets", "peer", "round_trip_s", "state", "t1_at", "tag",
    )  # fmt: skip

    def __init__(self, config: Config, random_bytes: RandomBytes) -> None:
        self._config = config
        self._random_bytes = random_bytes
        self._jar = CookieJar(random_bytes(32), config.cookie_lifetime_s)
        self.tag = self._random_tag()
        self.initial_tsn = self._random_tsn()
        self.state = State.CLOSED
        self.peer: PeerInfo | None = None
        self._cookie = b""
        self._echo_due = False
        self.packets: list[bytes] = []
        self._init_acks = (0, 0)  # (second, answers in it)
        self._retries = 0
        self._interval_s = config.rto_initial_s
        self._init_sent_at = 0.0
        self.t1_at: float | None = None
        self.round_trip_s: float | None = None
        """As the application knows it, or as the INIT measured it."""

    @property
    def has_failed(self) -> bool:
        """The peer never answered."""
        return self._retries > self._config.handshake_retries

    def connect(self, now: float, round_trip_s: float | None = None) -> None:
        """Send an INIT; repeat it after three round trips, if it is known how long one takes."""
        self.round_trip_s = round_trip_s
        if round_trip_s is not None:
            self._interval_s = min(max(3 * round_trip_s, FASTEST_INTERVAL_S), self._interval_s)
        self.state = State.COOKIE_WAIT
        self._init_sent_at = now
        self._send_init(now)

    def end(self) -> None:
        """Stop everything."""
        self.state = State.ENDED
        self.t1_at = None
        self._echo_due = False

    def take_packets(self) -> list[bytes]:
        """Sealed packets to send now."""
        packets, self.packets = self.packets, []
        return packets

    def take_cookie_echo(self) -> bytes | None:
        """The COOKIE-ECHO chunk, when it is to be sent now."""
        if not self._echo_due:
            return None
        self._echo_due = False
        return encode_chunk(COOKIE_ECHO, 0, self._cookie)

    def on_init(self, body: bytes, now: float) -> None:
        """Answer an INIT without keeping anything of it (sections 5.1 and 5.2.1). DecodeError if it is malformed."""
        init = self._decode(body)
        peer = peer_info(init)
        second, count = self._init_acks
        if second != int(now):
            second, count = int(now), 0
        if count >= INIT_ACKS_PER_SECOND:
            return
        self._init_acks = (second, count + 1)
        tag, tsn = self.tag, self.initial_tsn
        if self.state is State.ESTABLISHED:  # a restart would need numbers of its own (section 5.2.2)
            tag, tsn = self._random_tag(), self._random_tsn()
        cookie = self._jar.bake(tag, tsn, peer, now)
        answer = make_init(
            tag, self._config.receive_window, tsn, zero_checksum=self._config.zero_checksum,
            extra=((STATE_COOKIE, cookie), *unrecognized(init)),
        )  # fmt: skip
        self.packets.append(self._sealer(peer.tag).seal(encode_init(INIT_ACK, answer)))

    def on_init_ack(self, body: bytes, now: float) -> bool:
        """Take an INIT-ACK; True when it moved us to COOKIE-ECHOED. DecodeError if it is malformed."""
        if self.state is not State.COOKIE_WAIT:
            return False
        init = self._decode(body)
        cookies = [value for kind, value in init.parameters if kind == STATE_COOKIE]
        if not cookies:
            raise DecodeError("INIT-ACK without a cookie")
        self.peer = peer_info(init)
        self._cookie = cookies[0]
        self.state = State.COOKIE_ECHOED
        if not self._retries:  # else nobody knows which INIT was answered
            self.round_trip_s = now - self._init_sent_at
        self._retries = 0
        self._echo_due = True
        self._arm_t1(now)
        return True

    def on_cookie_echo(self, cookie: bytes, packet_tag: int, now: float) -> Accepted:
        """Take a COOKIE-ECHO that came in a packet with `packet_tag` (section 5.2.4).

        On ESTABLISHED and RESTARTED, ``peer`` and our own numbers are set.
        """
        opened = self._jar.open(cookie, now)
        if opened is None or opened[0] != packet_tag:
            return Accepted.NOT_OURS
        tag, tsn, peer = opened
        if self.state is State.ESTABLISHED:
            if tag == self.tag:
                return Accepted.AGAIN if self.peer and peer.tag == self.peer.tag else Accepted.NOT_OURS
            if self.peer and peer.tag == self.peer.tag:
                return Accepted.NOT_OURS  # case C: a late answer to an INIT of an attempt long over
            self.tag, self.initial_tsn, self.peer = tag, tsn, peer
            return Accepted.RESTARTED
        if tag != self.tag:
            return Accepted.NOT_OURS
        self.peer = peer
        self._establish()
        return Accepted.ESTABLISHED

    def on_cookie_ack(self) -> bool:
        """Take a COOKIE-ACK; True when it established."""
        if self.state is not State.COOKIE_ECHOED:
            return False
        self._establish()
        return True

    def on_timeout(self, now: float) -> None:
        """T1 may have run out."""
        if self.t1_at is None or now < self.t1_at:
            return
        self.t1_at = None
        self._retries += 1
        if self.has_failed:
            return
        if self.state is State.COOKIE_WAIT:
            self._send_init(now)
        else:
            self._echo_due = True
            self._arm_t1(now)

    def _decode(self, body: bytes) -> Init:
        """An INIT or INIT-ACK; one of our own that comes back is malformed, or else we might connect to ourselves."""
        init = decode_init(body)
        if init.tag == self.tag:
            raise DecodeError("the handshake of this end came back to it")
        return init

    def _establish(self) -> None:
        self.state = State.ESTABLISHED
        self.t1_at = None
        self._echo_due = False

    def _send_init(self, now: float) -> None:
        init = make_init(
            self.tag, self._config.receive_window, self.initial_tsn, zero_checksum=self._config.zero_checksum
        )  # fmt: skip
        self.packets.append(self._sealer(0).seal(encode_init(INIT, init)))
        self._arm_t1(now)

    def _arm_t1(self, now: float) -> None:
        config = self._config
        self.t1_at = now + min(self._interval_s * 2**self._retries, config.handshake_interval_max_s)

    def _sealer(self, tag: int) -> PacketSealer:
        return PacketSealer(self._config.local_port, self._config.remote_port, tag)

    def _random_tag(self) -> int:
        return int.from_bytes(self._random_bytes(4), "big") or 1

    def _random_tsn(self) -> int:
        return int.from_bytes(self._random_bytes(4), "big")

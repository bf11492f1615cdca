"""Two ways to test an association: against another one on a scripted link, and against a peer made by hand."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

from trio_livekit._sansio.sctp import Association, AssociationUp, Config, MessageReceived
from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.packet import HEADER_SIZE, PacketSealer, next_chunk
from trio_livekit._sansio.sctp.parameters import STATE_COOKIE
from trio_livekit.testing.pair import LinkModel, Pair, seeded_random_bytes

if TYPE_CHECKING:
    from trio_livekit._sansio.types import RandomBytes

AssociationPair = Pair[Association, Association]


def numbers(seed: int, first_tsn: int | None) -> RandomBytes:
    """Seeded randomness for one association that makes it begin with `first_tsn`, if that is given."""
    random_bytes = seeded_random_bytes(seed)
    drawn = itertools.count()

    def draw(size: int) -> bytes:
        content = random_bytes(size)
        if next(drawn) == 2 and first_tsn is not None:  # after the cookie's key and the tag
            return first_tsn.to_bytes(4, "big")
        return content

    return draw


def one_size(config: dict[str, object]) -> Config:
    """Packets have their full size from the beginning, unless a test says otherwise: nothing is probed."""
    return Config(**{"safe_mtu": Config().mtu, **config})  # type: ignore[arg-type]


def joined(
    link: LinkModel | None = None, *, seed: int = 1, up: bool = True, first_tsn: int | None = None, **config: object
) -> AssociationPair:  # fmt: skip
    """Two associations that connect to each other at once; established already, unless `up` is False."""
    settings = one_size(config)
    a = Association(random_bytes=numbers(seed, first_tsn), config=settings)
    b = Association(random_bytes=numbers(seed + 1000, first_tsn), config=settings)
    pair = Pair(a, b, link=link or LinkModel(delay_s=0.01), seed=seed)
    a.connect(pair.now)
    b.connect(pair.now)
    if up:
        pair.run_until(lambda: a.is_established and b.is_established)
        assert pair.a_events == pair.b_events == [AssociationUp()]
        pair.a_events.clear()
        pair.b_events.clear()
    return pair


def messages(events: list[object]) -> list[bytes]:
    """The contents of the messages among `events`."""
    return [event.data for event in events if isinstance(event, MessageReceived)]


def chunks_of(packet: bytes) -> list[tuple[int, int, bytes]]:
    """``(type, flags, body)`` of each chunk."""
    found, offset = [], HEADER_SIZE
    while offset < len(packet):
        kind, flags, body, offset = next_chunk(packet, offset)
        found.append((kind, flags, body))
    return found


def data_chunk(
    tsn: int, payload: bytes = b"x", *, flags: int = 3, stream_id: int = 0, ssn: int = 0, ppid: int = 53
) -> bytes:  # fmt: skip
    """A DATA chunk made by hand."""
    fixed = struct.pack(">LHHL", tsn & 0xFFFFFFFF, stream_id, ssn & 0xFFFF, ppid)
    return c.encode_chunk(c.DATA, flags, fixed + payload)


class HandmadePeer:
    """Speaks to one association with packets made by hand; time stands still unless it is told to move."""

    TAG = 0x0BADCAFE

    def __init__(self, *, tsn: int = 1000, window: int = 1 << 20, establish: bool = True, **config: object) -> None:
        self.now = 1000.0
        self.tsn = tsn
        self.window = window
        self.association = Association(
            random_bytes=seeded_random_bytes(5),
            config=one_size(config),
        )
        self.association.connect(self.now)
        [packet] = self.association.datagrams_to_send(self.now)
        [(kind, _, body)] = chunks_of(packet)
        assert kind == c.INIT
        self.init = c.decode_init(body)
        self.sealer = PacketSealer(5000, 5000, self.init.tag)
        if establish:
            self.establish()

    def establish(self) -> None:
        self.send(self.init_chunk(c.INIT_ACK, (STATE_COOKIE, b"cookie")))
        assert self.received()[0][0] == c.COOKIE_ECHO
        self.send(c.encode_chunk(c.COOKIE_ACK, 0, b""))
        assert self.events() == [AssociationUp()]

    def init_chunk(self, kind: int, *parameters: tuple[int, bytes]) -> bytes:
        announced = ((0xC000, b""), (0x8008, bytes((130, 192))), *parameters)
        return c.encode_init(kind, c.Init(self.TAG, self.window, 65535, 65535, self.tsn, announced))

    def send(self, *chunks: bytes) -> None:
        """Deliver one packet with these chunks."""
        self.association.receive_datagram(self.sealer.seal(b"".join(chunks)), self.now)

    def received(self) -> list[tuple[int, int, bytes]]:
        """The chunks the association wants to send now."""
        return [chunk for packet in self.association.datagrams_to_send(self.now) for chunk in chunks_of(packet)]

    def sacks(self) -> list[c.Sack]:
        """The SACKs among what the association wants to send now."""
        return [c.decode_sack(body) for kind, _, body in self.received() if kind == c.SACK]

    def events(self) -> list[object]:
        return list(self.association.poll_events())

    def wait(self, seconds: float) -> None:
        """Let time pass, serving timers as they come due; what the association sends is lost."""
        until = self.now + seconds
        while (due := self.association.next_timeout()) is not None and due <= until:
            self.now = max(self.now, due)
            self.association.handle_timeout(self.now)
            self.association.datagrams_to_send(self.now)
        self.now = until

    def sack(
        self, tsn: int, *gaps: tuple[int, int], window: int | None = None, duplicates: tuple[int, ...] = ()
    ) -> None:
        """Acknowledge up to our peer's `tsn`-th TSN, counted from 0 (so -1 is nothing)."""
        cumulative = self.init.initial_tsn + tsn & 0xFFFFFFFF
        self.send(c.encode_sack(cumulative, self.window if window is None else window, list(gaps), list(duplicates)))

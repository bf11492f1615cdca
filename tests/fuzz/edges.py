"""Targets at the edges: what strangers say before they are let in, and what is around packets rather than in them."""

from __future__ import annotations

__all__ = ["ALL"]

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import jwt
import trio
import trio.testing

from trio_livekit._sansio.encryption.key import Key, KeyDerivation
from trio_livekit._sansio.encryption.keys import Keys
from trio_livekit._sansio.encryption.opener import Opener
from trio_livekit._sansio.ice.turn_stream import TurnStream
from trio_livekit._sansio.packets.messages import Compression, RpcRequest, TextHeader
from trio_livekit._sansio.rpc.attributes import parse_request, parse_response, request_attributes
from trio_livekit._sansio.rpc.invocations import Invocations
from trio_livekit._sansio.signal.frames import MAX_PIECES
from trio_livekit._session.joining import signal_base_url
from trio_livekit._session.regions import _parse as parse_regions
from trio_livekit._transport.servers import ServerUrl
from trio_livekit._transport.websocket import WebsocketClosed, accept_websocket
from trio_livekit.errors import AccessTokenError, ConnectError, DecodeError, StreamError
from trio_livekit.server.admission import Doorkeeper
from trio_livekit.server.http import HttpRefusal, read_request
from trio_livekit.server.limits import DEFAULT_LIMITS
from trio_livekit.tokens import access_token, verify_token

from ..sansio.ice.test_turn import Link
from ..sansio.streams.test_incoming import HEADER, Bench
from . import mutators
from .cores import CORES
from .corpus import recorded
from .meter import meter
from .targets import TARGETS, Input, Target, parser

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SECRET = "x" * 32
TOKEN = access_token("key", SECRET, identity="ann", room="den", ttl_s=1e8, attributes={"k": "v"})
UPGRADE = (
    b"GET /rtc/v1?join_request=AAEC HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def refusing(parse: Callable[[str], object], *refusals: type[Exception]) -> Callable[[bytes], None]:
    """A parser of text that refuses in its own ways."""

    def take(data: bytes) -> None:
        try:
            parse(data.decode("utf-8", "surrogateescape"))
        except refusals:
            pass

    return take


# --- URLs, tokens, requests -------------------------------------------------------------------------------------------


def _verify(token: str) -> None:
    verify_token(token, {"key": SECRET}.get, now=1.8e9)


def _signed_make(rng: random.Random) -> Input:
    """Claims that are odd, and signed as they should be."""
    claims = jwt.decode(TOKEN, options={"verify_signature": False})
    text = json.dumps(claims | {"exp": int(time.time()) + 1000}).encode()
    return [mutators.blind(text, rng)]


def _signed_take(given: Input) -> None:
    token = jwt.api_jws.PyJWS().encode(given[0], SECRET, algorithm="HS256", headers={"typ": "JWT"})
    with meter(given[0]):
        try:
            verify_token(token, {"key": SECRET}.get)
        except AccessTokenError:
            pass


def _request_make(rng: random.Random) -> Input:
    """Requests for a websocket by either path, changed or whole, and cut into pieces."""
    queries = (
        b"GET /rtc/v1?",
        b"GET /rtc?attributes=eyJrIjoidiJ9&reconnect=1&sid=PA_x&protocol=17&",
        b"GET /rtc/validate?",
    )
    data = UPGRADE.replace(b"GET /rtc/v1?", rng.choice(queries), 1)
    if rng.random() < 0.5:
        data = data.replace(b"join_request=AAEC&", b"").replace(b"join_request=AAEC", b"x=y")
    if rng.random() < 0.8:
        data = mutators.blind(data, rng)
    cut = rng.randrange(len(data) + 1)
    return [data[:cut], data[cut:]]


def _request_take(given: Input) -> None:
    """As the embedded server's front door has it, without a socket."""
    doorkeeper = Doorkeeper("key", SECRET, DEFAULT_LIMITS)

    async def serve() -> None:
        stream = trio.testing.MemoryReceiveStream()
        for data in given:
            stream.put_data(data)
        stream.put_eof()
        try:
            request = await read_request(stream, DEFAULT_LIMITS.request_head_bytes)
            if request is not None:
                doorkeeper.admit(request)
        except HttpRefusal:
            pass

    trio.run(serve)


# --- websockets -------------------------------------------------------------------------------------------------------


def _frames_make(rng: random.Random) -> Input:
    """Frames of a client, and changes to them."""
    frames = []
    for _ in range(rng.randrange(1, 12)):
        payload = rng.randbytes(rng.choice((0, 0, 1, 5, 125, 126, 300)))
        opcode = rng.choice((0, 0, 2, 2, 2, 8, 9, 10, 1, 3))
        head = bytes([rng.choice((0, 0x80, 0x80)) | opcode])
        size = len(payload)
        head += bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        frame = head + bytes(4) + payload
        frames.append(mutators.blind(frame, rng) if rng.random() < 0.2 else frame)
    if rng.random() < 0.05:
        frames.append(b"\x02\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * (MAX_PIECES + 5))
    return frames


def _frames_take(given: Input) -> None:
    """What comes of them is messages, or the end of the websocket; no task is left, and nothing else raised."""

    async def serve() -> None:
        theirs, ours = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            websocket = await accept_websocket(nursery, ours, UPGRADE, name="fuzz", max_message_bytes=1000)
            nursery.start_soon(_read, websocket)
            with trio.move_on_after(5) as bound:
                try:
                    for data in given:
                        await theirs.send_all(data)
                        await trio.testing.wait_all_tasks_blocked()
                    await theirs.aclose()
                except trio.BrokenResourceError:
                    pass
                await websocket.aclose()
            assert not bound.cancelled_caught

    async def _read(websocket: object) -> None:
        try:
            while len(await websocket.receive()) <= 1000:  # type: ignore[attr-defined]
                pass
        except WebsocketClosed:
            return
        raise AssertionError("a message longer than allowed")

    trio.run(serve)


# --- streams, calls, encryption ---------------------------------------------------------------------------------------


def _streams_make(rng: random.Random) -> Input:
    return [rng.randbytes(12) + rng.randbytes(rng.choice((0, 1, 40, 900))) for _ in range(rng.randrange(1, 30))]


def _streams_take(given: Input) -> None:
    """Headers, chunks and trailers of three streams from three senders, in any order: all end, by typed errors."""
    bench = Bench()
    streams = []
    for data in given:
        name, who, index = f"s{data[0] % 3}", ("ann", "bob", "")[data[1] % 3], data[2] % 4
        content = data[12:]
        with meter(data):
            match data[3] % 5:
                case 0 | 1:
                    header = replace(
                        HEADER,
                        stream_id=name,
                        total_length=(None, 0, len(content), 2**63, 40)[data[4] % 5],
                        compression=(Compression.NONE, Compression.DEFLATE_RAW)[data[5] % 2],
                        inline_content=content if data[6] % 3 == 0 else None,
                        text=TextHeader() if data[7] % 2 else None,
                    )
                    if stream := bench.header(header, sender=who, sid=f"PA_{who}"):
                        streams.append(stream)
                case 2 | 3:
                    bench.chunk(index, content, stream_id=name, sender=who, sid=f"PA_{who}", version=data[8] % 3)
                case _:
                    bench.trailer(("", "no more")[data[4] % 2], sender=who, sid=f"PA_{who}")
        bench.sleep(data[9] / 10)
    for stream in streams:
        try:
            with meter(b"".join(given)):
                while stream.read(bench.now):
                    pass
        except StreamError:
            pass
    bench.sleep(200)
    assert bench.core.open_count == 0


def _rpc(data: bytes) -> None:
    """A request as a stream: its attributes and payload."""
    keys = list(request_attributes(RpcRequest("id", "method", "", 1000, 2)))
    values = data.decode("utf-8", "replace").split("\n")
    attributes = dict(zip(keys, values, strict=False))
    parse_response(attributes, "payload")
    core = Invocations()
    core.register("method", 1)
    core.on_request(parse_request(attributes, data.decode("latin-1")), "ann", 0.0, version=2)


def _sealed_make(rng: random.Random) -> Input:
    return [rng.randbytes(1), mutators.blind(bytes(12), rng), mutators.blind(rng.randbytes(40), rng)]


def _opener() -> Opener:
    keys, key = Keys(), Key(b"secret", KeyDerivation.HKDF)
    key.derive()
    keys.set(None, key, 0, send=True)
    return Opener(keys, "ann", ratchet_window=0)


OPENER = _opener()


def _sealed_take(given: Input) -> None:
    index, iv, sealed = given[0][:1] or b"\0", given[1], given[2]
    with meter(sealed):
        assert not isinstance(OPENER.open(sealed, index[0], iv), bytes)


# --- relays -----------------------------------------------------------------------------------------------------------


def _relay_make(rng: random.Random) -> Input:
    """Messages of a relay with the right key, and bytes that are anything."""
    samples = [entry.data for entry in recorded("stun")]
    given = []
    for _ in range(rng.randrange(1, 12)):
        data = mutators.stun(rng.choice(samples), rng, key=rng.choice((None, b"secret")))
        given.append(rng.choice((data, mutators.blind(data, rng), b"\x40\0" + rng.randbytes(30))))
    return given


def _relay_take(given: Input) -> None:
    """The client neither raises nor stops working with the true relay."""
    link = Link()
    link.start()
    for data in given:
        with meter(data):
            link.client.receive(data, link.now)
        link.exchange()
        link.run(1.0)
    assert len(link.events) <= 3
    stream = TurnStream()
    try:
        for data in given:
            stream.receive(data)
    except DecodeError:
        pass


EDGES: tuple[Target, ...] = (
    parser("url", "none", refusing(signal_base_url, ConnectError), extra=(
        b"wss://a.livekit.cloud:443/path", b"http://[::1%eth0]:7880", b"ws://user@host?x#y", b"ws://\xc3\xa9.example",
    )),
    parser("server-url", "none", refusing(ServerUrl.parse, DecodeError), extra=(
        b"turns:turn.example.org:443?transport=tcp", b"turn:[2001:db8::1]:3478?transport=udp", b"stun:192.0.2.1",
    )),
    parser("regions", "none", parse_regions, extra=(b'{"regions":[{"region":"a","url":"https://a.livekit.cloud"}]}',)),
    parser("token", "none", refusing(_verify, AccessTokenError), extra=(TOKEN.encode(),)),
    Target("signed-claims", _signed_make, _signed_take),
    Target("http-request", _request_make, _request_take),
    Target("websocket", _frames_make, _frames_take),
    Target("streams", _streams_make, _streams_take),
    parser("rpc-stream", "none", _rpc, extra=(b"id\nmethod\n8000\n2", b"x\ny\n99.5\n2\n")),
    Target("encrypted", _sealed_make, _sealed_take),
    Target("relay", _relay_make, _relay_take),
)  # fmt: skip

ALL: tuple[Target, ...] = (*TARGETS, *CORES, *EDGES)
"""Everything that is fuzzed."""

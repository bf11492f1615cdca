"""A participant with LiveKit's own Python SDK, told what to do by JSON lines. ``official.html`` is one in JavaScript.

    stdin   {"id": 1, "do": "push", "name": "lidar", "size": 1200, "count": 20, "hz": 50}
    stdout  {"id": 1, "refused": 0}            or  {"id": 1, "error": "..."}
            {"event": "data_track_published", "identity": "robot", "name": "lidar", "sid": "DTR_...", "e2ee": false}

The content of a frame follows from its user timestamp, the instant at which it was pushed in microseconds: so the
receiver can tell a damaged frame, and how old it is. The end of stdin ends the program.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

from livekit import rtc
from livekit.rtc._proto import e2ee_pb2 as proto_e2ee

if TYPE_CHECKING:
    from collections.abc import Coroutine

PATTERN = bytes(index % 251 for index in range(2 << 20))


def content(timestamp: int, size: int) -> bytes:
    start = timestamp % 251
    return PATTERN[start : start + size]


def emit(**message: object) -> None:
    print(json.dumps(message), flush=True)


def now_us() -> int:
    return time.time_ns() // 1000


class Participant:
    """Its public methods are the commands."""

    def __init__(self) -> None:
        self.room: rtc.Room
        self.local: dict[str, rtc.LocalDataTrack] = {}
        self.remote: dict[str, rtc.RemoteDataTrack] = {}
        self.readers: dict[str, tuple[rtc.DataTrackStream, asyncio.Task]] = {}
        self.received: dict[str, list[list]] = {}
        self.tasks: set[asyncio.Task] = set()

    async def connect(
        self,
        url: str,
        token: str,
        single: bool = True,
        key: str | None = None,
        keys: dict[str, str] | None = None,
        hkdf: bool = False,
    ) -> dict:
        """``key`` is shared by all, ``keys`` are the participants' own, by identity; without either, all is plain."""
        self.room = rtc.Room()
        options = rtc.RoomOptions(single_peer_connection=single)
        if key is not None or keys is not None:
            method = proto_e2ee.KeyDerivationFunction.HKDF if hkdf else proto_e2ee.KeyDerivationFunction.PBKDF2
            secret = None if key is None else key.encode()
            options.encryption = rtc.E2EEOptions(
                rtc.KeyProviderOptions(shared_key=secret, key_derivation_function=method)
            )
        self.room.on("data_track_published", self._on_track)
        self.room.on("data_track_unpublished", lambda sid: emit(event="data_track_unpublished", sid=sid))
        self.room.on("participant_connected", lambda p: emit(event="participant_connected", identity=p.identity))
        self.room.on("participant_disconnected", lambda p: emit(event="participant_disconnected", identity=p.identity))
        self.room.on("data_received", self._on_data)
        self.room.on("sip_dtmf_received", lambda dtmf: emit(event="dtmf", code=dtmf.code, digit=dtmf.digit))
        await self.room.connect(url, token, options)
        for identity, own in (keys or {}).items():
            await self.set_key(own, 0, identity)
        return {"identity": self.room.local_participant.identity}

    async def set_key(self, key: str, index: int, identity: str | None = None) -> dict:
        provider = self.room.e2ee_manager.key_provider
        if identity is None:
            provider.set_shared_key(key.encode(), index)
        else:
            provider.set_key(identity, key.encode(), index)
        return {}

    async def ratchet(self, index: int, identity: str | None = None) -> dict:
        provider = self.room.e2ee_manager.key_provider
        if identity is None:
            return {"key": provider.ratchet_shared_key(index).hex()}
        return {"key": provider.ratchet_key(identity, index).hex()}

    async def publish(self, name: str) -> dict:
        track = self.local[name] = await self.room.local_participant.publish_data_track(name=name)
        return {"sid": track.info.sid}

    async def push(self, name: str, size: int, count: int, hz: float) -> dict:
        refused = 0
        start = time.monotonic()
        for index in range(count):
            await asyncio.sleep(max(0.0, start + index / hz - time.monotonic()))
            timestamp = now_us()
            try:
                self.local[name].try_push(rtc.DataTrackFrame(content(timestamp, size), timestamp))
            except rtc.PushFrameError:
                refused += 1
        return {"refused": refused}

    async def unpublish(self, name: str) -> dict:
        await self.local.pop(name).unpublish()
        return {}

    async def subscribe(self, name: str, buffer_size: int = 64, max_partial_frames: int | None = None) -> dict:
        track = self.remote[name]
        if max_partial_frames is not None:
            track.set_pipeline_options(max_partial_frames=max_partial_frames)
        stream = track.subscribe(buffer_size=buffer_size)
        self.received[name] = []
        self.readers[name] = (stream, asyncio.create_task(self._read(name, stream)))
        return {}

    async def unsubscribe(self, name: str) -> dict:
        stream, task = self.readers.pop(name)
        task.cancel()
        stream.close()
        return {}

    async def report(self, name: str) -> dict:
        """What has been received since the last report: [size, latency in ms, whether it is intact]."""
        frames, self.received[name] = self.received[name], []
        return {"frames": frames}

    async def publish_data(self, text: str, topic: str, reliable: bool = True, to: tuple[str, ...] = ()) -> dict:
        await self.room.local_participant.publish_data(
            text, reliable=reliable, topic=topic, destination_identities=list(to)
        )
        return {}

    async def publish_dtmf(self, code: int, digit: str) -> dict:
        await self.room.local_participant.publish_dtmf(code=code, digit=digit)
        return {}

    async def listen(self, topic: str) -> dict:
        """Every stream on the topic becomes an event."""
        self.room.register_text_stream_handler(topic, lambda *stream: self._spawn(self._read_text(*stream)))
        self.room.register_byte_stream_handler(topic, lambda *stream: self._spawn(self._read_bytes(*stream)))
        return {}

    async def send_text(self, text: str, topic: str, pieces: int = 0, reply_to: str | None = None) -> dict:
        """At once, or in so many pieces."""
        local = self.room.local_participant
        if not pieces:
            info = await local.send_text(text, topic=topic, attributes={"k": "v"}, reply_to_id=reply_to)
            return {"stream_id": info.stream_id}
        writer = await local.stream_text(topic=topic, attributes={"k": "v"}, reply_to_id=reply_to)
        size = -(-len(text) // pieces)
        for start in range(0, len(text), size):
            await writer.write(text[start : start + size])
        await writer.aclose()
        return {"stream_id": writer.info.stream_id}

    async def send_bytes(self, size: int, topic: str, pieces: int = 0) -> dict:
        data = content(0, size)
        local = self.room.local_participant
        if not pieces:
            await local.send_bytes(data, topic=topic, name="bytes.bin")
            return {}
        writer = await local.stream_bytes("bytes.bin", topic=topic, total_size=size)
        step = -(-size // pieces)
        for start in range(0, size, step):
            await writer.write(data[start : start + step])
        await writer.aclose()
        return {}

    async def serve(self, method: str) -> dict:
        """Repeat the payload; ``refuse`` and ``break`` are errors of either kind."""

        async def handler(invocation: rtc.RpcInvocationData) -> str:
            if invocation.payload == "refuse":
                raise rtc.RpcError(101, "refused", "data")
            if invocation.payload == "break":
                raise KeyError("secret")
            return f"{invocation.caller_identity}: {invocation.payload}"

        self.room.local_participant.register_rpc_method(method, handler)
        return {}

    async def perform(self, to: str, method: str, payload: str) -> dict:
        try:
            result = await self.room.local_participant.perform_rpc(
                destination_identity=to, method=method, payload=payload
            )
        except rtc.RpcError as exc:
            return {"code": exc.code, "message": exc.message, "data": exc.data or ""}
        return {"result": result}

    def _spawn(self, coroutine: Coroutine) -> None:
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _read_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        info = reader.info
        try:
            text = await reader.read_all()
        except Exception as exc:
            emit(event="stream_failed", stream_id=info.stream_id, error=str(exc))
        else:
            emit(event="text", text=text, topic=info.topic, identity=identity, attributes=info.attributes)

    async def _read_bytes(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        info = reader.info
        data = b""
        try:
            async for part in reader:
                data += part
        except Exception as exc:
            emit(event="stream_failed", stream_id=info.stream_id, error=str(exc))
        else:
            intact = data == content(0, len(data))
            emit(event="bytes", size=len(data), intact=intact, name=info.name, topic=info.topic, identity=identity)

    async def leave(self) -> dict:
        await self.room.disconnect()
        return {}

    def _on_data(self, packet: rtc.DataPacket) -> None:
        reliable = packet.kind == rtc.DataPacketKind.KIND_RELIABLE
        sender = packet.participant.identity if packet.participant is not None else ""
        text = packet.data.decode()
        emit(event="data", text=text, topic=packet.topic, reliable=reliable, identity=sender)

    def _on_track(self, track: rtc.RemoteDataTrack) -> None:
        info = track.info
        self.remote[info.name] = track
        emit(
            event="data_track_published",
            identity=track.publisher_identity,
            name=info.name,
            sid=info.sid,
            e2ee=info.uses_e2ee,
        )

    async def _read(self, name: str, stream: rtc.DataTrackStream) -> None:
        error = None
        try:
            async for frame in stream:
                timestamp = frame.user_timestamp or 0
                latency_ms = round((now_us() - timestamp) / 1000, 2)
                intact = frame.payload == content(timestamp, len(frame.payload))
                self.received[name].append([len(frame.payload), latency_ms, intact])
        except rtc.SubscribeDataTrackError as exc:
            error = exc.message
        emit(event="stream_ended", name=name, error=error)


async def obey(participant: Participant, command: dict) -> None:
    number = command.pop("id")
    try:
        emit(id=number, **await getattr(participant, command.pop("do"))(**command))
    except Exception as exc:
        emit(id=number, error=f"{type(exc).__name__}: {getattr(exc, 'message', exc)}")


async def main() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    participant = Participant()
    tasks = set()
    emit(event="ready")
    while line := await reader.readline():
        task = asyncio.create_task(obey(participant, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())

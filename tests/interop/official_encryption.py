"""End-to-end encryption between our client and one of LiveKit's own SDKs: tracks, packets, calls and streams."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from trio_livekit import events as ev

from ..support.waiting import wait_until
from . import official_cases as cases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..support.livekit import LiveKitServer
    from ..support.official import Official

SECRET = "correct horse battery staple"
_CASE_S = 50.0
_SIZES = (1, 1200, 64 * 1024)


class Stage:
    """A room with us and them, and a track of each."""

    def __init__(
        self, peer: Official, room: lk.Room, ours: lk.LocalDataTrack, theirs: lk.DataTrackSubscription
    ) -> None:
        self.peer, self.room, self.ours, self.theirs = peer, room, ours, theirs

    async def frame_arrives_there(self, size: int = 100) -> None:
        """Until one does: SDKs are slow to take up a subscription, and lose large frames now and then."""
        while True:
            timestamp = lk.now_ms() * 1000
            self.ours.try_push(cases.content(timestamp, size), timestamp)
            frames = [frame[::2] for frame in await self.peer.report("ours", 1, 2.0)]
            assert all(intact for _, intact in frames)
            if [size, True] in frames:
                return

    async def frame_arrives_here(self, size: int = 100) -> None:
        while True:
            await self.peer.call("push", name="theirs", size=size, count=1, hz=1)
            with trio.move_on_after(2):
                frame = await self.theirs.receive()
                assert frame.payload == cases.content(frame.user_timestamp or 0, size)
                return

    async def packets_arrive_there(self, text: str) -> None:
        for number in range(10):
            await self.room.publish_data(f"{text} {number}", topic="t")
        for number in range(10):
            seen = await self.peer.wait_event("data")
            assert (seen["text"], seen["topic"], seen["identity"]) == (f"{text} {number}", "t", "ours")

    async def packets_arrive_here(self, text: str) -> None:
        async with self.room.data_packets(text) as packets:
            for number in range(10):
                await self.peer.call("publish_data", text=f"{text} {number}", topic=text)
            for number in range(10):
                packet = await packets.receive()
                assert (packet.payload.decode(), packet.is_encrypted) == (f"{text} {number}", True)

    async def everything_arrives(self, text: str = "text") -> None:
        await self.frame_arrives_there()
        await self.frame_arrives_here()
        await self.packets_arrive_there(text)
        await self.packets_arrive_here(text)


@asynccontextmanager
async def stage(
    peer: Official, server: LiveKitServer, room_name: str, encryption: lk.Encryption, **options: object
) -> AsyncIterator[Stage]:
    """Both are there, and have a track; ``options`` are those of their ``connect``."""
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(_CASE_S))
        token = server.token("ours", room_name)
        room = await stack.enter_async_context(lk.connect(server.url, token, encryption=encryption))
        ours = await stack.enter_async_context(room.publish_data_track("ours"))
        await cases.join(peer, server, room_name, **options)
        await peer.wait_event("data_track_published", name="ours", e2ee=True)
        await peer.call("subscribe", name="ours")
        await peer.call("publish", name="theirs")
        remote = await cases.remote_track(room, "theirs")
        assert remote.encryption is lk.EncryptionType.GCM
        theirs = await stack.enter_async_context(remote.subscribe())
        yield Stage(peer, room, ours, theirs)


async def a_shared_passphrase(peer: Official, server: LiveKitServer, room_name: str) -> None:
    async with stage(peer, server, room_name, lk.Encryption(shared_key=SECRET), key=SECRET) as there:
        await there.everything_arrives()
        for size in _SIZES:
            await there.frame_arrives_there(size)
            await there.frame_arrives_here(size)
        assert there.room.decryption_failures == {}


async def shared_bytes(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """By HKDF, which is what JavaScript takes for bytes."""
    encryption = lk.Encryption(shared_key=SECRET, derivation=lk.KeyDerivation.HKDF)
    async with stage(peer, server, room_name, encryption, key=SECRET, hkdf=True) as there:
        await there.everything_arrives()


async def keys_of_ones_own(peer: Official, server: LiveKitServer, room_name: str) -> None:
    keys = {"ours": "our own key", "theirs": "their own key"}
    async with stage(peer, server, room_name, lk.Encryption(participant_keys=keys), keys=keys) as there:
        await there.everything_arrives()
        assert there.room.decryption_failures == {}


async def another_key(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """First everybody has it, then we use it, and then they do: nothing is lost."""
    encryption = lk.Encryption(shared_key=SECRET)
    async with stage(peer, server, room_name, encryption, key=SECRET) as there:
        await there.everything_arrives("the first key")
        await encryption.set_shared_key("another", 1, send=False)
        await peer.call("set_key", key="another", index=1)
        await there.packets_arrive_here("they use it")
        await there.packets_arrive_there("we do not yet")
        encryption.select_shared_key(1)
        await there.everything_arrives("the second key")
        assert there.room.decryption_failures == {}


async def they_ratchet(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """Without a word: we follow, and lose nothing."""
    async with stage(peer, server, room_name, lk.Encryption(shared_key=SECRET), key=SECRET) as there:
        await there.frame_arrives_here()
        for step in range(2):
            await peer.call("ratchet", index=0)
            await there.packets_arrive_here(f"ratcheted {step}")
            await there.frame_arrives_here()
        assert there.room.decryption_failures == {}


async def we_ratchet(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """Without a word: they follow."""
    encryption = lk.Encryption(shared_key=SECRET)
    async with stage(peer, server, room_name, encryption, key=SECRET) as there:
        await there.frame_arrives_there()
        for step in range(2):
            await encryption.ratchet_shared_key()
            await there.packets_arrive_there(f"ratcheted {step}")
            await there.frame_arrives_there()


async def both_ratchet(peer: Official, server: LiveKitServer, room_name: str) -> None:
    encryption = lk.Encryption(shared_key=SECRET)
    async with stage(peer, server, room_name, encryption, key=SECRET) as there:
        ours = await encryption.ratchet_shared_key()
        theirs = await peer.call("ratchet", index=0)
        assert theirs.get("key", ours.hex()) == ours.hex()
        await there.everything_arrives("ratcheted")


async def a_wrong_key_there(peer: Official, server: LiveKitServer, room_name: str) -> None:
    """What we send is nothing to them, and what they send is counted here; then they get the right key."""
    async with stage(peer, server, room_name, lk.Encryption(shared_key=SECRET), key="not the key") as there:
        async with there.room.events() as events:
            timestamp = lk.now_ms() * 1000
            there.ours.try_push(cases.content(timestamp, 100), timestamp)
            await peer.call("push", name="theirs", size=100, count=3, hz=100)
            await there.room.publish_data("for those who know", topic="t")
            await peer.call("publish_data", text="for nobody", topic="t")
            async for event in events:
                if isinstance(event, ev.DecryptionFailed):
                    break
            assert event.sender_identity == "theirs"
            assert event.reason is lk.DecryptionFailureReason.UNDECRYPTABLE
            await wait_until(lambda: there.room.packet_statistics().undecryptable)
        assert await peer.report("ours", 1, 1.0) == []
        with trio.move_on_after(0.1):
            raise AssertionError(await there.theirs.receive())
        await peer.call("set_key", key=SECRET, index=0)
        await there.everything_arrives("now you know")


async def calls_and_streams(peer: Official, server: LiveKitServer, room_name: str, *payloads: str) -> None:
    """Both ways, in whatever form they and we choose for each other."""

    async def repeat(invocation: lk.RpcInvocation) -> str:
        if invocation.payload == "refuse":
            raise lk.RpcError(101, "refused", "data")
        return f"{invocation.caller_identity}: {invocation.payload}"

    async def call(payload: str) -> str:
        return await there.room.perform_rpc(destination_identity="theirs", method="repeat", payload=payload)

    async with stage(peer, server, room_name, lk.Encryption(shared_key=SECRET), key=SECRET) as there:
        room = there.room
        await there.everything_arrives()  # so that both know each other's keys
        await peer.call("serve", method="repeat")
        async with room.register_rpc_method("repeat", repeat):
            for payload in payloads:
                assert await call(payload) == f"ours: {payload}"
                said = await peer.call("perform", to="ours", method="repeat", payload=payload)
                assert said["result"] == f"theirs: {payload}"
            with pytest.raises(lk.RpcError) as error:
                await call("refuse")
            assert (error.value.code, error.value.message) == (101, "refused")
            said = await peer.call("perform", to="ours", method="repeat", payload="refuse")
            assert (said["code"], said["message"]) == (101, "refused")
        await peer.call("listen", topic="ours")
        async with room.text_streams("theirs") as texts:
            for text in cases.TEXTS.values():
                await room.send_text(text, topic="ours")
                assert (await peer.wait_event("text", text=text))["identity"] == "ours"
                await peer.call("send_text", text=text, topic="theirs", pieces=0)
                reader = await texts.receive()
                assert (await reader.read_all(), reader.info.is_encrypted) == (text, True)
        assert room.decryption_failures == {}
        assert room.packet_statistics().plaintext_refused == 0

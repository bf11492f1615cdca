"""Rooms with end-to-end encryption: keys of all kinds, keys that change, keys that are wrong, and no keys."""

from __future__ import annotations

import logging
import pickle
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
from trio.testing import assert_checkpoints

import trio_livekit as lk
from tests.support.cancel import cancel_everywhere
from tests.support.rooms import remote_track
from tests.support.waiting import wait_until
from trio_livekit import events as ev
from trio_livekit._sansio.tracks.packet import decode
from trio_livekit._session import rpc
from trio_livekit.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.support.servers import ServerUnderTest

T = TypeVar("T")

HKDF = lk.KeyDerivation.HKDF  # where it does not matter how a key is derived: this takes no time
SECRET = "correct horse battery staple"


def hkdf(secret: str | None = SECRET, **options: object) -> lk.Encryption:
    return lk.Encryption(shared_key=secret, derivation=HKDF, **options)


class Stage:
    """A room's name, and clients in it under their own keys. All blocks are open until the test ends."""

    def __init__(self, server: ServerUnderTest, room_name: str, nursery: trio.Nursery) -> None:
        self._server, self._room_name, self._nursery = server, room_name, nursery

    async def open(self, block: AbstractAsyncContextManager[T]) -> T:
        """Enter a block in a task of its own."""

        async def hold(task_status: trio.TaskStatus[T]) -> None:
            async with block as value:
                task_status.started(value)
                await trio.sleep_forever()

        opened: T = await self._nursery.start(hold)
        return opened

    def connect(self, identity: str, encryption: lk.Encryption | None) -> AbstractAsyncContextManager[lk.Room]:
        return lk.connect(self._server.url, self._server.token(identity, self._room_name), encryption=encryption)

    async def join(self, identity: str, encryption: lk.Encryption | None) -> lk.Room:
        return await self.open(self.connect(identity, encryption))

    async def publish(self, room: lk.Room, name: str = "track") -> lk.LocalDataTrack:
        return await self.open(room.publish_data_track(name))

    async def subscribe(self, room: lk.Room, identity: str = "alice", name: str = "track") -> lk.DataTrackSubscription:
        return await self.open((await remote_track(room, identity, name)).subscribe())


@pytest.fixture
async def stage(server: ServerUnderTest, room_name: str) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        yield Stage(server, room_name, nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def encrypted_pair(secret: str = SECRET, other: str = SECRET) -> AsyncIterator[tuple[lk.Room, lk.Room]]:
    """Alice and Bob on an embedded server."""
    async with (
        serve() as server,
        lk.connect(server.url, server.token("alice", "room"), encryption=hkdf(secret)) as alice,
        lk.connect(server.url, server.token("bob", "room"), encryption=hkdf(other)) as bob,
    ):
        yield alice, bob


async def arrives(track: lk.LocalDataTrack, frames: lk.DataTrackSubscription, payload: bytes) -> None:
    """A frame gets through; large ones may be lost on the way to a livekit-server that has been idle."""
    for _ in range(5):
        track.try_push(payload)
        with trio.move_on_after(2):
            assert (await frames.receive()).payload == payload
            return
    raise AssertionError(f"none of 5 frames of {len(payload)} bytes arrived")


async def undecryptable(frames: lk.DataTrackSubscription, count: int) -> None:
    """Wait until so many frames were dropped because they could not be decrypted."""
    await wait_until(lambda: frames.statistics().frames_undecryptable >= count)


# --- data tracks ------------------------------------------------------------------------------------------------------


async def test_frames_of_all_sizes_arrive(stage: Stage) -> None:
    alice = await stage.join("alice", lk.Encryption(shared_key=SECRET))
    bob = await stage.join("bob", lk.Encryption(shared_key=SECRET.encode()))
    track = await stage.publish(alice)
    remote = await remote_track(bob, "alice", "track")
    assert track.encryption is remote.encryption is lk.EncryptionType.GCM
    assert remote.uses_e2ee
    frames = await stage.subscribe(bob)
    for size in (1, 1024, 15_944, 15_945, 15_952, 15_953, 65_536, 196_608):
        await arrives(track, frames, bytes(i * 7 & 0xFF for i in range(251)) * (size // 251) + bytes(size % 251))
    track.try_push(lk.DataTrackFrame(b"stamped", 2**64 - 1))
    assert await frames.receive() == lk.DataTrackFrame(b"stamped", 2**64 - 1)
    assert frames.statistics().frames_undecryptable == 0
    assert bob.decryption_failures == {}


async def test_what_travels_is_not_what_was_pushed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from trio_livekit._session.links import Links

    sent: list[bytes] = []
    genuine = Links.send

    def send(links: Links, label: str, messages: list[bytes], now: float) -> None:
        sent.extend(messages if label == "_data_track" else ())
        genuine(links, label, messages, now)

    monkeypatch.setattr(Links, "send", send)
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", hkdf())
    track, frames = await stage.publish(alice), await stage.subscribe(bob)
    await arrives(track, frames, b"meet me at noon" * 3)
    assert sent
    for message in sent:
        packet = decode(message)
        assert packet.encryption is not None
        assert b"noon" not in message
        assert len(packet.payload) == 45 + 16  # and the tag of its encryption


async def test_everybody_with_a_key_of_their_own(stage: Stage) -> None:
    keys = {"alice": "alice's", "bob": "bob's"}
    alice = await stage.join("alice", lk.Encryption(participant_keys=keys, derivation=HKDF))
    bob = await stage.join("bob", lk.Encryption(participant_keys=keys, derivation=HKDF))
    for publisher, subscriber, identity in ((alice, bob, "alice"), (bob, alice, "bob")):
        track = await stage.publish(publisher)
        await arrives(track, await stage.subscribe(subscriber, identity), b"from " + identity.encode())


async def test_a_new_key_comes_into_use_without_a_frame_being_lost(stage: Stage) -> None:
    """First everybody has it, then it is used; what was sealed with the old one is still opened."""
    ours, theirs = hkdf(), hkdf()
    alice, bob = await stage.join("alice", ours), await stage.join("bob", theirs)
    track, frames = await stage.publish(alice), await stage.subscribe(bob)
    await arrives(track, frames, b"old")
    for keys in (ours, theirs):
        await keys.set_shared_key("another", 1, send=False)
    await arrives(track, frames, b"old still")
    track.try_push(b"the last of the old")
    ours.select_shared_key(1)
    track.try_push(b"the first of the new")
    assert (await frames.receive()).payload == b"the last of the old"
    assert (await frames.receive()).payload == b"the first of the new"
    for index in range(2, 40):  # and so on, around all places
        for keys in (ours, theirs):
            await keys.set_shared_key(f"key {index}", index % 16)
        await arrives(track, frames, f"frame {index}".encode())
    assert frames.statistics().frames_undecryptable == 0


async def test_a_sender_that_ratchets_without_a_word_is_followed(stage: Stage) -> None:
    """Nothing is lost or overtaken: what comes while keys are being derived waits."""
    ours = lk.Encryption(shared_key=SECRET)  # PBKDF2, so that it takes its time
    alice, bob = await stage.join("alice", ours), await stage.join("bob", lk.Encryption(shared_key=SECRET))
    track, frames = await stage.publish(alice), await stage.subscribe(bob)
    await arrives(track, frames, b"before")
    for step in (1, 2, 1):
        for _ in range(step):
            await ours.ratchet_shared_key()
        for number in range(10):
            track.try_push(bytes([number]))
        assert [(await frames.receive()).payload[0] for _ in range(10)] == list(range(10))
    assert bob.decryption_failures == {}


async def test_who_comes_later_gets_the_key_of_now_and_not_that_of_before(stage: Stage) -> None:
    ours, theirs = hkdf(), hkdf()
    alice, bob = await stage.join("alice", ours), await stage.join("bob", theirs)
    track, frames = await stage.publish(alice), await stage.subscribe(bob)
    now = await ours.ratchet_shared_key()
    assert now == ours.export_shared_key() == await theirs.ratchet_shared_key()
    assert theirs.export_shared_key(0) != SECRET.encode()
    carol = await stage.join("carol", lk.Encryption(shared_key=now, derivation=HKDF))
    late = await stage.subscribe(carol)
    track.try_push(b"for all three")
    for reader in (frames, late):
        assert (await reader.receive()).payload == b"for all three"


async def test_a_sender_that_comes_back_with_its_first_key(stage: Stage) -> None:
    bob = await stage.join("bob", hkdf())
    for _ in range(2):
        ours = hkdf()
        async with stage.connect("alice", ours) as alice, alice.publish_data_track("track") as track:
            async with (await remote_track(bob, "alice", "track")).subscribe() as frames:
                await arrives(track, frames, b"first key")
                await ours.ratchet_shared_key()
                await ours.ratchet_shared_key()
                await arrives(track, frames, b"third key")
        await wait_until(lambda: "alice" not in bob.participants)


async def test_a_wrong_key_is_reported_and_then_put_right(stage: Stage) -> None:
    wrong = hkdf("not the key")
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", wrong)
    track, frames = await stage.publish(alice), await stage.subscribe(bob)
    async with bob.events() as events:
        for _ in range(20):
            track.try_push(b"for those who know")
        await undecryptable(frames, 20)
        failed = [event async for event in until(events, ev.DecryptionFailed)][-1]
        assert (failed.sender_identity, failed.participant) == ("alice", bob.participants["alice"])
        assert failed.reason is lk.DecryptionFailureReason.UNDECRYPTABLE
        assert failed.count == 1  # the others are in the next report, ten seconds later at the earliest
        assert bob.decryption_failures == {lk.DecryptionFailureReason.UNDECRYPTABLE: 20}
        await wrong.set_shared_key(SECRET)
        await arrives(track, frames, b"now you know")
        await events.aclose()
        assert not [event async for event in rest(events) if isinstance(event, ev.DecryptionFailed)]


async def test_a_missing_key_is_reported_and_then_set(stage: Stage) -> None:
    keys = hkdf(None)
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", keys)
    track, frames = await stage.publish(alice), await stage.subscribe(bob)
    async with bob.events() as events:
        track.try_push(b"too early")
        await undecryptable(frames, 1)
        failed = [event async for event in until(events, ev.DecryptionFailed)][-1]
        assert failed.reason is lk.DecryptionFailureReason.MISSING_KEY
    await keys.set_key("alice", SECRET)
    await arrives(track, frames, b"now")


async def until(events: lk.RoomEvents, kind: type) -> AsyncIterator[ev.RoomEvent]:
    """Events up to the first of a kind."""
    with trio.fail_after(10):
        async for event in events:
            yield event
            if isinstance(event, kind):
                return


async def rest(events: lk.RoomEvents) -> AsyncIterator[ev.RoomEvent]:
    """What there is in a closed reader."""
    while True:
        try:
            yield await events.receive()
        except trio.ClosedResourceError:
            return


async def test_plain_tracks_are_refused_unless_their_publisher_is_allowed(stage: Stage) -> None:
    alice = await stage.join("alice", None)
    bob = await stage.join("bob", hkdf())
    carol = await stage.join("carol", hkdf(plaintext_from=["alice"]))
    track = await stage.publish(alice)
    remote = await remote_track(bob, "alice", "track")
    assert track.encryption is remote.encryption is lk.EncryptionType.NONE
    with pytest.raises(lk.SubscribeError, match="not allowed plaintext") as refused:
        async with remote.subscribe():
            pytest.fail("subscribed")
    assert refused.value.reason is lk.SubscribeErrorReason.NOT_ENCRYPTED
    await arrives(track, await stage.subscribe(carol), b"plain")


async def test_encrypted_tracks_are_refused_where_there_are_no_keys(stage: Stage) -> None:
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", None)
    await stage.publish(alice)
    with pytest.raises(lk.SubscribeError, match="this room has no keys") as refused:
        async with (await remote_track(bob, "alice", "track")).subscribe():
            pytest.fail("subscribed")
    assert refused.value.reason is lk.SubscribeErrorReason.ENCRYPTED
    assert bob.decryption_failures == {}


async def test_without_a_key_nothing_is_sent(stage: Stage) -> None:
    ours = hkdf(None)
    await ours.set_key("bob", SECRET)
    alice, bob = await stage.join("alice", ours), await stage.join("bob", hkdf())
    track, frames = await stage.publish(alice), await stage.subscribe(bob)
    with pytest.raises(lk.PushError, match="neither a shared key nor one of 'alice'") as refused:
        track.try_push(b"in the clear?")
    assert refused.value.reason is lk.PushErrorReason.NO_KEY
    with pytest.raises(lk.PushError):
        await track.send(b"in the clear?")
    assert track.statistics().frames_refused == 2
    await ours.set_key("alice", SECRET)
    await arrives(track, frames, b"encrypted")


async def test_frames_are_measured_before_they_are_encrypted() -> None:
    async with encrypted_pair() as (alice, _), alice.publish_data_track("track") as track:
        with pytest.raises(lk.PushError) as empty:
            track.try_push(b"")
        assert empty.value.reason is lk.PushErrorReason.EMPTY
        limit = 128 * 15_968 - 16
        with pytest.raises(lk.FrameTooLarge) as too_large:
            track.try_push(bytes(limit + 1))
        assert (too_large.value.size, too_large.value.limit) == (limit + 1, limit)


async def test_several_tracks_and_readers_under_one_key() -> None:
    async with encrypted_pair() as (alice, bob), AsyncExitStack() as stack:
        tracks = [await stack.enter_async_context(alice.publish_data_track(f"{n}")) for n in range(4)]
        readers = [
            await stack.enter_async_context((await remote_track(bob, "alice", track.name)).subscribe())
            for track in tracks * 2
        ]
        for track in tracks:
            track.try_push(track.name.encode())
        for reader, track in zip(readers, tracks * 2, strict=True):
            assert (await reader.receive()).payload == track.name.encode()


# --- data packets -----------------------------------------------------------------------------------------------------


async def received(packets: lk.DataPackets, count: int) -> list[lk.DataPacket]:
    with trio.fail_after(20):
        return [await packets.receive() for _ in range(count)]


async def test_packets_of_all_kinds_arrive(stage: Stage) -> None:
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", hkdf())
    async with bob.data_packets() as packets, bob.events() as events:
        await alice.publish_data(b"reliable", topic="a topic")
        packet = (await received(packets, 1))[0]
        assert packet == lk.DataPacket(
            b"reliable", "a topic", "alice", bob.participants["alice"], is_reliable=True, is_encrypted=True
        )
        with trio.fail_after(20):
            while True:
                await alice.publish_data(b"lossy", reliable=False)
                with trio.move_on_after(1):
                    packet = await packets.receive()
                    break
        assert (packet.payload, packet.is_reliable, packet.is_encrypted) == (b"lossy", False, True)
        await alice.send_chat_message("hello")
        assert [event async for event in until(events, ev.ChatMessageReceived)][-1].message.message == "hello"
        await alice.publish_dtmf(1, "1")  # in the clear, as everywhere
        assert [event async for event in until(events, ev.DtmfReceived)][-1].digit == "1"
    assert bob.decryption_failures == {}


@pytest.mark.parametrize("form", ["streams", "packets"])
async def test_calls_in_both_forms(stage: Stage, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, their acknowledgements, results and faults; nothing of them travels in the clear."""
    if form == "packets":
        monkeypatch.setattr(rpc, "_STREAM_PROTOCOL", 99)
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", hkdf())
    sent: list[bytes] = []
    for room in (alice, bob):
        links = room._session._connection.links
        monkeypatch.setattr(links, "send", partial(keep_and_send, links.send, sent))

    async def echo(invocation: lk.RpcInvocation) -> str:
        if invocation.payload == "refuse":
            raise lk.RpcError(101, "refused")
        return f"{invocation.caller_identity}: {invocation.payload}"

    async def call(payload: str) -> str:
        with trio.fail_after(20):
            return await alice.perform_rpc(destination_identity="bob", method="echo", payload=payload)

    async with bob.register_rpc_method("echo", echo):
        for payload in ("", "secret", "secret " * 2000):
            assert await call(payload) == f"alice: {payload}"
        with pytest.raises(lk.RpcError) as error:
            await call("refuse")
    assert (error.value.code, error.value.message) == (101, "refused")
    assert len(sent) >= 12
    for room in (alice, bob):
        assert room.packet_statistics().undecryptable == room.packet_statistics().plaintext_refused == 0
    assert not any(word in message for message in sent for word in (b"secret", b"echo", b"refuse"))


def keep_and_send(
    send: Callable[[str, list[bytes], float], None], kept: list[bytes], label: str, messages: list[bytes], now: float
) -> None:
    kept += messages
    send(label, messages, now)


async def test_streams_in_every_form(stage: Stage) -> None:
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", hkdf())
    async with bob.text_streams("topic") as texts, bob.byte_streams("topic") as files:
        for text in ("", "short", "long and regular " * 5000):
            for compress in (True, False):
                await alice.send_text(text, topic="topic", compress=compress)
                with trio.fail_after(20):
                    reader = await texts.receive()
                    assert (await reader.read_all(), reader.info.is_encrypted) == (text, True)
        await alice.send_bytes(bytes(range(256)) * 400, topic="topic", name="bytes.bin")
        with trio.fail_after(20):
            assert await (await files.receive()).read_all() == bytes(range(256)) * 400
    assert bob.decryption_failures == {}


async def test_calls_under_a_wrong_key_end_in_time(stage: Stage) -> None:
    """A request that cannot be read is not executed, and its caller is not left waiting."""
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", hkdf("another"))
    with trio.fail_after(20):
        async with bob.register_rpc_method("never", fails):
            with pytest.raises(lk.RpcError) as error:
                await alice.perform_rpc(destination_identity="bob", method="never", payload="", response_timeout=0.5)
    assert error.value.code == lk.RpcErrorCode.RESPONSE_TIMEOUT
    assert error.value.executed is None


async def fails(_invocation: lk.RpcInvocation) -> str:
    raise AssertionError("this call was not for us")


async def test_packets_keep_their_order_while_their_sender_ratchets(stage: Stage) -> None:
    """Nothing is lost, and nothing overtakes what has to wait until it is known how far the sender has ratcheted."""
    ours = lk.Encryption(shared_key=SECRET)  # PBKDF2, so that it takes its time
    alice, bob = await stage.join("alice", ours), await stage.join("bob", lk.Encryption(shared_key=SECRET))
    async with bob.data_packets() as packets:
        for number in range(60):
            if number % 20 == 10:
                await ours.ratchet_shared_key()
            await alice.publish_data(b"%d" % number)
        assert [int(packet.payload) for packet in await received(packets, 60)] == list(range(60))
    assert bob.decryption_failures == {}


async def test_packets_under_a_wrong_key_are_counted_and_those_after_it_arrive(stage: Stage) -> None:
    ours = hkdf("not the key")
    alice, bob = await stage.join("alice", ours), await stage.join("bob", hkdf())
    async with bob.data_packets() as packets, bob.events() as events:
        for _ in range(5):
            await alice.publish_data(b"for those who know")
        await ours.set_shared_key(SECRET, 1)
        await alice.publish_data(b"under a key that is not there")
        await ours.set_shared_key(SECRET, 0)
        await alice.publish_data(b"now you know")
        assert [packet.payload for packet in await received(packets, 1)] == [b"now you know"]
        failed = [event async for event in until(events, ev.DecryptionFailed)][-1]
        assert (failed.sender_identity, failed.count) == ("alice", 1)
    assert bob.decryption_failures == {
        lk.DecryptionFailureReason.UNDECRYPTABLE: 5,
        lk.DecryptionFailureReason.MISSING_KEY: 1,
    }
    assert bob.packet_statistics().undecryptable == 6


async def test_plain_packets_are_refused_unless_their_sender_is_allowed(stage: Stage) -> None:
    alice = await stage.join("alice", None)
    bob = await stage.join("bob", hkdf())
    carol = await stage.join("carol", hkdf(plaintext_from={"alice"}))
    async with bob.data_packets() as refused, carol.data_packets() as taken, bob.events() as events:
        await alice.publish_data(b"plain")
        packet = (await received(taken, 1))[0]
        assert (packet.payload, packet.is_encrypted) == (b"plain", False)
        failed = [event async for event in until(events, ev.DecryptionFailed)][-1]
        assert failed.reason is lk.DecryptionFailureReason.PLAINTEXT
        await carol.publish_data(b"encrypted")
        assert [packet.payload for packet in await received(refused, 1)] == [b"encrypted"]
    assert bob.packet_statistics().plaintext_refused == 1


async def test_encrypted_packets_where_there_are_no_keys(stage: Stage) -> None:
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", None)
    carol = await stage.join("carol", None)
    async with bob.data_packets() as packets:
        await alice.publish_data(b"secret")
        await carol.publish_data(b"plain")
        await alice.publish_dtmf(2, "2")
        assert [packet.payload for packet in await received(packets, 1)] == [b"plain"]
        await wait_until(lambda: bob.packet_statistics().undecryptable)


async def test_packets_without_a_key_are_not_sent(stage: Stage) -> None:
    alice = await stage.join("alice", hkdf(None))
    for reliable in (True, False):
        with pytest.raises(lk.MissingKey):
            await alice.publish_data(b"in the clear?", reliable=reliable)
    assert alice.packet_statistics().reliable_sent == alice.packet_statistics().lossy_sent == 0


async def test_a_session_that_replaces_another_goes_on_with_the_keys(stage: Stage) -> None:
    alice, bob = await stage.join("alice", hkdf()), await stage.join("bob", hkdf())
    async with bob.data_packets() as packets, alice.events() as events:
        await alice.publish_data(b"before")
        await alice.simulate(lk.SimulateScenario.FULL_RECONNECT)
        assert [event async for event in until(events, ev.Reconnected)]
        await alice.publish_data(b"after")
        assert [packet.payload for packet in await received(packets, 2)] == [b"before", b"after"]


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_keys_are_looked_after() -> None:
    keys = hkdf("zero")
    await keys.set_shared_key(b"one", 1)
    await keys.set_key("alice", "hers", 3)
    assert keys.export_shared_key() == b"one"
    assert keys.export_shared_key(0) == b"zero"
    assert keys.export_key("alice") == b"hers"
    keys.select_shared_key(0)
    assert keys.export_shared_key() == b"zero"
    ratcheted = await keys.ratchet_key("alice")
    assert keys.export_key("alice", 3) == ratcheted != b"hers"
    keys.remove_keys("alice")
    for action in (
        lambda: keys.export_key("alice"),
        lambda: keys.select_key("alice", 3),
        lambda: keys.export_shared_key(2),
    ):
        with pytest.raises(lk.MissingKey):
            action()
    with pytest.raises(lk.MissingKey) as missing:
        await keys.ratchet_shared_key(5)
    assert (missing.value.identity, missing.value.index) == (None, 5)


async def test_nonsense_is_refused() -> None:
    keys = lk.Encryption()
    for index in (-1, 16, 255):
        with pytest.raises(ValueError, match="0 to 15"):
            await keys.set_shared_key("key", index)
    with pytest.raises(ValueError, match="not empty"):
        await keys.set_key("alice", "")
    with pytest.raises(TypeError, match="str or bytes"):
        lk.Encryption(shared_key=42)  # type: ignore[arg-type]
    for options in ({"ratchet_window": -1}, {"failure_tolerance": -1}):
        with pytest.raises(ValueError, match="not negative"):
            lk.Encryption(**options)
    with pytest.raises(TypeError, match="collection of identities"):
        lk.Encryption(plaintext_from="alice")


async def test_keys_are_set_in_the_order_of_the_calls_and_a_cancelled_call_sets_none() -> None:
    keys = hkdf()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(keys.ratchet_shared_key)
    thrice = hkdf()
    for _ in range(3):
        await thrice.ratchet_shared_key()
    assert keys.export_shared_key() == thrice.export_shared_key()
    with trio.CancelScope() as scope:
        scope.cancel()
        await keys.set_shared_key("never")
    assert scope.cancelled_caught
    assert keys.export_shared_key() == thrice.export_shared_key()
    with assert_checkpoints():
        await keys.set_shared_key("now")
    with assert_checkpoints():
        await keys.ratchet_shared_key()


async def test_no_key_is_written_anywhere(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    secret, other = "the secret of alice and bob", "what bob has instead"
    async with encrypted_pair(secret, other) as (alice, bob), alice.publish_data_track("track") as track:
        async with (await remote_track(bob, "alice", "track")).subscribe() as frames:
            track.try_push(b"frame")
            await undecryptable(frames, 1)
    keys = hkdf(secret)
    with pytest.raises(TypeError, match="not to be copied or pickled"):
        pickle.dumps(keys)
    written = caplog.text + str(capsys.readouterr()) + repr(keys) + repr(vars(keys)) + repr(keys._options)
    assert caplog.text
    for material in (secret, other, keys.export_shared_key().hex(), secret.encode().hex()):
        assert material not in written


async def test_changing_keys_and_joining_with_them_cancelled_at_every_step() -> None:
    """What comes next works all the same: no lock is held for ever, and no key is half set."""
    async with serve() as server:
        keys = hkdf("the first")

        async def change_and_join() -> None:
            fresh = hkdf()
            await keys.set_shared_key("another", 3)
            await keys.ratchet_shared_key(3)
            await keys.set_shared_key(keys.export_shared_key(0), 0)
            async with lk.connect(server.url, server.token("alice", "room"), encryption=fresh):
                pass

        async def still_works(_step: int) -> None:
            with trio.fail_after(5):
                await keys.ratchet_shared_key(0)

        assert await cancel_everywhere(change_and_join, every=3, after=still_works) > 5

"""S30: no vector is used twice under one key, whatever happens, and nothing but what a key opens is ever handed on."""

from __future__ import annotations

import itertools
import logging
import pickle
import sys
import traceback
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.session.fakes import TrackLinks, Upstream
from tests.support.servers import KINDS, open_server
from tests.support.waiting import wait_until
from trio_livekit import events as ev
from trio_livekit._sansio.encryption.key import IV_BYTES
from trio_livekit._sansio.packets import messages as p
from trio_livekit._sansio.signal import messages as m
from trio_livekit._sansio.tracks.packet import decode
from trio_livekit._session.links import Links
from trio_livekit._session.publishing import Publishing
from trio_livekit._session.sealing import Sealing
from trio_livekit._wire.data import decode_packet
from trio_livekit.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.servers import ServerUnderTest

ROOT = Path(__file__).parents[2]
SECRET = "the same passphrase everywhere"
HKDF = lk.KeyDerivation.HKDF


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ServerUnderTest]:
    async with open_server(request.param, lambda: request.getfixturevalue("livekit_server")) as server:
        yield server


def keys(secret: str = SECRET, **options: object) -> lk.Encryption:
    return lk.Encryption(shared_key=secret, derivation=HKDF, **options)


def ivs_of(messages: dict[str, list[bytes]]) -> list[tuple[int, bytes]]:
    """Key index and vector of every message in each frame or packet that was sent."""
    used = []
    for label, sent in messages.items():
        for message in sent:
            if label == "_data_track":
                packet = decode(message)
                assert packet.encryption is not None
                used.append((packet.encryption.key_index, packet.encryption.iv))
            else:
                value = decode_packet(message).value
                assert isinstance(value, p.Encrypted)
                used.append((value.key_index, value.iv))
    return used


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[bytes]]]:
    """Everything that any room here sends, by channel."""
    log: dict[str, list[bytes]] = {}
    genuine = Links.send

    def send(self: Links, label: str, messages: list[bytes], now: float) -> None:
        log.setdefault(label, []).extend(messages)
        genuine(self, label, messages, now)

    monkeypatch.setattr(Links, "send", send)
    return log


# --- vectors ----------------------------------------------------------------------------------------------------------


async def sealing(nursery: trio.Nursery, encryption: lk.Encryption | None = None) -> Sealing:
    """A session's encryption, as after joining."""
    encryption = encryption or keys()
    await encryption._prepare()
    made = Sealing(encryption._options, nursery, lambda _: None)
    made.on_joined("somebody")
    return made


async def test_s30_a_million_vectors_of_one_session(nursery: trio.Nursery) -> None:
    session = await sealing(nursery)
    session.seal(b"")
    assert session._sealer is not None
    session._sealer._encrypt = lambda _iv, plaintext, _aad: plaintext  # vectors are the point, and time is short
    seal = session._sealer.seal
    assert len({seal(b"")[1] for _ in range(1_000_000)}) == 1_000_000


PROCESS = """
import sys
import trio
import trio_livekit as lk
from trio_livekit._session.sealing import Sealing

async def main():
    encryption = lk.Encryption(shared_key=sys.argv[1])
    await encryption._prepare()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            session = Sealing(encryption._options, nursery, lambda _: None)
            session.on_joined("somebody")
            for _ in range(100):
                print(session.seal(b"")[1].iv.hex())

trio.run(main)
"""


async def test_s30_sessions_and_restarts_under_one_passphrase(nursery: trio.Nursery) -> None:
    """100 sessions with the same keys in this process, and in three others."""
    encryption = keys()
    sessions = [await sealing(nursery, encryption) for _ in range(100)]
    used = [session.seal(b"")[1].iv for session in sessions for _ in range(100)]
    for _ in range(3):
        ran = await trio.run_process([sys.executable, "-c", PROCESS, SECRET], capture_stdout=True, cwd=ROOT)
        used += [bytes.fromhex(line) for line in ran.stdout.decode().split()]
    assert len(set(used)) == len(used) == 4 * 100 * 100


async def test_s30_the_starts_of_sessions_are_as_random_as_their_bits_allow(nursery: trio.Nursery) -> None:
    """The birthday bound: of N starts of 96 bits, no two agree in so many leading bits that chance would not explain
    it, and every bit is set about half of the time."""
    count = 2000
    encryption = keys()
    starts = [int.from_bytes((await sealing(nursery, encryption)).seal(b"")[1].iv, "big") for _ in range(count)]
    in_order = sorted(starts)
    nearest = min(b - a for a, b in itertools.pairwise(in_order))
    assert nearest > 2 ** (8 * IV_BYTES) / count**2 / 10**9  # nearer by a factor of 10**9 than is to be expected
    for bit in range(8 * IV_BYTES):
        assert 0.4 < sum(start >> bit & 1 for start in starts) / count < 0.6


async def test_s30_every_place_of_the_ring_and_around(nursery: trio.Nursery) -> None:
    """The same key in one place after the other, and back in the first: the vectors do not start again."""
    encryption = keys()
    session = await sealing(nursery, encryption)
    used = []
    for index in [*range(16), *range(16), 0]:
        await encryption.set_shared_key(SECRET, index)
        used += [session.seal(b"")[1].iv for _ in range(10)]
    assert len(set(used)) == len(used) == 330


async def test_s30_frames_of_several_tracks_and_packets_of_one_frame(nursery: trio.Nursery) -> None:
    """All packets of a frame carry its vector; no two frames do, of one track or of several."""
    links = TrackLinks()
    publishing = Publishing(Upstream(), links, lambda _: None, await sealing(nursery))  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        for handle in (1, 2):
            publishing_block = publishing.publish(f"track {handle}")
            nursery.start_soon(grant, publishing, handle)
            publication = await stack.enter_async_context(publishing_block)
            for size in (1, 100, 20_000, 100):
                publication.push(bytes(size), None)
        publishing.close()
    packets = [decode(message) for message in links.sent]
    frames = {(packet.handle, packet.frame_number): packet.encryption.iv for packet in packets if packet.encryption}
    assert len(packets) > len(frames) >= 4
    assert len(set(frames.values())) == len(frames)
    for packet in packets:
        assert packet.encryption is not None
        assert packet.encryption.iv == frames[packet.handle, packet.frame_number]


async def grant(publishing: Publishing, handle: int) -> None:
    await trio.sleep(0.01)
    publishing.on_response(m.DataTrackPublished(m.DataTrackInfo(handle, f"DTR_{handle}", "track")))


async def test_s30_packets_that_are_sent_again_in_another_session(sent: dict[str, list[bytes]]) -> None:
    """Two publishers share a key, and their sessions are replaced under them: what is repeated is sealed anew."""
    async with (
        serve() as server,
        lk.connect(server.url, server.token("alice", "room"), encryption=keys()) as alice,
        lk.connect(server.url, server.token("bob", "room"), encryption=keys()) as bob,
    ):
        for room in (alice, bob):
            async with room.events() as events:
                for number in range(30):
                    await room.publish_data(b"%d" % number)
                await room.simulate(lk.SimulateScenario.FULL_RECONNECT)
                with trio.fail_after(20):
                    async for event in events:
                        if isinstance(event, ev.Reconnected):
                            break
        for room in (alice, bob):
            await room.publish_data(b"the last")
        used = ivs_of(sent)
        assert len(used) >= 62
        assert len(set(used)) == len(used)


# --- what is let through ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(0, 40, 3))
async def test_s30_a_changed_bit_is_noticed_wherever_it_is(nursery: trio.Nursery, position: int) -> None:
    session = await sealing(nursery, keys(ratchet_window=0))
    opening = session.opening("sender", lambda *_: None)
    sealed, (index, iv) = session.seal(b"twenty-four bytes of it.")
    assert opening.open(None, sealed, index, iv) == b"twenty-four bytes of it."
    changed = bytearray(sealed)
    changed[position] ^= 0x10
    assert not isinstance(opening.open(None, bytes(changed), index, iv), bytes)
    wrong = bytes([iv[0] ^ 1]) + iv[1:]
    assert not isinstance(opening.open(None, sealed, index, wrong), bytes)


async def test_s30_plaintext_in_an_encrypted_room_is_dropped_and_reported(
    server: ServerUnderTest,
) -> None:
    """Packets, tracks, and what the server itself sends."""
    async with (
        lk.connect(server.url, server.token("mallory", "plaintext")) as mallory,
        lk.connect(server.url, server.token("bob", "plaintext"), encryption=keys()) as bob,
        bob.data_packets() as packets,
        bob.events() as events,
        mallory.publish_data_track("plain"),
    ):
        await mallory.publish_data(b"trust me")
        with trio.fail_after(10):
            async for event in events:
                if isinstance(event, ev.DecryptionFailed):
                    break
        assert (event.sender_identity, event.reason) == ("mallory", lk.DecryptionFailureReason.PLAINTEXT)
        remote = await (await bob.wait_for_participant("mallory")).data_tracks.wait_for("plain")
        with pytest.raises(lk.SubscribeError):
            async with remote.subscribe():
                pytest.fail("subscribed")
        with trio.move_on_after(0.1):
            pytest.fail(f"got {await packets.receive()!r}")
    assert bob.packet_statistics().plaintext_refused == 1


async def test_s30_a_plain_frame_on_an_encrypted_track_is_dropped(nursery: trio.Nursery) -> None:
    """A server could strip the extension, or a publisher could lie."""
    async with (
        serve() as server,
        lk.connect(server.url, server.token("alice", "room"), encryption=keys()) as alice,
        lk.connect(server.url, server.token("bob", "room"), encryption=keys()) as bob,
        alice.publish_data_track("track") as track,
    ):
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        async with remote.subscribe() as frames:
            publication = track._publication
            publication.packetize = publication._packetizer.packetize
            track.try_push(b"in the clear")
            publication.packetize = publication._packetize_sealed
            track.try_push(b"encrypted")
            assert (await frames.receive()).payload == b"encrypted"
            assert frames.statistics().frames_undecryptable == 1
        assert bob.decryption_failures == {lk.DecryptionFailureReason.PLAINTEXT: 1}


async def test_s30_a_wrong_key_is_one_event_in_ten_seconds_and_no_exception() -> None:
    async with (
        serve() as server,
        lk.connect(server.url, server.token("alice", "room"), encryption=keys("hers")) as alice,
        lk.connect(server.url, server.token("bob", "room"), encryption=keys("his")) as bob,
        alice.publish_data_track("track") as track,
        bob.events() as events,
        bob.data_packets() as packets,
    ):
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        async with remote.subscribe() as frames:
            for _ in range(100):
                await track.send(b"frame")
                await alice.publish_data(b"packet")
            await wait_until(lambda: sum(bob.decryption_failures.values()) >= 200, within_s=20)
            for reader in (frames, packets):
                with trio.move_on_after(0.05):
                    pytest.fail(f"got {await reader.receive()!r}")
        assert await count_failures(events) == 1
        assert bob.decryption_failures == {lk.DecryptionFailureReason.UNDECRYPTABLE: 200}


async def count_failures(events: lk.RoomEvents) -> int:
    """How many events of undecryptable things are there to be read."""
    count = 0
    with trio.move_on_after(0.05):
        async for event in events:
            count += isinstance(event, ev.DecryptionFailed)
    return count


# --- keys stay where they are -----------------------------------------------------------------------------------------


async def test_s30_key_material_is_never_shown_logged_or_pickled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "a passphrase like no other"
    encryption = lk.Encryption(shared_key=secret, participant_keys={"bob": secret + " of bob"})
    shown = []
    async with serve() as server, lk.connect(server.url, server.token("a", "room"), encryption=encryption) as room:
        material = await encryption.ratchet_shared_key()
        key = encryption._keys.get(None, None)
        session = room._session
        for thing in (encryption, encryption._options, encryption._keys, key, session.sealing, session._options, room):
            shown += [repr(thing), str(thing), str(getattr(thing, "__dict__", ""))]
        for thing in (encryption, key, encryption._keys):
            with pytest.raises(TypeError) as refused:
                pickle.dumps(thing)
            shown.append("".join(traceback.format_exception(refused.value)))
        for call in (lambda: encryption.export_key("nobody"), lambda: encryption.select_shared_key(9)):
            with pytest.raises(lk.MissingKey) as missing:
                call()
            shown.append("".join(traceback.format_exception(missing.value)))
    text = "\n".join([*shown, caplog.text])
    for part in (secret, repr(material), material.hex(), repr(material)[2:-1]):
        assert part not in text

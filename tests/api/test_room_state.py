"""What a ``Room`` shows after what its session tells it, for what no server can be made to show on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from trio_livekit import events as ev
from trio_livekit._sansio.signal import messages as m
from trio_livekit._sansio.signal.roster import Changed, Joined, Left
from trio_livekit._session.subscribing import RemoteTrack, TrackPublished, TrackReassigned, TrackUnpublished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import EmbeddedServer
    from trio_livekit._session.features import SessionEvent

ANN = m.ParticipantInfo("PA_1", "ann")
ANN_AGAIN = m.ParticipantInfo("PA_2", "ann")


class Bench:
    """One ``Room`` and one listener."""

    def __init__(self, room: lk.Room, events: lk.RoomEvents) -> None:
        self.room = room
        self.events = events

    def tell(self, *told: SessionEvent) -> list[ev.RoomEvent]:
        for event in told:
            self.room._view.on_session_event(event)
        mailbox = self.events._mailbox
        return [mailbox.get_nowait() for _ in range(len(mailbox))]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    room = lk.Room()
    async with room.events(buffer_size=100) as events:
        yield Bench(room, events)


def track_of_ann(name: str) -> RemoteTrack:
    return RemoteTrack(None, "ann", m.DataTrackInfo(1, f"DTR_{name}", name))  # type: ignore[arg-type]


async def test_a_publisher_that_comes_back_brings_its_tracks(bench: Bench) -> None:
    kept, ended = track_of_ann("kept"), track_of_ann("ended")
    bench.tell(Joined(ANN), TrackPublished(kept), TrackPublished(ended))
    before = bench.room.participants["ann"]
    remote = before.data_tracks["kept"]

    told = bench.tell(
        Left(ANN, m.DisconnectReason.UNKNOWN_REASON),
        Joined(ANN_AGAIN),
        TrackReassigned(kept),
        TrackUnpublished(ended),
    )
    after = bench.room.participants["ann"]
    assert after is not before
    assert list(after.data_tracks) == [remote]
    assert list(before.data_tracks) == []
    assert [type(event) for event in told] == [
        ev.ParticipantDisconnected,
        ev.ParticipantConnected,
        ev.DataTrackUnpublished,
    ]
    with pytest.raises(lk.SubscribeError):
        await before.data_tracks.wait_for("kept")


async def test_who_leaves_does_not_go_on_speaking(bench: Bench) -> None:
    bench.tell(Joined(ANN))
    speaking = bench.tell(m.SpeakersChanged((m.Speaker("PA_1", 0.5, True), m.Speaker("PA_unknown", 1.0, True))))
    assert speaking == [ev.ActiveSpeakersChanged((("ann", 0.5),))]
    told = bench.tell(Left(ANN, m.DisconnectReason.CLIENT_INITIATED))
    assert told[-1] == ev.ActiveSpeakersChanged(())
    assert bench.room.active_speakers == ()


async def test_connection_quality_is_told_when_it_changes(bench: Bench) -> None:
    bench.tell(Joined(ANN))
    ann = bench.room.participants["ann"]
    assert ann.connection_quality is None
    good = m.ConnectionQualityUpdate((("PA_1", m.ConnectionQuality.GOOD), ("PA_x", m.ConnectionQuality.LOST)))
    assert bench.tell(good, good) == [ev.ConnectionQualityChanged(ann, lk.ConnectionQuality.GOOD)]
    assert ann.connection_quality is lk.ConnectionQuality.GOOD


async def test_a_room_update_may_change_metadata_and_counters_at_once(bench: Bench) -> None:
    info = m.RoomInfo("RM_1", "room", metadata="new", num_participants=3)
    assert bench.tell(m.RoomUpdate(info)) == [ev.RoomMetadataChanged("", "new"), ev.RoomInfoChanged(info)]
    assert bench.tell(m.RoomUpdate(info)) == []


async def test_a_participant_becomes_active_once(bench: Bench) -> None:
    bench.tell(Joined(ANN))
    ann = bench.room.participants["ann"]
    assert not ann.is_active
    active = m.ParticipantInfo("PA_1", "ann", state=m.ParticipantState.ACTIVE)
    assert bench.tell(Changed(ANN, active), Changed(active, active)) == [ev.ParticipantActive(ann)]
    assert ann.is_active


async def test_recording_is_told(bench: Bench) -> None:
    info = m.RoomInfo("RM_1", "room", active_recording=True)
    assert bench.tell(m.RoomUpdate(info)) == [ev.RecordingStatusChanged(True), ev.RoomInfoChanged(info)]
    assert bench.room.is_recording


async def test_the_number_of_a_room_may_come_late(bench: Bench, nursery: trio.Nursery) -> None:
    found: list[str] = []

    async def wait() -> None:
        found.append(await bench.room.wait_sid())

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    bench.tell(m.RoomUpdate(m.RoomInfo("RM_1", "room")))
    await trio.testing.wait_all_tasks_blocked()
    assert found == ["RM_1"]


async def test_a_server_that_takes_one_to_another_room(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server.server
    me = server.token("alice", room_name)
    async with (
        lk.connect(server.url, server.token("bob", room_name)),
        lk.connect(server.url, me) as alice,
        alice.events() as events,
    ):
        _, participant = server._find(room_name, "alice")
        there = m.ParticipantInfo("PA_there", "carol", state=m.ParticipantState.ACTIVE)
        moved = m.RoomMoved(m.RoomInfo("RM_2", "elsewhere"), me, participant.info(), (there,))
        server._hub.deliver([(participant, moved)])
        seen: list[object] = []
        with trio.fail_after(5):
            while not seen or not isinstance(seen[-1], ev.ParticipantConnected):
                event = await events.receive()
                if not isinstance(event, (ev.TokenRefreshed, ev.ParticipantActive)):
                    seen.append(event)
        kinds = [ev.ParticipantDisconnected, ev.RoomInfoChanged, ev.RoomMoved, ev.ParticipantConnected]
        assert [type(event) for event in seen] == kinds
        assert seen[2] == ev.RoomMoved(room_name, "elsewhere")
        assert (alice.name, alice.sid, list(alice.participants)) == ("elsewhere", "RM_2", ["carol"])


async def test_a_room_that_ends_while_somebody_begins_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    room = lk.Room()

    async def checkpoint() -> None:
        room._view.end(None)

    with monkeypatch.context() as patch:
        patch.setattr(trio.lowlevel, "checkpoint", checkpoint)
        with pytest.raises(trio.ClosedResourceError):
            async with room.events():
                pytest.fail("events that never come, and never end")


async def test_several_readers_of_one_listener_are_told_once_of_what_they_missed() -> None:
    room, told = lk.Room(), []
    async with room.events(buffer_size=1) as events, trio.open_nursery() as nursery:
        for number in range(3):
            room._view.on_session_event(m.RoomUpdate(m.RoomInfo(metadata=str(number))))

        async def read() -> None:
            told.append(await events.receive())

        for _ in range(2):
            nursery.start_soon(read)
    missed = [event for event in told if isinstance(event, ev.EventsMissed)]
    assert [event.count for event in missed] == [events._mailbox.displaced]

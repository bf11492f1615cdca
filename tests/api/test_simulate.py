"""The faults that servers act out on request, and those acted out here: what a client makes of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.reconnecting import QUICK, flowing, until_reconnected
from trio_livekit import events as ev
from trio_livekit._sansio.signal import messages as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.reconnecting import Flow
    from tests.support.servers import EmbeddedServer, RealServer, ServerUnderTest

Scenario = lk.SimulateScenario


class Stage:
    """Alice, who has the faults, and frames that flow from her to bob and back."""

    def __init__(self, alice: lk.Room, events: lk.RoomEvents, up: Flow, down: Flow) -> None:
        self.alice = alice
        self.events = events
        self.up = up
        self.down = down

    async def flows(self) -> None:
        await self.up.flows()
        await self.down.flows()

    async def works_again(self) -> None:
        """In a new session: what alice publishes is another track to bob."""
        await self.down.flows_again()
        with trio.fail_after(10):
            await self.up.remote.wait_unpublished()
            await self.up.track.send(b"published again")

    async def nothing_happened(self) -> None:
        """Frames flow, and were not interrupted."""
        await self.up.flows_again()
        await self.down.flows_again()
        assert self.alice.state is lk.ConnectionState.CONNECTED
        assert not any(isinstance(event, ev.Reconnecting) for event in self.seen())

    def seen(self) -> list[ev.RoomEvent]:
        mailbox = self.events._mailbox
        return [mailbox.get_nowait() for _ in range(len(mailbox))]


@pytest.fixture
async def stage(server: ServerUnderTest, room_name: str) -> AsyncIterator[Stage]:
    async with (
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        lk.connect(server.url, server.token("alice", room_name), reconnect=QUICK) as alice,
        alice.events() as events,
        flowing(alice, bob) as up,
        flowing(bob, alice) as down,
    ):
        yield Stage(alice, events, up, down)


async def test_signal_reconnect(stage: Stage) -> None:
    sid = stage.alice.local_participant.sid
    await stage.flows()
    await stage.alice.simulate(Scenario.SIGNAL_RECONNECT)
    await stage.flows()
    await until_reconnected(stage.events, resumed=True)
    await stage.flows()
    assert stage.alice.local_participant.sid == sid


async def test_full_reconnect(stage: Stage) -> None:
    sid = stage.alice.local_participant.sid
    await stage.alice.simulate(Scenario.FULL_RECONNECT)
    await until_reconnected(stage.events, resumed=False)
    await stage.works_again()
    assert stage.alice.local_participant.sid != sid


@pytest.mark.parametrize("scenario", [Scenario.NODE_FAILURE, Scenario.MIGRATION])
async def test_a_server_that_forgets(stage: Stage, scenario: lk.SimulateScenario) -> None:
    await stage.alice.simulate(scenario)
    await until_reconnected(stage.events, resumed=False)
    await stage.works_again()


async def test_server_leave(server: ServerUnderTest, room_name: str) -> None:
    with trio.fail_after(10), pytest.raises(lk.RoomDisconnected) as error:
        async with lk.connect(server.url, server.token("alice", room_name)) as room:
            await room.simulate(Scenario.SERVER_LEAVE)
            await trio.sleep_forever()
    assert error.value.reason is room.disconnect_reason is lk.DisconnectReason.SERVER_SHUTDOWN
    words = "disconnected from the room (SERVER_SHUTDOWN): the server ended the session, as it shuts down"
    assert str(error.value) == words
    with pytest.raises(lk.RoomDisconnected):
        await room.simulate(Scenario.SERVER_LEAVE)


async def test_speaker_update(stage: Stage) -> None:
    await stage.alice.simulate(Scenario.SPEAKER_UPDATE, 0)
    with trio.fail_after(5):
        while not isinstance(event := await stage.events.receive(), ev.ActiveSpeakersChanged):
            pass
    ((identity, level),) = event.speakers
    assert identity == "alice"
    assert 0 < level <= 1
    await stage.nothing_happened()


@pytest.mark.parametrize("protocol", [0, 1, 2])
async def test_switch_candidate_protocol(stage: Stage, protocol: int) -> None:
    """With one peer connection the server changes its mind alone; the working path stays."""
    await stage.alice.simulate(Scenario.SWITCH_CANDIDATE_PROTOCOL, protocol)
    await stage.nothing_happened()


async def test_subscriber_bandwidth(stage: Stage) -> None:
    await stage.alice.simulate(Scenario.SUBSCRIBER_BANDWIDTH, 1000)
    await stage.nothing_happened()


async def test_disconnect_signal_on_resume(stage: Stage) -> None:
    """The first resumption is answered and lost again; the second one holds. Frames do not notice."""
    await stage.flows()
    await stage.alice.simulate(Scenario.DISCONNECT_SIGNAL_ON_RESUME)
    await trio.sleep(0.05)  # for the server to have heard it
    await stage.alice.simulate(Scenario.SIGNAL_RECONNECT)
    await until_reconnected(stage.events, resumed=True)
    await stage.flows()
    with trio.move_on_after(0.3):  # where the server's last words were in time, it looked well for a moment
        while True:
            await stage.events.receive()
    with trio.fail_after(10):
        await stage.alice.wait_connected()
    await stage.flows()


async def test_disconnect_signal_on_resume_no_messages(stage: Stage) -> None:
    await stage.flows()
    sid = stage.alice.local_participant.sid
    await stage.alice.simulate(Scenario.DISCONNECT_SIGNAL_ON_RESUME_NO_MESSAGES)
    await trio.sleep(0.05)
    await stage.alice.simulate(Scenario.SIGNAL_RECONNECT)
    await until_reconnected(stage.events, resumed=True)
    await stage.flows()
    assert stage.alice.local_participant.sid == sid


async def test_a_leave_request_for_a_full_reconnect(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    async with lk.connect(server.url, server.token("alice", room_name), reconnect=QUICK) as alice:
        async with alice.events() as events:
            await alice.simulate(Scenario.LEAVE_REQUEST_FULL_RECONNECT)
            await until_reconnected(events, resumed=False)


async def test_the_real_cause_of_a_full_reconnect(server: ServerUnderTest, room_name: str) -> None:
    """What this client believes to have published is not what the server knows of: it has to begin anew."""
    async with lk.connect(server.url, server.token("alice", room_name), reconnect=QUICK) as alice:
        async with alice.events() as events, alice.publish_data_track("track") as track:
            unknown = m.DataTrackInfo(9, "DTR_unknown", "unknown")
            alice._session.send_request(m.SyncState(data_tracks=(unknown,)))
            await until_reconnected(events, resumed=False)
            await track.send(b"published again")


async def test_a_livekit_server_ignores_the_request_for_a_full_reconnect(
    real_server: RealServer, room_name: str
) -> None:
    async with lk.connect(real_server.url, real_server.token("alice", room_name)) as alice:
        async with alice.publish_data_track("track"):
            await alice.simulate(Scenario.LEAVE_REQUEST_FULL_RECONNECT)
        assert alice.state is lk.ConnectionState.CONNECTED


async def test_faults_are_not_added_to_faults(stage: Stage) -> None:
    """While the room reconnects, this waits."""
    await stage.alice.simulate(Scenario.SIGNAL_RECONNECT)
    while stage.alice.state is lk.ConnectionState.CONNECTED:
        await trio.lowlevel.checkpoint()
    await stage.alice.simulate(Scenario.SIGNAL_RECONNECT)
    await until_reconnected(stage.events, resumed=True)
    await until_reconnected(stage.events, resumed=True)
    await stage.flows()

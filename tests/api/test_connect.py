"""Joining a room, being refused, losing it, and what one learns of the others while in it."""

from __future__ import annotations

import errno
import os
import time
import traceback
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.server.clients import signal_client
from tests.support import room_service
from tests.support.leaks import nothing_left_behind
from tests.support.livekit import free_port
from tests.support.old_server import without_v1
from tests.support.rooms import next_event
from trio_livekit import events as ev
from trio_livekit._sansio.signal.messages import Capability, UpdateMetadata
from trio_livekit.server import Limits, serve
from trio_livekit.tokens import VideoGrants, access_token

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.servers import EmbeddedServer, RealServer, ServerUnderTest

Reason = lk.ConnectErrorReason


async def refusal(url: str, token: str, **options: float) -> lk.ConnectError:
    """The error that connecting ends with; nothing may be left of the attempt."""
    async with nothing_left_behind():
        with pytest.raises(lk.ConnectError) as error:
            async with lk.connect(url, token, **options):
                pytest.fail("connected")
    return error.value


@pytest.mark.skipif(resource is None, reason="limits are POSIX")
async def test_running_out_of_files_at_every_step(real_server: RealServer, room_name: str) -> None:
    """An error that says so, everything released, and the next connect works."""
    token = real_server.token("alice", room_name)
    async with lk.connect(real_server.url, token):
        pass  # what is opened once for all
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for spare in range(12):
        error: BaseException | None = None
        async with nothing_left_behind():
            await trio.lowlevel.checkpoint()
            lowest_free = os.dup(0)
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + spare, hard))
            try:
                async with lk.connect(real_server.url, token):
                    pass
            except lk.ConnectError as exc:
                error = exc.__cause__
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if spare == 0 or error is not None:
            assert isinstance(error, OSError)
            assert error.errno == errno.EMFILE
            async with lk.connect(real_server.url, token):
                pass
    assert error is None


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:7880",
        "ftp://localhost",
        "ws://",
        "wss:///path",
        "ws://[::1",
        "ws://localhost:port",
        "ws://localhost:99999",
        "ws://user:password@localhost",
        "ws://localhost?token=x",
        "ws://localhost#x",
        "ws://" + "a" * 64 + ".example",
        "ws://exa mple",
        "ws://a..b",
        None,
        b"ws://localhost",
    ],
)
async def test_what_is_no_server_url(url: str) -> None:
    error = await refusal(url, "token")
    assert error.reason is Reason.INVALID_URL
    assert error.status is None
    assert "password" not in str(error)


def tokens_that_do_not_open(server: ServerUnderTest) -> dict[str, str]:
    make = partial(access_token, identity="eve", room="room")
    key, secret = server.api_key, server.api_secret
    return {
        "another secret": make(key, "another secret, that the server does not know"),
        "another key": make("no-such-key", secret),
        "expired": make(key, secret, now=time.time() - 3600, ttl_s=60),
        "no grant": make(key, secret, grants=VideoGrants(room_join=False)),
        "no JWT": "nonsense",
        "cut": make(key, secret)[:-5],
    }


@pytest.mark.parametrize("which", ["another secret", "another key", "expired", "no grant", "no JWT", "cut"])
async def test_a_token_that_does_not_open_the_room(server: ServerUnderTest, which: str) -> None:
    token = tokens_that_do_not_open(server)[which]
    error = await refusal(server.url, token)
    assert (error.reason, error.status) == (Reason.NOT_ALLOWED, 401)
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    for part in token.split("."):
        assert part not in told


@pytest.mark.parametrize("token", ["", "a token\r\nX-Evil: 1", "tökén"])
async def test_what_is_no_token_is_not_sent(token: str) -> None:
    error = await refusal("ws://127.0.0.1:1", token)
    assert (error.reason, error.status) == (Reason.NOT_ALLOWED, None)


async def test_nobody_listens() -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    error = await refusal(url, "token")
    assert error.reason is Reason.UNREACHABLE
    assert str(error) == f"cannot reach {url}: Connection refused"


async def test_no_such_host() -> None:
    error = await refusal("ws://no-such-host.invalid", "token")
    assert error.reason is Reason.UNREACHABLE
    assert str(error).startswith("cannot reach ws://no-such-host.invalid: ")


async def test_tls_to_a_server_that_speaks_none(server: ServerUnderTest) -> None:
    url = server.url.replace("ws:", "wss:")
    error = await refusal(url, "token")
    assert error.reason is Reason.UNREACHABLE
    assert str(error) == f"cannot reach {url}: the server does not speak TLS: perhaps it is {server.url}?"


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",  # an alert: protocol_version
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",  # Go
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 60\r\nConnection: close\r\n\r\n"
        b"<center>The plain HTTP request was sent to HTTPS port</center>",  # nginx
    ],
)
async def test_no_tls_to_a_server_that_wants_it(answer: bytes) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with tcp_server(handle) as url:
        error = await refusal(url, "token")
        diagnosis = await lk.diagnose(url, "token", timeout_s=5)
    assert error.reason is Reason.UNREACHABLE
    secure = url.replace("ws:", "wss:")
    assert (
        str(error)
        == diagnosis.checks[-1].detail
        == f"cannot reach {url}: the server speaks TLS: perhaps it is {secure}?"
    )


@asynccontextmanager
async def tcp_server(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!", Reason.UNREACHABLE, 404),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 29\r\n\r\nrequested room does not exist",
            Reason.ROOM_NOT_FOUND,
            404,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Reason.SERVER_ERROR, 200),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", Reason.SERVER_ERROR, 302),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Reason.NOT_ALLOWED, 403),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad", Reason.INVALID_REQUEST, 400),
        (b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", Reason.SERVER_ERROR, 503),
        (b"HTTP/1.0 503 Unavailable\r\n\r\nuntil the connection ends", Reason.SERVER_ERROR, 503),
        (b"HTTP/1.1 4", Reason.UNREACHABLE, None),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Reason.UNREACHABLE, None),
        (b"", Reason.UNREACHABLE, None),
    ],
)
async def test_a_server_of_another_kind(answer: bytes, reason: lk.ConnectErrorReason, status: int | None) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with tcp_server(handle) as url:
        error = await refusal(url, "token")
    assert (error.reason, error.status) == (reason, status)


async def test_a_server_that_accepts_and_says_nothing() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass

    async with tcp_server(handle) as url:
        error = await refusal(url, "token", join_timeout=0.05)
    assert error.reason is Reason.TIMEOUT


async def test_a_full_room(real_server: RealServer, room_name: str) -> None:
    await room_service.call(real_server.process, "CreateRoom", name=room_name, room=room_name, max_participants=1)
    async with lk.connect(real_server.url, real_server.token("first", room_name)):
        error = await refusal(real_server.url, real_server.token("second", room_name))
    assert (error.reason, error.status) == (Reason.ROOM_REFUSED, 500)


async def test_a_full_room_of_the_embedded_server() -> None:
    async with serve(limits=Limits(participants_per_room=1)) as server:
        async with lk.connect(server.url, server.token("first", "room")):
            error = await refusal(server.url, server.token("second", "room"))
    assert (error.reason, error.status) == (Reason.ROOM_REFUSED, 500)


# --- joined -----------------------------------------------------------------------------------------------------------


async def test_who_and_where_one_is(server: ServerUnderTest, room_name: str) -> None:
    token = server.token("alice", room_name, name="Alice", metadata="about alice", attributes={"team": "red"})
    async with lk.connect(server.url, token) as room:
        me = room.local_participant
        assert (me.identity, me.name, me.metadata, dict(me.attributes)) == (
            "alice",
            "Alice",
            "about alice",
            {"team": "red"},
        )
        assert me.sid.startswith("PA_")
        assert me.kind is lk.ParticipantKind.STANDARD
        assert me.permission is not None
        assert me.permission.can_publish_data
        assert room.name == room.info.name == room_name
        assert room.server_version
        assert dict(room.participants) == {}
        async with lk.connect(server.url, server.token("bob", room_name)) as second:
            alice = second.participants["alice"]
            assert (alice.sid, alice.name, alice.metadata) == (me.sid, "Alice", "about alice")
            with pytest.raises(TypeError):
                second.participants["mallory"] = alice  # type: ignore[index]


@pytest.mark.parametrize("change", [("ws:", "http:"), ("", "")])
async def test_url_forms(server: ServerUnderTest, room_name: str, change: tuple[str, str]) -> None:
    async with lk.connect(server.url.replace(*change) + "/", server.token("alice", room_name)) as room:
        assert room.name == room_name


async def test_identities_and_rooms_of_all_characters(server: ServerUnderTest, room_name: str) -> None:
    identity, name = "Ünïcode / ? # & 🤖", f"{room_name} ☂ ?&#/"
    async with lk.connect(server.url, server.token(identity, name)) as room:
        assert (room.local_participant.identity, room.name) == (identity, name)


async def test_an_older_server_with_two_peer_connections(server: ServerUnderTest, room_name: str) -> None:
    async with (
        without_v1(server.url) as url,
        lk.connect(url, server.token("alice", room_name)) as alice,
        lk.connect(url, server.token("bob", room_name)) as bob,
        alice.publish_data_track("track") as track,
    ):
        remote = await (await bob.wait_for_participant("alice")).data_tracks.wait_for("track")
        async with remote.subscribe() as frames:
            for size in (1, 1000, 50_000):
                track.try_push(bytes(size))
                assert len((await frames.receive()).payload) == size


@pytest.mark.parametrize("two_connections", [False, True])
async def test_the_others_are_told_what_this_client_can_do(
    server: ServerUnderTest, room_name: str, two_connections: bool
) -> None:
    """They send it streams in the form that fits."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(without_v1(server.url)) if two_connections else server.url
        alice = await stack.enter_async_context(lk.connect(url, server.token("alice", room_name)))
        bob = await stack.enter_async_context(lk.connect(url, server.token("bob", room_name)))
        alice_info = (await bob.wait_for_participant("alice"))._info
        for info in (alice.local_participant._info, alice_info):
            assert (info.client_protocol, info.capabilities) == (2, (Capability.COMPRESSION_DEFLATE_RAW,))


async def test_leaving_an_older_server_leaves_nothing(server: ServerUnderTest, room_name: str) -> None:
    async with without_v1(server.url) as url:
        for _ in range(2):
            async with lk.connect(url, server.token("alice", room_name)):
                pass
            await server.wait_gone(room_name, "alice")


async def test_waiting_for_a_participant(server: ServerUnderTest, room_name: str) -> None:
    found: list[lk.RemoteParticipant] = []

    async def wait(room: lk.Room) -> None:
        found.append(await room.wait_for_participant("bob"))

    async with lk.connect(server.url, server.token("alice", room_name)) as alice, trio.open_nursery() as nursery:
        nursery.start_soon(wait, alice)
        async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.publish_data_track("here"):
            found.append(await alice.wait_for_participant("bob"))
    assert found[0] is found[1]


async def test_others_see_one_come_and_go(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as alice, alice.events() as events:
        async with lk.connect(server.url, server.token("bob", room_name)) as bob, bob.publish_data_track("here"):
            connected = await next_event(events, ev.ParticipantConnected)
            assert connected.participant.identity == "bob"
        disconnected = await next_event(events, ev.ParticipantDisconnected)
        assert disconnected.participant is connected.participant
        assert disconnected.reason is lk.DisconnectReason.CLIENT_INITIATED
        assert dict(alice.participants) == {}


async def test_leaving_leaves_nothing_and_the_identity_is_free_at_once(server: ServerUnderTest, room_name: str) -> None:
    for _ in range(3):
        async with lk.connect(server.url, server.token("alice", room_name)):
            pass
        await server.wait_gone(room_name, "alice")


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_changes_of_a_participant_come_one_by_one(server: ServerUnderTest, room_name: str) -> None:
    token = server.token(
        "bob", room_name, name="Bob", attributes={"kept": "1", "gone": "2"}, can_update_own_metadata=True
    )
    async with signal_client(server, token=token) as bob:  # type: ignore[arg-type]
        async with lk.connect(server.url, server.token("alice", room_name)) as alice, alice.events() as events:
            participant = await alice.wait_for_participant("bob")
            seen: list[object] = []
            for change in (
                UpdateMetadata(1, name="Robert"),
                UpdateMetadata(2, metadata="new"),
                UpdateMetadata(3, attributes={"kept": "changed", "gone": "", "new": "3"}),
            ):
                await bob.send(change)
                seen.append(await _next_change(events))
            assert seen == [
                ev.ParticipantNameChanged(participant, "Bob"),
                ev.ParticipantMetadataChanged(participant, ""),
                ev.ParticipantAttributesChanged(participant, {"kept": "changed", "gone": None, "new": "3"}),
            ]
            assert (participant.name, participant.metadata) == ("Robert", "new")
            assert dict(participant.attributes) == {"kept": "changed", "new": "3"}


async def _next_change(events: lk.RoomEvents) -> object:
    """The next event that is about a change of a participant's."""
    about = (
        ev.ParticipantNameChanged
        | ev.ParticipantMetadataChanged
        | ev.ParticipantAttributesChanged
        | ev.ParticipantPermissionsChanged
    )
    return await next_event(events, about)  # type: ignore[arg-type]


async def test_a_change_of_permissions(server: ServerUnderTest, room_name: str) -> None:
    async with (
        lk.connect(server.url, server.token("alice", room_name)) as alice,
        lk.connect(server.url, server.token("bob", room_name)) as bob,
        alice.events() as own,
        bob.events() as others,
    ):
        with pytest.raises(lk.PublishError):
            async with alice.publish_data_track("so that bob is told of alice at once"):
                await bob.wait_for_participant("alice")
                await server.revoke_publishing(room_name, "alice")
                await trio.sleep_forever()
        for events in (own, others):
            changed = await next_event(events, ev.ParticipantPermissionsChanged)
            assert changed.participant.identity == "alice"
            assert changed.old_permission is not None
            assert changed.old_permission.can_publish_data
            assert changed.participant.permission is not None
            assert not changed.participant.permission.can_publish_data


async def test_room_metadata(server: ServerUnderTest, room_name: str) -> None:
    async with lk.connect(server.url, server.token("alice", room_name)) as room, room.events() as events:
        await server.update_room_metadata(room_name, "first")
        assert await next_event(events, ev.RoomMetadataChanged) == ev.RoomMetadataChanged("", "first")
        await server.update_room_metadata(room_name, "second")
        assert await next_event(events, ev.RoomMetadataChanged) == ev.RoomMetadataChanged("first", "second")
        assert room.metadata == "second"


async def test_an_event_reader_that_falls_behind_is_told(embedded_server: EmbeddedServer, room_name: str) -> None:
    server = embedded_server
    async with lk.connect(server.url, server.token("alice", room_name)) as room:
        async with room.events(buffer_size=2) as slow, room.events() as fast:
            for number in range(1, 6):
                await server.update_room_metadata(room_name, str(number))
            for _ in range(5):
                await next_event(fast, ev.RoomMetadataChanged)
            with trio.CancelScope() as scope:
                scope.cancel()
                await slow.receive()
            assert scope.cancelled_caught  # which loses neither the news nor the events
            missed = await slow.receive()
            assert isinstance(missed, ev.EventsMissed)
            assert missed.count >= 3
            assert [await slow.receive(), await slow.receive()] == [
                ev.RoomMetadataChanged("3", "4"),
                ev.RoomMetadataChanged("4", "5"),
            ]
            await slow.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await slow.receive()
        with pytest.raises(ValueError, match="at least 1"):
            async with room.events(buffer_size=0):
                pass


# --- lost -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def losing(server: ServerUnderTest, room_name: str, reason: lk.DisconnectReason) -> AsyncIterator[lk.Room]:
    """A room that is lost for this reason while the block waits."""
    with pytest.raises(lk.RoomDisconnected) as error:
        async with lk.connect(server.url, server.token("alice", room_name)) as room:
            yield room
            await trio.sleep_forever()
    assert error.value.reason is reason
    assert reason.name in str(error.value)
    assert error.value.__cause__ is None
    with pytest.raises(lk.RoomDisconnected):
        await room.wait_for_participant("bob")


async def test_a_removed_participant(server: ServerUnderTest, room_name: str) -> None:
    async with losing(server, room_name, lk.DisconnectReason.PARTICIPANT_REMOVED):
        await server.remove_participant(room_name, "alice")


async def test_a_deleted_room(server: ServerUnderTest, room_name: str) -> None:
    async with losing(server, room_name, lk.DisconnectReason.ROOM_DELETED):
        await server.delete_room(room_name)


async def test_a_duplicate_identity(server: ServerUnderTest, room_name: str) -> None:
    second_is_in, first_is_out = trio.Event(), trio.Event()

    async def second() -> None:
        async with lk.connect(server.url, server.token("alice", room_name)) as room:
            second_is_in.set()
            await first_is_out.wait()
            async with room.publish_data_track("works"):
                pass

    async with trio.open_nursery() as nursery:
        async with losing(server, room_name, lk.DisconnectReason.DUPLICATE_IDENTITY):
            nursery.start_soon(second)
        await second_is_in.wait()
        first_is_out.set()


async def test_a_server_that_ends(room_name: str) -> None:
    end, url_of = trio.Event(), {}

    async def run(task_status: trio.TaskStatus[None]) -> None:
        async with serve() as server:
            url_of["server"], url_of["token"] = server.url, server.token("alice", room_name)
            task_status.started()
            await end.wait()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        with pytest.raises(lk.RoomDisconnected) as error:
            async with lk.connect(url_of["server"], url_of["token"]):
                end.set()
                await trio.sleep_forever()
    assert error.value.reason is lk.DisconnectReason.SERVER_SHUTDOWN

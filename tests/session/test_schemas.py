"""Definitions of schemas, with a server that says what the test wants it to say, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.session.fakes import Upstream
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.inquiries import Inquiries
from trio_livekit._session.schemas import Schemas
from trio_livekit.errors import RoomDisconnected, SchemaError, SchemaErrorReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

SCHEMA = m.DataTrackSchema("point", m.SchemaEncoding.PROTOBUF)
OTHER = m.DataTrackSchema("line", m.SchemaEncoding.PROTOBUF)


class Bench:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.upstream = Upstream()
        self.requests = self.upstream.requests
        self.inquiries = Inquiries(self.upstream)
        self.schemas = Schemas(self.inquiries, nursery, lambda: "me")
        self._nursery = nursery

    async def begin(self, call: Callable[[], Awaitable[object]]) -> list[object]:
        """Start a call; its result, or its error, will be in the list."""
        outcome: list[object] = []

        async def run() -> None:
            try:
                outcome.append(await call())
            except Exception as error:
                outcome.append(error)

        self._nursery.start_soon(run)
        await wait_all_tasks_blocked()
        return outcome

    async def define(self, schema: m.DataTrackSchema = SCHEMA, definition: str = "x") -> list[object]:
        return await self.begin(lambda: self.schemas.define(schema, definition))

    async def answer(self, answer: m.RequestResponse | m.DataBlobStored | m.DataBlobFetched) -> None:
        self.inquiries.on_answer(answer)
        await wait_all_tasks_blocked()

    async def stored(self, number: int, schema: m.DataTrackSchema = SCHEMA) -> None:
        await self.answer(m.DataBlobStored(number, schema))

    def reconnect(self, *, new_session: bool) -> None:
        """As a session does it."""
        self.inquiries.on_signal_lost()
        self.inquiries.on_connected()
        if new_session:
            self.schemas.on_new_session()


@pytest.fixture
def bench(nursery: trio.Nursery) -> Bench:
    return Bench(nursery)


def reason_of(outcome: list[object]) -> SchemaErrorReason:
    (error,) = outcome
    assert isinstance(error, SchemaError)
    return error.reason


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        (m.RequestReason.NOT_FOUND, SchemaErrorReason.NOT_FOUND),
        (m.RequestReason.NOT_ALLOWED, SchemaErrorReason.NOT_ALLOWED),
        (m.RequestReason.LIMIT_EXCEEDED, SchemaErrorReason.LIMIT_EXCEEDED),
        (m.RequestReason.INVALID_REQUEST, SchemaErrorReason.INVALID),
        (m.RequestReason.DUPLICATE_NAME, SchemaErrorReason.UNKNOWN),
        (m.RequestReason(77), SchemaErrorReason.UNKNOWN),
    ],
)
async def test_every_refusal_has_a_type(bench: Bench, reason: m.RequestReason, meaning: SchemaErrorReason) -> None:
    outcomes = [await bench.define(), await bench.begin(lambda: bench.schemas.get(SCHEMA, "ann"))]
    for number, outcome in enumerate(outcomes, 1):
        await bench.answer(m.RequestResponse(number, reason, "the server's words"))
        (error,) = outcome
        assert isinstance(error, SchemaError)
        assert (error.reason, error.code, error.server_message) == (meaning, int(reason), "the server's words")
        assert "the server's words" in str(error)
    bench.reconnect(new_session=True)  # what was refused is not asked for again
    assert len(bench.requests) == 2


async def test_a_server_that_does_not_answer(bench: Bench, autojump_clock: MockClock) -> None:
    for call in (lambda: bench.schemas.define(SCHEMA, "x"), lambda: bench.schemas.get(SCHEMA, "ann")):
        started = trio.current_time()
        with pytest.raises(SchemaError, match="did not answer within 5 s") as error:
            await call()
        assert error.value.reason is SchemaErrorReason.TIMEOUT
        assert trio.current_time() - started == pytest.approx(5.0)


@pytest.mark.parametrize("end", [RoomDisconnected(m.DisconnectReason.ROOM_CLOSED), trio.ClosedResourceError("left")])
async def test_the_session_ends_while_an_answer_is_awaited(bench: Bench, end: Exception) -> None:
    outcomes = [await bench.define(), await bench.begin(lambda: bench.schemas.get(SCHEMA, "ann"))]
    bench.inquiries.close(end)
    await wait_all_tasks_blocked()
    outcomes.append(await bench.define())
    for (error,) in outcomes:
        assert type(error) is type(end)
        assert error is not end
    assert len(bench.requests) == 2


async def test_answers_that_make_no_sense(bench: Bench) -> None:
    got = await bench.begin(lambda: bench.schemas.get(SCHEMA, "ann"))
    await bench.stored(1)
    assert reason_of(got) is SchemaErrorReason.UNKNOWN
    got = await bench.begin(lambda: bench.schemas.get(SCHEMA, "ann"))
    await bench.answer(m.DataBlobFetched(99, SCHEMA, b"for nobody"))
    await bench.answer(m.DataBlobFetched(2, SCHEMA, b"\xff"))
    assert reason_of(got) is SchemaErrorReason.NOT_TEXT


async def test_a_repeated_request_whose_first_answer_was_lost(bench: Bench) -> None:
    """The server has it, and says that there is no room for it: it counts what would be replaced."""
    outcome = await bench.define()
    bench.reconnect(new_session=False)
    await bench.answer(m.RequestResponse(1, m.RequestReason.LIMIT_EXCEEDED))
    assert bench.requests == [m.StoreDataBlob(1, SCHEMA, b"x")] * 2 + [m.GetDataBlob(2, "me", SCHEMA)]
    await bench.answer(m.DataBlobFetched(2, SCHEMA, b"x"))
    assert outcome == [None]

    outcome = await bench.define(SCHEMA, "y")
    bench.reconnect(new_session=False)
    await bench.answer(m.RequestResponse(3, m.RequestReason.LIMIT_EXCEEDED))
    await bench.answer(m.DataBlobFetched(4, SCHEMA, b"x"))
    assert reason_of(outcome) is SchemaErrorReason.LIMIT_EXCEEDED


async def test_another_session_is_told_what_is_defined(bench: Bench) -> None:
    await bench.define()
    await bench.stored(1)
    await bench.define(OTHER, "old")
    await bench.stored(2, OTHER)
    outcome = await bench.define(OTHER, "new")
    del bench.requests[:]
    bench.reconnect(new_session=True)
    # What was in flight is sent again, and only the new definition of it.
    assert bench.requests == [m.StoreDataBlob(3, OTHER, b"new"), m.StoreDataBlob(4, SCHEMA, b"x")]
    await bench.stored(3, OTHER)
    assert outcome == [None]
    bench.reconnect(new_session=True)  # and once more, with an answer missing
    assert bench.requests[2:] == [m.StoreDataBlob(4, SCHEMA, b"x"), m.StoreDataBlob(5, OTHER, b"new")]
    await bench.stored(4)
    await bench.stored(5, OTHER)
    bench.reconnect(new_session=False)
    assert len(bench.requests) == 4


async def test_what_another_session_refuses_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.define()
    await bench.stored(1)
    bench.reconnect(new_session=True)
    await wait_all_tasks_blocked()
    await bench.answer(m.RequestResponse(2, m.RequestReason.NOT_ALLOWED))
    assert "the schema 'point' could not be defined again" in caplog.text


async def test_the_session_ends_while_schemas_are_defined_again(bench: Bench) -> None:
    await bench.define()
    await bench.stored(1)
    bench.reconnect(new_session=True)
    await wait_all_tasks_blocked()
    bench.inquiries.close(RoomDisconnected(m.DisconnectReason.ROOM_CLOSED))
    await wait_all_tasks_blocked()  # and nothing comes out of the task


async def test_a_failed_replacement_leaves_the_old_definition(bench: Bench) -> None:
    await bench.define(definition="old")
    await bench.stored(1)
    outcome = await bench.define(definition="new")
    await bench.answer(m.RequestResponse(2, m.RequestReason.LIMIT_EXCEEDED))
    assert reason_of(outcome) is SchemaErrorReason.LIMIT_EXCEEDED
    bench.reconnect(new_session=True)
    assert bench.requests[2:] == [m.StoreDataBlob(3, SCHEMA, b"old")]


async def test_a_definition_that_is_cancelled_is_forgotten(bench: Bench, autojump_clock: MockClock) -> None:
    for limit in (0, 1):
        with trio.move_on_after(limit) as bound:
            await bench.schemas.define(SCHEMA, "x")
        assert bound.cancelled_caught
    bench.reconnect(new_session=True)
    assert bench.requests == [m.StoreDataBlob(1, SCHEMA, b"x")]


async def test_no_more_than_32_are_in_flight(bench: Bench) -> None:
    schemas = [m.DataTrackSchema(str(number), m.SchemaEncoding.PROTOBUF) for number in range(34)]
    outcomes = [await bench.define(schema) for schema in schemas]
    assert len(bench.requests) == 32
    await bench.stored(5)
    assert len(bench.requests) == 33
    bench.inquiries.on_signal_lost()
    await bench.stored(6)
    assert len(bench.requests) == 33
    bench.inquiries.on_connected()
    assert len(bench.requests) == 33 + 31 + 1
    bench.inquiries.close(trio.ClosedResourceError("left"))
    await wait_all_tasks_blocked()
    assert all(outcomes)
    assert len(bench.requests) == 65

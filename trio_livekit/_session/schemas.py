"""The definitions of schemas, kept at the server for whoever subscribes: our own, and those of others.

The server keeps a definition as long as the session of its participant. So what is defined is defined again in another
session, before the tracks that refer to it are published there.
"""

from __future__ import annotations

__all__ = ["Schemas"]

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from .._sansio.signal import messages as m
from .._sansio.signal.messages import DataTrackSchema, RequestReason
from ..errors import RoomDisconnected, SchemaError, SchemaErrorReason
from .inquiries import ANSWER_TIMEOUT_S, refusal_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .inquiries import Answer, Inquiries, Inquiry

logger = logging.getLogger(__name__)

_REASONS = {
    RequestReason.NOT_FOUND: SchemaErrorReason.NOT_FOUND,
    RequestReason.NOT_ALLOWED: SchemaErrorReason.NOT_ALLOWED,
    RequestReason.LIMIT_EXCEEDED: SchemaErrorReason.LIMIT_EXCEEDED,
    RequestReason.INVALID_REQUEST: SchemaErrorReason.INVALID,
}

_TEXTS = {
    SchemaErrorReason.NOT_FOUND: "nobody of that identity has defined this schema",
    SchemaErrorReason.NOT_ALLOWED: "the server does not keep schemas (its setting is enable_participant_data_blob)",
    SchemaErrorReason.LIMIT_EXCEEDED: "what this participant has defined would be more than the server keeps",
    SchemaErrorReason.INVALID: "the name, the encoding or the definition is empty or too long",
    SchemaErrorReason.TIMEOUT: f"the server did not answer within {ANSWER_TIMEOUT_S:g} s; LiveKit does from 1.13.3 on",
}


class Schemas:
    """What this participant has defined, and what it asks of others. A task of it may run in ``nursery``."""

    def __init__(self, inquiries: Inquiries, nursery: trio.Nursery, identity: Callable[[], str]) -> None:
        self._inquiries = inquiries
        self._nursery = nursery
        self._identity = identity
        self._definitions: dict[DataTrackSchema, bytes] = {}  # those that are being stored included
        self._latest: dict[DataTrackSchema, Inquiry] = {}

    async def define(self, schema: DataTrackSchema, definition: str) -> None:
        """Have a definition kept; see ``Room.define_schema``."""
        await trio.lowlevel.checkpoint()
        before, contents = self._definitions.get(schema), definition.encode()
        inquiry = self._store(schema, contents)
        self._definitions[schema] = contents
        is_kept = False
        try:
            await self._finish(inquiry, schema, contents)
            is_kept = True
        finally:
            if not is_kept and self._definitions.get(schema) is contents:
                del self._definitions[schema]
                if before is not None:
                    self._definitions[schema] = before

    async def get(self, schema: DataTrackSchema, identity: str) -> str:
        """Get a definition; see ``Room.get_schema``."""
        try:
            return (await self._fetch(schema, identity)).decode()
        except UnicodeDecodeError:
            text = f"what {identity!r} has defined as {schema.name!r} is not text"
            raise SchemaError(SchemaErrorReason.NOT_TEXT, text) from None

    def on_new_session(self) -> None:
        """A server that may know none of our definitions hears us: they go ahead of what refers to them."""
        again = [
            (self._store(schema, contents), schema, contents)
            for schema, contents in self._definitions.items()
            if schema not in self._latest or self._latest[schema].answered.is_set()  # else it is sent again as it is
        ]
        if again:
            self._nursery.start_soon(self._finish_again, again, name="room: schemas")

    def _store(self, schema: DataTrackSchema, contents: bytes) -> Inquiry:
        inquiry = self._inquiries.begin(lambda number: m.StoreDataBlob(number, schema, contents))
        self._latest[schema] = inquiry
        return inquiry

    async def _finish(self, inquiry: Inquiry, schema: DataTrackSchema, contents: bytes) -> None:
        try:
            answer = await self._inquiries.finish(inquiry)
        finally:
            if self._latest.get(schema) is inquiry:
                del self._latest[schema]
        if isinstance(answer, m.DataBlobStored):
            return
        error = _refusal(answer)
        # What is to be replaced counts as well, and perhaps that is this: only the answer to it was lost.
        perhaps = error.reason is SchemaErrorReason.LIMIT_EXCEEDED and inquiry.sent > 1
        if not perhaps or await self._fetch(schema, self._identity()) != contents:
            raise error

    async def _fetch(self, schema: DataTrackSchema, identity: str) -> bytes:
        answer = await self._inquiries.ask(lambda number: m.GetDataBlob(number, identity, schema))
        if isinstance(answer, m.DataBlobFetched):
            return answer.contents
        raise _refusal(answer)

    async def _finish_again(self, again: list[tuple[Inquiry, DataTrackSchema, bytes]]) -> None:
        with suppress(RoomDisconnected, trio.ClosedResourceError):
            for inquiry, schema, contents in again:
                try:
                    await self._finish(inquiry, schema, contents)
                except SchemaError as error:
                    logger.warning("the schema %r could not be defined again: %s", schema.name, error)


def _refusal(answer: Answer | None) -> SchemaError:
    if answer is None:
        return SchemaError(SchemaErrorReason.TIMEOUT, _TEXTS[SchemaErrorReason.TIMEOUT])
    if not isinstance(answer, m.RequestResponse):
        return SchemaError(SchemaErrorReason.UNKNOWN, "the server answered something else")
    reason = _REASONS.get(answer.reason, SchemaErrorReason.UNKNOWN)
    text = refusal_text(answer, _TEXTS.get(reason))
    return SchemaError(reason, text, code=int(answer.reason), server_message=answer.message)

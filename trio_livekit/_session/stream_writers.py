"""A stream on its way out: chunk after chunk as the connection takes them, and in any case an end."""

from __future__ import annotations

__all__ = ["Writer", "settled"]

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from .._sansio.streams.outgoing import OutgoingStream
from ..errors import (
    DeliveryError,
    DeliveryErrorReason,
    LiveKitError,
    PublishDataError,
    PublishDataErrorReason,
    StreamError,
    StreamErrorReason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._sansio.packets.messages import StreamHeader
    from .packets import Packets
    from .receipts import Receipt

_ABORT_TIMEOUT_S = 1.0
"""How long a block that ends badly waits to say so, where there is no room even for short packets."""

Reason = StreamErrorReason


class Writer:
    """One stream of ours, from its header to its trailer.

    Attributes:
        scope: of the block that writes it; cancelled where nothing can come of the stream any more.
        error: why that is.
        is_closed: there is a trailer, of one kind or the other.
        receipt: of the good trailer.
    """

    def __init__(self, packets: Packets, header: StreamHeader, recipients: tuple[str, ...]) -> None:
        self.scope = trio.CancelScope()
        self.error: Exception | None = None
        self.is_closed = False
        self.receipt: Receipt | None = None
        self._packets = packets
        self._stream = OutgoingStream(header)
        self._recipients = recipients
        self._is_busy = False
        self._is_spoiled = False

    @property
    def header(self) -> StreamHeader:
        return self._stream.header

    @property
    def sent_bytes(self) -> int:
        """Bytes of content that were handed to the connection."""
        return self._stream.content_bytes

    async def begin(self) -> None:
        """Send the header. Cancelled, it was not sent."""
        await self._packets.send_reliable(self.header, self._recipients)

    async def write(self, content: bytes | memoryview) -> None:
        """Send more content; returns when the last of it is with the connection, which takes it at its own pace.

        If it is cancelled, content of up to the size of a chunk was not sent, and writing can go on. Of longer content
        a part may have been, and then the stream can only end badly.

        Raises ``StreamError``, ``PublishDataError``, or what ended the room.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        with self._exclusively():
            self.check_open()
            has_begun = False
            try:
                for piece in self._stream.cut(content):
                    chunk = self._stream.chunk(piece)
                    await self._packets.send_reliable(chunk, self._recipients)
                    self._stream.on_sent(chunk)
                    has_begun = True
            except trio.Cancelled:
                self._is_spoiled = has_begun
                raise
        if not has_begun:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def finish(self, attributes: dict[str, str]) -> None:
        """Send the good trailer, unless there is one, and wait until the server has everything.

        Raises ``StreamError``, ``PublishDataError``, or what ended the room.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.is_closed:
            with self._exclusively():
                self.check_open()
                trailer = self._stream.trailer(attributes)
                self.receipt = await self._packets.send_reliable(trailer, self._recipients)
                self.is_closed = True
        if self.receipt is not None:
            with settled(self.header.stream_id):
                await self.receipt.wait_acked()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def abort(self, reason: str) -> None:
        """Send the bad trailer, unless there is one. Waits for a second at most, also when cancelled."""
        if self.is_closed:
            return
        self.is_closed = True
        trailer = self._stream.abort(reason)
        with suppress(LiveKitError, trio.ClosedResourceError):  # nobody can be told: those who read it see us leave
            try:
                self._packets.send_reliable_nowait(trailer, self._recipients)
            except PublishDataError as error:
                if error.reason is PublishDataErrorReason.QUEUE_FULL:
                    with trio.move_on_after(_ABORT_TIMEOUT_S, shield=True):
                        await self._packets.send_reliable(trailer, self._recipients)

    def check_open(self) -> None:
        """Whether there can be more. Raises what writing raises if there cannot."""
        if self.error is not None or self.is_closed:
            raise trio.ClosedResourceError("the stream has ended already")
        if self._is_spoiled:
            text = "an earlier write was cancelled halfway: what follows would have a hole before it"
            raise StreamError(Reason.WRITE_CANCELLED, text, stream_id=self.header.stream_id)

    # --- what happens meanwhile ---------------------------------------------------------------------------------------

    def on_session_replaced(self) -> None:
        """Whoever reads it saw us leave."""
        text = "the connection was lost, and the room had to be joined anew: nobody goes on reading this stream"
        self.fail(StreamError(Reason.SESSION_LOST, text, stream_id=self.header.stream_id))

    def on_participant_left(self, identity: str) -> None:
        """One reader less, and perhaps the last."""
        if identity in self._recipients:
            self._recipients = tuple(name for name in self._recipients if name != identity)
            if not self._recipients:
                text = f"{identity!r} left the room, and the stream was for nobody else"
                self.fail(StreamError(Reason.RECIPIENT_LEFT, text, stream_id=self.header.stream_id))

    def fail(self, error: Exception) -> None:
        """Nothing can come of the stream: its block is cancelled, and says why."""
        if self.error is None and not (self.receipt is not None and self.receipt.is_acked):
            self.error = error
            self.is_closed = True
            self.scope.cancel(str(error))

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        if self._is_busy:
            raise trio.BusyResourceError("another task is writing to this stream")
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False


@contextmanager
def settled(stream_id: str) -> Iterator[None]:
    """That the server has a stream's last packet is not known: as an error of the stream."""
    try:
        yield
    except DeliveryError as exc:
        lost = exc.reason is DeliveryErrorReason.SESSION_REPLACED
        reason = Reason.SESSION_LOST if lost else Reason.NOT_ACKNOWLEDGED
        text = f"the end of the stream may not have been delivered: {exc}"
        raise StreamError(reason, text, stream_id=stream_id) from exc

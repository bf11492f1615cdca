"""Remote procedure calls on the wire: who is called how, and what arrives for whom.

There are two forms, and the ``client_protocol`` of the other side decides. In the first a request is a packet and so is
its response. In the second a request is a text stream, and so is a result; acks and faults are packets there as well.
"""

from __future__ import annotations

__all__ = ["Rpc"]

import logging
import time
import uuid
from typing import TYPE_CHECKING

import trio

from .._sansio.packets.messages import DataPacket, RpcAck, RpcRequest, RpcResponse, StreamHeader, TextHeader
from .._sansio.rpc.attributes import (
    REQUEST_TOPIC,
    RESPONSE_TOPIC,
    parse_request,
    parse_response,
    request_attributes,
    response_attributes,
)
from .._sansio.rpc.calls import Call, handler_timeout_ms
from .._sansio.rpc.faults import MAX_PACKET_PAYLOAD_BYTES, fault, response
from .._sansio.rpc.invocations import VERSION_PACKET, VERSION_STREAM
from ..errors import DecodeError, LiveKitError, RpcErrorCode, StreamError, StreamErrorReason
from .calling import Calling, rpc_error
from .ending import end_of_room
from .serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.packets.messages import RpcFault
    from .._sansio.signal.roster import Roster
    from .._sansio.streams.info import TextStreamInfo
    from .packets import Packets
    from .streams import Streams

logger = logging.getLogger(__name__)

MAX_STREAM_PAYLOAD_BYTES = 16 << 20
"""Of UTF-8, in a request or response that is a text stream. There is no common limit; this one bounds our memory."""

_STREAM_PROTOCOL = 1
"""The ``client_protocol`` from which on a participant takes requests and results as text streams."""

_SUPPORTED_SINCE = (1, 8, 0)
"""The version of livekit-server that passes calls on."""


class Rpc:
    """The calls of one room, in both directions.

    Attributes:
        calling: our calls.
        serving: the calls made to us.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        packets: Packets,
        streams: Streams,
        roster: Callable[[], Roster],
        server_version: Callable[[], str],
    ) -> None:
        self._packets = packets
        self._streams = streams
        self._roster = roster
        self._server_version = server_version
        self._acked: set[tuple[str, str]] = set()  # by their streams: requests of which not all is here
        self.calling = Calling(self._send_request, self._is_present)
        self.serving = Serving(nursery, self)
        packets.incoming.route((RpcRequest, RpcAck, RpcResponse), self._on_packet)
        streams.take_text(
            REQUEST_TOPIC,
            self._on_request_text,
            limit_bytes=MAX_STREAM_PAYLOAD_BYTES,
            on_begun=self._on_request_begun,
        )
        streams.take_text(RESPONSE_TOPIC, self._on_response_text, limit_bytes=MAX_STREAM_PAYLOAD_BYTES)

    async def perform(self, callee: str, method: str, payload: str, response_timeout_s: float) -> str:
        """Call a method of another participant; see ``Room.perform_rpc``."""
        if callee == self._roster().local.identity:
            await trio.lowlevel.checkpoint()
            raise rpc_error(fault(RpcErrorCode.RECIPIENT_NOT_FOUND, "a participant cannot call itself"), executed=False)
        if _is_too_old(self._server_version()):
            await trio.lowlevel.checkpoint()
            raise rpc_error(fault(RpcErrorCode.UNSUPPORTED_SERVER), executed=False)
        return await self.calling.call(callee, method, payload, response_timeout_s)

    def close(self, over: LiveKitError | None) -> None:
        """The room is over: ``over`` says how, ``None`` that we left. What is being served is cancelled."""
        error = end_of_room(over)
        self.calling.close(error)
        self.serving.close(error)

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _send_request(self, call: Call, method: str, payload: str) -> None:
        timeout_ms = handler_timeout_ms(call.deadline - trio.current_time())
        if self._takes_streams(call.callee):
            request = RpcRequest(call.request_id, method, payload, timeout_ms, VERSION_STREAM)
            attributes = request_attributes(request)
            await self._send_text(call.callee, REQUEST_TOPIC, attributes, payload, on_ending=call.on_leaving)
            return
        if len(payload.encode()) > MAX_PACKET_PAYLOAD_BYTES:
            raise rpc_error(fault(RpcErrorCode.REQUEST_PAYLOAD_TOO_LARGE), executed=False)
        request = RpcRequest(call.request_id, method, payload, timeout_ms, VERSION_PACKET)
        await self._packets.send_reliable(request, (call.callee,))

    def ack(self, caller: str, request_id: str) -> None:
        """See ``Answers``."""
        self._say(caller, RpcAck(request_id))

    def fault(self, caller: str, request_id: str, said: RpcFault) -> None:
        """See ``Answers``."""
        self._say(caller, RpcResponse(request_id, fault=said))

    async def result(self, caller: str, request_id: str, payload: str) -> None:
        """See ``Answers``."""
        if self._takes_streams(caller):
            await self._send_text(caller, RESPONSE_TOPIC, response_attributes(request_id), payload)
        else:
            await self._packets.send_reliable(response(request_id, payload), (caller,), on_full_reconnect="resend")

    async def _send_text(
        self,
        recipient: str,
        topic: str,
        attributes: dict[str, str],
        payload: str,
        *,
        on_ending: Callable[[], None] = lambda: None,
    ) -> None:
        content = payload.encode()
        header = StreamHeader(
            str(uuid.uuid4()),
            time.time_ns() // 1_000_000,
            topic,
            "text/plain",
            len(content),
            attributes,
            TextHeader(),
        )
        await self._streams.send(header, content, (recipient,), on_ending=on_ending)

    def _say(self, caller: str, value: RpcAck | RpcResponse) -> None:
        try:
            self._packets.send_reliable_nowait(value, (caller,), on_full_reconnect="resend")
        except (LiveKitError, trio.ClosedResourceError) as error:
            logger.debug("%r is not told what becomes of its call: %s", caller, error)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def _on_packet(self, packet: DataPacket, _size: int) -> bool:
        sender, value = packet.participant_identity, packet.value
        if sender and sender != self._roster().local.identity:  # nobody can be answered who has no name
            if isinstance(value, RpcRequest):
                self.serving.on_request(value, sender, version=VERSION_PACKET)
            elif isinstance(value, RpcAck):
                self.calling.on_ack(value.request_id, sender)
            elif isinstance(value, RpcResponse):
                self.calling.on_response(value, sender)
        return True

    def _on_request_begun(self, info: TextStreamInfo) -> None:
        """A long request: its caller waits for the ack from the moment at which it begins to send."""
        request = self._request_of(info, "")
        if request is not None:
            self._acked.add((info.sender_identity, info.stream_id))
            self.ack(info.sender_identity, request.id)

    def _request_of(self, info: TextStreamInfo, text: str) -> RpcRequest | None:
        sender = info.sender_identity
        if not sender or sender == self._roster().local.identity:
            return None
        try:
            return parse_request(info.attributes, text)
        except DecodeError as error:
            logger.debug("a request of %r that is none: %s", sender, error)
            return None

    def _on_request_text(self, info: TextStreamInfo, text: str | StreamError) -> None:
        sender = info.sender_identity
        is_acked = (sender, info.stream_id) in self._acked
        self._acked.discard((sender, info.stream_id))
        request = self._request_of(info, "" if isinstance(text, StreamError) else text)
        if request is None:
            return
        if not isinstance(text, StreamError):
            self.serving.on_request(request, sender, version=VERSION_STREAM, is_acked=is_acked)
        elif text.reason is StreamErrorReason.TOO_LARGE:
            self.fault(sender, request.id, fault(RpcErrorCode.REQUEST_PAYLOAD_TOO_LARGE))
        else:
            logger.debug("a request of %r did not arrive whole: %s", sender, text)

    def _on_response_text(self, info: TextStreamInfo, text: str | StreamError) -> None:
        try:
            answer = parse_response(info.attributes, "" if isinstance(text, StreamError) else text)
        except DecodeError as error:
            logger.debug("a response of %r that is none: %s", info.sender_identity, error)
            return
        if isinstance(text, StreamError):
            is_too_large = text.reason is StreamErrorReason.TOO_LARGE
            code = RpcErrorCode.RESPONSE_PAYLOAD_TOO_LARGE if is_too_large else RpcErrorCode.APPLICATION_ERROR
            answer = RpcResponse(answer.request_id, fault=fault(code, str(text)))
        self.calling.on_response(answer, info.sender_identity)

    def _takes_streams(self, identity: str) -> bool:
        info = self._roster().get(identity)
        return info is not None and info.client_protocol >= _STREAM_PROTOCOL

    def _is_present(self, identity: str) -> bool:
        return self._roster().get(identity) is not None


def _is_too_old(server_version: str) -> bool:
    """Whether the server is known to be one that does not pass calls on."""
    numbers = server_version.partition("-")[0].split(".")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return False
    return tuple(map(int, numbers)) < _SUPPORTED_SINCE

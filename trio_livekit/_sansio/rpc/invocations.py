"""The calls made to us: which are run, and which are refused.

Every request is acknowledged, whatever becomes of it. One and the same request is run once at most, also if it comes
again in another session of ours: what came is remembered for a while, within bounds.
"""

from __future__ import annotations

__all__ = [
    "MAX_ID_BYTES",
    "MEMORY_IDS",
    "MEMORY_S",
    "VERSION_PACKET",
    "VERSION_STREAM",
    "Decision",
    "Invocations",
    "Method",
    "Refusal",
    "Repetition",
    "Run",
]

from typing import TYPE_CHECKING, NamedTuple

from ...errors import RpcErrorCode
from .faults import MAX_PACKET_PAYLOAD_BYTES, fault

if TYPE_CHECKING:
    from ..packets.messages import RpcFault, RpcRequest

VERSION_PACKET = 1
"""A request that is one packet."""

VERSION_STREAM = 2
"""A request that is a text stream."""

MEMORY_S = 300.0
"""How long a request is remembered, in seconds."""

MEMORY_IDS = 16_384
"""How many requests are remembered; the oldest are forgotten for more."""

MAX_ID_BYTES = 256
"""Of UTF-8, in the name of a request; all SDKs use 36."""


class Method:
    """A method that is served, and how much of it is going on."""

    __slots__ = ("limit", "name", "running")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.running = 0


class Run(NamedTuple):
    """Run the handler; ``Invocations.on_finished`` is to follow."""

    method: Method


class Refusal(NamedTuple):
    """Respond with this."""

    fault: RpcFault


class Repetition(NamedTuple):
    """The request was here before: the response has been sent, or will be."""


Decision = Run | Refusal | Repetition


class Invocations:
    """What is served, and what was asked for lately."""

    def __init__(self, *, memory_ids: int = MEMORY_IDS, memory_s: float = MEMORY_S) -> None:
        self._memory_ids = memory_ids
        self._memory_s = memory_s
        self._methods: dict[str, Method] = {}
        self._seen: dict[tuple[str, str], float] = {}  # caller and request -> when; the oldest come first

    def register(self, name: str, limit: int) -> Method:
        """Serve a method, ``limit`` calls of it at once. Raises ``ValueError`` if it is served already."""
        if name in self._methods:
            raise ValueError(f"the method {name!r} is being served already")
        method = self._methods[name] = Method(name, limit)
        return method

    def unregister(self, method: Method) -> None:
        """Serve it no more."""
        del self._methods[method.name]

    def on_request(self, request: RpcRequest, caller: str, now: float, *, version: int) -> Decision | None:
        """What to do about a request that came in the form of ``version``; ``None``: it cannot even be answered."""
        if not request.id or len(request.id.encode()) > MAX_ID_BYTES:
            return None
        if not self._is_new((caller, request.id), now):
            return Repetition()
        code = self._objection(request, version)
        if code is not None:
            return Refusal(fault(code))
        method = self._methods[request.method]
        method.running += 1
        return Run(method)

    def on_finished(self, method: Method) -> None:
        """A handler has ended: there is room for another."""
        method.running -= 1

    def _objection(self, request: RpcRequest, version: int) -> RpcErrorCode | None:
        if request.version != version:
            return RpcErrorCode.UNSUPPORTED_VERSION
        method = self._methods.get(request.method)
        if method is None:
            return RpcErrorCode.UNSUPPORTED_METHOD
        if version == VERSION_PACKET and len(request.payload.encode()) > MAX_PACKET_PAYLOAD_BYTES:
            return RpcErrorCode.REQUEST_PAYLOAD_TOO_LARGE
        return RpcErrorCode.TOO_MANY_CALLS if method.running >= method.limit else None

    def _is_new(self, name: tuple[str, str], now: float) -> bool:
        seen = self._seen
        while seen:
            oldest = next(iter(seen))
            if now - seen[oldest] < self._memory_s:
                break
            del seen[oldest]
        if name in seen:
            return False
        if len(seen) >= self._memory_ids:
            del seen[next(iter(seen))]
        seen[name] = now
        return True

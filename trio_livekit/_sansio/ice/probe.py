"""Ask a STUN server what our address looks like from outside: the server-reflexive candidate (RFC 8445 5.1.1.2).

A LiveKit server needs none of this, for it learns the address from our checks. Two peers behind NATs do.
"""

from __future__ import annotations

__all__ = ["StunProbe"]

from typing import TYPE_CHECKING

from ...errors import DecodeError
from . import stun
from .candidate import MAX_LOCAL_PREFERENCE, Candidate
from .exchange import Exchange

if TYPE_CHECKING:
    from ..types import Address, RandomBytes


class StunProbe:
    """One server asked from one base. Only what comes from ``server`` to ``base`` may be fed in.

    Attributes:
        candidate: the answer, once there is one.
        is_done: answered, or given up.
    """

    __slots__ = ("_exchange", "_local_preference", "_outbox", "base", "candidate", "is_done", "server")

    def __init__(
        self,
        server: Address,
        base: Address,
        *,
        random_bytes: RandomBytes,
        now: float,
        local_preference: int = MAX_LOCAL_PREFERENCE,
    ) -> None:
        self.server = server
        self.base = base
        self.candidate: Candidate | None = None
        self.is_done = False
        self._local_preference = local_preference
        transaction_id = random_bytes(12)
        data = stun.encode(stun.BINDING, stun.REQUEST, transaction_id)
        self._exchange = Exchange(transaction_id, data, now)
        self._outbox = [data]

    def receive_datagram(self, data: bytes, now: float) -> bool:
        """True if it was the answer; otherwise it may be for somebody else on the same socket."""
        try:
            message = stun.decode(data)
        except DecodeError:
            return False
        if self.is_done or message.transaction_id != self._exchange.transaction_id:
            return False
        if message.message_class not in (stun.SUCCESS, stun.ERROR):
            return False
        self.is_done = True
        mapped = message.address(stun.XOR_MAPPED_ADDRESS) or message.address(stun.MAPPED_ADDRESS)
        if message.message_class == stun.SUCCESS and mapped is not None and mapped != self.base:
            self.candidate = Candidate.server_reflexive(
                mapped, self.base, self.server, local_preference=self._local_preference
            )
        return True

    def datagrams_to_send(self, now: float) -> list[bytes]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_timeout(self) -> float | None:
        return None if self.is_done else self._exchange.due_at

    def handle_timeout(self, now: float) -> None:
        if self.is_done or now < self._exchange.due_at:
            return
        data = self._exchange.repeat(now)
        if data is None:
            self.is_done = True
        else:
            self._outbox.append(data)

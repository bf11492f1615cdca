"""Connectivity checks on the wire: requests built, answers matched to them (RFC 8445 sections 7.1 and 7.2).

Every try is a transaction of its own, so each answer tells a round trip time and renews consent; an answer to an
earlier try counts as well. A transaction belongs to the path it was sent on: an answer from anywhere else is no answer.
"""

from __future__ import annotations

__all__ = ["Transaction", "Transactions"]

from typing import TYPE_CHECKING, NamedTuple

from . import stun
from .pacing import Pacer

if TYPE_CHECKING:
    from ..types import RandomBytes
    from .checklist import Pair
    from .config import Config
    from .events import Path
    from .generation import Generation
    from .role import Role


class Transaction(NamedTuple):
    pair: Pair
    generation: Generation
    path: Path
    sent_at: float
    was_controlling: bool


class Transactions:
    __slots__ = (
        "_lifetime_s",
        "_nominations",
        "_open",
        "_random_bytes",
        "_role",
        "last_nominated",
        "pacer",
        "renominates",
        "sent",
    )

    def __init__(self, role: Role, random_bytes: RandomBytes, config: Config) -> None:
        self._role = role
        self._random_bytes = random_bytes
        self._lifetime_s = config.transaction_lifetime_s
        self._open: dict[bytes, Transaction] = {}  # oldest first
        self.pacer = Pacer(config)
        self.last_nominated: Pair | None = None
        self.renominates = False  # a path failed: nominations are numbered, so that the peer takes a lesser pair, too
        self._nominations = 0
        self.sent = 0

    def begin(self, pair: Pair, generation: Generation, now: float, *, nominate: bool) -> bytes | None:
        """The request that checks ``pair``; None if its address may not be sent any more."""
        remote = generation.remote
        assert remote is not None
        transaction_id = self._random_bytes(12)
        attributes: list[tuple[int, object]] = [
            (stun.USERNAME, f"{remote.ufrag}:{generation.local.ufrag}"),
            (stun.PRIORITY, pair.local.reflexive_priority()),
            self._role.attribute(),
        ]
        if nominate:
            attributes.append((stun.USE_CANDIDATE, None))
            if self.renominates:
                self._nominations += 1
                attributes.append((stun.NOMINATION, self._nominations))
        data = stun.encode(stun.BINDING, stun.REQUEST, transaction_id, attributes, key=generation.remote_key)
        if not generation.budget.spend(pair.path.remote, len(data)):
            return None
        self._forget_before(now - self._lifetime_s)
        self._open[transaction_id] = Transaction(pair, generation, pair.path, now, self._role.controlling)
        self.pacer.on_sent(now)
        self.sent += 1
        if nominate:
            self.last_nominated = pair
        return data

    def _forget_before(self, instant: float) -> None:
        while self._open:
            oldest = next(iter(self._open))
            if self._open[oldest].sent_at >= instant:
                return
            del self._open[oldest]

    def match(self, message: stun.StunMessage, path: Path) -> Transaction | None:
        """The transaction that an answer ends: asked for, on this path, and authentic."""
        transaction = self._open.get(message.transaction_id)
        if transaction is None or transaction.path != path:
            return None
        if not message.is_authentic(transaction.generation.remote_key):
            return None
        del self._open[message.transaction_id]
        return transaction

    def clear(self) -> None:
        self._open.clear()
        self.last_nominated = None

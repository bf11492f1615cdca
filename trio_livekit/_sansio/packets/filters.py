"""What a receiver makes of the numbers and nonces of packets: no packet twice, and gaps are seen.

The number of a packet counts all reliable packets of its sender's session, for whomever they are. So a gap alone says
nothing: the packets in it may have been for others. It is where this client was away that a gap may be a loss.
"""

from __future__ import annotations

__all__ = ["Nonces", "Sequences"]

import math

NONCE_BYTES = 16
"""What a server, too, takes for the name of a message; anything else is no nonce."""

SEQUENCE_TTL_S = 30.0
"""How long a sender's last number is kept after it was heard of last, as other SDKs have it."""

MAX_SENDERS = 10_000

NONCE_TTL_S = 60.0
MAX_NONCES = 10_000


class _Sender:
    __slots__ = ("expires_at", "is_gap_a_loss", "last")

    def __init__(self, last: int, expires_at: float, *, is_gap_a_loss: bool) -> None:
        self.last = last
        self.expires_at = expires_at  # infinite while the sender is in the room
        self.is_gap_a_loss = is_gap_a_loss


class Sequences:
    """The last number seen of each sender, by its SID, which a new session changes."""

    def __init__(self) -> None:
        self._senders: dict[str, _Sender] = {}  # least recently heard of first
        self._is_rejoining = False

    def __len__(self) -> int:
        return len(self._senders)

    def on_packet(self, sid: str, sequence: int, now: float) -> int | None:
        """A reliable packet. Returns ``None`` for a repeat, else how many packets may have been missed: usually 0."""
        if not sequence or not sid:
            return 0  # no number: raw messages, and what the server itself sends
        sender = self._senders.pop(sid, None)
        if sender is None or sender.expires_at < now:
            self._add(sid, _Sender(sequence, now + SEQUENCE_TTL_S, is_gap_a_loss=False), now)
            return 0
        self._senders[sid] = sender
        if sender.expires_at < math.inf:
            sender.expires_at = now + SEQUENCE_TTL_S
        if sequence <= sender.last:
            return None
        missed = sequence - sender.last - 1 if sender.is_gap_a_loss else 0
        sender.last, sender.is_gap_a_loss = sequence, False
        return missed

    def on_joined(self, sid: str, now: float) -> None:
        """A participant that was not here before: its numbers begin at 1, and while we are here we miss none."""
        if sid not in self._senders:
            self._add(sid, _Sender(0, math.inf, is_gap_a_loss=self._is_rejoining), now)

    def on_present(self, sid: str) -> None:
        """A participant is in the room: what is known of it is kept."""
        if sid in self._senders:
            self._senders[sid].expires_at = math.inf

    def on_left(self, sid: str, now: float) -> None:
        """A participant went. Something of it may still be on the way."""
        if sid in self._senders:
            self._senders[sid].expires_at = now + SEQUENCE_TTL_S

    def on_away(self) -> None:
        """This client was out of the room: what was sent meanwhile did not reach it.

        Until ``on_back`` participants that are new are those that joined meanwhile.
        """
        self._is_rejoining = True
        for sender in self._senders.values():
            sender.is_gap_a_loss = True

    def on_back(self) -> None:
        """All who are in the room are known again."""
        self._is_rejoining = False

    def last(self) -> dict[str, int]:
        """The last number by SID, where one was seen."""
        return {sid: sender.last for sid, sender in self._senders.items() if sender.last}

    def _add(self, sid: str, sender: _Sender, now: float) -> None:
        senders = self._senders
        if len(senders) >= MAX_SENDERS:
            for old in [sid for sid, known in senders.items() if known.expires_at < now]:
                del senders[old]
            if len(senders) >= MAX_SENDERS:
                del senders[next(iter(senders))]
        senders[sid] = sender


class Nonces:
    """The names of messages seen lately, by sender: one that is sent again in another session is known by its name."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bytes], float] = {}  # when to forget it, oldest first

    def __len__(self) -> int:
        return len(self._seen)

    def is_repeat(self, identity: str, nonce: bytes, now: float) -> bool:
        """Whether this message was seen already; else it is from now on."""
        if len(nonce) != NONCE_BYTES:
            return False
        seen, key = self._seen, (identity, nonce)
        while seen and seen[oldest := next(iter(seen))] <= now:
            del seen[oldest]
        if key in seen:
            return True
        if len(seen) >= MAX_NONCES:
            del seen[next(iter(seen))]
        seen[key] = now + NONCE_TTL_S
        return False

"""Putting handshake messages back together, from fragments anybody could have sent (RFC 6347 section 4.2.3).

Limits: messages at most ``WINDOW`` ahead of the next one, at most ``MAX_BUFFERED_BYTES`` and ``MAX_PIECES`` in all.
Nothing is allocated for what a fragment merely declares. When the room is used up, the messages furthest ahead make
way: the next one is what the handshake waits for.

Fragments of one message must agree on its type, its length, and every byte they share. When one does not, somebody is
lying; the message starts again from the newest fragment, so that a forged fragment that came first does not lock the
genuine message out. (Forged and genuine fragments that share no byte cannot be told apart here. The message they make
is found out when signatures are checked, and the flight is awaited again.)
"""

from __future__ import annotations

__all__ = ["Reassembler"]

from .handshake import Fragment, Message

WINDOW = 8  # a flight has at most five messages
MAX_BUFFERED_BYTES = 64 * 1024
MAX_PIECES = 128


class PartialMessage:
    """What has arrived of one message: disjoint pieces in order, neighbours merged."""

    __slots__ = ("length", "pieces", "type")

    def __init__(self, first: Fragment) -> None:
        self.type = first.type
        self.length = first.length
        self.pieces: list[tuple[int, bytes]] = [(first.offset, first.data)]

    @property
    def complete(self) -> bool:
        return len(self.pieces) == 1 and len(self.pieces[0][1]) == self.length

    @property
    def buffered(self) -> int:
        return sum([len(data) for _, data in self.pieces])

    def add(self, fragment: Fragment) -> bool:
        """Merge a fragment in; ``False`` if it contradicts what is here, which is then unchanged."""
        if fragment.type != self.type or fragment.length != self.length:
            return False
        start, data = fragment.offset, fragment.data
        before: list[tuple[int, bytes]] = []
        after: list[tuple[int, bytes]] = []
        for piece in self.pieces:
            offset, held = piece
            if offset + len(held) < start:
                before.append(piece)
            elif offset > start + len(data):
                after.append(piece)
            else:
                merged = _merge(offset, held, start, data)
                if merged is None:
                    return False
                start, data = merged
        self.pieces = [*before, (start, data), *after]
        return True


def _merge(a: int, left: bytes, b: int, right: bytes) -> tuple[int, bytes] | None:
    """Join two pieces that touch or overlap; ``None`` if they differ where they overlap."""
    if a > b:
        a, left, b, right = b, right, a, left
    shared = left[b - a : b - a + len(right)]
    if shared != right[: len(shared)]:
        return None
    return a, left + right[len(shared) :]


class Reassembler:
    """Fragments in, whole messages out in the order of their numbers.

    Attributes:
        next_sequence: number of the message that ``pop`` gives next.
    """

    __slots__ = ("_messages", "next_sequence")

    def __init__(self) -> None:
        self.next_sequence = 0
        self._messages: dict[int, PartialMessage] = {}

    @property
    def buffered_bytes(self) -> int:
        return sum([message.buffered for message in self._messages.values()])

    @property
    def pieces(self) -> int:
        return sum([len(message.pieces) for message in self._messages.values()])

    def add(self, fragment: Fragment) -> None:
        """Keep a fragment, unless it is old, too far ahead, or there is no room for it."""
        sequence = fragment.sequence
        if not self.next_sequence <= sequence < self.next_sequence + WINDOW:
            return
        message = self._messages.get(sequence)
        if message is None or not message.add(fragment):
            self._messages[sequence] = PartialMessage(fragment)
        while self.buffered_bytes > MAX_BUFFERED_BYTES or self.pieces > MAX_PIECES:
            del self._messages[max(self._messages)]

    def pop(self) -> Message | None:
        """The next message, if it is whole."""
        sequence = self.next_sequence
        message = self._messages.get(sequence)
        if message is None or not message.complete:
            return None
        del self._messages[sequence]
        self.next_sequence = sequence + 1
        return Message(message.type, sequence, message.pieces[0][1])

    def continue_at(self, sequence: int) -> None:
        """Wait for message ``sequence``, keeping what has arrived of it and of later ones."""
        self.next_sequence = sequence
        self._messages = {number: message for number, message in self._messages.items() if number >= sequence}

    def restart(self, sequence: int) -> None:
        """Forget everything and wait for message ``sequence``."""
        self._messages.clear()
        self.next_sequence = sequence

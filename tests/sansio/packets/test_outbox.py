"""What was sent and may not have arrived, checked against a channel that is a plain list."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trio_livekit._sansio.packets.outbox import Outbox

MAX_BYTES = 1000
MAX_AGE_S = 60.0


class OutboxModel(RuleBasedStateMachine):
    """The channel holds (number, size) in order; the outbox must know at any time what of it is not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox: Outbox[int] = Outbox(max_bytes=MAX_BYTES, max_age_s=MAX_AGE_S)
        self.unacknowledged: list[tuple[int, int, int, float]] = []  # item, number, size, time
        self.in_channel: list[int] = []  # sizes
        self.items = self.number = 0
        self.now = 0.0

    @rule(size=st.integers(1, 400))
    def send(self, size: int) -> None:
        held = sum(size for _, _, size, _ in self.unacknowledged)
        assert self.outbox.has_room(size) is (not self.unacknowledged or held + size <= MAX_BYTES)
        if not self.outbox.has_room(size):
            return
        self.items += 1
        self.number += 1
        assert self.outbox.next_sequence == self.number
        self.outbox.add(self.items, size, self.now)
        self.unacknowledged.append((self.items, self.number, size, self.now))
        self.in_channel.append(size)

    @rule(count=st.integers(0, 5), opening=st.integers(0, 30))
    def acknowledge(self, count: int, opening: int) -> None:
        """Some messages; the channel may hold other bytes besides, such as its own opening."""
        del self.in_channel[:count]
        numbers_in_channel = self.number - len(self.in_channel)
        done = self.outbox.on_buffered(sum(self.in_channel) + opening)
        arrived = [item for item, number, _, _ in self.unacknowledged if number <= numbers_in_channel]
        assert done == arrived[: len(done)]
        assert opening or done == arrived
        del self.unacknowledged[: len(done)]

    @rule(behind=st.integers(-2, 5))
    def resume(self, behind: int) -> None:
        received = max(0, self.number - behind)
        done = self.outbox.on_received(received)
        assert done == [item for item, number, _, _ in self.unacknowledged if number <= received]
        del self.unacknowledged[: len(done)]

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        expired = [entry for entry in self.unacknowledged if entry[3] + MAX_AGE_S <= self.now]
        assert self.outbox.handle_timeout(self.now) == [item for item, *_ in expired]
        del self.unacknowledged[: len(expired)]

    @rule()
    def lose(self) -> None:
        assert self.outbox.on_new_session() == [item for item, *_ in self.unacknowledged]
        self.unacknowledged.clear()
        self.in_channel.clear()
        self.number = 0

    @invariant()
    def knows_what_is_there(self) -> None:
        assert self.outbox.items() == [item for item, *_ in self.unacknowledged]
        assert len(self.outbox) == len(self.unacknowledged)
        assert self.outbox.size == sum(size for _, _, size, _ in self.unacknowledged)
        oldest = self.unacknowledged[0][3] + MAX_AGE_S if self.unacknowledged else None
        assert self.outbox.next_timeout() == oldest


TestOutbox = OutboxModel.TestCase


def test_one_message_may_be_larger_than_all_there_is_room_for() -> None:
    outbox: Outbox[str] = Outbox(max_bytes=10)
    assert outbox.has_room(100)
    outbox.add("large", 100, 0.0)
    assert not outbox.has_room(1)

"""Whose turn it is, and what becomes of messages that are taken back, belong together, or come too late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.sctp.harness import joined, messages
from trio_livekit._sansio.sctp.tx.send_queue import MESSAGE_OVERHEAD, TOGETHER_BYTES, Message, SendQueue
from trio_livekit.testing.pair import LinkModel


def push(queue: SendQueue, stream: int, name: str, size: int = 1000, *, more: bool = False) -> None:
    data = name.encode().ljust(size, b".")
    queue.push(Message(queue.stream(stream), 53, data, False, 0, None, more))


def take(queue: SendQueue) -> str | None:
    """Send the whole of the message whose turn it is."""
    message = queue.next()
    if message is None:
        return None
    message.first_tsn = 1
    queue.finished()
    return message.data.rstrip(b".").decode()


def four_of_one() -> SendQueue:
    """Messages ``r0`` to ``r3`` wait on the first stream."""
    queue = SendQueue()
    for number in range(4):
        push(queue, 1, f"r{number}")
    return queue


class FairQueue:
    """The rule by the book: of the streams that wait, the one that is due first. Sums of 1/512 are exact."""

    def __init__(self) -> None:
        self.sizes: dict[int, list[int]] = {1: [], 2: [], 3: []}
        self.times = dict.fromkeys(self.sizes, 0.0)
        self.due: dict[int, float] = {}
        self.clock = 0.0

    def push(self, stream: int, size: int) -> None:
        self.sizes[stream].append(size)
        if stream not in self.due:
            self.wait(stream)

    def wait(self, stream: int) -> None:
        cost = (self.sizes[stream][0] + MESSAGE_OVERHEAD) / WEIGHTS[stream]
        self.due[stream] = max(self.times[stream], self.clock) + cost

    def take(self, stream: int) -> None:
        assert self.due[stream] == min(self.due.values())
        self.clock = self.times[stream] = self.due.pop(stream)
        del self.sizes[stream][0]
        if self.sizes[stream]:
            self.wait(stream)


WEIGHTS = {1: 256, 2: 256, 3: 512}


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(1, 3000), st.integers(0, 2)), min_size=6, max_size=30)
)
def test_who_is_due_first_goes_first_also_after_being_alone(steps: list[tuple[int, int, int]]) -> None:
    """Each step is a message of so many bytes, and then so many are sent. In the end all are."""
    queue, fair = SendQueue(), FairQueue()
    for stream, weight in WEIGHTS.items():
        queue.stream(stream).weight = weight
    for stream, size, takes in [*steps, (1, 1, len(steps) + 1)]:
        push(queue, stream, "", size)
        fair.push(stream, size)
        for _ in range(takes):
            message = queue.next()
            assert (message is None) is (not fair.due)
            if message is not None:
                message.first_tsn = 1
                queue.finished()
                fair.take(message.stream.id)
    assert not queue


def test_messages_that_belong_together_are_sent_together() -> None:
    queue = four_of_one()
    for number in range(3):
        push(queue, 2, f"t{number}", more=number < 2)
    push(queue, 2, "next")
    assert [take(queue) for _ in range(8)] == ["r0", "t0", "t1", "t2", "r1", "r2", "next", "r3"]  # it has paid


def test_what_belongs_to_a_message_that_has_left_goes_next() -> None:
    queue = four_of_one()
    push(queue, 2, "t0", more=True)
    assert [take(queue) for _ in range(3)] == ["r0", "t0", "r1"]
    push(queue, 2, "t1")
    assert [take(queue) for _ in range(3)] == ["t1", "r2", "r3"]


def test_a_stream_that_was_idle_does_not_wait_for_their_end() -> None:
    queue = four_of_one()
    for number in range(4):
        push(queue, 2, f"t{number}", more=number < 3)
    assert [take(queue) for _ in range(2)] == ["r0", "t0"]
    push(queue, 3, "idle", 10)
    assert [take(queue) for _ in range(5)] == ["t1", "idle", "t2", "t3", "r1"]


def test_together_has_a_limit() -> None:
    queue = SendQueue()
    for number in range(30):
        push(queue, 1, f"r{number}")
        push(queue, 2, f"t{number}", more=True)
    order = [take(queue) or "" for _ in range(30)]
    most = TOGETHER_BYTES // 1000 + 2
    assert "t" * most not in "".join(name[0] for name in order)
    assert "ttttt" in "".join(name[0] for name in order)


def test_what_was_taken_back_is_not_sent_and_its_stream_keeps_its_place() -> None:
    queue = SendQueue()
    push(queue, 1, "r0")
    push(queue, 2, "old0")
    push(queue, 2, "old1")
    assert take(queue) == "r0"
    push(queue, 1, "r1")
    assert queue.next() is not None  # it has its turn, and nothing of it was sent
    taken = [data.rstrip(b".") for data in queue.withdraw(queue.stream(2))]
    assert taken == [b"old0", b"old1"]
    assert (queue.stream(2).buffered, queue.stream(2).unsent) == (0, 0)
    push(queue, 2, "new")
    assert [take(queue) for _ in range(3)] == ["new", "r1", None]
    assert queue.withdraw(queue.stream(2)) == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 3), st.booleans()),
        st.tuples(st.just("take"), st.just(0), st.just(False)),
        st.tuples(st.just("skip"), st.just(0), st.just(False)),
        st.tuples(st.just("withdraw"), st.integers(1, 3), st.just(False)),
    )
)


@given(steps)
def test_every_message_is_sent_once_and_in_the_order_of_its_stream(story: list[tuple[str, int, bool]]) -> None:
    queue = SendQueue()
    waiting: dict[int, list[str]] = {1: [], 2: [], 3: []}

    def check(name: str | None) -> None:
        if name is None:
            assert not any(waiting.values())
        else:
            assert name == waiting[int(name[0])].pop(0)

    for number, (what, stream, more) in enumerate(story):
        if what == "push":
            push(queue, stream, f"{stream}-{number}", more=more)
            waiting[stream].append(f"{stream}-{number}")
        elif what == "take":
            check(take(queue))
        elif what == "skip":
            message = queue.next()
            check(None if message is None else message.data.rstrip(b".").decode())
            queue.skipped()
        else:
            taken = [data.rstrip(b".").decode() for data in queue.withdraw(queue.stream(stream))]
            assert taken == waiting[stream]
            waiting[stream].clear()
    while any(waiting.values()):
        check(take(queue))
    assert queue.next() is None
    assert not any(stream.unsent for stream in queue.streams.values())


def test_messages_that_are_too_old_do_not_use_up_the_turns_of_those_that_are_not() -> None:
    pair = joined(LinkModel(delay_s=0.02, rate_bps=8e5))
    for number in range(300):
        pair.a.send(0, 53, bytes(1000), now=pair.now)
        pair.a.send(1, 53, b"%03d" % number * 300, now=pair.now, ordered=False, max_retransmits=0, lifetime_s=0.3)
        pair.run(0.01)
    pair.run_until_idle()
    got = [int(data[:3]) for data in messages(pair.b_events) if len(data) == 900]
    assert got == sorted(got)
    assert len(got) > 60
    assert max(got) > 280
    assert len(got) + pair.a.expired_count(1) == 300
    assert pair.a.total_buffered == 0


def test_what_is_sent_once_and_was_begun_in_time_is_sent_whole() -> None:
    pair = joined(LinkModel(delay_s=0.02, rate_bps=8e5))
    for _ in range(2):
        pair.a.send(1, 53, bytes(60_000), now=pair.now, ordered=False, max_retransmits=0, lifetime_s=0.2)
    pair.run_until_idle()
    assert [len(data) for data in messages(pair.b_events)] == [60_000]
    assert pair.a.expired_count(1) == 1

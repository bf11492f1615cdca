"""Two associations and a wire that hypothesis plays: whatever it does, the reliable streams are what was sent."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trio_livekit._sansio.sctp import Association, AssociationLost, Config, MessageReceived
from trio_livekit.testing.pair import seeded_random_bytes

SIDES = st.sampled_from("ab")
SIZES = st.sampled_from([1, 10, 1100, 1200, 3000, 20_000])
INDEX = st.integers(0, 1000)

RELIABLE, UNORDERED, LOSSY, TIMED = 1, 2, 3, 4
OPTIONS: dict[int, dict] = {
    RELIABLE: {},
    UNORDERED: {"ordered": False},
    LOSSY: {"ordered": False, "max_retransmits": 0},
    TIMED: {"lifetime_s": 0.2},
}
WIRE_AT_MOST = 60


class Associations(RuleBasedStateMachine):
    """The wire is a list of packets each way; rules deliver, drop, repeat, reorder and corrupt them."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.now = 1000.0
        config = Config(zero_checksum=False)
        self.core = {
            side: Association(random_bytes=seeded_random_bytes(2 * seed + (side == "b")), config=config)
            for side in "ab"
        }
        self.wire: dict[str, list[bytes]] = {"a": [], "b": []}  # what the side has sent
        self.sent: dict[tuple[str, int], list[bytes]] = {}
        self.got: dict[tuple[str, int], list[bytes]] = {}
        self.number = 0
        for core in self.core.values():
            core.connect(self.now)
        self.flush()

    def flush(self) -> None:
        for side, core in self.core.items():
            self.wire[side] += core.datagrams_to_send(self.now)
            del self.wire[side][: -WIRE_AT_MOST or None]
            for event in core.poll_events():
                assert not isinstance(event, AssociationLost), event
                if isinstance(event, MessageReceived):
                    self.got.setdefault((self.other(side), event.stream_id), []).append(event.data)

    @staticmethod
    def other(side: str) -> str:
        return "b" if side == "a" else "a"

    def deliver(self, side: str, data: bytes) -> None:
        self.core[self.other(side)].receive_datagram(data, self.now)
        self.flush()

    @rule(side=SIDES, stream=st.sampled_from(list(OPTIONS)), size=SIZES)
    def send(self, side: str, stream: int, size: int) -> None:
        self.number += 1
        message = b"%06d" % self.number + bytes(size)
        self.sent.setdefault((side, stream), []).append(message)
        self.core[side].send(stream, 53, message, now=self.now, **OPTIONS[stream])
        self.flush()

    @rule(side=SIDES, index=INDEX)
    def deliver_one(self, side: str, index: int) -> None:
        if self.wire[side]:
            self.deliver(side, self.wire[side].pop(index % len(self.wire[side])))

    @rule(side=SIDES)
    def deliver_all(self, side: str) -> None:
        packets, self.wire[side] = self.wire[side], []
        for data in packets:
            self.deliver(side, data)

    @rule(side=SIDES, index=INDEX)
    def drop(self, side: str, index: int) -> None:
        if self.wire[side]:
            del self.wire[side][index % len(self.wire[side])]

    @rule(side=SIDES, index=INDEX)
    def repeat(self, side: str, index: int) -> None:
        if self.wire[side]:
            self.deliver(side, self.wire[side][index % len(self.wire[side])])

    @rule(side=SIDES, index=INDEX, bit=st.integers(0, 10_000))
    def corrupt(self, side: str, index: int, bit: int) -> None:
        if self.wire[side]:
            data = bytearray(self.wire[side].pop(index % len(self.wire[side])))
            data[bit // 8 % len(data)] ^= 1 << bit % 8
            self.deliver(side, bytes(data))

    @rule(side=SIDES)
    def reflect(self, side: str) -> None:
        """A packet comes back to whoever sent it."""
        if self.wire[side]:
            self.core[side].receive_datagram(self.wire[side][-1], self.now)
            self.flush()

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.2, 1.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        self.advance(until)
        self.now = max(self.now, until)

    @rule(side=SIDES)
    def path_recovers(self, side: str) -> None:
        self.core[side].on_path_recovered(self.now)
        self.flush()

    def advance(self, until: float) -> bool:
        """Serve the next timers; whether there were any."""
        served = False
        for _ in range(200):
            due = min((at for core in self.core.values() if (at := core.next_timeout()) is not None), default=None)
            if due is None or due > until:
                return served
            served = True
            self.now = max(self.now, due)
            for core in self.core.values():
                core.handle_timeout(self.now)
            self.flush()
        raise AssertionError("timers that never end")

    @invariant()
    def what_arrived_was_sent(self) -> None:
        for (side, stream), got in getattr(self, "got", {}).items():
            sent = self.sent.get((side, stream), [])
            assert len(set(got)) == len(got)
            if stream == RELIABLE:
                assert got == sent[: len(got)]
            elif stream == TIMED:
                assert got == [message for message in sent if message in set(got)]
            else:
                assert set(got) <= set(sent)

    @invariant()
    def numbers_make_sense(self) -> None:
        for core in getattr(self, "core", {}).values():
            statistics = core.statistics()
            assert statistics.flight >= 0
            assert 0 <= statistics.held < 5_000_000
            assert statistics.peer_window >= 0
            assert statistics.buffered >= 0

    def teardown(self) -> None:
        """With a good wire, everything reliable arrives within bounded virtual time, and nothing is left."""
        if not hasattr(self, "core"):
            return
        for _ in range(3000):
            for side in "ab":
                self.deliver_all(side)
            due = [at for core in self.core.values() if (at := core.next_timeout()) is not None]
            if not due and not any(self.wire.values()):
                break
            if due and not any(self.wire.values()):
                self.advance(min(due))
        else:
            raise AssertionError("never idle")
        for side in "ab":
            for stream in (RELIABLE, UNORDERED):
                got, sent = self.got.get((side, stream), []), self.sent.get((side, stream), [])
                assert got == sent if stream == RELIABLE else sorted(got) == sorted(sent)
            statistics = self.core[side].statistics()
            assert (statistics.flight, statistics.buffered, statistics.held) == (0, 0, 0)


Associations.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAssociations = Associations.TestCase

"""Which pair carries data, and whether it still lives."""

from __future__ import annotations

__all__ = ["Selection"]

from typing import TYPE_CHECKING

from .events import Event, Path, PathRecovered, PathSelected, PathSuspected, State, StateChanged
from .monitor import PathMonitor

if TYPE_CHECKING:
    from .checklist import Pair
    from .config import Config
    from .generation import Generation


class Selection:
    """The selected pair, its monitor, and the agent's state, which follows from them."""

    __slots__ = ("events", "generation", "monitor", "pair", "path", "state")

    def __init__(self, config: Config) -> None:
        self.state = State.NEW
        self.pair: Pair | None = None
        self.generation: Generation | None = None
        self.path: Path | None = None  # None while there is a pair, too, if its consent ran out
        self.monitor = PathMonitor(config)
        self.events: list[Event] = []

    def enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.events.append(StateChanged(state))

    def choose(self, pair: Pair, generation: Generation, now: float) -> None:
        self.pair = pair
        self.generation = generation
        self.path = pair.path
        self.monitor.start(now, pair.rtt_s)
        self.events.append(PathSelected(pair.path))
        self.enter(State.CONNECTED)

    def suspect(self) -> None:
        """The selected pair may be dead."""
        self.monitor.is_suspect = True
        if self.path is not None:
            self.events.append(PathSuspected(self.path))

    def drop(self) -> None:
        self.pair = self.generation = self.path = None

    def prefers(self, pair: Pair, generation: Generation, *, controlling: bool) -> bool:
        """Whether ``pair``, which just proved valid or was just nominated, is better than what we have."""
        chosen = self.pair
        if chosen is pair:
            return False
        if chosen is None or self.generation is not generation or self.monitor.is_suspect:
            return True
        if controlling:
            return pair.priority > chosen.priority
        return (pair.is_nominated, pair.priority) > (chosen.is_nominated, chosen.priority)

    def floor(self, generation: Generation) -> int:
        """Only pairs above this priority are worth a check in ``generation``."""
        chosen = self.pair
        if chosen is None or self.generation is not generation or self.monitor.is_suspect:
            return -1
        return chosen.priority

    def on_answer(self, now: float, rtt_s: float) -> None:
        """The selected pair answered."""
        assert self.pair is not None
        recovered = self.monitor.on_answer(now, rtt_s)
        if self.path is None:
            self.path = self.pair.path
            self.events.append(PathSelected(self.path))
        elif recovered:
            self.events.append(PathRecovered(self.path))
        self.enter(State.CONNECTED)

    def on_clock_gap(self, now: float, consent_timeout_s: float) -> None:
        """The process slept. If consent ran out meanwhile, sending pauses until an answer comes."""
        monitor = self.monitor
        monitor.on_clock_gap(now)
        if now - monitor.answered_at >= consent_timeout_s:
            self.path = None
            self.enter(State.DISCONNECTED)
            monitor.answered_at = now  # with nothing being sent, there is time to ask

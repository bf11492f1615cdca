"""What the parts of an agent share."""

from __future__ import annotations

__all__ = ["Session"]

from typing import TYPE_CHECKING

from .counters import Counters
from .generation import Generation, LocalCandidates, new_credentials
from .role import Role
from .selection import Selection

if TYPE_CHECKING:
    from ..types import RandomBytes
    from .candidate import Candidate
    from .checklist import Pair
    from .config import Config
    from .events import Path
    from .generation import Credentials

_MAX_OLD_GENERATIONS = 3


class Session:
    """State only: the checker, chooser, responder and watcher each act on it, and the agent puts them together."""

    __slots__ = (
        "authenticated",
        "config",
        "counters",
        "current",
        "fail_at",
        "locals",
        "old",
        "outbox",
        "proposed",
        "random_bytes",
        "role",
        "selection",
    )

    def __init__(self, *, controlling: bool, random_bytes: RandomBytes, config: Config) -> None:
        self.config = config
        self.random_bytes = random_bytes
        self.role = Role(random_bytes, controlling=controlling)
        self.locals = LocalCandidates()
        self.current = Generation(new_credentials(random_bytes), config)
        self.old: list[Generation] = []  # from before restarts, newest first: they only answer
        self.proposed: Generation | None = None  # of a restart that the peer has not answered yet: it only answers, too
        self.selection = Selection(config)
        self.authenticated: set[Path] = set()
        self.outbox: list[tuple[Path, bytes]] = []
        self.counters = Counters()
        self.fail_at: float | None = None  # without a selected pair by then: failed

    def generations(self) -> tuple[Generation, ...]:
        proposed = () if self.proposed is None else (self.proposed,)
        return (self.current, *self.old, *proposed)

    def find(self, path: Path) -> Pair | None:
        for generation in self.generations():
            pair = generation.checklist.get(path)
            if pair is not None:
                return pair
        return None

    def base_of(self, path: Path) -> Candidate | None:
        """The candidate of ours that ``path`` begins at."""
        if path.protocol == "udp":
            return self.locals.base(path.local)
        pair = self.find(path)
        return None if pair is None else pair.local

    def propose(self, local: Credentials) -> None:
        """Get a new generation ready. Until the peer answers, the current one goes on, all its pairs included."""
        self.proposed = Generation(local, self.config)

    def succeed(self, local: Credentials) -> None:
        """Begin a new generation: the one that was proposed, if any was."""
        older = self.current
        self.current = self.proposed or Generation(local, self.config)
        self.proposed = None
        self.current.inherit(older)
        self.old = [older, *self.old[: _MAX_OLD_GENERATIONS - 1]]
        self.fail_at = None

    def retire(self, now: float) -> None:
        """Stop answering for credentials from long enough before a restart."""
        if all(g.expires_at is None or now < g.expires_at for g in self.old):
            return
        self.old = [g for g in self.old if g.expires_at is None or now < g.expires_at]
        self.authenticated = {path for path in self.authenticated if self.find(path) is not None}

    def silence(self) -> None:
        """Forget everything that could make us send or listen."""
        self.selection.drop()
        self.authenticated.clear()
        self.outbox.clear()
        self.old.clear()
        self.proposed = None
        self.fail_at = None

"""Faults for ``Link.drop`` that a ``LinkModel`` has no number for: outages and losses that come in bursts."""

from __future__ import annotations

__all__ = ["Bursts", "blocked"]

import random


def blocked(data: bytes) -> bool:
    """Lose everything."""
    return True


class Bursts:
    """Loss in bursts: the two-state model of Gilbert and Elliott, one step per datagram.

    Each datagram moves the good state to the bad one with chance ``enter``, or back with chance ``leave``, and is lost
    in the bad state with chance ``loss``. A burst lasts ``1 / leave`` datagrams on average, and the share of time spent
    in bursts is ``enter / (enter + leave)``. Two links given one object fail together, as both ways of a radio do.
    """

    def __init__(self, *, enter: float, leave: float, loss: float = 1.0, seed: int = 0) -> None:
        self.enter = enter
        self.leave = leave
        self.loss = loss
        self.bad = False
        self._random = random.Random(seed)  # noqa: S311 - a simulation that must replay

    def __call__(self, data: bytes) -> bool:
        """Whether this datagram is lost."""
        roll = self._random.random
        if roll() < (self.leave if self.bad else self.enter):
            self.bad = not self.bad
        return self.bad and roll() < self.loss

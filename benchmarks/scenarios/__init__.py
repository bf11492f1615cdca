"""Every scenario there is, in the order in which they run."""

from __future__ import annotations

__all__ = ["SCENARIOS"]

from . import channels, footprint, joining, layers, tracks

SCENARIOS = (
    *layers.SCENARIOS,
    *channels.SCENARIOS,
    *tracks.SCENARIOS,
    *joining.SCENARIOS,
    *footprint.SCENARIOS,
)

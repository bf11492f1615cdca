"""Helpers for testing on top of trio_livekit: networks in memory, two cores on a scripted link, rooms.

``rooms`` and ``pytest_plugin`` are for applications; ``network`` (with ``faults`` and ``nat``) and ``pair`` for
protocols.
"""

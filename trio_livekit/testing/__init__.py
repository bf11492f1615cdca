"""Helpers for testing on top of trio_livekit: networks in memory, two cores on a scripted link, rooms."""

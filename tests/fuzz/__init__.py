"""Hostile input for every parser and every core: ``python -m tests.fuzz --seconds 60``."""

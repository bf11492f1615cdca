"""Signalling as plain values: the messages of both directions, and who is in the room."""

"""Signalling as plain values: the messages of both directions, the outstanding requests, and who is in the room."""

"""Signalling as plain values: the messages of both directions, and who is in the room.

``messages`` are the dataclasses, and ``values`` what is in them; ``roster`` makes of them who came, went and changed;
``frames`` bounds what a peer may do with the websocket below.
"""

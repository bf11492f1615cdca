"""Protocol cores: bytes and ``now`` in, bytes and events out. No trio, no socket, no clock, no randomness.

Every core has the same doors: what came in (``receive_...``, ``on_...``), time (``handle_timeout``, ``next_timeout``),
what is to go out (``datagrams_to_send``, ``poll_commands``) and what happened (``poll_events``).

- One peer connection: ``ice``, ``dtls``, ``sctp`` and ``channels``, each on top of the one before. ``peer`` is all four
  as one core, ``sdp`` the descriptions that two of them exchange.
- What goes over its channels: ``tracks`` (frames), ``packets`` (everything reliable or lossy), and in packets
  ``streams`` and ``rpc``; ``encryption`` from end to end for any of these.
- What is said beside it: ``signal``.
- ``types``, ``records``, ``serial`` and ``timers`` are for all of them.
"""

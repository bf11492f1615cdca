"""Protocol cores: bytes and ``now`` in, bytes and events out. No trio, no socket, no clock, no randomness."""

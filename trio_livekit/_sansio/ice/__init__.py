"""ICE (RFC 8445): finding a way to the peer, and keeping it. See ``agent`` for the entry point."""

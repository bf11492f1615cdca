"""LiveKit for trio: rooms and data tracks as structured concurrency, in pure Python."""

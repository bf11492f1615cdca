"""Text and byte streams: content of any length, cut into reliable packets and put together again."""

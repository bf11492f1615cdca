"""Data tracks: frames to packets and back, what is published and subscribed, and in what order frames leave."""

"""What travels on the ``_reliable`` and ``_lossy`` channels: data packets."""

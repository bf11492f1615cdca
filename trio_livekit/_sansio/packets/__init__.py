"""What travels on the ``_reliable`` and ``_lossy`` channels: data packets.

``messages`` are the dataclasses. Sending: ``outbox`` (what may have to be sent again), ``high_water`` (when senders
wait), ``lossy_queue``. Receiving: ``filters`` (nothing twice, and gaps are seen).
"""

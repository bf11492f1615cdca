"""Benchmarks of trio_livekit beside its peers: ``python -m benchmarks``. See README.md."""

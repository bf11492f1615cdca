"""Remote procedure calls: what becomes of the calls we make, and which of those made to us are run.

``calls`` are ours, ``invocations`` the others'; ``attributes`` and ``faults`` are what they look like on the wire.
"""

"""End-to-end encryption: keys and their order, sealing what is sent, opening what comes.

AES-128-GCM without additional data, under keys derived as all LiveKit SDKs derive them. What is sealed (a whole frame
of a data track, or the value of a data packet) says under which of 16 key indexes and with which initialisation vector.

``key`` is one, ``keys`` are all that a client has; ``sealer`` and ``opener`` use them; ``complaints`` counts what
does not open. Nothing is imported here, since ``complaints`` is needed without the cryptography that the rest leans
on.
"""

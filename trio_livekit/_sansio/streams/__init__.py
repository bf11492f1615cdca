"""Text and byte streams: content of any length, cut into reliable packets and put together again.

Sending: ``outgoing`` with ``chunking``, in one of the ``forms`` that the recipients understand. Receiving: ``incoming``
(all of them) and ``incoming_stream`` (one). ``info`` is what an application gets to know, ``deflate`` compresses.
"""

"""The drivers of the sans-IO cores, and the only code that touches sockets.

- ``peer`` drives one peer connection, over the endpoints that ``datagrams`` (UDP, with ``offload``), ``tcp`` and
  ``relay`` are. ``descriptions`` has what was offered and answered, ``hosts`` the sockets on local addresses,
  ``relays`` those on TURN servers, to which ``carriers`` connects.
- ``gathering``, ``interfaces`` and ``servers`` find out where we can be reached; ``certificate`` makes our identity.
- ``websocket`` and ``http`` are for signalling, and know nothing of peer connections.
- ``streams`` are TCP and TLS connections, to whichever server.

Nothing here knows of rooms. Whoever drives something gives it a nursery, or runs it in one.
"""

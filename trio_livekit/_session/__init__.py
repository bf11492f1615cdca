"""One joined room: what can be lost and regained while the user's blocks stay open.

- The room: ``session`` owns it, joins it and leaves it, and takes its connection up again; ``nursery`` holds its tasks.
  ``features`` has all that outlives connections, and routes to it what comes in.
- Its connection, of which there may be several one after the other: ``connection`` (one of them), ``joining``,
  ``signalling`` (its websocket), ``links`` (its peer connections), ``losses``, ``reconnect``, ``regions``,
  ``credentials``.
- Its features, none of which ends with a connection: ``publishing``, ``subscribing``, ``packets`` (with
  ``incoming_packets``) and, on top of these, ``user_packets``, ``streams`` and ``rpc`` (``calling``, ``serving``);
  ``updating`` and ``schemas``, which ask the server by ``inquiries``; ``sealing``, which encrypts for all of them.
- For all: ``mailbox`` (a bounded queue), ``stats``, ``labels``, ``parameters``, ``paths``.

A feature is told synchronously what becomes of the connection, by methods of the same names in all of them:
``on_signal_lost`` and ``on_resumed`` (the same session over another websocket), ``on_session_lost`` and
``on_connected`` (another session), ``on_links_lost`` (nothing can be sent), ``close`` (the room is over).
"""

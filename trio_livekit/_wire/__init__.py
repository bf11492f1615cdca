"""LiveKit protobuf: the only importers of generated code. Above this line everything is dataclasses of ours.

``signal`` is for signalling messages, with ``convert`` for what is in them; ``data`` for data packets as a client
handles them, ``packets`` as a server does, which passes on what it does not understand; ``generated`` for getting at
the generated modules quickly.
"""

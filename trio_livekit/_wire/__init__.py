"""LiveKit protobuf: the only importers of generated code. Above this line everything is dataclasses of ours."""

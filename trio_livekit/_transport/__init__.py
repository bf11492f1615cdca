"""One peer connection: the drivers of the sans-IO cores, and the only code that touches sockets."""

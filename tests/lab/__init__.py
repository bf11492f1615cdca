"""Bad networks on real sockets: a relay that needs no rights, and network namespaces that need root."""

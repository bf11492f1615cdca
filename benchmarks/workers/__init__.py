"""The programs that are measured: scripts, each run by the interpreter of its peer, with this directory as its path."""

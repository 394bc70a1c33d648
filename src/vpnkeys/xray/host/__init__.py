"""Uses the host's kernel: TCP sockets by port, the packet filter and speed limits."""

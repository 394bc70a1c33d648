"""What the host's kernel does for us: sockets, packet filter, speed limits."""

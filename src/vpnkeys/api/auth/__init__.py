"""Who asks: sessions, trusted sockets, rate limits."""

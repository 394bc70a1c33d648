"""The domain: keys, limits, inbounds, traffic and events as frozen data and pure functions. Nothing here does I/O."""

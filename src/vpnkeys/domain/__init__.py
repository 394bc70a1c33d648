"""Frozen data and pure functions: what a key is, and what must be true of it. No I/O."""

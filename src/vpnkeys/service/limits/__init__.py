"""Limits that strike: dates, traffic and devices."""

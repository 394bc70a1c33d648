"""Requests at many connections, made by wrk."""

from __future__ import annotations

import re
import subprocess

CONNECTIONS = 16
_PATIENCE_S = 20


class WrkError(RuntimeError):
    """wrk could not measure; the text is what it printed."""


def rate(url: str, api_key: str, seconds: int) -> float:
    """Return how many requests a second are answered at sixteen connections. Raises WrkError."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"X-API-Key: {api_key}", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + _PATIENCE_S)
    match = re.search(r"([1-9]\d*) requests in ([\d.]+)s", done.stdout)
    if done.returncode or match is None or "Non-2xx" in done.stdout:
        raise WrkError(f"wrk on {url}: {done.stdout}{done.stderr}")
    return int(match[1]) / float(match[2])

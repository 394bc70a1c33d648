"""The check of the clock, which decides when keys expire and whether certificates are valid."""

import ctypes
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import median

import httpx

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.waiting import within

_ASKED = 4
_TIMEOUT_S, _WAIT_S = 3.0, 5.0
_ODD_S, _WRONG_S = 5.0, 60.0

_TIME_ERROR = 5  # linux/timex.h: adjtimex(2) answers so while the clock is not synchronised
_TIMEX_BYTES = 512  # struct timex is smaller everywhere; `modes`, its first field, is 0: nothing is set

_MEND = "timedatectl set-ntp true"


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """Whether the kernel's clock is synchronised (None: unknown), and how many seconds it is ahead of the targets.

    `ahead_s` comes from the targets' `Date` headers; it is None when none answered.
    """

    is_synchronised: bool | None
    ahead_s: float | None


def look(installation: Installation) -> ClockFacts:
    """Ask the kernel, and a few targets for their time."""
    settings = installation.settings
    names = settings.reality_server_names[:_ASKED]
    asked = [(name, settings.reality_target or f"{name}:443") for name in names]
    offsets = [ahead for ahead in within(_WAIT_S, _ahead_of, asked) if ahead is not None]
    # The median: one target with a wrong clock must not decide.
    return ClockFacts(_synchronised(), median(offsets) if offsets else None)


def judge(facts: ClockFacts) -> Iterable[Verdict]:
    """Compare the clocks with a tolerance: `Date` headers have whole seconds, and some take seconds to arrive."""
    ahead_s = facts.ahead_s
    if ahead_s is not None and abs(ahead_s) > _ODD_S:
        words = f"the clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the clocks of the targets"
        yield fail(f"{words}: keys expire at the wrong time", _MEND) if abs(ahead_s) > _WRONG_S else warn(words, _MEND)
    elif facts.is_synchronised is False:
        yield warn("the clock is not synchronised, so it may drift", _MEND)
    else:
        how = "is synchronised" if facts.is_synchronised else "may be synchronised: the kernel does not say"
        agreed = "no target answered with its time" if ahead_s is None else "the targets have the same time"
        yield ok(f"the clock {how}; {agreed}")


def _synchronised() -> bool | None:
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def _ahead_of(installation: tuple[str, str]) -> float | None:
    """Return by how many seconds our clock is ahead of a target's, or None when the target gives no time."""
    server_name, target = installation
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # with a wrong clock no certificate is valid
    headers, extensions = {"Host": server_name}, {"sni_hostname": server_name}
    try:
        with httpx.Client(verify=context, timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = client.head(f"https://{target}/", headers=headers, extensions=extensions)
        there = parsedate_to_datetime(answer.headers["Date"])
    except (httpx.HTTPError, KeyError, ValueError):
        return None
    # A header has whole seconds, so the target's clock is half a second further on average.
    return (datetime.now(UTC) - there.astimezone(UTC)).total_seconds() - 0.5

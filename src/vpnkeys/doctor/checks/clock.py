"""The clock: keys expire by it, and clients and certificates are judged by it."""

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
    """What the kernel says, and how far this clock is ahead of the targets' `Date` headers (None: nobody told)."""

    is_synchronised: bool | None
    ahead_s: float | None


def look(place: Installation) -> ClockFacts:
    """Ask the kernel and some targets."""
    settings = place.settings
    names = settings.reality_server_names[:_ASKED]
    places = [(name, settings.reality_target or f"{name}:443") for name in names]
    told = [ahead for ahead in within(_WAIT_S, _ahead_of, places) if ahead is not None]
    return ClockFacts(_synchronised(), median(told) if told else None)


def judge(facts: ClockFacts) -> Iterable[Verdict]:
    """A header is exact to the second, and may have been on its way for some."""
    ahead_s = facts.ahead_s
    if ahead_s is not None and abs(ahead_s) > _ODD_S:
        words = f"the clock is {abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'behind'} of what the targets say"
        yield fail(f"{words}: keys expire at a wrong time", _MEND) if abs(ahead_s) > _WRONG_S else warn(words, _MEND)
    elif facts.is_synchronised is False:
        yield warn("nothing keeps the clock right: the kernel says that it is not synchronised", _MEND)
    else:
        how = "is synchronised" if facts.is_synchronised else "cannot be asked whether it is synchronised"
        agreed = "no target told its time" if ahead_s is None else "the targets agree with it"
        yield ok(f"the clock {how}; {agreed}")


def _synchronised() -> bool | None:
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def _ahead_of(place: tuple[str, str]) -> float | None:
    """How far our clock is ahead of a site's, in seconds."""
    server_name, target = place
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
    return (datetime.now(UTC) - there.astimezone(UTC)).total_seconds() - 0.5

"""Collects what a reader finds in another panel's file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.moving import Customer, LeftOut, Panel

_NAMED = 5


@dataclass(slots=True)
class Collected:
    """Collects customers, those that are left out, and what changes for keys."""

    _customers: dict[str, Customer] = field(default_factory=dict)
    _left_out: list[LeftOut] = field(default_factory=list)
    _remarks: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, customer: Customer) -> bool:
        """Add a customer, and return whether he is in. One who is in by another inbound stays one customer.

        One with the UUID of another customer is left out.
        """
        first = self._customers.setdefault(customer.uuid, customer)
        if first is customer:
            return True
        if first.name == customer.name:
            self._customers[customer.uuid] = _merged(first, customer)
            self.remark("the old links of several inbounds become one new link", customer.name)
            return True
        why = f"its UUID is that of {first.name}: give one of them another UUID there, then import again"
        self.leave(customer.name, why, customer.used_bytes)
        return False

    def leave(self, what: str, why: str, used_bytes: int = 0) -> None:
        """Note a customer, or an inbound, that is not imported."""
        self._left_out.append(LeftOut(what, why, used_bytes))

    def remark(self, what: str, name: str) -> None:
        """Note what changes for a customer, as the end of a sentence."""
        self._remarks.setdefault(what, {})[name] = None

    def panel(self, name: str, *notes: str) -> Panel:
        """Return what was collected."""
        remarks = (f"{_listed(tuple(names))} {what}." for what, names in self._remarks.items())
        return Panel(name, tuple(self._customers.values()), tuple(self._left_out), (*notes, *remarks))


def _merged(one: Customer, other: Customer) -> Customer:
    """Return the customer of two entries, in any order: those that are switched on count, with the widest limits.

    He goes on there while one of them lets him in.
    """
    if one.is_active != other.is_active:
        return one if one.is_active else other
    return replace(one, limits=_widest(one.limits, other.limits), others=(*one.others, *other.inbounds))


def _widest(*limits: Limits) -> Limits:
    traffic, expiry = max(limits, key=_traffic), max(limits, key=_expiry)
    devices = max(limits, key=lambda one: one.max_devices or math.inf)
    return replace(
        traffic,
        expires_at=expiry.expires_at,
        expires_after_s=expiry.expires_after_s,
        max_devices=devices.max_devices,
    )


def _traffic(limits: Limits) -> tuple[float, bool, str]:
    """Return how much a limit lets through; of the same bytes, those that come again are more."""
    most = math.inf if limits.traffic_bytes is None else limits.traffic_bytes
    return most, limits.traffic_window != Window.TOTAL, str(limits.traffic_window)


def _expiry(limits: Limits) -> tuple[int, int, str]:
    """Return how late an expiry is: one that no use has begun yet is later than a date, and none than both."""
    if limits.expires_after_s is not None:
        return 1, limits.expires_after_s, ""
    return (2, 0, "") if limits.expires_at is None else (0, 0, limits.expires_at.isoformat())


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"1 key ({names[0]}):"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} keys ({', '.join(names[:_NAMED])}{more}):"

"""Looks at a server and its host from all sides, says what is wrong, and names the command that mends it.

Each check has two halves: `look` gathers facts and judges nothing, `judge` is pure. `checks.py` is the table of them.
"""

from vpnkeys.doctor.finding import Finding, Level, worst
from vpnkeys.doctor.installation import Installation, find_place
from vpnkeys.doctor.table import examine

__all__ = ["Finding", "Installation", "Level", "examine", "find_place", "worst"]

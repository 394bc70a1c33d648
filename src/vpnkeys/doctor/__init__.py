"""The doctor checks a server and its host, reports what is wrong, and names the command that repairs it.

Each check has two functions: `look` gathers facts, and `judge` turns them into verdicts without any I/O. `table.py`
lists the checks.
"""

from vpnkeys.doctor.finding import Finding, Level, worst
from vpnkeys.doctor.installation import Installation, find_data_dir, find_installation
from vpnkeys.doctor.table import examine

__all__ = ["Finding", "Installation", "Level", "examine", "find_data_dir", "find_installation", "worst"]

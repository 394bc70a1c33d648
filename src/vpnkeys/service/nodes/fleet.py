"""Joins what the API calls about nodes and their agents."""

from collections.abc import Callable
from dataclasses import dataclass

from vpnkeys.service.nodes.admin import NodeAdmin
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.moving import Mover
from vpnkeys.service.nodes.nodes import NodeService
from vpnkeys.service.nodes.reports import ReportService


@dataclass(frozen=True, slots=True)
class Fleet:
    """Holds the use cases about nodes. `join_command` returns the command line by which an agent joins with a token."""

    board: Board
    nodes: NodeService
    admin: NodeAdmin
    reports: ReportService
    mover: Mover
    join_command: Callable[[str], str]

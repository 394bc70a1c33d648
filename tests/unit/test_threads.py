"""Every thread of a server is a worker, or has a reason to be none."""

import ast
from pathlib import Path

import vpnkeys

SOURCE = Path(vpnkeys.__file__).parent

WORKERS = {"worker/thread.py", "worker/task.py"}
NO_LOOPS = {
    "cli/commands/top.py": "a command, which ends with its terminal",
    "cli/output/progress.py": "names the step of a command that goes on, and ends with it",
    "acme/answers.py": "answers an authority while a certificate is issued, and ends with that",
    "doctor/waiting.py": "a command's checks, which end with it",
    "hooks/client.py": "one DNS lookup, which cannot be cancelled",
    "service/health/bounded.py": "one question, which cannot be cancelled",
    "store/sql/postgresql/connection.py": "one connection, whose DNS lookup cannot be cancelled",
    "store/sql/postgresql/opening.py": "asks a lost database until it answers or is given up, below all workers",
    "xray/probe/resolver.py": "one DNS lookup, which cannot be cancelled",
}
BEFORE_WORKERS = {"server/logwriter.py": "writes what workers log; it starts before them and ends after them"}


def makes_threads(path: Path) -> bool:
    """Whether a file starts a thread by itself; a pool of the standard library ends with its `with` or its owner."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls}
    return bool(names & {"Thread", "Timer", "start_new_thread"})


def test_every_thread_is_a_worker_or_has_a_reason() -> None:
    """A loop of one's own ends at the first surprise, and nobody stops it."""
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if makes_threads(path)}
    assert found >= WORKERS
    assert found <= WORKERS | NO_LOOPS.keys() | BEFORE_WORKERS.keys()

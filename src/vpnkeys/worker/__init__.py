"""Background loops that no exception ends, and that report their status."""

from vpnkeys.worker.job import NEVER, Job, WorkerStatus
from vpnkeys.worker.task import AsyncWorker, Interruptible
from vpnkeys.worker.thread import Worker, Workers

__all__ = ["NEVER", "AsyncWorker", "Interruptible", "Job", "Worker", "WorkerStatus", "Workers"]

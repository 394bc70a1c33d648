"""What a service has answered, kept beside it: after a crash it is held to that, neither more nor less."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Self

import httpx

from tests.support.keys import Key, lasting
from tests.support.service import Service


@dataclass
class Promises:
    """Keys by id, sorted by what the service has said of them."""

    kept: dict[str, Key] = field(default_factory=dict)
    """Creation answered, deletion never asked for: must be there."""
    doubtful: dict[str, Key] = field(default_factory=dict)
    """Deletion asked for, not answered: may be there."""
    gone: set[str] = field(default_factory=set)
    """Deletion answered: must not be there."""
    unanswered_creates: int = 0
    """How many more keys there may be."""
    faults: list[str] = field(default_factory=list)
    """Answers that should not have come."""
    answered: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def broken_by(self, keys: list[Key]) -> list[str]:
        """What is wrong if these are all keys there are."""
        live = {key["id"]: key for key in keys}
        lost = [f"lost {key}" for key_id, key in self.kept.items() if lasting(live.get(key_id, {})) != lasting(key)]
        back = [f"came back: {live[key_id]}" for key_id in self.gone & live.keys()]
        unknown = [live[key_id] for key_id in live.keys() - self.kept.keys() - self.doubtful.keys() - self.gone]
        surplus = [f"nobody asked for {unknown}"] if len(unknown) > self.unanswered_creates else []
        return [*self.faults, *lost, *back, *surplus]

    def settle(self, keys: list[Key]) -> None:
        """Take what is there for what was promised: after a crash the rest is decided."""
        live = {key["id"]: key for key in keys}
        self.gone |= (self.kept.keys() | self.doubtful.keys()) - live.keys()
        self.kept, self.doubtful, self.unanswered_creates = live, {}, 0


class Customers:
    """Threads that make and delete keys until the service is gone."""

    def __init__(self, service: Service, promises: Promises, rng: random.Random, *, count: int, most_keys: int) -> None:
        """Prepare; entering the context starts them, leaving it waits for their end."""
        self._service = service
        self._promises = promises
        self._most_keys = most_keys
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(rng.random()),), daemon=True)  # noqa: S311
            for _ in range(count)
        ]

    def __enter__(self) -> Self:
        """Start them."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for them: the service is gone, or will be."""
        for thread in self._threads:
            thread.join()

    def _work(self, rng: random.Random) -> None:
        with self._service.new_client() as client:
            while True:
                try:
                    self._ask_once(client, rng)
                except httpx.TransportError:
                    return

    def _ask_once(self, client: httpx.Client, rng: random.Random) -> None:
        promises = self._promises
        with promises.lock:
            there = len(promises.kept) + promises.unanswered_creates
            key_id = rng.choice(sorted(promises.kept)) if promises.kept else ""
            create = not key_id or (there < self._most_keys and rng.random() < 0.5)
            if create:
                promises.unanswered_creates += 1
            else:
                promises.doubtful[key_id] = promises.kept.pop(key_id)
        answer = client.post("/api/keys", json={"name": "x"}) if create else client.delete(f"/api/keys/{key_id}")
        with promises.lock:
            promises.answered += 1
            if answer.status_code != httpx.codes.OK:
                promises.faults.append(f"{answer.status_code} {answer.text}")
            elif create:
                key = answer.json()
                key.pop("ignored_fields", None)  # of the request, not of the key
                promises.unanswered_creates -= 1
                promises.kept[key["id"]] = key
            else:
                promises.gone.add(key_id)
                del promises.doubtful[key_id]

"""A wire for whole weights within one program: from a trainer to `FakeVllmServer`s, in place of NCCL.

    monkeypatch.setattr(HttpEngine, "broadcast", LocalBroadcast)

As on the real one, all members must come before anything is sent, and a sender waits until each of them has taken the weights.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

WAIT_S = 10.0


class LocalBroadcast:
    """One group, found by its port."""

    groups: ClassVar[dict[int, LocalBroadcast]] = {}
    _ports: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, device: Any) -> None:
        self.device = device
        self.members: set[int] = set()
        """Ranks of the servers that have come."""
        self.weights: list[tuple[str, Any]] | None = None
        """What is being sent."""
        self._port = next(self._ports)
        self._changed = threading.Condition()
        self._taken: set[int] = set()
        self._size = 0

    @classmethod
    def missing(cls) -> str | None:
        """None."""
        return None

    def meet(self) -> dict[str, Any]:
        """A port that no machine has."""
        self.groups[self._port] = self
        return {"master_address": "local", "master_port": self._port}

    def open(self, init_info: Mapping[str, Any]) -> None:
        """Raises `TimeoutError` unless all come."""
        self._size = init_info["world_size"]
        self._wait(lambda: self.members == set(range(1, self._size)))

    def join(self, rank: int) -> None:
        """A server has come."""
        with self._changed:
            self.members.add(rank)
            self._changed.notify_all()

    def send(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Raises `TimeoutError` unless all take them."""
        with self._changed:
            self._taken = set()
            self.weights = [(name, weight.clone()) for name, weight in weights]
        self._wait(lambda: len(self._taken) == self._size - 1)
        self.weights = None

    def take(self, rank: int) -> list[tuple[str, Any]] | None:
        """What is being sent, to a member that has not taken it yet; else None."""
        with self._changed:
            if self.weights is None or rank in self._taken:
                return None
            self._taken.add(rank)
            self._changed.notify_all()
            return self.weights

    def close(self) -> None:
        """Nobody finds it any more."""
        self.groups.pop(self._port, None)

    def _wait(self, there: Any) -> None:
        with self._changed:
            if not self._changed.wait_for(there, WAIT_S):
                raise TimeoutError(f"{self.members} of {self._size - 1} servers came, and {self._taken} took weights")

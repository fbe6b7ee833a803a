"""Results of single items on disk, so that an interrupted run goes on where it stopped and counts nothing twice.

One JSON line for each item, in a file named after a fingerprint of everything that shapes an item: other settings, other data
or another version of the code never meet in one file. Items that failed are tried again; of several lines for one item the
last one counts; half a line, which a crash may leave, is passed over.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class ResultRecord(BaseModel, ABC):
    """One item of a bench. A bench brings its fields and the `key`."""

    model_config = ConfigDict(frozen=True)

    error: str | None = None
    """Why it failed; its values are 0 then."""

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """Which item it is."""


E = TypeVar("E", bound=ResultRecord)


class Key(NamedTuple):
    """Which item."""

    case: str
    seed: int
    arm: str
    at: int
    """Budget in tokens."""


class Item(ResultRecord):
    """What one method showed of one question within one budget."""

    case: str
    seed: int
    arm: str
    at: int
    answer: float | None = None
    """1 where the gold answer is shown, else 0; None for questions that are not asked so."""
    evidence: float | None = None
    """Share of the supporting sentences shown; None for questions without any."""
    density: float | None = None
    """Legible characters per visual token; None for text."""
    seconds: float | None = None
    """Processor time of reading the picture; None for text."""
    tokens: int = 0
    """What the view costs."""

    @property
    def key(self) -> Key:
        """Which item it is."""
        return Key(self.case, self.seed, self.arm, self.at)


class ResultLog(Generic[E]):
    """Items of one kind kept in `folder`, or in memory alone without one. Threads may share a ledger."""

    def __init__(self, folder: Path | None, fingerprint: str, *, kind: type[E]) -> None:
        self.items: dict[Hashable, E] = {}
        self.file: Path | None = None
        """Where they are kept."""
        self._kind = kind
        self._lock = threading.Lock()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = folder / f"items-{fingerprint}.jsonl"
            self._load(self.file)

    def done(self, key: Hashable) -> bool:
        """Whether the item is there and did not fail."""
        return key in self.items and self.items[key].error is None

    def add(self, item: E) -> None:
        """Keep an item."""
        with self._lock:
            self.items[item.key] = item
            if self.file is not None:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(item.model_dump_json(exclude_none=True) + "\n")

    def _load(self, file: Path) -> None:
        text = file.read_bytes().decode("utf-8", "replace") if file.exists() else ""
        for line in text.split("\n"):  # not `splitlines`: JSON leaves other line ends within a text as they are
            try:
                item = self._kind.model_validate_json(line)
            except ValidationError:
                continue
            self.items[item.key] = item
        if text and not text.endswith("\n"):
            with file.open("a", encoding="utf-8") as opened:
                opened.write("\n")

"""Weights that travel as files: each version of a LoRA adapter in a folder that servers read, under a name of its own.

vLLM keeps what it has computed by an adapter's name, so no name comes back: not in a run, not after it was resumed, and not in
another run on the same servers. The base weights are never merged with an adapter and never sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from memagent.errors import EngineError
from memagent_training.engines.base import PolicyHost, Served
from memagent_training.engines.replica import Replica, everywhere, reached

KEPT = 2
"""Versions that servers keep: the newest, and the one before it for requests still under way."""


@dataclass
class AdapterFiles:
    """Adapters `v1-5fe3a1`, `v2-5fe3a1`, ... in `folder`, which all servers see under the same path."""

    folder: Path
    loaded: list[str] = field(default_factory=list)
    """Names that the servers have, the oldest first."""

    def send(self, host: PolicyHost, replicas: Sequence[Replica]) -> Served:
        """The policy's adapter to all servers that can be reached.

        All processes call it. Raises `EngineError` on all of them where a server refuses, or none answers.
        """
        state = host.accelerator.get_state_dict(host.model_wrapped)
        name, problem, down = "", "", set[str]()
        if host.accelerator.is_main_process:
            try:
                name = self._next_name()
                host.accelerator.unwrap_model(host.model_wrapped).save_pretrained(str(self.folder / name), state_dict=state)
                down = asyncio.run(self._load(name, replicas))
            except (EngineError, OSError) as error:
                problem = str(error)
        name, problem, down = host.broadcast((name, problem, down))
        if problem:
            raise EngineError(problem)
        return Served(name, "", down)

    async def _load(self, name: str, replicas: Sequence[Replica]) -> set[str]:
        down = await reached(replicas, lambda one: one.load_adapter(name, str(self.folder / name)))
        self.loaded.append(name)
        while len(self.loaded) > KEPT:
            await self._unload(self.loaded.pop(0), replicas)
        return down

    async def _unload(self, name: str, replicas: Sequence[Replica]) -> None:
        """Take an adapter from the servers and delete its files; its folder stays, so that the name is not used again."""
        await everywhere(replicas, partial(Replica.unload_adapter, name=name))
        for file in (self.folder / name).iterdir():
            file.unlink()

    def _next_name(self) -> str:
        """Counted on from what is in the folder, and marked by when the folder was made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mark = self.folder / "mark"
        if not mark.exists():
            mark.write_text(hashlib.blake2b(f"{self.folder} {time.time_ns()}".encode(), digest_size=3).hexdigest(), "ascii")
        used = [int(found[1]) for one in self.folder.iterdir() if (found := re.fullmatch(r"v(\d+)-.*", one.name))]
        return f"v{1 + max(used, default=0)}-{mark.read_text('ascii')}"

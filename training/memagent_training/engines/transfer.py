"""Whole weights that travel to servers: pause, broadcast, name, forget what was computed with the old ones, go on.

The servers' workers and the first training process are one group, which is made anew when a server has gone, came back, or has
other weights than were sent last; so a server that was started again gets the next version with the others. Each version has a
name that no other has, and a server that does not say that name afterwards has not taken the weights.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from memagent.errors import ConfigError, EngineError
from memagent_training.engines.base import PolicyHost, Served
from memagent_training.engines.broadcast import Broadcast
from memagent_training.engines.replica import Replica, everywhere, reached

OPEN_S = 300.0
"""Seconds that servers may take to join a group."""


@dataclass
class WeightTransfer:
    """The policy's weights to servers that have it under the name `model`, by groups that `broadcast` makes on a device."""

    model: str
    broadcast: Callable[[Any], Broadcast]
    _group: Broadcast | None = field(default=None, init=False, repr=False)
    _members: list[Replica] = field(default_factory=list, init=False, repr=False)
    _version: str = field(default="", init=False)
    """Name of the weights that were sent last."""
    _number: int = field(default=0, init=False)
    _mark: str = field(init=False)
    """Of this object, so that no name comes back after a resume or in another run."""
    _names: list[tuple[str, list[int]]] = field(default_factory=list, init=False, repr=False)
    """Of all weights, with their shapes."""

    def __post_init__(self) -> None:
        self._mark = hashlib.blake2b(f"{self.model} {time.time_ns()}".encode(), digest_size=3).hexdigest()

    def send(self, host: PolicyHost, replicas: Sequence[Replica]) -> Served:
        """The policy's weights to all servers that can be reached.

        All processes call it, and take part where weights are sharded. Raises `EngineError`, on all of them where a server
        cannot join; where one fails while weights are on their way, on the first process, whose end ends the others.
        """
        if host._dist.fsdp_version == 1:
            raise ConfigError("whole weights are sent from FSDP2, and this is FSDP1; use training/configs/fsdp2.yaml")
        if not self._names:
            self._names = [(name, list(weight.shape)) for name, weight in whole_weights(host, "bfloat16")]
        dtype, problem = "bfloat16", ""
        if host.accelerator.is_main_process:
            try:
                dtype = asyncio.run(self._meet(replicas, host.accelerator.device))
            except EngineError as error:
                problem = str(error)
        if problem := host.broadcast(problem):
            raise EngineError(problem)
        weights = whole_weights(host, dtype)
        if host.accelerator.is_main_process:
            asyncio.run(self._push(weights, dtype))
        else:
            for _ in weights:
                pass
        down = {one.url for one in replicas if one not in self._members}
        served: Served = host.broadcast(Served(self.model, self._version, down))
        return served

    async def _meet(self, replicas: Sequence[Replica], device: Any) -> str:
        """Be in one group with all servers that answer; the name of the type in which they hold weights."""
        versions: dict[str, str] = {}

        async def ask(one: Replica) -> None:
            versions[one.url] = await one.weight_version()

        await reached(replicas, ask)
        up = [one for one in replicas if one.url in versions]
        if up != self._members or any(versions[one.url] != self._version for one in up):
            await self._open(up, device)
        return await up[0].dtype()

    async def _open(self, replicas: Sequence[Replica], device: Any) -> None:
        if self._group is not None:
            self._group.close()
        self._group = group = self.broadcast(device)
        workers = await asyncio.gather(*(one.workers() for one in replicas))
        info = {**group.meet(), "world_size": 1 + sum(workers), "packed": True}
        opened = _on_a_thread(lambda: group.open({**info, "rank_offset": 1}))
        offsets = [1 + sum(workers[:at]) for at in range(len(workers))]
        await asyncio.gather(
            *(one.join({**info, "rank_offset": at}, timeout=OPEN_S) for one, at in zip(replicas, offsets, strict=True))
        )
        await asyncio.wait_for(opened, OPEN_S)
        self._members = list(replicas)

    async def _push(self, weights: Iterable[tuple[str, Any]], dtype: str) -> None:
        group, members = self._group, self._members
        assert group is not None
        self._number += 1
        self._version = f"w{self._number}-{self._mark}"
        names, shapes = ([one[at] for one in self._names] for at in range(2))
        told = {"names": names, "dtype_names": [dtype] * len(names), "shapes": shapes}
        await asyncio.gather(*(one.pause() for one in members))
        try:
            sent = _on_a_thread(lambda: group.send(weights))
            await asyncio.gather(sent, *(one.update_weights([told], version=self._version) for one in members))
        finally:
            await everywhere(members, Replica.resume)


def whole_weights(host: PolicyHost, dtype: str) -> Iterator[tuple[str, Any]]:
    """The policy's weights by name, whole and in `dtype`, one at a time; all processes take them where they are sharded."""
    import torch

    policy = host.accelerator.unwrap_model(host.model_wrapped)
    for name, weight in policy.named_parameters():
        with host._dist.gather_params([weight]):
            whole = weight.detach().to(host.accelerator.device)
            whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
            yield name.replace("_checkpoint_wrapped_module.", ""), whole.to(getattr(torch, dtype))


def _on_a_thread(work: Callable[[], None]) -> Awaitable[None]:
    """What cannot be interrupted, on a thread that does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(EngineError(f"weights were not sent: {error!r}"))

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except Exception as caught:
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(end, error)

    threading.Thread(target=run, name="memagent-weights", daemon=True).start()
    return done

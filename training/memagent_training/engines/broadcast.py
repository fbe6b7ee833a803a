"""The wire on which whole weights go from the first training process to the workers of servers.

Process 0 of a group is the trainer's, the others are the servers' workers. What goes over it is vLLM's own (NCCL, many weights
in one buffer), so both sides must have the same vLLM; it is imported where it is used. This is the only place that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

PARTS = "vllm.distributed.weight_transfer"


class Broadcast(Protocol):
    """One group, made on a device of the trainer's."""

    @classmethod
    def missing(cls) -> str | None:
        """None, or what to install."""
        ...

    def __init__(self, device: Any) -> None: ...

    def meet(self) -> dict[str, Any]:
        """`master_address` and `master_port`, where the servers' workers find this process."""
        ...

    def open(self, init_info: Mapping[str, Any]) -> None:
        """Returns when all `world_size` members have come."""
        ...

    def send(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Returns when the others have all weights, which they take in the same order."""
        ...

    def close(self) -> None:
        """The group is used no more."""
        ...


class NcclBroadcast:
    """vLLM's, of version 0.30 or later. It has no limit on time and cannot be interrupted: call it on a thread that may die."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._group: Any = None

    @classmethod
    def missing(cls) -> str | None:
        """vLLM, unless it is installed."""
        if find_spec("vllm") is not None:
            return None
        return (
            'engine.weights = "whole" sends by vLLM\'s NCCL transfer, and vLLM is not installed beside the trainer: '
            'pip install "vllm>=0.30,<=0.31.0", the version of the servers; or train adapters (policy.lora)'
        )

    def meet(self) -> dict[str, Any]:
        """This machine's address, and a free port of it."""
        network = import_module("vllm.utils.network_utils")
        return {"master_address": network.get_ip(), "master_port": network.get_open_port()}

    def open(self, init_info: Mapping[str, Any]) -> None:
        """Wait for the others, on the trainer's device."""
        import torch

        torch.cuda.set_device(self._device)
        self._group = import_module(f"{PARTS}.nccl_common").trainer_init(dict(init_info))

    def send(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Send the weights in packed buffers."""
        import torch

        torch.cuda.set_device(self._device)
        send = import_module(f"{PARTS}.packed_tensor").packed_nccl_broadcast_producer
        send(iterator=iter(weights), group=self._group, src=0, post_iter_func=lambda item: item[1])

    def close(self) -> None:
        """Let go of the group's store, which would keep its port."""
        if self._group is not None:
            self._group.group.store = self._group.group.socket = None
            self._group = None

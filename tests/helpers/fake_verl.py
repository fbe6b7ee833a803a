"""The parts of verl 0.9.1, tensordict and TransferQueue that our adapter builds on: the same names and fields."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

AGENT_LOOPS: dict[str, type] = {}
TRAINERS: dict[str, type] = {}


class AgentLoopBase:
    def __init__(
        self,
        trainer_config: Any,
        server_manager: Any,
        tokenizer: Any,
        processor: Any,
        dataset_cls: Any,
        data_config: Any,
        hf_model_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.config, self.server_manager = trainer_config.config, server_manager
        self.tokenizer, self.processor = tokenizer, processor


@dataclass
class AgentLoopOutput:
    prompt_ids: list[int]
    response_ids: list[int]
    response_mask: list[int]
    metrics: dict[str, Any]
    response_logprobs: list[float] | None = None
    multi_modal_data: dict[str, Any] | None = None
    reward_score: float | None = None
    num_turns: int = 0
    extra_fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class TokenOutput:
    token_ids: list[int]
    log_probs: list[float] | None = None
    stop_reason: str | None = None


@dataclass
class Batch:
    """As `KVBatchMeta`."""

    keys: list[str]
    partition_id: str


class PPOTrainer:
    def __init__(self, config: Any) -> None:
        self.config, self.trainer_mode = config, config.trainer.v1.trainer_mode

    def _compute_advantage(self, batch: Batch, metrics: dict[str, Any]) -> Batch:
        metrics["verl"] = 1.0
        return batch


class Queue(ModuleType):
    """`transfer_queue`: rows of one partition by their keys."""

    def __init__(self) -> None:
        super().__init__("transfer_queue")
        self.rows: dict[str, dict[str, Any]] = {}

    def kv_batch_get(self, *, keys: list[str], partition_id: str, select_fields: list[str]) -> dict[str, list[Any]]:
        return {name: [self.rows[key][name] for key in keys] for name in select_fields}

    def kv_batch_put(self, *, keys: list[str], partition_id: str, fields: dict[str, Any]) -> Batch:
        for name, values in fields.items():
            for key, value in zip(keys, values.unbind(), strict=True):
                self.rows[key][name] = value
        return Batch(keys, partition_id)


def tensor_dict(fields: dict[str, Any], *, batch_size: int) -> dict[str, Any]:
    assert all(value.size(0) == batch_size for value in fields.values())
    return fields


def _registering(table: dict[str, type]) -> Any:
    def register(name: str) -> Any:
        def put(kind: type) -> type:
            table[name] = kind
            return kind

        return put

    return register


def install(patch: pytest.MonkeyPatch) -> Queue:
    """Put it in the place of the packages."""
    queue = Queue()
    trainers = "verl.trainer.ppo.v1"
    names: dict[str, dict[str, Any]] = {
        "verl.experimental.agent_loop.agent_loop": {
            "AgentLoopBase": AgentLoopBase,
            "AgentLoopOutput": AgentLoopOutput,
            "register": _registering(AGENT_LOOPS),
        },
        f"{trainers}.trainer_base": {"register_trainer": _registering(TRAINERS)},
        f"{trainers}.trainer_sync": {"PPOTrainerSync": type("PPOTrainerSync", (PPOTrainer,), {})},
        f"{trainers}.trainer_colocate_async": {"PPOTrainerColocateAsync": type("PPOTrainerColocateAsync", (PPOTrainer,), {})},
        f"{trainers}.trainer_separate_async": {"PPOTrainerSeparateAsync": type("PPOTrainerSeparateAsync", (PPOTrainer,), {})},
        "tensordict": {"TensorDict": tensor_dict},
    }
    for name, members in names.items():
        parts = name.split(".")
        for end in range(1, len(parts)):
            patch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(".".join(parts[:end])))
        module = ModuleType(name)
        for member, value in members.items():
            setattr(module, member, value)
        patch.setitem(sys.modules, name, module)
    patch.setitem(sys.modules, "transfer_queue", queue)
    return queue

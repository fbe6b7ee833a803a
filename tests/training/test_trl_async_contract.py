"""What TRL 1.16's asynchronous trainer asks of a rollout worker and of a transfer of weights, by member and signature.

It is experimental there and may change in any release; parts of ours that are to serve it rest on this.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.checkpoints import tiny_llama
from trl.trainer.utils import add_fused_lm_head

WORKER = {
    "start": ["self"],
    "stop": ["self"],
    "update_model_version": ["self", "model_version"],
    "check_health": ["self", "stale_after_s"],
}
TRANSFER = {
    "init_weight_transfer": ["self"],
    "pause": ["self"],
    "send_weights": ["self", "iterator"],
    "resume": ["self"],
    "destroy": ["self"],
}


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # importing it warns
    return importlib.import_module("trl.experimental.async_grpo.async_grpo_trainer")


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> type:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    found: type = importlib.import_module("trl.experimental.async_grpo.async_rollout_worker").RolloutSample
    return found


@pytest.mark.parametrize(
    ("name", "methods", "attributes"),
    [
        ("RolloutWorkerProtocol", WORKER, {"rollout_buffer", "metrics_queue"}),
        ("WeightTransferProtocol", TRANSFER, set()),
    ],
)
def test_a_protocol_has_these_members_and_no_others(
    trainers: ModuleType, name: str, methods: dict[str, list[str]], attributes: set[str]
) -> None:
    protocol = getattr(trainers, name)
    own = {member: value for member, value in vars(protocol).items() if not member.startswith("_") and callable(value)}
    assert {member: list(inspect.signature(value).parameters) for member, value in own.items()} == methods
    assert set(protocol.__annotations__) == attributes


def test_a_sample_has_one_advantage_and_no_pictures(sample: Any) -> None:
    names = [field.name for field in fields(sample)]
    assert names == [
        *("prompt", "completion", "input_ids", "completion_mask", "old_log_probs", "advantage", "model_version"),
        *("group_id", "metrics", "enqueued_at"),
    ]
    assert sample.__annotations__["advantage"] in (float, "float")


def test_the_trainer_takes_both(trainers: ModuleType) -> None:
    given = inspect.signature(trainers.AsyncGRPOTrainer.__init__).parameters
    assert {"rollout_worker", "weight_transfer"} <= set(given)


def test_the_tiled_head_takes_labels_that_are_shifted_already() -> None:
    model, _ = tiny_llama()
    add_fused_lm_head(model, temperature=1.0, outputs=("log_probs", "entropy"))
    ids = torch.tensor([[1, 4, 2, 3]])
    shifted = torch.tensor([[4, 2, 3, -100]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits.log_softmax(-1)
        found = model(input_ids=ids, shift_labels=shifted, fused_lm_head=True)
    expected = logits[0, :3].gather(-1, ids[0, 1:, None])[:, 0]
    torch.testing.assert_close(found.log_probs[0, :3], expected, atol=1e-5, rtol=0)
    assert found.log_probs.shape == found.entropy.shape == (1, 4)

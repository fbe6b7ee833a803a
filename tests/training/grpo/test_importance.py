"""Weights against the sampler: by hand, and against the lines of the pinned TRL that they stand for, in all four modes."""

from __future__ import annotations

import inspect
import math
import textwrap
from functools import cache
from types import CodeType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from memagent.errors import InputError

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch

from memagent_training.grpo.importance import MODES, importance_ratio

POLICY = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -9.0]])
SAMPLER = torch.tensor([[-1.0, -2.0 - math.log(4.0), -3.0 + math.log(2.0)], [-1.0 - math.log(2.0), math.nan, -1.0]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token_truncate", [[1.0, 3.0, 0.6], [2.0, 1.0, 1.0]]),
        ("token_mask", [[1.0, 0.0, 0.0], [2.0, 1.0, 1.0]]),
        ("sequence_truncate", [[2.0], [2.0]]),
        ("sequence_mask", [[2.0], [2.0]]),
    ],
)
def test_by_hand(mode: str, expected: list[list[float]]) -> None:
    """Ratios 1, 4, 1/2 and 2, no score, not in the loss; bounds 0.6 and 3."""
    found = importance_ratio(POLICY, SAMPLER, MASK, mode=mode, low=0.6, high=3.0)

    torch.testing.assert_close(found, torch.tensor(expected))


def test_sequences_outside_the_bounds() -> None:
    cut = importance_ratio(POLICY, SAMPLER, MASK, mode="sequence_truncate", high=1.5)
    out = importance_ratio(POLICY, SAMPLER, MASK, mode="sequence_mask", low=2.5)

    torch.testing.assert_close(cut, torch.tensor([[1.5], [1.5]]))
    assert out.tolist() == [[0.0], [0.0]]


def test_without_bounds_nothing_is_changed() -> None:
    free = importance_ratio(POLICY, SAMPLER, MASK)

    torch.testing.assert_close(free, torch.tensor([[1.0, 4.0, 0.5], [2.0, 1.0, 1.0]]))
    torch.testing.assert_close(importance_ratio(POLICY, SAMPLER, MASK, mode="token_mask"), free)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="`token` is unknown; one of: token_truncate, token_mask"):
        importance_ratio(POLICY, SAMPLER, MASK, mode="token")


@cache
def trls_lines() -> CodeType:
    """The very lines of the installed TRL, cut out of its `_generate_and_score_completions`."""
    from trl import GRPOTrainer

    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    start = source.index("            if self.use_vllm and self.vllm_importance_sampling_correction:\n                mask = ")
    end = source.index("            # Compute the per-token log probabilities for the reference model")
    return compile(textwrap.dedent(source[start:end]), "trl", "exec")


def trls(policy: Any, sampler: Any, mask: Any, mode: str, low: float | None, high: float | None) -> Any:
    """What the installed TRL makes of the same."""
    names = {
        "torch": torch,
        "math": math,
        "self": SimpleNamespace(
            use_vllm=True,
            vllm_importance_sampling_correction=True,
            vllm_importance_sampling_mode=mode,
            vllm_importance_sampling_clip_min=low,
            vllm_importance_sampling_clip_max=high,
        ),
        "completion_mask": mask,
        "tool_mask": None,
        "old_per_token_logps": policy,
        "sampling_per_token_logps": sampler,
    }
    exec(trls_lines(), names)
    return names["vllm_importance_sampling_ratio"]


BOUND = st.none() | st.floats(0.05, 5.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(MODES), BOUND, BOUND, st.floats(0.0, 2.0))
def test_the_weights_are_trls(seed: int, mode: str, low: float | None, high: float | None, spread: float) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    assume(mode.endswith("mask") or (low, high) != (None, None))  # TRL fails there; ours changes nothing
    draws = torch.Generator().manual_seed(seed)
    policy = -torch.rand(3, 5, generator=draws) * 4
    sampler = policy + spread * torch.randn(3, 5, generator=draws)
    sampler[torch.rand(3, 5, generator=draws) < 0.1] = math.nan
    mask = (torch.rand(3, 5, generator=draws) < 0.8).long()

    found = importance_ratio(policy, sampler, mask, mode=mode, low=low, high=high)

    assert torch.equal(found, trls(policy, sampler, mask, mode, low, high))

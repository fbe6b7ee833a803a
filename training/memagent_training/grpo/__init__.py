"""The pure core of GRPO: rollouts, allocators, baselines, credit, packing. Plain sequences and NumPy arrays in, no trainer.

    from memagent_training.grpo import coba_allocate, v05_baseline
    coba_allocate([0.1, 0.5, None], 24, low=2, high=16)

`memagent_training.grpo.loss` and `memagent_training.grpo.importance` work on torch tensors and are imported by their own names.
`build_verification_items` lives with its objective, above this package, and is looked up when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagent_training.grpo.allocators import (
    ALLOCATORS,
    Allocator,
    CobaAllocator,
    KnapsackAllocator,
    SequentialAllocator,
    UniformAllocator,
    coba_allocate,
    coba_shape,
    coba_tau,
    coba_value,
    coba_warp,
    knapsack_allocate,
    knapsack_rl_value,
    knapsack_value,
)
from memagent_training.grpo.baselines import (
    BASELINES,
    V05,
    Baseline,
    Fusion,
    GroupMean,
    GroupRun,
    LeaveOneOut,
    V05Baseline,
    fuse,
    gain_rate,
    oracle_weight,
    osla_gain,
    run_group,
    stop_k,
    v05_baseline,
    v05_should_stop,
)
from memagent_training.grpo.credit import (
    CREDITS,
    Credit,
    HianCredit,
    MemocrAdvantages,
    MemocrCredit,
    MergedCredit,
    OutcomeCredit,
    TokenAdvantages,
    broadcast,
    hian_advantages,
    hian_batch,
    memocr_advantages,
    merged_advantages,
    merged_turn_advantages,
    turn_advantages,
    turn_variance_share,
    weigh_by_prompt,
)
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import Needs, Rewards, Score
from memagent_training.grpo.packing import Layout, Packing, pack
from memagent_training.grpo.priors import PRIORS, ConstantPrior, HistoryPrior, Prior, TablePrior
from memagent_training.grpo.prompt_stats import PromptStats, PromptStatsState, Visit, visit_of
from memagent_training.grpo.rollout import Group, Rollout, Segment, reward_of

if TYPE_CHECKING:
    from memagent_training.objectives.verification import build_verification_items


def __getattr__(name: str) -> object:
    if name != "build_verification_items":
        raise AttributeError(f"module `memagent_training.grpo` has no attribute `{name}`")
    from memagent_training.objectives.verification import build_verification_items

    return build_verification_items


__all__ = [
    "ALLOCATORS",
    "BASELINES",
    "CREDITS",
    "PRIORS",
    "V05",
    "Allocator",
    "Baseline",
    "CobaAllocator",
    "ConstantPrior",
    "Credit",
    "Fusion",
    "Group",
    "GroupMean",
    "GroupRun",
    "HianCredit",
    "HistoryPrior",
    "Judge",
    "KnapsackAllocator",
    "Layout",
    "LeaveOneOut",
    "MemocrAdvantages",
    "MemocrCredit",
    "MergedCredit",
    "Needs",
    "OutcomeCredit",
    "Packing",
    "Prior",
    "PromptStats",
    "PromptStatsState",
    "Rewards",
    "Rollout",
    "Score",
    "Segment",
    "SequentialAllocator",
    "TablePrior",
    "TokenAdvantages",
    "UniformAllocator",
    "V05Baseline",
    "Visit",
    "broadcast",
    "build_verification_items",
    "coba_allocate",
    "coba_shape",
    "coba_tau",
    "coba_value",
    "coba_warp",
    "fuse",
    "gain_rate",
    "hian_advantages",
    "hian_batch",
    "knapsack_allocate",
    "knapsack_rl_value",
    "knapsack_value",
    "memocr_advantages",
    "merged_advantages",
    "merged_turn_advantages",
    "oracle_weight",
    "osla_gain",
    "pack",
    "reward_of",
    "run_group",
    "stop_k",
    "turn_advantages",
    "turn_variance_share",
    "v05_baseline",
    "v05_should_stop",
    "visit_of",
    "weigh_by_prompt",
]

"""How many rollouts each prompt of a batch gets: one module a rule, one table of names for the recipes."""

from __future__ import annotations

from memagent_training.grpo.allocators.base import Allocator
from memagent_training.grpo.allocators.coba import CobaAllocator, coba_allocate, coba_shape, coba_tau, coba_value, coba_warp
from memagent_training.grpo.allocators.knapsack import KnapsackAllocator, knapsack_allocate, knapsack_rl_value, knapsack_value
from memagent_training.grpo.allocators.sequential import SequentialAllocator
from memagent_training.grpo.allocators.uniform import UniformAllocator

_PARTS = (UniformAllocator, CobaAllocator, KnapsackAllocator, SequentialAllocator)

ALLOCATORS: dict[str, type[Allocator]] = {part.name: part for part in _PARTS}
"""By the name that a recipe uses."""

__all__ = [
    "ALLOCATORS",
    "Allocator",
    "CobaAllocator",
    "KnapsackAllocator",
    "SequentialAllocator",
    "UniformAllocator",
    "coba_allocate",
    "coba_shape",
    "coba_tau",
    "coba_value",
    "coba_warp",
    "knapsack_allocate",
    "knapsack_rl_value",
    "knapsack_value",
]

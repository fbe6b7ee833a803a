"""Settings that cannot work together are refused before the model is loaded, with what to change.

Parts are compared by what they declare (`memagent_training.grpo.needs`), never by their names, so that a part from elsewhere is
held to what it declares like one of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from memagent.errors import ConfigError
from memagent_training.grpo.allocators.base import Allocator
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.needs import Needs, Rewards, Score, needs_of
from memagent_training.grpo.packing import Layout
from memagent_training.grpo.priors import HistoryPrior
from memagent_training.objectives import OBJECTIVES

if TYPE_CHECKING:
    from trl import GRPOConfig

LOSSES = ("dapo", "grpo", "dr_grpo")
MASKED = 8192
"""Most tokens of packed rows on a GPU with an attention that builds a mask of tokens x tokens."""


def updates_per_batch(args: GRPOConfig) -> int:
    """Optimizer steps that one generation batch is used for."""
    return int(args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps)


def check_run(args: GRPOConfig, *, allocator: Allocator, token_budget: int | None, skips: bool = False) -> None:
    """Raises `ConfigError` for what would otherwise fail, or mislead, an hour into the run.

    `skips`: the objective may have batches without anything to train on.
    """
    if skips and args.deepspeed_plugin is not None:
        raise ConfigError(
            "the objective may have a batch with nothing to train on, which must move nothing, and DeepSpeed's backward also "
            'steps the optimizer: use FSDP2, or with "self_verify" another `strategy`'
        )
    _check_loss(args, allocator=allocator, token_budget=token_budget)
    if args.steps_per_generation * args.num_iterations % args.gradient_accumulation_steps:
        raise ConfigError(
            f"a generation batch is walked in {args.steps_per_generation} x {args.num_iterations} micro-batches, which "
            f"gradient_accumulation_steps = {args.gradient_accumulation_steps} does not divide: a checkpoint could not fall "
            "between two batches; make one a multiple of the other"
        )
    every = updates_per_batch(args)
    if str(args.save_strategy).lower().endswith("steps") and args.save_steps % every:
        raise ConfigError(
            f"save_steps = {args.save_steps:g} falls inside a generation batch of {every} optimizer steps, whose rest would be "
            f"lost at a resume; use a multiple of {every}"
        )
    if args.save_strategy != "no" and args.max_steps > 0 and args.max_steps % every:
        raise ConfigError(
            f"{args.max_steps} optimizer steps end inside a generation batch of {every}, and a longer run could not go on from "
            f"there; use a multiple of {every}"
        )
    if args.save_strategy == "steps" and args.logging_steps >= 1 and args.save_steps % args.logging_steps:
        raise ConfigError(
            f"a checkpoint every {args.save_steps:g} optimizer steps falls between two log lines, one every "
            f"{args.logging_steps:g}: the line after a resume would leave out what came before; save at a multiple of them"
        )
    if token_budget is not None and args.deepspeed_plugin is not None:
        raise ConfigError(
            "a token budget walks a micro-batch in parts, each with a backward pass, and DeepSpeed's backward also steps the "
            "optimizer: leave rollouts.token_budget out and raise rollouts.micro_batches, or use FSDP2"
        )
    if token_budget is not None and args.use_adaptive_entropy:
        raise ConfigError(
            "use_adaptive_entropy takes each part of a micro-batch that a token budget makes for a whole one: leave "
            "rollouts.token_budget out, or set a fixed entropy_coef"
        )
    if args.save_total_limit == 1:
        raise ConfigError(
            "save_total_limit = 1 deletes the last good checkpoint before the next one is whole; use 2 or more, or none"
        )
    if "seed" in (args.generation_kwargs or {}):
        raise ConfigError(
            "`seed` in generation_kwargs is the seed of every single request: all attempts at a task would be one text; leave "
            "it out, each request has a seed of its own that follows from the recipe's `seed`"
        )
    if args.use_liger_kernel:
        raise ConfigError("use_liger_kernel takes another path through the loss, without advantages by token; leave it off")
    if args.mask_truncated_completions:
        raise ConfigError(
            "mask_truncated_completions is TRL's and knows nothing of several conversations; give cut-off answers no reward "
            "in the objective instead (`EpisodeResult.valid`)"
        )


def check_layout(args: GRPOConfig, *, layout: Layout, attn: str, token_budget: int | None) -> None:
    """Raises `ConfigError` where packed rows would see each other, or their mask would not fit into a GPU."""
    if layout == "padded" or "flash" in attn:
        return
    if attn not in ("sdpa", "eager"):
        raise ConfigError(
            f'attention "{attn}" does not keep packed rows apart; use policy.attn = "sdpa", "eager" or a flash attention, or '
            'rows.layout = "padded"'
        )
    if not args.use_cpu and (token_budget is None or token_budget > MASKED):
        raise ConfigError(
            f'attention "{attn}" builds a mask of tokens x tokens for packed rows, and rollouts.token_budget = {token_budget}; '
            f'set it to at most {MASKED}, policy.attn = "flash_attention_2", or rows.layout = "padded"'
        )


def _check_loss(args: GRPOConfig, *, allocator: Allocator, token_budget: int | None) -> None:
    if args.loss_type not in LOSSES:
        raise ConfigError(
            f'loss_type "{args.loss_type}" is not tested with rows that are segments; one of: {", ".join(LOSSES)}'
        )
    if args.loss_type == "dapo":
        return
    if allocator.ragged:
        raise ConfigError(
            f'loss_type "{args.loss_type}" averages over rows, so prompts with more rollouts would change the others\' weight; '
            f'use loss_type = "dapo" with allocator "{allocator.name}", or allocator "uniform"'
        )
    if token_budget is not None:
        raise ConfigError(
            f'a token budget cuts micro-batches into parts, which only loss_type "dapo" adds up; not "{args.loss_type}"'
        )


class Parts(Protocol):
    """What is checked together: a `Recipe`, or a `MemGRPOTrainer`."""

    allocator: Any
    baseline: Any
    credit: Any
    prior: Any


def check_parts(parts: Parts, gives: Rewards, *, objective: str, loss_type: str, prompts: int, group_size: int) -> None:
    """Raises `ConfigError` where a part would fail on the rewards that `objective` gives, or do less than its name says.

    A batch is of `prompts` prompts with `group_size` attempts at each, on average.
    """
    allocator, baseline, credit, prior = parts.allocator, parts.baseline, parts.credit, parts.prior
    given = f'objective "{objective}"'
    if gives.several and loss_type != "dapo":
        raise ConfigError(
            f'loss type "{loss_type}" averages over rows, and an attempt of {given} is several; use [loss] type = "dapo"'
        )
    if allocator.ragged and loss_type != "dapo":
        raise ConfigError(
            f'allocator "{allocator.name}" makes groups of unequal size, which needs [loss] type = "dapo", not "{loss_type}"'
        )
    if hasattr(allocator, "check"):
        allocator.check(prompts=prompts, group_size=group_size)
    of_allocator, of_credit = (gives.primary_score,), tuple(credit.scores)
    asked = (of_allocator if needs_of(allocator).prior else ()) + (of_credit if needs_of(baseline).prior else ())
    judged = {"allocator": of_allocator, "baseline": of_credit, "credit": (), "prior": asked}
    for kind, one in (("allocator", allocator), ("credit", credit), ("baseline", baseline), ("prior", prior)):
        _check_needs(f'{kind} "{one.name}"', needs_of(one), gives, given=given)
        for score in judged[kind]:
            _check_score(f'{kind} "{one.name}"', one, gives, score, given=given)
    if not of_credit and baseline != GroupMean():
        raise ConfigError(
            f'credit "{credit.name}" as it is set has nothing judged by a baseline, so baseline "{baseline.name}" would do '
            "nothing; leave it out, or give the credit a session weight"
        )
    if not asked and prior != HistoryPrior():
        raise ConfigError(
            f'prior "{prior.name}" would do nothing: neither allocator "{allocator.name}" nor baseline "{baseline.name}" asks '
            'what to expect; leave it out, or use baseline "v05" or allocator "sequential"'
        )


def _check_needs(name: str, needs: Needs, gives: Rewards, *, given: str) -> None:
    if missing := [key for key in needs.rewards if key not in gives.ranges]:
        others = objectives_with(lambda other: set(needs.rewards) <= set(other.ranges))
        raise ConfigError(
            f"{name} spreads the rewards {', '.join(needs.rewards)}, but {given} gives {', '.join(gives.ranges)} "
            f'(no {missing[0]}); use an objective that gives them ({others or "none here does"}) or credit "outcome"'
        )
    if needs.turn_rewards and not gives.turns:
        raise ConfigError(
            f"{name} needs a reward for each turn, but {given} has none; use an objective that does "
            f'({objectives_with(lambda other: other.turns)}), or credit "outcome"'
        )
    if needs.correct and not gives.correct:
        raise ConfigError(
            f"{name} works on pass rates, but {given} does not say which attempts are right; use an objective that does "
            f'({objectives_with(lambda other: other.correct)}), or allocator "uniform"'
        )


def _check_score(name: str, part: Any, gives: Rewards, score: Score, *, given: str) -> None:
    if score.key is not None and score.key not in gives.ranges:
        return  # a reward that the credit can do without
    needs, bounds = needs_of(part), gives.range_of(score)
    if needs.checked and not gives.is_checked(score):
        raise ConfigError(
            f"{name} holds pass rates, and {score} of {given} says more than right or wrong; use prior "
            '"history", which keeps what was earned, or "constant"'
        )
    if needs.range and bounds is None:
        raise ConfigError(
            f"{name} needs the range of what it judges by, and {given} sets no bounds to {score}; use baseline "
            '"group_mean" with allocator "uniform", or credit "outcome"'
        )
    if hasattr(part, "check_range"):
        part.check_range(bounds)


def objectives_with(fits: Callable[[Rewards], bool]) -> str:
    """The objectives here whose rewards would do, for messages."""
    return " or ".join(f'"{name}"' for name, one in OBJECTIVES.items() if fits(one().gives))

"""Settings that cannot work together are refused before the model is loaded, with what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagent.errors import ConfigError
from memagent_training.grpo.allocators.base import Allocator

if TYPE_CHECKING:
    from trl import GRPOConfig

LOSSES = ("dapo", "grpo", "dr_grpo")


def updates_per_batch(args: GRPOConfig) -> int:
    """Optimizer steps that one generation batch is used for."""
    return int(args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps)


def check_run(args: GRPOConfig, *, allocator: Allocator, token_budget: int | None) -> None:
    """Raises `ConfigError` for what would otherwise fail, or mislead, an hour into the run."""
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

"""Our episodes and credits in verl (0.9.1, its default trainer `trainer.use_v1`).

`MemagentLoop` is an agent loop: it runs an episode over verl's servers and returns one output a segment, each a row of its own,
and none for an episode that the world failed, so that it vanishes. A row's `extra_fields["memagent"]` says what the segment is.
verl gives every row of a rollout the reward of the last one, and its estimators see neither roles nor turns; the trainers
`memagent_sync`, `memagent_colocate_async` and `memagent_separate_async` take the advantages of the recipe's credit instead.
What verl needs of the tasks is their row, in the column `extra_info` of its data files.
"""

from __future__ import annotations

import asyncio
import io
from functools import cache
from typing import Any, ClassVar

from PIL import Image

from memagent.errors import ConfigError, EngineError, MissingExtra
from memagent_training.adapters.episodes import Episodes
from memagent_training.adapters.rows import advantages_of, notes_of
from memagent_training.engines.base import Completion, Prompt
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import needs_of
from memagent_training.recipe import Recipe, load_recipe
from memagent_training.rollouts.driver import Job, roll_one
from memagent_training.tokenization import PolicyTokenizer

try:
    import torch
    import transfer_queue
    from tensordict import TensorDict
    from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput, register
    from verl.trainer.ppo.v1.trainer_base import register_trainer
    from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
    from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
except ImportError as error:
    raise MissingExtra("verl", "pip install 'verl>=0.9.1', in an environment of its own") from error

NOTES = "memagent"


@register("memagent")
class MemagentLoop(AgentLoopBase):  # type: ignore[misc]
    """An episode of a recipe. `recipe` is set in verl's file of agent loops, beside `_target_`."""

    def __init__(self, *args: Any, recipe: str = "demo", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        processing = self.processor or self.tokenizer
        config = _policy_config(str(self.config.actor_rollout_ref.model.path))
        self._objective = _episodes(recipe, _Policy(config), processing).objective
        self._policy_tokenizer = PolicyTokenizer(processing, config)

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[Any]:
        """One output for each segment of an attempt at the row; none where the world failed it."""

        async def complete(prompt: Prompt) -> Completion:
            return await self._complete(prompt, sampling_params)

        job = Job(task=kwargs["extra_info"], group_id=str(kwargs["uid"]), attempt=int(kwargs["session_id"]))
        rollout = await roll_one(job, objective=self._objective, complete=complete, tokenizer=self._policy_tokenizer)
        if rollout.failed is not None:
            return []
        primary = self._objective.gives.primary_score.of(rollout)
        return [
            AgentLoopOutput(
                prompt_ids=list(segment.prompt_ids),
                response_ids=list(segment.ids),
                response_mask=note["mask"],
                response_logprobs=None if segment.logprobs is None else list(segment.logprobs),
                multi_modal_data={"images": [_picture(one) for one in segment.images]} if segment.images else None,
                reward_score=primary,
                num_turns=2 * len({turn for turn in segment.turn_ids or () if turn >= 0}),
                metrics={},
                extra_fields={NOTES: note, "reward_extra_info": rollout.rewards},
            )
            for segment, note in zip(rollout.segments, notes_of(rollout), strict=True)
        ]

    async def _complete(self, prompt: Prompt, sampling_params: dict[str, Any]) -> Completion:
        """What verl's servers say; those of a group go to one of them, where its prompts are cached."""
        options = {**sampling_params, "max_tokens": prompt.max_tokens, "seed": prompt.seed}
        try:
            said = await self.server_manager.generate(
                prompt.group,
                prompt_ids=list(prompt.ids),
                sampling_params=options,
                image_data=[_picture(one) for one in prompt.images] or None,
            )
        except (asyncio.CancelledError, ConfigError):
            raise
        except Exception as error:  # whatever its servers raise is the world's fault
            raise EngineError(f"verl's servers gave no reply: {error}", retryable=True) from error
        if said.stop_reason == "aborted":
            raise EngineError("verl's servers aborted a reply", retryable=True)
        scores = None if said.log_probs is None else tuple(said.log_probs)
        return Completion(tuple(said.token_ids), scores, finished=len(said.token_ids) < prompt.max_tokens)


class CreditByRole:
    """Advantages by the credit and baseline of the recipe that `+trainer.memagent_recipe=` names."""

    mode: ClassVar[str]
    """verl's own name of the mode: it looks at that, not at the class."""
    config: Any

    def __init__(self, config: Any) -> None:
        config.trainer.v1.trainer_mode = self.mode
        super().__init__(config)  # type: ignore[call-arg]

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = super()._compute_advantage(batch, metrics)  # type: ignore[misc]  # corrections of the sampler are verl's
        where = {"keys": batch.keys, "partition_id": batch.partition_id}
        fields = transfer_queue.kv_batch_get(**where, select_fields=["extra_fields"])["extra_fields"]
        notes = [getattr(one, "data", one)[NOTES] for one in fields]
        recipe = load_recipe(str(self.config.trainer.memagent_recipe))
        found = advantages_of(notes, credit=recipe.credit, judge=judge_of(recipe))
        nested = torch.nested.as_nested_tensor([torch.tensor(one) for one in found], layout=torch.jagged)
        both = TensorDict({"advantages": nested, "returns": nested.clone()}, batch_size=len(notes))
        return transfer_queue.kv_batch_put(**where, fields=both)


@register_trainer("memagent_sync")
class MemagentSync(CreditByRole, PPOTrainerSync):  # type: ignore[misc]
    """verl's `sync`, with advantages by role."""

    mode = "sync"


@register_trainer("memagent_colocate_async")
class MemagentColocateAsync(CreditByRole, PPOTrainerColocateAsync):  # type: ignore[misc]
    """verl's `colocate_async`, with advantages by role."""

    mode = "colocate_async"


@register_trainer("memagent_separate_async")
class MemagentSeparateAsync(CreditByRole, PPOTrainerSeparateAsync):  # type: ignore[misc]
    """verl's `separate_async`, with advantages by role."""

    mode = "separate_async"


def judge_of(recipe: Recipe) -> Judge:
    """The baseline of a recipe. Raises `ConfigError` for one that needs a prior: verl keeps no statistics of prompts for it."""
    if needs_of(recipe.baseline).prior:
        raise ConfigError(f'baseline "{recipe.baseline.name}" needs a prior, which is not kept in verl; use "group_mean"')
    return Judge(recipe.baseline, rewards=recipe.objective.gives)


class _Policy:
    """As much of a policy as objectives look at."""

    def __init__(self, config: Any) -> None:
        self.config = config


@cache
def _policy_config(path: str) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(path)


_known: dict[tuple[str, str], Episodes] = {}


def _episodes(recipe: str, policy: _Policy, processing: Any) -> Episodes:
    """Made once a process: verl makes a loop for each attempt."""
    key = (recipe, str(getattr(policy.config, "name_or_path", "")))
    if key not in _known:
        _known[key] = Episodes.of(load_recipe(recipe), tasks=1, model=policy, processing=processing)
    return _known[key]


def _picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")

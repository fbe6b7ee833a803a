"""`MemGRPOTrainer`: TRL's `GRPOTrainer` with our own way from a batch of prompts to a batch of training rows.

It overrides two methods of TRL's step. `_generate_and_score_completions`: the drawn prompts are collapsed to one task each,
the allocator says how many attempts each gets, episodes are rolled out (and more, while the allocator asks for it), the
baseline and the credit turn rewards into one advantage a token, and segments become rows. `_prepare_inputs`: the rows are
dealt to the micro-batches as `memagent_training.grpo.packing` planned it, where TRL would shuffle and cut. Everything else is
TRL's: loss, KL, PEFT, FSDP and DeepSpeed, checkpoints, logging. No formula stands here.

All processes know all rollouts, so advantages, statistics and the plan are the same everywhere; each process trains its share
of the plan. Four small overrides beside: `compute_loss` walks a micro-batch that is too large for memory in parts,
`_get_train_sampler` and `_load_from_checkpoint` make a resumed run the same run, and the constructor's usage ping is off.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object, is_peft_model
from trl import GRPOConfig, GRPOTrainer

from memagent.errors import ConfigError, EngineError
from memagent_training.engines import GenerateEngine, ReplayEngine, RolloutEngine
from memagent_training.engines.vllm import limits_told
from memagent_training.grpo.allocators import UniformAllocator
from memagent_training.grpo.allocators.base import Allocator
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.baselines.base import Baseline
from memagent_training.grpo.credit import OutcomeCredit
from memagent_training.grpo.credit.base import Credit
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.packing import Layout, Packing, pack
from memagent_training.grpo.priors import HistoryPrior, Prior
from memagent_training.grpo.prompt_stats import PromptStats, visit_of
from memagent_training.grpo.rollout import Group, Rollout, reward_of
from memagent_training.objectives.base import Objective, Task
from memagent_training.rollouts.failures import from_all
from memagent_training.rollouts.groups import GroupRoller
from memagent_training.rollouts.sampler_gap import SamplerGap
from memagent_training.rollouts.workers import WorkerPool
from memagent_training.rows.batch import (
    Batch,
    TrainingRow,
    Weighting,
    check_rows_are_rollouts,
    forward_inputs,
    loss_of_parts,
    placed,
    split,
    to_rows,
    to_tensors,
    tower_is_shared,
)
from memagent_training.rows.logprobs import Old, add_logprobs
from memagent_training.rows.packed import check_rows_stay_apart, packed_scores
from memagent_training.runs.callbacks import SkipEmptyBatches
from memagent_training.runs.metrics import group_metrics, packing_metrics
from memagent_training.tokenization import PolicyTokenizer, picture_limits
from memagent_training.validation import check_layout, check_parts, check_run, updates_per_batch


def objective_reward(**_: object) -> list[float]:
    """The stand-in that TRL's constructor asks for; rewards come from the objective."""
    raise AssertionError("rewards come from the objective")


class MemGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """Trains `model` on episodes of `objective`; each part is exchangeable.

    `args` is TRL's config: `num_generations` is the nominal group size, `per_device_train_batch_size` the nominal rows of a
    micro-batch. Rows of `train_dataset` are tasks with an `id`. `token_budget` caps the tokens of one forward pass.
    `max_failed` is the share of a batch's rollouts that the world may fail before the run stops. `workers` are processes that
    `multiprocessing` spawns to do the work items of episodes; 0: this one does them.
    Raises `ConfigError` for settings that cannot work together.
    """

    def __init__(
        self,
        model: Any,
        *,
        objective: Objective,
        args: GRPOConfig,
        train_dataset: Any,
        processing_class: Any,
        eval_dataset: Any = None,
        allocator: Allocator | None = None,
        baseline: Baseline | None = None,
        credit: Credit | None = None,
        prior: Prior | None = None,
        engine: RolloutEngine | None = None,
        history: PromptStats | None = None,
        weighting: Weighting = "rollout",
        token_budget: int | None = None,
        layout: Layout = "padded",
        old: Old = "trainer",
        max_failed: float = 0.1,
        workers: int = 0,
        callbacks: Sequence[Any] = (),
        **options: Any,
    ) -> None:
        self.objective = objective
        self.allocator = allocator or UniformAllocator()
        self.baseline = baseline or GroupMean()
        self.credit = credit or OutcomeCredit()
        self.prior = prior or HistoryPrior()
        self.history = history or PromptStats()
        self.weighting = weighting
        self.token_budget = token_budget
        self.layout = layout
        self.old = old
        self.max_failed = max_failed
        self.worker_pool = WorkerPool(workers)
        self.rollouts: list[Rollout] = []
        """Of the last batch that was trained on, for callbacks."""
        self.drawn: list[str] = []
        """Ids of the prompts that were drawn for it."""
        self.batch_made = -1
        """Its number."""
        self.skip_update = False
        """True while the buffered batch has nothing to train on: the optimizer is not to move."""
        self._sizes: list[list[int]] = []
        """For each micro-batch of the batch that was made last, the rows of its parts."""
        self.sampler: Any = None
        """Of the prompts."""
        self._buffered_inputs: Any = None
        self.gap = SamplerGap()
        name = getattr(objective, "name", type(objective).__name__)
        size, rows = args.num_generations, args.generation_batch_size
        check_parts(self, objective.gives, objective=name, loss_type=args.loss_type, prompts=rows // size, group_size=size)
        self.judge = Judge(self.baseline, rewards=objective.gives, prior=self.prior, history=self.history)
        sees = getattr(processing_class, "image_processor", None) is not None
        if sees and args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = True  # parts without pictures leave the tower out
        check_run(args, allocator=self.allocator, token_budget=token_budget, skips=objective.gives.skips)
        if layout == "packed":
            check_layout(args, layout=layout, attn=str(model.config._attn_implementation), token_budget=token_budget)
            check_rows_stay_apart(model)
        with limits_told(picture_limits(model.config) if args.use_vllm and sees else None):
            super().__init__(
                model,
                reward_funcs=objective_reward,
                args=args,
                train_dataset=train_dataset,
                eval_dataset=eval_dataset,
                processing_class=processing_class,
                callbacks=[*callbacks],
                **options,
            )
        if old == "sampler":
            self.vllm_importance_sampling_correction = False  # nothing is left to correct
        self.policy_tokenizer = PolicyTokenizer(self.processing_class, self.accelerator.unwrap_model(self.model).config)
        self.engine = engine or GenerateEngine()
        self.engine.start(self)
        self.add_callback(SkipEmptyBatches(self))

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def create_model_card(self, *_: object, **__: object) -> None:
        """None of TRL's, which knows nothing of the recipe; `run.save_final` writes the README."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The weights of a checkpoint, by the loader that knows the names it saves them under.

        transformers 5.23 saves a Qwen2.5-VL under its older names and at a resume passes over them with a warning, so that
        training would go on from the start model. Raises `ConfigError` when a weight is missing.
        """
        policy = self.accelerator.unwrap_model(model or self.model)
        if self.is_fsdp_enabled or is_peft_model(policy):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved, report = type(policy).from_pretrained(resume_from_checkpoint, dtype=policy.dtype, output_loading_info=True)
        if missing := sorted(report["missing_keys"]):
            raise ConfigError(f"`{resume_from_checkpoint}` lacks {len(missing)} weights of the policy, such as {missing[0]}")
        policy.load_state_dict(saved.state_dict())

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """TRL's; kept for the checkpoints, which must know how far it has drawn."""
        self.sampler = super()._get_train_sampler(dataset)
        return self.sampler

    def train(self, *args: Any, **options: Any) -> Any:
        """TRL's; worker processes end with it, however it ends."""
        try:
            return super().train(*args, **options)
        finally:
            self.worker_pool.close()

    # -- one step of TRL --------------------------------------------------------------------------------------------

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        """The next micro-batch; at the start of a generation batch, roll out and plan it first."""
        if not self.model.training:
            return self._micro_batches(self._generate_and_score_completions(generation_batch))[0]
        steps = self.args.steps_per_generation
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            self._buffered_inputs = self._micro_batches(self._generate_and_score_completions(generation_batch))
        return {**self._buffered_inputs[self._step % steps]}

    def _micro_batches(self, batch: Batch) -> list[Batch]:
        """The batch that was made last, cut; `parts` says how many rows go through the model at a time."""
        pieces = split(batch, [sum(parts) for parts in self._sizes])
        return [{**piece, "parts": parts} for piece, parts in zip(pieces, self._sizes, strict=True)]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Batch:
        """Tasks in, rows of this process out, in the order of its micro-batches."""
        started = time.perf_counter()
        size = self.num_generations if self.model.training else self.num_generations_eval
        drawn = gather_object(list(inputs))[::size]  # TRL's sampler repeats a prompt for each of its group
        with self.engine.batch(int(self.state.global_step)):
            groups = self._roll_batch(drawn, size)
        rolled = time.perf_counter()
        rows = to_rows(groups, credit=self.credit, judge=self.judge, weighting=self.weighting)
        self._record(groups, rows)
        computed = self._to_compute(rows)
        packing = self._plan(computed)
        share = placed(computed, packing, rank=self.accelerator.process_index, pad_id=self.policy_tokenizer.pad_id)
        batch = self._to_batch(rows, share)
        self._sizes = [[len(part) for part in parts] for parts in share]
        if self.model.training:
            self.skip_update = not rows
            if not rows and self.is_deepspeed_enabled:
                raise EngineError("a batch has nothing to train on, and DeepSpeed would step all the same; use FSDP2")
            self._remember(groups)
        times = {"time/rollout": rolled - started, "time/score": time.perf_counter() - rolled}
        told = self.allocator.metrics(history=self.history)
        self._log_batch(
            packing_metrics(packing, rows, computed), self.objective.metrics(), self.worker_pool.metrics(), told, times
        )
        return batch

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """TRL's loss; the parts of a micro-batch that must not be in memory at once go backward one by one."""
        sizes = inputs.pop("parts", None)
        if sizes is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-any-return]
        loss = loss_of_parts(self, model, split(inputs, sizes) if len(sizes) > 1 else [inputs])
        steps = self.args.steps_per_generation
        if (
            model.training
            and self._step % (steps * self.num_iterations) == min(steps, self.args.gradient_accumulation_steps) - 1
        ):
            self._log_batch(self.gap.told(self.engine))  # the first update of a batch is whole
        return loss

    # -- rollouts -----------------------------------------------------------------------------------------------------

    @property
    def batch_number(self) -> int:
        """The generation batch that the next micro-batch belongs to, counted over resumes."""
        return int(self.state.global_step) // updates_per_batch(self.args)

    def _roll_batch(self, drawn: list[Task], size: int) -> list[Group]:
        """Groups of `size` attempts on average, for training or for an evaluation."""
        roller = GroupRoller(
            objective=self.objective,
            allocator=self.allocator,
            judge=self.judge,
            engine=self.engine,
            tokenizer=self.policy_tokenizer,
            accelerator=self.accelerator,
            seed=self.args.seed,
            version=int(self.state.global_step),
            pool=self.worker_pool,
            max_failed=self.max_failed,
        )
        if not self.model.training:
            return roller.roll_evaluation(drawn, step=self.batch_number, size=size)
        self.drawn, self.batch_made = [str(task["id"]) for task in drawn], self.batch_number
        if isinstance(self.engine, ReplayEngine):
            return self.engine.groups(self.batch_number, drawn=self.drawn)
        groups, failed = roller.roll_batch(drawn, step=self.batch_number, size=size)
        self._log_batch(failed)
        return groups

    def all_reduce_max(self, number: int) -> int:
        """The largest `number` of all processes."""
        return int(max(from_all(number)))

    def broadcast(self, value: Any) -> Any:
        """`value` of the first process."""
        return broadcast_object_list([value])[0] if self.accelerator.num_processes > 1 else value

    def _remember(self, groups: Sequence[Group]) -> None:
        """Statistics and objective see a batch once it has been turned into rows, so they act from the next one on."""
        self.rollouts = [rollout for group in groups for rollout in group]
        if groups:
            self.history.record([visit_of(group) for group in groups])
        if not isinstance(self.engine, ReplayEngine):  # the objective has chosen none of these
            self.objective.observe(self.rollouts)

    # -- rows -----------------------------------------------------------------------------------------------------------

    def _to_compute(self, rows: Sequence[TrainingRow]) -> Sequence[TrainingRow]:
        """The rows that must go through the model: those of advantage 0 everywhere only where more than the surrogate asks.

        KL, entropy bonus, the balance of experts and the quantile of entropies are of all rows, and so are means over rows.
        """
        more = self.beta or self._entropy_bonus_enabled or self.aux_loss_enabled or self.top_entropy_quantile < 1
        if more or self.loss_type != "dapo" or not self.model.training:
            return rows
        return [row for row in rows if row.advantages.any()]

    def _plan(self, rows: Sequence[TrainingRow]) -> Packing:
        """Where each row goes. Only a loss that sums over tokens lets pictures and text be computed apart."""
        training, apart = self.model.training, self.loss_type == "dapo"
        if training and not apart:
            check_rows_are_rollouts(
                rows, world=self.accelerator.num_processes, cuts=self.args.steps_per_generation, loss=self.loss_type
            )
        return pack(
            [(len(row.segment.prompt_ids), len(row.segment.ids)) for row in rows],
            world=self.accelerator.num_processes,
            micro_batches=self.args.steps_per_generation if training else 1,
            token_budget=self.token_budget,
            layout=self.layout,
            vision=[bool(row.segment.images) for row in rows] if apart else None,
            tower_everywhere=tower_is_shared(self.model, self.accelerator),
        )

    def _to_batch(self, rows: Sequence[TrainingRow], share: Sequence[Sequence[Sequence[TrainingRow]]]) -> Batch:
        """This process's rows as tensors, with what the loss needs beside them."""
        batch = to_tensors([row for parts in share for part in parts for row in part], self.policy_tokenizer)
        batch = {key: value.to(self.accelerator.device) if torch.is_tensor(value) else value for key, value in batch.items()}
        tokens = sum(row.segment.trained for row in rows)
        batch["num_items_in_batch"] = torch.tensor(tokens, device=self.accelerator.device)
        add_logprobs(self, batch, [len(part) for parts in share for part in parts])
        return batch

    def _logps(self, model: Any, batch: Batch, sizes: Sequence[int]) -> torch.Tensor:
        """Log-probabilities (B, T) of the completions, part by part."""
        width = batch["completion_ids"].shape[1]
        found = []
        for part in split(batch, sizes):
            logps, _, _ = self._get_per_token_logps_and_entropies(model, **forward_inputs(part))
            found.append(torch.nn.functional.pad(logps, (0, width - logps.shape[1])))
        return torch.cat(found)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **pictures: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """TRL's, or in the packed layout ours, with the same arguments and results."""
        if self.layout == "padded":
            found = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss, **pictures
            )
            self.gap.logps = found[0].detach()
            return found  # type: ignore[no-any-return]
        policy = self.accelerator.unwrap_model(model)
        with self.accelerator.autocast():
            found = packed_scores(
                model,
                policy.get_base_model() if is_peft_model(policy) else policy,
                input_ids,
                attention_mask,
                completion=logits_to_keep,
                pictures=pictures,
                aux_loss=compute_aux_loss,
            )
        self.gap.logps = found[0].detach()
        return found

    # -- what is told ---------------------------------------------------------------------------------------------------

    def _record(self, groups: Sequence[Group], rows: Sequence[TrainingRow]) -> None:
        """Metrics of the rollouts, and the tokens seen."""
        mode = "train" if self.model.training else "eval"
        if self.model.training:
            self.state.num_input_tokens_seen += sum(row.segment.length for row in rows)
        self._metrics[mode]["num_tokens"] = [self.state.num_input_tokens_seen]
        total = getattr(self.credit, "total", reward_of)
        self._log_batch(group_metrics(groups, tuple(self.objective.gives.ranges), total=total))

    def _log_batch(self, *tables: dict[str, float]) -> None:
        mode = "train" if self.model.training else "eval"
        for table in tables:
            for name, value in table.items():
                self._metrics[mode][name].append(value)

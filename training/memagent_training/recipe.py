"""A recipe: one TOML file that names one part of each kind, checked as a whole before anything is loaded.

    [allocator]
    kind = "coba"
    high = 64

A part's table holds its `kind` and the fields of its dataclass, no others; leave the table out for the defaults.
`[trl]` hands further settings to TRL's `GRPOConfig`. Where TRL's objective is not the paper's, `deviations` says so.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.needs import Needs, needs_of
from memagent_training.grpo.packing import Layout
from memagent_training.objectives import OBJECTIVES
from memagent_training.objectives.base import Objective, Setup
from memagent_training.package_data import data_folder
from memagent_training.parts import DEFAULTS, KINDS, TABLES, part, part_class
from memagent_training.policy import Policy, TinyPolicy
from memagent_training.validation import check_layout, check_parts, check_run

if TYPE_CHECKING:
    from trl import GRPOConfig

FOLDER = data_folder("recipes")
LACKS = {
    "pictures": "shows pictures: take a pretrained policy with policy.vision = true",
    "chat": "needs a chat template: take a pretrained policy",
}
"""What to do where the policy lacks a feature."""


def _part(kind: str) -> BeforeValidator:
    return BeforeValidator(lambda value: part(kind, value))


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class RolloutSettings(_Table):
    """How much is rolled out for one generation batch, and how it is trained on."""

    prompts: int = Field(default=32, ge=1)
    group_size: int = Field(default=8, ge=2)
    """Nominal: prompts x group_size rollouts are shared out by the allocator."""
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    updates: int = Field(default=1, ge=1)
    """Optimizer steps that share one generation batch."""
    micro_batches: int = Field(default=1, ge=1)
    """Forward and backward passes of one optimizer step on each process."""
    epochs: int = Field(default=1, ge=1)
    """Times that the batch is walked (TRL's num_iterations)."""
    token_budget: int | None = Field(default=None, ge=1)
    """Most tokens of one forward pass, padding included; larger micro-batches are walked in parts."""
    max_failed: float = Field(default=0.1, ge=0, le=1)
    """Share of a batch's rollouts that the world (servers, stores) may fail, and that are left out, before the run stops."""
    weighting: Literal["rollout", "prompt"] = "rollout"
    workers: int | None = Field(default=None, ge=0)
    """Processes beside each training process that draw and compute for episodes; 0: it does that itself. None: a core less than
    there are, shared by the training processes of a machine, at most 8 each."""


class RowSettings(_Table):
    """How rows go through the model."""

    layout: Layout | None = None
    """`packed`: as one sequence without padding; `padded`: side by side. None: packed with FlashAttention, else padded."""


class LossSettings(_Table):
    """The clipped surrogate."""

    type: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    clip_low: float = Field(default=0.2, gt=0)
    clip_high: float = Field(default=0.28, gt=0)
    dual_clip: float | None = Field(default=None, gt=1)
    """Bound c on the ratio where the advantage is negative (TRL's `delta`); None: unbounded."""
    old: Literal["trainer", "sampler"] = "trainer"
    """What the ratio is taken against: a pass of the trainer before the updates, or what the engine said, without a pass."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the k3 estimate of KL to the start model."""


class OptimizerSettings(_Table):
    """AdamW unless `name` says otherwise."""

    name: str = "adamw_torch"
    learning_rate: float = Field(default=1e-6, gt=0)
    steps: int = Field(default=100, ge=1)
    """Optimizer steps of the run."""
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    schedule: str = "constant_with_warmup"


class Expected(_Table):
    """The machine that a recipe is for, and what its rollouts were taken to be: for `estimate`, and changes no run."""

    gpus: int = Field(ge=1)
    """That train, each in a process of its own."""
    memory_gb: float = Field(gt=0)
    """Of a GPU."""
    tflops: float = Field(gt=0)
    """Of a GPU, dense bfloat16, by its data sheet."""
    efficiency: float = Field(default=0.4, gt=0, le=1)
    """Share of them that is reached in training."""
    tokens_per_s: float = Field(gt=0)
    """That one conversation gets, in a full batch."""
    chunks: int = Field(ge=1)
    """Of a text."""
    draft_tokens: int = Field(ge=1)
    """Of a memory, on average."""
    answer_tokens: int = Field(ge=1)
    """Of an answer, on average."""


class Recipe(_Table):
    """A whole run."""

    name: str
    source: str = ""
    """Where the settings come from: paper, equation, script."""
    deviations: tuple[str, ...] = ()
    """What is not as in the source."""
    seed: int = Field(default=0, ge=0)
    tasks: int = Field(default=4096, ge=1)
    """Rows drawn from a task family; a file is taken whole."""
    save_every: int = Field(default=25, ge=1)
    """Generation batches between checkpoints."""
    log_every: int = Field(default=1, ge=1)
    """Optimizer steps between log lines."""
    history_window: int = Field(default=1, ge=1)
    """Visits and steps that pass rates and the failure rate look back."""
    policy: Annotated[Policy, Field(discriminator="kind")] = TinyPolicy()
    task: Annotated[Any, _part("task")] = None
    objective: Annotated[Any, _part("objective")] = None
    allocator: Annotated[Any, _part("allocator")] = None
    baseline: Annotated[Any, _part("baseline")] = None
    credit: Annotated[Any, _part("credit")] = None
    prior: Annotated[Any, _part("prior")] = None
    engine: Annotated[Any, _part("engine")] = None
    rollouts: RolloutSettings = RolloutSettings()
    rows: RowSettings = RowSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    trl: dict[str, Any] = {}
    expected: Expected | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse parts that cannot work together, by what they declare."""
        for kind in KINDS:
            self._check_part(f'{kind} "{getattr(self, kind).name}"', needs_of(getattr(self, kind)))
        check_parts(
            self,
            self.objective.gives,
            objective=self.objective.name,
            loss_type=self.loss.type,
            prompts=self.rollouts.prompts,
            group_size=self.rollouts.group_size,
        )
        if self.loss.old == "sampler" and not getattr(self.engine, "scores", True):
            raise ConfigError(
                f'loss.old = "sampler" needs log-probabilities from the engine, and "{self.engine.name}" is the policy itself: '
                'use engine "vllm" or "http", or loss.old = "trainer"'
            )
        if self.trl.get("vllm_importance_sampling_correction") and not self.trl.get("use_vllm"):
            raise ConfigError(
                "trl.vllm_importance_sampling_correction = true would do nothing: TRL corrects for vLLM in the training "
                "processes alone, and trl.use_vllm is false; leave it out, or with an engine that gives log-probabilities set "
                'loss.old = "sampler"'
            )
        if hasattr(self.engine, "check"):
            self.engine.check(use_vllm=bool(self.trl.get("use_vllm")), adapters=getattr(self.policy, "lora", None) is not None)
        if needs_of(self.policy).alphabet and not self.task.alphabet:
            raise ConfigError(
                f'policy "{self.policy.kind}" speaks the characters of a task family, not task "{self.task.name}"; '
                'use policy "pretrained"'
            )
        return self

    def _check_part(self, name: str, needs: Needs) -> None:
        if needs.tasks and self.task.form not in needs.tasks:
            forms = ", ".join(
                sorted({name for name, other in TABLES["task"].items() if getattr(other, "form", "") in needs.tasks})
            )
            others = " or ".join(f'"{name}"' for name, one in OBJECTIVES.items() if self.task.form in one().needs.tasks)
            raise ConfigError(
                f'{name} does not go with task "{self.task.name}"; it is for {forms}. For that task use {others or "your own"}'
            )
        for feature in sorted(needs.policy - self.policy.features, reverse=True):
            raise ConfigError(f"{name} {LACKS[feature]}")

    def settings(self) -> dict[str, Any]:
        """Every setting as plain values, defaults included; parts with their `kind`."""
        plain = self.model_dump(exclude=set(KINDS))
        for kind in KINDS:
            one = getattr(self, kind)
            plain[kind] = {"kind": one.name, **{field.name: getattr(one, field.name) for field in fields(one) if field.init}}
        return plain

    @property
    def layout(self) -> Layout:
        """`rows.layout`, or what suits the policy's attention: a mask for packed rows costs more than padding."""
        return self.rows.layout or ("packed" if "flash" in self.policy.attn else "padded")

    @property
    def reply_tokens(self) -> int:
        """Most tokens of any reply, verdicts too: vLLM samples no more, and dr_grpo divides by it."""
        return int(self.objective.reply_tokens(self.task))

    def make_objective(self, *, model: Any, processing: Any) -> Objective:
        """The objective, for a policy and its tokenizer or processor; None where it counts nothing of the policy's."""
        setup = Setup(
            task=self.task,
            tasks=self.tasks,
            temperature=self.rollouts.temperature,
            group_size=self.rollouts.group_size,
            seed=self.seed,
            model=model,
            processing=processing,
        )
        made: Objective = self.objective.build(setup)
        return made

    def config(self, output: Path, *, world: int | None = None) -> GRPOConfig:
        """TRL's config for a run of `world` processes (None: as started).

        Raises `ConfigError` where it cannot be split, and for settings of `[trl]` that cannot work here.
        """
        from trl import GRPOConfig

        processes = world or int(os.environ.get("WORLD_SIZE", "1"))
        rows, cuts = self.rollouts.prompts * self.rollouts.group_size, self.rollouts.updates * self.rollouts.micro_batches
        if rows % (processes * cuts):
            raise ConfigError(
                f"{self.rollouts.prompts} prompts x {self.rollouts.group_size} rollouts do not divide into "
                f"{self.rollouts.updates} updates x {self.rollouts.micro_batches} micro-batches x {processes} processes"
            )
        settings = self._trl_settings(output) | {"per_device_train_batch_size": rows // (processes * cuts)}
        try:
            args = GRPOConfig(**settings | self.trl)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"TRL refuses the recipe's settings: {error}") from error
        if world is None and args.world_size != processes:
            raise ConfigError(
                f"{processes} processes were started, but each sees {args.world_size}: they would train apart in one folder; "
                "start them with `accelerate launch` and a file of training/configs"
            )
        check_run(
            args,
            allocator=self.allocator,
            token_budget=self.rollouts.token_budget,
            skips=self.objective.gives.skips,
        )
        check_layout(args, layout=self.layout, attn=self.policy.attn, token_budget=self.rollouts.token_budget)
        return args

    def _trl_settings(self, output: Path) -> dict[str, Any]:
        import torch

        every = self.rollouts.updates * self.rollouts.epochs
        return {
            "output_dir": str(output),
            "seed": self.seed,
            "use_cpu": not torch.accelerator.is_available(),
            "num_generations": self.rollouts.group_size,
            "max_completion_length": self.reply_tokens,
            "steps_per_generation": self.rollouts.updates * self.rollouts.micro_batches,
            "gradient_accumulation_steps": self.rollouts.micro_batches,
            "num_iterations": self.rollouts.epochs,
            "temperature": self.rollouts.temperature,
            "top_p": self.rollouts.top_p,
            "loss_type": self.loss.type,
            "epsilon": self.loss.clip_low,
            "epsilon_high": self.loss.clip_high,
            "delta": self.loss.dual_clip,
            "beta": self.loss.kl,
            "optim": self.optimizer.name,
            "learning_rate": self.optimizer.learning_rate,
            "max_steps": self.optimizer.steps,
            "warmup_steps": self.optimizer.warmup_steps,
            "weight_decay": self.optimizer.weight_decay,
            "max_grad_norm": self.optimizer.max_grad_norm,
            "lr_scheduler_type": self.optimizer.schedule,
            "save_steps": self.save_every * every,
            "save_total_limit": 2,
            # a run too short for two log lines logs every step
            "logging_steps": self.log_every if self.optimizer.steps >= 2 * self.log_every else 1,
            "report_to": "none",
            "disable_tqdm": True,
            "bf16": False,
            "activation_checkpointing": False,
            "dataloader_pin_memory": False,
        }


def load_recipe(name: str | Path, *, overrides: Mapping[str, object] | None = None) -> Recipe:
    """A recipe by file, or by its name in `training/recipes`.

    `overrides` sets values by dotted path, such as `{"allocator.kind": "coba", "seed": 1}`, or takes a setting out (None);
    naming another kind drops the table's other settings, which belonged to the old one, and a setting those of its part that
    it takes the place of. Raises `ConfigError` with the place and what is allowed.
    """
    path = Path(name)
    if not path.suffix:
        path = FOLDER / f"{name}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(one.stem for one in FOLDER.glob("*.toml")))
        raise ConfigError(f"there is no recipe `{name}`; give a TOML file, or one of: {shipped}")
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"`{path}` is not TOML: {error}") from error
    for place, value in (overrides or {}).items():
        _set(settings, place, value)
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"`{path.name}`: {_problem(error)}") from error


def _problem(error: ValidationError) -> str:
    """The first thing that is wrong, with the nearest known name where one is unknown."""
    first = error.errors(include_url=False)[0]
    *tables, name = [str(one) for one in first["loc"]] or ["the recipe"]
    if first["type"] != "extra_forbidden":
        return f"{'.'.join([*tables, name])}: {first['msg']} (it is {first['input']!r})"
    models: list[Any] = [Recipe]
    for table in tables:
        inner = next((one.model_fields[table].annotation for one in models if table in one.model_fields), None)
        if inner is not None:  # else it is the kind of a policy
            models = [one for one in (inner, *get_args(inner)) if hasattr(one, "model_fields")]
    known = list(dict.fromkeys(field for one in models for field in one.model_fields))
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"{'.'.join([*tables, name])}: there is no such setting{hint} Known here: {', '.join(known)}"


def _set(settings: dict[str, Any], place: str, value: object) -> None:
    *tables, key = place.split(".")
    table = settings
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InputError(f"`{place}`: `{name}` is a value, not a table")
    if key == "kind" and table.get("kind") != value:
        table.clear()
    if value is None:
        table.pop(key, None)
        return
    if tables and tables[0] in KINDS:
        cls = part_class(tables[0], str(table.get("kind", DEFAULTS[tables[0]])))
        for replaced in getattr(cls, "replaces", {}).get(key, ()):
            table.pop(replaced, None)
    table[key] = value

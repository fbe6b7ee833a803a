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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from memagent.errors import ConfigError, InputError
from memagent_training.engines import ENGINES
from memagent_training.grpo.allocators import ALLOCATORS
from memagent_training.grpo.baselines import BASELINES
from memagent_training.grpo.credit import CREDITS
from memagent_training.grpo.priors import PRIORS
from memagent_training.objectives.boxed import BoxedAnswers
from memagent_training.objectives.chunked import ChunkedSettings
from memagent_training.objectives.memagent import MemagentSettings
from memagent_training.objectives.memocr_drafting import MemocrSettings
from memagent_training.objectives.self_verify import NaturalLanguage
from memagent_training.package_data import data_folder
from memagent_training.policy import Policy, PretrainedPolicy, TinyPolicy
from memagent_training.tasks import TASKS
from memagent_training.tasks.amemgym import AMemGymUsers
from memagent_training.tasks.amemgym_questions import AMemGymQuestions
from memagent_training.tasks.base import CharacterFamily
from memagent_training.tasks.long_qa import LongQuestions
from memagent_training.validation import check_run

if TYPE_CHECKING:
    from trl import GRPOConfig

FOLDER = data_folder("recipes")
_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


@dataclass(frozen=True, kw_only=True)
class FileTasks:
    """Tasks from a JSON-lines file with `id`, `prompt` and `answer`; replies are boxed answers."""

    name: ClassVar[str] = "file"
    path: str
    """Of the training tasks; relative to where the program runs."""
    test_path: str | None = None


OTHER_TASKS = {one.name: one for one in (FileTasks, AMemGymUsers, AMemGymQuestions, LongQuestions)}
LONG_TEXTS = ("memocr", "memagent")
OBJECTIVES_OF = {AMemGymUsers.name: ("environment",), AMemGymQuestions.name: LONG_TEXTS, LongQuestions.name: LONG_TEXTS}
"""Tasks that only certain objectives can do, which can do no others."""


def part(kind: str, table: Mapping[str, type], value: object, *, default: str) -> Any:
    """The part that a recipe's table describes. Raises `ConfigError` for an unknown kind, setting or value."""
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        return value
    options = dict(value)
    name = options.pop("kind", default)
    if name not in table:
        raise ConfigError(f'{kind} kind "{name}" is unknown; one of: {", ".join(table)}')
    cls = table[name]
    known = [field.name for field in fields(cls) if field.init]
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f'[{kind}] "{name}" has no setting `{unknown[0]}`; it has: {", ".join(known) or "none"}')
    adapter = _ADAPTERS.setdefault(cls, TypeAdapter(cls))
    try:
        return adapter.validate_python(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f'[{kind}] "{name}": {first["loc"][0] if first["loc"] else "it"}: {first["msg"]}') from error


def _either(names: Iterable[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)


def _kind(kind: str, table: Mapping[str, type], default: str) -> BeforeValidator:
    return BeforeValidator(lambda value: part(kind, table, value, default=default))


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ObjectiveSettings(_Table):
    """What is rolled out and rewarded."""

    kind: Literal["single_turn", "self_verify", "text_memocr", "environment", "memocr", "memagent"] = "single_turn"
    max_tokens: int | None = Field(default=None, ge=1)
    """Of a reply; None: what the task family's longest answer needs."""
    strategy: Literal["generate", "self_verify", "verify_init", "verify_alter", "mixed"] = "verify_alter"
    """Only `self_verify`."""
    interval: int = Field(default=5, ge=1)
    loops: int = Field(default=1, ge=1)
    init_batches: int = Field(default=400, ge=0)
    memocr: MemocrSettings = MemocrSettings()
    """Only `memocr`."""
    memagent: MemagentSettings = MemagentSettings()
    """Only `memagent`."""

    @property
    def reward_keys(self) -> tuple[str, ...]:
        """The rewards that the objective gives."""
        return ("std", "augM", "augQ") if self.kind in ("text_memocr", "memocr") else ("answer",)

    def most(self, key: str | None) -> float:
        """The largest reward under `key`, or of the sum of all; the least is 0."""
        return 1.0 if key is not None else float(len(self.reward_keys))


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
    """Most padded tokens of one forward pass; larger micro-batches are walked in parts."""
    weighting: Literal["rollout", "prompt"] = "rollout"


class LossSettings(_Table):
    """The clipped surrogate."""

    type: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    clip_low: float = Field(default=0.2, gt=0)
    clip_high: float = Field(default=0.28, gt=0)
    dual_clip: float | None = Field(default=None, gt=1)
    """Bound c on the ratio where the advantage is negative (TRL's `delta`); None: unbounded."""
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
    task: Annotated[Any, _kind("task", {**TASKS, **OTHER_TASKS}, "cipher")] = None
    objective: ObjectiveSettings = ObjectiveSettings()
    allocator: Annotated[Any, _kind("allocator", ALLOCATORS, "uniform")] = None
    baseline: Annotated[Any, _kind("baseline", BASELINES, "group_mean")] = None
    credit: Annotated[Any, _kind("credit", CREDITS, "outcome")] = None
    prior: Annotated[Any, _kind("prior", PRIORS, "history")] = None
    engine: Annotated[Any, _kind("engine", ENGINES, "generate")] = None
    rollouts: RolloutSettings = RolloutSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    trl: dict[str, Any] = {}

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse parts that cannot work together."""
        wanted = self.credit.keys_wanted
        if missing := [key for key in wanted if key not in self.objective.reward_keys]:
            raise ConfigError(
                f'credit "{self.credit.name}" spreads the rewards {", ".join(wanted)}, but objective "{self.objective.kind}" '
                f'gives {", ".join(self.objective.reward_keys)} (no {missing[0]}); use objective "text_memocr", "memocr" '
                'or credit "outcome"'
            )
        self._check_ranges()
        if self.allocator.ragged and self.loss.type != "dapo":
            raise ConfigError(
                f'allocator "{self.allocator.name}" makes groups of unequal size, which needs [loss] type = "dapo"'
            )
        if isinstance(self.policy, TinyPolicy) and isinstance(self.task, FileTasks):
            raise ConfigError(
                f'policy "tiny" speaks the characters of a task family, not task "{self.task.name}"; use policy "pretrained"'
            )
        if self.objective.kind == "text_memocr" and not isinstance(self.task, CharacterFamily):
            raise ConfigError(
                f'objective "text_memocr" is made for cipher, arithmetic and strings, not task "{self.task.name}"'
            )
        self._check_task()
        if self.objective.kind == "memocr" and not (isinstance(self.policy, PretrainedPolicy) and self.policy.vision):
            raise ConfigError('objective "memocr" shows pictures: take a pretrained policy with policy.vision = true')
        return self

    def _check_task(self) -> None:
        """Some objectives are made for some tasks."""
        kind, task = self.objective.kind, self.task.name
        fitting = [one for one, kinds in OBJECTIVES_OF.items() if kind in kinds]
        if fitting and task not in fitting:
            raise ConfigError(f'objective "{kind}" does not go with task "{task}"; it is for {_either(fitting)}, and only that')
        if not fitting and task in OBJECTIVES_OF:
            raise ConfigError(f'task "{task}" does not go with objective "{kind}"; use {_either(OBJECTIVES_OF[task])}')
        if kind == "memagent" and not isinstance(self.policy, PretrainedPolicy):
            raise ConfigError('objective "memagent" needs a chat template: take a pretrained policy')

    def _check_ranges(self) -> None:
        """V0.5 bounds its noise by the range of rewards: all that use it must be told the same, and the true one."""
        key = getattr(self.credit, "key", getattr(self.credit, "session_key", "one of three"))
        expected = {"baseline": self.objective.most(key), "allocator": 1.0, "prior": 1.0}
        for kind, high in expected.items():
            one = getattr(self, kind)
            told = (getattr(one, "low", None), getattr(one, "high", None))
            if one.name in ("v05", "sequential", "history") and told != (0.0, high):
                raise ConfigError(
                    f'{kind} "{one.name}" is told rewards from {told[0]:g} to {told[1]:g}, but those it will see lie from 0 to '
                    f"{high:g}; set {kind}.low = 0.0 and {kind}.high = {high:g}, or give the credit one reward key"
                )

    def settings(self) -> dict[str, Any]:
        """Every setting as plain values, defaults included; parts with their `kind`."""
        plain = self.model_dump(exclude={"task", "allocator", "baseline", "credit", "prior", "engine"})
        for kind in ("task", "allocator", "baseline", "credit", "prior", "engine"):
            one = getattr(self, kind)
            values = {field.name: getattr(one, field.name) for field in fields(one) if field.init}
            plain[kind] = {"kind": one.name, **values}
        return plain

    @property
    def reply_tokens(self) -> int:
        """Most tokens of any reply, verdicts too: vLLM samples no more, and dr_grpo divides by it."""
        if isinstance(self.task, AMemGymUsers):
            return self.task.reply_tokens
        if self.objective.kind in LONG_TEXTS:
            of: ChunkedSettings = getattr(self.objective, self.objective.kind)
            return max(of.memory_tokens, of.answer_tokens)
        checker = BoxedAnswers() if isinstance(self.task, FileTasks) else self.task
        judge = NaturalLanguage() if isinstance(self.task, FileTasks) else self.task
        answer = self.objective.max_tokens or checker.max_answer + 1
        return max(answer, judge.max_verdict + 1) if self.objective.kind == "self_verify" else answer

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
        check_run(args, allocator=self.allocator, token_budget=self.rollouts.token_budget)
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
            "logging_steps": self.log_every,
            "report_to": "none",
            "disable_tqdm": True,
            "bf16": False,
            "activation_checkpointing": False,
            "dataloader_pin_memory": False,
        }


def load_recipe(name: str | Path, *, overrides: Mapping[str, object] | None = None) -> Recipe:
    """A recipe by file, or by its name in `training/recipes`.

    `overrides` sets values by dotted path, such as `{"allocator.kind": "coba", "seed": 1}`; naming another kind drops the
    table's other settings, which belonged to the old one. Raises `ConfigError` with the place and what is allowed.
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
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the recipe"
        raise ConfigError(f"`{path.name}`: {where}: {first['msg']} (it is {first['input']!r})") from error


def _set(settings: dict[str, Any], place: str, value: object) -> None:
    *tables, key = place.split(".")
    table = settings
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InputError(f"`{place}`: `{name}` is a value, not a table")
    if key == "kind" and table.get("kind") != value:
        table.clear()
    table[key] = value

"""The shipped recipes are whole, and settings that cannot work are refused by name before anything is loaded."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from memagent.errors import ConfigError, InputError
from memagent_training import cli
from memagent_training.grpo.needs import Needs
from memagent_training.recipe import FOLDER, Recipe, load_recipe
from memagent_training.run import build_trainer, task_rows, train
from memagent_training.runs.callbacks import read_metrics
from memagent_training.validation import check_layout, check_run

RECIPES = sorted(path.stem for path in FOLDER.glob("*.toml"))
PUBLISHED = ("coba", "hian", "knapsack", "memagent-7b", "memocr-qwen25-vl-7b", "memocr-qwen3-vl-2b-lora", "self-verify", "v05")
BIG = ("coba", "knapsack", "self-verify", "v05")
LAPTOP = ("coba-laptop", "hian", "self-verify-laptop")
SMALL = {"rollouts.prompts": 32, "rollouts.group_size": 8}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("world", [1, 8])
def test_every_recipe_builds_trls_config(name: str, world: int, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    args = recipe.config(tmp_path, world=world)
    rows = args.per_device_train_batch_size * args.steps_per_generation * world
    assert rows == recipe.rollouts.prompts * recipe.rollouts.group_size
    assert args.steps_per_generation // args.gradient_accumulation_steps == recipe.rollouts.updates
    assert args.num_generations == recipe.rollouts.group_size
    assert (args.epsilon, args.epsilon_high, args.delta) == (
        recipe.loss.clip_low,
        recipe.loss.clip_high,
        recipe.loss.dual_clip,
    )
    assert json.loads(json.dumps(recipe.settings()))["name"] == recipe.name == name


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_where_it_is_from(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.source
    if name == "demo":
        return
    assert recipe.deviations
    assert any("+-20" in one for one in recipe.deviations), "TRL has no clamp of the log-ratio"
    assert any("token mean over the generation batch" in one for one in recipe.deviations)


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_of_papers_name_the_paper(name: str) -> None:
    assert "arXiv" in load_recipe(name).source


@pytest.mark.parametrize("name", BIG)
def test_recipes_for_gpus_keep_master_weights_and_sample_with_vllm(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    args = recipe.config(tmp_path, world=8)
    assert recipe.policy.dtype == "float32", "steps of 1e-6 are lost in bfloat16 weights"
    assert args.bf16
    assert args.use_vllm
    assert recipe.engine.name == "vllm"
    assert args.max_completion_length >= recipe.objective.max_tokens
    assert args.vllm_max_model_length >= 2048 + recipe.objective.max_tokens
    assert not args.vllm_importance_sampling_correction
    assert recipe.rollouts.token_budget >= args.vllm_max_model_length, "the longest row must fit alone"
    with pytest.raises(ConfigError, match="there is no task file `data/"):
        task_rows(recipe)


def test_published_values() -> None:
    coba, knapsack, v05, verify = map(load_recipe, ("coba", "knapsack", "v05", "self-verify"))
    assert (coba.rollouts.prompts, coba.rollouts.group_size, coba.rollouts.updates) == (256, 16, 2)
    assert (coba.allocator.mode, coba.allocator.low, coba.allocator.high, coba.allocator.kappa) == ("released", 2, 128, 11.0)
    assert (coba.history_window, coba.loss.clip_low, coba.loss.clip_high, coba.loss.kl) == (1, 0.2, 0.28, 0.0)
    assert coba.policy.path == "Qwen/Qwen2.5-7B-Instruct"
    assert (knapsack.allocator.value, knapsack.allocator.method, knapsack.allocator.low, knapsack.allocator.high) == (
        "v0",
        "greedy",
        2,
        128,
    )
    assert (v05.allocator.k_init, v05.allocator.k_max, v05.allocator.step, v05.allocator.cost) == (4, 16, 1, None)
    assert v05.objective.gives.range_of(v05.objective.gives.primary_score) == (0.0, 1.0)
    assert (verify.rollouts.prompts, verify.rollouts.group_size, verify.rollouts.updates) == (128, 8, 4)
    assert (verify.objective.strategy, verify.objective.interval, verify.objective.loops) == ("verify_alter", 5, 1)
    assert (verify.loss.dual_clip, verify.optimizer.weight_decay, verify.objective.max_tokens) == (10.0, 0.1, 10240)
    assert verify.optimizer.steps == (1000 + 1000 // 5) * 4


def test_vllm_is_told_the_longest_reply(tmp_path: Path) -> None:
    def most(**overrides: object) -> int:
        places = {place.replace("__", "."): value for place, value in overrides.items()}
        return int(load_recipe("demo", overrides=places).config(tmp_path, world=1).max_completion_length)

    assert most() == 2  # one digit and the end
    assert most(objective__max_tokens=7) == 7
    assert most(objective__kind="self_verify") == 3  # own answer, verdict, end
    assert most(objective__kind="text_memocr") == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allocator.kind": "coba", "loss.type": "grpo"}, r'allocator "coba".*\[loss\] type = "dapo"'),
        ({"allocator.kind": "sequential", "loss.type": "dr_grpo"}, r'allocator "sequential".*"dapo"'),
        (
            {"credit.kind": "memocr"},
            'credit "memocr".*objective "single_turn".*"text_memocr" or "memocr".*credit "outcome"',
        ),
        ({"credit.kind": "outcome", "credit.key": "std"}, 'credit "outcome" spreads the rewards std'),
        ({"allocator.kind": "magic"}, 'allocator kind "magic" is unknown; one of: uniform'),
        ({"allocator.kind": "coba", "allocator.lower": 2}, r'\[allocator\] "coba" has no setting `lower`; it has: low'),
        ({"allocator.kind": "coba", "allocator.low": "two"}, r'\[allocator\] "coba": low: '),
        ({"allocator.kind": "coba", "allocator.kappa": 1.0}, "allocator `coba`: `kappa` is 1.0"),
        ({"allocator.kind": "sequential", "allocator.k_init": 2}, "`k_init` is 2.*`force = true`"),
        ({"baseline.kind": "v05", "baseline.low": 1.0}, r'"v05" has no setting `low`; it has: norm, loo'),
        ({"trl.vllm_importance_sampling_correction": True}, r"would do nothing: TRL corrects for vLLM.*loss\.old"),
        ({"prior.kind": "history", "prior.high": 2.0}, r'"history" has no setting `high`; it has: smoothing'),
        ({"allocator.kind": "sequential", "allocator.low": 0.0}, r'"sequential" has no setting `low`; it has: k_init'),
        (
            {"prior.kind": "constant", "prior.constant": 0.5},
            'prior "constant" would do nothing: neither allocator',
        ),
        ({"baseline.kind": "v05", "prior.kind": "constant", "prior.constant": 1.5}, "`constant` is 1.5, and.*from 0 to 1"),
        (
            {"objective.kind": "text_memocr", "credit.kind": "hian", "credit.w_session": 0, "baseline.kind": "v05"},
            'credit "hian" as it is set has nothing judged.*baseline "v05" would do nothing',
        ),
        (
            {"objective.kind": "text_memocr", "loss.type": "grpo"},
            'loss type "grpo" averages over rows, and an attempt of objective "text_memocr" is several',
        ),
        ({"prior.kind": "constant"}, r'\[prior\] "constant": constant: '),
        ({"rollouts.group_size": 1}, "rollouts.group_size: .*greater than or equal to 2"),
        ({"rollouts.prompts": "many"}, "rollouts.prompts: .*'many'"),
        ({"rollouts.size": 3}, "rollouts.size: there is no such setting; did you mean `group_size`"),
        ({"rollouts.grp": 8}, "rollouts.grp: there is no such setting; did you mean `group_size`.*Known here: prompts"),
        ({"policy.widht": 8}, "policy.tiny.widht: there is no such setting; did you mean `width`"),
        ({"credit.kind": "hian"}, 'credit "hian" needs a reward for each turn.*"text_memocr" or "environment"'),
        ({"credit.kind": "merged"}, 'credit "merged" needs a reward for each turn'),
        ({"loss.dual_clip": 1.0}, "loss.dual_clip: .*greater than 1"),
        (
            {"policy.kind": "pretrained", "policy.path": "p", "policy.lora": {"rank": 4}},
            "policy.pretrained.lora.rank: there is no such setting",
        ),
        ({"policy.kind": "huge"}, "policy: .*'huge'"),
        ({"task.kind": "file", "task.path": "rows.jsonl"}, 'policy "tiny".*task "file".*policy "pretrained"'),
        (
            {
                "policy.kind": "pretrained",
                "policy.path": "p",
                "task.kind": "file",
                "task.path": "t",
                "objective.kind": "text_memocr",
            },
            'objective "text_memocr" does not go with task "file"; it is for arithmetic, cipher, strings',
        ),
        ({"task.max_length": 0}, "lengths go from 1 to 0"),
        ({"no_such_table.x": 1}, "no_such_table: there is no such setting"),
        ({"loss.old": "sampler"}, 'loss.old = "sampler" needs log-probabilities.*"generate" is the policy itself'),
        ({"loss.old": "reference"}, "loss.old: Input should be 'trainer' or 'sampler'"),
    ],
)
def test_impossible_recipes_are_refused_when_read(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("demo", overrides=settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollouts.prompts": 33, "rollouts.updates": 5}, "33 prompts x 8 rollouts do not divide into 5 updates"),
        ({"trl.save_steps": 3, "rollouts.updates": 2}, "save_steps = 3 falls inside a generation batch of 2"),
        ({"trl.save_total_limit": 1}, "save_total_limit = 1 deletes the last good checkpoint"),
        ({"rollouts.token_budget": 64, "loss.type": "grpo"}, 'a token budget.*only loss_type "dapo"'),
        ({"trl.use_liger_kernel": True}, "use_liger_kernel takes another path"),
        ({"trl.use_adaptive_entropy": True, "rollouts.token_budget": 640}, "use_adaptive_entropy.*set a fixed entropy_coef"),
        ({"trl.generation_kwargs": {"seed": 1}}, "all attempts at a task would be one text"),
        ({"trl.mask_truncated_completions": True}, "mask_truncated_completions is TRL's.*EpisodeResult.valid"),
        ({"trl.loss_type": "cispo"}, 'loss_type "cispo" is not tested'),
        ({"trl.no_such_option": 1}, "TRL refuses the recipe's settings: .*no_such_option"),
        ({"trl.auto_find_batch_size": True}, "TRL refuses.*auto_find_batch_size"),
        ({"trl.num_generations": 1}, "TRL refuses.*at least 2 generations"),
    ],
)
def test_impossible_settings_of_a_run_are_refused_before_anything_is_loaded(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    recipe = load_recipe("demo", overrides=SMALL | settings)
    with pytest.raises(ConfigError, match=message):
        recipe.config(tmp_path, world=1)


def test_a_run_of_three_processes_must_divide_the_rollouts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"32 prompts x 8 rollouts do not divide.*3 processes"):
        load_recipe("demo", overrides=SMALL).config(tmp_path, world=3)


def test_processes_that_do_not_see_each_other_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Alone:
        world_size = 1

        def __init__(self, **_: object) -> None: ...

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("trl.GRPOConfig", Alone)
    with pytest.raises(ConfigError, match="2 processes were started, but each sees 1"):
        load_recipe("demo").config(tmp_path)


def test_a_token_budget_is_refused_with_deepspeed(tmp_path: Path) -> None:
    recipe = load_recipe("demo", overrides={"rollouts.token_budget": 640})
    args = recipe.config(tmp_path, world=1)
    args.deepspeed_plugin = object()
    check_run(args, allocator=recipe.allocator, token_budget=None)
    with pytest.raises(ConfigError, match=r"DeepSpeed's backward also steps.*rollouts\.token_budget.*FSDP2"):
        check_run(args, allocator=recipe.allocator, token_budget=640)


def test_batches_that_may_be_empty_are_refused_with_deepspeed(tmp_path: Path) -> None:
    schedules = {
        one: load_recipe("self-verify-laptop", overrides={"objective.strategy": one}) for one in ("self_verify", "mixed")
    }
    assert {name: one.objective.gives.skips for name, one in schedules.items()} == {"self_verify": True, "mixed": False}
    recipe = schedules["self_verify"]
    args = recipe.config(tmp_path, world=1)
    args.deepspeed_plugin = object()
    check_run(args, allocator=recipe.allocator, token_budget=None, skips=False)
    with pytest.raises(ConfigError, match=r"nothing to train on.*use FSDP2"):
        check_run(args, allocator=recipe.allocator, token_budget=None, skips=True)


@pytest.mark.parametrize(
    ("settings", "layout"),
    [
        ({}, "padded"),
        ({"rows.layout": "packed"}, "packed"),
        ({"policy.attn": "flash_attention_2"}, "packed"),
        ({"policy.attn": "kernels-community/flash-attn3"}, "packed"),
        ({"policy.attn": "flash_attention_2", "rows.layout": "padded"}, "padded"),
        ({"policy.attn": "eager"}, "padded"),
    ],
)
def test_rows_are_packed_where_attention_takes_rows_of_any_length(settings: dict[str, Any], layout: str) -> None:
    assert load_recipe("coba", overrides=settings).layout == layout


def test_packed_rows_whose_mask_would_not_fit_into_a_gpu_are_refused(tmp_path: Path) -> None:
    recipe = load_recipe("demo", overrides=SMALL | {"rows.layout": "packed"})
    args = recipe.config(tmp_path, world=1)  # a laptop takes any
    args.use_cpu = False
    for budget in (None, 8193):
        with pytest.raises(ConfigError, match=rf'"sdpa" builds a mask of.*{budget}; set it to at most 8192.*"flash_att'):
            check_layout(args, layout="packed", attn="sdpa", token_budget=budget)
    check_layout(args, layout="packed", attn="sdpa", token_budget=8192)
    check_layout(args, layout="padded", attn="sdpa", token_budget=None)
    check_layout(args, layout="packed", attn="flash_attention_2", token_budget=None)
    with pytest.raises(ConfigError, match='"flex_attention" does not keep packed rows apart'):
        check_layout(args, layout="packed", attn="flex_attention", token_budget=8192)


def test_what_is_not_a_recipe_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no recipe `nope`.*coba, .*demo"):
        load_recipe("nope")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ", "utf-8")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_recipe(broken)
    with pytest.raises(InputError, match="`seed` is a value, not a table"):
        load_recipe("demo", overrides={"seed.x": 1})


def test_another_kind_drops_the_settings_of_the_old_one() -> None:
    recipe = load_recipe("coba", overrides={"allocator.kind": "knapsack"})
    assert (recipe.allocator.name, recipe.allocator.low, recipe.allocator.high) == ("knapsack", 2, 128)
    kept = load_recipe("coba", overrides={"allocator.kind": "coba", "allocator.high": 32})
    assert (kept.allocator.high, kept.allocator.kappa) == (32, 11.0)


@pytest.mark.parametrize("name", LAPTOP)
def test_laptop_recipes_train(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, overrides={"optimizer.steps": 2, "log_every": 1, "save_every": 1})
    trainer = build_trainer(recipe, tmp_path, quiet=True)
    train(trainer)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["rollouts/total"] == recipe.rollouts.prompts * recipe.rollouts.group_size
    assert (tmp_path / "training.png").stat().st_size > 0


@dataclass(frozen=True, kw_only=True)
class Doubling:
    """An allocator of another package, which wants rewards for each turn."""

    name: ClassVar[str] = "doubling"
    ragged: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(turn_rewards=True)
    factor: int = 2


def test_a_part_of_another_package_is_found_and_held_to_what_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(*, group: str, name: str | None = None) -> list[EntryPoint]:
        found = [EntryPoint(name="doubling", value=f"{__name__}:Doubling", group="memagent.allocators")]
        return [one for one in found if one.group == group and name in (None, one.name)]

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or ModuleType(__name__))
    monkeypatch.setattr(sys.modules[__name__], "Doubling", Doubling, raising=False)
    monkeypatch.setattr("memagent_training.parts.entry_points", installed)
    with pytest.raises(ConfigError, match=r'allocator "doubling" needs a reward for each turn, but objective "single_turn"'):
        load_recipe("demo", overrides={"allocator.kind": "doubling", "allocator.factor": 3})
    with pytest.raises(ConfigError, match="one of: uniform, coba, knapsack, sequential, doubling"):
        load_recipe("demo", overrides={"allocator.kind": "magic"})


def test_a_part_that_declares_nothing_goes_with_everything() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Plain:
        name: ClassVar[str] = "plain"
        ragged: ClassVar[bool] = False

    settings = {"name": "mine", "allocator": Plain()}
    assert Recipe.model_validate(settings).allocator == Plain()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_run_on_its_machine_and_says_what_is_missing_here(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(name)
    world = recipe.expected.gpus if recipe.expected else 8 if recipe.engine.name == "vllm" else 1
    assert cli.main(["recipes", "check", name, "--world", str(world)]) == 0
    said = capsys.readouterr()
    assert f"{name}: can run in {world} process" in said.out
    absent = recipe.engine.name == "vllm" and find_spec("vllm") is None
    assert ("needs vLLM, which is not installed" in said.err) == absent

"""Training again on rollouts that were written down: the same rows and weights, or a word on why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import ConfigError, EngineError

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from datasets import Dataset
from helpers.checkpoints import tiny_qwen_vl
from helpers.engine_trainers import trainer_of
from picture_runs import PictureMemory, speak
from scripted_runs import Sizes, Talk, config, policy, rows, said

from memagent_training import cli
from memagent_training.engines import ReplayEngine, ScriptedEngine
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.recipe import load_recipe
from memagent_training.run import build_trainer, made_by
from memagent_training.runs.callbacks import RolloutLog, read_metrics
from memagent_training.trainer import MemGRPOTrainer

SCRIPT = ScriptedEngine(script=lambda prompt: said(prompt.ids, prompt.attempt))


class Chosen(Talk):
    """Trains on tasks of its own; a batch may have none."""

    def batch(self, drawn: Any, *, step: int, roll: Any) -> Any:
        roll(drawn, 1)
        return [] if step == 1 else [{"id": f"own-{step}", "prompt": "1="}]


def trained(folder: Path, *, engine: Any = SCRIPT, objective: Any = None, allocator: Any = None, **settings: Any) -> Any:
    torch.manual_seed(0)
    trainer = trainer_of(folder, model=policy(), engine=engine, **{"max_steps": 2} | settings)
    trainer.objective = objective or Talk(turns=lambda task: 3)
    if allocator is not None:
        trainer.allocator = allocator
    if engine is SCRIPT:
        trainer.add_callback(RolloutLog(trainer, folder, made_by={"seed": 3}))
    trainer.train()
    return trainer


def numbers(trainer: Any) -> list[dict[str, float]]:
    return [
        {key: value for key, value in line.items() if not key.startswith(("time", "train_", "step_"))}
        for line in trainer.state.log_history
    ]


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"allocator": Sizes(sizes=(3, 2), then=(1, 2)), "max_steps": 3},
        {"objective": Chosen(turns=lambda task: 3), "max_steps": 3},
        {"steps_per_generation": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_steps": 4},
    ],
    ids=["plain", "ragged, in rounds", "of the objective's choice, one empty", "two updates a batch"],
)
def test_a_replay_has_equal_rows_and_weights(settings: dict[str, Any], tmp_path: Path) -> None:
    first = trained(tmp_path / "first", **settings)
    again = trained(tmp_path / "again", engine=ReplayEngine(log=str(tmp_path / "first")), **settings)

    assert same(first, again)
    assert first.rollouts == again.rollouts
    assert numbers(first) == numbers(again)


@pytest.mark.slow
def test_pictures_are_replayed_too(tmp_path: Path) -> None:
    def learned(folder: Path, engine: Any) -> Any:
        model, processing = tiny_qwen_vl("3")
        trainer = MemGRPOTrainer(
            model,
            objective=PictureMemory("3"),
            args=config(folder, max_steps=2),
            train_dataset=Dataset.from_list(rows()),
            processing_class=processing,
            credit=MemocrCredit(),
            engine=engine,
        )
        if isinstance(engine, ScriptedEngine):
            trainer.add_callback(RolloutLog(trainer, folder))
        trainer.train()
        return trainer

    first = learned(tmp_path / "first", ScriptedEngine(script=speak))
    again = learned(tmp_path / "again", ReplayEngine(log=str(tmp_path / "first")))
    assert any(segment.images for one in first.rollouts for segment in one.segments)
    assert first.rollouts == again.rollouts
    assert same(first, again)


def test_rollouts_say_which_policy_sampled_them(tmp_path: Path) -> None:
    trained(tmp_path, max_steps=3)
    lines = [json.loads(line) for line in (tmp_path / "rollouts.jsonl").read_text("utf-8").splitlines()]
    assert {(line["batch"], line["step"], *line["versions"]) for line in lines if "id" in line} == {
        (0, 1, 0, 0),
        (1, 2, 1, 1),
        (2, 3, 2, 2),
    }


def test_a_replay_that_goes_on_beyond_the_log_or_elsewhere_ends_at_that_batch(tmp_path: Path) -> None:
    trained(tmp_path / "first")
    engine = ReplayEngine(log=str(tmp_path / "first" / "rollouts.jsonl"))
    with pytest.raises(EngineError, match="no generation batch 2, it ends before it"):
        trained(tmp_path / "longer", engine=engine, max_steps=3)
    with pytest.raises(EngineError, match="batch 0 is of other prompts"):
        trained(tmp_path / "other", engine=engine, seed=4)


def test_a_token_that_the_policy_does_not_know_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "first")
    log = tmp_path / "first" / "rollouts.jsonl"
    log.write_text(log.read_text("utf-8").replace('"prompt_ids": [', '"prompt_ids": [4000, ', 1), "utf-8")
    with pytest.raises(EngineError, match="has token 4000, and the policy knows"):
        trained(tmp_path / "again", engine=ReplayEngine(log=str(log)))


def test_a_log_answers_no_evaluation(tmp_path: Path) -> None:
    trained(tmp_path / "first")
    trainer = trained(tmp_path / "again", engine=ReplayEngine(log=str(tmp_path / "first")))
    with pytest.raises(EngineError, match="answers no new prompt"):
        trainer.evaluate(trainer.train_dataset)


# -- recipes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"needs engine\.log: the folder of a run .*--log-rollouts"),
        ({"engine.log": "nowhere", "trl.use_vllm": True}, r"trl\.use_vllm = false"),
        ({"engine.file": "x"}, "it has: log"),
    ],
)
def test_recipes_that_cannot_replay_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_recipe("demo", overrides={"engine.kind": "replay"} | settings)


def test_a_log_that_is_not_there_ends_a_run_before_the_model_is_loaded(tmp_path: Path) -> None:
    recipe = load_recipe("memagent-7b", overrides={"engine.kind": "replay", "engine.log": "nowhere", "trl.use_vllm": False})
    with pytest.raises(ConfigError, match=r"engine\.log: `nowhere` cannot be read"):
        build_trainer(recipe, tmp_path)  # the model is not here either


TINY = ["--set", "rollouts.prompts=2", "--set", "rollouts.group_size=4", "--set", "policy.width=16", "--set", "log_every=1"]


def run(folder: Path, *flags: str) -> int:
    return cli.main(["run", "--recipe", "demo", "--out", str(folder), "--quiet", "--steps", "2", *TINY, *flags])


@pytest.mark.slow
def test_a_run_is_replayed_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay = ["--engine", "replay", "--set", f"engine.log={tmp_path / 'first'}"]
    assert run(tmp_path / "first", "--log-rollouts", "--allocator", "coba") == 0
    assert run(tmp_path / "again", *replay, "--log-rollouts", "--allocator", "coba") == 0

    weights = [(tmp_path / name / "final" / "model.safetensors").read_bytes() for name in ("first", "again")]
    assert weights[0] == weights[1]
    logs = [(tmp_path / name / "rollouts.jsonl").read_bytes() for name in ("first", "again")]
    assert logs[0] == logs[1]  # so that a replay can be replayed
    first, again = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("first", "again"))
    assert [line["reward"] for line in first[:2]] == [line["reward"] for line in again[:2]]

    # what comes after the rollouts may be another; what they follow from may not
    assert run(tmp_path / "other", *replay, "--baseline", "v05", "--set", "optimizer.learning_rate=0.01") == 0
    capsys.readouterr()
    assert run(tmp_path / "wrong", *replay, "--set", "task.n_ops=3") == 2
    assert "was made with task.n_ops = " in capsys.readouterr().err
    assert run(tmp_path / "seeded", *replay, "--seed", "9") == 2
    assert "was made with seed = 0, and here it is 9" in capsys.readouterr().err


def test_what_a_log_is_made_by_leaves_out_what_comes_after() -> None:
    places = made_by(load_recipe("memocr-qwen3-vl-2b-lora"))
    assert {"seed", "tasks", "policy.path", "task.kind", "objective.budget", "rollouts.group_size"} <= set(places)
    assert not any(place.startswith(("loss", "optimizer", "credit", "baseline", "engine")) for place in places)
    assert json.loads(json.dumps(places)) == places

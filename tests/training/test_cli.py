"""`memagent-train` by hand: every part by flag, the files of a run, errors, resuming, recipes and configurations."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from memagent_training import cli
from memagent_training.grpo import ALLOCATORS, BASELINES, CREDITS
from memagent_training.grpo.needs import needs_of
from memagent_training.recipe import load_recipe
from memagent_training.run import build_trainer
from memagent_training.runs.callbacks import read_metrics

TINY = ["--set", "rollouts.prompts=4", "--set", "rollouts.group_size=4", "--set", "policy.width=16", "--set", "log_every=1"]
SOME = list(itertools.product(ALLOCATORS, BASELINES, CREDITS))[::11]


def run(tmp_path: Path, *flags: str) -> int:
    return cli.main(["run", "--recipe", "demo", "--out", str(tmp_path / "run"), "--quiet", *TINY, *flags])


def combine(tmp_path: Path, allocator: str, baseline: str, credit: str) -> list[dict[str, float]]:
    needs = needs_of(CREDITS[credit]())
    objective = "text_memocr" if needs.rewards or needs.turn_rewards else "single_turn"
    flags = ["--allocator", allocator, "--baseline", baseline, "--credit", credit, "--objective", objective, "--steps", "3"]
    assert run(tmp_path, *flags) == 0
    return [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "reward" in line]


@pytest.mark.parametrize(
    "parts",
    [pytest.param(one, marks=[pytest.mark.slow] if number else [], id="-".join(one)) for number, one in enumerate(SOME)],
)
def test_an_allocator_a_baseline_and_a_credit_combine_by_flag(tmp_path: Path, parts: tuple[str, str, str]) -> None:
    lines = combine(tmp_path, *parts)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line["rollouts/total"] >= 16 for line in lines)


def test_a_run_leaves_what_it_takes_to_run_it_again(tmp_path: Path) -> None:
    assert run(tmp_path, "--steps", "2", "--seed", "5", "--set", "loss.kl=0.01", "--tensorboard") == 0
    folder = tmp_path / "run"
    facts = json.loads((folder / "recipe.json").read_text())
    assert facts["recipe"]["seed"] == 5
    assert facts["recipe"]["allocator"] == {"kind": "uniform"}
    assert facts["meta"]["versions"]["trl"].startswith("1.16")
    assert facts["meta"]["seconds"] > 0
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert all("kl" in line and "entropy" in line for line in read_metrics(folder / "metrics.jsonl")[:2])
    assert list(folder.rglob("events.out.tfevents*"))
    assert (folder / "checkpoint-2" / "memagent.json").is_file()


@pytest.mark.slow
def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--steps", "1") == 0
    assert run(tmp_path, "--steps", "2") == 2
    assert "--resume" in capsys.readouterr().err
    assert run(tmp_path, "--steps", "2", "--resume") == 0
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "reward" in line] == [1, 2]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--allocator", "magic"], "one of: uniform, coba, knapsack, sequential"),
        (["--set", "allocator.hight=3"], "has no setting `hight`"),
        (["--set", "rollouts.group_size=1"], "greater than or equal to 2"),
        (["--allocator", "coba", "--set", 'loss.type="grpo"'], '[loss] type = "dapo"'),
        (["--credit", "memocr", "--objective", "single_turn"], "std, augM, augQ"),
        (["--objective", "text_memocr", "--set", 'loss.type="dr_grpo"'], "averages over rows"),
        (["--set", "rollouts.updates=3"], "do not divide"),
        (["--set", "trl.save_steps=3", "--set", "rollouts.updates=2"], "inside a generation batch"),
        (["--set", "trl.nonsense=3"], "TRL refuses"),
        (["--set", "policy.width=18"], "not a multiple"),
        (["--set", "rollouts.prompts=200"], "different tasks are fewer"),
    ],
)
def test_impossible_settings_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert run(tmp_path, *flags) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--credit", "hian"], 'credit "hian" needs a reward for each turn, but objective "single_turn" has none'),
        (["--allocator", "coba", "--set", "allocator.low=5"], 'allocator "coba" gives each prompt 5 to 128 rollouts'),
        (["--allocator", "coba", "--set", "allocator.high=3"], "allocator.high to at least 4"),
        (["--allocator", "knapsack", "--set", "allocator.low=8"], 'allocator "knapsack" gives each prompt 8 to 128 rollouts'),
        (["--allocator", "sequential", "--set", "allocator.batch_cap=15"], "raise allocator.batch_cap or lower"),
        (["--set", "trl.use_vllm=true"], 'engine "generate" does not ask the vLLM that trl.use_vllm = true sets up'),
        (["--engine", "vllm"], 'engine "vllm" needs `use_vllm = true`'),
        (["--engine", "vllm", "--set", "trl.use_vllm=true"], 'engine "vllm" needs vLLM, which is not installed: pip install'),
        (["--engine", "http"], 'engine "http" sends weights as LoRA adapters'),
        (["--engine", "http", "--set", "engine.weights='whole'"], "vLLM is not installed beside the trainer: pip install"),
        (
            ["--engine", "http", "--set", "trl.use_vllm=true"],
            'engine "http" does not ask the vLLM that trl.use_vllm = true sets up',
        ),
        (["--prior", "constant", "--set", "prior.constant=0.5"], 'prior "constant" would do nothing'),
        (
            ["--baseline", "v05", "--prior", "constant", "--set", "prior.constant=1.5"],
            'prior "constant": `constant` is 1.5, and what is expected lies from 0 to 1',
        ),
    ],
)
def test_parts_that_do_not_fit_are_named_before_a_model_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    absent = ["--set", "policy.kind='pretrained'", "--set", f"policy.path='{tmp_path / 'no-model'}'"]
    small = ["--set", "rollouts.prompts=4", "--set", "rollouts.group_size=4"]
    assert cli.main(["run", "--recipe", "demo", "--out", str(tmp_path / "run"), *small, *absent, *flags]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "run").exists()


def test_bounds_may_be_the_group_size_itself() -> None:
    sizes = {"rollouts.prompts": 4, "rollouts.group_size": 8}
    for kind in ("coba", "knapsack"):
        load_recipe("demo", overrides={**sizes, "allocator.kind": kind, "allocator.low": 8, "allocator.high": 8})
    load_recipe("demo", overrides={**sizes, "allocator.kind": "sequential", "allocator.batch_cap": 16})


def test_a_recipe_for_another_machine_is_valid_with_a_warning(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["recipes", "check", "v05", "demo"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["v05: can run in 1 process", "demo: can run in 1 process"]
    [warning] = told.err.splitlines()
    assert warning.startswith('warning: v05: engine "vllm" needs vLLM')
    assert cli.main(["run", "--recipe", "v05", "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert 'engine "vllm" needs vLLM' in capsys.readouterr().err


def test_nothing_is_sent_when_a_trainer_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda *args, **options: sent.append(args))
    for name in ("CI", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    build_trainer(load_recipe("demo"), tmp_path)
    assert not sent


@pytest.mark.slow
def test_every_rollout_can_be_written_down_once(tmp_path: Path) -> None:
    assert run(tmp_path, "--steps", "2", "--log-rollouts", "--allocator", "coba") == 0
    log = tmp_path / "run" / "rollouts.jsonl"
    log.write_text(log.read_text() + '{"step": 3, "left": "by a killed run"}\n{"st')
    assert run(tmp_path, "--steps", "4", "--log-rollouts", "--allocator", "coba", "--resume") == 0
    batches = [json.loads(line) for line in log.read_text().splitlines()]
    lines = [line for line in batches if "id" in line]
    assert [(line["batch"], line["rollouts"]) for line in batches if "drawn" in line] == [(0, 16), (1, 16), (2, 16), (3, 16)]
    assert [line["step"] for line in lines] == [1] * 16 + [2] * 16 + [3] * 16 + [4] * 16
    assert len({line["id"] for line in lines}) == 64
    metrics = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert metrics[0]["reward"] == sum(line["rewards"]["answer"] for line in lines[:16]) / 16
    assert metrics[1]["coba/alpha"] + metrics[1]["coba/beta"] == pytest.approx(11)


def test_a_recipe_that_is_not_there_names_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--recipe", "nope", "--out", "unused"]) == 2
    assert "demo" in capsys.readouterr().err


def test_dry_run_prints_the_whole_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--dry-run", "--allocator", "coba") == 0
    assert json.loads(capsys.readouterr().out)["allocator"]["kappa"] == 11.0
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_table_goes_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--recipe", "demo", "--out", str(tmp_path / "run"), "--steps", "2", "--plot-every", "1", *TINY]
    assert cli.main(["run", *arguments]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["step", "reward", "by_prompt"]
    assert first.split()[0] == "1"


def test_a_short_run_logs_every_step_and_says_how_to_use_what_came_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [*TINY[:-2], "--set", "log_every=5"]
    out = tmp_path / "run"
    assert cli.main(["run", "--recipe", "demo", "--out", str(out), "--quiet", *small, "--steps", "3"]) == 0
    assert [line["step"] for line in read_metrics(out / "metrics.jsonl")] == [1, 2, 3]
    assert str(out / "final") in capsys.readouterr().err
    readme = (out / "README.md").read_text("utf-8")
    assert readme.startswith("# demo, seed 0")
    assert "huggingface.co" not in readme
    (told,) = [line for line in readme.splitlines() if line.startswith("memagent-train export")]
    assert cli.main(shlex.split(told)[1:]) == 0
    from transformers import AutoModelForCausalLM

    (loaded,) = [line for line in readme.splitlines() if line.startswith("model = ")]
    assert eval(loaded.removeprefix("model = "), {"AutoModelForCausalLM": AutoModelForCausalLM}).config.hidden_size == 16


@pytest.mark.slow
def test_the_last_step_is_logged_when_it_is_no_multiple(tmp_path: Path) -> None:
    assert run(tmp_path, "--steps", "5", "--set", "log_every=2", "--set", "save_every=4") == 0
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [2, 4, 5]


def test_recipes_are_listed_shown_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("coba ") and "arXiv 2602.03048" in line for line in listed)
    assert cli.main(["recipes", "show", "coba"]) == 0
    assert json.loads(capsys.readouterr().out)["allocator"]["kind"] == "coba"
    assert cli.main(["recipes", "check"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(listed)
    assert cli.main(["recipes", "check", "demo", "--world", "7"]) == 2
    assert "do not divide" in capsys.readouterr().err
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('name = "x"\n[credit]\nkind = "memocr"\n', "utf-8")
    assert cli.main(["recipes", "check", str(wrong)]) == 2
    assert "std, augM, augQ" in capsys.readouterr().err


def test_a_configuration_is_printed_as_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "fsdp2"]) == 0
    assert "fsdp_version: 2" in Path(capsys.readouterr().out.strip()).read_text("utf-8")
    assert cli.main(["config", "fsdp3"]) != 0
    assert "Did you mean 'fsdp2'?" in capsys.readouterr().err


def test_a_setting_can_be_taken_out_or_replaced_by_the_one_in_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*flags: str) -> dict[str, Any]:
        assert cli.main(["run", "--recipe", "memagent-7b", "--out", str(tmp_path), "--dry-run", *flags]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    asked = ["--set", "task.questions=q.json", "--set", "task.documents=50"]
    task = shown(*asked)["task"]
    assert (task["data"], task["questions"], task["documents"]) == (None, "q.json", 50)
    task = shown(*asked, "--set", "task.data=d.jsonl")["task"]
    assert (task["data"], task["questions"], task["documents"]) == ("d.jsonl", None, None)
    assert shown("--unset", "task.data")["task"]["data"] is None
    users = ["--set", "task.kind=amemgym_questions", "--set", "task.questions=3", "--set", "task.data=d.json"]
    task = shown(*users)["task"]
    assert (task["data"], task["questions"]) == ("d.json", 3), "another task's settings of these names go together"
    assert shown("--unset", "loss.dual_clip", "--unset", "loss.kl")["loss"]["kl"] == 0

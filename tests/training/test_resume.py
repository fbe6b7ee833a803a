"""A run that was stopped or killed goes on as if nothing had happened, and half a checkpoint is never used."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.slow import slow

from memagent.errors import ConfigError

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch

import memagent_training.runs.checkpoints
from memagent_training.recipe import Recipe, load_recipe
from memagent_training.runs.checkpoints import checkpoints, is_whole, latest_checkpoint, remove_broken, restore, seal

ROOT = Path(__file__).parents[2]
SMALL: dict[str, object] = {
    "save_every": 1,
    "log_every": 1,
    "policy.width": 16,
    "policy.layers": 1,
    "policy.heads": 2,
    "task.n_ops": 2,
    "rollouts.prompts": 4,
    "rollouts.group_size": 4,
    "optimizer.learning_rate": 1e-2,
    "optimizer.steps": 8,  # an epoch has 5 batches
}
PARTS: dict[str, dict[str, object]] = {
    "plain": {},
    "coba": {"allocator.kind": "coba", "allocator.low": 2, "allocator.high": 8, "history_window": 2},
    "sequential v05": {"allocator.kind": "sequential", "baseline.kind": "v05"},
    "two updates, two epochs, kl": {"rollouts.updates": 2, "rollouts.epochs": 2, "loss.kl": 0.1, "optimizer.steps": 32},
    "relay hian": {"objective.kind": "text_memocr", "credit.kind": "hian", "rollouts.token_budget": 64},
    "self-verify": {
        "objective.kind": "self_verify",
        "objective.strategy": "verify_alter",
        "objective.interval": 2,
        "rollouts.group_size": 8,
        "optimizer.steps": 8,
    },
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture, no bars."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    monkeypatch.setattr("memagent_training.runs.callbacks.plot", lambda *_: None)


def recipe(**changes: object) -> Recipe:
    return load_recipe("demo", overrides={**SMALL, **changes})


def run(settings: Recipe, folder: Path, *, resume: bool = False, stop: int | None = None) -> Any:
    """Train in this process, up to step `stop`."""
    from transformers import TrainerCallback

    from memagent_training.run import build_trainer, train

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop |= state.global_step == stop

    trainer = build_trainer(settings, folder, quiet=True)
    trainer.add_callback(Stop())
    train(trainer, resume=resume)
    return trainer


def metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of the log, without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in line.items() if "time" not in key} for line in lines]


def weights(folder: Path, step: int) -> bytes:
    return (folder / f"checkpoint-{step}" / "model.safetensors").read_bytes()


def same_end(left: Path, right: Path, step: int) -> None:
    """Weights, optimizer, our state and the log agree in every bit."""
    assert weights(left, step) == weights(right, step)
    found = [torch.load(one / f"checkpoint-{step}" / "optimizer.pt", weights_only=True)["state"] for one in (left, right)]
    assert len(found[0]) == len(found[1]) > 0
    for key, state in found[0].items():
        assert all(torch.equal(value, found[1][key][name]) for name, value in state.items())
    states = [json.loads((one / f"checkpoint-{step}" / "memagent.json").read_text()) for one in (left, right)]
    assert all(states[0][key] == states[1][key] for key in ("step", "history", "objective"))
    assert metrics(left) == metrics(right)


# -- resuming ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relay hian", *(slow(name) for name in PARTS if name != "relay hian")])
def test_a_run_in_pieces_is_the_run_in_one(name: str, tmp_path: Path) -> None:
    settings = recipe(**PARTS[name])
    every, last = settings.rollouts.updates * settings.rollouts.epochs, settings.optimizer.steps
    run(settings, tmp_path / "one")

    run(settings, tmp_path / "pieces", stop=every)
    run(settings, tmp_path / "pieces", resume=True, stop=3 * every)
    resumed = run(settings, tmp_path / "pieces", resume=True)

    same_end(tmp_path / "one", tmp_path / "pieces", last)
    assert [line["step"] for line in metrics(tmp_path / "pieces")] == list(range(1, last + 1))
    assert weights(tmp_path / "one", last) != weights(tmp_path / "one", last - every)
    if name == "coba":
        assert resumed.history.step == 8
        assert len({(line["rollouts/min"], line["rollouts/max"]) for line in metrics(tmp_path / "pieces")}) > 1
    if name == "self-verify":
        lines = metrics(tmp_path / "pieces")
        assert any("verification/verification_accuracy" in line for line in lines[3:])  # judged after the resume ...
        assert any(line["verification/buffered"] > 0 for line in lines[:3])  # ... what was buffered before it


@pytest.mark.parametrize("stops", [(2, 7), *map(slow, [(5,), (6,), (7,), (10, 11)])])
def test_a_resume_in_a_later_epoch_draws_the_prompts_of_that_epoch(stops: tuple[int, ...], tmp_path: Path) -> None:
    settings = recipe(**{"optimizer.steps": 12})
    run(settings, tmp_path / "one")
    for at, stop in enumerate([*stops, 12]):
        run(settings, tmp_path / "pieces", resume=at > 0, stop=stop)

    same_end(tmp_path / "one", tmp_path / "pieces", 12)


def test_the_same_seed_gives_the_same_run_and_another_gives_another(tmp_path: Path) -> None:
    for name, seed in (("first", 3), ("second", 3), ("other", 4)):
        run(recipe(seed=seed, **{"optimizer.steps": 3}), tmp_path / name)

    same_end(tmp_path / "first", tmp_path / "second", 3)
    assert metrics(tmp_path / "first") != metrics(tmp_path / "other")


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path: Path) -> None:
    run(recipe(), tmp_path / "one")
    run(recipe(**{"optimizer.steps": 2}), tmp_path / "two")
    run(recipe(), tmp_path / "two", resume=True)

    same_end(tmp_path / "one", tmp_path / "two", 8)


@pytest.mark.parametrize("place", ["seal", *map(slow, ["_save_optimizer_and_scheduler", "_save_rng_state"])])
def test_a_run_that_died_while_saving_loses_one_batch(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Trainer

    run(recipe(), tmp_path / "one")
    holder: Any = memagent_training.runs.checkpoints if place == "seal" else Trainer
    real: Callable[..., Any] = getattr(holder, place)
    calls = []

    def dies(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(holder, place, dies)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(), tmp_path / "died")

    assert (tmp_path / "died" / "checkpoint-4").is_dir()
    assert latest_checkpoint(tmp_path / "died") == tmp_path / "died" / "checkpoint-3"
    assert [line["step"] for line in metrics(tmp_path / "died")] == [1, 2, 3, 4]
    run(recipe(), tmp_path / "died", resume=True)
    same_end(tmp_path / "one", tmp_path / "died", 8)


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    with monkeypatch.context() as patch:
        patch.setattr(memagent_training.runs.checkpoints, "seal", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(recipe(), tmp_path / "died")
    with pytest.raises(ConfigError, match="--resume"):
        run(recipe(), tmp_path / "died")
    assert (tmp_path / "died" / "checkpoint-1").is_dir()

    run(recipe(), tmp_path / "died", resume=True)
    run(recipe(), tmp_path / "one")
    same_end(tmp_path / "one", tmp_path / "died", 8)


def test_settings_under_which_a_resume_would_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="between two log lines"):
        recipe(log_every=2).config(tmp_path)
    with pytest.raises(ConfigError, match="end inside a generation batch of 2"):
        recipe(**{"rollouts.updates": 2, "optimizer.steps": 5}).config(tmp_path)
    with pytest.raises(ConfigError, match="falls inside a generation batch of 2"):
        recipe(**{"rollouts.updates": 2, "trl.save_steps": 3}).config(tmp_path)
    with pytest.raises(ConfigError, match="save_total_limit = 1"):
        recipe(**{"trl.save_total_limit": 1}).config(tmp_path)


# -- checkpoints --------------------------------------------------------------------------------------------------------------


def checkpoint(output: Path, step: int) -> Path:
    """A sealed checkpoint of two files."""
    folder = output / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 100)
    (folder / "deep" / "rng.pth").write_bytes(b"r" * 10)
    seal(folder, {"step": step, "history": {}, "objective": {}})
    return folder


def cut_file(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a file is cut": lambda folder: cut_file(folder / "model.safetensors", 99),
    "a file is lost": lambda folder: (folder / "deep" / "rng.pth").unlink(),
    "killed before the rename": lambda folder: (folder / "memagent.json").rename(folder / ".memagent.json"),
    "the seal is cut": lambda folder: cut_file(folder / "memagent.json", 20),
    "the seal says nothing": lambda folder: (folder / "memagent.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_half_a_checkpoint_is_never_used(damage: str, tmp_path: Path) -> None:
    good, bad = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    assert latest_checkpoint(tmp_path) == bad
    DAMAGE[damage](bad)

    assert not is_whole(bad)
    assert latest_checkpoint(tmp_path) == good
    with pytest.raises(ConfigError, match="not a whole checkpoint"):
        restore(None, bad)  # type: ignore[arg-type]
    assert remove_broken(tmp_path) == [bad]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-9"]


def test_the_newest_checkpoint_is_by_number_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for step in (9, 100, 20):
        checkpoint(tmp_path, step)
    for other in ("checkpoint-best", "checkpoint-", "checkpoint-7.bak", "start"):
        (tmp_path / other).mkdir()

    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
    assert remove_broken(tmp_path) == []
    assert (tmp_path / "checkpoint-best").is_dir()


def test_a_checkpoint_sealed_again_counts_its_new_files(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 1)
    cut_file(folder / "model.safetensors", 99)
    seal(folder, {"step": 1})

    assert is_whole(folder)
    assert json.loads((folder / "memagent.json").read_text())["files"]["model.safetensors"] == 99


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 1)
    body = json.loads((folder / "memagent.json").read_text())
    (folder / "memagent.json").write_text(json.dumps({**body, "version": 99}))

    with pytest.raises(ConfigError, match="has version 99"):
        restore(None, folder)  # type: ignore[arg-type]


# -- kills --------------------------------------------------------------------------------------------------------------------

SERVER = """
import json, os, sys
import torch
torch.set_num_threads(1)
import trl.trainer.grpo_trainer
from memagent_training.cli import main
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        log = os.open(json.loads(line)[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        os._exit(main(json.loads(line)[1:]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Forks a run for each line: importing everything takes longer than the run lives."""


class Victim:
    """Runs of `memagent-train` in a process of their own."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        self.folder = folder
        self.arguments = [str(folder.with_suffix(".txt")), "run", "--recipe", "demo", "--out", str(folder), "--quiet", *flags]
        quiet = {
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "renderers", ROOT / "training"))),
        }
        command = [sys.executable, "-c", SERVER]
        pipe = subprocess.PIPE
        self.server = subprocess.Popen(command, env={**os.environ, **quiet}, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()

    def start(self, *more: str) -> int:
        """The id of the new run's process."""
        assert self.server.stdin is not None
        print(json.dumps([*self.arguments, *more]), file=self.server.stdin, flush=True)
        return int(self.line())

    def close(self) -> None:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait(timeout=60)
        self.server.stdout.close()


def sealed(folder: Path) -> int:
    """The step of the newest whole checkpoint, 0 when there is none."""
    return next((int(one.name.rsplit("-", 1)[1]) for one in checkpoints(folder) if is_whole(one)), 0)


def unsealed(folder: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any(not (one / "memagent.json").exists() for one in folder.glob("checkpoint-*"))


def wait_for(event: Callable[[], bool], *, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not event() and time.monotonic() < end:
        time.sleep(0.0005)


@pytest.mark.slow
@pytest.mark.timed
def test_a_run_killed_at_random_moments_ends_as_the_one_that_was_left_alone(tmp_path: Path) -> None:
    moments = random.Random(0)
    values = {**SMALL, "optimizer.steps": 120}
    flags = ["--allocator", "coba", *(f"--set={place}={json.dumps(value)}" for place, value in values.items())]
    alone = tmp_path / "alone"
    victim = Victim(tmp_path / "killed", flags)
    kills, while_saving, lost = 0, 0, []
    try:
        while kills < 20:
            before = sealed(victim.folder)
            process = victim.start("--resume")
            if kills % 2:  # in the middle of a checkpoint
                wait_for(lambda start=before: sealed(victim.folder) > start)  # type: ignore[misc]
                wait_for(lambda: unsealed(victim.folder))
                time.sleep(moments.uniform(0, 0.01))
            else:  # anywhere, the start of the program too
                time.sleep(moments.uniform(0.05, 0.8))
            os.kill(process, signal.SIGKILL)
            assert int(victim.line()) == -signal.SIGKILL, "the run ended before it was killed"
            kills += 1
            while_saving += unsealed(victim.folder)
            after = sealed(victim.folder)
            assert after >= before
            if (victim.folder / "metrics.jsonl").exists():
                from memagent_training.runs.callbacks import read_metrics

                lost.append(max([line["step"] for line in read_metrics(victim.folder / "metrics.jsonl")], default=0) - after)
        process = victim.start("--resume")
        assert int(victim.line()) == 0, victim.folder.with_suffix(".txt").read_text()[-2000:]
        victim.arguments[victim.arguments.index(str(victim.folder))] = str(alone)
        victim.folder = alone
        victim.start()
        assert int(victim.line()) == 0
    finally:
        victim.close()

    assert while_saving >= 5
    assert max(lost) <= 1  # a batch was trained on and its checkpoint was not yet whole
    print(f"{kills} kills, {while_saving} while saving, batches lost: {lost}")
    same_end(alone, tmp_path / "killed", 120)

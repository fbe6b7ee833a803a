"""Shards of FSDP2 are put together; what is not an index of shards, or leads elsewhere, is refused unread."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
import transformers
from exported_runs import IDS, recipe_of
from helpers.checkpoints import saved_llama, saved_qwen_vl
from helpers.training_runs import launch

from memagent.errors import ConfigError
from memagent_training.export import export_run
from memagent_training.export.shards import read_shards
from memagent_training.runs.probe import read_probe, token_logprobs

SCRIPT = Path(__file__).parents[1] / "exported_runs.py"
STATE = {"a.weight": torch.arange(12.0).view(4, 3), "b": torch.ones(2, dtype=torch.bfloat16), "c": torch.tensor(3.0)}
SHAPES = {name: tuple(one.shape) for name, one in STATE.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Shards of one process."""
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is one process
        dcp.save({"model": STATE}, storage_writer=dcp.FileSystemWriter(tmp_path / "shards"), no_dist=True)
    return tmp_path / "shards"


def test_tensors_come_out_as_they_went_in(folder: Path) -> None:
    found = read_shards(folder, SHAPES)
    assert all(torch.equal(found[name], one) and found[name].dtype == one.dtype for name, one in STATE.items())


class Shout:
    """Unpickled, it runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


def rewritten(folder: Path, change: Any) -> None:
    with (folder / ".metadata").open("rb") as file:
        index = pickle.load(file)  # our own, of a moment ago
    change(index)
    (folder / ".metadata").write_bytes(pickle.dumps(index))


def led(name: str) -> Any:
    def change(index: Any) -> None:
        for one in index.storage_data.values():
            one.relative_path = name

    return change


def enlarged(index: Any) -> None:
    index.state_dict_metadata["model.b"].size = torch.Size([10**15])


def holed(index: Any) -> None:
    index.state_dict_metadata["model.a.weight"].chunks = []


def extended(index: Any) -> None:
    next(iter(index.storage_data.values())).transform_descriptors = ["zstd"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / ".metadata").write_bytes(pickle.dumps(Shout(folder / "ran"))), "which no index of shards"),
        (lambda folder: rewritten(folder, lambda index: setattr(index, "planner_data", Shout(folder / "ran"))), "no index of"),
        (lambda folder: (folder / ".metadata").write_bytes((folder / ".metadata").read_bytes()[:-40]), "cannot be read"),
        (lambda folder: (folder / ".metadata").write_bytes(pickle.dumps({"a": 1})), "cannot be read"),
        (lambda folder: (folder / ".metadata").write_bytes(b""), "cannot be read"),
        (lambda folder: rewritten(folder, led("../secret")), "must be a file of that folder"),
        (lambda folder: rewritten(folder, led("/etc/passwd")), "must be a file of that folder"),
        (lambda folder: rewritten(folder, led("none")), "must be a file of that folder"),
        (lambda folder: rewritten(folder, enlarged), "has the shape"),
        (lambda folder: rewritten(folder, holed), "do not cover"),
        (lambda folder: rewritten(folder, extended), "stored by an extension"),
        (lambda folder: (folder / "__0_0.distcp").write_bytes((folder / "__0_0.distcp").read_bytes()[:-99]), "are damaged"),
        (lambda folder: torch.save(Shout(folder / "ran"), folder / "__0_0.distcp"), "are damaged"),
    ],
)
def test_hostile_or_damaged_shards_are_refused_and_run_nothing(folder: Path, damage: Any, said: str) -> None:
    (folder.parent / "secret").write_bytes((folder / "__0_0.distcp").read_bytes())
    damage(folder)
    with pytest.raises(ConfigError, match=said):
        read_shards(folder, SHAPES)
    assert not (folder / "ran").exists()


def test_shards_of_another_policy_are_told_by_name(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 weights are missing \(d\), 1 are not its own \(c\)"):
        read_shards(folder, {**{name: shape for name, shape in SHAPES.items() if name != "c"}, "d": (1,)})


@pytest.mark.slow
def test_runs_sharded_over_two_processes_are_exported_whole(tmp_path: Path) -> None:
    """Three steps of AdamW under FSDP2 on gloo: a text model, one that sees, and adapters of the first."""
    starts = {"text": saved_llama(tmp_path / "llama"), "vision": saved_qwen_vl(tmp_path / "qwen", "2.5")}
    starts["lora"] = starts["text"]
    for name, start in starts.items():
        recipe = recipe_of(start, tmp_path / "tasks.jsonl", lora=name == "lora", vision=name == "vision")
        (tmp_path / f"{name}.json").write_text(json.dumps(recipe.settings()))
    launch([sys.executable, str(SCRIPT), str(tmp_path)], world=2, seconds=120, cwd=tmp_path)

    for name, start in starts.items():
        run, auto = tmp_path / name, transformers.AutoModelForCausalLM
        assert len(list((run / "checkpoint-3" / "pytorch_model_fsdp_0").glob("*.distcp"))) == 2
        done = export_run(run, tmp_path / f"{name}-model", dtype="float32", merge=name == "lora")
        assert (done.step, done.gap) == (3, pytest.approx(0, abs=1e-5))
        if name == "vision":
            auto = transformers.AutoModelForImageTextToText
        model, told = auto.from_pretrained(tmp_path / f"{name}-model", output_loading_info=True)
        assert not told["missing_keys"]
        assert not told["unexpected_keys"]
        probe = read_probe(run / "checkpoint-3")
        assert probe is not None
        assert token_logprobs(model, IDS) == pytest.approx(probe.logprobs, abs=1e-5)
        before = token_logprobs(auto.from_pretrained(start), IDS)
        assert max(abs(one - other) for one, other in zip(before, probe.logprobs, strict=True)) > 0.01

    shutil.copytree(tmp_path / "lora", tmp_path / "cut")
    shard = next((tmp_path / "cut" / "checkpoint-3").rglob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="neither `final` nor a whole checkpoint"):
        export_run(tmp_path / "cut", tmp_path / "cut-model")

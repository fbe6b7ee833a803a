"""From a file of questions to a model that answers, by the commands alone: data, run, a kill, resume, export, chat, bench."""

from __future__ import annotations

import json
import os
import signal
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from helpers.checkpoints import character_tokenizer, saved_qwen2
from helpers.training_runs import PATHS, ROOT

from memagent_training.runs.callbacks import read_metrics
from memagent_training.testing.vllm_rule import Sampler
from memagent_training.testing.vllm_server import FakeVllmServer

QUIET = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": PATHS}


def command(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", module, *words]


def done(module: str, *words: str, home: Path) -> str:
    """What the command writes to stdout."""
    ended = subprocess.run(
        command(module, *words),
        cwd=home,
        env=QUIET | {"HOME": str(home), "XDG_DATA_HOME": str(home / "data")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def questions(path: Path) -> Path:
    samples = []
    for at in range(12):
        context = [[f"town {at} {place}", [f"Paragraph {place} of {at}.", f" The answer is {at}."]] for place in range(4)]
        sample = {"_id": f"h{at}", "question": f"What is {at}?", "answer": str(at), "context": context}
        samples.append(sample | {"supporting_facts": [[f"town {at} 1", 1]], "type": "bridge", "level": "hard"})
    path.write_text(json.dumps(samples), "utf-8")
    return path


@contextmanager
def sampling(engine: str) -> Iterator[dict[str, object]]:
    """Settings of a run that samples with this engine."""
    if engine == "generate":
        yield {"engine.kind": engine}
        return
    tokenizer = character_tokenizer(string.printable)
    with FakeVllmServer(sampler=Sampler(vocabulary=range(60), end_id=tokenizer.eos_token_id, ends=30)) as server:
        lora = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
        wide = {"engine.max_gap": 100.0}  # the stand-in says what a hash says, not what the policy does
        yield {"engine.kind": engine, "engine.servers": [server.url], "policy.lora": lora, **wide}


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["generate", "http"])
def test_a_file_of_questions_becomes_a_model_that_answers(engine: str, tmp_path: Path) -> None:
    asked, rows, run, model = (tmp_path / name for name in ("hotpot.json", "rows.jsonl", "run", "model"))
    questions(asked)
    done(
        "memagent_training",
        *("data", "long-qa", "--questions", str(asked), "--documents", "8", "--n", "12", "--out", str(rows)),
        home=tmp_path,
    )
    small: dict[str, object] = {
        "trl": {},
        "task.data": str(rows),
        "policy.path": str(saved_qwen2(tmp_path / "start")),
        "objective.chunk_tokens": 300,
        "objective.memory_tokens": 12,
        "objective.answer_tokens": 4,
        "baseline.kind": "v05",
        "prior.kind": "constant",
        "prior.constant": 1.0,
        "rollouts.prompts": 2,
        "rollouts.group_size": 2,
        "rollouts.updates": 1,
        "rollouts.micro_batches": 1,
        "optimizer.steps": 3,
        "optimizer.warmup_steps": 0,
        "optimizer.learning_rate": 0.01,
        "save_every": 1,
    }
    with sampling(engine) as places:
        words = ["run", "--recipe", "memagent-7b", "--out", str(run), "--quiet"]
        for place, value in (small | places).items():
            words += ["--set", f"{place}={toml(value)}"]
        with (tmp_path / "said.txt").open("wb") as said:
            process = subprocess.Popen(command("memagent_training", *words), cwd=ROOT, env=QUIET, stdout=said, stderr=said)
        while not (run / "checkpoint-1" / "memagent.json").exists():
            assert process.poll() is None, (tmp_path / "said.txt").read_text()[-3000:]
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (run / "final").exists()
        done("memagent_training", *words, "--resume", home=tmp_path)
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line] == [1, 2, 3]

    merge = ["--merge"] if engine == "http" else []
    told = done("memagent_training", "export", str(run), "--out", str(model), *merge, home=tmp_path)
    assert "bfloat16, log-probabilities differ by" in told
    assert f"memagent chat -m hf:{model}" in (model / "README.md").read_text("utf-8")
    assert f"memagent-train export {run}" in (run / "README.md").read_text("utf-8")

    name = f"hf:{model}"
    said_back = done("memagent", "chat", "-m", name, "-p", "What is 3?", "--embedder", "none", "--store", "m", home=tmp_path)
    assert said_back.strip()
    if engine == "http":
        return  # the bench reads the same kind of folder
    length = ["--lengths", "300", "--budgets", "64", "--limit", "1", "--answer-tokens", "8", "--embedder", "none", "--json"]
    report = json.loads(
        done("memagent", "bench", "long-qa", str(asked), "-m", name, "--methods", "raw", *length, home=tmp_path)
    )
    assert {row["metric"] for row in report["rows"]} >= {"em", "f1"}
    assert all(row["n"] == 1 for row in report["rows"] if row["method"] == "raw")

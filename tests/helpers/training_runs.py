"""Training in processes of its own: `memagent-train run` as a user starts it, and scripts of the tests as one group."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "renderers", ROOT / "training")))
TESTS = os.pathsep.join(map(str, (ROOT / "tests" / "training", ROOT / "tests")))
TINY_RUN: dict[str, object] = {
    "objective.chunk_tokens": 300,
    "objective.memory_tokens": 12,
    "objective.answer_tokens": 4,
    "engine.kind": "generate",
    "rollouts.prompts": 2,
    "rollouts.group_size": 2,
    "rollouts.updates": 1,
    "rollouts.micro_batches": 1,
    "optimizer.steps": 3,
    "optimizer.warmup_steps": 0,
    "save_every": 3,
    "tasks": 8,
}
"""A published recipe of long texts, cut down to three steps."""


def run_recipe(recipe: str, out: Path, values: Mapping[str, object], *, tables: Mapping[str, str], processes: int = 1) -> None:
    """Train into `out` with every rollout logged: `values` by their place in the recipe, `tables` as TOML."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "training" / "configs" / "cpu2.yaml")]
    launcher += ["--main_process_port", "0"]
    settings = [f"{place}={value}" for place, value in tables.items()]
    settings += [f"{place}={json.dumps(value)}" for place, value in values.items()]
    command = [
        sys.executable,
        *(launcher if processes > 1 else []),
        *["-m", "memagent_training", "run", "--recipe", recipe, "--out", str(out), "--quiet", "--log-rollouts"],
        *[word for setting in settings for word in ("--set", setting)],
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": PATHS}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def launch(command: Sequence[str], *, world: int, cwd: Path, seconds: float) -> None:
    """The command as so many processes of one group; fails when one of them does, or when they are not done in time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [cwd / f"process-{rank}.txt" for rank in range(world)]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | quiet | {"PYTHONPATH": f"{TESTS}{os.pathsep}{PATHS}"}
    processes = []
    for rank, file in enumerate(files):
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        alone = {name: str(value) for name, value in group.items()} | {"GLOO_SOCKET_IFNAME": "lo", "ACCELERATE_USE_CPU": "true"}
        own = environment | (alone if world > 1 else {})
        with file.open("wb") as out:
            processes.append(subprocess.Popen(command, env=own, cwd=cwd, stdout=out, stderr=subprocess.STDOUT))
    try:
        for process in processes:
            process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        pytest.fail("the processes hang:\n" + "\n".join(file.read_text()[-2000:] for file in files))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * world, "\n".join(file.read_text()[-3000:] for file in files)

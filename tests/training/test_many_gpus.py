"""The config files for many processes: what accelerate reads in them, and two CPU processes that train for real."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin, DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils.deepspeed import DeepSpeedEngineWrapper
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from memagent_training.engines import HttpEngine
from memagent_training.recipe import load_recipe
from memagent_training.runs.callbacks import read_metrics

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "training" / "configs"
NAMES = ("cpu2", "ddp", "fsdp2", "zero2", "zero3")


def launch_arguments(name: str) -> Any:
    """What `accelerate launch` makes of the file."""
    parser = launch_command_parser()
    script = ["-m", "memagent_training", "run", "--recipe", "demo", "--out", "out"]
    arguments = parser.parse_args(["--config_file", str(CONFIGS / f"{name}.yaml"), *script])
    arguments.nondefault = []
    return _validate_launch_command(arguments)[0]


def test_every_file_is_one_that_is_tested() -> None:
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_accelerate_reads_the_file(name: str) -> None:
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert isinstance(config, ClusterConfig)
    kinds = {"fsdp2": DistributedType.FSDP, "zero2": DistributedType.DEEPSPEED, "zero3": DistributedType.DEEPSPEED}
    assert config.distributed_type == kinds.get(name, DistributedType.MULTI_GPU)
    assert (config.num_processes, config.mixed_precision) == ((2, "no") if name == "cpu2" else (8, "bf16"))
    assert config.use_cpu == (name == "cpu2")


@pytest.mark.parametrize("name", NAMES)
def test_the_launcher_takes_the_path_that_the_file_means(name: str) -> None:
    arguments = launch_arguments(name)
    taken = {"deepspeed": arguments.use_deepspeed, "fsdp": arguments.use_fsdp, "gpus": arguments.multi_gpu}
    wanted = {"fsdp2": "fsdp", "zero2": "deepspeed", "zero3": "deepspeed"}.get(name, "gpus")
    assert [kind for kind, is_taken in taken.items() if is_taken] == [wanted]


def test_fsdp2_shards_weights_and_saves_by_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, prepare_multi_gpu_env(launch_arguments("fsdp2")))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "SHARDED_STATE_DICT"
    assert plugin.cpu_ram_efficient_loading
    assert plugin.activation_checkpointing is False


@pytest.mark.parametrize(("name", "stage"), [("zero2", 2), ("zero3", 3)])
def test_deepspeed_files_ask_for_their_stage(name: str, stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = launch_arguments(name)
    arguments.deepspeed_fields_from_accelerate_config = ""
    set_environment(monkeypatch, prepare_deepspeed_cmd_env(arguments)[1])
    plugin = DeepSpeedPlugin()
    assert plugin.zero_stage == stage
    assert plugin.deepspeed_config["zero_optimization"]["stage"] == stage
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto", "the trainer fills it in"
    assert plugin.deepspeed_config["gradient_clipping"] == "auto"


def test_the_settings_of_the_page_are_trls(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "training" / "many-gpus.md").read_text("utf-8")
    settings = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])
    places = {f"trl.{name}": value for name, value in settings["trl"].items()} | {"engine.kind": settings["engine"]["kind"]}
    args = load_recipe("coba", overrides=places).config(tmp_path, world=8)
    assert (args.vllm_mode, args.vllm_max_model_length) == ("colocate", 6144)


def test_the_servers_of_the_page_are_a_recipes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "training" / "many-gpus.md").read_text("utf-8")
    settings = tomllib.loads(page.split("```toml\n")[2].partition("```")[0])
    places = {f"{table}.{name}": value for table, values in settings.items() for name, value in values.items()}
    recipe = load_recipe("memocr-qwen3-vl-2b-lora", overrides=places)
    assert recipe.engine == HttpEngine(
        servers=("http://10.0.0.5:8000", "http://10.0.0.6:8000"), folder="/shared/run/adapters", concurrency=128
    )
    assert not recipe.config(tmp_path, world=1).use_vllm


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        if name.startswith(("ACCELERATE_", "FSDP_")) and name != "ACCELERATE_USE_DEEPSPEED":
            monkeypatch.setenv(name, value)


def test_backward_of_the_pinned_accelerate_steps_under_deepspeed() -> None:
    """Why a token budget, whose parts go backward one by one, is refused with DeepSpeed."""
    steps: list[str] = []

    class Engine:
        def set_gradient_accumulation_boundary(self, *, is_boundary: bool) -> None: ...

        def backward(self, loss: float) -> None:
            steps.append("backward")

        def step(self) -> None:
            steps.append("step")

    wrapper = DeepSpeedEngineWrapper(Engine())
    for _ in range(2):
        wrapper.backward(1.0, sync_gradients=True)
    assert steps == ["backward", "step", "backward", "step"]
    assert "sync_gradients" in inspect.signature(DeepSpeedEngineWrapper.backward).parameters


@pytest.mark.slow
def test_two_processes_train_from_the_config_file(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "cpu2.yaml"), "--main_process_port", "0"]
    script = ["-m", "memagent_training", "run", "--recipe", "demo", "--out", str(out), "--set", "log_every=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    def run(*more: str) -> str:
        done = subprocess.run(
            [sys.executable, *command, *script, *more],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stderr

    said = run("--steps", "2", "--set", "save_every=1")
    assert said.count("written: ") == 1, "only the first process tells"
    lines = read_metrics(out / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    recipe = (out / "recipe.json").read_text("utf-8")
    assert '"name": "demo"' in recipe
    states = sorted(path.name for path in (out / "checkpoint-2").glob("rng_state_*"))
    assert states == ["rng_state_0.pth", "rng_state_1.pth"], "both processes took part"
    run("--steps", "3", "--set", "save_every=1", "--resume")
    assert [line["step"] for line in read_metrics(out / "metrics.jsonl")] == [1, 2, 3]
    assert read_metrics(out / "metrics.jsonl")[:2] == lines

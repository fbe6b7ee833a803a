"""Servers that were started otherwise than a run needs: each wrong setting is one line with the flag that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from helpers.checkpoints import saved_llama, tiny_llama, tiny_qwen_vl
from helpers.engine_trainers import trainer_of

from memagent.errors import ConfigError, EngineError
from memagent_training.engines import HttpEngine
from memagent_training.recipe import Recipe
from memagent_training.run import build_trainer
from memagent_training.testing.broadcast import LocalBroadcast
from memagent_training.testing.vllm_rule import Eye
from memagent_training.testing.vllm_server import FakeVllmServer

GENERATIONS = {"2.5": 28, "3": 32}


@contextmanager
def fleet(*settings: dict[str, Any]) -> Iterator[list[FakeVllmServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FakeVllmServer(**{"max_model_len": 512} | one)) for one in settings]


def lora(rank: int = 2) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=rank, target_modules=["q_proj"], task_type="CAUSAL_LM")


def looked(folder: Path, servers: Sequence[FakeVllmServer], *, model: Any, weights: str = "adapter") -> list[str]:
    """The lines that a run would stop with."""
    engine = HttpEngine(servers=tuple(one.url for one in servers), weights=weights)  # type: ignore[arg-type]
    trainer_of(folder, model=model, engine=engine, peft_config=lora() if weights == "adapter" else None)
    try:
        engine.probe()
    except ConfigError as error:
        return str(error).splitlines()
    return []


def eye(generation: str, model: Any, **limits: int) -> Eye:
    cell = GENERATIONS[generation]
    smallest = {"2.5": 4, "3": 4}[generation] * cell**2
    return Eye(
        image_id=model.config.image_token_id, cell=cell, **{"min_pixels": smallest, "max_pixels": 16384 * cell**2} | limits
    )


@pytest.mark.parametrize("dialect", ["0.31", "0.33"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_servers_that_are_as_they_should_be_pass(generation: str, dialect: Any, tmp_path: Path) -> None:
    model, processing = tiny_qwen_vl(generation)
    with fleet({"dialect": dialect, "eye": eye(generation, model)}) as servers:
        assert looked(tmp_path, servers, model=(model, processing)) == []


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"logprobs_mode": "raw_logprobs"}, "--logprobs-mode processed_logprobs"),
        ({"scale_out": False}, "--enable-scale-out"),
        ({"scale_out": False, "dialect": "0.31"}, "--enable-scale-out"),
        ({"version": "0.22.0"}, "install vllm>=0.30"),
        ({"version": "v0.29.1rc2"}, "install vllm>=0.30"),
        ({"max_loras": 2}, "--max-loras 3"),
        ({"max_lora_rank": 1}, "--max-lora-rank 8"),
        ({"lora_updating": False}, "--enable-lora --max-lora-rank 8 --max-loras 3"),
        ({"dtype": "torch.float16"}, "--dtype float32"),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_flag(settings: dict[str, Any], flag: str, tmp_path: Path) -> None:
    model, processing = tiny_qwen_vl("2.5")
    with fleet({"eye": eye("2.5", model)} | settings) as [server]:
        [line] = looked(tmp_path, [server], model=(model, processing))
        assert line.startswith(f"{server.url}: ")
        assert flag in line


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("limits", [{"min_pixels": 65_536}, {"max_pixels": 40_000}], ids=["enlarges", "shrinks"])
def test_other_limits_of_pictures_are_found_at_either_end(generation: str, limits: dict[str, int], tmp_path: Path) -> None:
    model, processing = tiny_qwen_vl(generation)
    with fleet({"eye": eye(generation, model, **limits)}) as servers:
        [line] = looked(tmp_path, servers, model=(model, processing))
        assert '--mm-processor-kwargs \'{"size": {"shortest_edge": ' in line


def test_every_wrong_setting_of_every_server_is_told_at_once(tmp_path: Path) -> None:
    wrong = {"logprobs_mode": "raw_logprobs", "max_loras": 1, "dtype": "torch.float16"}
    with fleet({}, wrong) as servers:
        lines = looked(tmp_path, servers, model=tiny_llama(layers=1))
        assert len(lines) == 3
        assert all(line.startswith(servers[1].url) for line in lines)


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"weight_transfer": False}, """--weight-transfer-config '{"backend": "nccl"}'"""),
        ({"dev_mode": False}, "VLLM_SERVER_DEV_MODE=1"),
        ({"version": "0.22.0"}, "install vllm>=0.30"),
    ],
)
def test_what_whole_weights_need_is_asked_for(
    settings: dict[str, Any], flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpEngine, "broadcast", LocalBroadcast)
    with fleet(settings | {"lora_updating": False}) as servers:  # adapters are none of its business
        [line] = looked(tmp_path, servers, model=tiny_llama(layers=1), weights="whole")
        assert flag in line


def test_a_server_that_is_gone_is_passed_over_unless_it_is_the_last(tmp_path: Path) -> None:
    with fleet({}, {"max_loras": 1}) as servers:
        engine = HttpEngine(servers=tuple(one.url for one in servers))
        trainer_of(tmp_path, model=tiny_llama(layers=1), engine=engine, peft_config=lora())
        servers[1].settings.drop_after = 0
        engine.probe()
        servers[0].settings.drop_after = 0
        with pytest.raises(EngineError, match="no connection"):
            engine.probe()


def test_a_recipe_is_stopped_before_it_rolls_out(tmp_path: Path) -> None:
    start = saved_llama(tmp_path / "start", layers=1)
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('{"id": "0", "prompt": "1+1=", "answer": "2"}\n{"id": "1", "prompt": "1+2=", "answer": "3"}\n')
    with fleet({"logprobs_mode": "raw_logprobs"}) as [server]:
        recipe = Recipe.model_validate(
            {
                "name": "small",
                "policy": {"kind": "pretrained", "path": str(start), "dtype": "float32", "lora": {"r": 2}},
                "task": {"kind": "file", "path": str(tasks)},
                "objective": {"max_tokens": 4},
                "engine": {"kind": "http", "servers": [server.url]},
                "rollouts": {"prompts": 2, "group_size": 2},
                "trl": {"use_cpu": True, "save_strategy": "no"},
            }
        )
        with pytest.raises(ConfigError, match="--logprobs-mode processed_logprobs"):
            build_trainer(recipe, tmp_path / "run", quiet=True)
        assert not server.sent("/v1/load_lora_adapter")

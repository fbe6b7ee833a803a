"""The `vllm serve` command is the recipe's: what it says is what the trainer computes with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.checkpoints import saved_qwen_vl

from memagent.errors import ConfigError
from memagent_training import cli
from memagent_training.engines.adapters import KEPT
from memagent_training.engines.serve_command import serve_commands
from memagent_training.recipe import load_recipe
from memagent_training.tokenization import picture_limits

PAGE = Path(__file__).parents[3] / "docs" / "training" / "many-gpus.md"
SMALL = "memocr-qwen3-vl-2b-lora"


def flags(recipe: str, *, version: str = "0.30", **changed: Any) -> dict[str, str]:
    """What stands behind each flag of the first command; "" behind one that stands alone."""
    words = shlex.split(serve_commands(load_recipe(recipe, overrides=changed), version=version)[0])
    return {
        word: ("" if at + 1 == len(words) or words[at + 1].startswith("--") else words[at + 1])
        for at, word in enumerate(words)
        if word.startswith("--")
    }


def limits_of(model_type: str, patch: int) -> dict[str, Any]:
    vision = SimpleNamespace(patch_size=patch, spatial_merge_size=2)
    return picture_limits(SimpleNamespace(model_type=model_type, vision_config=vision, image_token_id=1))


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve-command", SMALL, "--vllm", "0.30"]) == 0
    shown = next(line for line in PAGE.read_text("utf-8").replace("\\\n", "").splitlines() if "vllm serve Qwen" in line)
    assert shlex.split(capsys.readouterr().out) == shlex.split(shown)


@pytest.mark.parametrize(
    ("recipe", "model_type", "patch"), [(SMALL, "qwen3_vl", 16), ("memocr-qwen25-vl-7b-node", "qwen2_5_vl", 14)]
)
def test_pictures_have_the_limits_of_the_trainer_and_not_of_the_hub(recipe: str, model_type: str, patch: int) -> None:
    assert json.loads(flags(recipe)["--mm-processor-kwargs"]) == limits_of(model_type, patch)


@pytest.mark.parametrize(("generation", "model_type", "patch"), [("2.5", "qwen2_5_vl", 14), ("3", "qwen3_vl", 16)])
def test_a_checkpoint_in_a_folder_says_its_own_cells(generation: str, model_type: str, patch: int, tmp_path: Path) -> None:
    start = saved_qwen_vl(tmp_path / "with a blank", generation)
    found = flags(SMALL, **{"policy.path": str(start)})
    assert json.loads(found["--mm-processor-kwargs"]) == limits_of(model_type, patch)


def test_lengths_are_the_recipes_or_hold_the_longest_conversation() -> None:
    assert flags(SMALL)["--max-model-len"] == "6144"
    for recipe, least in ((SMALL, 2500 + 3 * 1024), ("memagent-7b", 5000 + 3 * 1024), ("memocr-qwen25-vl-7b", 5000 + 5 * 1024)):
        found = int(flags(recipe, **{"trl.vllm_max_model_length": None})["--max-model-len"])
        assert least < found < least + 2048
    assert "--max-model-len" not in flags("coba", **{"trl.vllm_max_model_length": None})


@pytest.mark.parametrize(("rank", "slots"), [(1, "1"), (2, "8"), (32, "32"), (33, "64"), (300, "320")])
def test_adapters_have_a_rank_that_vllm_takes_and_a_slot_for_the_next_version(rank: int, slots: str) -> None:
    found = flags(SMALL, **{"policy.lora.r": rank})
    assert "--enable-lora" in found
    assert found["--max-lora-rank"] == slots
    assert int(found["--max-loras"]) == KEPT + 1
    assert "--enable-lora" not in flags("memagent-7b")


def test_each_server_has_a_command_with_its_port() -> None:
    places = {"engine.kind": "http", "engine.servers": ["http://a:8000", "http://b:8001/"], "trl.use_vllm": False}
    first, second = serve_commands(load_recipe(SMALL, overrides=places))
    assert (first.split()[-2:], second.split()[-2:]) == (["--port", "8000"], ["--port", "8001"])


def test_flags_are_those_of_the_version() -> None:
    assert "--enable-scale-out" not in flags("memagent-7b", version="0.22.0")
    assert "--enable-scale-out" in flags("memagent-7b", version="v0.33.1rc1")


@pytest.mark.parametrize(
    ("changed", "version", "said"),
    [
        ({}, "0.29.1", "since 0.30"),
        ({}, "newest", "no version of vLLM"),
        ({"policy.lora.r": 513}, "0.30", "up to rank 512"),
        ({"policy.lora.target_modules": "all-linear"}, "0.30", "vision tower"),
        ({"policy.path": "google/gemma-3-4b-it"}, "0.30", "Qwen-VL family"),
    ],
)
def test_what_vllm_would_not_serve_is_refused(changed: dict[str, Any], version: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        serve_commands(load_recipe(SMALL, overrides=changed), version=version)
    with pytest.raises(ConfigError, match='policy "tiny"'):
        serve_commands(load_recipe("demo"))
